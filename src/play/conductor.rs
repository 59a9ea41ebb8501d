use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::base::{NodeId, PhoneId, Span, Time, printable};
use crate::cluster::operator::phones::{Visited, Visits, effect_on_phones};
use crate::cluster::{
    ActionError, Backup, Cluster, Effect, Mismatch, Monitor, OperatorAction, ServiceChange,
    ServiceKind, SignCounts, TftpService, WhyUnused,
};
use crate::console::{Answer, Session, Sql, Transcript, Typed, View};
use crate::listing::{hex, upper_hex};
use crate::measure::{
    CapfNumbers, ClusterCounts, CpuSeconds, Finish, ItlChecksum, Ledger, Mode, OperatorStep,
    RunFacts, RunInfo, ServeSummary, StepMark, Stranded, Summary,
};
use crate::phone::{Outcome, Phone, TrustList};
use crate::scenario::{FleetStart, Plan};
use crate::wire::{FileName, ROLE_TVS};

use super::cast::Cast;
use super::dates::{expired, harms, mails};
use super::homes::Homes;
use super::presented::Gallery;
use super::probes::Probes;
use super::roll::{Bench, Roll, RollEntry};
use super::rollout;
use super::stranded::Inspector;
use super::timeline::{StepInHand, Timeline};
use super::visit::{self, Round, Visit};

/// A run as it goes on: the cluster, where its phones belong, what the operator still has to do,
/// and what has happened so far.
///
/// The driver's loop: say [`power_on`](Play::power_on) once, then ask [`next`](Play::next) until it
/// answers `None`, carry out each cue, and come back at [`wake_at`](Play::wake_at), when the fleet
/// settles or after a [`command`](Play::command).
#[derive(Debug)]
pub struct Play {
    plan: Box<Plan>,
    mode: Mode,
    /// Unix seconds at [`Time::ZERO`]; 0 in virtual time.
    began_s: f64,
    /// None if the servers are not ours.
    cluster: Option<Cluster>,
    homes: Arc<Homes>,
    timeline: Timeline,
    /// Actions that somebody has entered beside the timeline.
    commands: VecDeque<OperatorAction>,
    /// What is still to be done for the action in hand.
    cues: VecDeque<Cue>,
    /// Whether any boot was planned.
    any_wave: bool,
    /// Signatures that were made before the storm, once it has begun.
    storm: Option<SignCounts>,
    steps: Vec<StepMark>,
    /// What the operator did, in words.
    done: Vec<OperatorStep>,
    /// What services have presented.
    gallery: Gallery,
    probes: Probes,
    notes: Vec<String>,
    /// Actions that the cluster took and failed to carry out.
    failed_actions: u64,
    /// Who answers `run sql` at the consoles.
    sql: Option<Box<dyn Sql>>,
    /// What was typed at the consoles of nodes, and what they said.
    transcripts: BTreeMap<NodeId, String>,
    /// When somebody last asked what is to be done.
    now: Time,
    /// Since which date the cluster is prepared for a rollback, in Unix seconds, and whether it was
    /// told that this is too long.
    prepared: Option<(u64, bool)>,
}

/// What the driver has to do next.
#[derive(Clone, Debug)]
pub enum Cue {
    /// The operator acts: nothing to do but to tell; its effects follow.
    Acts {
        /// What is done.
        action: OperatorAction,
        /// The step of the timeline; `None` for a command.
        step: Option<StepInHand>,
    },
    /// Every phone boots, each at its own instant within `spread` from now.
    Boots {
        /// Length of the wave.
        spread: Span,
        /// Why they boot.
        wave: Wave,
    },
    /// Phones boot one after the other as [`Play::visits`] says.
    Visits(Round),
    /// Phones were moved: those that boot from now on learn of it from [`Play::homes`].
    Moved,
    /// A backup was made, which a later run may want to find.
    BackedUp(Arc<Backup>),
    /// A service of our cluster starts or stops.
    Service(ServiceChange),
    /// A probe works or fails from now on: nothing to do but to tell.
    Probed(String),
    /// Something has been left so for too long: nothing to do but to tell.
    Warned(String),
}

/// What has come of actions that were entered.
#[derive(Clone, Debug, Default)]
pub struct Entered {
    /// What was done, in words.
    pub notes: Vec<String>,
    /// Why something could not be done.
    pub refused: Option<ActionError>,
}

/// Why phones boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wave {
    /// They are switched on.
    PowerOn,
    /// They are reset, for the first time: what was before does not count.
    Storm,
    /// They are reset again.
    Reset,
}

impl Play {
    /// The play of `plan` from [`Time::ZERO`], which is `began_s` in Unix seconds; `cluster` is
    /// `None` if the servers are not ours.
    pub fn new(plan: &Plan, cluster: Option<Cluster>, mode: Mode, began_s: f64) -> Play {
        let mut plan = Box::new(plan.clone());
        if plan.target.is_some() {
            plan.fleet.start = FleetStart::Factory;
        }
        let mut cluster = cluster;
        let (probes, failing) = Probes::new(&plan.probes, cluster.as_mut());
        Play {
            mode,
            began_s,
            homes: Arc::new(Homes::of_plan(&plan)),
            timeline: Timeline::new(std::mem::take(&mut plan.timeline)),
            commands: VecDeque::new(),
            cues: failing.into_iter().map(Cue::Probed).collect(),
            any_wave: false,
            storm: None,
            steps: Vec::new(),
            done: Vec::new(),
            probes,
            plan,
            gallery: cluster.as_ref().map(Gallery::of).unwrap_or_default(),
            cluster,
            notes: Vec::new(),
            failed_actions: 0,
            sql: None,
            transcripts: BTreeMap::new(),
            now: Time::ZERO,
            prepared: None,
        }
    }

