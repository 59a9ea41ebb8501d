//! Keys, certificates and stores as other programs write them: `tests/stores` (throwaway keys; the
//! password is `lab` where nothing else is said).

use std::path::Path;

use resetstorm::crypto::{Certificate, KeyStore, date_text};
use resetstorm::toolbox::{InspectOptions, ReadFault, inspect, read_store};
use resetstorm::wire::same_name;

fn file(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn store(name: &str, password: &str) -> Result<KeyStore, ReadFault> {
    read_store(&file(name), password)
}

fn certificate(name: &str) -> Certificate {
    store(name, "").unwrap().certificates[0].clone()
}

/// Codes of the findings of a file.
fn codes(bytes: &[u8]) -> Vec<String> {
    let value = inspect(bytes, &InspectOptions::default()).unwrap().value;
    let findings = value["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn inspect_calls_a_chain_a_bare_key_and_a_certificate_by_their_names() {
    for (name, kind) in [
        ("chain.p7b", "pkcs7"),
        ("pkcs8-scrypt.pem", "private key"),
        ("trad-aes256.pem", "private key"),
        ("certificate.pem", "certificate"),
        ("leaf.der", "certificate"),
        ("clear.p12", "pkcs12"),
    ] {
        let options = InspectOptions { password: "lab", ..InspectOptions::default() };
        let value = inspect(&file(name), &options).unwrap().value;
        assert_eq!(value["kind"], kind, "{name}");
        let text = resetstorm::toolbox::to_text(&value);
        assert!(text.contains(kind) && text.contains("private keys"), "{name}: {text}");
    }
}

#[test]
fn key_stores_of_every_program_open() {
    let expected = certificate("certificate.pem");
    for (name, password) in [
        ("no-prf.p12", "lab"),
        ("pbes2-des-ede3-cbc.p12", "lab"),
        ("pbes2-sha1-aes-192-cbc.p12", "lab"),
        ("pbe-sha1-2des.p12", "lab"),
        ("pbe-sha1-rc2-128.p12", "lab"),
        ("pbe-sha1-rc2-40.p12", "lab"),
        ("pbe-sha1-rc4-128.p12", "lab"),
        ("pbe-sha1-rc4-40.p12", "lab"),
        ("pbe-md5-des.p12", "lab"),
        ("pbe-sha1-rc2-64.p12", "lab"),
        ("gnutls.p12", "lab"),
        ("gnutls-null.p12", ""),
        ("nss.p12", "lab"),
        ("nss-rc2-40.p12", "lab"),
        ("keytool8.p12", "lab123"),
        ("keytool17.p12", "lab123"),
        ("nomac.p12", "lab"),
        ("clear.p12", "lab"),
        ("mac-sha512.p12", "lab"),
        ("pbmac1.p12", "lab"),
        ("emptypw.p12", ""),
        ("utf8pw-legacy.p12", "Zürich€"),
    ] {
        let opened = store(name, password).unwrap_or_else(|error| panic!("{name}: {error}"));
        let key = opened.signing_key().unwrap_or_else(|error| panic!("{name}: {error}"));
        let own = opened.certificate_of(&key).unwrap_or_else(|| panic!("{name}"));
        assert!(*own == expected || name == "no-prf.p12", "{name}");
        assert_eq!(opened.problems(), [""; 0], "{name}");
        let fault = |password| fault(name, password);
        let text = fault("wrong").unwrap_or_default();
        assert!(text.ends_with("the password does not fit"), "{name}: {text}");
        let text = fault("").unwrap_or_default();
        assert!(password.is_empty() || text.ends_with("no password was given"), "{name}: {text}");
    }
}

/// Why there is no key: the whole store is closed, or, without a MAC, the key alone.
fn fault(name: &str, password: &str) -> Option<String> {
    match store(name, password) {
        Ok(store) => store.signing_key().err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn what_does_not_open_is_named_and_never_called_a_wrong_password() {
    let refused = |name| fault(name, "lab").unwrap_or_default();
    for (name, word) in [
        ("camellia.p12", "Camellia-256-CBC (1.2.392.200011.61.1.1.1.4) is not supported"),
        ("ripemd.p12", "RIPEMD-160 (1.3.36.3.2.1) is not supported"),
        ("trad-camellia.pem", "`CAMELLIA-128-CBC` is not supported"),
        ("ec.p12", "the private key is EC"),
        ("ed25519.p12", "the private key is Ed25519"),
        ("certonly.p12", "no private key in the file; it holds: 1 certificate"),
    ] {
        let text = refused(name);
        assert!(text.contains(word) && !text.contains("password"), "{name}: {text}");
    }
    let mut broken = file("gnutls.p12");
    broken.truncate(broken.len() / 2);
    let text = read_store(&broken, "lab").unwrap_err().to_string();
    assert!(text.contains("cut off"), "{text}");
}

#[test]
fn a_mac_whose_key_is_a_byte_long_is_refused_by_name_whatever_the_password() {
    let whole = file("pbmac1.p12");
    let length = whole.windows(3).rposition(|bytes| bytes == [2, 1, 32]).unwrap();
    let mut short = whole.clone();
    short[length + 2] = 1;
    // Without its length: a number of rounds in three bytes more says the same.
    let rounds = whole.windows(4).rposition(|bytes| bytes == [2, 2, 8, 0]).unwrap();
    let missing = [&whole[..rounds], &[2, 5, 0, 0, 0, 8, 0], &whole[length + 3..]].concat();
    for (bytes, word) in [(short, "a key of 1 bytes"), (missing, "a key of unknown length")] {
        let text = read_store(&bytes, "lab").unwrap_err().to_string();
        assert!(text.contains(&format!("PBMAC1 with {word}")), "{text}");
    }
}

#[test]
fn encrypted_private_keys_open_with_their_password() {
    let expected = certificate("certificate.pem");
    for name in [
        "trad-des3.pem",
        "trad-aes256.pem",
        "pkcs8-md5des.pem",
        "pkcs8-pbe3des.pem",
        "pkcs8-sha1.pem",
        "pkcs8-sha512.pem",
        "pkcs8-scrypt.pem",
    ] {
        let key = |password| store(name, password).unwrap().signing_key();
        assert_eq!(key("lab").unwrap().public_key(), expected.public_key(), "{name}");
        let text = key("wrong").unwrap_err().to_string();
        assert!(text.ends_with("the password does not fit"), "{name}: {text}");
        let text = key("").unwrap_err().to_string();
        assert!(text.ends_with("no password was given"), "{name}: {text}");
    }
}

#[test]
fn the_certificate_of_the_key_or_at_the_end_of_the_chain_is_taken() {
    let leaf = certificate("leaf.der");
    for name in ["chain-root-first.pem", "chain.p7b", "trusted.pem", "two-keys.pem"] {
        let store = store(name, "").unwrap();
        let end = store.end_certificate().unwrap();
        // Two keys have a certificate each: the first counts.
        assert_eq!(*end == leaf, name != "two-keys.pem", "{name}");
    }
    let keys = store("two-keys.pem", "").unwrap().signing_keys().unwrap();
    assert_eq!(keys[1].public_key(), leaf.public_key());
}

#[test]
fn pem_of_every_layout_is_read_and_a_broken_block_is_a_finding() {
    for name in ["p-76.pem", "p-oneline.pem", "p-trailspace.pem"] {
        let store = store(name, "").unwrap();
        let key = store.signing_key().unwrap();
        assert!(store.certificate_of(&key).is_some(), "{name}");
    }
    let good = certificate("leaf.der");
    let pem = good.to_pem();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let wide: Vec<u8> =
        format!("\u{FEFF}{pem}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bad = "-----BEGIN CERTIFICATE-----\nMAMCAQc=\n-----END CERTIFICATE-----\n";
    let der = good.der();
    for (bytes, findings) in [
        (pem.replace('\n', "\r").into_bytes(), 0),
        (pem.replace("CERTIFICATE", "X509 CERTIFICATE").into_bytes(), 0),
        (format!("When 0x55\n{}\n{pem}", "x".repeat(10_000)).into_bytes(), 0),
        (base64.into_bytes(), 0),
        (wide, 0),
        (format!("{bad}{pem}").into_bytes(), 1),
        (format!("{pem}-----BEGIN CERTIFICATE-----\nMIIC").into_bytes(), 1),
        ([der, b"\r\n"].concat(), 0),
        ([der, b"garbage"].concat(), 1),
    ] {
        let store = read_store(&bytes, "").unwrap();
        assert_eq!(store.certificates, std::slice::from_ref(&good));
        assert_eq!(store.problems().len(), findings, "{:?}", store.problems());
        assert_eq!(codes(&bytes).iter().filter(|code| *code == "unreadable").count(), findings);
    }
    let both = format!("note\n{bad}{pem}");
    let problems = read_store(both.as_bytes(), "").unwrap().problems();
    assert!(problems[0].starts_with("line 2: CERTIFICATE: "), "{problems:?}");
}

#[test]
fn odd_dates_serials_and_strings_are_read_shown_and_found() {
    let dates = |name| {
        let (from, to) = certificate(name).validity_s();
        (date_text(from.unwrap()), date_text(to.unwrap()))
    };
    assert_eq!(dates("y9999.pem").1, "9999-12-31T23:59:59Z");
    assert_eq!(dates("r-1950.pem").0, "1950-01-01T00:00:00Z");
    assert_eq!(dates("r-nosec.pem").1, "2034-01-01T00:00:00Z");
    let has = |name, code: &str| codes(&file(name)).iter().any(|found| found == code);
    assert!(has("r-nosec.pem", "odd-date") && has("r-1950.pem", "odd-date"));
    assert!(!has("y9999.pem", "odd-date"));
    for name in ["bmp.pem", "r-latin1.pem"] {
        assert_eq!(certificate(name).subject(), "CN=Zürich;O=Example", "{name}");
        assert!(same_name(certificate(name).subject(), "O=EXAMPLE,CN=Zürich"), "{name}");
        assert!(!has(name, "odd-name"), "{name}");
    }
    for (serial, shown) in [
        (&[0][..], "00"),
        (&[0xFF], "FF"),
        (&[0x7F; 24], &*["7F"; 24].join(":")),
        (&[0, 0, 0x83], "83"),
    ] {
        let der = with_serial(serial);
        let value = inspect(&der, &InspectOptions::default()).unwrap().value;
        assert_eq!(value["serial"], *shown);
        let odd = codes(&der).iter().any(|code| code == "odd-serial");
        assert_eq!(odd, shown != "83", "{shown}");
    }
}

/// The leaf with another serial number; nobody checks its signature.
fn with_serial(serial: &[u8]) -> Vec<u8> {
    let der = certificate("leaf.der").der().to_vec();
    let tlv = |tag: u8, content: &[u8]| {
        let length = (content.len() as u16).to_be_bytes();
        [&[tag, 0x82][..], &length, content].concat()
    };
    // SEQUENCE { SEQUENCE { [0]?, INTEGER serial, .. }, .. }, all long enough for two length bytes.
    let tbs_length = usize::from(u16::from_be_bytes([der[6], der[7]]));
    let (tbs, rest) = der[8..].split_at(tbs_length);
    let version = if tbs[0] == 0xA0 { 2 + usize::from(tbs[1]) } else { 0 };
    let old = 2 + usize::from(tbs[version + 1]);
    let serial = tlv(2, serial);
    let tbs = tlv(0x30, &[&tbs[..version], &serial, &tbs[version + old..]].concat());
    tlv(0x30, &[&tbs, rest].concat())
}
