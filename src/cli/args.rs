//! What was typed: flags that several subcommands share, and what becomes of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, ColorChoice, ValueEnum};

use crate::base::{Span, parse_span, printable};
use crate::crypto::Provider;
use crate::measure::known_paths;
use crate::report::ReportError;
use crate::scenario::{PHONES_MAX, Plan, ScenarioError, Slo, SloError, load, procedures};

use super::ExitCode;

/// Flags of every subcommand.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct GlobalArgs {
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but the result and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Colour messages; `NO_COLOR` in the environment means never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// How progress is shown on stderr
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub progress: Progress,
    /// Form of the result on stdout
    #[arg(long, global = true, value_name = "FORM", default_value = "text")]
    pub format: Format,
    /// Which library signs, verifies and shakes hands: ring, or aws-lc-rs if it was built in
    #[arg(long, global = true, value_name = "LIBRARY", default_value = "ring")]
    pub crypto: Provider,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// `tui` on a terminal, `lines` elsewhere
    #[default]
    Auto,
    /// One line every ten seconds
    Lines,
    /// Not at all
    None,
    /// Redrawn in place
    Tui,
}

/// Form of the result on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON document and nothing else
    Json,
    /// For people
    #[default]
    Text,
}

impl GlobalArgs {
    /// Whether messages on stderr carry colours.
    pub fn stderr_colour(&self) -> bool {
        let terminal = io::stderr().is_terminal();
        colour(self.color, terminal, &|name| {
            std::env::var_os(name).map(std::ffi::OsString::into_string)
        })
    }

    /// How progress is shown here: never [`Progress::Auto`].
    pub fn resolved_progress(&self) -> Progress {
        match self.progress {
            _ if self.quiet => Progress::None,
            Progress::Auto if io::stderr().is_terminal() => Progress::Tui,
            Progress::Auto => Progress::Lines,
            asked => asked,
        }
    }
}

/// Reads a variable of the environment; an inner error is one that is not Unicode.
type Environment<'a> = &'a dyn Fn(&str) -> Option<Result<String, std::ffi::OsString>>;

/// A flag outweighs the environment, which outweighs the terminal (no-color.org).
fn colour(choice: ColorChoice, terminal: bool, environment: Environment<'_>) -> bool {
    let no_colour = || environment("NO_COLOR").is_some_and(|value| value != Ok(String::new()));
    let dumb = || environment("TERM") == Some(Ok("dumb".to_owned()));
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal && !no_colour() && !dumb(),
    }
}

/// One scenario and the flags that change it.
#[derive(Args, Clone, Debug)]
pub struct ScenarioArgs {
    /// Scenario file
    #[arg(value_name = "SCENARIO")]
    pub scenario: PathBuf,
    /// What the command line changes in it.
    #[command(flatten)]
    pub flags: ScenarioFlags,
}

/// Flags that change a scenario; each ends up in the resolved plan of the run directory.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Scenario")]
pub struct ScenarioFlags {
    /// Number of phones
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = phones)]
    pub phones: Option<u32>,
    /// Seed of every draw
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = seed)]
    pub seed: Option<u64>,
    /// Change any key of the scenario, such as cluster.sign-cache=off
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Add a condition that must hold at the end, such as 'phones.stuck == 0'
    #[arg(long, value_name = "EXPR", value_parser = slo)]
    pub slo: Vec<Slo>,
    /// Aim the phones at other servers: tftp=IP:PORT once or twice, tvs=IP:PORT, and a registrar as
    /// sip=IP:PORT or sips=IP:PORT
    #[arg(long, value_name = "SERVERS", value_parser = target)]
    pub target: Option<TargetArg>,
    /// Permit traffic to this address outside loopback
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub allow_target: Vec<IpAddr>,
    /// End the run after this time, settled or not
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub max_wall: Option<Span>,
}

/// TOML integers are signed.
const SEED_MAX: u64 = i64::MAX as u64;

/// Servers that are not ours, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetArg {
    /// TFTP servers of every phone, first asked first: at least one.
    pub tftp: Vec<SocketAddr>,
    /// Servers of other services, by the names of these.
    pub others: BTreeMap<&'static str, SocketAddr>,
}

impl ScenarioArgs {
    /// The plan of the scenario with the flags in it.
    pub fn load(&self) -> Result<Plan, CliError> {
        self.flags.load(&self.scenario)
    }

