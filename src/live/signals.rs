use std::io;
use std::process;

use tokio::signal::unix::{self, SignalKind};

/// What asked the run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: a person.
    Interrupt,
    /// SIGTERM: the system.
    Terminate,
}

impl Signal {
    /// The exit code by convention: 128 and the number of the signal.
    pub const fn exit_code(self) -> u8 {
        match self {
            Signal::Interrupt => 130,
            Signal::Terminate => 143,
        }
    }
}

/// Waits for signals; the second one leaves at once.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    seen: bool,
}

impl Signals {
    /// Takes over SIGINT and SIGTERM. Must be called within a tokio runtime.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            seen: false,
        })
    }

    /// Waits for the first signal; a second one ends the process.
    pub async fn next(&mut self) -> Signal {
        let signal = tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        };
        if self.seen {
            process::exit(signal.exit_code().into());
        }
        self.seen = true;
        signal
    }

    /// From now on a signal ends the process while `work` goes on.
    pub async fn leave_on_next<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = self.next() => {}
            }
        }
    }
}
