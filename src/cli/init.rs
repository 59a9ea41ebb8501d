use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::advice::{
    Export, Preset, Start, StartGroup, StartNode, StartSite, read_export, read_list,
};
use crate::base::words::count;
use crate::base::{Span, parse_span};
use crate::cluster::{CertificateKind, Release};
use crate::measure::known_paths;
use crate::scenario::load;

use super::args::{CliError, GlobalArgs};
use super::{ExitCode, output};

/// Write a scenario of your own cluster, with orders of a change to compare
///
/// The topology comes from flags, from a preset, from a phone export (CSV) and from what
/// `show cert list own` prints; what nobody says is guessed and marked. The file is valid as it
/// is written: `lint` and `whatif` take it at once.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct InitArgs {
    /// Name of the scenario and, with .toml behind it, of its file
    #[arg(value_name = "NAME", default_value = "my-cluster")]
    pub name: String,
    /// Nodes of a usual topology
    #[arg(long, value_name = "TOPOLOGY", default_value = "pair", conflicts_with = "node")]
    pub preset: PresetArg,
    /// A node and what runs on it, the publisher first: NAME, NAME@ADDRESS, NAME=tftp,tvs
    #[arg(long, value_name = "NODE", value_parser = node)]
    pub node: Vec<StartNode>,
    /// Release of the cluster, such as 12.5
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<String>,
    /// Cluster security mode
    #[arg(long, value_name = "MODE", default_value = "non-secure")]
    pub mode: ModeArg,
    /// A `CallManager` group, its nodes and its share: NAME=cm1,cm2:60%, or phones: branch=cm3:300;
    /// without one it gets the rest
    #[arg(long, value_name = "GROUP", value_parser = group)]
    pub group: Vec<Shared<StartGroup>>,
    /// TFTP nodes of the phones, first asked first: tftp1,tftp2
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    pub tftp: Vec<String>,
    /// Number of phones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    pub phones: Option<u32>,
    /// A model and its share: 8845=70%, or phones: 7841=1200; without one it gets the rest
    #[arg(long, value_name = "MODEL", value_parser = model)]
    pub model: Vec<Shared<String>>,
    /// A site, its share and its round trip: branches=60%:38ms
    #[arg(long, value_name = "SITE", value_parser = site)]
    pub site: Vec<Shared<StartSite>>,
    /// Take phones, models, device pools and sites from this export (CSV)
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,
    /// A device pool of the export and its group: DP-HQ=hq
    #[arg(long, value_name = "POOL=GROUP", value_parser = pair, requires = "import")]
    pub pool: Vec<(String, String)>,
    /// What `show cert list own` prints on the publisher, for the release
    #[arg(long, value_name = "FILE")]
    pub certs: Option<PathBuf>,
    /// Where to write it; - for standard output
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

const EXAMPLES: &str = "\
Examples:
  resetstorm init my-cluster --release 12.5 --mode mixed --phones 12000 \\
      --node pub --node tftp1 --node tftp2 --node cm1 --node cm2 --node cm3 --node cm4 \\
      --group hq=cm1,cm2,cm3:70% --group branches=cm4:30% --site hq=70%:1ms --site branches=30%:50ms
  resetstorm init office --preset publisher-only --phones 300
  resetstorm init my-cluster --import phones.csv --pool DP-HQ=hq --pool DP-Branch=branches";

/// A usual topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PresetArg {
    /// One node of Business Edition
    BusinessEdition,
    /// A publisher and a subscriber, both with TFTP
    Pair,
    /// One node with everything
    PublisherOnly,
    /// A publisher, two TFTP nodes and two that run `CallManager`
    TwoTftp,
}

/// Cluster security mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    /// Mixed: with a CTL
    Mixed,
    /// Non-secure: security by default, with an ITL
    NonSecure,
}

