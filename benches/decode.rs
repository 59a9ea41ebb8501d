//! How long does a phone take to decode an ITL of 13 kB: header and all records, certificates
//! left as bytes? Bound: 5 µs. A record is a `Copy` view of its input, so none is allocated.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use resetstorm::crypto::{CertificateSpec, Identity, KeySource};
use resetstorm::toolbox::{ListEntry, ListSpec, Signer, Style, make_list};
use resetstorm::wire::{Records, SignedFile};

/// Nine records with certificates: about 13 kB.
fn itl() -> Vec<u8> {
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

fn decode(criterion: &mut Criterion) {
    let bytes = itl();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(format!("itl of {} bytes", bytes.len()), |bencher| {
        bencher.iter(|| {
            let file = SignedFile::parse(black_box(&bytes)).expect("well-formed");
            for record in Records::new(file.body, usize::from(file.header.length)) {
                black_box(record.expect("well-formed"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
