//! LSCs of phones at the console: what CUCM has on its pages of phones, of bulk administration and of
//! the CAPF report. CUCM has no such commands.

use std::fmt::Write;

use crate::base::{DeviceName, Model, PhoneId, Span, parse_span, printable};
use crate::cluster::operator::lsc::{
    COMPLETES_IN, COMPLETES_IN_MIN, EVERY, KEYS, LscPace, LscPhones, RollOutLsc,
    is_authentication_string, key_name,
};
use crate::cluster::{Cluster, LscOperation, LscStatus, Operation, Row as DeviceRow};
use crate::crypto::{Certificate, KeySpec};
use crate::wire::AuthMode;

use super::certificates::date;
use super::command::Refusal;
use super::view::View;

/// Rows of a report that are printed unless more are asked for (choice).
const ROWS: usize = 1_000;
/// An LSC that ends sooner than that is counted apart (choice).
const SOON_S: i64 = 90 * 86_400;

/// `set capf operation OPERATION [KEY=VALUE ...]`, with the keys of `roll-out-lsc`.
///
/// # Errors
/// What the pages of CUCM refuse, such as an end that is less than an hour away (CAPF-15).
pub(super) fn operation(rest: &str, view: &View<'_>) -> Result<RollOutLsc, Refusal> {
    let (operation, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let operation = one_of(operation, "operation", &LscOperation::ALL, LscOperation::name)?;
    let mut asked = RollOutLsc {
        operation,
        mode: AuthMode::NullString,
        key: KeySpec::Rsa(2_048),
        string: None,
        completes_in: COMPLETES_IN,
        phones: LscPhones::ALL,
        pace: None,
        checks_capf: true,
    };
    let (mut batch, mut every, mut spread, mut applies) = (None, None, None, true);
    for (key, value) in pairs(rest)? {
        let phones = &mut asked.phones;
        match key.as_str() {
            "device" => phones.device = Some(value.to_ascii_uppercase()),
            "model" => phones.model = Some(model(value)?),
            "group" => phones.group = Some(group(value, view)?),
            "share" => phones.share = share(value)?,
            "only-stale" => phones.only_stale = truth(value)?,
            "mode" => {
                let modes = &AuthMode::OF_OPERATIONS;
                asked.mode = one_of(value, "authentication mode", modes, AuthMode::name)?;
            }
            "string" => asked.string = Some(value.to_owned()),
            "key" => asked.key = one_of(value, "key", &KEYS, key_name)?,
            "completes-in" => asked.completes_in = span(value)?,
            "batch" => batch = Some(count(value)?),
            "every" => every = Some(span(value)?),
            "spread" => spread = Some(span(value)?),
            "apply" => applies = truth(value)?,
            "check-capf" => asked.checks_capf = truth(value)?,
            _ => return Err(Refusal(format!("Unknown field {}", printable(&key)))),
        }
    }
    if asked.completes_in < COMPLETES_IN_MIN {
        return Err(Refusal(
            "Operation Completes By must be at least one hour in the future".to_owned(),
        ));
    }
    let has_string = asked.string.as_deref().is_some_and(is_authentication_string);
    if has_string != (asked.mode == AuthMode::String) || asked.string.is_some() != has_string {
        return Err(Refusal(
            "Authentication String: 4 to 10 digits with mode=string, and with no other".to_owned(),
        ));
    }
    let all_at_once = LscPace::within(spread.unwrap_or(Span::ZERO));
    asked.pace = match (batch, every) {
        _ if spread.is_some() && (batch.is_some() || every.is_some()) => {
            return Err(Refusal("batch and every, or spread".to_owned()));
        }
        (None, Some(_)) => return Err(Refusal("every without a batch".to_owned())),
        _ if !applies => None,
        (Some(batch), every) => Some(LscPace::batches(batch, every.unwrap_or(EVERY))),
        (None, None) => Some(all_at_once),
    };
    Ok(asked)
}

/// What is said when the operation is set.
pub(super) fn is_set(asked: &RollOutLsc, view: &View<'_>) -> Result<String, Refusal> {
    let words = asked.words(view.topology);
    let Some(cluster) = view.cluster else { return Ok(String::new()) };
    let phones = cluster.lsc_phones(&asked.phones).map_err(|why| Refusal(why.to_string()))?;
    Ok(format!("Update of {} phones: {words}\n", phones.len()))
}

/// `show capf phones`: how many phones have which status, and what LSCs there are (CAPF-29).
pub(super) fn phones(view: &View<'_>) -> String {
    let Some(cluster) = view.cluster else { return String::new() };
    let all = u64::from(cluster.fleet().phones);
    let mut text = format!("{:<64}Phones\n", "Certificate Operation Status");
    let report = cluster.lsc_report(view.now).unwrap_or_default();
    let with_status: u64 = report.statuses.values().sum();
    let statuses = report.statuses.iter().map(|(status, phones)| (status.to_string(), *phones));
    let none = (LscStatus::None.to_string(), all - with_status);
    let now_s = cluster.calendar().date_s(view.now).cast_signed();
    let soon = |day: &i64| (now_s..now_s + SOON_S).contains(&(day * 86_400));
    let ends: u64 = report.ends.iter().filter(|(day, _)| soon(day)).map(|(_, count)| count).sum();
    let lscs = [
        ("LSCs", report.installed),
        ("LSCs of an earlier CAPF certificate", report.stale),
        ("LSCs that have expired", report.expired),
        ("LSCs that expire within 90 days", ends),
    ];
    let lscs = lscs.into_iter().map(|(what, count)| (what.to_owned(), count));
    for (what, count) in statuses.chain([none]).chain(lscs) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{what:<64}{count:>6}");
    }
    text
}