/// Release unless something says another one (choice: many still run it).
const RELEASE: &str = "12.5";
/// Phones unless somebody says how many.
const PHONES: u32 = 2_000;
/// Sites that are taken from an export; the others are one.
const SITES_MAX: usize = 200;
/// Largest file that is read in bytes.
const FILE_MAX: u64 = 1 << 31;

fn node(text: &str) -> Result<StartNode, String> {
    let (name, services) = match text.split_once('=') {
        Some((name, services)) => (name, Some(services)),
        None => (text, None),
    };
    let (name, address) = match name.split_once('@') {
        Some((name, address)) => {
            let address: IpAddr =
                address.parse().map_err(|_| format!("`{address}` is no address"))?;
            (name, Some(address))
        }
        None => (name, None),
    };
    if name.is_empty() {
        return Err("a node has a name; such as tftp1 or cm1=callmanager,tvs".to_owned());
    }
    let list = |text: &str| text.split(',').map(|one| one.trim().to_owned()).collect();
    Ok(StartNode { name: name.to_owned(), address, services: services.map(list) })
}

/// Something that a part of the phones has.
#[derive(Clone, Debug)]
pub struct Shared<T> {
    one: T,
    part: Part,
}

/// Which part.
#[derive(Clone, Copy, Debug)]
enum Part {
    Percent(f64),
    Phones(f64),
    Rest,
}

fn part(text: &str) -> Result<Part, String> {
    let text = text.trim();
    let (number, is_percent) = match text.strip_suffix('%') {
        Some(number) => (number.trim(), true),
        None => (text, false),
    };
    let number = number.parse::<f64>().ok().filter(|number| *number > 0.0 && number.is_finite());
    let number =
        number.ok_or_else(|| format!("`{text}` is no share, such as 60% or 300 phones"))?;
    Ok(if is_percent { Part::Percent(number) } else { Part::Phones(number) })
}

fn group(text: &str) -> Result<Shared<StartGroup>, String> {
    let (name, rest) = text.split_once('=').ok_or("written NAME=NODE,NODE:60%")?;
    let (members, part) = match rest.split_once(':') {
        Some((members, share)) => (members, part(share)?),
        None => (rest, Part::Rest),
    };
    let members = members.split(',').map(|one| one.trim().to_owned()).collect();
    Ok(Shared { one: StartGroup { name: name.to_owned(), members, weight: 1.0 }, part })
}

fn model(text: &str) -> Result<Shared<String>, String> {
    let (model, part) = match text.split_once('=') {
        Some((model, share)) => (model, part(share)?),
        None => (text, Part::Rest),
    };
    Ok(Shared { one: model.to_owned(), part })
}

fn site(text: &str) -> Result<Shared<StartSite>, String> {
    let (name, rest) = text.split_once('=').ok_or("written NAME=60% or NAME=60%:38ms")?;
    let (share, rtt) = match rest.split_once(':') {
        Some((share, rtt)) => (share, Some(span(rtt)?)),
        None => (rest, None),
    };
    Ok(Shared { one: StartSite { name: name.to_owned(), weight: 1.0, rtt }, part: part(share)? })
}

/// How far shares may be from adding up to all phones, as a part of them: 33 % thrice is well.
const ROUNDED: f64 = 0.011;

/// Each with its share of these phones, which the shares have to make up together.
fn shared<T: Clone>(all: &[Shared<T>], phones: u32, what: &str) -> Result<Vec<(T, f64)>, CliError> {
    let given = |part| match part {
        Part::Percent(percent) => Some(percent / 100.0),
        Part::Phones(number) => Some(number / f64::from(phones)),
        Part::Rest => None,
    };
    let sum: f64 = all.iter().filter_map(|one| given(one.part)).sum();
    let rests = all.iter().filter(|one| given(one.part).is_none()).count();
    let fits = if rests == 0 { (sum - 1.0).abs() < ROUNDED } else { sum < 1.0 };
    if !fits && !all.is_empty() {
        let (percent, phones) = ((sum * 1_000.0).round() / 10.0, count(u64::from(phones)));
        let what = format!(
            "these flags make no scenario: the shares of {what} make up {percent} % of {phones} phones"
        );
        let help = "together they make up 100 %; one without a share gets the rest; --phones says \
                    how many phones there are";
        return Err(CliError::usage(what, help));
    }
    let rest = (1.0 - sum) / rests.max(1) as f64;
    Ok(all.iter().map(|one| (one.one.clone(), given(one.part).unwrap_or(rest))).collect())
}

