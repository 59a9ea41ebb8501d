use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::base::{DeviceName, Purpose, stream};
use crate::capacity::{Ask, Device, Part, Target, TrustCheck, WorkloadSpec};
use crate::crypto::{CertificateSpec, Identity, KeySource};
use crate::listing::List;
use crate::phone::FileKind;
use crate::toolbox::{Decision, TrustLists, read_store};
use crate::wire::SignedFile;

use super::super::args::CliError;
use super::super::files::{read, read_all, trust_lists};
use super::lists::{read_lines, read_names};
use super::numbers::percent;

/// With what to load.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Names of files, one a line
    #[arg(long, value_name = "FILE")]
    pub names: Option<PathBuf>,
    /// Phones, one a line: MAC,MODEL,SITE,GROUP; what is behind the MAC may be missing
    #[arg(long, value_name = "FILE")]
    pub devices: Option<PathBuf>,
    /// Only the phones of this site
    #[arg(long, value_name = "SITE", requires = "devices")]
    pub site: Option<String>,
    /// Only the phones of this CallManager group
    #[arg(long, value_name = "GROUP", requires = "devices")]
    pub group: Option<String>,
    /// A further file of every boot, such as ringlist.xml
    #[arg(long, value_name = "NAME", requires = "devices")]
    pub optional: Vec<String>,
    /// Certificate that TVS is asked about, or a signed file whose signer it is asked for
    #[arg(long, value_name = "FILE", requires = "tvs")]
    pub ask: Vec<PathBuf>,
    /// Parts of the load and their shares [default: all parts that are possible, equally, without
    /// unknown and random]
    #[arg(long, value_name = "PART=SHARE,...", value_parser = mix)]
    pub mix: Option<Mix>,
    /// CTL or ITL of a phone: signatures of files are checked, and the TVS server
    #[arg(long, value_name = "FILE")]
    pub trust: Vec<PathBuf>,
}

/// Parts and their shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix(Vec<(Part, f64)>);

/// Questions about certificates that nobody knows: enough that no server remembers them all.
const RANDOM_QUERIES: usize = 256;
/// The same for VERIFY, each of which carries a certificate.
const RANDOM_CERTIFICATES: usize = 4;
/// Start of validity of those certificates, Unix seconds.
const RANDOM_NOT_BEFORE_S: u64 = 1_700_000_000;

impl LoadArgs {
    /// What is asked for; reads the files that are named.
    pub(super) fn workload(&self, target: &Target, seed: u64) -> Result<WorkloadSpec, CliError> {
        let names = self.names.as_deref().map(read_names).transpose()?.unwrap_or_default();
        let devices = self.read_devices()?;
        let mut asks = Vec::new();
        for path in &self.ask {
            asks.extend(asks_of(path)?);
        }
        let serves_files = target.tftp.is_some() || target.tcp.http.is_some();
        let possible = |part: Part| match part {
            Part::Boot => serves_files && !devices.is_empty(),
            Part::Known => serves_files && !names.is_empty(),
            Part::Unknown => serves_files,
            Part::Verify | Part::Query => asks.iter().any(|(_, ask)| ask.part() == part),
            Part::Random => target.tcp.tvs.is_some(),
            Part::Enrol => target.tcp.capf.is_some(),
            Part::Register => target.tcp.sip.is_some(),
        };
        let mix = match &self.mix {
            Some(Mix(parts)) => parts.clone(),
            None => default_mix(possible)?,
        };
        if let Some((part, _)) = mix.iter().find(|(part, _)| !possible(*part)) {
            return Err(impossible(*part));
        }
        let random = mix.iter().any(|(part, _)| *part == Part::Random);
        Ok(WorkloadSpec {
            seed,
            mix,
            names,
            devices,
            optional: self.optional.clone(),
            asks,
            random: if random { strangers(seed) } else { Vec::new() },
        })
    }

    fn read_devices(&self) -> Result<Vec<Device>, CliError> {
        let Some(path) = &self.devices else { return Ok(Vec::new()) };
        let mut devices = Vec::new();
        for (at, line) in &read_lines(path)? {
            let row = device(line).map_err(|what| {
                let what = format!("{}: line {at}: {what}", path.display());
                CliError::usage(what, "as 001122334455,8841,hq,all; only the MAC is needed")
            })?;
            let Some(row) = row else { continue };
            let wanted = |filter: &Option<String>, value: &str| {
                filter.as_deref().is_none_or(|wanted| wanted == value)
            };
            if wanted(&self.site, &row.site) && wanted(&self.group, &row.group) {
                devices.push(row.device);
            }
        }
        if devices.is_empty() {
            let what = format!("{}: no phone is left", path.display());
            return Err(CliError::usage(what, "check the file, --site and --group"));
        }
        Ok(devices)
    }

