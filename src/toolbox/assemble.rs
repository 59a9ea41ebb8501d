//! Builds a list or message from the JSON that `inspect` prints.
//!
//! The elements carry the bytes. Where a readable field says something else than its element, the
//! field wins; delete the field to edit bytes. Lengths are computed.

use serde_json::Value;

use super::assemble_error::AssembleError;
use super::{Kind, message, tree};
use crate::crypto::SigningKey;
use crate::listing::{parse_role, unhex};
use crate::wire::{Body, DIGEST_SHA1, DIGEST_SHA512, Document, Node};

/// Builds the file; with a key it is signed again.
///
/// # Errors
/// Names the place in the JSON that cannot be used.
pub fn assemble(value: &Value, key: Option<&SigningKey>) -> Result<Vec<u8>, AssembleError> {
    let kind = value["kind"].as_str().unwrap_or_default();
    if [Kind::Tvs.name(), Kind::Capf.name()].contains(&kind) {
        return message::from_json(value);
    }
    if ![Kind::Ctl.name(), Kind::Itl.name()].contains(&kind) {
        return Err(AssembleError::new("kind", "ctl, itl, tvs or capf"));
    }
    let mut document = list(value)?;
    if let Some(key) = key {
        sign(&mut document, key)?;
    } else if header_was_edited(value, &document)? {
        document.pad()?;
    }
    Ok(document.encode()?)
}

fn list(value: &Value) -> Result<Document, AssembleError> {
    let mut header = tree::nodes_from_json(&value["header"], "header")?;
    for (path, tag, bytes) in header_fields(value)? {
        replace(&mut header, tag, bytes, path)?;
    }
    let records = value["records"].as_array();
    let records = records.ok_or_else(|| AssembleError::new("records", "a list"))?;
    let records = records.iter().enumerate().map(|(index, value)| record(index, value));
    Ok(Document { header, body: Body::Records(records.collect::<Result<_, _>>()?) })
}

/// A readable field: its name, the tag of its element, the element's value.
type Field = (&'static str, u8, Vec<u8>);

/// Readable fields of the header; absent ones are left out.
fn header_fields(value: &Value) -> Result<Vec<Field>, AssembleError> {
    let signer = &value["signer"];
    let fields = [
        ("version", 1, field(value, "version", "as 1.2", version)?),
        ("signer_version", 28, field(value, "signer_version", "as 1.1", version)?),
        ("signer.subject", 4, field(signer, "subject", "text", text)?),
        ("signer.issuer", 6, field(signer, "issuer", "text", text)?),
        ("signer.serial", 5, field(signer, "serial", "hex", bytes)?),
        ("digest", 8, field(value, "digest", "SHA-1, SHA-512 or a number", digest)?),
        ("file_name", 14, field(value, "file_name", "text", text)?),
        ("timestamp", 15, field(value, "timestamp", "Unix seconds", seconds)?),
    ];
    Ok(fields.into_iter().filter_map(|(path, tag, new)| Some((path, tag, new?))).collect())
}

fn record(index: usize, value: &Value) -> Result<Vec<Node>, AssembleError> {
    let path = format!("records[{index}]");
    let inside = |error: AssembleError| error.within(&path);
    let mut nodes = vec![Node::Element { tag: 1, value: vec![0, 0] }];
    nodes.extend(tree::nodes_from_json(&value["elements"], &format!("{path}.elements"))?);
    let fields = [
        ("subject", 3, field(value, "subject", "text", text)),
        ("function", 4, field(value, "function", "a role or its number", role)),
        ("issuer", 5, field(value, "issuer", "text", text)),
        ("serial", 6, field(value, "serial", "hex", bytes)),
        ("ip_address", 10, field(value, "ip_address", "an IPv4 address", address)),
        ("cert_hash", 11, field(value, "cert_hash", "hex", bytes)),
    ];
    for (name, tag, new) in fields {
        if let Some(new) = new.map_err(inside)? {
            replace(&mut nodes, tag, new, name).map_err(inside)?;
        }
    }
    if let Some(name) = value["dns_name"].as_str() {
        set_dns_name(&mut nodes, name);
    }
    Ok(nodes)
}

/// The DNS name is shown without the blanks around it, so it is written only if it is another.
fn set_dns_name(nodes: &mut Vec<Node>, name: &str) {
    let new = [name.as_bytes(), b"\0"].concat();
    match find(nodes, 2) {
        Some(value) => {
            let old = value.strip_suffix(b"\0").unwrap_or(value);
            if std::str::from_utf8(old).is_ok_and(|old| old.trim() != name) {
                *value = new;
            }
        }
        None if name.is_empty() => {}
        None => nodes.insert(1, Node::Element { tag: 2, value: new }),
    }
}

/// Replaces the value of the element that a field stands for. An empty field for an element that
/// is not there says nothing.
fn replace(nodes: &mut [Node], tag: u8, new: Vec<u8>, path: &str) -> Result<(), AssembleError> {
    let is_empty = new.iter().all(|&byte| byte == 0);
    match find(nodes, tag) {
        // Text without its NUL is shown like text with it.
        Some(value) if new.strip_suffix(b"\0") == Some(value.as_slice()) => Ok(()),
        Some(value) => {
            *value = new;
            Ok(())
        }
        None if is_empty => Ok(()),
        None => Err(AssembleError::new(path, &format!("an element with tag {tag} to hold it"))),
    }
}

/// The last element with this tag: readers of records keep the last one, headers have one.
fn find(nodes: &mut [Node], wanted: u8) -> Option<&mut Vec<u8>> {
    nodes.iter_mut().rev().find_map(|node| match node {
        Node::Element { tag, value } if *tag == wanted => Some(value),
        Node::Container { nodes, .. } => find(nodes, wanted),
        _ => None,
    })
}

/// The bytes of a field; `None` if it is absent or null.
fn field(
    value: &Value,
    name: &str,
    expected: &str,
    read: fn(&Value) -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, AssembleError> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value).map(Some).ok_or_else(|| AssembleError::new(name, expected)),
    }
}

