//! The logs of a node, by the paths that they have on CUCM.

use jiff::tz::TimeZone;

use crate::base::{NodeId, printable};
use crate::cluster::Alarm;

use super::command::{LogVerb, Refusal};
use super::view::View;

/// The folder of the logs that there are.
const FOLDER: &str = "syslog";

/// The log of its name: what the Certificate Monitor has to say (EXP-02).
const LOG: &str = "CiscoSyslog";

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
        return list(path);
    }
    if path.trim_start_matches('/') != format!("{FOLDER}/{LOG}") {
        return Err(no_such_file());
    }
    let lines = lines(node, view);
    match (verb, more.as_slice()) {
        (LogVerb::View, []) => Ok(lines.concat()),
        (LogVerb::Tail, []) => Ok(tail(&lines, TAIL_LINES)),
        (LogVerb::Tail, [count]) => {
            count.parse().map(|count| tail(&lines, count)).map_err(|_| incorrect())
        }
        (LogVerb::Search, [_, ..]) => Ok(search(&lines, &more.join(" "))),
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

fn list(path: &str) -> Result<String, Refusal> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts[..] {
        [] | ["*"] => Ok(format!("<dir>   {FOLDER}\ndir count = 1, file count = 0\n")),
        [FOLDER] => Ok(format!("{LOG}\ndir count = 0, file count = 1\n")),
        [FOLDER, file] if fits(LOG, file, "*") => list(FOLDER),
        _ => Err(no_such_file()),
    }
}

fn tail(lines: &[String], count: usize) -> String {
    lines[lines.len().saturating_sub(count)..].concat()
}

/// The lines with this text, in which `.*` stands for anything.
fn search(lines: &[String], text: &str) -> String {
    let text = format!(".*{}.*", text.trim_matches('"'));
    let found: String = lines.iter().filter(|line| fits(line, &text, ".*")).cloned().collect();
    let path = format!("{ROOT}/{FOLDER}/{LOG}");
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
