use std::net::{IpAddr, Ipv4Addr};
use std::slice;
use std::sync::Arc;

use crate::crypto::{Certificate, FileIdentity, Identity};
use crate::wire::{
    FileName, HeaderOrder, HeaderSpec, Name, ROLE_CALLMANAGER_TFTP, ROLE_CAPF, ROLE_SAST,
    RecordCertificate, RecordSpec, SignedFile, put_blank_record,
};

use super::kinds::FileSignature;

/// How a cluster signs its CTL (CTL-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CtlMethod {
    /// By the key of a hardware token that no node holds: the CTL client.
    Etoken,
    /// By a key of the publisher: the command line, from 10.x.
    Tokenless,
}

/// Every method, in the order in which Cisco made them.
pub const CTL_METHODS: [CtlMethod; 2] = [CtlMethod::Etoken, CtlMethod::Tokenless];

impl CtlMethod {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            CtlMethod::Etoken => "etoken",
            CtlMethod::Tokenless => "tokenless",
        }
    }
}

/// The CTL of a cluster as it stands on the TFTP nodes: made and signed once, and the same until
/// somebody updates it, whatever becomes of the certificates in it (CTL-03).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtlFile {
    bytes: Arc<[u8]>,
    identity: FileIdentity,
}

impl CtlFile {
    /// Makes the file from its records.
    ///
    /// # Panics
    /// Never: the keys of a cluster sign with every digest that it may be set to.
    pub fn sign(content: &CtlContent<'_>, manner: Manner) -> CtlFile {
        let (signer, records) = (content.signer, content.encode());
        let certificate = &signer.certificate;
        let token = content.signer_node.is_none().then(|| TokenNames::of(certificate));
        let token = token.as_ref();
        let spec = HeaderSpec {
            order: HeaderOrder::Cucm,
            version: (1, 2),
            signer_version: manner.signer_version,
            signer_name: token.map_or(certificate.subject(), |names| &names.subject),
            serial: certificate.serial(),
            issuer: token.map_or(certificate.issuer(), |names| &names.issuer),
            digest: manner.signature.digest(),
            signature_length: signer.key.signature_length(),
            file_name: &FileName::Ctl(None).to_string(),
            timestamp: manner.made_s,
        };
        let header = spec.encode();
        let signature = signer.key.sign(manner.signature.digest(), &header.to_be_signed(&records));
        let signature = signature.expect("keys sign with both digests");
        let bytes = [header.with_signature(&signature).as_slice(), &records].concat();
        CtlFile {
            bytes: bytes.into(),
            identity: FileIdentity::signed(&records, certificate.issuer(), certificate.serial()),
        }
    }

    /// A file that was made in an earlier run; `None` if it is none.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<CtlFile> {
        let identity = FileIdentity::of(&SignedFile::parse(&bytes).ok()?);
        Some(CtlFile { bytes: bytes.into(), identity })
    }

    /// The whole file.
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// What a phone holds that has taken it.
    pub const fn identity(&self) -> FileIdentity {
        self.identity
    }
}

/// How and when a file is signed.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// With which digest.
    pub signature: FileSignature,
    /// Header tag 28, major and minor; `None` leaves it out.
    pub signer_version: Option<(u8, u8)>,
    /// Unix seconds: the time stamp.
    pub made_s: u32,
}

/// The certificates of a CTL.
#[derive(Debug)]
pub struct CtlContent<'a> {
    /// Signs it, and is its first SAST.
    pub signer: &'a Identity,
    /// The node of the signer; `None` for tokens, which are on none.
    pub signer_node: Option<CtlNode<'a>>,
    /// Further tokens (SAST).
    pub tokens: Vec<&'a Certificate>,
    /// The TFTP and CallManager nodes with their CallManager certificates; those of a cluster that
    /// went back to non-secure mode have none.
    pub nodes: Vec<(CtlNode<'a>, Option<&'a Certificate>)>,
    /// CAPF of the publisher, if it is active there.
    pub capf: Option<&'a Certificate>,
}

/// What a CTL says of a node.
#[derive(Clone, Copy, Debug)]
pub struct CtlNode<'a> {
    /// Its host name.
    pub name: &'a str,
    /// Its address; IPv6 has no place in a record.
    pub address: IpAddr,
}

impl CtlNode<'_> {
    const fn octets(self) -> [u8; 4] {
        match self.address {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(_) => [0; 4],
        }
    }
}

impl CtlContent<'_> {
    /// The records in the order of the documents: who signs, then each node, CAPF behind the
    /// publisher (CTL-07, CTL-08). What the CTL client writes of CAPF has no SIGNATURE.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 * 1024);
        if let Some(node) = self.signer_node {
            record(ROLE_SAST, &self.signer.certificate, node).encode(&mut out);
        } else {
            let signer = slice::from_ref(&self.signer.certificate);
            for token in signer.iter().chain(self.tokens.iter().copied()) {
                put_token(&mut out, token);
            }
        }
        for (at, &(node, certificate)) in self.nodes.iter().enumerate() {
            if let Some(certificate) = certificate {
                record(ROLE_CALLMANAGER_TFTP, certificate, node).encode(&mut out);
            } else {
                let address = node.address.to_string();
                put_blank_record(&mut out, &address, ROLE_CALLMANAGER_TFTP, node.octets());
            }
            if let Some(capf) = self.capf.filter(|_| at == 0) {
                let signature = self.signer_node.map(|_| capf.signature());
                RecordSpec { signature, ..record(ROLE_CAPF, capf, node) }.encode(&mut out);
            }
        }
        out
    }
}

fn record<'a>(role: u16, certificate: &'a Certificate, node: CtlNode<'a>) -> RecordSpec<'a> {
    RecordSpec {
        dns_name: Some(node.name),
        subject: certificate.subject(),
        role,
        issuer: certificate.issuer(),
        serial: certificate.serial(),
        public_key: certificate.public_key(),
        signature: Some(certificate.signature()),
        certificate: RecordCertificate::Der(certificate.der()),
        address: Some(node.octets()),
    }
}

/// Records of tokens carry no signature of the certificate and are of no node.
fn put_token(out: &mut Vec<u8>, certificate: &Certificate) {
    let TokenNames { subject, issuer } = &TokenNames::of(certificate);
    let nowhere = CtlNode { name: "", address: Ipv4Addr::UNSPECIFIED.into() };
    let record = record(ROLE_SAST, certificate, nowhere);
    RecordSpec { subject, issuer, signature: None, ..record }.encode(out);
}

/// The names of a token as the CTL client writes them.
struct TokenNames {
    subject: String,
    issuer: String,
}

impl TokenNames {
    fn of(certificate: &Certificate) -> TokenNames {
        let name = |text: &str| Name::parse(text).unwrap_or_default();
        TokenNames {
            subject: name(certificate.subject()).to_token_subject(),
            issuer: name(certificate.issuer()).to_token_issuer(),
        }
    }
}
