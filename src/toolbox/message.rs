//! TVS and CAPF messages as JSON, and back.

use serde_json::{Value, json};

use super::Kind;
use super::assemble_error::AssembleError;
use crate::listing::{hex, unhex};
use crate::wire::{Element, WireError, capf, put_element, tvs};

/// How the value of an element is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Hex.
    Bytes,
    /// A format byte 1, then text without NUL.
    FormattedText,
    /// A big-endian number of so many bytes.
    Number(usize),
    /// A list of bytes.
    Roles,
    /// Text with one NUL at its end.
    Text,
}

/// A message as JSON: kind, command, session id, elements.
pub(super) fn to_json(kind: Kind, bytes: &[u8]) -> Result<Value, WireError> {
    if kind == Kind::Tvs {
        let message = tvs::Message::parse(bytes)?;
        let command = message.command;
        return Ok(json!({
            "kind": kind.name(),
            "command": TVS_COMMANDS.iter().find(|(known, _)| *known == command).map(|known| known.1),
            "command_id": command as u8,
            "session_id": message.session_id,
            "reserved": message.reserved,
            "length": bytes.len() - tvs::HEADER_LENGTH,
            "elements": elements_to_json(&message.elements, tvs_element),
        }));
    }
    let message = capf::Message::parse(bytes)?;
    Ok(json!({
        "kind": kind.name(),
        "command": message.command.name(),
        "command_id": message.command as u8,
        "session_id": message.session_id,
        "length": bytes.len() - capf::HEADER_LENGTH,
        "elements": elements_to_json(&message.elements, capf_element),
    }))
}

/// What our encoder makes of our parse of a message.
pub(super) fn reencode(kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    match kind {
        Kind::Tvs => tvs::Message::parse(bytes).map(|message| message.encode()),
        _ => capf::Message::parse(bytes).map(|message| message.encode()),
    }
}

