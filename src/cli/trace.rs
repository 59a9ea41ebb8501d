//! `trace` and `diagnose`: single phones of a run.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::base::{DeviceName, PhoneId};
use crate::measure::StepKind;
use crate::report::{
    Diagnosis, PHONE_COLUMNS, PHONES_NEEDED, Table, TableRow, Words, trace_text, traces_jsonl,
};
use crate::sim::{Recorded, SimOptions, World};

use super::ExitCode;
use super::args::{CliError, Format, GlobalArgs};
use super::output;
use super::past::{NAME_A_RUN, load_run, read_summary};

/// Show what single phones of a run did, saw and decided
///
/// A run keeps the boots of phones that are stuck or failed (2,000 at most), the fifty slowest, and a
/// sample. Any phone of a run in virtual time can be named: the run is played again for it.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = TRACE_EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct TraceArgs {
    /// Run directory
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The phone by its name, such as SEP0C75BD110317
    #[arg(value_name = "PHONE")]
    pub phone: Option<String>,
    /// So many boots, the longest first
    #[arg(long, value_name = "N", conflicts_with = "phone", value_parser = at_least_one)]
    pub worst: Option<usize>,
    /// Only phones that ended stuck
    #[arg(long, conflicts_with = "phone")]
    pub stuck: bool,
    /// Only phones that ended failed
    #[arg(long, conflicts_with = "phone", conflicts_with = "stuck")]
    pub failed: bool,
    /// Only boots with this step: ctl, itl, config, tvs and so on
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
    /// The words of a phone's console log instead
    #[arg(long)]
    pub console: bool,
    /// The words of the traces of the TVS servers that were asked instead
    #[arg(long, conflicts_with = "console")]
    pub tvs: bool,
}

const TRACE_EXAMPLES: &str = "\
Examples:
  resetstorm trace runs/latest --worst 5
  resetstorm trace runs/latest --stuck --step tvs
  resetstorm trace runs/latest SEP0C75BD110317 --console";

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or("a whole number from 1".to_owned())
}

/// Boots that are shown unless somebody asks for more (choice).
const SHOWN: usize = 5;

/// Shows boots.
pub fn trace(args: &TraceArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    if let Some(step) = &args.step
        && StepKind::ALL.iter().all(|known| known.name() != step)
    {
        let names: Vec<&str> = StepKind::ALL.iter().map(|known| known.name()).collect();
        let help = format!("steps: {}", names.join(", "));
        return Err(CliError::usage(format!("there is no step `{step}`"), help));
    }
    let boots = match &args.phone {
        Some(phone) => boots_of(args, phone)?,
        None => chosen(args)?,
    };
    let table = phones(&args.run)?;
    let words = match (args.console, args.tvs) {
        (true, _) => Words::Console,
        (_, true) => Words::Tvs,
        _ => Words::Plain,
    };
    let out = match global.format {
        Format::Json => format!("{:#}\n", serde_json::json!({ "schema": 1, "boots": boots })),
        Format::Text => boots.iter().map(|boot| told(boot, &table, words)).collect(),
    };
    output::print(&out)?;
    Ok(ExitCode::Ok)
}

fn told(boot: &Value, table: &Table, told_in: Words) -> String {
    let name = boot["phone"].as_str().unwrap_or_default();
    let row = table.rows().find(|row| row.text("phone") == name);
    let words = row.map(|row| {
        let parts = [("model", "model"), ("group", "group"), ("site", "site"), ("tftp", "TFTP")];
        let some = parts.into_iter().filter(|(column, _)| !row.text(column).is_empty());
        some.map(|(column, word)| format!("{word} {}", row.text(column)))
            .collect::<Vec<_>>()
            .join("  ")
    });
    trace_text(boot, words.as_deref(), told_in) + "\n"
}

