use std::fmt::Display;

use crate::base::named;

named! {
    /// What a thread of a live run does (`ARCHITECTURE.md`, threads). Its name begins with that of
    /// its kind, and by that its CPU time is told apart: what the name of one kind begins with has
    /// the other in it, as [`ThreadKind::Swarm`] has all threads of the phones.
    pub enum ThreadKind {
        /// The datagrams of one TFTP node.
        ServeTftp = "serve-tftp",
        /// HTTP connections of the servers.
        ServeHttp = "serve-http",
        /// The same over TLS.
        ServeHttps = "serve-https",
        /// Pages of Tomcat, over HTTP and TLS.
        ServeTomcat = "serve-tomcat",
        /// Answers of TVS.
        ServeTvs = "serve-tvs",
        /// The pool that signs files.
        ServeSign = "serve-sign",
        /// A part of the phones.
        Swarm = "swarm",
        /// HTTP connections of the phones.
        SwarmHttp = "swarm-http",
        /// Questions of the phones to TVS.
        SwarmTvs = "swarm-tvs",
        /// The load of `capacity`.
        Load = "load",
    }
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

    /// The name of one of several threads of this kind.
    pub fn numbered(self, number: impl Display) -> String {
        format!("{}-{number}", self.name())
    }
}
