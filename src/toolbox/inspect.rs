use serde_json::{Map, Value, json};

use super::findings::{self, Finding};
use super::store::ReadFault;
use super::{Decision, Kind, Refusal, TrustLists, TrustPath, message, read_store, tree};
use crate::crypto::{Certificate, KeyKind, KeyStore, SigningKey, date_text, md5, sha1};
use crate::listing::{
    List, Verdict, check_file, check_list, hex, is_signer, open_envelope, role_text, role_use,
    upper_hex,
};
use crate::phone::FileKind;
use crate::wire::{
    DIGEST_SHA1, DIGEST_SHA512, Document, Encryption, Header, ROLE_SAST, Record, SignedFile,
    WireError,
};

/// What a file is checked against.
#[derive(Debug, Default)]
pub struct InspectOptions<'a> {
    /// Lists that a phone holds; `None`: the question is not asked.
    pub trust: Option<TrustLists<'a>>,
    /// The signer, if the user names one.
    pub certificate: Option<Certificate>,
    /// Key of the device, to open an encrypted file.
    pub device: Option<SigningKey>,
    /// Password of a PKCS#12 file.
    pub password: &'a str,
    /// Unix time in seconds, for expiry.
    pub now_s: u64,
}

/// What can be said of one file.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The file as the JSON that `inspect --format json` prints and `assemble` reads.
    pub value: Value,
    /// What the signature check gave; `None` if there was nothing to check or nobody to check
    /// with.
    pub verdict: Option<Verdict>,
    /// What a phone with the given lists does.
    pub decision: Option<Decision>,
}

impl Inspection {
    /// Whether the file is neither refused nor wrong: exit code 0.
    pub fn is_accepted(&self) -> bool {
        match self.decision {
            Some(decision) => matches!(decision, Decision::Accept(_)),
            None => self.verdict.is_none_or(|verdict| verdict == Verdict::Valid),
        }
    }
}

/// Reads a file of any kind and checks what can be checked.
///
/// # Errors
/// If the file is malformed or of no known kind.
pub fn inspect(bytes: &[u8], options: &InspectOptions<'_>) -> Result<Inspection, ReadFault> {
    let kind = Kind::of(bytes)?;
    match kind {
        Kind::Ctl | Kind::Itl => Ok(inspect_list(kind, bytes, options)?),
        Kind::Signed | Kind::Encrypted => Ok(inspect_file(kind, bytes, options)?),
        Kind::Tvs | Kind::Capf => Ok(unchecked(message::to_json(kind, bytes)?)),
        Kind::Certificate | Kind::Pem | Kind::Pkcs12 => inspect_store(kind, bytes, options),
    }
}

/// What our encoder makes of our parse of a file: the same bytes, if the file is well-formed.
///
/// # Errors
/// If the file is malformed, or a key store, which is not written again.
pub fn reencode(bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    match Kind::of(bytes)? {
        Kind::Ctl | Kind::Itl => Document::parse_list(bytes)?.encode(),
        Kind::Signed | Kind::Encrypted => Document::parse_file(bytes)?.encode(),
        kind @ (Kind::Tvs | Kind::Capf) => message::reencode(kind, bytes),
        Kind::Certificate | Kind::Pem | Kind::Pkcs12 => {
            Err(WireError::new("not written again", 0, "a list, signed file or message"))
        }
    }
}

fn unchecked(value: Value) -> Inspection {
    Inspection { value, verdict: None, decision: None }
}

fn inspect_list(
    kind: Kind,
    bytes: &[u8],
    options: &InspectOptions<'_>,
) -> Result<Inspection, WireError> {
    let list = List::parse(bytes)?;
    let header = &list.file.header;
    let check = Check::of_list(kind, &list, options);
    let mut value = header_json(kind, &list.file, &check);
    let records: Vec<Value> = list
        .records
        .iter()
        .enumerate()
        .map(|(index, record)| record_json(index, record, header, bytes))
        .collect();
    value["records"] = records.into();
    let found = findings::of_list(&list, check.verdict, options.now_s);
    finish(&mut value, &found, &check, &list.file);
    Ok(check.inspection(value))
}