/// Builds a message from its JSON.
pub(super) fn from_json(value: &Value) -> Result<Vec<u8>, AssembleError> {
    let bad = |path: &str, expected: &str| AssembleError::new(path, expected);
    let session_id = value["session_id"].as_u64().and_then(|id| u32::try_from(id).ok());
    let session_id = session_id.ok_or_else(|| bad("session_id", "a number of 32 bits"))?;
    let command = value["command"].as_str().unwrap_or_default();
    let is_tvs = value["kind"] == Kind::Tvs.name();
    let mut out = if is_tvs {
        let reserved = value["reserved"].as_u64().unwrap_or(0) as u8;
        let command = TVS_COMMANDS.iter().find(|(_, name)| *name == command);
        let (command, _) = command.ok_or_else(|| bad("command", "a TVS command"))?;
        vec![0x57, 1, *command as u8, reserved]
    } else {
        let command = capf::Command::from_name(command);
        vec![0x55, command.ok_or_else(|| bad("command", "a CAPF command"))? as u8]
    };
    out.extend_from_slice(&session_id.to_be_bytes());
    let body = elements_from_json(value, if is_tvs { tvs_element } else { capf_element })?;
    let length = u16::try_from(body.len()).map_err(|_| bad("elements", "at most 65535 bytes"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

type Naming = fn(u8) -> (&'static str, Shape);

fn elements_to_json(elements: &[Element<'_>], naming: Naming) -> Vec<Value> {
    let one = |element: &Element<'_>| {
        let (name, shape) = naming(element.tag);
        json!({
            "tag": element.tag,
            "name": name,
            "length": element.value.len(),
            "value": value_to_json(shape, element.value),
        })
    };
    elements.iter().map(one).collect()
}

/// The value in its usual shape; `{"hex": ...}` if it has not that shape, so that nothing is lost.
fn value_to_json(shape: Shape, value: &[u8]) -> Value {
    let shaped = match shape {
        Shape::Bytes => Some(json!(hex(value))),
        Shape::Roles => Some(json!(value)),
        Shape::Number(size) if value.len() == size => {
            Some(json!(value.iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte))))
        }
        Shape::Number(_) => None,
        Shape::Text => value.strip_suffix(b"\0").and_then(plain_text),
        Shape::FormattedText => value.strip_prefix(b"\x01").and_then(plain_text),
    };
    shaped.unwrap_or_else(|| json!({ "hex": hex(value) }))
}

fn plain_text(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().map(|text| json!(text))
}

fn elements_from_json(value: &Value, naming: Naming) -> Result<Vec<u8>, AssembleError> {
    let elements = value["elements"].as_array();
    let elements = elements.ok_or_else(|| AssembleError::new("elements", "a list"))?;
    let mut out = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let path = |field: &str| format!("elements[{index}].{field}");
        let tag = element["tag"].as_u64().and_then(|tag| u8::try_from(tag).ok());
        let tag = tag.ok_or_else(|| AssembleError::new(&path("tag"), "a number up to 255"))?;
        let bytes = value_from_json(naming(tag).1, &element["value"])
            .filter(|bytes| bytes.len() <= 0xFFFF)
            .ok_or_else(|| {
                AssembleError::new(&path("value"), "what `inspect` prints for this tag, or hex")
            })?;
        put_element(&mut out, tag, &bytes);
    }
    Ok(out)
}

fn value_from_json(shape: Shape, value: &Value) -> Option<Vec<u8>> {
    if let Some(text) = value.get("hex") {
        return unhex(text.as_str()?);
    }
    match shape {
        Shape::Bytes => unhex(value.as_str()?),
        Shape::Roles => value.as_array()?.iter().map(byte_of).collect(),
        Shape::Number(size) => {
            let bytes = value.as_u64()?.to_be_bytes();
            let (zeros, number) = bytes.split_at(8 - size);
            zeros.iter().all(|&byte| byte == 0).then(|| number.to_vec())
        }
        Shape::Text => Some([value.as_str()?.as_bytes(), b"\0"].concat()),
        Shape::FormattedText => Some([b"\x01", value.as_str()?.as_bytes()].concat()),
    }
}

fn byte_of(value: &Value) -> Option<u8> {
    u8::try_from(value.as_u64()?).ok()
}

const TVS_COMMANDS: [(tvs::Command, &str); 4] = [
    (tvs::Command::VerifyRequest, "VERIFY_REQUEST"),
    (tvs::Command::VerifyResponse, "VERIFY_RESPONSE"),
    (tvs::Command::QueryRequest, "QUERY_REQUEST"),
    (tvs::Command::QueryResponse, "QUERY_RESPONSE"),
];

/// Names and shapes of `spec/tvs.md`.
const fn tvs_element(tag: u8) -> (&'static str, Shape) {
    match tag {
        1 => ("device_name", Shape::FormattedText),
        2 => ("certificate", Shape::Bytes),
        3 => ("subject_name", Shape::Text),
        4 => ("issuer_name", Shape::Text),
        5 => ("serial_number", Shape::Bytes),
        7 => ("status", Shape::Number(1)),
        8 => ("roles", Shape::Roles),
        9 => ("ttl", Shape::Number(4)),
        _ => ("unknown", Shape::Bytes),
    }
}

/// Names and shapes of `spec/capf.md`.
const fn capf_element(tag: u8) -> (&'static str, Shape) {
    let shape = match tag {
        1 | 3 | 7 | 8 | 17 | 18 => Shape::Number(1),
        10 | 12 => Shape::Number(2),
        11 | 13 => Shape::Text,
        _ => Shape::Bytes,
    };
    (capf::element_name(tag), shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_json_with_odd_values() {
        let mut body = Vec::new();
        put_element(&mut body, 1, b"\x01CP-8861-SEP001122334455");
        put_element(&mut body, 1, b"\x02odd");
        put_element(&mut body, 3, b"no NUL");
        put_element(&mut body, 8, &[0, 3]);
        put_element(&mut body, 9, &[1]);
        put_element(&mut body, 99, &[0xFF]);
        let mut bytes = vec![0x57, 1, 4, 0xF7, 0, 0, 3, 0xE9, 0, body.len() as u8];
        bytes.extend_from_slice(&body);
        let json = to_json(Kind::Tvs, &bytes).unwrap();
        assert_eq!((&json["command"], &json["reserved"]), (&json!("QUERY_RESPONSE"), &json!(0xF7)));
        assert_eq!(json["elements"][0]["value"], "CP-8861-SEP001122334455");
        assert_eq!(json["elements"][1]["value"]["hex"], "026f6464");
        assert_eq!(json["elements"][3]["value"], json!([0, 3]));
        assert_eq!(json["elements"][4]["value"]["hex"], "01");
        assert_eq!(from_json(&json).unwrap(), bytes);
        assert_eq!(reencode(Kind::Tvs, &bytes).unwrap(), bytes);
    }

    #[test]
    fn an_edited_value_is_written_in_its_shape() {
        let bytes = capf::Message::new(capf::Command::EndSession, 9)
            .with(capf::tag::REASON, &[1])
            .with(capf::tag::DEVICE_NAME, b"SEP1\0")
            .encode();
        let mut json = to_json(Kind::Capf, &bytes).unwrap();
        json["elements"][0]["value"] = json!(7);
        json["elements"][1]["value"] = json!("SEP22");
        let edited = from_json(&json).unwrap();
        let message = capf::Message::parse(&edited).unwrap();
        assert_eq!((message.reason(), message.device_name()), (Some(7), Ok(Some("SEP22"))));
        json["elements"][0]["value"] = json!(256);
        let error = from_json(&json).unwrap_err();
        assert!(error.to_string().contains("elements[0].value"), "{error}");
    }
}
