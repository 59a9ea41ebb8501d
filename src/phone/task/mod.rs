//! What a phone does in a boot and between boots, a file for each.

mod context;
mod enrol;
mod files;
mod lookup;
mod press;
mod register;

pub(super) use context::{Context, Event, Turn};

use crate::base::Span;
use enrol::{EnrolTask, Left};
use files::FilesTask;
use press::PressTask;
use register::RegisterTask;

use super::button::Button;
use super::contract::{Fact, LscFact};
use super::held::Boot;

/// What a phone does now, with the state of it.
#[derive(Debug)]
pub(super) enum Task {
    Files(FilesTask),
    Enrol(EnrolTask),
    /// Behind the boot: the phone has settled.
    Register(Box<RegisterTask>),
    /// Somebody has pressed a button; with what the phone goes on behind it.
    Press(Box<PressTask>, Option<Box<RegisterTask>>),
}

impl Task {
    /// The first thing that a phone does, when it has booted for so long.
    pub(super) fn first(cx: &mut Context<'_>, boot_time: Span) -> Turn<Task> {
        FilesTask::begin(cx, boot_time).and_then(Task::Files, |()| Turn::Done(()))
    }

    /// What a phone does when its boot has settled, if anything.
    pub(super) fn behind_boot(cx: &mut Context<'_>) -> Option<Turn<Task>> {
        let registers = cx.env.profile.registration.enabled;
        registers.then(|| RegisterTask::begin(cx).map(Task::Register))
    }

    /// Whether it is a part of the boot.
    pub(super) const fn is_of_boot(&self) -> bool {
        matches!(self, Task::Files(_) | Task::Enrol(_))
    }

    /// Advances by one event; whether and how it goes on.
    pub(super) fn on(self, cx: &mut Context<'_>, event: Event<'_>) -> Turn<Task> {
        match self {
            Task::Files(task) => {
                let turn = task.on(cx, event);
                turn.and_then(Task::Files, |()| Task::behind_files(cx))
            }
            Task::Enrol(task) => {
                let turn = task.on(cx, event);
                turn.and_then(Task::Enrol, |left| Task::behind_enrolment(cx, left))
            }
            Task::Register(task) => task.on(cx, event).map(Task::Register),
            Task::Press(press, beneath) => match (event, beneath) {
                // The registration goes before a page.
                (Event::Lost | Event::Reachable, Some(beneath)) => {
                    cx.fact(press.cancelled());
                    beneath.on(cx, event).map(Task::Register)
                }
                (Event::Lost | Event::Reachable, None) => Turn::Wait(Task::Press(press, None)),
                (event, beneath) => {
                    let turn = press.on(cx, event);
                    over(cx, turn, beneath)
                }
            },
        }
    }

    /// What a phone at rest does when somebody presses a button; `beneath` is its registration.
    pub(super) fn of_button(
        cx: &mut Context<'_>,
        button: Button,
        beneath: Option<Box<RegisterTask>>,
    ) -> Turn<Task> {
        let turn = PressTask::begin(cx, button);
        over(cx, turn, beneath)
    }

    /// The registration of a phone that is registered and at rest.
    ///
    /// # Errors
    /// What the phone does, if it is not at rest.
    pub(super) fn beneath_press(self) -> Result<Box<RegisterTask>, Task> {
        match self {
            Task::Register(task) if task.is_at_rest() => Ok(task),
            busy => Err(busy),
        }
    }

    /// What is to be said of it if a reset ends it.
    pub(super) fn cancelled(&self) -> Option<Fact> {
        match self {
            Task::Files(_) | Task::Enrol(_) | Task::Register(_) => None,
            Task::Press(press, _) => Some(press.cancelled()),
        }
    }

    /// A phone that has accepted its configuration goes to CAPF if that says so, once in a boot,
    /// whatever has become of its lists.
    fn behind_files(cx: &mut Context<'_>) -> Turn<Task> {
        if !cx.boot.has_config() || cx.boot.has_enrolled {
            return Turn::Done(());
        }
        match EnrolTask::begin(cx) {
            Some(turn) => turn.and_then(Task::Enrol, |left| Task::behind_enrolment(cx, left)),
            None => Turn::Done(()),
        }
    }

    /// A phone whose LSC has changed resets itself (CAPF-16).
    fn behind_enrolment(cx: &mut Context<'_>, left: Left) -> Turn<Task> {
        if left == Left::Same {
            return Turn::Done(());
        }
        cx.fact(Fact::Lsc(LscFact::Reset));
        *cx.boot = Boot::after_enrolment();
        let boot_time = cx.env.profile.boot_time.of(cx.id, cx.model);
        Task::first(cx, boot_time)
    }
}

/// A press over a registration, which goes on when it has ended.
fn over(
    cx: &mut Context<'_>,
    turn: Turn<PressTask>,
    beneath: Option<Box<RegisterTask>>,
) -> Turn<Task> {
    match turn {
        Turn::Wait(press) => Turn::Wait(Task::Press(Box::new(press), beneath)),
        Turn::Unexpected(press) => Turn::Unexpected(Task::Press(Box::new(press), beneath)),
        Turn::Done(()) => {
            beneath.map_or(Turn::Done(()), |beneath| beneath.go_on(cx).map(Task::Register))
        }
    }
}