    /// The same play with a database for `run sql` at the consoles.
    #[must_use]
    pub fn with_sql(self, sql: impl Sql + 'static) -> Play {
        Play { sql: Some(Box::new(sql)), ..self }
    }

    /// The cluster, if it is ours.
    pub const fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// The cluster, which is taken out of the play.
    pub fn into_cluster(self) -> Option<Cluster> {
        self.cluster
    }

    /// Where the phones belong.
    pub const fn homes(&self) -> &Arc<Homes> {
        &self.homes
    }

    /// Whoever makes the phones, with what they hold now if they start with something.
    pub fn cast(&self) -> Cast {
        let served = |node: NodeId| {
            let service = self.cluster.as_ref()?.tftp(node)?;
            Some((node, Arc::clone(service)))
        };
        let start = self.plan.fleet.start;
        let holds = start != FleetStart::Factory;
        let nodes = self.homes.firsts().into_iter().filter(|_| holds);
        let (fleet, homes) = (self.plan.fleet_spec(), Arc::clone(&self.homes));
        Cast::new(fleet, homes, nodes.filter_map(served), start.holds())
    }

    /// Which phone boots when from now on, in that order; `ledger` knows who is stuck.
    pub fn visits(&self, round: &Round, ledger: &Ledger) -> Vec<Visit> {
        match round {
            Round::People(visits) => self.visits_of_people(visits, ledger),
            Round::Resets(resets) => visit::resets(resets, self.plan.seed),
        }
    }

    fn visits_of_people(&self, visits: &Visits, ledger: &Ledger) -> Vec<Visit> {
        let is_chosen = |outcome: Option<Outcome>| match visits.only {
            Visited::Stuck => outcome == Some(Outcome::Stuck),
            Visited::All => true,
        };
        let phones = (0u32..).map(PhoneId).zip(ledger.phones());
        let chosen = phones.filter(|(_, record)| is_chosen(record.outcome));
        visit::plan(visits, self.plan.seed, chosen.map(|(phone, _)| phone).collect())
    }

    /// The boots with which the run begins, if the phones are switched on.
    pub fn power_on(&mut self) -> Option<Cue> {
        (self.plan.fleet.start == FleetStart::Factory)
            .then(|| self.boots(self.plan.fleet.arrival_within, Wave::PowerOn))
    }

    /// Enters an action beside the timeline; it is carried out before the next one of that.
    pub fn command(&mut self, action: OperatorAction) {
        self.commands.push_back(action);
    }

    /// A session at the console of the node with this name; nothing names the publisher.
    ///
    /// # Errors
    /// If there is no such node, in words.
    pub fn session(&self, node: &str) -> Result<Session, String> {
        let topology = self.cluster.as_ref().map_or(&self.plan.topology, Cluster::topology);
        let is_named = |id: &NodeId| topology.node(*id).name.eq_ignore_ascii_case(node);
        let found = topology.ids().find(|id| node.is_empty() || is_named(id));
        found.map(Session::new).ok_or_else(|| {
            let names: Vec<&str> = topology.nodes.iter().map(|node| node.name.as_str()).collect();
            format!("there is no node `{}`; nodes: {}", printable(node), names.join(", "))
        })
    }

    /// What the Certificate Monitors have to mail up to `now`, in their order; the first 10,000 of
    /// them (EXP-08).
    pub fn mails(&self, now: Time) -> Vec<String> {
        let zone = &self.plan.dates.time_zone;
        self.cluster.as_ref().map(|ours| mails(ours, now, zone)).unwrap_or_default()
    }

    /// When the Certificate Monitors look next, by the clock alone.
    pub fn next_look(&self, now: Time) -> Time {
        let Some(cluster) = &self.cluster else { return Time::NEVER };
        let date_s = cluster.calendar().date_s(now);
        now + Span::from_secs(Monitor::next_look_s(date_s) - date_s)
    }

    /// Takes a line at the console of a node and enters what it asks for, as
    /// [`command`](Play::command) does; nothing where the servers are not ours.
    pub fn typed(&mut self, session: &mut Session, line: &str, now: Time) -> Answer {
        let Some(cluster) = &self.cluster else { return Answer::default() };
        let answer = session.line(line, &self.view(cluster, now));
        answer.action.iter().cloned().for_each(|action| self.command(action));
        answer
    }

    fn view<'a>(&'a self, cluster: &'a Cluster, now: Time) -> View<'a> {
        View { sql: self.sql.as_deref(), ..View::of(cluster, now) }
    }

    /// What is to be done now, if anything; what was handed out before is done. `settled` says
    /// whether every phone has settled and no boot is pending.
    ///
    /// # Errors
    /// If an action names a service or a certificate that its node does not have.
    pub fn next(&mut self, now: Time, settled: bool) -> Result<Option<Cue>, ActionError> {
        self.now = now;
        if let Some(cluster) = &self.cluster {
            cluster.date_lscs(now);
            let told = self.probes.pass(cluster, now);
            self.cues.extend(told.into_iter().map(Cue::Probed));
        }
        self.look_at_rollback(now);
        loop {
            if let Some(cue) = self.cues.pop_front() {
                return Ok(Some(cue));
            }
            self.timeline.done(now);
            let (action, step) = if let Some(command) = self.commands.pop_front() {
                (command, None)
            } else if let Some(action) = self.timeline.next_due(now, settled) {
                let typed = self.timeline.typed().cloned();
                let refused = typed.filter(|typed| self.refuses(typed, now));
                let action = refused.map_or(action, |typed| typed.look().into());
                (action, self.timeline.in_hand().cloned())
            } else {
                return Ok(None);
            };
            self.act(action, step, now)?;
        }
    }

