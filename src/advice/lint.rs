use serde::Serialize;

use crate::base::Stop;
use crate::base::words::count;
use crate::forecast::{BrokenRule, broken_rules, warnings};
use crate::phone::{FileKind, Unregistered};
use crate::scenario::Plan;

use super::kinds::Kind;
use super::notes::{Note, notes};
use super::orders::{Order, changes, orders};
use super::prediction::{End, Fate, Lost, Prediction};

/// What is to be said of a plan before it runs.
#[derive(Clone, Debug, Serialize)]
pub struct Lint {
    /// Name of the scenario.
    pub scenario: String,
    /// Phones of the fleet.
    pub phones: u32,
    /// How many of them were played.
    pub played: u32,
    /// How many kinds of phones there are: group, model, site, TFTP nodes.
    pub kinds: usize,
    /// Why more than one phone of each kind was played; `null` if that was enough.
    pub whole: Option<String>,
    /// Whether the numbers are those of every phone; if not, phones between played ones are taken
    /// to fare as their neighbours.
    pub is_exact: bool,
    /// Whether no phone is lost.
    pub is_safe: bool,
    /// Phones that are lost in the end.
    #[serde(flatten)]
    pub lost: Lost,
    /// Who is lost, by step and kind.
    pub stranded: Vec<Stranded>,
    /// Rules of the documents that are broken, and what comes of each.
    pub rules: Vec<RuleFound>,
    /// What is likely not meant, and what the documents advise.
    pub notes: Vec<Note>,
    /// The same steps in a safer order, if there is one.
    pub safer: Option<Safer>,
}

/// Phones that a step strands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stranded {
    /// The number of the step whose reset they do not survive, from 1; `null`: none of them.
    pub step: Option<usize>,
    /// Its name.
    pub name: Option<String>,
    /// `stuck`, `failed` or `unregistered`.
    pub outcome: &'static str,
    /// How many phones.
    pub phones: u64,
    /// Their `CallManager` group.
    pub group: String,
    /// Their model.
    pub model: String,
    /// Their site; empty if the scenario has none.
    pub site: String,
    /// The TFTP nodes that they ask, first asked first.
    pub tftp: Vec<String>,
    /// Why, in words.
    pub why: String,
    /// What had changed since the reset before, in words.
    pub because: Vec<String>,
}

/// A rule of the documents that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleFound {
    /// The number of the step at which it shows, from 1; `null`: of the whole plan.
    pub step: Option<usize>,
    /// The rule and where it is broken.
    pub rule: String,
    /// What comes of it, computed by playing.
    pub consequence: String,
    /// How to repair it.
    pub help: String,
}

/// The same steps in a safer order.
#[derive(Clone, Debug, Serialize)]
pub struct Safer {
    /// What was changed, in words.
    pub how: &'static str,
    /// Phones that are lost at its end.
    #[serde(flatten)]
    pub lost: Lost,
    /// Its steps in words; those that were added begin with `+`.
    pub steps: Vec<String>,
    /// The plan itself.
    #[serde(skip)]
    pub plan: Plan,
}

impl Lint {
    /// Plays `plan` and other orders of its steps; `None` when `stop` is set before the end.
    pub fn of(plan: &Plan, stop: &Stop) -> Option<Lint> {
        if plan.target.is_some() {
            return Some(Lint::of_a_target(plan));
        }
        let prediction = Prediction::of(plan, stop)?;
        let lost = prediction.lost();
        let broken = broken_rules(plan);
        let safer = safer(plan, lost, stop)?;
        Some(Lint {
            scenario: plan.name.clone(),
            phones: plan.fleet.phones,
            played: prediction.played,
            kinds: prediction.kinds(),
            whole: prediction.whole.clone(),
            is_exact: prediction.is_exact,
            is_safe: lost.is_nobody(),
            lost,
            stranded: stranded(plan, &prediction),
            rules: broken.iter().map(|rule| found(rule, &prediction)).collect(),
            notes: [oversights(plan, &broken), notes(plan)].concat(),
            safer,
        })
    }

    /// Of servers that are not ours nothing is known.
    fn of_a_target(plan: &Plan) -> Lint {
        let what = "the servers are not ours: what they would do to the phones is not known";
        let note = Note::new(what, "leave [target] out to have the cluster of the scenario judged");
        Lint {
            scenario: plan.name.clone(),
            phones: plan.fleet.phones,
            played: 0,
            kinds: 0,
            whole: None,
            is_exact: false,
            is_safe: false,
            lost: Lost::default(),
            stranded: Vec::new(),
            rules: Vec::new(),
            notes: [vec![note], oversights(plan, &[])].concat(),
            safer: None,
        }
    }
}

/// Warnings that are no rules of the documents.
fn oversights(plan: &Plan, broken: &[BrokenRule]) -> Vec<Note> {
    let rules: Vec<String> = broken.iter().map(ToString::to_string).collect();
    let others = warnings(plan).into_iter().filter(|text| !rules.contains(text));
    let note = |text: String| {
        let (what, help) = text.split_once("\nhelp: ").unwrap_or((&text, ""));
        Note::new(what, help)
    };
    others.map(note).collect()
}

