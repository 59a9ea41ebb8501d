use std::collections::BTreeMap;

use crate::base::words::count;
use crate::base::{NodeId, PhoneId};
use crate::cluster::{CertificateKind, Cluster, SecurityMode, Topology};
use crate::crypto::Certificate;
use crate::measure::{Ledger, PhoneRecord, Remedy, Stranded};
use crate::phone::{Failure, Outcome, Phone, Refusal};
use crate::scenario::Plan;
use crate::wire::ROLE_TVS;

use super::homes::Homes;
use super::roll::{Bench, Saved, group_of, members, takes_lists_of};

/// Technicians who go from phone to phone (guess, `field-facts.md` section 18).
const TECHNICIANS: u32 = 20;
/// Minutes at a phone whose settings can be opened, and at one that is reset to the factory state
/// because they are locked (guesses, the same section).
const MINUTES: [f64; 2] = [3.0, 10.0];
/// Share of the phones whose settings are locked (guess, the same section).
const LOCKED: f64 = 0.3;

/// Reasons that stand apart at most (choice); those behind are one.
const REASONS_MAX: usize = 50;

/// What is common to phones that the same helps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    /// The place of its outcome among [`OUTCOMES`].
    outcome: usize,
    cause: String,
    help: Help,
}

/// What helps a phone beside its reset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Help {
    /// Nothing but the erasure of its lists, or what is found beside it.
    Erase {
        /// A backup with a key whose certificate the phone trusts.
        saved: Option<Saved>,
        /// Nodes that have presented a TVS certificate which the phone trusts.
        tvs: Vec<NodeId>,
        /// Whether it trusts ITLRecovery.
        recovery: bool,
        /// A node of its TFTP servers that keeps the list which the phone trusts, with its keys.
        kept: Option<NodeId>,
    },
    /// A reset, after what is said.
    Reset(String),
    /// A reset, after the TFTP nodes that these phones ask answer again.
    ResetOfSilent,
    /// Something that no reset of phones brings about.
    Other(String),
}

const OUTCOMES: [&str; 4] = ["stuck", "failed", "stale", "not-reset"];

/// Whoever looks at the phones when a run is over.
pub(super) struct Inspector<'a> {
    pub(super) plan: &'a Plan,
    pub(super) homes: &'a Homes,
    /// None if the servers are not ours.
    pub(super) cluster: Option<&'a Cluster>,
    /// What nodes have presented as TVS.
    pub(super) tvs: &'a [(NodeId, Certificate)],
}

