use std::fmt::Display;

/// What a thread of a live run does (`ARCHITECTURE.md`, threads). Its name begins with that of its
/// kind, and by that its CPU time is told apart: what the name of one kind begins with has the other
/// in it, as [`ThreadKind::Swarm`] has all threads of the phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadKind {
    /// The datagrams of one TFTP node.
    ServeTftp,
    /// HTTP connections of the servers.
    ServeHttp,
    /// The same over TLS.
    ServeHttps,
    /// Answers of TVS.
    ServeTvs,
    /// The pool that signs files.
    ServeSign,
    /// A part of the phones.
    Swarm,
    /// HTTP connections of the phones.
    SwarmHttp,
    /// Questions of the phones to TVS.
    SwarmTvs,
    /// The load of `capacity`.
    Load,
}

impl ThreadKind {
    /// Those whose CPU time a summary tells.
    pub const TOLD: [ThreadKind; 7] = [
        ThreadKind::ServeHttp,
        ThreadKind::ServeSign,
        ThreadKind::ServeTftp,
        ThreadKind::ServeTvs,
        ThreadKind::SwarmHttp,
        ThreadKind::SwarmTvs,
        ThreadKind::Swarm,
    ];

    /// Its name in a summary and in `top -H`; the host cuts names of threads behind 15 bytes.
    pub const fn name(self) -> &'static str {
        match self {
            ThreadKind::ServeTftp => "serve-tftp",
            ThreadKind::ServeHttp => "serve-http",
            ThreadKind::ServeHttps => "serve-https",
            ThreadKind::ServeTvs => "serve-tvs",
            ThreadKind::ServeSign => "serve-sign",
            ThreadKind::Swarm => "swarm",
            ThreadKind::SwarmHttp => "swarm-http",
            ThreadKind::SwarmTvs => "swarm-tvs",
            ThreadKind::Load => "load",
        }
    }

    /// The name of one of several threads of this kind.
    pub fn numbered(self, number: impl Display) -> String {
        format!("{}-{number}", self.name())
    }
}
