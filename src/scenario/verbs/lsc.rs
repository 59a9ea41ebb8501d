use toml::Spanned;

use crate::base::{Model, Span};
use crate::cluster::operator::lsc::{
    COMPLETES_IN, COMPLETES_IN_MIN, EVERY, KEYS, LscPace, LscPhones, PER_PHONE, RollOutLsc,
    SetProfile, is_authentication_string, key_name,
};
use crate::cluster::{LscOperation, Topology};
use crate::crypto::KeySpec;
use crate::wire::AuthMode;

use super::super::error::Problem;
use super::super::names::{Text, one_of};
use super::super::plan::TimelineEntry;
use super::super::quantity::{Length, positive};
use super::{Argument, Given, Reader, Step, Verb, Written};

pub(super) const VERBS: &[Verb] = &[
    Verb {
        key: "roll-out-lsc",
        word: "lsc",
        takes: &[
            Argument::text("operation").or_none(),
            Argument::text("mode").or_none(),
            Argument::text("key").or_none(),
            Argument::text("string").or_none(),
            Argument::length("completes-in").or_none(),
            Argument::text("device").or_none(),
            Argument::text("model").or_none(),
            Argument::text("group").or_none(),
            Argument::share("share").or_none(),
            Argument::word("only-stale").or_none(),
            Argument::count("batch").or_none(),
            Argument::length("every").or_none(),
            Argument::length("spread").or_none(),
            Argument::count("technicians").or_none(),
            Argument::length("per-phone").or_none(),
            Argument::word("apply").or_none(),
            Argument::word("check-capf").or_none(),
        ],
        read: roll_out,
        write: write_roll_out,
    },
    Verb {
        key: "set-profile",
        word: "profile",
        takes: &[
            Argument::text("name"),
            Argument::text("auth-mode"),
            Argument::length("spread").or_none(),
        ],
        read: |given, _| {
            let mode = one_of(
                given.text("auth-mode"),
                "authentication mode",
                &AuthMode::OF_OPERATIONS,
                AuthMode::name,
            )?;
            let name = given.text("name").get_ref().clone();
            let spread = given.length_if("spread").map_or(Span::ZERO, |spread| spread.get_ref().0);
            Ok(SetProfile { name, mode, spread }.into())
        },
        write: |entry, _| {
            let SetProfile { name, mode, spread } = entry.action.get()?;
            let name = ("name", name.as_str().into());
            let mode = ("auth-mode", mode.name().into());
            Some(vec![name, mode, ("spread", spread.to_string().into())])
        },
    },
];

fn roll_out(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    let operation = given.text_if("operation").map_or(Ok(LscOperation::Install), |text| {
        one_of(text, "operation", &LscOperation::ALL, LscOperation::name)
    })?;
    let mode = given.text_if("mode").map_or(Ok(AuthMode::NullString), |text| {
        one_of(text, "authentication mode", &AuthMode::OF_OPERATIONS, AuthMode::name)
    })?;
    let key = given
        .text_if("key")
        .map_or(Ok(KeySpec::Rsa(2_048)), |text| one_of(text, "key", &KEYS, key_name))?;
    let completes_in = given.length_if("completes-in").map_or(Ok(COMPLETES_IN), completes_in)?;
    let action = RollOutLsc {
        operation,
        mode,
        key,
        string: string(given, mode, reader)?,
        completes_in,
        phones: LscPhones {
            device: given.text_if("device").map(|text| text.get_ref().to_ascii_uppercase()),
            model: given.text_if("model").map(model).transpose()?,
            group: given.text_if("group").map(|text| group(text, reader.topology)).transpose()?,
            share: given.share_if("share")?.unwrap_or(1.0),
            only_stale: truth(given, "only-stale")?.unwrap_or(false),
        },
        pace: pace(given, reader)?,
        checks_capf: truth(given, "check-capf")?.unwrap_or(false),
    };
    Ok(action.into())
}

fn completes_in(length: &Length) -> Result<Span, Problem> {
    let span = positive(length)?;
    if span < COMPLETES_IN_MIN {
        let what = format!("the operation would have to complete within {span}");
        let help = "\"Operation Completes By\" is at least one hour in the future: \"1h\" or more";
        return Err(Problem::new(length.span(), what).help(help));
    }
    Ok(span)
}