    /// Like [`ScenarioArgs::load`], for commands that send traffic: the nodes whose services the
    /// phones would ask must lie in loopback or be permitted, too.
    pub fn load_for_traffic(&self) -> Result<Plan, CliError> {
        let plan = self.load()?;
        self.flags.permit_nodes(&plan)?;
        Ok(plan)
    }
}

impl ScenarioFlags {
    /// The plan of the scenario in the file `path` with the flags in it.
    ///
    /// # Errors
    /// The file cannot be read or has a fault, or a target lies outside loopback and was not
    /// permitted.
    pub fn load(&self, path: &Path) -> Result<Plan, CliError> {
        let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| ScenarioError::not_utf8(&path.display().to_string(), &bytes))?;
        let (known, overrides) = (known_paths(), self.overrides());
        let mut plan = load(path, text, &overrides, &known)?;
        check_slos(&self.slo, &plan.paths(&known))?;
        if !self.slo.is_empty() {
            let all = plan.slos.iter().chain(&self.slo).map(|slo| slo.text.as_str());
            let overrides = [overrides, vec![slo_override(all)]].concat();
            plan = load(path, text, &overrides, &known)?;
        }
        if let Some(target) = &plan.target {
            self.permit(target.servers().map(|address| ("the target", address.ip())))?;
        }
        Ok(plan)
    }

    /// The plans of the scenario in the file `path`: one for each procedure that it names, unless
    /// the flags say which one is in use.
    ///
    /// # Errors
    /// As [`ScenarioFlags::load`] of the first that has a fault.
    pub fn load_each(&self, path: &Path) -> Result<Vec<Plan>, CliError> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let names = procedures(&text);
        let is_chosen = self.set.iter().any(|set| set.trim_start().starts_with("use="));
        if names.is_empty() || is_chosen {
            return Ok(vec![self.load(path)?]);
        }
        let load = |name: String| {
            let mut flags = self.clone();
            flags.set.insert(0, format!("use={name}"));
            flags.load(path)
        };
        names.into_iter().map(load).collect()
    }

    /// Whether traffic may go to `address`: loopback, or named by `--allow-target`.
    pub fn is_permitted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.allow_target.contains(&address)
    }

    /// Refuses a plan whose phones would ask a node outside loopback that was not permitted. Where
    /// a target stands for all servers, no node is asked.
    ///
    /// # Errors
    /// Names the first such node.
    pub fn permit_nodes(&self, plan: &Plan) -> Result<(), CliError> {
        if plan.target.as_ref().is_some_and(|target| target.tvs.is_some()) {
            return Ok(());
        }
        self.permit(plan.topology.nodes.iter().map(|node| (node.name.as_str(), node.address)))
    }

    pub(super) fn permit<'a>(
        &self,
        addresses: impl Iterator<Item = (&'a str, IpAddr)>,
    ) -> Result<(), CliError> {
        let mut addresses = addresses;
        match addresses.find(|(_, address)| !self.is_permitted(*address)) {
            None => Ok(()),
            Some((name, address)) => {
                let address = address.to_canonical();
                let what = format!("{name} ({address}) is outside loopback");
                let help =
                    format!("if those servers may be loaded, say so: --allow-target {address}");
                Err(CliError::usage(what, help))
            }
        }
    }

    /// The flags as overrides; `--set` comes first, so that a flag of its own wins.
    fn overrides(&self) -> Vec<String> {
        let mut overrides = self.set.clone();
        overrides.extend(self.phones.map(|phones| format!("fleet.phones={phones}")));
        overrides.extend(self.seed.map(|seed| format!("seed={seed}")));
        overrides.extend(self.max_wall.map(|span| format!("run.max-wall=\"{span}\"")));
        overrides.extend(self.target.as_ref().map(|target| {
            let tftp: Vec<_> = target.tftp.iter().map(|tftp| format!("\"{tftp}\"")).collect();
            let other =
                |(service, server): (&&str, &SocketAddr)| format!(", {service} = \"{server}\"");
            let others: String = target.others.iter().map(other).collect();
            format!("target={{ tftp = [{}]{others} }}", tftp.join(", "))
        }));
        overrides
    }
}

/// The override that makes `texts` the conditions of the scenario.
fn slo_override<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let rows: Vec<String> = texts.map(|text| format!("{{ expr = {} }}", quoted(text))).collect();
    format!("slo=[{}]", rows.join(", "))
}

