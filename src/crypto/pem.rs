//! Blocks of PEM text, read as leniently as OpenSSL does and a little more: lines of any length and
//! ending, blanks, text around the blocks.

use base64ct::{Base64Unpadded, Encoding};

use crate::wire::ber::Ber;

/// One block.
#[derive(Debug)]
pub(super) struct Block {
    /// Line of its `BEGIN`, counted from 1.
    pub(super) line: usize,
    /// What stands between `BEGIN` and the dashes.
    pub(super) label: String,
    /// Cipher and vector of OpenSSL's older encryption.
    pub(super) dek_info: Option<String>,
    /// The bytes, or why there are none.
    pub(super) content: Result<Vec<u8>, String>,
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The blocks of a text.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(begin) = rest.find(BEGIN) {
        line += lines(&rest[..begin]);
        let behind = &rest[begin + BEGIN.len()..];
        let next = behind.find(BEGIN).unwrap_or(behind.len());
        let block = &behind[..next];
        blocks.push(read_block(block, line));
        line += lines(block);
        rest = &behind[next..];
    }
    blocks
}

/// The bytes of base64 without borders, if they are one BER value.
pub(super) fn bare(text: &str) -> Option<Vec<u8>> {
    let bytes = decoded(text.trim_start_matches('\u{FEFF}')).ok()?;
    Ber::read(&bytes).is_ok().then_some(bytes)
}

/// Reads what stands behind `-----BEGIN ` and in front of the next one.
fn read_block(text: &str, line: usize) -> Block {
    let (label, body) = text.split_once(DASHES).unwrap_or((text, ""));
    let label = label.trim().to_owned();
    let fail =
        |why: String| Block { line, label: label.clone(), dek_info: None, content: Err(why) };
    let Some((body, end)) = body.split_once(END) else {
        return fail("it has no END line".to_owned());
    };
    let end_label = end.split(DASHES).next().unwrap_or_default().trim();
    if end_label != label {
        return fail(format!("it ends as `{end_label}`"));
    }
    let (dek_info, base64) = split_headers(body);
    Block { line, dek_info, content: decoded(base64), label: label.clone() }
}

/// Splits headers (`Proc-Type`, `DEK-Info`) from the base64 behind them.
fn split_headers(body: &str) -> (Option<String>, &str) {
    let mut dek_info = None;
    let mut rest = body.trim_start();
    loop {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let Some((name, value)) = rest[..end].split_once(':') else { return (dek_info, rest) };
        if name.trim() == "DEK-Info" {
            dek_info = Some(value.trim().to_owned());
        }
        rest = rest[end..].trim_start();
    }
}

fn decoded(base64: &str) -> Result<Vec<u8>, String> {
    let mut compact: String = base64.chars().filter(|c| !c.is_whitespace()).collect();
    compact.truncate(compact.trim_end_matches('=').len());
    let strange = |c: &char| !(c.is_ascii_alphanumeric() || ['+', '/'].contains(c));
    if let Some(c) = compact.chars().find(strange) {
        return Err(format!("`{}` is no base64", c.escape_default()));
    }
    Base64Unpadded::decode_vec(&compact).map_err(|_| "its base64 is cut off".to_owned())
}

/// How many lines end in `text`, whichever way.
fn lines(text: &str) -> usize {
    let ends = text.matches('\n').count();
    if ends == 0 { text.matches('\r').count() } else { ends }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(text: &str) -> Vec<Result<Vec<u8>, String>> {
        blocks(text).into_iter().map(|block| block.content).collect()
    }

    #[test]
    fn blocks_of_every_layout_are_read() {
        for text in [
            "-----BEGIN X-----\nAQID\nBAU=\n-----END X-----\n",
            "\u{FEFF}-----BEGIN X-----\r\nAQIDBAU=\r\n-----END X-----\r\n",
            "-----BEGIN X-----\rAQID\rBAU=\r-----END X-----\r",
            "text: more\n-----BEGIN X-----  \nA Q\tID  \n\nBAU\n-----END X-----  \n",
            "-----BEGIN X----- AQIDBAU= -----END X-----",
            "-----BEGIN X-----\nComment: a\nOther: b\n\nAQIDBAU=\n-----END X-----",
        ] {
            assert_eq!(contents(text), [Ok(vec![1, 2, 3, 4, 5])], "{text}");
        }
    }

    #[test]
    fn a_broken_block_is_named_by_its_line_and_spoils_no_other() {
        let good = "-----BEGIN X-----\nAQID\n-----END X-----\n";
        for (bad, why) in [
            ("-----BEGIN X-----\nAQ*D\n-----END X-----\n", "`*` is no base64"),
            ("-----BEGIN X-----\nAQIDB\n-----END X-----\n", "its base64 is cut off"),
            ("-----BEGIN X-----\nAQID\n", "it has no END line"),
            ("-----BEGIN X-----\nAQID\n-----END Y-----\n", "it ends as `Y`"),
        ] {
            let text = format!("note\n{bad}{good}{bad}");
            let read = blocks(&text);
            assert_eq!(read[0].content, Err(why.to_owned()));
            assert_eq!((read[0].line, &read[1].content), (2, &Ok(vec![1, 2, 3])), "{bad}");
            assert_eq!((read.len(), read[2].line), (3, 5 + lines(bad)), "{bad}");
        }
    }

    #[test]
    fn headers_of_older_encryption_are_read() {
        let text = "-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,0102\n\n\
                    AQID\n-----END X-----\n";
        let read = blocks(text);
        assert_eq!(read[0].dek_info.as_deref(), Some("DES-EDE3-CBC,0102"));
        assert_eq!(read[0].content, Ok(vec![1, 2, 3]));
    }

    #[test]
    fn base64_without_borders_counts_only_as_a_value() {
        assert_eq!(bare("MAMC\nAQc=\n"), Some(vec![0x30, 3, 2, 1, 7]));
        assert_eq!((bare("hello"), bare(""), bare("MAMCAQc*")), (None, None, None));
    }
}