/// Boots that are kept of one phone, or that a run in virtual time plays again.
fn boots_of(args: &TraceArgs, phone: &str) -> Result<Vec<Value>, CliError> {
    let named =
        |boot: &Value| boot["phone"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(phone));
    let kept: Vec<Value> = kept(&args.run)?.into_iter().filter(named).collect();
    let summary = read_summary(&args.run)?;
    let plan = load_run(&args.run)?;
    let number = phone.parse::<DeviceName>().ok().and_then(DeviceName::phone);
    let number = number.filter(|number| number.0 < plan.fleet.phones);
    match number {
        None => {
            let last = DeviceName::of_phone(PhoneId(plan.fleet.phones - 1));
            let what = format!("{phone}: no phone of this run");
            let first = DeviceName::of_phone(PhoneId(0));
            Err(CliError::usage(
                what,
                format!("its phones are {first} to {last}; phones.csv has them all"),
            ))
        }
        Some(number) if summary["mode"] == "sim" => {
            let records = Recorded::Phone(number);
            let run = World::new(&plan, SimOptions { records, ..SimOptions::default() }).run();
            let summary = run.summary(&plan);
            let lines = run.records.as_ref().map(|records| traces_jsonl(&plan, &summary, records));
            read_lines(&lines.unwrap_or_default())
        }
        Some(_) if kept.is_empty() => {
            let what = format!("{phone}: no boot of it was kept");
            let help = "a live run keeps phones that are stuck or failed, the slowest and a sample; \
                        `sim` plays every phone again";
            Err(CliError::usage(what, help))
        }
        Some(_) => Ok(kept),
    }
}

/// The boots that the flags ask for, the longest first.
fn chosen(args: &TraceArgs) -> Result<Vec<Value>, CliError> {
    let is_chosen = |boot: &Value| {
        let outcome = boot["outcome"].as_str().unwrap_or_default();
        let mut events = boot["events"].as_array().into_iter().flatten();
        (!args.stuck || outcome == "stuck")
            && (!args.failed || outcome.starts_with("failed") || outcome == "unfinished")
            && args
                .step
                .as_ref()
                .is_none_or(|step| events.any(|event| event["step"] == step.as_str()))
    };
    let mut boots: Vec<Value> = kept(&args.run)?.into_iter().filter(is_chosen).collect();
    let length = |boot: &Value| {
        let [planned, ended] = ["planned_s", "ended_s"].map(|key| boot[key].as_f64());
        ended.unwrap_or(f64::INFINITY) - planned.unwrap_or_default()
    };
    boots.sort_by(|a, b| length(b).total_cmp(&length(a)));
    boots.truncate(args.worst.unwrap_or(SHOWN));
    if boots.is_empty() {
        let what = format!("{}: no boot that was kept is like that", args.run.display());
        return Err(CliError::usage(what, "leave flags out, or name a phone of phones.csv"));
    }
    Ok(boots)
}

fn kept(run: &Path) -> Result<Vec<Value>, CliError> {
    read_lines(&read_file(&run.join("trace.jsonl"))?)
}

fn read_lines(text: &str) -> Result<Vec<Value>, CliError> {
    let read = |line: &str| serde_json::from_str(line);
    text.lines()
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|error| CliError::usage(format!("trace.jsonl: {error}"), NAME_A_RUN))
}

fn read_file(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|error| {
        let help = "name the directory of a finished `run` or `sim` of this version";
        CliError::usage(format!("{}: {error}", path.display()), help)
    })
}

/// The `phones.csv` of a run.
fn phones(run: &Path) -> Result<Table, CliError> {
    let path = run.join("phones.csv");
    Table::parse(&read_file(&path)?, &PHONE_COLUMNS[..PHONES_NEEDED])
        .map_err(|error| CliError::usage(format!("{}: {error}", path.display()), NAME_A_RUN))
}

/// Say whether the ITL of a phone is to be deleted
///
/// All of four conditions are required: the phone's ITL is not the one that TFTP serves, no TVS
/// presents a certificate of its list, it shows "Verification Failed", and no backup has the old key.
/// Where one does not hold, something else helps and is said. Exit code 1 unless all hold.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "Examples:\n  resetstorm diagnose runs/latest SEP0C75BD110317")]
pub struct DiagnoseArgs {
    /// Run directory
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The phone by its name
    #[arg(value_name = "PHONE")]
    pub phone: String,
}

/// Diagnoses a phone: 0 if its ITL is to be deleted, else 1.
pub fn diagnose(args: &DiagnoseArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let summary = read_summary(&args.run)?;
    let table = phones(&args.run)?;
    let is_it = |row: &TableRow<'_>| row.text("phone").eq_ignore_ascii_case(&args.phone);
    let Some(row) = table.rows().find(is_it) else {
        let what = format!("{}: no phone of this run", args.phone);
        return Err(CliError::usage(what, "phones.csv in the run directory has the names"));
    };
    let diagnosis = Diagnosis::of(row, &summary);
    let out = match global.format {
        Format::Json => format!("{:#}\n", diagnosis.to_json()),
        Format::Text => diagnosis.text(),
    };
    output::print(&out)?;
    Ok(if diagnosis.deletes() { ExitCode::Ok } else { ExitCode::Failed })
}
