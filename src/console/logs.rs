//! The logs of a node, by the paths that they have on CUCM.

use jiff::tz::TimeZone;

use crate::base::{DeviceName, NodeId, PhoneId, printable};
use crate::cluster::{Alarm, LscOperation, LscStatus, Row, ServiceKind};
use crate::crypto::Certificate;

use super::command::{LogVerb, Refusal};
use super::view::View;

/// The folder of the logs that there are.
const FOLDER: &str = "syslog";

/// The log of its name: what the Certificate Monitor has to say (EXP-02).
const LOG: &str = "CiscoSyslog";

/// Where CAPF leaves the LSCs that it has fetched of phones with "Troubleshoot" (TOOL-08).
const FETCHED: [&str; 4] = ["cm", "trace", "capf", "sdi"];

/// The ending of such a file, behind the name of the phone.
const LSC: &str = "-L1.cer";

/// Where `activelog` begins.
const ROOT: &str = "/var/log/active";

/// Lines that `file tail` prints unless it is told how many (choice: as `tail`).
const TAIL_LINES: usize = 10;

/// What `file list|view|tail|search activelog` prints.
///
/// # Errors
/// If there is no such log, or something else follows the path.
pub(super) fn answer(
    verb: LogVerb,
    rest: &str,
    node: NodeId,
    view: &View<'_>,
) -> Result<String, Refusal> {
    let mut words = rest.split_whitespace();
    let path = words.next().unwrap_or_default();
    let more: Vec<&str> = words.collect();
    if verb == LogVerb::List && more.is_empty() {
        return list(path, fetched(node, view).as_deref());
    }
    let path = path.trim_start_matches('/');
    let lines = if path == format!("{FOLDER}/{LOG}") {
        lines(node, view)
    } else {
        let all = fetched(node, view).unwrap_or_default().into_iter();
        let mut named = all.filter(|(name, _)| path == format!("{}/{name}", FETCHED.join("/")));
        let (_, row) = named.next().ok_or_else(no_such_file)?;
        pem(&row).lines().map(|line| format!("{line}\n")).collect()
    };
    match (verb, more.as_slice()) {
        (LogVerb::View, []) => Ok(lines.concat()),
        (LogVerb::Tail, []) => Ok(tail(&lines, TAIL_LINES)),
        (LogVerb::Tail, [count]) => {
            count.parse().map(|count| tail(&lines, count)).map_err(|_| incorrect())
        }
        (LogVerb::Search, [_, ..]) => Ok(search(path, &lines, &more.join(" "))),
        _ => Err(incorrect()),
    }
}

fn no_such_file() -> Refusal {
    Refusal("no such file or directory can be found".to_owned())
}

fn incorrect() -> Refusal {
    Refusal("Incorrect parameters entered".to_owned())
}

/// The log, a line each with its end.
fn lines(node: NodeId, view: &View<'_>) -> Vec<String> {
    let Some(cluster) = view.cluster else { return Vec::new() };
    let alarms = cluster.alarms(view.now, &TimeZone::UTC, Alarm::message).into_iter();
    let own = alarms.filter(|(on, _)| *on == node);
    own.map(|(_, message)| format!("{}\n", printable(&message))).collect()
}

/// The phones whose LSC CAPF has fetched, by the names of the files; `None` on a node without CAPF.
fn fetched(node: NodeId, view: &View<'_>) -> Option<Vec<(String, Row)>> {
    let cluster = view.cluster?;
    view.topology.nodes_with(ServiceKind::Capf).find(|&capf| capf == node)?;
    let is_fetched =
        |row: &Row| row.lsc.is_some() && row.status == LscStatus::Success(LscOperation::Fetch);
    let rows = cluster.devices().rows().into_iter().filter(|(_, row)| is_fetched(row));
    let name = |phone: PhoneId| format!("{}{LSC}", DeviceName::of_phone(phone));
    Some(rows.map(|(phone, row)| (name(phone), row)).collect())
}

/// The certificate of a phone as text.
fn pem(row: &Row) -> String {
    let lsc = row.lsc.as_ref().and_then(|lsc| Certificate::from_der(&lsc.der).ok());
    lsc.map(|lsc| lsc.to_pem()).unwrap_or_default()
}

/// Folders and files below a path.
fn list(path: &str, fetched: Option<&[(String, Row)]>) -> Result<String, Refusal> {
    let told = |folders: &[&str], files: &[&str]| {
        let lines = folders.iter().flat_map(|&name| ["<dir>   ", name, "\n"]);
        let lines: String = lines.chain(files.iter().flat_map(|&name| [name, "\n"])).collect();
        format!("{lines}dir count = {}, file count = {}\n", folders.len(), files.len())
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let parts = parts.strip_suffix(&["*"]).unwrap_or(&parts);
    match (parts, fetched) {
        ([], None) => Ok(told(&[FOLDER], &[])),
        ([], Some(_)) => Ok(told(&[FETCHED[0], FOLDER], &[])),
        ([FOLDER], _) => Ok(told(&[], &[LOG])),
        ([FOLDER, file], _) if fits(LOG, file, "*") => Ok(told(&[], &[LOG])),
        (parts, Some(all)) if FETCHED.starts_with(parts) => match FETCHED.get(parts.len()) {
            Some(next) => Ok(told(&[next], &[])),
            None => Ok(told(&[], &all.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>())),
        },
        ([folders @ .., file], Some(all)) if *folders == FETCHED => {
            let names = all.iter().map(|(name, _)| &name[..]);
            let names: Vec<&str> = names.filter(|name| fits(name, file, "*")).collect();
            if names.is_empty() { Err(no_such_file()) } else { Ok(told(&[], &names)) }
        }
        _ => Err(no_such_file()),
    }
}

fn tail(lines: &[String], count: usize) -> String {
    lines[lines.len().saturating_sub(count)..].concat()
}

/// The lines with this text, in which `.*` stands for anything.
fn search(path: &str, lines: &[String], text: &str) -> String {
    let text = format!(".*{}.*", text.trim_matches('"'));
    let found: String = lines.iter().filter(|line| fits(line, &text, ".*")).cloned().collect();
    let path = format!("{ROOT}/{path}");
    format!("Searching path: {path}\nSearching file: {path}\n{found}Search completed\n")
}

/// Whether a text is a pattern in which `any` stands for anything.
fn fits(text: &str, pattern: &str, any: &str) -> bool {
    let mut parts = pattern.split(any);
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (text, pattern, expected) in [
            ("abcabc", "abcabc", true),
            ("abcabc", "abc", false),
            ("abcabc", "abc*", true),
            ("abcabc", "*abc", true),
            ("abcabc", "a*b*c", true),
            ("abcabc", "a*x*c", false),
            ("abcabc", "*", true),
            ("ab", "ab*b", false),
            ("", "", true),
        ] {
            assert_eq!(fits(text, pattern, "*"), expected, "{text} {pattern}");
        }
    }
}