    /// The next instant at which something is due by the clock alone; it may have passed.
    pub fn wake_at(&self) -> Option<Time> {
        self.timeline.wake_at()
    }

    /// When a probe may come out otherwise next, or something has been so for too long, though nobody
    /// does anything; nobody but those who want to be told at once has to come back then.
    pub fn next_change(&self) -> Time {
        let too_long = self.prepared.zip(self.cluster.as_ref()).filter(|((_, told), _)| !told);
        let too_long = too_long.map(|((since_s, _), cluster)| {
            let limit_s = cluster.topology().security.rollback_warning.as_nanos() / 1_000_000_000;
            let date_s = cluster.calendar().date_s(self.now);
            self.now + Span::from_secs((since_s + limit_s).saturating_sub(date_s))
        });
        self.probes.next_change().min(too_long.unwrap_or(Time::NEVER))
    }

    /// The run has ended at this instant: what is told of it is what is so then.
    pub fn ended(&mut self, now: Time) {
        self.now = now;
        self.look_at_rollback(now);
    }

    /// Whether everything was handed out and carried out.
    pub fn is_finished(&self) -> bool {
        self.timeline.is_finished() && self.commands.is_empty() && self.cues.is_empty()
    }

    /// What an action does, in words, and which step it is.
    pub fn tell(&self, action: &OperatorAction, step: Option<&StepInHand>) -> String {
        let what = action.words(&self.plan.topology);
        match step {
            Some(StepInHand { number, name }) => format!("step {number}, {name}: {what}"),
            None => what,
        }
    }

