//! The elements of a list as JSON, and back: what `assemble` needs beside the readable fields.

use serde_json::{Value, json};

use super::AssembleError;
use crate::listing::{hex, unhex};
use crate::wire::{Document, Node, Reader, Record};

/// The header of a file as JSON; null if a container lies about its length.
pub(super) fn header_to_json(bytes: &[u8]) -> Value {
    match Document::parse_file(bytes) {
        Ok(document) => nodes_to_json(&document.header),
        Err(_) => Value::Null,
    }
}

/// The elements of a record, without its length.
pub(super) fn record_to_json(bytes: &[u8], record: &Record<'_>) -> Value {
    let end = record.offset + usize::from(record.length);
    let inside = bytes.get(record.offset + 5..end).unwrap_or_default();
    let mut reader = Reader::new(inside, 0);
    let mut elements = Vec::new();
    while let Ok(element) = reader.element() {
        elements.push(json!({
            "tag": element.tag,
            "name": record_tag_name(element.tag),
            "value": hex(element.value),
        }));
    }
    elements.into()
}

fn nodes_to_json(nodes: &[Node]) -> Value {
    let one = |node: &Node| match node {
        Node::Padding => json!("padding"),
        Node::Element { tag, value } => {
            json!({ "tag": tag, "name": header_tag_name(*tag), "value": hex(value) })
        }
        Node::Container { tag, nodes } => {
            let elements = nodes_to_json(nodes);
            json!({ "tag": tag, "name": header_tag_name(*tag), "elements": elements })
        }
    };
    nodes.iter().map(one).collect()
}

/// Reads what [`header_to_json`] wrote. `path` names the place for errors.
pub(super) fn nodes_from_json(value: &Value, path: &str) -> Result<Vec<Node>, AssembleError> {
    let list = value.as_array().ok_or_else(|| AssembleError::new(path, "a list of elements"))?;
    list.iter()
        .enumerate()
        .map(|(index, node)| node_from_json(node, &format!("{path}[{index}]")))
        .collect()
}

fn node_from_json(value: &Value, path: &str) -> Result<Node, AssembleError> {
    if value == "padding" {
        return Ok(Node::Padding);
    }
    let tag = value["tag"].as_u64().and_then(|tag| u8::try_from(tag).ok());
    let tag =
        tag.ok_or_else(|| AssembleError::new(&format!("{path}.tag"), "a number up to 255"))?;
    if let Some(inner) = value.get("elements") {
        let nodes = nodes_from_json(inner, &format!("{path}.elements"))?;
        return Ok(Node::Container { tag, nodes });
    }
    let bytes = value["value"].as_str().and_then(unhex);
    let value = bytes.ok_or_else(|| AssembleError::new(&format!("{path}.value"), "hex"))?;
    Ok(Node::Element { tag, value })
}

const fn header_tag_name(tag: u8) -> &'static str {
    match tag {
        1 => "version",
        2 => "header_length",
        3 => "signer_info",
        4 => "signer_subject",
        5 => "signer_serial",
        6 => "signer_issuer",
        7 => "signature_info",
        8 => "digest",
        9 => "algorithm_info",
        10 => "signature_algorithm",
        11 => "modulus",
        12 => "signature",
        14 => "file_name",
        15 => "timestamp",
        16 => "encryption_info",
        17 => "iv_info",
        19 => "iv",
        20 => "padding_length",
        21 => "key_info",
        23 => "key_bits",
        24 => "key_algorithm",
        25 => "wrapped_key",
        26 => "content_digest_id",
        27 => "content_digest",
        28 => "signer_version",
        _ => "unknown",
    }
}

const fn record_tag_name(tag: u8) -> &'static str {
    match tag {
        2 => "dns_name",
        3 => "subject",
        4 => "function",
        5 => "issuer",
        6 => "serial",
        7 => "public_key",
        8 => "signature",
        9 => "certificate",
        10 => "ip_address",
        11 => "cert_hash",
        12 => "hash_algorithm",
        _ => "unknown",
    }
}