fn inspect_file(
    kind: Kind,
    bytes: &[u8],
    options: &InspectOptions<'_>,
) -> Result<Inspection, WireError> {
    let file = SignedFile::parse(bytes)?;
    let mut check = Check::of_file(&file, options);
    let mut value = header_json(kind, &file, &check);
    value["content_length"] = file.body.len().into();
    let mut found = findings::of_file(&file, options.now_s, check.signer.as_ref());
    if kind == Kind::Encrypted {
        let encryption = file.encryption()?;
        value["encryption"] = encryption_json(&encryption);
        if let (Some(device), None | Some(Verdict::Valid)) = (&options.device, check.verdict) {
            let (verdict, content) = open_envelope(&file, device);
            value["plaintext_length"] = content.map(|content| content.len()).into();
            check.verdict = Some(verdict);
            value["signature"]["verdict"] = verdict.name().into();
        }
    }
    if check.verdict.is_none() {
        found.push(Finding::note(
            "not-checked",
            "the signature was not checked: --certificate or --trust names who should have signed",
        ));
    }
    finish(&mut value, &found, &check, &file);
    Ok(check.inspection(value))
}

/// The last parts of the JSON of a file with a header.
fn finish(value: &mut Value, found: &[Finding], check: &Check, file: &SignedFile<'_>) {
    value["findings"] = found.iter().map(Finding::to_json).collect();
    if let Some(decision) = &check.decision {
        let (outcome, path) = decision_text(*decision);
        value["decision"] = json!({ "outcome": outcome, "path": path });
    }
    value["header"] = tree::header_to_json(file.bytes());
}

/// What the checks gave.
struct Check {
    verdict: Option<Verdict>,
    by: Option<String>,
    decision: Option<Decision>,
    signer: Option<Certificate>,
}

impl Check {
    fn of_list(kind: Kind, list: &List<'_>, options: &InspectOptions<'_>) -> Check {
        let asked = if kind == Kind::Ctl { FileKind::Ctl } else { FileKind::Itl };
        let (own, index) = check_list(list);
        let (mut verdict, mut by) =
            (own, index.map(|index| format!("record {} of this list", index + 1)));
        if let Some(certificate) = &options.certificate {
            verdict = check_file(&list.file, certificate.public_key());
            by = Some(certificate.subject().to_owned());
        }
        let decision = options.trust.as_ref().map(|trust| trust.decide(asked, &list.file));
        match decision {
            Some(Decision::AskTvs { .. } | Decision::Reject(Refusal::UnknownSigner))
                if verdict == Verdict::Valid =>
            {
                verdict = Verdict::ValidButUntrusted;
            }
            Some(Decision::Reject(Refusal::BadSignature(wrong))) => verdict = wrong,
            _ => {}
        }
        Check { verdict: Some(verdict), by, decision, signer: options.certificate.clone() }
    }

    fn of_file(file: &SignedFile<'_>, options: &InspectOptions<'_>) -> Check {
        let decision = options.trust.as_ref().map(|trust| trust.decide(FileKind::Config, file));
        let given = options.certificate.as_ref();
        let by_certificate = given.map(|signer| {
            (check_file(file, signer.public_key()), Some(signer.subject().to_owned()))
        });
        let by_list = match decision {
            Some(Decision::Accept(TrustPath::Ctl(n))) => {
                Some((Verdict::Valid, Some(format!("record {n} of the CTL"))))
            }
            Some(Decision::Accept(TrustPath::Itl(n))) => {
                Some((Verdict::Valid, Some(format!("record {n} of the ITL"))))
            }
            Some(Decision::Reject(Refusal::BadSignature(wrong))) => Some((wrong, None)),
            _ => None,
        };
        let unsupported = (!matches!(file.header.digest, DIGEST_SHA1 | DIGEST_SHA512))
            .then_some((Verdict::UnsupportedHash, None));
        let (verdict, by) = by_certificate.or(by_list).or(unsupported).unzip();
        Check { verdict, by: by.flatten(), decision, signer: options.certificate.clone() }
    }

    fn inspection(self, value: Value) -> Inspection {
        Inspection { value, verdict: self.verdict, decision: self.decision }
    }
}