    /// Writes down what a console says to what is typed at it now. Whether it refuses it, which the
    /// plan could not foresee, such as the deletion of what is not there.
    fn refuses(&mut self, typed: &Typed, now: Time) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        let Transcript { text, refused } = typed.transcript(&self.view(cluster, now));
        *self.transcripts.entry(typed.node).or_default() += &text;
        let name = &self.plan.topology.node(typed.node).name;
        let note = |why: &String| format!("the console of {name} has refused {why}");
        self.notes.extend(refused.as_ref().map(note));
        refused.is_some()
    }

    /// What a cue means, in words; `None` for what goes without saying.
    pub fn tell_cue(&self, cue: &Cue) -> Option<String> {
        let name = |node: NodeId| &self.plan.topology.node(node).name;
        match cue {
            Cue::Acts { action, step } => Some(self.tell(action, step.as_ref())),
            Cue::Boots { spread, .. } => {
                let phones = self.plan.fleet.phones;
                Some(format!("{phones} phones would be reset within {spread}"))
            }
            Cue::Service(ServiceChange::Started { node, service }) => {
                Some(format!("{} on {} has started", service.kind().name(), name(*node)))
            }
            Cue::Service(ServiceChange::Stopped { node, service }) => {
                Some(format!("{} on {} has stopped", service.name(), name(*node)))
            }
            Cue::BackedUp(backup) => Some(format!("backup {} was made", backup.number)),
            Cue::Probed(what) => Some(format!("probe: {what}")),
            Cue::Warned(what) => Some(format!("warning: {what}")),
            Cue::Visits(_) | Cue::Moved => None,
        }
    }

    /// Carries an action out and lays down what follows from it.
    fn act(
        &mut self,
        action: OperatorAction,
        step: Option<StepInHand>,
        now: Time,
    ) -> Result<(), ActionError> {
        self.steps.extend(step.as_ref().map(|step| StepMark {
            number: step.number,
            name: step.name.clone(),
            at_s: self.began_s + now.as_secs_f64(),
        }));
        if self.done.len() < DONE_MAX {
            self.done.push(OperatorStep {
                at_s: now.as_secs_f64(),
                number: step.as_ref().map(|step| step.number),
                name: step.as_ref().map(|step| step.name.clone()).unwrap_or_default(),
                what: self.tell(&action, None),
            });
        }
        let effects = match (&mut self.cluster, effect_on_phones(&action)) {
            (Some(cluster), _) => match cluster.apply(&*action, now) {
                Err(ActionError::Failed(why)) => {
                    self.failed_actions += 1;
                    let step = step.as_ref();
                    let step =
                        step.map(|StepInHand { number, name }| format!("step {number}, {name}: "));
                    vec![Effect::Warn(step.unwrap_or_default() + &why)]
                }
                effects => effects?,
            },
            (None, Some(effect)) => vec![effect],
            (None, None) => {
                let words = self.tell(&action, None);
                self.notes.push(format!("not done, the target is not ours: {words}"));
                Vec::new()
            }
        };
        let name = step.as_ref().map(|step| step.name.as_str());
        let look = |cluster: &Cluster| self.probes.look(cluster, name, now);
        let probed = self.cluster.as_ref().map(look).unwrap_or_default();
        self.cues.push_back(Cue::Acts { action, step });
        for effect in effects {
            let cue = self.cue(effect);
            self.cues.extend(cue);
        }
        self.cues.extend(probed.into_iter().map(Cue::Probed));
        self.look_at_rollback(now);
        Ok(())
    }

    /// Tells once that the cluster has been prepared for a rollback for too long (SAFE-13).
    fn look_at_rollback(&mut self, now: Time) {
        let Some(cluster) = self.cluster.as_ref().filter(|ours| ours.is_prepared_for_rollback())
        else {
            return self.prepared = None;
        };
        let date_s = cluster.calendar().date_s(now);
        let (since_s, is_told) = *self.prepared.get_or_insert((date_s, false));
        let limit = cluster.topology().security.rollback_warning;
        if !is_told && Span::from_secs(date_s.saturating_sub(since_s)) >= limit {
            self.prepared = Some((since_s, true));
            let what = format!(
                "the cluster has been prepared for a rollback to pre 8.0 for {} and longer: phones \
                 that took the blank list accept any file (SAFE-13)",
                limit.in_years_or_days()
            );
            self.notes.push(what.clone());
            self.cues.push_back(Cue::Warned(what));
        }
    }

    /// The one place where an effect finds those whom it concerns.
    fn cue(&mut self, effect: Effect) -> Option<Cue> {
        Some(match effect {
            Effect::ResetPhones { spread } => {
                let wave = if self.storm.is_none() { Wave::Storm } else { Wave::Reset };
                self.boots(spread, wave)
            }
            Effect::MovePhones(phones, to) => {
                Arc::make_mut(&mut self.homes).move_phones(&phones, &to);
                Cue::Moved
            }
            Effect::Visits(visits) => {
                self.any_wave = true;
                Cue::Visits(Round::People(visits))
            }
            Effect::Resets(resets) => {
                self.any_wave = true;
                Cue::Visits(Round::Resets(resets))
            }
            Effect::Service(change) => {
                if let Some(cluster) = &self.cluster {
                    self.gallery.changed(cluster, &change, self.now);
                }
                Cue::Service(change)
            }
            Effect::BackedUp(backup) => Cue::BackedUp(backup),
            Effect::Warn(what) => {
                self.notes.push(what);
                return None;
            }
        })
    }

    fn boots(&mut self, spread: Span, wave: Wave) -> Cue {
        self.any_wave = true;
        if wave == Wave::Storm {
            self.storm = Some(self.signed());
        }
        Cue::Boots { spread, wave }
    }

    /// Signatures that our servers have made so far.
    pub fn signed(&self) -> SignCounts {
        self.cluster.as_ref().map(|ours| ours.sign_cache().counts()).unwrap_or_default()
    }

    /// The run as Prometheus sees it, with what its driver has counted.
    pub fn info(&self, serve: ServeSummary, cpu_s: CpuSeconds) -> RunInfo {
        let cluster = self.cluster.as_ref();
        let [lsc_sites, lsc_groups] =
            cluster.map(|ours| rollout::parts(ours, &self.plan)).unwrap_or_default();
        RunInfo {
            scenario: self.plan.name.clone(),
            mode: self.mode,
            seed: self.plan.seed,
            signatures: self.signed(),
            capf: self.capf(),
            probes: self.probes.states(),
            probe_outages: self.probes.outages(),
            serve,
            cpu_s,
            web_nodes: self.web_nodes(),
            sip_nodes: self.sip_nodes(),
            lsc_sites,
            lsc_groups,
            steps: self.steps.clone(),
        }
    }

    /// CAPF and its database now, if the cluster is ours.
    fn capf(&self) -> CapfNumbers {
        self.cluster.as_ref().map(|ours| rollout::numbers(ours, self.now)).unwrap_or_default()
    }

    /// What the summary says of the run; its driver adds what it has counted.
    pub fn facts(&self) -> RunFacts {
        let cluster = self.cluster.as_ref();
        let probes = self.probes.found(cluster, self.now);
        let known = Summary {
            scenario: self.plan.name.clone(),
            mode: self.mode,
            seed: self.plan.seed,
            services: cluster.map(|ours| ours.topology().running()).unwrap_or_default(),
            faults: self.plan.topology.faults.iter().map(|&fault| fault.into()).collect(),
            cluster: ClusterCounts {
                restarts_due: self.restarts_due().len() as u64,
                failed_actions: self.failed_actions,
                expired_certificates: self.expired().len() as u64,
                expiry_alarms: cluster.map_or(0, |ours| ours.monitor(self.now).raised()),
                probes_failed: probes.iter().filter(|probe| !probe.works).count() as u64,
                probe_outages: probes.iter().map(|probe| probe.outages).sum(),
            },
            probes,
            capf: self.capf(),
            notes: [&self.notes[..], &self.warnings()].concat(),
            operator: self.done.clone(),
            presented: self.gallery.rows().to_vec(),
            ..Summary::default()
        };
        let signed_before = self.storm.unwrap_or_default();
        RunFacts {
            known,
            signed_before,
            signed: self.signed(),
            alarms: self.mails(self.now),
            consoles: self.consoles(),
            web_nodes: self.web_nodes(),
            sip_nodes: self.sip_nodes(),
            ..RunFacts::default()
        }
    }

    /// The nodes that have pages for phones, by address and first name.
    fn web_nodes(&self) -> BTreeMap<IpAddr, String> {
        let nodes = self.plan.topology.page_nodes();
        nodes.map(|node| (node.address, node.name.clone())).collect()
    }

    /// The nodes at which phones register, by address and first name.
    fn sip_nodes(&self) -> BTreeMap<IpAddr, String> {
        let nodes = self.plan.topology.registrars();
        nodes.map(|node| (node.address, node.name.clone())).collect()
    }

    /// The transcripts of the consoles by the first names of their nodes.
    fn consoles(&self) -> Vec<(String, String)> {
        let name = |node: NodeId| self.plan.topology.node(node).name.clone();
        self.transcripts.iter().map(|(&node, text)| (name(node), text.clone())).collect()
    }

    /// Services that somebody has forgotten to restart, such as `tftp on pub`.
    fn restarts_due(&self) -> Vec<String> {
        let Some(ours) = &self.cluster else { return Vec::new() };
        let words = |(node, service): (NodeId, ServiceKind)| {
            format!("{} on {}", service.name(), ours.topology().node(node).name)
        };
        ours.restarts_due().map(words).collect()
    }

    /// Certificates of nodes whose time is over.
    fn expired(&self) -> Vec<String> {
        self.cluster.as_ref().map(|ours| expired(ours, self.now)).unwrap_or_default()
    }

    /// What must be restarted for all that was done to be in force, in words.
    pub fn restart_note(&self) -> Option<String> {
        let due = self.restarts_due();
        (!due.is_empty()).then(|| {
            let due = due.join(", ");
            format!(
                "restart required: {due}; until then the old certificates and files are in force"
            )
        })
    }

    /// What an operator would still have to do with the cluster as it is now.
    fn warnings(&self) -> Vec<String> {
        let Some(ours) = &self.cluster else { return Vec::new() };
        let forgotten = self.restart_note();
        let rollback = ours.is_prepared_for_rollback().then(|| {
            "the cluster is still prepared for a rollback to pre 8.0: phones that took the blank list \
             accept any file; set rollback-to-pre-8.0 to false, restart TFTP and reset the phones"
                .to_owned()
        });
        let stale = self.has_stale_ctl().then(|| {
            "the CTL is stale: it names other certificates than the cluster has; update-ctl, then \
             restart TFTP and CallManager and reset the phones"
                .to_owned()
        });
        let over = self.expired();
        let expired = (!over.is_empty()).then(|| {
            let over = over.join(", ");
            format!("expired certificates: {over}; regenerate them and restart what they belong to")
        });
        let harms = harms(ours, self.now);
        let old = self.old_names();
        forgotten
            .into_iter()
            .chain(rollback)
            .chain(stale)
            .chain(expired)
            .chain(harms)
            .chain(old)
            .chain(mismatches(ours))
            .collect()
    }

    /// Trusted certificates of names that no node has any more (CERT-16).
    fn old_names(&self) -> Option<String> {
        let ours = self.cluster.as_ref()?;
        let names: Vec<&str> =
            ours.topology().nodes.iter().map(|node| node.name.as_str()).collect();
        let unused = ours.stores().unused(&names).into_iter();
        let mut files: Vec<String> = unused
            .filter(|unused| unused.why == WhyUnused::NoSuchNode)
            .map(|unused| format!("{}/{}", unused.store.name(), unused.certificate.common_name()))
            .collect();
        files.dedup();
        (!files.is_empty()).then(|| {
            let files = files.join(", ");
            format!("trusted and of no node: {files}; delete-certificate what nothing uses")
        })
    }

    fn has_stale_ctl(&self) -> bool {
        let now = |ours: &Cluster| Some(ours.ctl()?.identity() != ours.next_ctl()?.identity());
        self.cluster.as_ref().and_then(now) == Some(true)
    }

    /// Ends the run for every phone that has booted in it; `phones` come in the order of their
    /// numbers, from 0.
    pub fn close(&self, ledger: &mut Ledger, finish: Finish, phones: &[Phone]) {
        if !self.any_wave {
            return;
        }
        let next = self.cluster.as_ref().and_then(Cluster::next_ctl).map(|ctl| ctl.identity());
        let is_stale =
            |phone: &&Phone| phone.lists().ctl.as_ref().map(|ctl| ctl.identity()) != next;
        if next.is_some() {
            let holders = phones.iter().filter(|phone| phone.lists().ctl.is_some());
            ledger.found_stale_ctls(holders.filter(is_stale).count() as u64);
        }
        self.look_at_itls(ledger, phones);
        self.look_at_loads(ledger, phones);
        for phone in phones.iter().filter(|phone| phone.config().is_none()) {
            ledger.found_without_config(phone.id());
        }
        ledger.close(finish, |phone| {
            let home = self.homes.of(phone).iter();
            let mut runs = home.filter_map(|&node| self.cluster.as_ref()?.tftp(node)).peekable();
            let phone = &phones[phone.0 as usize];
            let serves =
                |service: &Arc<TftpService>| phone.is_current(|file| service.identity_of(file));
            runs.peek().is_none() || runs.any(serves)
        });
    }

    /// The phones of a run that was [closed](Play::close) which are not ready, by reason.
    pub fn stranded(&self, ledger: &Ledger, phones: &[Phone]) -> Vec<Stranded> {
        if !self.any_wave {
            return Vec::new();
        }
        let (homes, cluster) = (&*self.homes, self.cluster.as_ref());
        let inspector = Inspector { plan: &self.plan, homes, cluster, tvs: self.gallery.tvs() };
        inspector.stranded(ledger, phones)
    }

    /// What the end of a run has found of each phone.
    pub fn roll(&self, phones: &[Phone]) -> Roll {
        let mut roll = Roll { entries: Vec::with_capacity(phones.len()), itls: Vec::new() };
        // Before the first reset nothing is known of what phones and servers say to each other.
        let looked_at = self.cluster.as_ref().filter(|_| self.any_wave);
        let mut bench = looked_at.map(|cluster| Bench::new(cluster, &self.homes));
        for phone in phones {
            let tftp = self.homes.first(phone.id());
            let entry = match &mut bench {
                Some(bench) => bench.entry(phone, &mut roll),
                None => RollEntry { tftp, itl: None, conditions: None, scriptable: None },
            };
            roll.entries.push(entry);
        }
        roll
    }

    /// Which ITL is held by how many phones, and which node serves it (ITL-22).
    fn look_at_itls(&self, ledger: &mut Ledger, phones: &[Phone]) {
        let mut held: BTreeMap<Option<[u8; 16]>, ItlHolders> = BTreeMap::new();
        let ours = self.cluster.as_ref();
        for node in ours.into_iter().flat_map(|ours| ours.topology().ids()) {
            let Some(service) = ours.and_then(|ours| ours.tftp(node)) else { continue };
            let holders = held.entry(Some(service.list_checksum())).or_default();
            if holders.tvs.is_empty() {
                let list = TrustList::parse(&service.list_apart()).ok();
                holders.tvs = list.as_ref().map(tvs_of).unwrap_or_default();
            }
            holders.served_by.push(self.plan.topology.node(node).name.clone());
        }
        // Phones that hold one list and have one home have the same answer.
        let mut alike: HashMap<(usize, usize), (&Phone, u64), RandomState> = HashMap::default();
        for phone in phones.iter().filter(|phone| phone.holds_lists()) {
            let itl = phone.lists().itl.as_ref().map_or(0, |itl| Arc::as_ptr(itl).addr());
            let home = self.homes.of(phone.id()).as_ptr().addr();
            alike.entry((itl, home)).or_insert((phone, 0)).1 += 1;
        }
        let mut mismatches = 0;
        for (phone, count) in alike.into_values() {
            let checksum = phone.itl_checksum();
            let holders = held.entry(checksum).or_default();
            if holders.phones == 0
                && let Some(itl) = &phone.lists().itl
            {
                holders.tvs = tvs_of(itl);
            }
            holders.phones += count;
            let own = phone.lists().itl.as_ref().map(|itl| itl.identity());
            let home = self.homes.of(phone.id()).iter();
            let services = home.filter_map(|&node| ours?.tftp(node));
            // By content and signer: a list that is served anew has another time and checksum.
            let mut itls = services.map(|one| one.identity_of(FileName::Itl(None))).peekable();
            if itls.peek().is_some() && itls.all(|served| served != own) {
                mismatches += count;
            }
        }
        let row = |(checksum, holders): (Option<[u8; 16]>, ItlHolders)| {
            let ItlHolders { phones, served_by, tvs } = holders;
            ItlChecksum { checksum: checksum.map(|md5| hex(&md5)), phones, served_by, tvs }
        };
        ledger.found_itls(held.into_iter().map(row).collect(), mismatches);
    }

    /// Which phones run the load that an upgrade has named for them (BOOT-12).
    fn look_at_loads(&self, ledger: &mut Ledger, phones: &[Phone]) {
        let Some(fleet) = self.cluster.as_ref().map(Cluster::fleet) else { return };
        let named = |phone: &Phone| fleet.loads.get(&fleet.model(phone.id()));
        let (mut rolled_out, mut behind) = (0, 0);
        for phone in phones.iter().filter(|_| !fleet.loads.is_empty()) {
            match named(phone) {
                Some(load) if phone.load() == Some(load) => rolled_out += 1,
                Some(_) => behind += 1,
                None => {}
            }
        }
        ledger.found_loads(rolled_out, behind);
    }
}

