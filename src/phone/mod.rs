//! One phone without I/O: boot order, trust decision, TVS cache, outcome.
//!
//! Must not read a clock, open a socket or know a cluster: bytes in, actions and facts out.
//! `swarm` and `sim` drive it.

mod boot_time;
mod button;
mod contract;
mod errand;
mod families;
mod file_kind;
mod held;
mod judge;
mod key_time;
mod lists;
mod lsc;
mod machine;
mod pinned;
mod profile;
mod shared;
mod step;
mod task;
mod transport;
mod tvs_session;
mod verifier;
mod vouched;

pub use boot_time::BootTime;
pub use button::{Button, CertificatePath, PressEnd, PressFault};
pub use contract::{
    Action, Fact, Failure, Input, LscFact, Outcome, Sink, Unregistered, Watch, Way,
};
pub use errand::{
    Answer, Ask, Errand, ErrandFault, FileRequest, Message, PageRequest, PageTrust, Trust, TvsFault,
};
pub use families::{
    BlockFacts, BlockSizeRule, Family, FamilyValue, First, Times, Varied, families, family_index,
    family_of, holds_lists,
};
pub use file_kind::{FURTHER_FILES, FileKind};
pub use held::StoredConfig;
pub use judge::{AcceptPath, Judgement, Refusal, judge};
pub use key_time::KeyTime;
pub use lists::{PROVISIONING_ROLES, TrustList, TrustLists, TrustRecord, TrustState};
pub use lsc::{HeldLsc, LscEnd, Precedence, Shown, Unreached, asked_key, manufacturer, shown};
pub use machine::{ListFiles, Phone, ProvisionError};
pub use profile::{FILE_SIZE_MAX, PhoneProfile, RegistrationRules};
pub use shared::Shared;
pub use step::Step;
pub use transport::{HttpFault, TRANSPORT_RULES, Transport, TransportRule};
pub use tvs_session::TvsSession;
pub use verifier::{Env, Verifier};