fn unreadable(path: &Path, error: &io::Error) -> CliError {
    let what = format!("{}: cannot be read: {error}", path.display());
    let help = match error.kind() {
        io::ErrorKind::NotFound => "shipped scenarios lie in the folder scenarios/",
        io::ErrorKind::IsADirectory => "name one .toml file of this folder",
        _ => "check the permissions of the file",
    };
    CliError::usage(what, help)
}

pub(super) fn slo(text: &str) -> Result<Slo, SloError> {
    text.parse()
}

/// Conditions of the command line are told by their flag: they are on no line of a file.
///
/// # Errors
/// What the summary does not have, or a bound that is not of its kind.
pub(super) fn check_slos(slos: &[Slo], known: &[String]) -> Result<(), CliError> {
    slos.iter().try_for_each(|slo| {
        slo.check(known).map_err(|error| {
            CliError::usage(format!("--slo '{}': {}", slo.text, error.what), error.help)
        })
    })
}

fn phones(text: &str) -> Result<u32, String> {
    let number = whole(text, PHONES_MAX.into())?;
    Ok(u32::try_from(number).expect("the limit fits"))
}

fn seed(text: &str) -> Result<u64, String> {
    whole(text, SEED_MAX)
}

/// A whole number as scenarios have it: `2000`, `2_000`.
fn whole(text: &str, most: u64) -> Result<u64, String> {
    let groups = || text.split('_');
    let is_digits = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    if !groups().all(is_digits) {
        return Err("not a whole number, such as 2000 or 2_000".to_owned());
    }
    let number = groups().collect::<String>().parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| format!("too large: at most {most}"))
}

pub(super) fn duration(text: &str) -> Result<Span, String> {
    let span = parse_span(text)
        .map_err(|error| format!("{error}; a number and a unit (ms, s, m, h), such as 5m"))?;
    if span.is_zero() {
        Err("zero is no length of time here; such as 5m".to_owned())
    } else {
        Ok(span)
    }
}

fn host(text: &str) -> Result<IpAddr, String> {
    let address = text.parse::<IpAddr>().ok();
    address
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .map(|address| address.to_canonical())
        .ok_or_else(|| "not an address; targets are named by address, such as 192.0.2.7".to_owned())
}

/// Services that a target may name beside TFTP, once each.
const OTHERS: [&str; 3] = ["tvs", "sip", "sips"];

fn target(text: &str) -> Result<TargetArg, String> {
    let mut target = TargetArg { tftp: Vec::new(), others: BTreeMap::new() };
    for part in text.split(',') {
        let (service, address) = part.split_once('=').ok_or_else(|| misread(part))?;
        let read = || address.trim().parse::<SocketAddr>().map_err(|_| misread(part));
        let service = service.trim();
        if service == "tftp" {
            let address = read()?;
            if target.tftp.contains(&address) {
                return Err(format!("`{service}={address}` comes twice"));
            }
            target.tftp.push(address);
            continue;
        }
        let Some(known) = OTHERS.into_iter().find(|known| *known == service) else {
            return Err(format!(
                "unknown service `{service}`; services: tftp, {}",
                OTHERS.join(", ")
            ));
        };
        if target.others.insert(known, read()?).is_some() {
            return Err(format!("`{known}` comes twice"));
        }
    }
    match target.tftp.len() {
        0 => Err("a target needs tftp=IP:PORT; phones cannot boot without files".to_owned()),
        3.. => Err("a phone takes two TFTP servers at most".to_owned()),
        _ => Ok(target),
    }
}

fn misread(part: &str) -> String {
    format!("`{part}` is not SERVICE=IP:PORT, such as tftp=192.0.2.7:69")
}

/// Why a command ends before its work is done: what, where, how to repair it, and the exit code.
#[derive(Debug)]
pub enum CliError {
    /// A scenario has a fault.
    Scenario(ScenarioError),
    /// Anything else.
    Plain {
        /// One sentence in lower case.
        what: String,
        /// How to repair it.
        help: Option<String>,
        /// How the program ends.
        code: ExitCode,
    },
}

impl CliError {
    /// Wrong use: nothing was run.
    pub fn usage(what: impl Into<String>, help: impl Into<String>) -> CliError {
        CliError::Plain { what: what.into(), help: Some(help.into()), code: ExitCode::Usage }
    }

    /// The surroundings do not permit it: bind, connect, descriptors, disk.
    pub fn environment(what: impl Into<String>, help: impl Into<String>) -> CliError {
        CliError::Plain { what: what.into(), help: Some(help.into()), code: ExitCode::Environment }
    }