fn header_json(kind: Kind, file: &SignedFile<'_>, check: &Check) -> Value {
    let (header, bytes) = (&file.header, file.bytes());
    let version = |(major, minor): (u8, u8)| format!("{major}.{minor}");
    json!({
        "kind": kind.name(),
        "version": version(header.version),
        "signer_version": header.signer_version.map(version),
        "header_length": header.length,
        "signer": {
            "subject": header.signer_name,
            "issuer": header.issuer,
            "serial": upper_hex(header.serial, ":"),
        },
        "digest": digest_text(header.digest),
        "signature": {
            "algorithm": algorithm_text(header),
            "bits": header.signature.len() * 8,
            "verdict": check.verdict.map(Verdict::name),
            "by": check.by,
        },
        "file_name": header.file_name,
        "timestamp": header.timestamp,
        "length": bytes.len(),
        "md5": hex(&md5(bytes)),
        "sha1": hex(&sha1(bytes)),
    })
}

/// `SHA-1`, `SHA-512`, or the number that nobody uses.
fn digest_text(digest: u8) -> String {
    match digest {
        DIGEST_SHA1 => "SHA-1".to_owned(),
        DIGEST_SHA512 => "SHA-512".to_owned(),
        other => other.to_string(),
    }
}

fn algorithm_text(header: &Header<'_>) -> String {
    match header.algorithm {
        0 => format!("RSA with {}", digest_text(header.digest)),
        other => format!("unknown ({other})"),
    }
}

fn record_json(index: usize, record: &Record<'_>, header: &Header<'_>, bytes: &[u8]) -> Value {
    let certificate = record.certificate.map(Certificate::from_der).and_then(Result::ok);
    let validity = certificate.as_ref().map(Certificate::validity_s).unzip();
    let mut value = Map::new();
    let mut put = |name: &str, field: Value| drop(value.insert(name.to_owned(), field));
    put("number", (index + 1).into());
    put("length", record.length.into());
    put("dns_name", record.dns_name.into());
    put("subject", record.subject.into());
    put("function", record.role.map(role_text).into());
    put("used_for", record.role.map(role_use).into());
    put("issuer", record.issuer.into());
    put("serial", upper_hex(record.serial, ":").into());
    put("public_key_bytes", record.public_key.len().into());
    put("signature_bytes", record.signature.len().into());
    if let Some(der) = record.certificate {
        put("certificate_bytes", der.len().into());
        put("certificate_sha1", upper_hex(&sha1(der), " ").into());
    }
    if let Some(hash) = record.certificate_hash {
        put("cert_hash", upper_hex(&hash, " ").into());
    }
    if let Some(address) = record.ip_address {
        put("ip_address", std::net::Ipv4Addr::from(address).to_string().into());
    }
    put("key", key_json(record.public_key));
    put("not_before", validity.0.flatten().map(date_text).into());
    put("not_after", validity.1.flatten().map(date_text).into());
    put("used_to_sign", (record.role == Some(ROLE_SAST) && is_signer(record, header)).into());
    put("elements", tree::record_to_json(bytes, record));
    Value::Object(value)
}

/// Type and size of a public key; null if it is none that is known.
fn key_json(public_key: &[u8]) -> Value {
    match KeyKind::of(public_key) {
        Some(kind) => json!({ "type": kind.name(), "bits": kind.bits() }),
        None => Value::Null,
    }
}

/// As [`key_json`]; by the certificate's own word where lists know no such key.
fn certificate_key_json(certificate: &Certificate) -> Value {
    match key_json(certificate.public_key()) {
        Value::Null => json!({ "type": certificate.key_algorithm(), "bits": null }),
        known => known,
    }
}

fn encryption_json(encryption: &Encryption<'_>) -> Value {
    json!({
        "cipher": "AES-128-CBC",
        "iv": hex(encryption.iv),
        "padding": encryption.padding,
        "key_bits": encryption.key_bits,
        "key_algorithm": encryption.key_algorithm,
        "wrapped_key_bytes": encryption.wrapped_key.len(),
        "digest": digest_text(encryption.digest),
        "digest_value": hex(encryption.digest_value),
    })
}