fn text(value: &Value) -> Option<Vec<u8>> {
    Some([value.as_str()?.as_bytes(), b"\0"].concat())
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    unhex(value.as_str()?)
}

fn version(value: &Value) -> Option<Vec<u8>> {
    let (major, minor) = value.as_str()?.split_once('.')?;
    Some(vec![major.parse().ok()?, minor.parse().ok()?])
}

fn digest(value: &Value) -> Option<Vec<u8>> {
    let id = match value.as_str() {
        Some("SHA-1") => DIGEST_SHA1,
        Some("SHA-512") => DIGEST_SHA512,
        Some(number) => number.parse().ok()?,
        None => u8::try_from(value.as_u64()?).ok()?,
    };
    Some(vec![id])
}

fn seconds(value: &Value) -> Option<Vec<u8>> {
    Some(u32::try_from(value.as_u64()?).ok()?.to_be_bytes().to_vec())
}

fn role(value: &Value) -> Option<Vec<u8>> {
    let role = match value.as_str() {
        Some(text) => parse_role(text)?,
        None => u16::try_from(value.as_u64()?).ok()?,
    };
    Some(role.to_be_bytes().to_vec())
}

fn address(value: &Value) -> Option<Vec<u8>> {
    let address: std::net::Ipv4Addr = value.as_str()?.parse().ok()?;
    Some(address.octets().to_vec())
}

/// Whether the header is longer or shorter than the one that `inspect` saw, so that its padding
/// no longer fits.
fn header_was_edited(value: &Value, document: &Document) -> Result<bool, AssembleError> {
    let header = Document { header: document.header.clone(), body: Body::Content(Vec::new()) };
    let length = header.encode()?.len() as u64;
    Ok(value["header_length"].as_u64().is_some_and(|before| before != length))
}

