use std::fmt::Write;

use clap::Args;

use crate::base::words::aligned_left;
use crate::scenario::reference;

use super::args::CliError;
use super::{ExitCode, output};

/// Print a chapter of the guide; without a topic, the list of them
///
/// Everything is in the program: no internet is needed.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct GuideArgs {
    /// The chapter
    #[arg(value_name = "TOPIC")]
    pub topic: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  resetstorm guide
  resetstorm guide start
  resetstorm guide keys";

/// A chapter: its name, what it is about, and its text in Markdown.
struct Topic {
    name: &'static str,
    about: &'static str,
    text: &'static str,
}

macro_rules! topics {
    ($($name:literal: $about:literal,)*) => {
        &[$(Topic { name: $name, about: $about, text: include_str!(concat!("guide/", $name, ".md")) },)*]
    };
}

const TOPICS: &[Topic] = topics! {
    "start": "your own cluster in ten minutes",
    "output": "what the lines of a summary and the files of a run mean",
    "commands": "every command in a line",
    "scenarios": "the scenarios that come with the program, and how one is changed",
    "keys": "every key of a scenario: what it takes and what it means",
    "lint": "who is stranded by which step, the rules of the documents, safer orders",
    "orders": "safe orders of steps by their names",
    "visits": "lists that people erase, and how long that takes",
    "names": "DNS and the names of nodes",
    "releases": "what differs between releases of CUCM",
    "two-tftp": "phones with two TFTP servers",
    "mixed-mode": "CTL, parameters and recovery",
    "faults": "known defects that can be rehearsed",
    "backups": "backups in files",
    "dates": "certificates that expire",
    "phones": "phone models, ring lists and locales",
    "encrypted": "encrypted configurations",
    "lsc": "LSCs of phones: rollouts at CAPF",
    "transport": "HTTP and HTTPS",
    "registration": "the true end of a boot: SIP and SIPS, failover and fallback",
    "buttons": "HTTPS services that people use between boots",
    "probes": "trunks, AXL, UCCX, phone VPN and voicemail by certificates",
    "toolbox": "single files and messages",
    "console": "the console of a node",
    "state": "a cluster that is there again tomorrow",
    "simulation": "virtual time: costs, guesses, sensitivity, limits",
    "capacity": "how many phones a server carries",
    "sign-cache": "what a cache of signatures is worth",
    "speed": "what this machine signs, verifies and shakes hands",
    "exit-codes": "how the program ends",
    "safety": "what the program will not do",
    "limits": "what is told and not played",
    "words": "words of this guide",
};

/// The chapter that is made of what the program knows.
const KEYS: &str = "keys";

/// Prints a chapter or the list of them.
pub fn guide(args: &GuideArgs) -> Result<ExitCode, CliError> {
    let text = match &args.topic {
        None => list(),
        Some(name) => chapter(name)?,
    };
    output::print(text)?;
    Ok(ExitCode::Ok)
}

fn list() -> String {
    let row = |topic: &Topic| vec![format!("  {}", topic.name), topic.about.to_owned()];
    let rows: Vec<Vec<String>> = TOPICS.iter().map(row).collect();
    format!("resetstorm guide TOPIC\n\n{}", aligned_left(&rows))
}

/// What the documents ask for, by ID, and what holds it here.
const REQUIREMENTS: &str = include_str!("../../REQUIREMENTS.md");

/// The row of an ID such as `SAFE-14`.
fn requirement(id: &str) -> Option<String> {
    let id = id.to_uppercase();
    let row = REQUIREMENTS.lines().find_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let [name, what, holds] = cells[..] else { return None };
        (name.split(' ').next() == Some(&id)).then_some((name, what, holds))
    });
    let (name, what, holds) = row?;
    let state = match holds {
        "not yet" => "this version does not play it",
        holds if holds.starts_with("partly") => "this version plays a part of it",
        _ => "this version plays it",
    };
    Some(format!("{name}: {what}\n{state}\n"))
}

fn chapter(name: &str) -> Result<String, CliError> {
    let asked = name.to_lowercase();
    if let Some(row) = requirement(name) {
        return Ok(row);
    }
    let Some(topic) = TOPICS.iter().find(|topic| topic.name == asked) else {
        let near = |topic: &&Topic| strsim::jaro_winkler(topic.name, &asked);
        let nearest = TOPICS.iter().max_by(|a, b| near(a).total_cmp(&near(b)));
        let nearest = nearest.map_or("", |topic| topic.name);
        let help = format!(
            "did you mean `{nearest}`? resetstorm guide lists all topics; an ID such as SAFE-14 is \
             one, too"
        );
        return Err(CliError::misuse(format!("there is no topic `{name}`"), &help));
    };
    let mut text = topic.text.to_owned();
    if topic.name == KEYS {
        // Writing to a String does not fail.
        let _ = write!(text, "\n{}", reference());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_rule_says_what_it_is_and_whether_it_is_played() {
        for (id, holds) in [("safe-14", "this version plays it"), ("MOVE-01", "does not play it")] {
            let text = chapter(id).unwrap();
            assert!(text.starts_with(&id.to_uppercase()) && text.contains(holds), "{text}");
        }
        assert!(chapter("SAFE-99").is_err());
    }

    #[test]
    fn every_topic_has_a_title_and_a_text_of_its_own() {
        for topic in TOPICS {
            assert!(topic.text.starts_with("# "), "{}", topic.name);
            assert!(topic.text.ends_with('\n'), "{}", topic.name);
            assert!(chapter(topic.name).unwrap().lines().count() > 3, "{}", topic.name);
            assert_eq!(TOPICS.iter().filter(|other| other.name == topic.name).count(), 1);
        }
        let error = chapter("simulate").err().map(|error| error.rendered(false)).unwrap();
        assert!(error.contains("did you mean `simulation`?"), "{error}");
    }
}
