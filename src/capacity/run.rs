use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::{Span, Time};
use crate::measure::{
    CapacityVerdict, LevelKind, LevelVerdict, LoadFault, LoadRecorder, LoadStep, ThreadKind,
    UncheckedAnswers, WrongAnswers,
};
use crate::net::fleet::SHARED_SOCKETS_MAX;
use crate::net::signals::{Signal, Signals};
use crate::net::{Clock, limits, threads};

use super::engine::{Order, PROBES, Source};
use super::exposition::Exposition;
use super::generator::{Generator, Running};
use super::guard::Guard;
use super::learn;
use super::pace::{Saving, guard_at};
use super::plan::{CapacityError, CapacityPlan, Task};
use super::schedule::{Offer, Shape};
use super::search::{Found, Next, Search};
use super::weigh::{Circumstances, weigh};
use super::workload::{Workload, WorkloadSpec};

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Every level in order.
    pub steps: Vec<LoadStep>,
    /// What the search found, if there was one and it was not interrupted.
    pub found: Option<Found>,
    /// What stopped it, if it was stopped.
    pub signal: Option<Signal>,
    /// Wrong answers.
    pub wrong: WrongAnswers,
    /// Good answers that were judged in part only.
    pub unchecked: UncheckedAnswers,
    /// Right answers that were learnt.
    pub references: u64,
    /// Requests of one start on average.
    pub requests_per_start: Option<f64>,
    /// Most starts in flight.
    pub places: usize,
    /// Things that a reader of the numbers must know.
    pub notes: Vec<String>,
}

impl Measured {
    /// The level above which the server does not go, if the search has found it.
    pub fn knee(&self) -> Option<f64> {
        self.found.filter(|found| found.outcome == CapacityVerdict::Knee)?.low
    }
}

/// Sees the measurement go by.
pub trait CapacityObserver {
    /// A level begins.
    fn level(&mut self, kind: LevelKind, offered: f64, length: Span);
    /// About four times a second: the time within the level, starts ended and in flight.
    fn tick(&mut self, elapsed: Span, ended: u64, in_flight: u64);
    /// A level is over.
    fn step(&mut self, step: &LoadStep);
    /// Something worth a line has happened.
    fn note(&mut self, text: &str);
}

/// How often guard and signals are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the observer is shown the load.
const TICK_EVERY: Span = Span::from_millis(250);
/// Descriptors that the generator leaves to everything else.
const DESCRIPTORS_SPARED: u64 = 200;

/// Measures what the plan says; the limit of descriptors is raised first.
pub async fn run(
    plan: &CapacityPlan,
    observer: &mut dyn CapacityObserver,
) -> Result<Measured, CapacityError> {
    let mut signals = Signals::new();
    // A host that refuses keeps its limit; the places are fitted to it.
    let _ = limits::raise_descriptor_limit();
    let clock = Clock::start();
    let (places, mut notes) = fit_places(plan);
    let exposition = Exposition::start(plan, clock).await?;
    exposition.line().iter().for_each(|line| observer.note(line));
    let target = Arc::new(plan.target.clone());
    let generator = Generator::start(&target, plan.workers, places, clock)?;
    let learning = learn::learn(&generator, plan, &mut notes);
    let (learnt, references) = tokio::select! {
        learnt = learning => learnt?,
        signal = signals.next() => return Err(CapacityError::Interrupted(signal)),
    };
    let (spec, absent) = plan.workload.without_missing(&learnt);
    if let Some(part) = spec.empty_part() {
        return Err(CapacityError::NotThere { part, said: absent.join("; ") });
    }
    for said in absent {
        observer.note(&format!("warning: {said}"));
        notes.push(said);
    }
    if let Some(signal) = make_certificates(plan, &spec, &mut signals, observer).await? {
        return Err(CapacityError::Interrupted(signal));
    }
    let workload = Arc::new(Workload::new(&spec, &learnt));
    let requests_per_start = workload.mean_length();
    generator.probe(Some(workload.probe().ok_or(CapacityError::Nothing)?));
    let mut driver = Driver {
        plan,
        generator,
        workload,
        clock,
        places,
        calm: Span::ZERO,
        saving: Saving::default(),
        exposition,
        measured: Measured { references, requests_per_start, places, notes, ..Measured::default() },
    };
    driver.calm = driver.first_probe().await?;
    driver.carry_out(&mut signals, observer).await;
    if driver.measured.signal.is_none() {
        let knee = driver.measured.knee();
        driver.exposition.linger(knee, &mut signals).await;
    }
    Ok(driver.measured)
}

