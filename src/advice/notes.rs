//! What the documents advise before a change, and what of it a plan leaves out.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::base::words::count;
use crate::cluster::operator::certificates::Import;
use crate::cluster::operator::lsc::RollOutLsc;
use crate::cluster::operator::recovery::{BackUp, Restore, RestoreTrustedItl};
use crate::cluster::{CertificateKind, OperatorAction};
use crate::forecast::{DaysLeft, days_left};
use crate::scenario::Plan;

use super::orders::changes;

/// Something else to think of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What, a sentence.
    pub what: String,
    /// What to do.
    pub help: String,
}

impl Note {
    pub(super) fn new(what: &str, help: &str) -> Note {
        Note { what: what.to_owned(), help: help.to_owned() }
    }
}

/// Certificates that end so soon after the plan are renewed with the others (choice: the first
/// warning of the Certificate Monitor comes 30 days before the end).
const SOON_DAYS: i64 = 30;

pub(super) fn notes(plan: &Plan) -> Vec<Note> {
    if plan.target.is_some() {
        return Vec::new();
    }
    let all = [
        backup(plan),
        window(plan),
        capf(plan),
        untested_capf(plan),
        wireless(plan),
        last_resort(plan),
    ];
    all.into_iter().flatten().chain(expiring(plan)).collect()
}

fn first_change(plan: &Plan) -> Option<usize> {
    plan.timeline.iter().position(|entry| !changes(&entry.action).is_empty())
}

fn step(plan: &Plan, at: usize) -> String {
    format!("step {} ({})", at + 1, plan.timeline[at].name)
}

/// Nobody makes a backup at all; one that comes too late is a broken rule.
fn backup(plan: &Plan) -> Option<Note> {
    let change = first_change(plan)?;
    let mut actions = plan.timeline.iter().map(|entry| &entry.action);
    if actions.any(|action| action.get::<BackUp>().is_some()) {
        return None;
    }
    let what = format!(
        "{} changes certificates, and no step makes a backup before it (SAFE-15, BKP-01)",
        step(plan, change)
    );
    Some(Note::new(&what, "begin with backup = {}: it holds the keys that the phones know"))
}

/// Changes belong into a maintenance window, at night or at a weekend (choice), and so do rollouts,
/// because they reset phones (CAPF-33).
fn window(plan: &Plan) -> Option<Note> {
    let first = |is_it: &dyn Fn(&OperatorAction) -> bool| {
        plan.timeline.iter().position(|entry| is_it(&entry.action))
    };
    let change = first(&|action| !changes(action).is_empty() || rollout(action).is_some())?;
    let id = if rollout(&plan.timeline[change].action).is_some() { "CAPF-33" } else { "REG-01" };
    let phones = count(u64::from(plan.fleet.phones));
    let Some(epoch_s) = plan.dates.epoch_s else {
        let what = format!(
            "{} begins a change that {phones} phones notice, and the plan does not say when \
             ({id})",
            step(plan, change)
        );
        let help = "carry it out in a maintenance window; with epoch and time-zone in [run] it is \
                    looked at whether it is one";
        return Some(Note::new(&what, help));
    };
    let zone = TimeZone::get(&plan.dates.time_zone).unwrap_or(TimeZone::UTC);
    let start = Timestamp::from_second(i64::try_from(epoch_s).ok()?).ok()?.to_zoned(zone);
    let is_weekend = matches!(start.weekday(), Weekday::Saturday | Weekday::Sunday);
    let is_night = !(6..20).contains(&start.hour());
    if is_weekend || is_night {
        return None;
    }
    let what = format!(
        "the plan begins at {}, when people work with their phones ({id})",
        start.strftime("%H:%M on a %A")
    );
    Some(Note::new(&what, "carry it out in a maintenance window: at night or at a weekend"))
}