/// Signs the document with the digest that its header names.
pub(super) fn sign(document: &mut Document, key: &SigningKey) -> Result<(), AssembleError> {
    let length = usize::from(key.signature_length());
    if let Some(modulus) = document.find_mut(11) {
        *modulus = vec![crate::wire::modulus_id(key.signature_length())];
    }
    let digest = document.find_mut(8).and_then(|value| value.first().copied());
    let digest = digest.ok_or_else(|| AssembleError::new("header", "a digest (tag 8)"))?;
    document.put_signature(vec![0; length]);
    document.pad()?;
    let covered = document.to_be_signed(length)?;
    let signature = key
        .sign(digest, &covered)
        .map_err(|_| AssembleError::new("digest", "SHA-1 or SHA-512, to sign with"))?;
    document.put_signature(signature);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::toolbox::{InspectOptions, inspect};
    use crate::wire::{
        HeaderOrder, HeaderSpec, RecordCertificate, RecordSpec, Records, SignedFile,
    };

    fn list_bytes() -> Vec<u8> {
        let header = HeaderSpec {
            order: HeaderOrder::Cucm,
            version: (1, 2),
            signer_version: Some((1, 0)),
            signer_name: "CN=s",
            serial: &[7],
            issuer: "CN=s",
            digest: 3,
            signature_length: 256,
            file_name: "ITLFile.tlv",
            timestamp: 5,
        };
        let mut bytes = header.encode().with_signature(&[9; 256]);
        let record = RecordSpec {
            dns_name: None,
            subject: "CN=s",
            role: 0,
            issuer: "CN=s",
            serial: &[7],
            public_key: &[1; 270],
            signature: Some(&[2; 256]),
            certificate: RecordCertificate::Hash { sha1: [3; 20], algorithm: 1 },
            address: None,
        };
        record.encode(&mut bytes);
        bytes
    }

    fn list_json() -> Value {
        inspect(&list_bytes(), &InspectOptions::default()).unwrap().value
    }

    #[test]
    fn readable_fields_win_over_their_elements() {
        let mut value = list_json();
        value["version"] = json!("1.3");
        value["signer_version"] = json!("1.1");
        value["signer"]["subject"] = json!("CN=other");
        value["signer"]["serial"] = json!("0A:0B");
        value["digest"] = json!(2);
        value["file_name"] = json!("CTLFile.tlv");
        value["timestamp"] = json!(6);
        value["records"][0]["function"] = json!(4);
        value["records"][0]["dns_name"] = json!("pub");
        value["records"][0]["cert_hash"] = json!("04".repeat(20));
        let bytes = assemble(&value, None).unwrap();
        let file = SignedFile::parse(&bytes).unwrap();
        let header = file.header;
        assert_eq!((header.version, header.signer_version), ((1, 3), Some((1, 1))));
        assert_eq!((header.signer_name, header.issuer), ("CN=other", "CN=s"));
        assert_eq!((header.serial, header.digest), (&[10, 11][..], 2));
        assert_eq!((header.file_name, header.timestamp), ("CTLFile.tlv", 6));
        assert_eq!((header.length % 4, header.signature), (0, &[9; 256][..]));
        let record = Records::new(file.body, 0).next().unwrap().unwrap();
        assert_eq!((record.role, record.dns_name), (Some(4), "pub"));
        assert_eq!(record.certificate_hash, Some([4; 20]));
        assert_eq!(record.subject, "CN=s");
    }

    #[test]
    fn without_the_field_the_element_counts() {
        let mut value = list_json();
        value["records"][0]["elements"][2]["value"] = json!("0015");
        assert_eq!(assemble(&value, None).unwrap(), list_bytes(), "the field still says 0");
        value["records"][0].as_object_mut().unwrap().remove("function");
        let bytes = assemble(&value, None).unwrap();
        let file = SignedFile::parse(&bytes).unwrap();
        assert_eq!(Records::new(file.body, 0).next().unwrap().unwrap().role, Some(21));
    }

    #[test]
    fn errors_name_the_place_in_the_json() {
        let error = |change: &dyn Fn(&mut Value)| {
            let mut value = list_json();
            change(&mut value);
            assemble(&value, None).unwrap_err().to_string()
        };
        assert!(error(&|v| v["kind"] = json!("sgn")).starts_with("kind: "));
        assert!(error(&|v| v["version"] = json!("1")).starts_with("version: "));
        assert!(error(&|v| v["records"] = json!(1)).starts_with("records: "));
        let text = error(&|v| v["records"][0]["function"] = json!("nobody"));
        assert!(text.starts_with("records[0].function: "), "{text}");
        let text = error(&|v| v["records"][0]["ip_address"] = json!("10.0.0.1"));
        assert!(text.contains("an element with tag 10"), "{text}");
        let text = error(&|v| v["header"][3]["elements"][0]["value"] = json!("x"));
        assert!(text.starts_with("header[3].elements[0].value: "), "{text}");
    }

    #[test]
    fn signing_again_takes_the_size_of_the_key() {
        let key = crate::crypto::KeySource::bank(1).signing_key(1024);
        let bytes = assemble(&list_json(), Some(&key)).unwrap();
        let file = SignedFile::parse(&bytes).unwrap();
        assert_eq!((file.header.modulus, file.header.signature.len()), (1, 128));
        assert_eq!(file.header.length % 4, 0);
        assert_eq!(
            crate::listing::check_file(&file, key.public_key()),
            crate::listing::Verdict::Valid
        );
    }
}