/// An authentication string, which is needed by its mode and by no other.
fn string(given: &Given, mode: AuthMode, reader: &Reader<'_>) -> Result<Option<String>, Problem> {
    let Some(text) = given.text_if("string") else {
        if mode != AuthMode::String {
            return Ok(None);
        }
        let problem = Problem::new(reader.place.clone(), "mode \"string\" without a string");
        return Err(problem.help("string = \"12345\": 4 to 10 digits"));
    };
    let digits = text.get_ref();
    if mode != AuthMode::String {
        let problem = Problem::new(text.span(), "only mode \"string\" has a string");
        return Err(problem.help("mode = \"string\", or leave the string out"));
    }
    if !is_authentication_string(digits) {
        let problem = Problem::new(text.span(), format!("`{digits}` is no authentication string"));
        return Err(problem.help("4 to 10 digits"));
    }
    Ok(Some(digits.clone()))
}

fn model(text: &Text) -> Result<Model, Problem> {
    let parsed = text.get_ref().parse::<Model>();
    parsed.map_err(|error| Problem::new(text.span(), error.to_string()))
}

fn group(text: &Text, topology: &Topology) -> Result<String, Problem> {
    let names = topology.groups.iter().map(|group| group.name.as_str());
    if names.clone().any(|name| name == text.get_ref()) {
        return Ok(text.get_ref().clone());
    }
    Err(Problem::unknown(text.span(), "group", text.get_ref(), names))
}

fn truth(given: &Given, key: &str) -> Result<Option<bool>, Problem> {
    let truth = |text: &Text| match text.get_ref().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => {
            let problem = Problem::new(text.span(), format!("`{other}` is neither true nor false"));
            Err(problem.help("true or false"))
        }
    };
    given.text_if(key).map(truth).transpose()
}

/// People at the phones, or batches, or all within a time, or nobody.
fn pace(given: &Given, reader: &Reader<'_>) -> Result<Option<LscPace>, Problem> {
    let (technicians, per_phone) = (given.count_if("technicians")?, given.length_if("per-phone"));
    if technicians.is_none() && per_phone.is_none() {
        return pace_of_resets(given);
    }
    let resets = given.count_if("batch")?.is_some()
        || ["every", "spread"].iter().any(|key| given.length_if(key).is_some())
        || given.text_if("apply").is_some();
    if resets {
        let what = "either people go to the phones or the cluster resets them".to_owned();
        let help =
            "leave out `technicians` and `per-phone`, or `batch`, `every`, `spread` and `apply`";
        return Err(Problem::new(reader.place.clone(), what).help(help));
    }
    let per_phone = per_phone.map_or(Ok(PER_PHONE), positive)?;
    Ok(Some(LscPace::by_hand(technicians.unwrap_or(1), per_phone)))
}

fn pace_of_resets(given: &Given) -> Result<Option<LscPace>, Problem> {
    let (batch, every, spread) =
        (given.count_if("batch")?, given.length_if("every"), given.length_if("spread"));
    let applies = truth(given, "apply")?.unwrap_or(true);
    let clash = |length: &Spanned<_>, what: &str, help: &str| {
        Err(Problem::new(length.span(), what.to_owned()).help(help.to_owned()))
    };
    let long = |length: &Length| positive(length);
    match (batch, every, spread) {
        (_, _, Some(spread)) if batch.is_some() || every.is_some() => {
            clash(spread, "batches have no spread", "`every` says how long a batch takes")
        }
        (None, Some(every), _) => clash(every, "`every` without a batch", "batch = 500"),
        _ if !applies => Ok(None),
        (Some(_), every, _) => {
            let every = every.map_or(Ok(EVERY), long)?;
            Ok(batch.map(|batch| LscPace::batches(batch, every)))
        }
        (None, None, spread) => {
            let every = spread.map_or(Span::ZERO, |spread| spread.get_ref().0);
            Ok(Some(LscPace::within(every)))
        }
    }
}

