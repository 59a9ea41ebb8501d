//! What a phone does in a boot, a file for each.

mod context;
mod files;
mod register;

pub(super) use context::{Context, Event, Turn};

use crate::base::Span;
use files::FilesTask;
use register::RegisterTask;

/// What a phone does now, with the state of it.
#[derive(Debug)]
pub(super) enum Task {
    Files(FilesTask),
    /// Behind the boot: the phone has settled.
    Register(Box<RegisterTask>),
}

impl Task {
    /// The first thing that a phone does, when it has booted for so long.
    pub(super) fn first(cx: &mut Context<'_>, boot_time: Span) -> Turn<Task> {
        FilesTask::begin(cx, boot_time).map(Task::Files)
    }

    /// What a phone does when its boot has settled, if anything.
    pub(super) fn behind_boot(cx: &mut Context<'_>) -> Option<Turn<Task>> {
        let registers = cx.env.profile.registration.enabled;
        registers.then(|| RegisterTask::begin(cx).map(Task::Register))
    }

    /// Whether it is a part of the boot.
    pub(super) const fn is_of_boot(&self) -> bool {
        matches!(self, Task::Files(_))
    }

    /// Advances by one event; whether and how it goes on.
    pub(super) fn on(self, cx: &mut Context<'_>, event: Event<'_>) -> Turn<Task> {
        match self {
            Task::Files(task) => task.on(cx, event).map(Task::Files),
            Task::Register(task) => task.on(cx, event).map(Task::Register),
        }
    }
}