/// Makes what phones show to a registrar before there is any load, unless somebody ends the program.
async fn make_certificates(
    plan: &CapacityPlan,
    spec: &WorkloadSpec,
    signals: &mut Signals,
    observer: &mut dyn CapacityObserver,
) -> Result<Option<Signal>, CapacityError> {
    let Some(sip) = plan.target.tcp.sip.clone().filter(|sip| sip.pin.is_some()) else {
        return Ok(None);
    };
    let devices = spec.registering().to_vec();
    observer.note(&format!("making the certificates of {} phones", devices.len()));
    threads::start_pool()?;
    let (sender, made) = oneshot::channel();
    // A task of tokio would keep the program until it has come to its end.
    rayon::spawn(move || {
        sip.make(&devices);
        let _ = sender.send(());
    });
    tokio::select! {
        _ = made => Ok(None),
        signal = signals.next() => Ok(Some(signal)),
    }
}

/// Places that the host has descriptors and addresses for.
fn fit_places(plan: &CapacityPlan) -> (usize, Vec<String>) {
    let (target, mut places, mut notes) = (&plan.target, plan.places, Vec::new());
    let mut bound = |room: usize, why: String| {
        if places > room {
            notes.push(format!("{room} in flight instead of {places}: {why}"));
            places = room;
        }
    };
    let shared = target.tftp.filter(|server| target.first_source(*server).is_none());
    if shared.is_some() {
        let room = (SHARED_SOCKETS_MAX - PROBES) * plan.workers as usize;
        bound(room, "each transfer has a socket where phones share an address".to_owned());
    }
    let [tftp, .., tvs, capf, sip] = target.servers();
    if tftp.is_none() || tvs.or(capf).or(sip).is_some() {
        let limit = limits::descriptor_limit().unwrap_or(1_024);
        let room = limit.saturating_sub(DESCRIPTORS_SPARED).max(16) as usize;
        bound(room, format!("{limit} descriptors"));
    }
    if let Some(sources) = &target.sources {
        let room = (sources.count as usize).saturating_sub(PROBES * plan.workers as usize);
        bound(room.max(1), format!("{} source addresses", sources.count));
    }
    (places, notes)
}

struct Driver<'a> {
    plan: &'a CapacityPlan,
    generator: Generator,
    workload: Arc<Workload>,
    clock: Clock,
    places: usize,
    /// A probe that takes no longer says that the server is at rest again.
    calm: Span,
    saving: Saving,
    exposition: Exposition,
    measured: Measured,
}

/// What one level is.
#[derive(Clone, Copy)]
struct Level {
    kind: LevelKind,
    offered: f64,
    offer: Offer,
    warm_up: Span,
    drain: Span,
}

