//! What a reader of a scenario file is told when a value does not fit: no words of a programming
//! language, and how it is written right.

use std::ops::Range;

use toml::de::DeValue;

use super::error::Problem;
use super::keys::table_of;

/// Steps of moves between clusters, which one would look for and this version does not play.
const NOT_YET: [&str; 3] = ["bulk-export", "bulk-import", "consolidate"];

/// The message and its help for a name that is known, but not here.
pub(super) fn not_here(name: &str) -> Option<(String, String)> {
    let given = name.to_ascii_lowercase().replace('_', "-");
    if NOT_YET.contains(&given.as_str()) {
        let help = "this version plays one cluster; leave it out".to_owned();
        return Some((format!("`{name}` is not there yet"), help));
    }
    let table = table_of(&given)?;
    Some((format!("`{name}` does not stand here"), format!("it stands in {table}")))
}

/// The problem of a value that is none of what its key takes, from the message of the reader;
/// `None` for a message that says enough by itself.
pub(super) fn wrong_value(
    key: &str,
    value: &DeValue<'_>,
    place: &Range<usize>,
    message: &str,
) -> Option<Problem> {
    let problem = |what: String| Problem::new(place.clone(), what);
    let found = found_in_words(value);
    match message {
        "invalid IP address syntax" => {
            let what = format!("{found} is not an IP address");
            return Some(problem(what).help("such as \"127.0.0.1\""));
        }
        "invalid socket address syntax" => {
            let what = format!("{found} is not an address with its port");
            return Some(problem(what).help("such as \"127.0.0.1:6969\""));
        }
        _ => {}
    }
    let kinds = ["invalid type: ", "invalid value: ", "invalid length "];
    let rest = kinds.iter().find_map(|kind| message.strip_prefix(kind));
    let expected = match rest {
        Some(rest) => rest.rsplit_once(", expected ").map_or("another value", |(_, e)| e),
        // A value of several kinds says what it expects and nothing else.
        None if message.starts_with("a number of bytes") => message,
        None => return None,
    };
    if let Some(number) = too_large(value, expected) {
        let what = format!("`{key}` is a whole number up to {}, not {number}", i64::MAX);
        return Some(
            problem(what).help(format!("a smaller number, such as {}", example_number(key))),
        );
    }
    let (wanted, example) = wanted(key, expected);
    let right = rewritten(value, expected).unwrap_or(example);
    Some(match key {
        "" => {
            problem(format!("{found} stands where {wanted} belongs")).help(format!("write {right}"))
        }
        key => problem(format!("`{key}` is {wanted}, not {found}"))
            .help(format!("write {key} = {right}")),
    })
}

/// A whole number beyond those of TOML: as such in a file, as a text behind `--set`.
fn too_large(value: &DeValue<'_>, expected: &str) -> Option<String> {
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        _ => return None,
    };
    let digits = text.replace('_', "");
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_wanted = matches!(expected, "u8" | "u16" | "u32" | "u64" | "usize" | "i64");
    (is_wanted && is_number && digits.parse::<i64>().is_err()).then_some(text)
}

/// Numbers of which there must be one at least.
const FROM_ONE: [&str; 7] = [
    "phones",
    "tftp-tries",
    "transfers-in-flight",
    "lookups-in-flight",
    "registrations-in-flight",
    "connections-in-flight",
    "cores",
];

/// What a key takes in words, and an example.
fn wanted(key: &str, expected: &str) -> (String, String) {
    let from = u8::from(FROM_ONE.contains(&key));
    let (words, example) = match expected {
        "u8" => return (format!("a whole number from {from} to {}", u8::MAX), "5".to_owned()),
        "u16" if key == "key-bits" => ("2048 or 4096", "2048"),
        "u16" => return (format!("a whole number from {from} to {}", u16::MAX), "6969".to_owned()),
        "u32" | "u64" | "usize" | "i64" => {
            return (format!("a whole number from {from}"), example_number(key).to_owned());
        }
        "f64" | "f32" => ("a number", "0.5"),
        "a boolean" => ("true or false", "true"),
        "a string" | "string" => ("a text in quotation marks", "\"...\""),
        "a sequence" => ("a list", "[\"pub\"]"),
        "IP address" => ("an address in quotation marks", "\"127.0.0.1\""),
        "socket address" => ("an address with its port", "\"127.0.0.1:6969\""),
        "a map" => ("a table", "{ ... }"),
        other if other.starts_with("struct ") || other.starts_with("a tuple") => {
            ("a table", "{ ... }")
        }
        other if other.starts_with("a length of time") => {
            ("a length of time with its unit", "\"30s\"")
        }
        other => (other, "..."),
    };
    (words.to_owned(), example.to_owned())
}