/// One word and one sentence for a decision.
fn decision_text(decision: Decision) -> (&'static str, String) {
    match decision {
        Decision::Accept(TrustPath::First) => {
            ("accept", "the phone holds no list: the first file is taken unchecked".into())
        }
        Decision::Accept(TrustPath::Blank) => {
            ("accept", "the phone's ITL is blank and it has no CTL: it takes everything".into())
        }
        Decision::Accept(TrustPath::Ctl(n)) => {
            ("accept", format!("signed by record {n} of the phone's CTL"))
        }
        Decision::Accept(TrustPath::Itl(n)) => {
            ("accept", format!("signed by record {n} of the phone's ITL"))
        }
        Decision::AskTvs { servers: 0 } => (
            "ask-tvs",
            "the signer is in no list, and no TVS record lets the phone trust a TVS server".into(),
        ),
        Decision::AskTvs { servers } => (
            "ask-tvs",
            format!(
                "the signer is in no list: taken only if TVS ({servers} record(s)) knows the signer"
            ),
        ),
        Decision::Reject(Refusal::BadSignature(verdict)) => {
            ("reject", format!("the signer is known, the signature is {}", verdict.name()))
        }
        Decision::Reject(Refusal::UnknownSigner) => (
            "reject",
            "the signer is not in the CTL, and without a working ITL nobody is asked".into(),
        ),
    }
}

fn inspect_store(
    kind: Kind,
    bytes: &[u8],
    options: &InspectOptions<'_>,
) -> Result<Inspection, ReadFault> {
    let store = read_store(bytes, options.password)?;
    if store.key_count() == 0 {
        store.first_certificate()?;
    }
    let problems = store.problems().into_iter().map(|text| Finding::warning("unreadable", text));
    let problems: Vec<Value> = problems.map(|finding| finding.to_json()).collect();
    let certificates: Vec<Value> = store
        .certificates
        .iter()
        .map(|certificate| certificate_json(certificate, options))
        .collect();
    let word = store_word(kind, &store);
    let value = match certificates.len() {
        1 if kind != Kind::Pkcs12 => {
            let mut value = json!({ "kind": word, "keys": store.key_count() });
            let fields = certificates.into_iter().next().unwrap_or_default();
            if let (Value::Object(map), Value::Object(fields)) = (&mut value, fields) {
                map.extend(fields);
            }
            if let Some(findings) = value["findings"].as_array_mut() {
                findings.extend(problems);
            }
            value
        }
        _ => json!({
            "kind": word,
            "keys": store.key_count(),
            "certificates": certificates,
            "findings": problems,
        }),
    };
    Ok(unchecked(value))
}

/// What a file with keys and certificates is called.
fn store_word(kind: Kind, store: &KeyStore) -> &'static str {
    match kind {
        Kind::Pkcs12 => kind.name(),
        _ if store.is_pkcs7() => "pkcs7",
        _ if store.certificates.is_empty() => "private key",
        _ => kind.name(),
    }
}

fn certificate_json(certificate: &Certificate, options: &InspectOptions<'_>) -> Value {
    let (from, to) = certificate.validity_s();
    let found = findings::of_certificate(certificate, options.now_s);
    let mut value = json!({
        "subject": certificate.subject(),
        "issuer": certificate.issuer(),
        "serial": upper_hex(certificate.serial(), ":"),
        "key": certificate_key_json(certificate),
        "public_key_bytes": certificate.public_key().len(),
        "signature_bytes": certificate.signature().len(),
        "length": certificate.der().len(),
        "md5": hex(&md5(certificate.der())),
        "sha1": hex(&certificate.sha1()),
        "sha256": hex(&certificate.sha256()),
        "not_before": from.map(date_text),
        "not_after": to.map(date_text),
        "findings": found.iter().map(Finding::to_json).collect::<Vec<_>>(),
    });
    if let Some(trust) = &options.trust {
        value["in_lists"] = in_lists(certificate, trust).into();
    }
    value
}

/// Records of the lists that hold the certificate or its hash.
fn in_lists(certificate: &Certificate, trust: &TrustLists<'_>) -> Vec<Value> {
    let mut found = Vec::new();
    for (name, list) in [("ctl", &trust.ctl), ("itl", &trust.itl)] {
        let records = list.iter().flat_map(|list| list.records.iter().enumerate());
        for (index, record) in records {
            let same = record.certificate == Some(certificate.der())
                || record.certificate_hash == Some(certificate.sha1());
            if same {
                let function = record.role.map(role_text);
                found.push(json!({ "list": name, "record": index + 1, "function": function }));
            }
        }
    }
    found
}
