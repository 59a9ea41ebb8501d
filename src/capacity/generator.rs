use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::base::{Span, Time};
use crate::measure::LoadRecorder;
use crate::net::Clock;
use crate::net::threads::StartError;

use super::engine::{self, Command, Gauge, Learning, Order, Source, Target};
use super::guard::Sample;
use super::schedule::{Arrival, Offer, Shape};
use super::workload::Op;

/// All threads of the generator.
pub struct Generator {
    engines: Vec<mpsc::UnboundedSender<Command>>,
    gauges: Vec<Arc<Gauge>>,
    clock: Clock,
    places: usize,
}

/// A level of load that is on its way.
pub struct Running {
    parts: Vec<oneshot::Receiver<LoadRecorder>>,
    merged: Option<LoadRecorder>,
    /// First planned start.
    pub from: Time,
    /// Last planned start.
    pub until: Time,
}

/// Time between an order and its first planned start: every thread must have it by then.
const LEAD: Span = Span::from_millis(20);

impl Generator {
    /// Starts the threads; together they allow `places` starts in flight.
    pub fn start(
        target: &Arc<Target>,
        workers: u32,
        places: usize,
        clock: Clock,
    ) -> Result<Generator, StartError> {
        let (workers, mut engines, mut gauges) = (workers.max(1), Vec::new(), Vec::new());
        let places = places.div_ceil(workers as usize).max(1);
        for worker in 0..workers {
            let gauge = Arc::new(Gauge::default());
            gauges.push(Arc::clone(&gauge));
            let (share, target) = ((worker, workers), Arc::clone(target));
            engines.push(engine::start(share, clock, target, places, gauge)?);
        }
        Ok(Generator { engines, gauges, clock, places })
    }

    /// Number of threads.
    pub fn workers(&self) -> u32 {
        self.engines.len() as u32
    }

    /// Offers a level of load; the order's `from` and `places` are filled in here.
    pub fn offer(&self, order: &Order) -> Running {
        let from = self.clock.now() + LEAD;
        let order = Order { from, places: order.places.min(self.places), ..order.clone() };
        let part = |engine: &mpsc::UnboundedSender<Command>| {
            let (done, part) = oneshot::channel();
            tell(engine, Command::Load(order.clone(), done));
            part
        };
        Running {
            parts: self.engines.iter().map(part).collect(),
            merged: None,
            from,
            until: from + order.offer.length(),
        }
    }

    /// Stops what is offered.
    pub fn cut(&self) {
        self.engines.iter().for_each(|engine| tell(engine, Command::Cut));
    }

    /// Sends this request several times a second from now on, or nothing more; only the first
    /// thread does it.
    pub fn probe(&self, op: Option<Arc<Op>>) {
        if let Some(engine) = self.engines.first() {
            tell(engine, Command::Probe(op));
        }
    }

    /// Asks each request once at a rate per second, and gives what came in the order of `ops`.
    /// With `keep` the bytes of files can be looked at.
    pub async fn learn(
        &self,
        ops: Vec<Op>,
        per_s: f64,
        patience: Span,
        keep: bool,
    ) -> Vec<Learning> {
        let count = ops.len() as f64;
        // Half a start more than there are requests; a start without a request ends at once.
        let length = Span::from_nanos(((count + 0.5) / per_s * 1e9) as u64);
        let (arrival, shape) = (Arrival::Constant, Shape::Constant);
        let ops: Arc<[Arc<Op>]> = ops.into_iter().map(Arc::new).collect();
        let (sender, mut learnt) = mpsc::unbounded_channel();
        let mut running = self.offer(&Order {
            offer: Offer::Rate { per_s, length, arrival, shape },
            from: Time::ZERO,
            warm_up: Span::ZERO,
            drain: patience,
            places: self.places,
            source: Source::Each { ops, told: sender, keep },
            seed: 0,
            slow: patience,
        });
        running.done().await;
        let mut all = Vec::new();
        while let Ok(found) = learnt.try_recv() {
            all.push(found);
        }
        all.sort_by_key(|found| found.index);
        all
    }

    /// What the guard looks at.
    pub fn sample(&self) -> Sample {
        let sum = |field: fn(&Gauge) -> &AtomicU64| {
            self.gauges.iter().map(|gauge| field(gauge).load(Ordering::Relaxed)).sum()
        };
        let latest = |field: fn(&Gauge) -> &AtomicU64| {
            let found = self.gauges.iter().map(|gauge| field(gauge).load(Ordering::Relaxed));
            Time::from_nanos(found.max().unwrap_or(0))
        };
        Sample {
            ended: sum(|gauge| &gauge.ended),
            failed: sum(|gauge| &gauge.failed),
            slow: sum(|gauge| &gauge.slow),
            in_flight: sum(|gauge| &gauge.in_flight),
            heard: latest(|gauge| &gauge.heard_ns),
            answered: latest(|gauge| &gauge.answered_ns),
        }
    }

    /// How long the last answered probe took; `None` if none was answered yet.
    pub fn probe_took(&self) -> Option<Span> {
        let gauge = self.gauges.first()?;
        let any = gauge.probes_ok.load(Ordering::Relaxed) > 0;
        any.then(|| Span::from_nanos(gauge.probe_took_ns.load(Ordering::Relaxed)))
    }
}

fn tell(engine: &mpsc::UnboundedSender<Command>, command: Command) {
    engine.send(command).expect("the threads run until the generator is dropped");
}

impl Running {
    /// Waits until every thread has ended its part; may be dropped and called again. What was
    /// seen is taken by [`Running::into_recorder`].
    pub async fn done(&mut self) {
        while let Some(part) = self.parts.last_mut() {
            let recorder = part.await.expect("a thread of the generator panicked");
            self.parts.pop();
            match &mut self.merged {
                Some(merged) => merged.merge(&recorder),
                None => self.merged = Some(recorder),
            }
        }
    }

    /// What all threads have seen; only when [`Running::done`] is over.
    pub fn into_recorder(self) -> LoadRecorder {
        self.merged.unwrap_or_else(|| LoadRecorder::new(self.from, self.until))
    }
}