impl Driver<'_> {
    /// Waits for the first answer to a probe and says how long one may take at rest.
    async fn first_probe(&self) -> Result<Span, CapacityError> {
        let end = self.clock.now() + self.plan.recover;
        loop {
            if let Some(took) = self.generator.probe_took() {
                let quarter = Span::from_nanos(self.plan.limits.latency.as_nanos() / 4);
                return Ok(took.times(3).max(quarter));
            }
            if self.clock.now() >= end {
                return Err(learn::unreachable("probe", LoadFault::Silence.into()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn carry_out(&mut self, signals: &mut Signals, observer: &mut dyn CapacityObserver) {
        match self.plan.task {
            Task::Search(plan) => {
                let mut search = Search::new(plan);
                loop {
                    match search.next() {
                        Next::Done(found) => {
                            self.measured.found = Some(found);
                            return;
                        }
                        Next::Measure(offered, kind) => {
                            let level = self.level(kind, offered, plan.whole);
                            if !self.use_up(level, signals, observer).await {
                                return;
                            }
                            match self.measure(level, signals, observer).await {
                                Some(seen) => search.seen(seen, self.served()),
                                None => return,
                            }
                        }
                    }
                }
            }
            Task::Rate(per_s) => {
                let level =
                    self.fixed(LevelKind::Fixed, per_s, self.rate(per_s, self.plan.pace.hold));
                self.measure(level, signals, observer).await;
            }
            Task::Spike(count) => {
                let level = self.fixed(LevelKind::Spike, count as f64, Offer::AtOnce(count));
                self.measure(level, signals, observer).await;
            }
        }
    }

    /// A level of the search: who has not answered in time need not be waited for.
    fn level(&self, kind: LevelKind, offered: f64, at_once: bool) -> Level {
        const DRAIN_MIN: Span = Span::from_millis(250);
        let latency = self.plan.limits.latency;
        let drain = Span::from_nanos(latency.as_nanos() / 4 * 5).max(DRAIN_MIN);
        let (offer, warm_up) = if at_once {
            (Offer::AtOnce(offered as u64), Span::ZERO)
        } else {
            let plan = self.plan;
            let length = plan.pace.length(kind, offered, &plan.limits);
            (self.rate(offered, length), plan.pace.warm_up)
        };
        Level { kind, offered, offer, warm_up, drain }
    }

    /// A load that is looked at to its end: every start has all of its patience.
    fn fixed(&self, kind: LevelKind, offered: f64, offer: Offer) -> Level {
        let patience = self.plan.target.timeout.times(u64::from(self.plan.target.tries));
        let warm_up = match kind {
            LevelKind::Spike => Span::ZERO,
            _ => self.plan.pace.warm_up,
        };
        Level { kind, offered, offer, warm_up, drain: patience + Span::from_millis(250) }
    }

    /// A rate for so long, after the warm-up.
    fn rate(&self, per_s: f64, hold: Span) -> Offer {
        let plan = self.plan;
        let length = plan.pace.warm_up + hold;
        Offer::Rate { per_s, length, arrival: plan.arrival, shape: plan.shape }
    }

    /// What the server served of the last level per second.
    fn served(&self) -> Option<f64> {
        self.measured.steps.last()?.achieved
    }

    /// Offers a server more than the level if it may have saved up permission to be asked more
    /// than it carries for good; what becomes of that does not count. False if a signal came.
    async fn use_up(
        &mut self,
        level: Level,
        signals: &mut Signals,
        observer: &mut dyn CapacityObserver,
    ) -> bool {
        let Offer::Rate { per_s, arrival, .. } = level.offer else { return true };
        if !self.saving.must_be_used_up() {
            return true;
        }
        let (per_s, length) = self.plan.pace.push(per_s);
        let offer = Offer::Rate { per_s, length, arrival, shape: Shape::Constant };
        let none = Span::ZERO;
        let push = Level { offered: per_s, offer, warm_up: none, drain: none, ..level };
        let mut running = self.generator.offer(&self.order(push));
        let (_, signal) = self.watch(&mut running, per_s, signals, observer).await;
        self.measured.signal = signal;
        let recorder = running.into_recorder();
        if signal.is_none() && !self.saving.pushed(&recorder, &self.plan.limits) {
            self.recovered(observer).await;
        }
        signal.is_none()
    }

    fn order(&self, level: Level) -> Order {
        Order {
            offer: level.offer,
            from: Time::ZERO,
            warm_up: level.warm_up,
            drain: level.drain,
            places: self.places,
            source: Source::Workload(Arc::clone(&self.workload)),
            seed: self.plan.seed.wrapping_add(self.measured.steps.len() as u64),
            slow: self.plan.guard.slow,
        }
    }

    /// Measures one level; `None` if a signal came.
    async fn measure(
        &mut self,
        level: Level,
        signals: &mut Signals,
        observer: &mut dyn CapacityObserver,
    ) -> Option<LevelVerdict> {
        observer.level(level.kind, level.offered, level.offer.length());
        self.exposition.level(level.kind, level.offered, self.clock.now());
        let cpu = || limits::cpu_seconds_of(ThreadKind::Load.name());
        let (cpu_before, begun) = (cpu(), self.clock.now());
        let mut running = self.generator.offer(&self.order(level));
        let (guard, signal) = self.watch(&mut running, level.offered, signals, observer).await;
        let elapsed_s = self.clock.now().since(begun).as_secs_f64();
        let cpu_s = cpu().zip(cpu_before).map(|(now, was)| now - was);
        let workers = f64::from(self.generator.workers());
        let around = Circumstances {
            offered: level.offered,
            guard,
            cpu_ratio: cpu_s.map(|s| s / (elapsed_s * workers).max(1e-6)),
            at_once: matches!(level.offer, Offer::AtOnce(_)),
            is_unsteady: self.plan.shape != Shape::Constant,
        };
        let recorder = running.into_recorder();
        let seen = self.weigh(level, &recorder, &around, signal, observer).await;
        self.measured.signal = signal;
        signal.is_none().then_some(seen)
    }

    /// Looks after guard and signals until the level is over.
    async fn watch(
        &mut self,
        running: &mut Running,
        per_s: f64,
        signals: &mut Signals,
        observer: &mut dyn CapacityObserver,
    ) -> (Option<String>, Option<Signal>) {
        let (from, until) = (running.from, running.until);
        let per_s = (until > from).then_some(per_s);
        let mut guard = Guard::new(guard_at(self.plan.guard, per_s, self.calm), from);
        let (mut ticked, before) = (Time::ZERO, self.generator.sample().ended);
        let (mut stopped, mut interrupted) = (None, None);
        loop {
            tokio::select! {
                () = running.done() => return (stopped, interrupted),
                signal = signals.next() => {
                    interrupted = Some(signal);
                    self.generator.cut();
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let (now, sample) = (self.clock.now(), self.generator.sample());
            if stopped.is_none() && interrupted.is_none() {
                stopped = guard.look(now, sample, now <= until);
                if stopped.is_some() {
                    self.generator.cut();
                }
            }
            if now.since(ticked) >= TICK_EVERY {
                ticked = now;
                self.exposition.sample(sample);
                observer.tick(now.since(from), sample.ended - before, sample.in_flight);
            }
        }
    }

    /// Weighs a level, waits until the server is at rest again, and keeps the numbers.
    async fn weigh(
        &mut self,
        level: Level,
        recorder: &LoadRecorder,
        around: &Circumstances,
        signal: Option<Signal>,
        observer: &mut dyn CapacityObserver,
    ) -> LevelVerdict {
        let (mut seen, mut reason) = weigh(recorder, &self.plan.limits, around);
        if seen == LevelVerdict::Broken {
            self.saving.broken(recorder, &self.plan.limits);
        }
        if seen != LevelVerdict::Carried && signal.is_none() && !self.recovered(observer).await {
            reason = format!("{reason}; not back within {}", self.plan.recover);
            seen = LevelVerdict::Lost;
        }
        let verdict = if signal.is_some() { LevelVerdict::Interrupted } else { seen };
        if recorder.doubtful > 0 {
            let count = recorder.doubtful;
            learn::remember(
                &mut self.measured.notes,
                &format!(
                    "at {:.0}: {count} answers were those of other requests, perhaps late ones to \
                     the same port; they were asked for again",
                    level.offered
                ),
            );
        }
        let wrong = recorder.faults.iter().filter(|(fault, _)| fault.is_wrong_answer());
        self.measured.wrong.count += wrong.map(|(_, count)| count).sum::<u64>();
        for words in &recorder.wrong {
            learn::remember(&mut self.measured.wrong.examples, words);
        }
        self.measured.unchecked.count += recorder.unchecked;
        for want in &recorder.unchecked_for {
            learn::remember(&mut self.measured.unchecked.missing, want);
        }
        let limits = &self.plan.limits;
        let percentile = limits.usable_percentile(recorder.starts.ok + recorder.failed());
        let step = LoadStep {
            judged_s: recorder.response.at_s(percentile),
            judged_percentile: recorder.response.at_s(percentile).map(|_| percentile),
            cpu_ratio: around.cpu_ratio,
            verdict,
            reason,
            ..LoadStep::new(level.kind, level.offered, recorder)
        };
        observer.step(&step);
        self.exposition.sample(self.generator.sample());
        self.exposition.step(&step, self.measured.wrong.count);
        self.measured.steps.push(step);
        seen
    }

    /// Waits until a probe is answered as at rest. A server that answers slowly is there, too.
    async fn recovered(&self, observer: &mut dyn CapacityObserver) -> bool {
        let begun = self.clock.now();
        let mut told = false;
        loop {
            let now = self.clock.now();
            let answered = self.generator.sample().answered > begun;
            let took = self.generator.probe_took().unwrap_or_default();
            if answered && took <= self.calm {
                return true;
            }
            if now.since(begun) > self.plan.recover {
                return answered;
            }
            if now.since(begun) > Span::from_secs(1) && !told {
                told = true;
                observer.note("waiting until the server is at rest again");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