fn span(text: &str) -> Result<Span, String> {
    parse_span(text).map_err(|error| format!("{error}; such as 38ms"))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (pool, group) = text.split_once('=').ok_or("written POOL=GROUP")?;
    Ok((pool.trim().to_owned(), group.trim().to_owned()))
}

/// Longest name (choice): those of procedures have it, and more behind it.
const NAME_MAX: usize = 64;

/// Writes the scenario and says what to do with it.
pub fn init(args: &InitArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    // Not only because of a procedure, whose name is longer.
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if args.name.is_empty() || args.name.len() > NAME_MAX || !args.name.chars().all(fits) {
        let what = format!("these flags make no scenario: `{}` cannot be a name", args.name);
        let help = format!("lower-case letters, digits and hyphens only, {NAME_MAX} at most");
        return Err(CliError::usage(what, help));
    }
    let start = start(args)?;
    let text = start.to_toml();
    let file = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.toml", args.name)));
    load(&file, &text, &[], &known_paths()).map_err(|error| {
        let help = error.help.as_deref().unwrap_or("resetstorm init --help explains the flags");
        CliError::usage(format!("these flags make no scenario: {}", error.what), help)
    })?;
    if file.as_os_str() == "-" {
        output::print(&text)?;
        return Ok(ExitCode::Ok);
    }
    if file.exists() && !args.force {
        let what = format!("{} is there already", file.display());
        return Err(CliError::usage(what, "another NAME, --out FILE, or --force to write over it"));
    }
    output::write_file(&file, text.as_bytes())?;
    if !global.quiet {
        say(&file, &start);
    }
    Ok(ExitCode::Ok)
}

fn say(file: &Path, start: &Start) {
    for remark in &start.remarks {
        output::message(&format!("note: {remark}"));
    }
    let (file, phones) = (file.display(), count(u64::from(start.phones)));
    let of_group = |group: &StartGroup| {
        let all: f64 = start.groups.iter().map(|group| group.weight).sum();
        let phones = (group.weight / all * f64::from(start.phones)).round();
        format!("{} {}", group.name, count(phones as u64))
    };
    let groups: Vec<String> = start.groups.iter().map(of_group).collect();
    let groups =
        if groups.is_empty() { String::new() } else { format!(" ({})", groups.join(", ")) };
    output::message(&format!(
        "{file}: {} nodes, {phones} phones{groups}\nnext: resetstorm whatif {file}    (which order loses \
         fewest phones)\n      resetstorm lint {file}      (who would be stranded, and why)",
        start.nodes.len()
    ));
}

/// How many phones there are if each group says how many it has.
fn counted(groups: &[Shared<StartGroup>]) -> Option<u32> {
    let number = |one: &Shared<StartGroup>| match one.part {
        Part::Phones(number) => Some(number),
        Part::Percent(_) | Part::Rest => None,
    };
    let sum: f64 = groups.iter().map(number).sum::<Option<f64>>()?;
    (1.0..=16e6).contains(&sum).then_some(sum as u32)
}

