//! What a phone does in a boot and between boots, a file for each.

mod context;
mod files;
mod lookup;
mod press;

pub(super) use context::{Context, Event, Turn};

use crate::base::Span;
use files::FilesTask;
use press::PressTask;

use super::button::Button;
use super::contract::Fact;

/// What a phone does now, with the state of it.
#[derive(Debug)]
pub(super) enum Task {
    Files(FilesTask),
    Press(Box<PressTask>),
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
            Task::Press(task) => task.on(cx, event).map(Task::press),
        }
    }

    /// What a phone at rest does when somebody presses a button.
    pub(super) fn of_button(cx: &mut Context<'_>, button: Button) -> Turn<Task> {
        PressTask::begin(cx, button).map(Task::press)
    }

    fn press(task: PressTask) -> Task {
        Task::Press(Box::new(task))
    }

    /// Whether it is a part of a boot.
    pub(super) const fn is_of_boot(&self) -> bool {
        matches!(self, Task::Files(_))
    }

    /// What is to be said of it if a reset ends it.
    pub(super) fn cancelled(&self) -> Option<Fact> {
        match self {
            Task::Files(_) => None,
            Task::Press(task) => Some(task.cancelled()),
        }
    }
}