    /// A fault of this program.
    pub fn internal(what: impl Into<String>) -> CliError {
        let help = Some("this is a bug; please report it with the scenario and its seed".into());
        CliError::Plain { what: what.into(), help, code: ExitCode::Internal }
    }

    /// A file or a peer that is at fault, in words that may hold its own.
    pub fn new(code: ExitCode, what: impl fmt::Display) -> CliError {
        CliError::Plain { what: printable(&what.to_string()), help: None, code }
    }

    /// The same for wrong use.
    pub fn misuse(what: impl fmt::Display, help: &str) -> CliError {
        CliError::usage(printable(&what.to_string()), help)
    }

    /// The file cannot be read for what it should be.
    pub fn malformed(path: &Path, error: &impl fmt::Display) -> CliError {
        CliError::new(ExitCode::Usage, format!("{}: {error}", path.display()))
    }

    /// An error whose advice stands behind a semicolon.
    pub fn advised(error: &impl fmt::Display, code: ExitCode) -> CliError {
        let text = error.to_string();
        let (what, help) = text.split_once("; ").unwrap_or((&text, "see the message above"));
        CliError::Plain { what: what.into(), help: Some(help.into()), code }
    }

    /// How the program ends.
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            CliError::Scenario(_) => ExitCode::Usage,
            CliError::Plain { code, .. } => *code,
        }
    }

    /// What happened, in one sentence; a fault of a scenario has more to say.
    pub fn what(&self) -> Option<&str> {
        match self {
            CliError::Scenario(_) => None,
            CliError::Plain { what, .. } => Some(what),
        }
    }

    /// The whole message.
    pub fn rendered(&self, colour: bool) -> String {
        match self {
            CliError::Scenario(error) if colour => error.coloured.to_string(),
            CliError::Scenario(error) => error.rendered.to_string(),
            CliError::Plain { what, help, .. } => {
                let (error, tip, end) = if colour { (RED, CYAN, RESET) } else { ("", "", "") };
                let help = help.as_ref().map(|help| format!("\n{tip}help{end}: {help}"));
                format!("{error}error{end}: {what}{}", help.unwrap_or_default())
            }
        }
    }
}

const RED: &str = "\u{1b}[1;31m";
const CYAN: &str = "\u{1b}[1;36m";
const RESET: &str = "\u{1b}[0m";

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered(false))
    }
}

impl std::error::Error for CliError {}

impl From<ScenarioError> for CliError {
    fn from(error: ScenarioError) -> CliError {
        CliError::Scenario(error)
    }
}

impl From<ReportError> for CliError {
    fn from(error: ReportError) -> CliError {
        CliError::environment(error.to_string(), "check space and permissions, or choose --out")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        global: GlobalArgs,
        #[command(flatten)]
        scenario: ScenarioArgs,
    }