/// A broken rule with what the played phones say of it.
fn found(rule: &BrokenRule, prediction: &Prediction) -> RuleFound {
    let lost_at = |at: usize| {
        let mut lost = Lost::default();
        let rows = prediction.by_kind().into_iter().filter(|(fate, ..)| fate.by == Some(at));
        rows.for_each(|(fate, _, phones)| lost.add(fate.end, phones));
        lost
    };
    let lost = rule.at.map_or_else(|| prediction.lost(), lost_at);
    let consequence = match (lost.is_nobody(), rule.at) {
        (true, Some(_)) => "nobody is lost at this step".to_owned(),
        (_, at) => {
            let end = if at.is_none() && !lost.is_nobody() { " by all steps together" } else { "" };
            format!("{}{end}", lost_words(lost))
        }
    };
    RuleFound {
        step: rule.at.map(|at| at + 1),
        rule: rule.what.clone(),
        consequence,
        help: rule.help.clone(),
    }
}

/// Phones that are lost, in words.
pub(super) fn lost_words(lost: Lost) -> String {
    let words = |phones: u64, what: &str| {
        let noun = if phones == 1 { "phone" } else { "phones" };
        (phones > 0).then(|| format!("{} {noun} {what}", count(phones)))
    };
    let all = [
        words(lost.stuck, "stuck"),
        words(lost.failed, "failed"),
        words(lost.unregistered, "not registered"),
    ];
    let words: Vec<String> = all.into_iter().flatten().collect();
    if words.is_empty() { "nobody is lost".to_owned() } else { words.join(", ") }
}

fn stranded(plan: &Plan, prediction: &Prediction) -> Vec<Stranded> {
    let rows = prediction.by_kind().into_iter();
    rows.filter_map(|(fate, kind, phones)| row(plan, fate, kind, phones)).collect()
}

fn row(plan: &Plan, fate: &Fate, kind: &Kind, phones: u64) -> Option<Stranded> {
    let outcome = match fate.end {
        End::Stuck => "stuck",
        End::Failed(_) => "failed",
        End::Unregistered(_) => "unregistered",
        End::Ready | End::Untouched => return None,
    };
    let topology = &plan.topology;
    Some(Stranded {
        step: fate.by.map(|at| at + 1),
        name: fate.by.map(|at| plan.timeline[at].name.clone()),
        outcome,
        phones,
        group: topology.groups[kind.group].name.clone(),
        model: kind.model.to_string(),
        site: plan.fleet.sites.get(kind.site).map(|site| site.name.clone()).unwrap_or_default(),
        tftp: kind.home.iter().map(|&node| topology.node(node).name.clone()).collect(),
        why: why(fate),
        because: because(plan, fate.by),
    })
}

fn why(fate: &Fate) -> String {
    let mut refused: Vec<&str> = Vec::new();
    for (kind, _) in &fate.refused {
        let name = match kind {
            FileKind::Ctl => "CTL",
            FileKind::Itl => "ITL",
            _ => "configuration",
        };
        if !refused.contains(&name) {
            refused.push(name);
        }
    }
    let refused = if refused.is_empty() { "files".to_owned() } else { refused.join(" and ") };
    match fate.end {
        End::Stuck => format!(
            "the lists of these phones know the signer of the new {refused} no more, and no TVS of \
             their group presents a certificate that they hold"
        ),
        End::Failed(why) => why.to_string(),
        End::Unregistered(why) => match why {
            Unregistered::NoConfig => "no configuration names a CallManager",
            Unregistered::NoAnswer => "no member of their group answers",
            Unregistered::Full => "every member of their group is full",
            Unregistered::Refused => "the members of their group refuse them or their certificates",
            Unregistered::CertificateRefused => {
                "the certificates of the CallManagers of their group are in none of their lists"
            }
        }
        .to_owned(),
        End::Ready | End::Untouched => String::new(),
    }
}

/// The steps that changed certificates since the reset before this one, in words.
fn because(plan: &Plan, by: Option<usize>) -> Vec<String> {
    let end = by.unwrap_or(plan.timeline.len());
    let boots = |at: &usize| plan.timeline[*at].action.impact(&plan.topology).wave.is_some();
    let from = (0..end).rev().find(boots).filter(|_| by.is_some()).map_or(0, |at| at + 1);
    (from..end.min(plan.timeline.len()))
        .filter(|&at| !changes(&plan.timeline[at].action).is_empty())
        .map(|at| format!("{} {}", at + 1, plan.timeline[at].action.words(&plan.topology)))
        .collect()
}

/// The first other order that loses nobody, or the one that loses fewest, if any loses fewer than
/// the order given.
#[expect(clippy::option_option, reason = "stopped, and no better order, are two things")]
fn safer(plan: &Plan, lost: Lost, stop: &Stop) -> Option<Option<Safer>> {
    let mut best = (lost, None);
    for order in orders(plan) {
        if best.0.is_nobody() {
            break;
        }
        let lost = Prediction::of(&order.plan, stop)?.lost();
        if lost < best.0 {
            best = (lost, Some(order));
        }
    }
    Some(best.1.map(|order| described(order, best.0)))
}

fn described(order: Order, lost: Lost) -> Safer {
    let words = |(entry, origin): (&crate::scenario::TimelineEntry, &Option<usize>)| {
        let what = entry.action.plan_words(&order.plan.topology);
        let waits = entry.trigger == crate::scenario::Trigger::FleetSettled;
        let waits = if waits { "when the fleet has settled: " } else { "" };
        let mark = if origin.is_none() { "+ " } else { "" };
        format!("{mark}{waits}{what}")
    };
    let steps = order.plan.timeline.iter().zip(&order.origins).map(words).collect();
    Safer { how: order.how, lost, steps, plan: order.plan }
}
