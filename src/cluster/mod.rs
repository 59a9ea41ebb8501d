//! One CUCM cluster without I/O: certificate stores, trust lists, file catalogue, sign cache,
//! operator actions, request → reply.
//!
//! Must not read a clock, open a socket or know a phone. `serve` and `sim` drive it.

mod capf_counts;
mod capf_settings;
mod catalogue;
mod change;
mod ctl;
mod dates;
mod defect;
mod devices;
mod drs;
mod health;
mod itl;
mod kinds;
mod knowledge;
mod lsc_status;
mod monitor;
pub mod operator;
mod probe;
mod release;
mod rollout_pace;
mod security;
mod services;
mod settings;
mod sign_cache;
mod state;
mod stores;
mod tftp_service;
mod topology;
mod uploaded;

pub use capf_counts::{CapfCounts, CapfTally, STAGES};
pub use capf_settings::CapfSettings;
pub use catalogue::{Catalogue, Contents, FleetSpec, SecurityProfile};
pub use change::{Change, NodeSet};
pub use ctl::{CTL_METHODS, CtlContent, CtlFile, CtlMethod, CtlNode, Manner};
pub use defect::{Defect, DefectRules, NOT_PLAYED};
pub use devices::{
    DeviceTable, Division, IssuedLsc, IssuerId, LscJob, LscReport, LscStates, Marks, Row, WrapKey,
};
pub use drs::{Backup, Mismatch, NodeBackup};
pub use health::{Harm, impacts};
pub use itl::ItlContent;
pub use kinds::{
    CERTIFICATES, CertificateKind, FILE_SIGNATURES, FileSignature, IMPLIED_SERVICES, RESTART_ORDER,
    SERVICES, ServiceKind, TRUST_STORES, TrustStore, Unit,
};
pub use knowledge::Knowledge;
pub use lsc_status::{LscCause, LscOperation, LscStatus};
pub use monitor::{Alarm, AlarmStyle, Monitor, Watched};
pub use operator::{Impact, Nodes, Operation, OperatorAction};
pub use probe::{PROBE_KINDS, PeerTrust, Probe, ProbeFault, ProbeKind};
pub use release::{Holders, RELEASES, Release};
pub use rollout_pace::{RolloutForecast, RolloutPace};
pub use security::{SECURITY_MODES, Security, SecurityMode};
pub use services::{
    Answering, Conversation, DialogueService, Dialogues, Peer, PeerRefusal, Said, Service,
    WebService,
};
pub use settings::{KeptSettings, Settings};
pub use sign_cache::{CacheKey, Claim, SignCache, SignCounts, Waiter};
pub use state::{ActionError, Cluster, Effect, Genesis, ServiceChange, Stored, StoredTrust};
pub use stores::{Item, Origin, Source, Stores, Unused, WhyUnused};
pub use tftp_service::{
    FileReply, Lists, PendingFile, ServedFile, SignJob, Signed, Signers, TftpService,
};
pub use topology::{
    GroupSpec, HTTP_PORT, HTTPS_PORT, NodeSpec, Ports, Registrar, SIGN_CACHE_MODES, SignCacheMode,
    Topology, WebPorts,
};
pub use uploaded::UploadedFiles;
