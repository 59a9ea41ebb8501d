//! What a phone does in a boot, a file for each.

mod context;
mod files;

pub(super) use context::{Context, Event, Turn};

use crate::base::Span;
use files::FilesTask;

/// What a phone does now, with the state of it.
#[derive(Debug)]
pub(super) enum Task {
    Files(FilesTask),
}

impl Task {
    /// The first thing that a phone does, when it has booted for so long.
    pub(super) fn first(cx: &mut Context<'_>, boot_time: Span) -> Turn<Task> {
        FilesTask::begin(cx, boot_time).map(Task::Files)
    }

    /// Advances by one event; whether and how it goes on.
    pub(super) fn on(self, cx: &mut Context<'_>, event: Event<'_>) -> Turn<Task> {
        match self {
            Task::Files(task) => task.on(cx, event).map(Task::Files),
        }
    }
}