impl Inspector<'_> {
    /// The phones that are not ready, by reason: the worst first, then the most.
    pub(super) fn stranded(&self, ledger: &Ledger, phones: &[Phone]) -> Vec<Stranded> {
        let mut bench = self.cluster.map(|cluster| Bench::new(cluster, self.homes));
        let sizes = self.topology().group_sizes(self.plan.fleet.phones);
        let fleet = self.plan.fleet_spec();
        let mut found: BTreeMap<Reason, Stranded> = BTreeMap::new();
        for (number, record) in (0..).map(PhoneId).zip(ledger.phones()) {
            if record.outcome == Some(Outcome::Ready) || record.booting {
                continue;
            }
            let phone = phones.get(number.0 as usize);
            let mut reason = self.reason(ledger, record, phone, bench.as_mut());
            if found.len() >= REASONS_MAX && !found.contains_key(&reason) {
                let help = Help::Other("see phones.csv for each".into());
                reason = Reason { cause: "further reasons".into(), help, ..reason };
            }
            let stranded = found.entry(reason).or_default();
            stranded.phones += 1;
            let group = &self.topology().groups[group_of(&sizes, number)].name;
            *stranded.by_group.entry(group.clone()).or_default() += 1;
            *stranded.by_model.entry(fleet.model(number).to_string()).or_default() += 1;
            *stranded.by_tftp.entry(self.name(self.homes.first(number))).or_default() += 1;
            if !self.plan.fleet.sites.is_empty() {
                let site = self.plan.fleet.site_of(self.plan.seed, number);
                let name = &self.plan.fleet.sites[site].name;
                *stranded.by_site.entry(name.clone()).or_default() += 1;
            }
        }
        let mut all: Vec<(Reason, Stranded)> = found.into_iter().collect();
        all.sort_by_key(|(reason, stranded)| (reason.outcome, u64::MAX - stranded.phones));
        all.into_iter().map(|(reason, stranded)| self.advised(reason, stranded)).collect()
    }

    fn topology(&self) -> &Topology {
        self.cluster.map_or(&self.plan.topology, Cluster::topology)
    }

    /// The name of a node; servers that are not ours are numbered.
    fn name(&self, node: NodeId) -> String {
        match self.plan.target {
            Some(_) => format!("target {}", node.node + 1),
            None => self.topology().node(node).name.clone(),
        }
    }

    fn reason(
        &self,
        ledger: &Ledger,
        record: &PhoneRecord,
        phone: Option<&Phone>,
        bench: Option<&mut Bench<'_>>,
    ) -> Reason {
        let (outcome, cause, help) = match record.outcome {
            Some(Outcome::Stuck) => (0, stuck_cause(record), self.erase(phone, bench)),
            Some(Outcome::Failed(Failure::Stale)) => {
                let cause = "holds a list or configuration that is no longer served".to_owned();
                (2, cause, Help::Reset("they hold what was served before the last change".into()))
            }
            Some(Outcome::Failed(failure)) => {
                let refused = matches!(
                    failure,
                    Failure::File(Refusal::NotValid | Refusal::WrongRole | Refusal::UnknownSigner)
                );
                let help = match (phone, bench) {
                    (Some(_), Some(_)) if refused => {
                        Help::Reset("make the signer known to TVS on the nodes of the group".into())
                    }
                    _ => help_of(failure),
                };
                (1, ledger.words(failure), help)
            }
            Some(Outcome::Ready) | None => {
                let help = Help::Reset("their turn had not come".into());
                (3, "was not reset before the run ended".to_owned(), help)
            }
        };
        Reason { outcome, cause, help }
    }

    /// What helps a phone that only a person can help.
    fn erase(&self, phone: Option<&Phone>, bench: Option<&mut Bench<'_>>) -> Help {
        let (Some(phone), Some(bench), Some(cluster)) = (phone, bench, self.cluster) else {
            return Help::Erase { saved: None, tvs: Vec::new(), recovery: false, kept: None };
        };
        let asked: Vec<NodeId> = members(cluster.topology(), phone).collect();
        let trusts = |certificate| phone.lists().judge_server(&[ROLE_TVS], certificate);
        let known = self.tvs.iter().filter(|(node, held)| asked.contains(node) && trusts(held));
        let mut tvs: Vec<NodeId> = known.map(|(node, _)| *node).collect();
        tvs.sort_unstable();
        tvs.dedup();
        Help::Erase {
            saved: bench.saved(phone),
            tvs,
            recovery: trusts_recovery(cluster, phone),
            kept: bench.kept(phone),
        }
    }

    fn advised(&self, reason: Reason, stranded: Stranded) -> Stranded {
        let phones = stranded.phones;
        let who = match &stranded.by_group.keys().map(String::as_str).collect::<Vec<_>>()[..] {
            [one] => format!("{} phones of group {one}", count(phones)),
            many => format!("{} phones of groups {}", count(phones), many.join(", ")),
        };
        let remedies = match &reason.help {
            Help::Erase { saved, tvs, recovery, kept } => {
                self.ways((&who, phones), (saved.as_ref(), *kept), tvs, *recovery)
            }
            Help::Reset(why) => vec![reset(&who, why)],
            Help::ResetOfSilent => {
                let nodes: Vec<&str> = stranded.by_tftp.keys().map(String::as_str).collect();
                let why = format!("first see why TFTP on {} did not answer", nodes.join(", "));
                vec![reset(&who, &why)]
            }
            Help::Other(what) => vec![Remedy { what: what.clone(), ..Remedy::default() }],
        };
        let outcome = OUTCOMES[reason.outcome];
        Stranded { outcome, cause: reason.cause, remedies, ..stranded }
    }

    /// What can be done, what asks for least first: no phone is visited, each is, keys are put back.
    /// TAC and DRF are the last resort (SAFE-16).
    fn ways(
        &self,
        (who, phones): (&str, u64),
        (saved, kept): (Option<&Saved>, Option<NodeId>),
        tvs: &[NodeId],
        recovery: bool,
    ) -> Vec<Remedy> {
        let mut ways = Vec::new();
        if recovery {
            ways.push(rehearsed(
                "sign the ITL with ITLRecovery (utils itl reset localkey) and reset the phones: \
                 they trust it"
                    .to_owned(),
                "reset-itl-localkey = {}",
            ));
        }
        // TOOL-01 wants no erasure as long as a backup has the key, and SAFE-16 no restore before
        // everything else: both are said, as `diagnose` does.
        let unless = saved.map_or_else(String::new, |saved| {
            let number = saved.number;
            format!(". Backup {number} has the key that they trust: only if nobody will restore it")
        });
        ways.push(erase_by_hand(who, phones, &unless));
        ways.push(erase_by_users(who, &unless));
        if let Some(node) = kept {
            let name = self.name(node);
            ways.push(rehearsed(
                format!("let TAC restore the ITL that {name} keeps: these phones trust it"),
                &format!("restore-trusted-itl = {{ node = \"{name}\" }}"),
            ));
        }
        let restorable = saved.filter(|saved| !saved.nodes.is_empty());
        if let Some(Saved { number, nodes }) = restorable {
            let names: Vec<String> = nodes.iter().map(|&node| self.name(node)).collect();
            let whose = if names.len() == 1 { "its" } else { "their" };
            let verb =
                |name: &String| format!("restore = {{ node = \"{name}\", from = {number} }}");
            let verbs: Vec<String> = names.iter().map(verb).collect();
            ways.push(rehearsed(
                format!(
                    "restore {} from backup {number}, as the last resort: {whose} old keys are \
                     those that these phones trust",
                    names.join(", ")
                ),
                &verbs.join("\n[[event]]\nafter = \"previous\"\n"),
            ));
        } else if !tvs.is_empty() {
            let names: Vec<String> = tvs.iter().map(|&node| self.name(node)).collect();
            ways.push(Remedy {
                what: format!(
                    "restore the old TVS.pem of {} from a backup of before the change, if there is \
                     one: these phones trust it",
                    names.join(" or ")
                ),
                ..Remedy::default()
            });
        }
        ways
    }
}

