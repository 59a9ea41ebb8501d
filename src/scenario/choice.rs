//! Several procedures in one scenario, of which one is played: the first, or the one that `use`
//! names.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Faults, Problem};
use super::names::{Text, check_plain, check_unique};
use super::raw::{RawProcedure, RawScenario};

/// The names of the procedures of a scenario file, in their order; none if it has none, or is no
/// TOML.
pub fn procedures(text: &str) -> Vec<String> {
    let (table, _) = DeTable::parse_recoverable(text);
    let Some(DeValue::Array(all)) = table.get_ref().get("procedure").map(Spanned::get_ref) else {
        return Vec::new();
    };
    let name = |one: &Spanned<DeValue<'_>>| match one.get_ref() {
        DeValue::Table(table) => Some(table.get("name")?.get_ref().as_str()?.to_owned()),
        _ => None,
    };
    all.iter().filter_map(name).collect()
}

/// Puts the steps of the procedure in use behind those of the scenario; the plan is called after
/// both.
pub(super) fn choose(raw: &mut RawScenario) -> Faults {
    let mut faults = Faults(Vec::new());
    for one in &raw.procedure {
        faults.take(check_plain(&one.name));
    }
    let names: Vec<Text> = raw.procedure.iter().map(|one| one.name.clone()).collect();
    faults.take(check_unique("procedure", &names));
    let place = match &raw.r#use {
        None => 0,
        Some(name) => match faults.take(named(name, &names)) {
            Some(place) => place,
            None => return faults,
        },
    };
    if place < raw.procedure.len() {
        let RawProcedure { name, about, mut event } = raw.procedure.swap_remove(place);
        raw.event.append(&mut event);
        raw.name.get_mut().extend(["-", name.get_ref()]);
        if !about.is_empty() {
            raw.about = about;
        }
    }
    faults
}

fn named(name: &Text, names: &[Text]) -> Result<usize, Problem> {
    let given = name.get_ref();
    if names.is_empty() {
        let problem = Problem::new(name.span(), format!("there is no procedure `{given}`"));
        return Err(problem.help("[[procedure]] with a name and [[procedure.event]] for its steps"));
    }
    let place = names.iter().position(|one| one.get_ref() == given);
    place.ok_or_else(|| {
        let known = names.iter().map(|one| one.get_ref().as_str());
        Problem::unknown(name.span(), "procedure", given, known)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{load, to_toml};
    use super::*;

    const TWO: &str = "schema=1\nname='t'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=3\n\
        [[event]]\nwhen='fleet-settled'\nbackup={}\n\
        [[procedure]]\nname='early'\nabout='first'\n\
        [[procedure.event]]\nafter='previous'\nreset-phones={}\n\
        [[procedure]]\nname='late'\n[[procedure.event]]\nat='50s'\nreset-phones={}\n";

    #[test]
    fn the_first_procedure_is_played_unless_another_one_is_in_use() {
        assert_eq!(procedures(TWO), ["early", "late"]);
        assert_eq!(procedures("schema = 1"), Vec::<String>::new());
        let plan = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
            load(Path::new("t.toml"), TWO, &overrides, &[])
        };
        let first = plan(&[]).unwrap();
        assert_eq!((first.name.as_str(), first.about.as_str()), ("t-early", "first"));
        assert_eq!(first.timeline.len(), 2, "the steps of the scenario come first");
        let late = plan(&["use=late"]).unwrap();
        assert_eq!((late.name.as_str(), late.about.as_str()), ("t-late", ""));
        assert_eq!(load(Path::new("t.toml"), &to_toml(&late), &[], &[]), Ok(late));
        let error = plan(&["use=lat"]).unwrap_err();
        assert!(error.to_string().contains("did you mean `late`?"), "{error}");
    }

    #[test]
    fn procedures_that_cannot_be_told_apart_are_refused() {
        let fault = |text: &str| load(Path::new("t.toml"), text, &[], &[]).unwrap_err().what;
        assert_eq!(fault(&TWO.replace("'late'", "'early'")), "procedure `early` comes twice");
        assert!(fault(&TWO.replace("'late'", "'Late'")).contains("cannot be a name"));
        let (without, _) = TWO.split_once("[[procedure]]").unwrap();
        assert_eq!(fault(&format!("use='x'\n{without}")), "there is no procedure `x`");
    }
}
