use std::sync::Arc;

use super::profile::PhoneProfile;
use super::shared::Shared;
use super::verifier::Verifier;

/// What phones share: lists, TVS member lists, the verifier of their thread and their profile.
#[derive(Debug)]
pub struct Env {
    /// How phones behave.
    pub profile: Arc<PhoneProfile>,
    /// Lists and member lists, shared by all threads.
    pub shared: Arc<Shared>,
    /// Checks signatures; of this thread.
    pub verifier: Verifier,
}