/// What is done with the cluster, and the phones are reset after it.
fn rehearsed(what: String, verb: &str) -> Remedy {
    let steps = format!("[[event]]\nwhen = \"fleet-settled\"\n{verb}\n{RESET_AFTER}");
    Remedy { what, steps, ..Remedy::default() }
}

const RESET: &str = "[[event]]\nwhen = \"fleet-settled\"\nreset-phones = { spread = \"30s\" }\n";
const RESET_AFTER: &str = "[[event]]\nafter = \"previous\"\nreset-phones = { spread = \"30s\" }\n";

/// These phones are reset after what is said.
fn reset(who: &str, why: &str) -> Remedy {
    Remedy { what: format!("reset {who}: {why}"), steps: RESET.to_owned(), ..Remedy::default() }
}

/// Somebody goes to each of these phones.
fn erase_by_hand(who: &str, phones: u64, unless: &str) -> Remedy {
    let [open, locked] = MINUTES;
    let hours = phones as f64 * ((1.0 - LOCKED) * open + LOCKED * locked) / 60.0;
    let what = format!(
        "erase ITL at {who}, about {} technician-hours ({open} min each; {TECHNICIANS} technicians; \
         {locked} min where settings are locked){unless}",
        in_hours(hours)
    );
    let steps = format!(
        "[[event]]\nwhen = \"fleet-settled\"\nerase-lists = {{ only = \"stuck\", technicians = \
         {TECHNICIANS}, per-phone = \"{open}m\", restricted = {LOCKED}, per-restricted = \
         \"{locked}m\" }}\n"
    );
    let at_once = hours / f64::from(TECHNICIANS);
    Remedy { what, technician_hours: Some(hours), hours: Some(at_once), steps, ..Remedy::default() }
}

