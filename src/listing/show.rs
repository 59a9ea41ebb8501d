//! The listings of `show itl` and `show ctl` (`spec/trust-list.md` section 9).

use std::fmt::Write;

use super::hex::{hex, signature_line, upper_hex};
use super::list::{List, is_signer};
use super::roles::role_text;
use super::verdict::{Verdict, check_list};
use crate::base::{named, printable};
use crate::crypto::{md5, sha1};
use crate::wire::{Element, ROLE_SAST, Reader, Record};

named! {
    /// Which listing.
    pub enum ListName {
        /// `show ctl`.
        Ctl = "CTL",
        /// `show itl`.
        Itl = "ITL",
    }
}

/// What a listing needs beside the file.
#[derive(Clone, Copy, Debug)]
pub struct ShowOptions<'a> {
    /// Which listing.
    pub list: ListName,
    /// When the file was written, as the cluster prints it: `Wed Jul 27 10:16:24 EDT 2011`.
    pub modified: &'a str,
    /// Whether the checksum block is printed; releases 8.x do not.
    pub checksum: bool,
}

/// A listing, and how the file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The text.
    pub text: String,
    /// What the check with the file's own SAST record gave.
    pub verdict: Verdict,
}

/// Writes the listing of a file; `None` or an empty one is a cluster without that list.
pub fn show(bytes: Option<&[u8]>, options: &ShowOptions<'_>) -> Listing {
    let name = options.list.name();
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
        return Listing { text: no_list(options.list), verdict: Verdict::Malformed };
    };
    let list = List::parse(bytes);
    let verdict = list.as_ref().map_or(Verdict::Malformed, |list| check_list(list).0);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = start(&mut text, bytes, options);
    if let Ok(list) = &list {
        let _ = body(&mut text, list, name);
    }
    let _ = match verdict {
        Verdict::Valid => writeln!(text, "\nThe {name} file was verified successfully."),
        Verdict::Malformed => writeln!(text, "\nError parsing the {name} file!!"),
        _ => writeln!(text, "\nVerification of the {name} file failed."),
    };
    Listing { text, verdict }
}

fn no_list(list: ListName) -> String {
    match list {
        ListName::Ctl => "Length of CTL file: 0\n\
             CTL File not found . Please run CTLClient plugin or run the CLI - utils ctl.. to \
             generate the CTL file.\n\
             Error parsing the CTL File.\n"
            .to_owned(),
        ListName::Itl => {
            "Length of ITL file: 0\nITL File not found\nError parsing the ITL File.\n".to_owned()
        }
    }
}

type Written = std::fmt::Result;

fn start(out: &mut String, bytes: &[u8], options: &ShowOptions<'_>) -> Written {
    let name = options.list.name();
    if options.checksum {
        writeln!(out, "The checksum value of the {name} file:")?;
        writeln!(out, "{}(MD5)\n{}(SHA1)\n", hex(&md5(bytes)), hex(&sha1(bytes)))?;
    }
    writeln!(out, "Length of {name} file: {}", bytes.len())?;
    writeln!(out, "The {name} File was last modified on {}\n", printable(options.modified))?;
    writeln!(out, "\tParse {name} File\n\t----------------\n")
}

fn body(out: &mut String, list: &List<'_>, name: &str) -> Written {
    let header = &list.file.header;
    writeln!(out, "Version:\t{}.{}", header.version.0, header.version.1)?;
    writeln!(out, "HeaderLength:\t{} (BYTES)\n", header.length)?;
    columns(out)?;
    list.file.header_elements().try_for_each(|element| header_row(out, &element))?;
    for (index, record) in list.records.iter().enumerate() {
        writeln!(out, "\n\t{name} Record #:{}\n\t\t  ----", index + 1)?;
        columns(out)?;
        record_rows(out, list.file.bytes(), record)?;
        if record.role == Some(ROLE_SAST) {
            let not = if is_signer(record, header) { "" } else { "not " };
            writeln!(out, "This etoken was {not}used to sign the {name} file.")?;
        }
    }
    Ok(())
}

fn columns(out: &mut String) -> Written {
    writeln!(out, "BYTEPOS\tTAG\t\tLENGTH\tVALUE\n-------\t---\t\t------\t-----")
}