fn capf(plan: &Plan) -> Option<Note> {
    let is_capf = |&(_, kind): &(_, CertificateKind)| kind == CertificateKind::Capf;
    let at = plan.timeline.iter().position(|entry| changes(&entry.action).iter().any(is_capf))?;
    let what =
        format!("{} changes CAPF.pem, which the ITL of each node names (REG-27)", step(plan, at));
    let help = "look with show itl on every TFTP node that the new one is in the list; phones keep \
                their LSCs until they enrol again";
    Some(Note::new(&what, help))
}

/// A rollout that resets phones.
fn rollout(action: &OperatorAction) -> Option<&RollOutLsc> {
    action.get::<RollOutLsc>().filter(|rollout| rollout.pace.is_some())
}

/// A CAPF certificate of a CA comes after a test with the one that CAPF made itself.
fn untested_capf(plan: &Plan) -> Option<Note> {
    let is_import = |action: &OperatorAction| {
        action.get::<Import>().is_some_and(|import| import.certificate == CertificateKind::Capf)
    };
    let at = plan.timeline.iter().position(|entry| is_import(&entry.action))?;
    if plan.timeline[..at].iter().any(|entry| rollout(&entry.action).is_some()) {
        return None;
    }
    let what = format!(
        "{} gives CAPF a certificate of another CA, and no LSC has been rolled out with the \
         self-signed one before (CERT-32, CAPF-34)",
        step(plan, at)
    );
    let help = "roll-out-lsc to a few phones first; then import, restart CAPF and TFTP, reset the \
                phones and deploy all LSCs again";
    Some(Note::new(&what, help))
}

/// Models whose certificates a third-party CA issues and people assign, for they are wireless; to no
/// other phone a certificate is assigned by hand (CAPF-31).
const WIRELESS: [&str; 2] = ["7921", "7925"];

/// A rollout gives wireless phones no new certificate for their network.
fn wireless(plan: &Plan) -> Option<Note> {
    let at = plan.timeline.iter().position(|entry| {
        let is_for = |rollout: &RollOutLsc| {
            let models = plan.fleet.models.iter().map(|(model, _)| model);
            models.clone().any(|model| {
                let asked = rollout.phones.model.is_none_or(|asked| asked == *model);
                asked && model.digits().is_some_and(|digits| WIRELESS.contains(&digits))
            })
        };
        entry.action.get::<RollOutLsc>().is_some_and(is_for)
    })?;
    let what = format!(
        "{} gives LSCs to phones of model 7921 or 7925, too: the certificate that these show to \
         their wireless network is of a third-party CA and does not change (CAPF-31)",
        step(plan, at)
    );
    let help = "look at the ends of those certificates apart; assign certificates by hand to no \
                phone that is not wireless";
    Some(Note::new(&what, help))
}

/// A restore comes after everything else that helps (SAFE-16).
fn last_resort(plan: &Plan) -> Option<Note> {
    let is_restore = |action: &OperatorAction| {
        action.get::<Restore>().is_some() || action.get::<RestoreTrustedItl>().is_some()
    };
    let at = plan.timeline.iter().position(|entry| is_restore(&entry.action))?;
    let what = format!("{} is the last resort of the documents (SAFE-16)", step(plan, at));
    let help = "first, where it helps: reset the phones while a TVS that they trust runs, sign the \
                ITL with ITLRecovery (reset-itl-localkey), erase the ITL of the stuck phones";
    Some(Note::new(&what, help))
}

