//! Signals that end a program, and how: one thread takes them all.
//!
//! SIGINT, SIGTERM and SIGHUP end a command. Work that has results to leave asks for a [`Stop`] or
//! for [`Signals`]; a command that has not is ended at once. Signals within a second of the first
//! one are the same request (GNU `timeout` sends SIGTERM to the process and to its group, some job
//! runners send SIGINT and then SIGTERM); one that comes later leaves at once, with the code of the
//! first. SIGHUP stays ignored where it was ignored at the start (`nohup`). SIGXFSZ is blocked, so
//! that a file beyond the limit of the shell is an error of writing and no sudden death. SIGQUIT
//! keeps its meaning: an end without results.

use std::fs;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::sync::Notify;

use crate::base::{ExitCode, Stop};

/// What asked the program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: the terminal is gone.
    HangUp,
    /// SIGINT: a person.
    Interrupt,
    /// SIGTERM: the system.
    Terminate,
}

impl Signal {
    /// The exit code by convention: 128 and the number of the signal.
    pub const fn exit_code(self) -> ExitCode {
        match self {
            Signal::HangUp => ExitCode::HungUp,
            Signal::Interrupt => ExitCode::Interrupted,
            Signal::Terminate => ExitCode::Terminated,
        }
    }

    const fn of(number: Number) -> Option<Signal> {
        match number {
            Number::SIGHUP => Some(Signal::HangUp),
            Number::SIGINT => Some(Signal::Interrupt),
            Number::SIGTERM => Some(Signal::Terminate),
            _ => None,
        }
    }
}

/// Signals that come closer than this to the first one are the same request (choice: far longer
/// than a program that sends two needs, shorter than a person who has lost patience).
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// The first signal and when it came.
static FIRST: Mutex<Option<(Signal, Instant)>> = Mutex::new(None);
static CAME: Notify = Notify::const_new();
static STOP: LazyLock<Stop> = LazyLock::new(Stop::default);
/// Whether somebody looks at [`STOP`] or waits for [`CAME`], and will end the program.
static IS_HEEDED: AtomicBool = AtomicBool::new(false);
/// What must be done before the program leaves at once.
static LAST_WORDS: Mutex<Option<LastWords>> = Mutex::new(None);

type LastWords = Box<dyn Fn(ExitCode) + Send>;

/// Takes over the signals of this process. Must be called before it has a second thread.
pub fn take_over() {
    let mut set: SigSet = [Number::SIGINT, Number::SIGTERM].into_iter().collect();
    if !is_ignored(Number::SIGHUP) {
        set.add(Number::SIGHUP);
    }
    let mut blocked = set;
    blocked.add(Number::SIGXFSZ);
    if blocked.thread_block().is_err() {
        return;
    }
    let wait = move || {
        while let Ok(number) = set.wait() {
            Signal::of(number).into_iter().for_each(on_signal);
        }
    };
    if thread::Builder::new().name("signals".to_owned()).spawn(wait).is_err() {
        // A host without a thread for us: they end the process as they end any other.
        let _ = set.thread_unblock();
    }
}

/// Whether this process was started with the signal ignored (proc(5), `SigIgn`).
fn is_ignored(number: Number) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (number as i32 - 1)) != 0)
}

fn on_signal(signal: Signal) {
    let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    match *first {
        None => *first = Some((signal, Instant::now())),
        Some((_, at)) if at.elapsed() < SAME_REQUEST => return,
        Some((first, _)) => leave(first.exit_code()),
    }
    drop(first);
    STOP.set();
    if !IS_HEEDED.load(Ordering::SeqCst) {
        leave(signal.exit_code());
    }
    CAME.notify_waiters();
}

/// What gives a terminal back, if the program has changed one.
static UNDO: Mutex<Option<fn()>> = Mutex::new(None);

/// Has this done before the program leaves at once.
pub fn before_leaving(undo: fn()) {
    *UNDO.lock().unwrap_or_else(PoisonError::into_inner) = Some(undo);
}

fn leave(code: ExitCode) -> ! {
    if let Some(undo) = *UNDO.lock().unwrap_or_else(PoisonError::into_inner) {
        undo();
    }
    last_words(code);
    process::exit(code.number().into());
}

/// Begins something that has last words: what is done before the program leaves at once, such as
/// writing that it was interrupted; they are given the exit code. A signal that comes meanwhile
/// waits, so that nothing is ever begun and not ended.
pub fn begin_with_last_words<T, E, W: Fn(ExitCode) + Send + 'static>(
    begin: impl FnOnce() -> Result<T, E>,
    words: impl FnOnce(&T) -> W,
) -> Result<T, E> {
    let mut last = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    let made = begin()?;
    *last = Some(Box::new(words(&made)));
    Ok(made)
}

/// Does what [`begin_with_last_words`] has set, once.
pub fn last_words(code: ExitCode) {
    let words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner).take();
    words.into_iter().for_each(|words| words(code));
}

/// The flag that the first signal sets. Whoever takes it promises to look at it and to end.
pub fn stop() -> Stop {
    IS_HEEDED.store(true, Ordering::SeqCst);
    STOP.clone()
}

/// The first signal, if one has come.
pub fn first() -> Option<Signal> {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).map(|(signal, _)| signal)
}

/// Waits for the first signal. Whoever takes it promises to end the program then.
#[derive(Debug)]
pub struct Signals {
    seen: bool,
}

impl Signals {
    /// From now on a signal no longer ends the process by itself, unless it is a second one.
    #[expect(clippy::new_without_default, reason = "it changes what a signal does")]
    pub fn new() -> Signals {
        IS_HEEDED.store(true, Ordering::SeqCst);
        Signals { seen: false }
    }

    /// Waits for the first signal, which is given once.
    pub async fn next(&mut self) -> Signal {
        loop {
            let mut came = std::pin::pin!(CAME.notified());
            came.as_mut().enable();
            if let Some(signal) = first().filter(|_| !self.seen) {
                self.seen = true;
                return signal;
            }
            came.await;
        }
    }
}
