use std::net::IpAddr;
use std::slice;
use std::sync::Arc;

use crate::crypto::{Certificate, FileIdentity, Identity};
use crate::wire::{
    FileName, HeaderOrder, HeaderSpec, ROLE_CALLMANAGER_TFTP, ROLE_CAPF, ROLE_SAST,
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
        let spec = HeaderSpec {
            order: HeaderOrder::Cucm,
            version: (1, 2),
            signer_version: manner.signer_version,
            signer_name: certificate.subject(),
            serial: certificate.serial(),
            issuer: certificate.issuer(),
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
    /// publisher (CTL-07, CTL-08).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 * 1024);
        match self.signer_node {
            Some(node) => put(&mut out, ROLE_SAST, &self.signer.certificate, node),
            None => {
                let signer = slice::from_ref(&self.signer.certificate);
                for token in signer.iter().chain(self.tokens.iter().copied()) {
                    put_token(&mut out, token);
                }
            }
        }
        for (at, &(node, certificate)) in self.nodes.iter().enumerate() {
            match certificate {
                Some(certificate) => put(&mut out, ROLE_CALLMANAGER_TFTP, certificate, node),
                None => {
                    let address = node.address.to_string();
                    put_blank_record(&mut out, &address, ROLE_CALLMANAGER_TFTP, node.octets());
                }
            }
            let capf = self.capf.filter(|_| at == 0);
            capf.into_iter().for_each(|capf| put(&mut out, ROLE_CAPF, capf, node));
        }
        out
    }
}

fn record<'a>(role: u16, certificate: &'a Certificate) -> RecordSpec<'a> {
    RecordSpec {
        dns_name: Some(""),
        subject: certificate.subject(),
        role,
        issuer: certificate.issuer(),
        serial: certificate.serial(),
        public_key: certificate.public_key(),
        signature: Some(certificate.signature()),
        certificate: RecordCertificate::Der(certificate.der()),
        address: Some([0; 4]),
    }
}

fn put(out: &mut Vec<u8>, role: u16, certificate: &Certificate, node: CtlNode<'_>) {
    let address = Some(node.octets());
    RecordSpec { dns_name: Some(node.name), address, ..record(role, certificate) }.encode(out);
}

/// Records of tokens carry no signature of the certificate and are of no node.
fn put_token(out: &mut Vec<u8>, certificate: &Certificate) {
    RecordSpec { signature: None, ..record(ROLE_SAST, certificate) }.encode(out);
}