fn start(args: &InitArgs) -> Result<Start, CliError> {
    let mut remarks = Vec::new();
    let nodes = if args.node.is_empty() {
        let preset = match args.preset {
            PresetArg::BusinessEdition => Preset::BusinessEdition,
            PresetArg::Pair => Preset::Pair,
            PresetArg::PublisherOnly => Preset::PublisherOnly,
            PresetArg::TwoTftp => Preset::TwoTftp,
        };
        remarks.extend(preset.remarks());
        preset.nodes()
    } else {
        args.node.clone()
    };
    let release = release(args, &mut remarks)?;
    let export = args.import.as_deref().map(exported).transpose()?;
    let counted = || export.as_ref().map(|export| export.phones).or_else(|| counted(&args.group));
    let phones = args.phones.or_else(counted).unwrap_or(PHONES);
    let groups = shared(&args.group, phones, "groups")?.into_iter();
    let sites = shared(&args.site, phones, "sites")?.into_iter();
    let models = shared(&args.model, phones, "models")?;
    let mut start = Start {
        name: args.name.clone(),
        release,
        is_mixed: args.mode == ModeArg::Mixed,
        nodes,
        groups: groups.map(|(group, weight)| StartGroup { weight, ..group }).collect(),
        tftp: args.tftp.clone(),
        phones,
        models,
        sites: sites.map(|(site, weight)| StartSite { weight, ..site }).collect(),
        remarks,
    };
    if let Some(export) = &export {
        take_export(&mut start, args, export)?;
    }
    if start.models.is_empty() {
        start.models.push(("8845".to_owned(), 1.0));
    }
    Ok(start)
}

fn read(path: &Path) -> Result<String, CliError> {
    let unreadable = |error: std::io::Error| {
        CliError::usage(format!("{}: cannot be read: {error}", path.display()), "name a text file")
    };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_MAX {
        let what = format!("{}: {length} bytes are too many", path.display());
        return Err(CliError::usage(what, "an export has a line for each phone"));
    }
    // Exports of old spreadsheets are not always UTF-8; names are all that could suffer.
    Ok(String::from_utf8_lossy(&fs::read(path).map_err(unreadable)?).into_owned())
}

/// The release that was said, or the latest that the certificates fit.
fn release(args: &InitArgs, remarks: &mut Vec<String>) -> Result<String, CliError> {
    let said = args.release.clone();
    let Some(path) = &args.certs else { return Ok(said.unwrap_or_else(|| RELEASE.to_owned())) };
    let listed = read_list(&read(path)?).ok_or_else(|| {
        let what = format!("{}: no line is one of show cert list own", path.display());
        let help = "lines such as \"TVS/TVS.pem: Self-signed certificate generated by system\"";
        CliError::usage(what, help)
    })?;
    if !listed.by_ca.is_empty() {
        let names: Vec<&str> = listed.by_ca.iter().map(|kind| kind.name()).collect();
        remarks.push(format!(
            "A CA has signed {}: a change of them is import = {{ … }} instead of regenerate.",
            names.join(", ")
        ));
    }
    let fits: Vec<&str> = listed.releases().map(Release::name).collect();
    let has = |kind: CertificateKind| listed.kinds.contains(&kind);
    let recovery = if has(CertificateKind::ItlRecovery) { "an" } else { "no" };
    match said {
        Some(said) if fits.iter().any(|fit| *fit == said) => Ok(said),
        Some(said) => {
            remarks.push(format!(
                "The list of certificates has {recovery} ITLRecovery, which release {said} does not \
                 go with; releases that do: {}.",
                fits.join(", ")
            ));
            Ok(said)
        }
        None => {
            let latest = fits.last().copied().unwrap_or(RELEASE);
            remarks.push(format!(
                "The release is a guess from the list of certificates, which has {recovery} \
                 ITLRecovery; it may be {}.",
                fits.join(", ")
            ));
            Ok(latest.to_owned())
        }
    }
}

fn exported(path: &Path) -> Result<Export, CliError> {
    read_export(&read(path)?).map_err(|error| {
        let help = "a CSV with a first line such as name,model,pool,site, or an export of BAT";
        CliError::usage(format!("{}: {error}", path.display()), help)
    })
}

