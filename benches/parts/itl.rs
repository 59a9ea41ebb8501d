//! A trust list of a common size.

use resetstorm::crypto::{CertificateSpec, Identity, KeySource};
use resetstorm::toolbox::{ListEntry, ListSpec, Signer, Style, make_list};
use resetstorm::wire::{Records, SignedFile};

/// Nine records with certificates: about 13 kB.
pub fn itl() -> Vec<u8> {
    let spec = CertificateSpec {
        common_name: "publisher.lab.test",
        not_before_s: 1_700_000_000,
        key_bits: 2048,
    };
    let identity = Identity::self_signed(&spec, &mut KeySource::bank(1));
    let entry = |role| ListEntry {
        role,
        certificate: identity.certificate.clone(),
        dns_name: None,
        address: None,
    };
    let entries: Vec<ListEntry> = [0, 2, 21, 21, 21, 21, 4, 0, 3, 3, 3].map(entry).into();
    let spec = ListSpec {
        is_ctl: false,
        file_name: "ITLFile.tlv",
        signer_version: None,
        entries: &entries,
    };
    let signer = Signer { identity: identity.clone(), style: Style::Cucm, digest: 3, timestamp: 0 };
    make_list(&spec, &signer).expect("the list is well-formed")
}

/// Reads its header and all records; certificates are left as bytes.
pub fn read(bytes: &[u8]) {
    let file = SignedFile::parse(bytes).expect("well-formed");
    for record in Records::new(file.body, usize::from(file.header.length)) {
        std::hint::black_box(record.expect("well-formed"));
    }
}