    /// Judges signatures by the lists of `--trust`, if there are any and files are asked for.
    pub(super) fn trust_check(
        &self,
        files_are_asked: bool,
    ) -> Result<Option<TrustCheck>, CliError> {
        if self.trust.is_empty() || !files_are_asked {
            return Ok(None);
        }
        let files = read_all(&self.trust)?;
        trust_lists(&self.trust, &files)?;
        let paths = self.trust.clone();
        Ok(Some(Arc::new(move |name, content| match trust_lists(&paths, &files) {
            Ok(lists) => judge(&lists, name, content),
            Err(_) => Err("the trust lists cannot be read".to_owned()),
        })))
    }
}

/// Whether a phone with these lists takes the file; one that is not signed by its name is taken.
fn judge(lists: &TrustLists<'_>, name: &str, content: &[u8]) -> Result<(), String> {
    // Phones never change the case of a name.
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_list = ending == "tlv";
    if !is_list && ending != "sgn" {
        return Ok(());
    }
    let file = SignedFile::parse(content).map_err(|error| format!("not signed: {error}"))?;
    let kind = match name {
        _ if is_list && name.starts_with("CTL") => FileKind::Ctl,
        _ if is_list => FileKind::Itl,
        _ => FileKind::Config,
    };
    if is_list {
        List::parse(content).map_err(|error| format!("no list: {error}"))?;
    }
    match lists.decide(kind, &file) {
        Decision::Accept(_) => Ok(()),
        Decision::AskTvs { .. } => {
            Err(format!("its signer {} is in none of the lists", file.header.signer_name))
        }
        Decision::Reject(refusal) => Err(format!("signature refused: {refusal:?}")),
    }
}

fn default_mix(possible: impl Fn(Part) -> bool) -> Result<Vec<(Part, f64)>, CliError> {
    let usual = [Part::Boot, Part::Known, Part::Verify, Part::Query, Part::Enrol, Part::Register];
    let parts: Vec<Part> = usual.into_iter().filter(|part| possible(*part)).collect();
    if parts.is_empty() {
        return Err(CliError::usage(
            "nothing says what to ask for",
            "give --names FILE, --devices FILE, --ask FILE, or --mix unknown or random",
        ));
    }
    let share = 1.0 / parts.len() as f64;
    Ok(parts.into_iter().map(|part| (part, share)).collect())
}

fn impossible(part: Part) -> CliError {
    let needs = match part {
        Part::Boot => "--tftp or --http, and --devices FILE",
        Part::Known => "--tftp or --http, and --names FILE",
        Part::Unknown => "--tftp or --http",
        Part::Verify => "--tvs, and --ask with a certificate",
        Part::Query => "--tvs, and --ask",
        Part::Random => "--tvs",
        Part::Enrol => "--capf and --devices FILE",
        Part::Register => "--sip or --sips, and --devices FILE",
    };
    CliError::usage(format!("{} is part of the mix", part.name()), format!("it needs {needs}"))
}

/// One line of a device list.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    device: Device,
    site: String,
    group: String,
}

/// Model that a phone has if the list does not say.
const MODEL: &str = "8841";

/// Reads `MAC,MODEL,SITE,GROUP`; a heading is `None`.
fn device(line: &str) -> Result<Option<Row>, String> {
    let mut cells = line.split([',', ';', '\t']).map(|cell| cell.trim().trim_matches('"'));
    let mac = cells.next().unwrap_or_default();
    if mac.eq_ignore_ascii_case("mac") || mac.eq_ignore_ascii_case("device") {
        return Ok(None);
    }
    let digits: String = mac.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let digits = digits.to_ascii_uppercase();
    let name = digits.strip_prefix("SEP").unwrap_or(&digits);
    let name: DeviceName = format!("SEP{name}")
        .parse()
        .map_err(|_| format!("`{mac}` is no MAC address of twelve hexadecimal digits"))?;
    let mut next = || cells.next().unwrap_or_default().to_owned();
    let (model, site, group) = (next(), next(), next());
    let model = if model.is_empty() { MODEL.to_owned() } else { model };
    Ok(Some(Row { device: Device { name, model }, site, group }))
}

/// Questions about the certificates in a file, or about the signer of a signed file.
fn asks_of(path: &Path) -> Result<Vec<(String, Ask)>, CliError> {
    let bytes = read(path)?;
    let label = |kind: &str| format!("{kind} {}", path.display());
    if let Ok(file) = SignedFile::parse(&bytes) {
        let ask = Ask::Query {
            subject: file.header.signer_name.to_owned(),
            issuer: file.header.issuer.to_owned(),
            serial: file.header.serial.to_vec(),
        };
        return Ok(vec![(label("query"), ask)]);
    }
    let store = read_store(&bytes, "").map_err(|error| {
        let what = format!("{}: {error}", path.display());
        CliError::usage(what, "name a certificate (PEM, DER) or a signed file")
    })?;
    let Some(certificate) = store.certificates.into_iter().next() else {
        let what = format!("{}: no certificate in the file", path.display());
        return Err(CliError::usage(what, "name a certificate or a signed file"));
    };
    let query = Ask::Query {
        subject: certificate.subject().to_owned(),
        issuer: certificate.issuer().to_owned(),
        serial: certificate.serial().to_vec(),
    };
    let verify = Ask::Verify { certificate: certificate.der().to_vec() };
    Ok(vec![(label("verify"), verify), (label("query"), query)])
}

