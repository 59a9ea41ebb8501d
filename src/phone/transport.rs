use crate::base::Model;

use super::families::{First, family_of};

/// How a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// HTTP to port 6970 of the TFTP node.
    Http,
    /// HTTPS to port 6971 of the TFTP node, which the lists of the phone must vouch for.
    Https,
    /// TFTP.
    Tftp,
}

impl Transport {
    /// HTTPS if `secure`, else HTTP.
    pub const fn over_http(secure: bool) -> Transport {
        if secure { Transport::Https } else { Transport::Http }
    }
}

/// Which transport the phones of a run ask first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportRule {
    /// HTTP, whatever the model.
    Http,
    /// What phones of the model do (`scenarios/profiles/phones.toml`).
    Model,
    /// TFTP, whatever the model.
    Tftp,
}

/// Every rule, in the order of the enum.
pub const TRANSPORT_RULES: [TransportRule; 3] =
    [TransportRule::Http, TransportRule::Model, TransportRule::Tftp];

/// Why HTTP or HTTPS brought no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpFault {
    /// The phone refused the certificate that the server presented: it is not in its lists.
    CertificateRefused,
    /// No connection: refused, unreachable, or not in time.
    Connection,
    /// What came is no whole answer: malformed, cut off, or of another length than announced.
    Protocol,
    /// An answer other than 200 and 404, such as 503.
    Status(u16),
    /// A connection, but no whole answer in time.
    TimedOut,
    /// The file is longer than a phone takes.
    TooLarge,
}

impl HttpFault {
    /// Whether the server itself is out of reach rather than this one file: then the rest of the
    /// boot goes over TFTP, so that a dead port costs one time-out and not one per file. Real
    /// phones may keep the better transport for the following files; which faults make them do
    /// so is not known, and this is our choice.
    pub const fn is_lasting(self) -> bool {
        matches!(self, HttpFault::CertificateRefused | HttpFault::Connection | HttpFault::TimedOut)
    }
}

impl TransportRule {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            TransportRule::Http => "http",
            TransportRule::Model => "model",
            TransportRule::Tftp => "tftp",
        }
    }

    /// What a phone of `model` asks first; HTTP becomes HTTPS for files that are provisioned over
    /// it (see [`Transport::Https`]).
    pub fn first(self, model: impl Into<Model>) -> Transport {
        match self {
            TransportRule::Http => Transport::Http,
            TransportRule::Model => match family_of(model).first {
                First::Http => Transport::Http,
                First::Tftp => Transport::Tftp,
            },
            TransportRule::Tftp => Transport::Tftp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_ask_what_their_profile_says() {
        for (model, first) in [
            (7841, Transport::Http),
            (8845, Transport::Http),
            (7962, Transport::Tftp),
            (6921, Transport::Tftp),
            (9971, Transport::Tftp),
        ] {
            assert_eq!(TransportRule::Model.first(model), first, "{model}");
        }
        assert_eq!(TransportRule::Http.first(7962), Transport::Http);
        assert_eq!(TransportRule::Tftp.first(8845), Transport::Tftp);
    }
}
