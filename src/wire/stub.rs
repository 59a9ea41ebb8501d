//! The stub of an encrypted configuration (`spec/encrypted-config.md`, Stub).

use std::fmt::Write as _;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesStart, BytesText, Event};

/// Elements of the configuration that the stub repeats, where present, in document order.
const COPIED: [&str; 4] = ["ipAddressMode", "loadInformation", "capfAuthMode", "capfList"];

/// Why no stub can be made of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is no well-formed XML: {0}")]
pub struct StubError(String);

/// The XML of the stub for a configuration; `cert_hash` is the MD5 of the device's certificate,
/// hexadecimal.
///
/// # Errors
/// If the configuration is not well-formed.
pub fn stub_xml(config: &[u8], cert_hash: &str) -> Result<String, StubError> {
    let text = std::str::from_utf8(config).map_err(|error| StubError(error.to_string()))?;
    let copied = copied_elements(text)?;
    let written = write_stub(&copied, cert_hash);
    let xml = written.map_err(|error| StubError(error.to_string()))?;
    let xml = String::from_utf8(xml).map_err(|error| StubError(error.to_string()))?;
    Ok(ascii_only(&xml))
}

/// One element of the configuration that goes into the stub.
#[derive(Default)]
struct Copied {
    name: String,
    text: String,
    children: Vec<Copied>,
}

fn copied_elements(text: &str) -> Result<Vec<Copied>, StubError> {
    let fault = |error: &dyn std::fmt::Display| StubError(error.to_string());
    let mut reader = quick_xml::Reader::from_str(text);
    // The innermost element is last; the first one is the root.
    let mut open: Vec<Copied> = Vec::new();
    loop {
        match reader.read_event().map_err(|error| fault(&error))? {
            Event::Start(start) => open.push(named(start.name().as_ref())),
            Event::Empty(start) => {
                let element = named(start.name().as_ref());
                let parent = open.last_mut().ok_or_else(|| fault(&"no content"))?;
                parent.children.push(element);
            }
            Event::Text(piece) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&piece.xml10_content());
                }
            }
            Event::GeneralRef(reference) => {
                let name: &str = reference.as_ref();
                let known = resolved(name).ok_or_else(|| fault(&format!("unknown &{name};")))?;
                if let Some(element) = open.last_mut() {
                    element.text.push(known);
                }
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(|| fault(&"one end too many"))?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => return Ok(wanted(element)),
                }
            }
            Event::Eof => return Err(fault(&"it ends too early")),
            _ => {}
        }
    }
}

fn named(name: &str) -> Copied {
    Copied { name: name.to_owned(), ..Copied::default() }
}

fn resolved(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

fn wanted(root: Copied) -> Vec<Copied> {
    root.children.into_iter().filter(|child| COPIED.contains(&child.name.as_str())).collect()
}

fn write_stub(copied: &[Copied], cert_hash: &str) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.create_element("device").write_inner_content(|writer| {
        leaf(writer, "fullConfig", "false")?;
        copied.iter().try_for_each(|element| copy(writer, element))?;
        leaf(writer, "certHash", cert_hash)?;
        leaf(writer, "encrConfig", "true")
    })?;
    let mut out = writer.into_inner();
    out.push(b'\n');
    Ok(out)
}

fn copy(writer: &mut Writer<Vec<u8>>, element: &Copied) -> io::Result<()> {
    if element.children.is_empty() {
        return leaf(writer, &element.name, element.text.trim());
    }
    let start = BytesStart::new(element.name.as_str());
    let end = start.to_end().into_owned();
    writer.write_event(Event::Start(start.borrow()))?;
    element.children.iter().try_for_each(|child| copy(writer, child))?;
    writer.write_event(Event::End(end))
}

fn leaf(writer: &mut Writer<Vec<u8>>, name: &str, text: &str) -> io::Result<()> {
    let element = writer.create_element(name);
    element.write_text_content(BytesText::new(text)).map(|_| ())
}

/// Characters above ASCII as numeric references, as the reference tool writes them.
fn ascii_only(xml: &str) -> String {
    let mut out = String::with_capacity(xml.len());
    for c in xml.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "&#{};", u32::from(c));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn the_stub_repeats_four_elements_in_order() {
        let config = "<device><fullConfig>true</fullConfig><capfAuthMode>2</capfAuthMode>\
             <capfList><capf><phonePort>3804</phonePort></capf></capfList>\
             <x><ipAddressMode>9</ipAddressMode></x><ipAddressMode>0</ipAddressMode></device>";
        let xml = stub_xml(config.as_bytes(), HASH).unwrap();
        let expected = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<device>\n  \
             <fullConfig>false</fullConfig>\n  <capfAuthMode>2</capfAuthMode>\n  <capfList>\n    \
             <capf>\n      <phonePort>3804</phonePort>\n    </capf>\n  </capfList>\n  \
             <ipAddressMode>0</ipAddressMode>\n  <certHash>{HASH}</certHash>\n  \
             <encrConfig>true</encrConfig>\n</device>\n"
        );
        assert_eq!(xml, expected);
    }

    #[test]
    fn characters_above_ascii_and_references_survive() {
        let config = "<device><loadInformation>a&amp;ü&#x41;</loadInformation></device>";
        let xml = stub_xml(config.as_bytes(), HASH).unwrap();
        assert!(xml.contains("<loadInformation>a&amp;&#252;A</loadInformation>"), "{xml}");
    }

    #[test]
    fn broken_xml_gives_no_stub() {
        for bad in ["", "<device>", "text", "<a></b>", "<a>&nope;</a>"] {
            assert!(stub_xml(bad.as_bytes(), HASH).is_err(), "{bad}");
        }
    }
}
