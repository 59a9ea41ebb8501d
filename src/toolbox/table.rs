//! An inspection as text for people.

use std::fmt::Write;

use serde_json::Value;

use crate::base::printable;
use crate::crypto::date_text;

/// The human form of what `inspect --format json` prints.
pub fn to_text(value: &Value) -> String {
    let mut out = String::new();
    let _ = match value["kind"].as_str() {
        Some("tvs" | "capf") => message(&mut out, value),
        Some("certificate" | "pkcs7" | "pkcs12" | "private key") => store(&mut out, value),
        _ => file(&mut out, value),
    };
    out
}

fn file(out: &mut String, value: &Value) -> std::fmt::Result {
    row(out, "kind", kind_text(value))?;
    row(out, "file name", text(&value["file_name"]))?;
    let header_length = &value["header_length"];
    row(out, "length", format!("{} bytes, header {header_length}", value["length"]))?;
    row(out, "version", text(&value["version"]))?;
    if let Some(version) = value["signer_version"].as_str() {
        row(out, "signer version", version)?;
    }
    let signer = &value["signer"];
    row(out, "signer", text(&signer["subject"]))?;
    row(out, "  issuer", text(&signer["issuer"]))?;
    row(out, "  serial", text(&signer["serial"]))?;
    let signature = &value["signature"];
    let sha1 = if value["digest"] == "SHA-1" { " (weak)" } else { "" };
    let bits = bits_text(&signature["bits"]);
    row(out, "signature", format!("{}{sha1}, {bits}", text(&signature["algorithm"])))?;
    let stamp = value["timestamp"].as_u64().unwrap_or_default();
    row(out, "time stamp", date_text(i64::try_from(stamp).unwrap_or(i64::MAX)))?;
    row(out, "MD5", text(&value["md5"]))?;
    row(out, "SHA-1", text(&value["sha1"]))?;
    if let Some(length) = value["content_length"].as_u64() {
        row(out, "content", format!("{length} bytes"))?;
    }
    let encryption = &value["encryption"];
    if !encryption.is_null() {
        row(
            out,
            "encryption",
            format!("{}, key for RSA-{}", text(&encryption["cipher"]), encryption["key_bits"]),
        )?;
    }
    records(out, value)?;
    findings(out, value)?;
    verdict(out, signature)?;
    if let Some(outcome) = value["decision"]["outcome"].as_str() {
        row(out, "phone", format!("{outcome}: {}", text(&value["decision"]["path"])))?;
    }
    Ok(())
}

fn kind_text(value: &Value) -> &'static str {
    match value["kind"].as_str() {
        Some("ctl") => "CTL, certificate trust list",
        Some("itl") => "ITL, identity trust list",
        Some("enc-sgn") => "encrypted and signed file",
        _ => "signed file",
    }
}

fn verdict(out: &mut String, signature: &Value) -> std::fmt::Result {
    let verdict = signature["verdict"].as_str().unwrap_or("not checked");
    match signature["by"].as_str() {
        Some(by) => row(out, "verdict", format!("{verdict} (checked with {by})")),
        None => row(out, "verdict", verdict),
    }
}

fn records(out: &mut String, value: &Value) -> std::fmt::Result {
    for record in value["records"].as_array().into_iter().flatten() {
        let function = text(&record["function"]);
        writeln!(out, "\nrecord {}  {function}: {}", record["number"], text(&record["used_for"]))?;
        row(out, "  subject", text(&record["subject"]))?;
        if record["issuer"] != record["subject"] {
            row(out, "  issuer", text(&record["issuer"]))?;
        }
        row(out, "  serial", text(&record["serial"]))?;
        for (label, name) in
            [("  DNS name", "dns_name"), ("  address", "ip_address"), ("  hash", "cert_hash")]
        {
            if let Some(text) = record[name].as_str().filter(|text| !text.is_empty()) {
                row(out, label, text)?;
            }
        }
        let key = &record["key"];
        if !key.is_null() {
            row(out, "  key", key_text(key))?;
        }
        if let Some(end) = record["not_after"].as_str() {
            row(out, "  valid", format!("{} to {end}", text(&record["not_before"])))?;
        }
        if record["used_to_sign"] == true {
            row(out, "  signer", "this record signed the list")?;
        }
    }
    Ok(())
}