/// Questions about certificates that nobody knows.
fn strangers(seed: u64) -> Vec<(String, Ask)> {
    let mut draws = stream(seed, u64::MAX, Purpose::Load);
    let mut asks: Vec<(String, Ask)> = (0..RANDOM_QUERIES)
        .map(|at| {
            let mut serial = [0; 16];
            draws.fill(&mut serial);
            serial[0] = 0x40 | (serial[0] & 0x3F);
            let name = format!("CN=stranger-{at};OU=TAC;O=resetstorm");
            let (subject, issuer, serial) = (name.clone(), name, serial.to_vec());
            (format!("query stranger-{at}"), Ask::Query { subject, issuer, serial })
        })
        .collect();
    let mut source = KeySource::bank(draws.next_u64());
    for at in 0..RANDOM_CERTIFICATES {
        let common_name = format!("stranger-{at}");
        let spec = CertificateSpec {
            common_name: &common_name,
            not_before_s: RANDOM_NOT_BEFORE_S,
            key_bits: 2_048,
        };
        let certificate = Identity::self_signed(&spec, &mut source).certificate;
        let ask = Ask::Verify { certificate: certificate.der().to_vec() };
        // As many of each kind, so that both come equally often.
        for copy in 0..RANDOM_QUERIES / RANDOM_CERTIFICATES {
            asks.push((format!("verify stranger-{at}.{copy}"), ask.clone()));
        }
    }
    asks
}

/// Reads `known=0.9,unknown=10%` or a part alone.
fn mix(text: &str) -> Result<Mix, String> {
    let mut parts: Vec<(Part, f64)> = Vec::new();
    let pieces: Vec<&str> = text.split(',').map(str::trim).collect();
    for piece in &pieces {
        let (name, share) = match piece.split_once('=') {
            Some((name, "1" | "100%")) => (name, 1.0),
            Some((name, share)) => (name, percent(share)?),
            None if pieces.len() == 1 => (*piece, 1.0),
            None => return Err(format!("`{piece}` has no share; such as {piece}=0.5")),
        };
        let known = Part::ALL.into_iter().find(|part| part.name() == name.trim());
        let part = known.ok_or_else(|| {
            let names = Part::ALL.map(Part::name).join(", ");
            format!("unknown part `{name}`; parts: {names}")
        })?;
        if parts.iter().any(|(found, _)| *found == part) {
            return Err(format!("`{name}` comes twice"));
        }
        parts.push((part, share));
    }
    let sum: f64 = parts.iter().map(|(_, share)| share).sum();
    if (sum - 1.0).abs() > 1e-9 {
        return Err(format!("the shares add up to {sum} instead of 1"));
    }
    Ok(Mix(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_are_read_and_must_add_up() {
        assert_eq!(mix("boot"), Ok(Mix(vec![(Part::Boot, 1.0)])));
        let both = mix("known=0.9, unknown=10%").unwrap();
        assert_eq!(both, Mix(vec![(Part::Known, 0.9), (Part::Unknown, 0.1)]));
        for text in ["known=0.9", "known,unknown", "boots", "known=0.5,known=0.5", ""] {
            assert!(mix(text).is_err(), "{text}");
        }
    }

    #[test]
    fn device_lists_are_read_as_people_write_them() {
        let row = device("00:11:22:aa:bb:cc, 7841, hq, all").unwrap().unwrap();
        assert_eq!(row.device.name.to_string(), "SEP001122AABBCC");
        assert_eq!((&*row.device.model, &*row.site, &*row.group), ("7841", "hq", "all"));
        let alone = device("SEP001122334455").unwrap().unwrap();
        assert_eq!((&*alone.device.model, &*alone.site), ("8841", ""));
        assert_eq!(device("MAC,model,site,group"), Ok(None));
        assert!(device("00112233445").unwrap_err().contains("twelve"));
    }

    #[test]
    fn strangers_are_unlike_each_other_and_half_of_them_are_certificates() {
        let asks = strangers(7);
        let verify = asks.iter().filter(|(_, ask)| ask.part() == Part::Verify).count();
        assert_eq!((verify, asks.len()), (256, 512));
        assert_ne!(asks[0].1, asks[1].1);
        assert_ne!(strangers(8)[0].1, asks[0].1);
    }
}
