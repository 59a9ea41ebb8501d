//! Many worlds, plans and transfers, in one program: CI runs them with all optimisations too.

use tokio::sync::Mutex;

mod concurrency;
mod lint;
mod live_worlds;
mod small_worlds;
mod worlds;

/// Each of them wants both cores: one at a time.
static TURN: Mutex<()> = Mutex::const_new(());
