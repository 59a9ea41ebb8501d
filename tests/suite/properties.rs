//! Properties of every decoder: no input makes it panic, and what it reads it writes again.

use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use resetstorm::base::DeviceName;
use resetstorm::listing::{List, ListName, ShowOptions, show};
use resetstorm::toolbox::{InspectOptions, Kind, assemble, inspect, reencode, to_text};
use resetstorm::wire::{
    Config, Document, FileName, HeaderOrder, HeaderSpec, Name, RecordCertificate, RecordSpec,
    Records, Seal, SignedFile, ber::Ber, capf, name_key, same_name, tftp, tvs,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_every_way(&bytes);
    }

    #[test]
    fn bytes_that_start_well_never_panic(
        start in prop::sample::select(vec![
            &b"\x01\x00\x02\x01\x02\x02\x00\x02\x00\x40"[..],
            b"\x57\x01\x01\x00\x00\x00\x03\xe9",
            b"\x55\x02\x00\x00\x00\x01",
            b"\x30\x82",
            b"-----BEGIN CERTIFICATE-----\n",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        read_every_way(&[start, &rest].concat());
    }

    #[test]
    fn edited_vectors_never_panic_and_survive_writing(
        index in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = index.get(corpus()).clone();
        for (at, value) in edits {
            // The interesting bytes are near the start: header, lengths, first elements.
            let room = bytes.len().min(700);
            bytes[at.index(room)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_every_way(&bytes);
        written_again(&bytes);
    }

    #[test]
    fn headers_and_records_round_trip(
        names in prop::array::uniform3("[ -~]{0,60}"),
        serial in prop::collection::vec(any::<u8>(), 1..20),
        signature_length in prop::sample::select(vec![64u16, 128, 256, 512]),
        digest in prop::sample::select(vec![1u8, 3]),
        role in any::<u16>(),
        signer_version in prop::option::of((any::<u8>(), any::<u8>())),
        der in prop::collection::vec(any::<u8>(), 0..900),
        issuer_first in any::<bool>(),
    ) {
        let order = if issuer_first { HeaderOrder::IssuerFirst } else { HeaderOrder::Cucm };
        let header = HeaderSpec {
            order, version: (1, 2), signer_version, signer_name: &names[0], serial: &serial,
            issuer: &names[1], digest, signature_length, file_name: &names[2], timestamp: 7,
        };
        let mut bytes = header.encode().with_signature(&vec![9; usize::from(signature_length)]);
        let record = RecordSpec {
            dns_name: None, subject: &names[0], role, issuer: &names[1], serial: &serial,
            public_key: &[1; 270], signature: Some(&[2; 256]), certificate: RecordCertificate::Der(&der),
            address: None,
        };
        record.encode(&mut bytes);
        let file = SignedFile::parse(&bytes).unwrap();
        prop_assert_eq!(file.header.signer_name, names[0].as_str());
        prop_assert_eq!(file.header.serial, serial.as_slice());
        prop_assert_eq!(file.header.signer_version, signer_version);
        prop_assert_eq!(file.header.length % 4, 0);
        let records: Vec<_> =
            Records::new(file.body, usize::from(file.header.length)).map(Result::unwrap).collect();
        prop_assert_eq!(records.len(), 1);
        prop_assert_eq!(records[0].certificate, Some(der.as_slice()));
        prop_assert_eq!(records[0].role, Some(role));
        prop_assert_eq!(Document::parse_list(&bytes).unwrap().encode().unwrap(), bytes);
    }

    #[test]
    fn messages_round_trip(
        command in 1u8..=23,
        session_id in any::<u32>(),
        elements in prop::collection::vec(
            (21u8..=255, prop::collection::vec(any::<u8>(), 0..80)), 0..6),
        reserved in any::<u8>(),
    ) {
        let command = capf::Command::from_number(command).unwrap();
        let mut message = capf::Message::new(command, session_id);
        for (tag, value) in &elements {
            message = message.with(*tag, value);
        }
        let bytes = message.encode();
        prop_assert_eq!(capf::Message::parse(&bytes).unwrap().encode(), bytes.clone());
        let mut bytes = bytes;
        // The same elements behind the header of TVS.
        let body = bytes.split_off(capf::HEADER_LENGTH);
        let mut bytes = vec![0x57, 1, 4, reserved];
        bytes.extend_from_slice(&session_id.to_be_bytes());
        bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&body);
        let message = tvs::Message::parse(&bytes).unwrap();
        prop_assert_eq!(message.reserved, reserved);
        prop_assert_eq!(message.encode(), bytes.clone());
        written_again(&bytes);
    }

    #[test]
    fn names_compare_alike_in_both_styles(
        common in "[a-z]{1,8}", unit in "[A-Za-z ]{1,8}[a-z]", organisation in "[a-z]{1,8}",
    ) {
        let cucm = format!("CN={common};OU={unit};O={organisation}");
        let compact = format!("O={organisation},CN={common},OU={unit}");
        prop_assert!(same_name(&cucm, &compact));
        prop_assert_eq!(name_key(&cucm), name_key(&compact));
        let other = format!("CN={common}x;OU={unit};O={organisation}");
        prop_assert!(!same_name(&cucm, &other));
    }
}

/// Types of the attributes that names are made of here.
const KINDS: [&[u8]; 6] = [
    &[0x55, 4, 3],
    &[0x55, 4, 11],
    &[0x55, 4, 10],
    &[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25],
    &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1],
    &[0x2A, 3, 4],
];

fn attributes() -> impl Strategy<Value = Vec<(usize, String)>> {
    let special = "[ab,;=+<>#\"\\\\ \u{0}]{0,6}";
    let likely = prop::sample::select(vec!["a", "A", " a ", "a,OU=b", "a;OU=b", "a+2.5.4.3=b"]);
    let value = prop_oneof![special, likely.prop_map(str::to_owned), any::<String>()];
    prop::collection::vec((0..KINDS.len(), value), 0..5)
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len() as u16;
    [&[tag, 0x82], &length.to_be_bytes()[..], content].concat()
}

/// The name with these attributes as a certificate has it; `wide` writes `BMPString`s where it can.
fn name_of(attributes: &[(usize, String)], wide: bool) -> Name {
    let sets = attributes.iter().flat_map(|(kind, value)| {
        let units: Vec<u16> = value.encode_utf16().collect();
        let value = if wide && units.len() == value.chars().count() {
            tlv(0x1E, &units.iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<_>>())
        } else {
            tlv(0x0C, value.as_bytes())
        };
        tlv(0x31, &tlv(0x30, &[tlv(6, KINDS[*kind]), value].concat()))
    });
    let der = tlv(0x30, &sets.collect::<Vec<_>>());
    Name::from_ber(&Ber::read(&der).unwrap().0).unwrap()
}

/// What should make two names equal, said another way: for each type the folded values in order.
fn meaning(attributes: &[(usize, String)]) -> Vec<Vec<String>> {
    let fold = |value: &str| {
        let blank = |c: char| matches!(c, ' ' | '\t'..='\r');
        let words = value.split(blank).filter(|word| !word.is_empty()).collect::<Vec<_>>();
        words.join(" ").to_ascii_lowercase()
    };
    let of = |kind| {
        let values = attributes.iter().filter(move |attribute| attribute.0 == kind);
        values.map(|attribute| fold(&attribute.1)).collect()
    };
    (0..KINDS.len()).map(of).collect()
}

fn file_names() -> impl Strategy<Value = FileName> {
    let device = prop::option::of(any::<[u8; 6]>().prop_map(DeviceName::of_mac));
    let seals = prop::sample::select(vec![Seal::Plain, Seal::Signed, Seal::Encrypted]);
    (0..3, device, seals).prop_map(|(kind, owner, seal)| match kind {
        0 => FileName::Ctl(owner),
        1 => FileName::Itl(owner),
        _ => FileName::Config(owner, seal),
    })
}

proptest! {
    #[test]
    fn a_file_name_is_read_as_written(name in file_names()) {
        prop_assert_eq!(FileName::parse(&name.to_string()), Some(name));
    }

    #[test]
    fn every_file_has_one_name(
        text in r"(CTL|ITL|X)?(SEP[0-9A-Fa]{12}|SEP0{11,13}|File|XMLDefault)\.(tlv|cnf\.xml)(\.enc|\.sgn){0,2}",
    ) {
        let again = FileName::parse(&text).map(|name| name.to_string());
        prop_assert!(again.as_ref().is_none_or(|again| *again == text), "{:?}", again);
    }

    #[test]
    fn a_name_is_the_same_in_a_certificate_and_in_either_text(
        attributes in attributes(), wide in any::<bool>(),
    ) {
        let name = name_of(&attributes, wide);
        for text in [name.to_cucm(), name.to_compact()] {
            let read = Name::parse(&text);
            prop_assert_eq!(read.map(|read| read.key()), Some(name.key()), "{}", text);
        }
        prop_assert!(same_name(&name.to_cucm(), &name.to_compact()));
        let mut reversed = attributes.clone();
        reversed.reverse();
        prop_assert_eq!(name_of(&reversed, !wide).key(), name.key());
    }

    #[test]
    fn names_are_equal_exactly_if_they_mean_the_same(
        one in attributes(), other in attributes(), shuffle in any::<bool>(),
    ) {
        let other = if shuffle { one.iter().rev().cloned().collect() } else { other };
        let (left, mut right) = (meaning(&one), meaning(&other));
        let same = left == right || {
            right.iter_mut().for_each(|values| values.reverse());
            left == right
        };
        let (one, other) = (name_of(&one, false), name_of(&other, true));
        prop_assert_eq!(one.key() == other.key(), same);
        prop_assert_eq!(same_name(&one.to_cucm(), &other.to_compact()), same);
        prop_assert_eq!(same_name(&other.to_cucm(), &one.to_compact()), same);
    }

    #[test]
    fn no_text_breaks_the_reader_of_names(left in any::<String>(), right in any::<String>()) {
        let text = format!("CN={left}");
        prop_assert!(same_name(&text, &text) && same_name(&left, &left));
        prop_assert_eq!(same_name(&left, &right), same_name(&right, &left));
    }
}

/// Every reader gets the bytes; none may panic.
fn read_every_way(bytes: &[u8]) {
    let _ = Kind::of(bytes);
    let _ = List::parse(bytes);
    let _ = Document::parse_list(bytes);
    if let Ok(file) = SignedFile::parse(bytes) {
        let mut covered = Vec::new();
        file.signed_bytes(&mut covered);
        assert!(covered.len() < bytes.len());
        let _ = file.encryption().map(|encryption| encryption.check(file.body.len()));
    }
    let _ = (tvs::Request::parse(bytes), tvs::Response::parse(bytes));
    if let Ok(message) = capf::Message::parse(bytes) {
        for element in &message.elements {
            let _ = capf::unwrap_certificate(element);
            let _ = capf::HashedProof::parse(element);
            let _ = capf::Sudi::parse(element);
        }
    }
    let _ = tftp::Packet::parse(bytes);
    let _ = Config::parse(bytes);
    if let Ok(found) = inspect(bytes, &InspectOptions::default()) {
        let _ = to_text(&found.value);
    }
    for list in [ListName::Ctl, ListName::Itl] {
        let _ = show(Some(bytes), &ShowOptions { list, modified: "", checksum: true });
    }
}

/// What is read is written again, and so is its JSON.
fn written_again(bytes: &[u8]) {
    let (Ok(found), Ok(again)) = (inspect(bytes, &InspectOptions::default()), reencode(bytes))
    else {
        return;
    };
    assert_eq!(again, bytes);
    if let Some("ctl" | "itl" | "tvs" | "capf") = found.value["kind"].as_str() {
        assert_eq!(assemble(&found.value, None).unwrap(), bytes);
    }
}

/// Lists, files and messages of the vectors.
fn corpus() -> &'static [Vec<u8>] {
    static CORPUS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
        let manifest = std::fs::read(root.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let kinds = ["tlv", "sgn", "enc-sgn", "tvs", "capf"];
        let entries = manifest["entries"].as_array().unwrap().iter();
        let wanted = entries.filter(|entry| kinds.iter().any(|kind| entry["kind"] == *kind));
        let small = wanted.filter(|entry| entry["bytes"].as_u64().unwrap() < 6_000);
        small
            .map(|entry| std::fs::read(root.join(entry["path"].as_str().unwrap())).unwrap())
            .collect()
    })
}
