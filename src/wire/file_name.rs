use std::fmt;
use std::sync::Arc;

use crate::base::{DEVICE_NAME_LENGTH, DeviceName};

/// The name of a file that a cluster serves to phones (`spec/phone-boot.md` section 1): of one
/// device, or of all of them where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// `CTLSEP<MAC>.tlv`, `CTLFile.tlv`.
    Ctl(Option<DeviceName>),
    /// `ITLSEP<MAC>.tlv`, `ITLFile.tlv`.
    Itl(Option<DeviceName>),
    /// `SEP<MAC>.cnf.xml`, `XMLDefault.cnf.xml`, and what the seal adds.
    Config(Option<DeviceName>, Seal),
    /// `United_States/g3-tones.xml`, the tones of the network locale, and what the seal adds.
    Locale(Seal),
    /// `Ringlist.xml`, and what the seal adds.
    RingList(Seal),
}

/// What is around a configuration or another file of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seal {
    /// Nothing.
    Plain,
    /// A header with a signature.
    Signed,
    /// A header with a signature and a content that one device can open.
    Encrypted,
}

impl Seal {
    /// What it adds to a name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Seal::Plain => "",
            Seal::Signed => ".sgn",
            Seal::Encrypted => ".enc.sgn",
        }
    }
}

const LIST: &str = ".tlv";
const CONFIG: &str = ".cnf.xml";
/// What stands for a device in the names of files for all.
const ALL_LIST: &str = "File";
const ALL_CONFIG: &str = "XMLDefault";
/// The directory is the `networkLocale` of a configuration.
const LOCALE: &str = "United_States/g3-tones.xml";
/// Manuals of phones: names are case-sensitive.
const RING_LIST: &str = "Ringlist.xml";
/// Length of the longest name: an encrypted configuration of one device.
const LENGTH_MAX: usize = DEVICE_NAME_LENGTH + CONFIG.len() + Seal::Encrypted.suffix().len();

impl FileName {
    /// Reads a name, letter by letter; `None` for what no phone asks for.
    pub fn parse(text: &str) -> Option<FileName> {
        if let Some(list) = text.strip_suffix(LIST) {
            return match list.split_at_checked(3)? {
                ("CTL", owner) => named(owner, ALL_LIST, FileName::Ctl),
                ("ITL", owner) => named(owner, ALL_LIST, FileName::Itl),
                _ => None,
            };
        }
        // The longest suffix first: each but the last ends like the one behind it.
        let (config, seal) = [Seal::Encrypted, Seal::Signed, Seal::Plain]
            .into_iter()
            .find_map(|seal| Some((text.strip_suffix(seal.suffix())?, seal)))?;
        match config {
            LOCALE => return Some(FileName::Locale(seal)),
            RING_LIST => return Some(FileName::RingList(seal)),
            _ => {}
        }
        let owner = config.strip_suffix(CONFIG)?;
        named(owner, ALL_CONFIG, |owner| FileName::Config(owner, seal))
    }

    /// Writes the name: names are written for every request of every phone, so that this allocates
    /// nothing.
    fn write(self, buffer: &mut [u8; LENGTH_MAX]) -> &str {
        let (kind, owner, all, suffix, seal) = match self {
            FileName::Ctl(owner) => ("CTL", owner, ALL_LIST, LIST, ""),
            FileName::Itl(owner) => ("ITL", owner, ALL_LIST, LIST, ""),
            FileName::Config(owner, seal) => ("", owner, ALL_CONFIG, CONFIG, seal.suffix()),
            FileName::Locale(seal) => ("", None, LOCALE, "", seal.suffix()),
            FileName::RingList(seal) => ("", None, RING_LIST, "", seal.suffix()),
        };
        let device = owner.map(DeviceName::text);
        let owner = device.as_ref().map_or(all.as_bytes(), |device| device);
        let mut end = 0;
        for part in [kind.as_bytes(), owner, suffix.as_bytes(), seal.as_bytes()] {
            buffer[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        std::str::from_utf8(&buffer[..end]).expect("names are ASCII")
    }
}

/// The name with what stands between prefix and suffix: a device, or the word for all.
fn named(
    owner: &str,
    all: &str,
    name: impl FnOnce(Option<DeviceName>) -> FileName,
) -> Option<FileName> {
    let device = if owner == all { None } else { Some(owner.parse().ok()?) };
    Some(name(device))
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.write(&mut [0; LENGTH_MAX]))
    }
}

impl From<FileName> for Arc<str> {
    fn from(name: FileName) -> Arc<str> {
        (*name.write(&mut [0; LENGTH_MAX])).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_phones_ask_for_is_read_and_written() {
        let device: Option<DeviceName> = Some("SEP001122334455".parse().unwrap());
        for (text, name) in [
            ("CTLFile.tlv", FileName::Ctl(None)),
            ("CTLSEP001122334455.tlv", FileName::Ctl(device)),
            ("ITLFile.tlv", FileName::Itl(None)),
            ("ITLSEP001122334455.tlv", FileName::Itl(device)),
            ("XMLDefault.cnf.xml", FileName::Config(None, Seal::Plain)),
            ("XMLDefault.cnf.xml.sgn", FileName::Config(None, Seal::Signed)),
            ("SEP001122334455.cnf.xml", FileName::Config(device, Seal::Plain)),
            ("SEP001122334455.cnf.xml.sgn", FileName::Config(device, Seal::Signed)),
            ("SEP001122334455.cnf.xml.enc.sgn", FileName::Config(device, Seal::Encrypted)),
            ("United_States/g3-tones.xml", FileName::Locale(Seal::Plain)),
            ("United_States/g3-tones.xml.sgn", FileName::Locale(Seal::Signed)),
            ("Ringlist.xml", FileName::RingList(Seal::Plain)),
            ("Ringlist.xml.sgn", FileName::RingList(Seal::Signed)),
        ] {
            assert_eq!(FileName::parse(text), Some(name));
            assert_eq!((name.to_string().as_str(), &*Arc::<str>::from(name)), (text, text));
        }
    }

    #[test]
    fn other_texts_are_no_names() {
        for text in [
            "",
            ".tlv",
            "ITL.tlv",
            "itlfile.tlv",
            "XXXFile.tlv",
            "ITLXMLDefault.tlv",
            "ITLSEP00112233445.tlv",
            "ITLSEP001122334455.tlv.sgn",
            "File.cnf.xml",
            "SEP00aabbccddee.cnf.xml",
            "SEP001122334455.cnf.xml.enc",
            "SEP001122334455.cnf.xml.sgn.sgn",
            "ringlist.xml.sgn",
            "g3-tones.xml.sgn",
            "../United_States/g3-tones.xml",
            "../ITLFile.tlv",
            "/ITLFile.tlv",
            "öö.tlv",
        ] {
            assert_eq!(FileName::parse(text), None, "{text}");
        }
    }
}
