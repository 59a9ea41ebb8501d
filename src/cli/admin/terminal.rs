//! A terminal with line editing, history and completion.

use std::borrow::Cow;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::{History, MemHistory};
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};

use crate::console::{PROMPT, complete};
use crate::live::AdminReply;

use super::super::args::CliError;
use super::Lines;

/// A terminal.
pub(super) struct Terminal {
    editor: Editor<Help, MemHistory>,
}

impl Terminal {
    pub(super) fn new() -> Result<Terminal, CliError> {
        let config = Config::builder().completion_type(rustyline::CompletionType::List).build();
        let mut editor =
            Editor::with_history(config, MemHistory::new()).map_err(|error| fault(&error))?;
        editor.set_helper(Some(Help { hides: false, completes: true }));
        Ok(Terminal { editor })
    }
}

fn fault(error: &ReadlineError) -> CliError {
    CliError::environment(format!("the terminal: {error}"), "send the lines to standard input")
}

impl Lines for Terminal {
    fn next(&mut self, last: &AdminReply) -> Result<Option<String>, CliError> {
        let completes = last.prompt == PROMPT;
        self.editor.set_helper(Some(Help { hides: last.hides, completes }));
        match self.editor.readline(&last.prompt) {
            Ok(line) => {
                if completes && !line.trim().is_empty() {
                    self.editor.history_mut().add(&line).map_err(|error| fault(&error))?;
                }
                Ok(Some(line))
            }
            // An empty line is no command and no answer that has anything done.
            Err(ReadlineError::Interrupted) => Ok(Some(String::new())),
            Err(ReadlineError::Eof) => Ok(None),
            Err(error) => Err(fault(&error)),
        }
    }
}

struct Help {
    hides: bool,
    completes: bool,
}

impl Helper for Help {}
impl Hinter for Help {
    type Hint = String;
}
impl Validator for Help {}

impl Completer for Help {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = &line[..at];
        let start = before.rfind(' ').map_or(0, |at| at + 1);
        let found = if self.completes { complete(before) } else { Vec::new() };
        Ok((start, found.into_iter().map(|word| word + " ").collect()))
    }
}

impl Highlighter for Help {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.hides { Cow::Owned(" ".repeat(line.chars().count())) } else { Cow::Borrowed(line) }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.hides
    }
}