    fn line(flags: &[&str]) -> Result<Line, String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/callmanager-regen.toml");
        let words = ["resetstorm", path].into_iter().chain(flags.iter().copied());
        Line::try_parse_from(words).map_err(|error| error.to_string())
    }

    fn plan(flags: &[&str]) -> Plan {
        line(flags).unwrap().scenario.load().unwrap_or_else(|error| panic!("{error}"))
    }

    fn fault(flags: &[&str]) -> CliError {
        line(flags).unwrap().scenario.load_for_traffic().expect_err("a fault")
    }

    #[test]
    fn the_library_of_signatures_is_ring_unless_another_is_built_in() {
        assert_eq!(line(&[]).unwrap().global.crypto, Provider::Ring);
        let other = line(&["--crypto", "aws-lc-rs"]).map(|line| line.global.crypto.name());
        if cfg!(feature = "aws-lc-rs") {
            assert_eq!(other.as_deref(), Ok("aws-lc-rs"));
        } else {
            assert!(other.unwrap_err().contains("--features aws-lc-rs"));
        }
        assert!(line(&["--crypto", "openssl"]).unwrap_err().contains("must be ring or aws-lc-rs"));
    }

    #[test]
    fn flags_are_in_the_resolved_plan() {
        let plan = plan(&["--phones", "7", "--seed", "9", "--max-wall", "90s"]);
        assert_eq!((plan.fleet.phones, plan.seed), (7, 9));
        assert_eq!(plan.limits.max_wall, Span::from_secs(90));
    }

    #[test]
    fn numbers_are_written_as_in_a_scenario_and_errors_say_what_is_wrong_with_them() {
        let read = plan(&["--phones", "2_000", "--seed", "9_000"]);
        assert_eq!((read.fleet.phones, read.seed), (2_000, 9_000));
        for (flag, value, expected) in [
            ("--phones", "99999999999999999999", "too large: at most 16000000"),
            ("--phones", "-5", "not a whole number"),
            ("--phones", "2__0", "not a whole number"),
            ("--seed", "99999999999999999999", "too large: at most 9223372036854775807"),
            ("--seed", "", "not a whole number"),
        ] {
            let error = line(&[flag, value]).unwrap_err();
            assert!(error.contains(expected), "{flag} {value}: {error}");
        }
    }

    #[test]
    fn a_wrong_condition_of_the_command_line_is_told_by_its_flag() {
        let error = fault(&["--slo", "phones.failed_ratio <= 0.5"]).to_string();
        let what = "error: --slo 'phones.failed_ratio <= 0.5': `0.5` has no unit";
        assert!(error.starts_with(what), "{error}");
        assert!(error.contains("such as 50%"), "{error}");
    }

    #[test]
    fn a_flag_of_its_own_outweighs_set() {
        assert_eq!(plan(&["--phones", "7", "--set", "fleet.phones=8"]).fleet.phones, 7);
    }

    #[test]
    fn added_slos_come_behind_those_of_the_scenario_and_of_set() {
        let texts =
            |flags: &[&str]| plan(flags).slos.into_iter().map(|slo| slo.text).collect::<Vec<_>>();
        let all = texts(&["--slo", "phones.failed < 3"]);
        assert_eq!((all.len(), all[4].as_str()), (5, "phones.failed < 3"));
        assert_eq!(texts(&["--set", "slo=[]", "--slo", "phones.failed < 3"]), all[4..]);
        let error = fault(&["--slo", "phones.nobody < 3"]).to_string();
        assert!(error.contains("the summary has no `phones.nobody`"), "{error}");
        assert!(line(&["--slo", "phones.failed = 3"]).unwrap_err().contains("comparison"));
    }

    #[test]
    fn a_target_is_in_the_plan() {
        let target = plan(&["--target", "tftp=127.0.0.1:69,tvs=[::1]:2445"]).target.unwrap();
        assert_eq!(target.tftp, ["127.0.0.1:69".parse().unwrap()]);
        assert_eq!(target.tvs.unwrap().to_string(), "[::1]:2445");
        assert!(plan(&["--target", "tftp=127.0.0.1:69"]).target.unwrap().tvs.is_none());
        let registrars = "tftp=127.0.0.1:69,sip=127.0.0.9:5060,sips=127.0.0.9:5061";
        let target = plan(&["--target", registrars]).target.unwrap();
        assert_eq!(target.sip.unwrap().to_string(), "127.0.0.9:5060");
        assert_eq!(target.sips.unwrap().to_string(), "127.0.0.9:5061");
        let two = "tftp=127.0.0.1:69,tvs=[::1]:2445,tftp=127.0.0.2:69";
        let target = plan(&["--target", two]).target.unwrap();
        assert_eq!(target.tftp, ["127.0.0.1:69", "127.0.0.2:69"].map(|text| text.parse().unwrap()));
    }

    #[test]
    fn a_misread_target_says_what_it_should_be() {
        let error = |text| super::target(text).unwrap_err();
        assert!(error("tvs=127.0.0.1:1").contains("needs tftp"));
        assert!(error("ldap=127.0.0.1:1").contains("services: tftp, tvs"));
        assert!(error("tftp=127.0.0.1:1,tftp=127.0.0.1:1").contains("twice"));
        assert!(error("tftp=127.0.0.1:1,tvs=127.0.0.1:1,tvs=127.0.0.1:2").contains("twice"));
        let three = "tftp=127.0.0.1:1,tftp=127.0.0.1:2,tftp=127.0.0.1:3";
        assert!(error(three).contains("two TFTP servers at most"));
        assert!(error("tftp=localhost").contains("SERVICE=IP:PORT"));
        assert!(error("127.0.0.1:69").contains("SERVICE=IP:PORT"));
    }

    #[test]
    fn a_target_outside_loopback_must_be_permitted_by_address() {
        let aimed = |allow: &[&str]| {
            let flags = ["--target", "tftp=192.0.2.7:69,tvs=192.0.2.8:2445"];
            line(&[&flags, allow].concat()).unwrap().scenario.load()
        };
        let error = aimed(&[]).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Usage);
        assert!(error.to_string().contains("help: if those servers"), "{error}");
        assert!(error.to_string().ends_with("--allow-target 192.0.2.7"), "{error}");
        let error = aimed(&["--allow-target", "192.0.2.7"]).unwrap_err();
        assert!(error.to_string().ends_with("--allow-target 192.0.2.8"), "{error}");
        let both = ["--allow-target", "192.0.2.7:69", "--allow-target", "192.0.2.8"];
        assert!(aimed(&both).is_ok());
    }

    #[test]
    fn a_node_outside_loopback_must_be_permitted_before_traffic_is_sent() {
        let moved = ["--set", "cluster.node.pub.address=192.0.2.7"];
        assert!(line(&moved).unwrap().scenario.load().is_ok());
        assert!(fault(&moved).to_string().starts_with("error: pub (192.0.2.7) is outside"));
        let with = |more: &[&str]| line(&[&moved, more].concat()).unwrap().scenario;
        assert!(with(&["--allow-target", "192.0.2.7"]).load_for_traffic().is_ok());
        let tftp = with(&["--target", "tftp=127.0.0.1:69"]);
        assert!(tftp.load_for_traffic().is_err(), "TVS is still asked at the node");
        let both = with(&["--target", "tftp=127.0.0.1:69,tvs=127.0.0.1:2445"]);
        assert!(both.load_for_traffic().is_ok());
    }

    #[test]
    fn loopback_is_permitted_in_every_spelling() {
        let flags = ScenarioFlags::default();
        for address in ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1"] {
            assert!(flags.is_permitted(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "128.0.0.1", "::2", "::ffff:10.0.0.1"] {
            assert!(!flags.is_permitted(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_missing_file_is_named_with_its_repair() {
        let flags = ScenarioFlags::default();
        let error = flags.load(Path::new("no/such.toml")).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Usage);
        let text = error.to_string();
        assert!(text.starts_with("error: no/such.toml: cannot be read: "), "{text}");
        assert!(text.ends_with("help: shipped scenarios lie in the folder scenarios/"), "{text}");
    }

    #[test]
    fn durations_need_a_unit_and_are_not_zero() {
        assert_eq!(duration("5m"), Ok(Span::from_secs(300)));
        assert!(duration("5").unwrap_err().contains("no unit"));
        assert!(duration("0s").is_err());
    }

    #[test]
    fn colour_follows_the_flag_then_the_environment_then_the_terminal() {
        let none: Environment<'_> = &|_| None;
        let no_colour: Environment<'_> = &|name| (name == "NO_COLOR").then(|| Ok("1".to_owned()));
        let empty: Environment<'_> = &|name| (name == "NO_COLOR").then(|| Ok(String::new()));
        let dumb: Environment<'_> = &|name| (name == "TERM").then(|| Ok("dumb".to_owned()));
        assert!(colour(ColorChoice::Auto, true, none) && !colour(ColorChoice::Auto, false, none));
        assert!(!colour(ColorChoice::Auto, true, no_colour), "NO_COLOR");
        assert!(colour(ColorChoice::Auto, true, empty), "an empty NO_COLOR does not count");
        assert!(!colour(ColorChoice::Auto, true, dumb));
        assert!(colour(ColorChoice::Always, false, no_colour));
        assert!(!colour(ColorChoice::Never, true, none));
    }

    #[test]
    fn quiet_shows_no_progress_and_excludes_verbose() {
        assert_eq!(line(&["-q"]).unwrap().global.resolved_progress(), Progress::None);
        let lines = line(&["--progress", "lines"]).unwrap();
        assert_eq!(lines.global.resolved_progress(), Progress::Lines);
        assert_eq!(line(&["-vv"]).unwrap().global.verbose, 2);
        assert!(line(&["-q", "-v"]).is_err());
    }

    #[test]
    fn messages_have_colours_only_when_asked() {
        let error = CliError::environment("no room", "make room");
        assert_eq!(error.rendered(false), "error: no room\nhelp: make room");
        assert!(error.rendered(true).contains("\u{1b}[1;31merror\u{1b}[0m: no room"));
        assert_eq!(error.exit_code(), ExitCode::Environment);
        assert_eq!(CliError::internal("x").exit_code(), ExitCode::Internal);
    }
}
