use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::crypto::{KeySource, SigningKey};
use crate::measure::{CpuSeconds, HostLog, MachineSummary, ThreadKind};
use crate::net::host::{HostTimes, host_times};
use crate::net::threads::{Repeated, StartError};
use crate::net::{Clock, Watch, limits};

/// What the run has used of its machine since the storm began, and what the machine was worth.
#[derive(Debug)]
pub(super) struct Usage {
    before: Reading,
    yardstick: Yardstick,
    watch: Watch,
}

#[derive(Debug, Default)]
struct Reading {
    sides: CpuSeconds,
    threads: BTreeMap<String, f64>,
    /// CPU time of the yardstick in nanoseconds, and the signatures that took it.
    yardstick: (u64, u64),
    host: Option<HostTimes>,
}

impl Usage {
    /// Starts the yardstick and the watch.
    pub(super) fn start(clock: Clock) -> Result<Usage, StartError> {
        let before = Reading { host: host_times(), ..Reading::default() };
        Ok(Usage { before, yardstick: Yardstick::start()?, watch: Watch::start(clock)? })
    }

    /// What the host gave from moment to moment.
    pub(super) fn host_log(&self) -> HostLog {
        self.watch.log()
    }

    /// CPU time that this program used since the storm began, as a part of what it could use.
    pub(super) fn cpu_ratio(&self) -> Option<f64> {
        Some(host_times()?.own_since(&self.before.host?))
    }

    /// The storm begins: what was used before does not count.
    pub(super) fn begin_storm(&mut self) {
        self.before = self.read();
    }

    fn read(&self) -> Reading {
        Reading {
            sides: CpuSeconds {
                swarm: limits::cpu_seconds_of(ThreadKind::Swarm.name()),
                serve: limits::cpu_seconds_of("serve"),
            },
            threads: cpu_by_thread(),
            yardstick: self.yardstick.read(),
            host: host_times(),
        }
    }

    /// CPU seconds of each side.
    pub(super) fn sides(&self) -> CpuSeconds {
        self.since().0
    }

    /// CPU seconds of each side and of each kind of thread, and the machine.
    pub(super) fn since(&self) -> (CpuSeconds, BTreeMap<String, f64>, MachineSummary) {
        let (mut now, before) = (self.read(), &self.before);
        let side = |now: Option<f64>, before: Option<f64>| Some(now? - before.unwrap_or(0.0));
        let sides = CpuSeconds {
            swarm: side(now.sides.swarm, before.sides.swarm),
            serve: side(now.sides.serve, before.sides.serve),
        };
        for (kind, seconds) in &mut now.threads {
            *seconds -= before.threads.get(kind).copied().unwrap_or(0.0);
        }
        let worked = (now.yardstick.0 - before.yardstick.0) as f64 / 1e9;
        let signatures = now.yardstick.1 - before.yardstick.1;
        let others = now.host.zip(before.host).map(|(now, before)| now.others_since(&before));
        let machine = MachineSummary {
            yardstick_s: (signatures > 0 && worked > 0.0).then(|| worked / signatures as f64),
            available: others.map(|others| 1.0 - others),
        };
        (sides, now.threads, machine)
    }
}

/// CPU seconds by kind of thread (`ARCHITECTURE.md`, threads); kinds that do not run are left out.
fn cpu_by_thread() -> BTreeMap<String, f64> {
    let seconds =
        |kind: ThreadKind| Some((kind.name().to_owned(), limits::cpu_seconds_of(kind.name())?));
    ThreadKind::TOLD.into_iter().filter_map(seconds).collect()
}

/// Work that is always the same, done again and again beside the run: the CPU time that it takes
/// says how fast the machine was meanwhile. A virtual core is not always worth the same.
#[derive(Debug)]
struct Yardstick {
    counts: Arc<YardstickCounts>,
    _thread: Repeated,
}

#[derive(Debug, Default)]
struct YardstickCounts {
    nanos: AtomicU64,
    signatures: AtomicU64,
}

/// How often it is applied: with eight signatures of half a millisecond, less than one per cent
/// of one core.
const YARDSTICK_EVERY: Duration = Duration::from_millis(500);
/// Signatures that do not count, because the core may have been idle, and those that do.
const SIGNATURES_WARM_UP: u64 = 4;
const SIGNATURES_MEASURED: u64 = 4;

impl Yardstick {
    fn start() -> Result<Yardstick, StartError> {
        let counts = Arc::new(YardstickCounts::default());
        let key = KeySource::bank(0).signing_key(2_048);
        let applied = Arc::clone(&counts);
        let apply = move || apply(&key, &applied);
        Ok(Yardstick { counts, _thread: Repeated::start("yardstick", YARDSTICK_EVERY, apply)? })
    }

    /// CPU time in nanoseconds and signatures; one may be a round ahead of the other.
    fn read(&self) -> (u64, u64) {
        let YardstickCounts { nanos, signatures } = &*self.counts;
        (nanos.load(Ordering::Relaxed), signatures.load(Ordering::Relaxed))
    }
}

fn apply(key: &SigningKey, counts: &YardstickCounts) {
    let sign = |times: u64| {
        (0..times).for_each(|_| drop(std::hint::black_box(key.sign_sha512(b"yardstick"))));
    };
    sign(SIGNATURES_WARM_UP);
    let before = limits::thread_cpu();
    sign(SIGNATURES_MEASURED);
    if let (Some(before), Some(after)) = (before, limits::thread_cpu()) {
        let took = after.saturating_sub(before).as_nanos() as u64;
        counts.nanos.fetch_add(took, Ordering::Relaxed);
        counts.signatures.fetch_add(SIGNATURES_MEASURED, Ordering::Relaxed);
    }
}
