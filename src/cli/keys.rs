//! Keys that a person presses while a live run goes by, read from the terminal without waiting.

use std::io;
use std::sync::{Mutex, PoisonError};

use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use nix::unistd::{getpgrp, read, tcgetpgrp};

use crate::net::signals;

/// How the terminal was before, as long as its keys are read one by one.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input that is a terminal, whose keys come one by one and are not shown; Ctrl-C and its
/// like stay signals. When this is dropped, or the program leaves at once, it is as before.
pub(super) struct Keys(io::Stdin);

impl Keys {
    /// The keys of the terminal; `None` if standard input is none, or another program has it.
    pub fn of_terminal() -> Option<Keys> {
        if !is_ours() {
            return None;
        }
        let before = tcgetattr(io::stdin()).ok()?;
        let mut each = before.clone();
        each.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        // What is there is read, and nothing is waited for.
        each.control_chars[SpecialCharacterIndices::VMIN as usize] = 0;
        each.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        signals::before_leaving(give_back);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &each).ok()?;
        Some(Keys(io::stdin()))
    }

    /// The next key, if one was pressed. A program in the background would be stopped by reading.
    pub fn next(&self) -> Option<u8> {
        let mut key = [0];
        let count = is_ours().then(|| read(&self.0, &mut key));
        (count == Some(Ok(1))).then_some(key[0])
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        give_back();
    }
}

fn is_ours() -> bool {
    tcgetpgrp(io::stdin()) == Ok(getpgrp())
}

fn give_back() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // A terminal that is gone wants nothing back.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
    }
}
