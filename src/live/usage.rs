use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::crypto::{KeySource, SigningKey};
use crate::measure::{CpuSeconds, MachineSummary};
use crate::net::host::{HostTimes, host_times};
use crate::net::limits;

/// What the run has used of its machine since the storm began, and what the machine was worth.
#[derive(Debug)]
pub(super) struct Usage {
    before: Reading,
    yardstick: Yardstick,
}

#[derive(Debug, Default)]
struct Reading {
    sides: CpuSeconds,
    threads: BTreeMap<String, f64>,
    yardstick_s: f64,
    signatures: u64,
    host: Option<HostTimes>,
}

impl Usage {
    /// Starts the yardstick.
    ///
    /// # Errors
    /// If the host gives no thread.
    pub(super) fn start() -> io::Result<Usage> {
        Ok(Usage { before: Reading::default(), yardstick: Yardstick::start()? })
    }

    /// The storm begins: what was used before does not count.
    pub(super) fn begin_storm(&mut self) {
        self.before = self.read();
    }

    fn read(&self) -> Reading {
        Reading {
            sides: CpuSeconds {
                swarm: limits::cpu_seconds_of("swarm"),
                serve: limits::cpu_seconds_of("serve"),
            },
            threads: cpu_by_thread(),
            yardstick_s: limits::cpu_seconds_of(YARDSTICK).unwrap_or(0.0),
            signatures: self.yardstick.signatures.load(Ordering::Relaxed),
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
        let signatures = now.signatures - before.signatures;
        let worked = now.yardstick_s - before.yardstick_s;
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
    const KINDS: [&str; 7] =
        ["serve-http", "serve-sign", "serve-tftp", "serve-tvs", "swarm-http", "swarm-tvs", "swarm"];
    let seconds = |kind: &&str| Some(((*kind).to_owned(), limits::cpu_seconds_of(kind)?));
    KINDS.iter().filter_map(seconds).collect()
}

/// Work that is always the same, done again and again beside the run: the CPU time that it takes
/// says how fast the machine was meanwhile. A virtual core is not always worth the same.
#[derive(Debug)]
struct Yardstick {
    signatures: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Name of the thread of the yardstick.
const YARDSTICK: &str = "yardstick";
/// How often it is applied: with [`YARDSTICK_SIGNATURES`] of half a millisecond, less than one
/// per cent of one core.
const YARDSTICK_EVERY: Duration = Duration::from_millis(250);
/// Signatures in a row, so that a core that was idle counts little.
const YARDSTICK_SIGNATURES: u64 = 4;

impl Yardstick {
    fn start() -> io::Result<Yardstick> {
        let (signatures, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stopped) = (Arc::clone(&signatures), Arc::clone(&stop));
        let key = KeySource::bank(0).signing_key(2_048);
        let apply = move || apply(&key, &counter, &stopped);
        let thread = thread::Builder::new().name(YARDSTICK.to_owned()).spawn(apply)?;
        Ok(Yardstick { signatures, stop, thread: Some(thread) })
    }
}

fn apply(key: &SigningKey, signatures: &AtomicU64, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        for _ in 0..YARDSTICK_SIGNATURES {
            std::hint::black_box(key.sign_sha512(b"yardstick"));
        }
        signatures.fetch_add(YARDSTICK_SIGNATURES, Ordering::Relaxed);
        thread::park_timeout(YARDSTICK_EVERY);
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic; a run that is over has no use for the reason.
            let _ = thread.join();
        }
    }
}