fn example_number(key: &str) -> &'static str {
    match key {
        "phones" => "2_000",
        "schema" => "1",
        _ => "42",
    }
}

/// The value as it was most likely meant, if it only lacks its form.
fn rewritten(value: &DeValue<'_>, expected: &str) -> Option<String> {
    let is_number = |text: &str| text.replace('_', "").parse::<f64>().is_ok_and(|n| n >= 0.0);
    let is_length = expected.starts_with("a length of time");
    let bare = match value {
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    };
    match (value, expected) {
        (DeValue::String(text), "a sequence") => Some(format!("[\"{text}\"]")),
        (DeValue::String(text), "u8" | "u16" | "u32" | "u64" | "f64") if is_number(text) => {
            Some(format!("{text} (without quotation marks)"))
        }
        (DeValue::String(text), "a boolean") if matches!(&**text, "true" | "false") => {
            Some(format!("{text} (without quotation marks)"))
        }
        (DeValue::Integer(_) | DeValue::Float(_), _) if is_length => {
            bare.filter(|text| is_number(text)).map(|text| format!("\"{text}s\", or with ms, m, h"))
        }
        (_, "a string") => bare.map(|text| format!("\"{text}\"")),
        _ => None,
    }
}

/// A value in words.
fn found_in_words(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > SHOWN_MAX => {
            format!("the text \"{}...\"", text.chars().take(SHOWN_MAX).collect::<String>())
        }
        DeValue::String(text) => format!("the text \"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(when) => format!("the time {when}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Characters of a text that are shown at most.
const SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_is_called_so_and_what_stands_elsewhere_has_its_table() {
        for (name, what, help) in [
            ("bulk-export", "`bulk-export` is not there yet", "plays one cluster"),
            (
                "device_security_mode",
                "`device_security_mode` does not stand here",
                "it stands in [[cluster.phone-security-profile]]",
            ),
        ] {
            let (said, helped) = not_here(name).unwrap();
            assert!(said == what && helped.contains(help), "{said}: {helped}");
        }
        for name in ["phonez", "name", "share"] {
            assert_eq!(not_here(name), None, "{name}: nowhere, or in many tables");
        }
    }

    #[test]
    fn no_words_of_a_programming_language_reach_users() {
        let told = |key: &str, value: &'static str, expected: &str| {
            let value = DeValue::parse(value).unwrap();
            let message = format!("invalid type: something, expected {expected}");
            let problem = wrong_value(key, value.get_ref(), &(0..1), &message).unwrap();
            (problem.what, problem.help.unwrap())
        };
        assert_eq!(
            told("phones", "-5", "u64"),
            ("`phones` is a whole number from 1, not -5".into(), "write phones = 2_000".into())
        );
        let (what, help) = told("phones", "'2000'", "u64");
        assert_eq!(what, "`phones` is a whole number from 1, not the text \"2000\"");
        assert_eq!(help, "write phones = 2000 (without quotation marks)");
        assert_eq!(
            told("tftp", "70000", "u16").0,
            "`tftp` is a whole number from 0 to 65535, not 70000"
        );
        assert_eq!(told("seed", "-1", "u64").0, "`seed` is a whole number from 0, not -1");
        assert_eq!(told("members", "'pub'", "a sequence").1, "write members = [\"pub\"]");
        assert_eq!(told("release", "12.5", "a string").1, "write release = \"12.5\"");
        let length = "a length of time with its unit, such as \"30s\"";
        assert_eq!(told("spread", "30", length).1, "write spread = \"30s\", or with ms, m, h");
        assert_eq!(told("node", "1", "struct RawNode").0, "`node` is a table, not 1");
    }
}