fn header_row(out: &mut String, element: &Element<'_>) -> Written {
    let value = element.value;
    // Containers print the number in their length field as their value.
    let container = value.len().to_string();
    match element.tag {
        3 => row(out, 3, "SIGNERID", 2, &container),
        4 => row(out, 4, "SIGNERNAME", value.len(), text(element)),
        5 => row(out, 5, "SERIALNUMBER", value.len(), &upper_hex(value, ":")),
        6 => row(out, 6, "CANAME", value.len(), text(element)),
        7 => row(out, 7, "SIGNATUREINFO", 2, &container),
        8 => row(out, 8, "DIGESTALGORTITHM", 1, ""),
        9 => row(out, 9, "SIGNATUREALGOINFO", 2, &container),
        10 => row(out, 10, "SIGNATUREALGORTITHM", 1, ""),
        11 => row(out, 11, "SIGNATUREMODULUS", 1, ""),
        12 => {
            row(out, 12, "SIGNATURE", value.len(), "")?;
            value.chunks(8).try_for_each(|line| writeln!(out, "{}", signature_line(line)))
        }
        14 => row(out, 14, "FILENAME", value.len(), ""),
        15 => row(out, 15, "TIMESTAMP", 4, ""),
        _ => Ok(()),
    }
}

fn record_rows(out: &mut String, bytes: &[u8], record: &Record<'_>) -> Written {
    row(out, 1, "RECORDLENGTH", 2, &record.length.to_string())?;
    let end = record.offset + usize::from(record.length);
    let mut reader = Reader::new(&bytes[record.offset + 5..end], record.offset + 5);
    while let Ok(element) = reader.element() {
        record_row(out, &element)?;
    }
    Ok(())
}

fn record_row(out: &mut String, element: &Element<'_>) -> Written {
    let (value, length) = (element.value, element.value.len());
    match element.tag {
        2 => row(out, 2, "DNSNAME", length, text(element).trim()),
        3 => row(out, 3, "SUBJECTNAME", length, text(element)),
        4 => {
            let role = element.fixed().map_or(u16::MAX, u16::from_be_bytes);
            row(out, 4, "FUNCTION", 2, &role_text(role))
        }
        5 => row(out, 5, "ISSUERNAME", length, text(element)),
        6 => row(out, 6, "SERIALNUMBER", length, &upper_hex(value, ":")),
        7 => row(out, 7, "PUBLICKEY", length, ""),
        8 => row(out, 8, "SIGNATURE", length, ""),
        9 => {
            let hash = format!("{} (SHA1 Hash HEX)", upper_hex(&sha1(value), " "));
            row(out, 9, "CERTIFICATE", length, &hash)
        }
        10 => row(out, 10, "IPADDRESS", length, ""),
        11 => row(out, 11, "CERTHASH", length, &upper_hex(value, " ")),
        12 => {
            let name = if value == [1] { "SHA-1" } else { "null" };
            row(out, 12, "HASH ALGORITHM", length, name)
        }
        _ => Ok(()),
    }
}

fn text<'a>(element: &Element<'a>) -> &'a str {
    element.text().unwrap_or_default()
}

/// One row: the tag number, the name (one more tab if it is shorter than eight letters), the
/// length, and the value if there is one.
fn row(out: &mut String, tag: u8, name: &str, length: usize, value: &str) -> Written {
    let tabs = if name.len() < 8 { "\t\t" } else { "\t" };
    write!(out, "{tag}\t{name}{tabs}{length}")?;
    if value.is_empty() { writeln!(out) } else { writeln!(out, "\t{}", printable(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: ShowOptions<'static> = ShowOptions {
        list: ListName::Ctl,
        modified: "Tue Feb 24 16:37:45 CET 2015",
        checksum: true,
    };

    #[test]
    fn a_missing_list_has_its_text() {
        for bytes in [None, Some(&[][..])] {
            let listing = show(bytes, &OPTIONS);
            assert!(listing.text.starts_with("Length of CTL file: 0\nCTL File not found . Please"));
            assert!(listing.text.ends_with("Error parsing the CTL File.\n"));
            assert_eq!(listing.verdict, Verdict::Malformed);
        }
    }

    #[test]
    fn a_broken_list_says_so_behind_its_length() {
        let options = ShowOptions { list: ListName::Itl, checksum: false, ..OPTIONS };
        let listing = show(Some(&[9, 9, 9]), &options);
        assert!(listing.text.starts_with("Length of ITL file: 3\n"), "{}", listing.text);
        assert!(listing.text.ends_with("Error parsing the ITL file!!\n"));
    }

    #[test]
    fn short_names_get_one_more_tab() {
        let mut out = String::new();
        row(&mut out, 6, "CANAME", 15, "CN=a").unwrap();
        row(&mut out, 8, "SIGNATURE", 128, "").unwrap();
        assert_eq!(out, "6\tCANAME\t\t15\tCN=a\n8\tSIGNATURE\t128\n");
    }
}