fn write_roll_out(entry: &TimelineEntry, _: &Topology) -> Option<Written> {
    let RollOutLsc { operation, mode, key, string, completes_in, phones, pace, checks_capf } =
        entry.action.get()?;
    let mut written: Written = vec![
        ("operation", operation.name().into()),
        ("mode", mode.name().into()),
        ("key", key_name(*key).into()),
        ("completes-in", completes_in.to_string().into()),
        ("share", phones.share.into()),
        ("only-stale", phones.only_stale.into()),
        ("apply", pace.is_some().into()),
        ("check-capf", (*checks_capf).into()),
    ];
    written.extend(phones.device.as_ref().map(|device| ("device", device.as_str().into())));
    written.extend(string.as_ref().map(|string| ("string", string.as_str().into())));
    written.extend(phones.model.map(|model| ("model", model.as_str().into())));
    written.extend(phones.group.as_ref().map(|group| ("group", group.as_str().into())));
    match pace {
        Some(LscPace { batch: Some(people), every, by_hand: true }) => {
            written.retain(|(key, _)| *key != "apply");
            written.push(("technicians", i64::from(*people).into()));
            written.push(("per-phone", every.to_string().into()));
        }
        Some(LscPace { batch: Some(batch), every, .. }) => {
            written.push(("batch", i64::from(*batch).into()));
            written.push(("every", every.to_string().into()));
        }
        Some(LscPace { batch: None, every, .. }) => {
            written.push(("spread", every.to_string().into()));
        }
        None => {}
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::load;

    fn read(step: &str) -> Result<RollOutLsc, String> {
        let text = format!(
            "schema=1\nname='t'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=5\n\
             [[event]]\nat='1s'\n{step}"
        );
        let plan = load(Path::new("t.toml"), &text, &[], &[]).map_err(|e| e.to_string())?;
        Ok(plan.timeline[0].action.get::<RollOutLsc>().unwrap().clone())
    }

    #[test]
    fn an_operation_completes_an_hour_from_now_at_least() {
        let own = read("roll-out-lsc={}").unwrap();
        assert_eq!((own.mode, own.key), (AuthMode::NullString, KeySpec::Rsa(2_048)), "CAPF-14");
        assert_eq!(own.completes_in, COMPLETES_IN);
        assert!(read("roll-out-lsc={completes-in='1h'}").is_ok());
        let error = read("roll-out-lsc={completes-in='59m'}").unwrap_err();
        assert!(error.contains("would have to complete within 59m"), "{error}");
    }

    #[test]
    fn batches_strings_and_groups_are_checked() {
        let pace = |step: &str| read(step).unwrap().pace;
        let every = Span::from_secs(60);
        let batch = Some(LscPace::batches(5, every));
        assert_eq!(pace("roll-out-lsc={batch=5, every='1m'}"), batch);
        assert_eq!(pace("roll-out-lsc={spread='1m'}"), Some(LscPace::within(every)));
        let by_hand = |people, per_phone| Some(LscPace::by_hand(people, per_phone));
        assert_eq!(pace("roll-out-lsc={technicians=5}"), by_hand(5, PER_PHONE));
        assert_eq!(pace("roll-out-lsc={per-phone='1m'}"), by_hand(1, every));
        assert_eq!(pace("roll-out-lsc={apply=false}"), None);
        for (step, why) in [
            ("roll-out-lsc={batch=5, spread='1m'}", "batches have no spread"),
            ("roll-out-lsc={every='1m'}", "`every` without a batch"),
            ("roll-out-lsc={technicians=5, batch=5}", "either people"),
            ("roll-out-lsc={per-phone='1m', spread='1m'}", "either people"),
            ("roll-out-lsc={technicians=5, apply=false}", "either people"),
            ("roll-out-lsc={mode='string'}", "without a string"),
            ("roll-out-lsc={mode='string', string='abcd'}", "no authentication string"),
            ("roll-out-lsc={string='1234'}", "only mode \"string\" has a string"),
            ("roll-out-lsc={group='nobody'}", "unknown group"),
            ("roll-out-lsc={mode='none'}", "unknown authentication mode"),
            ("roll-out-lsc={key='rsa-1'}", "unknown key"),
            ("roll-out-lsc={only-stale='x'}", "neither true nor false"),
        ] {
            let error = read(step).unwrap_err();
            assert!(error.contains(why), "{step}: {error}");
        }
    }
}