/// Which rows of the report are wanted.
#[derive(Default)]
struct Wanted {
    status: Option<String>,
    string: Option<String>,
    issuer: Option<String>,
    device: Option<String>,
    model: Option<Model>,
    expires_within: Option<Span>,
    limit: Option<usize>,
}

/// `show capf report [KEY=VALUE ...]`: status, issuer and end of the LSC of each phone that has an
/// operation or an LSC (CAPF-29, EXP-06).
///
/// # Errors
/// An unknown field, or a value that is none.
pub(super) fn report(rest: &str, view: &View<'_>) -> Result<String, Refusal> {
    let mut wanted = Wanted::default();
    for (key, value) in pairs(rest)? {
        match key.as_str() {
            "status" => wanted.status = Some(value.to_ascii_lowercase()),
            "string" => wanted.string = Some(value.to_owned()),
            "issuer" => wanted.issuer = Some(value.to_owned()),
            "device" => wanted.device = Some(value.to_ascii_uppercase()),
            "model" => wanted.model = Some(model(value)?),
            "expires-within" => wanted.expires_within = Some(span(value)?),
            "limit" => wanted.limit = Some(count(value)? as usize),
            _ => return Err(Refusal(format!("Unknown field {}", printable(&key)))),
        }
    }
    let Some(cluster) = view.cluster else { return Ok(String::new()) };
    let now_s = cluster.calendar().date_s(view.now).cast_signed();
    let rows = cluster.devices().rows();
    let found: Vec<Line> = rows
        .iter()
        .map(|(phone, row)| Line::new(*phone, row))
        .filter(|line| wanted.takes(line, cluster, now_s))
        .collect();
    Ok(table(&found, wanted.limit.unwrap_or(ROWS), now_s))
}

/// A phone of the report.
struct Line {
    phone: PhoneId,
    name: String,
    status: String,
    mode: &'static str,
    string: String,
    /// Who issued its LSC, and when that ends.
    lsc: Option<(String, i64)>,
}

impl Line {
    fn new(phone: PhoneId, row: &DeviceRow) -> Line {
        let certificate = |der: &[u8]| Certificate::from_der(der).ok();
        let lsc = row.lsc.as_ref().map(|lsc| {
            let issuer = certificate(&lsc.der).map(|lsc| issuer_name(lsc.issuer()).to_owned());
            (issuer.unwrap_or_else(|| "unknown".to_owned()), lsc.not_after_s)
        });
        Line {
            phone,
            name: DeviceName::of_phone(phone).to_string(),
            status: row.status.to_string(),
            mode: row.job.as_ref().map_or("-", |job| job.mode.words()),
            string: row.job.as_ref().and_then(|job| job.password.clone()).unwrap_or_default(),
            lsc,
        }
    }
}