fn findings(out: &mut String, value: &Value) -> std::fmt::Result {
    let findings = value["findings"].as_array().map_or(&[][..], Vec::as_slice);
    if !findings.is_empty() {
        writeln!(out, "\nfindings")?;
    }
    for finding in findings {
        writeln!(out, "  {:<8} {}", text(&finding["level"]), printable(text(&finding["text"])))?;
    }
    writeln!(out)
}

fn message(out: &mut String, value: &Value) -> std::fmt::Result {
    let protocol = text(&value["kind"]).to_uppercase();
    row(out, "kind", format!("{protocol} message"))?;
    row(out, "command", format!("{} ({})", text(&value["command"]), value["command_id"]))?;
    row(out, "session", value["session_id"].to_string())?;
    for element in value["elements"].as_array().into_iter().flatten() {
        let shown = match &element["value"] {
            Value::String(text) => shortened(text),
            other => other.to_string(),
        };
        let label = format!("  {} {}", element["tag"], text(&element["name"]));
        row(out, &label, format!("{shown}  ({} bytes)", element["length"]))?;
    }
    Ok(())
}

fn store(out: &mut String, value: &Value) -> std::fmt::Result {
    row(out, "kind", text(&value["kind"]))?;
    row(out, "private keys", value["keys"].to_string())?;
    match value["certificates"].as_array() {
        Some(certificates) => {
            certificates
                .iter()
                .try_for_each(|one| writeln!(out).and_then(|()| certificate(out, one)))?;
            findings(out, value)
        }
        None => certificate(out, value),
    }
}

fn certificate(out: &mut String, value: &Value) -> std::fmt::Result {
    for (label, name) in [
        ("subject", "subject"),
        ("issuer", "issuer"),
        ("serial", "serial"),
        ("valid from", "not_before"),
        ("valid to", "not_after"),
        ("MD5", "md5"),
        ("SHA-1", "sha1"),
        ("SHA-256", "sha256"),
    ] {
        row(out, label, text(&value[name]))?;
    }
    let key = &value["key"];
    row(out, "key", key_text(key))?;
    for held in value["in_lists"].as_array().into_iter().flatten() {
        let place = format!("{} record {}", text(&held["list"]), held["record"]);
        row(out, "held by", format!("{place} ({})", text(&held["function"])))?;
    }
    findings(out, value)
}

/// `RSA-1024 (weak)`.
fn key_text(key: &Value) -> String {
    let (kind, bits) = (text(&key["type"]), &key["bits"]);
    if bits.is_null() {
        return kind.to_owned();
    }
    let weak = kind == "RSA" && bits.as_u64().is_some_and(|bits| bits < 2048);
    format!("{kind}-{bits}{}", if weak { " (weak)" } else { "" })
}

/// `1024 bits (weak)`.
fn bits_text(bits: &Value) -> String {
    let weak = bits.as_u64().is_some_and(|bits| bits < 2048);
    format!("{bits} bits{}", if weak { " (weak)" } else { "" })
}

/// The start of a long value; JSON has all of it.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

fn row(out: &mut String, label: &str, value: impl AsRef<str>) -> std::fmt::Result {
    writeln!(out, "{:<15} {}", label, printable(value.as_ref()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn control_characters_of_a_file_are_not_printed() {
        let text = to_text(&json!({ "kind": "itl", "file_name": "\x07" }));
        assert!(!text.contains('\x07'));
    }

    #[test]
    fn weak_keys_and_digests_say_so() {
        let key = |bits| key_text(&json!({ "type": "RSA", "bits": bits }));
        assert_eq!((key(1024), key(2048)), ("RSA-1024 (weak)".into(), "RSA-2048".into()));
        assert_eq!(key_text(&json!({ "type": "EC", "bits": 256 })), "EC-256");
        let signature = json!({ "algorithm": "RSA with SHA-1", "bits": 1024 });
        let text = to_text(&json!({ "kind": "sgn", "digest": "SHA-1", "signature": signature }));
        assert!(text.contains("RSA with SHA-1 (weak), 1024 bits (weak)"), "{text}");
    }

    #[test]
    fn long_values_are_shortened() {
        assert_eq!(shortened(&"a".repeat(64)).len(), 64);
        assert_eq!(shortened(&"ü".repeat(65)), "ü".repeat(64) + "..");
    }

    #[test]
    fn an_unchecked_signature_says_so() {
        let text = to_text(&json!({ "kind": "sgn", "signature": { "bits": 1024 } }));
        assert!(text.contains("verdict         not checked"), "{text}");
    }
}
