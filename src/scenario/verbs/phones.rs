use crate::base::{Model, Span};
use crate::cluster::operator::phones::{
    EraseLists, ResetPhones, UpgradeFirmware, VISITED, Visited, Visits,
};

use super::super::error::Problem;
use super::super::names::{Text, one_of};
use super::super::quantity::positive;
use super::{Argument, Given, Reader, Step, Verb};

pub(super) const VERBS: &[Verb] = &[RESET, ERASE, UPGRADE];

const RESET: Verb = Verb {
    key: "reset-phones",
    word: "reset",
    takes: &[Argument::length("spread").or_none()],
    read: |given, _| {
        let spread = given.length_if("spread").map_or(Span::ZERO, |spread| spread.get_ref().0);
        Ok(ResetPhones { spread }.into())
    },
    write: |entry, _| {
        let ResetPhones { spread } = entry.action.get()?;
        Some(vec![("spread", spread.to_string().into())])
    },
};

const ERASE: Verb = Verb {
    key: "erase-lists",
    word: "erase-lists",
    takes: &[
        Argument::text("only").or_none(),
        Argument::share("share").or_none(),
        Argument::count("technicians").or_none(),
        Argument::length("per-phone").or_none(),
        Argument::share("restricted").or_none(),
        Argument::length("per-restricted").or_none(),
        Argument::length("users-within").or_none(),
    ],
    read: erase_lists,
    write: |entry, _| {
        let EraseLists { visits } = entry.action.get()?;
        if let Some(within) = visits.users_within {
            return Some(vec![
                ("only", visits.only.name().into()),
                ("share", visits.share.into()),
                ("restricted", visits.restricted.into()),
                ("users-within", within.to_string().into()),
            ]);
        }
        Some(vec![
            ("only", visits.only.name().into()),
            ("share", visits.share.into()),
            ("technicians", i64::from(visits.technicians).into()),
            ("per-phone", visits.per_phone.to_string().into()),
            ("restricted", visits.restricted.into()),
            ("per-restricted", visits.per_restricted.to_string().into()),
        ])
    },
};

const UPGRADE: Verb = Verb {
    key: "upgrade-firmware",
    word: "upgrade",
    takes: &[Argument::text("load"), Argument::text("model").or_none()],
    read: upgrade_firmware,
    write: |entry, _| {
        let UpgradeFirmware { load, model } = entry.action.get()?;
        let mut written = vec![("load", load.as_str().into())];
        written.extend(model.map(|model| ("model", model.as_str().into())));
        Some(written)
    },
};

fn upgrade_firmware(given: &Given, _: &mut Reader<'_>) -> Result<Step, Problem> {
    let load = given.text("load");
    let is_sound = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if load.get_ref().is_empty() || !load.get_ref().chars().all(is_sound) {
        let problem = Problem::new(load.span(), format!("`{}` is no load", load.get_ref()));
        return Err(
            problem.help("letters, digits, `.`, `_` and `-`: \"sip8845_65.14-3-1-0001-23\"")
        );
    }
    let model = |text: &Text| {
        let parsed = text.get_ref().parse::<Model>();
        parsed.map_err(|error| Problem::new(text.span(), error.to_string()))
    };
    let model = given.text_if("model").map(model).transpose()?;
    Ok(UpgradeFirmware { load: load.get_ref().clone(), model }.into())
}

/// A visit with the way from phone to phone, unless somebody says how long it takes (choice).
const PER_PHONE: Span = Span::from_secs(300);

/// A visit with a factory reset (choice).
const PER_RESTRICTED: Span = Span::from_secs(900);

fn erase_lists(given: &Given, _: &mut Reader<'_>) -> Result<Step, Problem> {
    let only = given.text_if("only");
    let only = only.map(|text| one_of(text, "choice of phones", &VISITED, Visited::name));
    let length = |key, default| given.length_if(key).map_or(Ok(default), positive);
    let users_within = given.length_if("users-within");
    if let Some(within) = users_within {
        let visited = given.count_if("technicians")?.is_some()
            || given.length_if("per-phone").is_some()
            || given.length_if("per-restricted").is_some();
        if visited {
            let what = "either the users erase the lists or technicians do".to_owned();
            let help = "leave out `users-within`, or `technicians` and the time that they take";
            return Err(Problem::new(within.span(), what).help(help));
        }
    }
    let visits = Visits {
        only: only.transpose()?.unwrap_or(Visited::Stuck),
        share: given.share_if("share")?.unwrap_or(1.0),
        technicians: given.count_if("technicians")?.unwrap_or(1),
        per_phone: length("per-phone", PER_PHONE)?,
        restricted: given.share_if("restricted")?.unwrap_or(0.0),
        per_restricted: length("per-restricted", PER_RESTRICTED)?,
        users_within: users_within.map(positive).transpose()?,
    };
    Ok(EraseLists { visits }.into())
}