/// What users are asked to press (TOOL-10): the path of the documents, and that of newer models.
const MAIL: &str = "\
Subject: your desk phone needs a minute of your time

Your phone shows \"Trust List Verification Failed\". Calls work, but it takes no changes any more, \
and its directory may not open. Please press on the phone:

  Settings > Security Configuration > Trust List > ITL File
  **#      (opens the lock)
  Erase

On models 78xx and 88xx: Applications > Admin Settings > Reset Settings > Security Settings.

The phone restarts by itself and is well after a few minutes. If the menu is not there or is locked, \
leave the phone as it is and answer this mail: somebody will come.
";

/// A mail asks the users of these phones; the rest is visited.
fn erase_by_users(who: &str, unless: &str) -> Remedy {
    let within = "8h";
    let what = format!(
        "ask the users of {who} by mail to erase their lists with the keys that it names, and visit \
         those whose settings are locked (about {:.0} %){unless}",
        LOCKED * 100.0
    );
    let steps = format!(
        "[[event]]\nwhen = \"fleet-settled\"\nerase-lists = {{ only = \"stuck\", users-within = \
         \"{within}\", restricted = {LOCKED} }}\n"
    );
    Remedy { what, steps, mail: MAIL.to_owned(), ..Remedy::default() }
}

/// Whole hours, and tenths of the first ten.
fn in_hours(hours: f64) -> String {
    if hours < 9.95 { format!("{hours:.1}") } else { count(hours.round() as u64) }
}

/// What a stuck phone has refused.
fn stuck_cause(record: &PhoneRecord) -> String {
    let refused = match (record.symptoms.list_failed, record.symptoms.failed) {
        (true, true) => "list and configuration",
        (true, false) => "list",
        (false, true) => "configuration",
        (false, false) => "file",
    };
    format!(
        "refused the {refused}: the signer is in none of its lists, and no TVS server of its \
         configuration presents a certificate that they hold"
    )
}

fn help_of(failure: Failure) -> Help {
    let reset = |why: &str| Help::Reset(why.to_owned());
    match failure {
        Failure::ConfigMissing => reset("first see that TFTP has built their configurations"),
        Failure::EventLimit | Failure::TimeLimit => {
            Help::Other("let the run last longer: raise run.max-wall".into())
        }
        Failure::Generator(_) => Help::Other(
            "run again on a host with more room; `resetstorm doctor` says of what".into(),
        ),
        Failure::Interrupted => Help::Other("let the run come to its end".into()),
        Failure::TvsUnreachable => reset("first start TVS on a node of their group"),
        Failure::Transfer(_) => Help::ResetOfSilent,
        Failure::File(Refusal::Expired) => {
            reset("first regenerate the certificate that has expired and restart its services")
        }
        Failure::File(Refusal::WrongSignature) => reset(
            "first regenerate CallManager where the key is not of the certificate, and restart TFTP",
        ),
        Failure::File(Refusal::Unreadable) => {
            reset("first let the cluster learn the certificates that they have now")
        }
        Failure::File(Refusal::UnsupportedDigest) => {
            reset("first sign files with SHA-1, which these models know")
        }
        Failure::File(_) | Failure::Stale => reset("first see what TFTP serves them"),
    }
}

/// Whether a phone outside of mixed mode takes a list that is signed with ITLRecovery.
fn trusts_recovery(cluster: &Cluster, phone: &Phone) -> bool {
    if cluster.security_mode() != SecurityMode::NonSecure {
        return false;
    }
    let own = cluster.stores().identities();
    let mut keys = own.filter(|(_, kind, _)| *kind == CertificateKind::ItlRecovery);
    keys.any(|(.., own)| takes_lists_of(phone, own.certificate()))
}