/// Who holds and who serves an ITL.
#[derive(Default)]
struct ItlHolders {
    phones: u64,
    served_by: Vec<String>,
    tvs: Vec<String>,
}

/// Issuer and serial number of each TVS certificate in a list.
fn tvs_of(list: &TrustList) -> Vec<String> {
    let words = |(issuer, serial): (&str, &[u8])| format!("{issuer} {}", upper_hex(serial, ""));
    list.named(&[ROLE_TVS]).map(words).collect()
}

/// Actions of the operator that are told at the end of a run at most (choice).
const DONE_MAX: usize = 1_000;

/// Nodes whose CallManager.pem is not that of their database, and how they are repaired (BKP-06).
fn mismatches(ours: &Cluster) -> impl Iterator<Item = String> + '_ {
    ours.mismatches().into_iter().map(|Mismatch { node, recorded, file }| {
        format!(
            "the CallManager.pem with the role \"Authentication and Authorization\" of {} has serial \
             number {}, that of its OS page has {}: its ITL is broken; regenerate CallManager there \
             and restart TFTP, and what phones cannot learn by TVS then is erased by erase-lists",
            ours.topology().node(node).name,
            upper_hex(recorded.serial(), ""),
            upper_hex(file.serial(), "")
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::ClusterId;
    use crate::cluster::operator::phones::{MovePhones, ResetPhones};
    use crate::cluster::operator::services::Services;
    use crate::cluster::{Genesis, ServiceKind};
    use crate::crypto::KeySource;
    use crate::measure::{Incident, Listen, Slice, known_paths};
    use crate::phone::{Env, Fact, Verifier};
    use crate::scenario::load;

    fn plan(overrides: &[&str]) -> Plan {
        load_plan("callmanager-regen", overrides)
    }

    fn load_plan(name: &str, overrides: &[&str]) -> Plan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        load(&path, &text, &overrides, &known_paths()).unwrap()
    }

    fn begun(plan: &Plan) -> Play {
        let genesis = Genesis {
            topology: plan.topology.clone(),
            fleet: plan.fleet_spec(),
            source: KeySource::bank(1),
            epoch_s: 1_800_000_000,
            stored: crate::cluster::Stored::default(),
        };
        Play::new(plan, Some(Cluster::new(genesis)), Mode::Sim, 100.0)
    }

    fn env(plan: &Plan) -> Env {
        let (profile, verifier) = (Arc::new(plan.phone.clone()), Verifier::real());
        Env { profile, shared: Arc::default(), verifier }
    }

    /// What is due now, in words.
    fn due(run: &mut Play, now_s: u64, settled: bool) -> Vec<String> {
        let now = Time::ZERO + Span::from_secs(now_s);
        let cue = std::iter::from_fn(|| run.next(now, settled).unwrap());
        let cues: Vec<Cue> = cue.collect();
        let words = |cue: &Cue| match cue {
            Cue::Acts { action, step } => run.tell(action, step.as_ref()),
            Cue::Boots { wave, .. } => format!("{wave:?}"),
            Cue::Moved => "moved".to_owned(),
            Cue::BackedUp(backup) => format!("backup {}", backup.number),
            Cue::Visits(_) => "visits".to_owned(),
            Cue::Probed(what) | Cue::Warned(what) => what.clone(),
            Cue::Service(ServiceChange::Started { service, .. }) => {
                format!("{} runs", service.kind().name())
            }
            Cue::Service(ServiceChange::Stopped { service, .. }) => {
                format!("{} stops", service.name())
            }
        };
        cues.iter().map(words).collect()
    }

    #[test]
    fn effects_follow_their_action_and_a_command_enters_before_the_next_step() {
        let plan = plan(&["fleet.phones=3"]);
        let (mut run, node) = (begun(&plan), plan.topology.ids().next().unwrap());
        assert!(due(&mut run, 1, false).is_empty(), "it waits for the fleet");
        run.command(Services::stop(node, Some(ServiceKind::Tvs)).into());
        assert_eq!(due(&mut run, 2, false), ["stop tvs on pub", "tvs stops"]);
        assert!(run.cluster().unwrap().dialogue(node, crate::wire::Dialogue::Tvs).is_none());
        let all = due(&mut run, 3, true);
        let (steps, cues): (Vec<_>, Vec<_>) = all.iter().partition(|cue| cue.starts_with("step"));
        assert_eq!(cues, ["tvs runs", "tftp runs", "Storm"]);
        assert_eq!(steps.len(), 4);
        assert!(run.is_finished());
        let marks = run.info(ServeSummary::default(), CpuSeconds::default()).steps;
        assert_eq!((marks.len(), marks[3].at_s), (4, 103.0), "commands are no steps");
    }

    #[test]
    fn the_first_reset_begins_the_storm_and_no_other() {
        let mut run = begun(&plan(&["fleet.phones=3", "fleet.start=factory"]));
        let Some(Cue::Boots { wave: Wave::PowerOn, .. }) = run.power_on() else { panic!() };
        let reset = || ResetPhones { spread: Span::ZERO };
        run.command(reset().into());
        run.command(reset().into());
        let waves: Vec<_> = due(&mut run, 0, false);
        assert_eq!([&waves[1], &waves[3]], ["Storm", "Reset"]);
    }

    #[test]
    fn a_command_that_the_cluster_cannot_follow_is_refused_and_the_next_one_is_not() {
        let plan = plan(&["fleet.phones=3"]);
        let (mut run, node) = (begun(&plan), plan.topology.ids().next().unwrap());
        let unknown = crate::cluster::operator::certificates::Regenerate {
            certificate: crate::cluster::CertificateKind::ItlRecovery,
            node,
        };
        run.command(unknown.into());
        run.command(Services::stop(node, None).into());
        let refused = run.next(Time::ZERO, false).unwrap_err();
        assert!(refused.to_string().contains("no ITLRecovery certificate"), "{refused}");
        assert_eq!(due(&mut run, 0, false).len(), 4, "and CAPF, TFTP and TVS stop");
    }

    #[test]
    fn a_moved_phone_belongs_elsewhere_and_is_judged_by_the_nodes_of_its_list() {
        let mut plan = load_plan("https-provisioning", &["fleet.phones=3"]);
        plan.timeline.clear();
        let [one, two] = [0, 1].map(|node| ClusterId::FIRST.node(node));
        let mut run = begun(&plan);
        let env = env(&plan);
        let phones = [0, 1, 2].map(|phone| run.cast().phone(&env, PhoneId(phone), false));
        let outcomes = |run: &Play| {
            let mut ledger = Ledger::new(Slice::whole(3));
            for phone in [0, 1, 2] {
                ledger.hear(PhoneId(phone), Time::ZERO, &Incident::BootBegan(Time::ZERO));
                let settled = Fact::Settled { outcome: Outcome::Ready };
                ledger.hear(PhoneId(phone), Time::ZERO, &Incident::Phone(settled));
            }
            run.close(&mut ledger, Finish::Complete, &phones);
            [0, 1, 2].map(|phone| ledger.phones()[phone].outcome == Some(Outcome::Ready))
        };
        run.command(ResetPhones { spread: Span::ZERO }.into());
        run.command(Services::stop(one, Some(ServiceKind::Tftp)).into());
        run.command(Services::start(one, Some(ServiceKind::Tftp)).into());
        due(&mut run, 0, true);
        assert_eq!(outcomes(&run), [true; 3]);
        let mut moves = |phones: &[u32], to: &[NodeId]| {
            let phones = phones.iter().map(|&phone| PhoneId(phone)).collect();
            run.command(MovePhones { phones, to: to.into() }.into());
            let words = due(&mut run, 0, true);
            let homes = [0, 1, 2].map(|phone| run.homes().first(PhoneId(phone)));
            (words, homes, outcomes(&run))
        };
        let (words, homes, ready) = moves(&[0], &[two]);
        assert_eq!(words, ["move 1 phones to tftp2", "moved"]);
        assert_eq!((homes, ready), ([two, two, one], [false, true, true]), "it did not boot");
        let (_, homes, ready) = moves(&[0, 1], &[two, one]);
        assert_eq!((homes, ready), ([two, two, one], [true; 3]), "what the second one serves");
    }

    #[test]
    fn phones_are_cast_with_what_their_node_serves() {
        let plan = plan(&["fleet.phones=3"]);
        let run = begun(&plan);
        let (cast, env) = (run.cast(), env(&plan));
        let held = cast.phone(&env, PhoneId(2), false);
        let service = run.cluster().unwrap().tftp(run.homes().first(PhoneId(2))).unwrap();
        assert!(held.lists().any() && held.is_current(|file| service.identity_of(file)));
        assert!(!cast.phone(&env, PhoneId(2), true).lists().any(), "the run is to end");
    }

    /// Entries that are remembered for phones that are alike are those of each phone by itself.
    #[test]
    fn the_roll_finds_of_each_phone_what_a_look_at_it_alone_finds() {
        let mut plan = load_plan("https-provisioning", &["fleet.phones=8"]);
        plan.timeline.clear();
        let one = ClusterId::FIRST.node(0);
        let (mut run, env) = (begun(&plan), env(&plan));
        let cast = |run: &Play, phones: [u32; 4]| {
            let cast = run.cast();
            phones.map(|phone| cast.phone(&env, PhoneId(phone), false))
        };
        let mut phones = Vec::from(cast(&run, [0, 1, 2, 3]));
        let certificate = crate::cluster::CertificateKind::CallManager;
        let regenerate =
            crate::cluster::operator::certificates::Regenerate { certificate, node: one };
        run.command(regenerate.into());
        for kind in [ServiceKind::Tftp, ServiceKind::Tvs] {
            run.command(Services::stop(one, Some(kind)).into());
            run.command(Services::start(one, Some(kind)).into());
        }
        run.command(ResetPhones { spread: Span::ZERO }.into());
        due(&mut run, 0, true);
        phones.extend(cast(&run, [4, 5, 6, 7]));
        // Of the new ones one has no configuration, one an old one, one no lists; two of different
        // nodes have the same of everything.
        let (old, new) = (phones[0].config().cloned(), phones[4].config().cloned());
        let lists = [4, 6].map(|phone: usize| phones[phone].lists().clone());
        let [four, six] = lists;
        phones[0].install(six.clone(), new.clone());
        phones[7].install(six.clone(), new.clone());
        phones[4].install(four, None);
        phones[6].install(six, old);
        phones[5].install(crate::phone::TrustLists::default(), new);
        let of = |roll: &Roll, at: usize| {
            let RollEntry { tftp, itl, conditions, scriptable } = roll.entries[at];
            let itl = itl.map(|itl| roll.itls[usize::from(itl)].clone());
            (tftp, itl, conditions, scriptable)
        };
        let whole = run.roll(&phones);
        let itls_of = |phones: &[Phone]| {
            let mut ledger = Ledger::new(Slice::whole(8));
            run.look_at_itls(&mut ledger, phones);
            let holders = ledger.itls().iter().map(|itl| itl.phones).sum::<u64>();
            [holders, ledger.counts().phones.itl_mismatch]
        };
        let apart: Vec<[u64; 2]> =
            phones.iter().map(|phone| itls_of(std::slice::from_ref(phone))).collect();
        let [holders, mismatches] =
            [0, 1].map(|at| apart.iter().map(|counts| counts[at]).sum::<u64>());
        assert_eq!(itls_of(&phones), [holders, mismatches]);
        assert!((1..8).contains(&mismatches), "{mismatches}");
        let mut seen = Vec::new();
        for (at, phone) in phones.iter().enumerate() {
            let alone = of(&run.roll(std::slice::from_ref(phone)), 0);
            assert_eq!(of(&whole, at), alone, "phone {at}");
            if !seen.contains(&alone) {
                seen.push(alone);
            }
        }
        assert!(seen.len() >= 6, "{seen:#?}");
    }

    #[test]
    fn of_a_target_that_is_not_ours_only_the_phones_are() {
        let plan = plan(&["fleet.phones=3", "target.tftp=127.0.0.1:69"]);
        let mut run = Play::new(&plan, None, Mode::Live, 0.0);
        assert!(run.power_on().is_some());
        let cues = due(&mut run, 0, true);
        assert!(
            cues.contains(&"Storm".to_owned()) && !cues.iter().any(|cue| cue.ends_with("runs"))
        );
        let notes = run.facts().known.notes;
        assert_eq!(notes.len(), 3);
        assert!(notes[0].starts_with("not done, the target is not ours: regenerate"), "{notes:?}");
    }
}