fn take_export(start: &mut Start, args: &InitArgs, export: &Export) -> Result<(), CliError> {
    if args.model.is_empty() {
        let weighted = |(model, phones): &(_, u32)| (format!("{model}"), f64::from(*phones));
        start.models = export.models.iter().map(weighted).collect();
    }
    if args.site.is_empty() {
        start.sites = sites(export);
    }
    take_groups(start, args, export)?;
    let left_out: Vec<String> = export
        .left_out
        .iter()
        .map(|(what, rows)| format!("{} ({what})", count(u64::from(*rows))))
        .collect();
    if !left_out.is_empty() {
        let first: Vec<&str> = left_out.iter().take(5).map(String::as_str).collect();
        start
            .remarks
            .push(format!("Rows of the export that are no such phones: {}.", first.join(", ")));
    }
    start.remarks.push(
        "Models and sites are drawn for each phone by their shares in the export, not row by row."
            .to_owned(),
    );
    Ok(())
}

fn sites(export: &Export) -> Vec<StartSite> {
    let mut names = Names::default();
    let site = |name: String, phones: u32| StartSite { name, weight: f64::from(phones), rtt: None };
    let (first, rest) = export.sites.split_at(export.sites.len().min(SITES_MAX));
    let mut sites: Vec<StartSite> =
        first.iter().map(|(name, phones)| site(names.plain(name), *phones)).collect();
    let others: u32 = rest.iter().map(|(_, phones)| phones).sum();
    if others > 0 {
        sites.push(site(names.plain("other-sites"), others));
    }
    if sites.len() < 2 { Vec::new() } else { sites }
}

/// Groups by the export: of its own column, of --pool, or one for each device pool.
fn take_groups(start: &mut Start, args: &InitArgs, export: &Export) -> Result<(), CliError> {
    let known = |pool: &str| export.pools.iter().any(|(name, _)| name == pool);
    if let Some((pool, _)) = args.pool.iter().find(|(pool, _)| !known(pool)) {
        let names: Vec<&str> = export.pools.iter().take(8).map(|(name, _)| name.as_str()).collect();
        let what = format!("--pool {pool}: the export has no such device pool");
        return Err(CliError::usage(what, format!("pools: {}", names.join(", "))));
    }
    let mut names = Names::default();
    if !args.pool.is_empty() {
        let mut weights: BTreeMap<&str, u32> = BTreeMap::new();
        for (pool, phones) in &export.pools {
            let group = args.pool.iter().find(|(name, _)| name == pool);
            *weights.entry(group.map_or(pool, |(_, group)| group)).or_default() += phones;
        }
        let given = std::mem::take(&mut start.groups);
        let members = |name: &str| {
            let group = given.iter().find(|group| group.name == name);
            group.map(|group| group.members.clone()).unwrap_or_default()
        };
        let group = |(name, phones): (&str, u32)| StartGroup {
            members: members(name),
            name: names.plain(name),
            weight: f64::from(phones),
        };
        start.groups = weights.into_iter().map(group).collect();
        return Ok(());
    }
    if start.groups.is_empty() {
        let from = if export.groups.is_empty() { &export.pools } else { &export.groups };
        if export.groups.is_empty() && !export.pools.is_empty() {
            start.remarks.push(
                "Each device pool stands as a CallManager group of its own; --pool POOL=GROUP puts \
                 pools together."
                    .to_owned(),
            );
        }
        let group = |(name, phones): &(String, u32)| StartGroup {
            members: Vec::new(),
            name: names.plain(name),
            weight: f64::from(*phones),
        };
        start.groups = from.iter().map(group).collect();
    }
    Ok(())
}

/// Names as scenarios have them, each once.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn plain(&mut self, name: &str) -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let mut plain: String = name.chars().map(letter).collect();
        while plain.contains("--") {
            plain = plain.replace("--", "-");
        }
        let plain = plain.trim_matches('-');
        let plain = if plain.is_empty() { "none" } else { plain };
        let mut free = plain.to_owned();
        let mut number = 2;
        while self.0.contains(&free) {
            free = format!("{plain}-{number}");
            number += 1;
        }
        self.0.push(free.clone());
        free
    }
}