/// The common name in a subject or issuer.
fn issuer_name(name: &str) -> &str {
    name.split(';').find_map(|part| part.strip_prefix("CN=")).unwrap_or(name)
}

impl Wanted {
    fn takes(&self, line: &Line, cluster: &Cluster, now_s: i64) -> bool {
        let of = |wanted: &Option<String>, is_it: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(is_it)
        };
        let ends_within = |within: Span| {
            let seconds = (within.as_nanos() / 1_000_000_000).cast_signed();
            line.lsc.as_ref().is_some_and(|(_, end)| *end < now_s.saturating_add(seconds))
        };
        of(&self.status, &|begun| line.status.to_ascii_lowercase().starts_with(begun))
            && of(&self.string, &|string| line.string == string)
            && of(&self.issuer, &|name| line.lsc.as_ref().is_some_and(|(own, _)| own == name))
            && of(&self.device, &|begun| line.name.starts_with(begun))
            && self.model.is_none_or(|model| cluster.fleet().model(line.phone) == model)
            && self.expires_within.is_none_or(ends_within)
    }
}

fn table(found: &[Line], limit: usize, now_s: i64) -> String {
    let shown = &found[..found.len().min(limit)];
    let status = shown.iter().map(|line| line.status.len()).max().unwrap_or(0).max(10);
    let mut text = format!(
        "{:<16}{:<status$}  {:<16}  {:<28}  Authentication Mode\n",
        "Device Name", "LSC Status", "LSC Issued By", "LSC Expires"
    );
    for line in shown {
        let (issuer, end) = match &line.lsc {
            None => ("-", "-".to_owned()),
            Some((issuer, end)) if *end < now_s => (&**issuer, "expired".to_owned()),
            Some((issuer, end)) => (&**issuer, date(*end)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<16}{:<status$}  {issuer:<16}  {end:<28}  {}",
            line.name, line.status, line.mode
        );
    }
    let more = found.len() - shown.len();
    let _ = match more {
        0 => writeln!(text, "{} phones", found.len()),
        more => writeln!(text, "{} phones; {more} are not printed (limit={limit})", found.len()),
    };
    text
}

/// Words `KEY=VALUE`; a value with blanks goes on until the next key.
fn pairs(rest: &str) -> Result<Vec<(String, &str)>, Refusal> {
    let mut found: Vec<(String, &str)> = Vec::new();
    let mut begun: Option<(String, usize)> = None;
    let mut at = 0;
    for word in rest.split(' ') {
        if let Some((key, _)) = word.split_once('=') {
            if let Some((key, start)) = begun.take() {
                found.push((key, rest[start..at].trim_end()));
            }
            begun = Some((key.to_ascii_lowercase(), at + key.len() + 1));
        } else if begun.is_none() && !word.is_empty() {
            return Err(Refusal("Incorrect parameters entered".to_owned()));
        }
        at += word.len() + 1;
    }
    found.extend(begun.map(|(key, start)| (key, &rest[start..])));
    Ok(found)
}

fn one_of<T: Copy>(
    text: &str,
    what: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, Refusal> {
    let found = all.iter().copied().find(|one| name(*one).eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        Refusal(format!("Unknown {what} {}: {}", printable(text), names.join(", ")))
    })
}

fn invalid(what: &str, text: &str) -> Refusal {
    Refusal(format!("Invalid {what}: {}", printable(text)))
}

fn model(text: &str) -> Result<Model, Refusal> {
    text.parse().map_err(|_| invalid("model", text))
}

fn group(text: &str, view: &View<'_>) -> Result<String, Refusal> {
    let known = view.topology.groups.iter().find(|group| group.name.eq_ignore_ascii_case(text));
    known.map(|group| group.name.clone()).ok_or_else(|| invalid("group", text))
}

fn share(text: &str) -> Result<f64, Refusal> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    let share =
        percent.map(|percent| percent / 100.0).filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| invalid("share", text))
}

fn truth(text: &str) -> Result<bool, Refusal> {
    text.parse().map_err(|_| invalid("answer, true or false", text))
}

fn count(text: &str) -> Result<u32, Refusal> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| invalid("number", text))
}

fn span(text: &str) -> Result<Span, Refusal> {
    parse_span(text).map_err(|error| Refusal(error.to_string()))
}