fn expiring(plan: &Plan) -> impl Iterator<Item = Note> {
    let is_soon = |days: &DaysLeft| (0..SOON_DAYS).contains(&days.at_end);
    days_left(plan).into_iter().filter(is_soon).map(|days| {
        let DaysLeft { certificate, node, at_end, .. } = days;
        let what = format!("{certificate} on {node} ends {at_end} days after the plan (CERT-18)");
        Note::new(&what, "renew it in the same window, in its turn")
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::load;

    fn told(events: &str, run: &str) -> Vec<String> {
        let text = format!(
            "schema=1\nname='t'\n[[cluster.node]]\nname='pub'\nexpires={{TVS='20d'}}\n[fleet]\n\
             phones=3\n{events}[run]\n{run}\n"
        );
        let plan = load(Path::new("t.toml"), &text, &[], &[]).unwrap();
        notes(&plan).into_iter().map(|note| note.what).collect()
    }

    const CAPF: &str = "[[event]]\nat='0s'\nregenerate={certificate='CAPF',node='pub'}\n";
    #[test]
    fn rollouts_belong_into_a_window_and_a_capf_of_another_ca_behind_a_first_one() {
        let rollout = "[[event]]\nat='0s'\nroll-out-lsc={completes-in='5h'}\n";
        let has = |events: &str, id: &str| told(events, "").iter().any(|text| text.contains(id));
        assert!(has(rollout, "CAPF-33"));
        let unapplied = rollout.replace("'5h'", "'5h',apply=false");
        assert!(!has(&unapplied, "CAPF-33"), "it resets nobody");
        let import = "[[event]]\nat='0s'\nimport={certificate='CAPF',node='pub',issuer='Lab-CA'}\n";
        assert!(has(import, "CAPF-34") && has(&format!("{import}{rollout}"), "CAPF-34"));
        assert!(!has(&format!("{rollout}{import}"), "CAPF-34"));
    }

    #[test]
    fn wireless_phones_have_certificates_of_their_own_beside_lscs() {
        let told = |models: &str, which: &str| {
            let text = format!(
                "schema=1\nname='t'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=9\n\
                 models={models}\n[[event]]\nat='0s'\nroll-out-lsc={{{which}}}\n"
            );
            let plan = load(Path::new("t.toml"), &text, &[], &[]).unwrap();
            notes(&plan).iter().any(|note| note.what.contains("CAPF-31"))
        };
        let mixed = "{'8841'=0.5, '7925'=0.5}";
        assert!(told(mixed, "") && told(mixed, "model='7925'") && told("{'7921'=1.0}", ""));
        assert!(!told(mixed, "model='8841'") && !told("{'8841'=1.0}", ""));
    }

    const BACKUP: &str = "[[event]]\nat='0s'\nbackup={}\n";

    #[test]
    fn changes_in_working_hours_without_a_backup_are_told() {
        let all = told(CAPF, "");
        let words =
            ["SAFE-15, BKP-01", "does not say when (REG-01)", "REG-27", "TVS on pub ends 20"];
        assert_eq!(all.len(), words.len(), "{all:?}");
        assert!(all.iter().zip(words).all(|(text, words)| text.contains(words)), "{all:?}");
        let backed_up = told(&format!("{BACKUP}{CAPF}"), "");
        assert!(backed_up.iter().all(|text| !text.contains("SAFE-15")), "{backed_up:?}");
        // 2026-11-25 was a Wednesday; at ten in Berlin people work, at nine in UTC as well.
        let window = |epoch: &str, zone: &str| {
            let all = told(CAPF, &format!("epoch='{epoch}'\ntime-zone='{zone}'"));
            all.iter().any(|text| text.contains("REG-01"))
        };
        assert!(window("2026-11-25T09:00:00Z", "Europe/Berlin"));
        assert!(!window("2026-11-25T22:30:00Z", "UTC"), "night");
        assert!(window("2026-11-25T22:30:00Z", "America/Los_Angeles"), "afternoon there");
        assert!(!window("2026-11-28T11:00:00Z", "UTC"), "Saturday");
        let restored = told(&format!("{BACKUP}[[event]]\nat='0s'\nrestore={{node='pub'}}\n"), "");
        assert!(restored[0].contains("(restore-1) is the last resort"), "{restored:?}");
        let nothing = told("[[event]]\nat='0s'\nreset-phones={}\n", "");
        assert!(nothing.iter().all(|text| text.contains("TVS on pub ends")), "{nothing:?}");
    }
}
