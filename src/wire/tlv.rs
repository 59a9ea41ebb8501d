use std::borrow::Cow;

/// What is wrong with bytes from outside, where, and what should have been there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}: expected {expected}")]
pub struct WireError {
    /// The fault.
    pub what: &'static str,
    /// Offset of the fault from the start of the input in bytes.
    pub offset: usize,
    /// What a correct input has there.
    pub expected: Cow<'static, str>,
}

impl WireError {
    /// A fault with a fixed expectation.
    pub const fn new(what: &'static str, offset: usize, expected: &'static str) -> WireError {
        WireError { what, offset, expected: Cow::Borrowed(expected) }
    }
}

/// One element: tag (1 byte), length (2 bytes, big-endian), value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The tag.
    pub tag: u8,
    /// Offset of the tag from the start of the input.
    pub offset: usize,
    /// The value without tag and length.
    pub value: &'a [u8],
}

/// Reads bytes in order and remembers the offset for error messages.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes` whose first byte has the offset `offset`.
    pub const fn new(bytes: &'a [u8], offset: usize) -> Reader<'a> {
        Reader { rest: bytes, offset }
    }

    /// Offset of the next byte.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte, without reading it.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Reads `length` bytes.
    pub fn take(&mut self, length: usize, expected: &'static str) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| WireError::new("input ends", self.offset + self.rest.len(), expected))?;
        self.rest = rest;
        self.offset += length;
        Ok(taken)
    }

    /// Reads one byte.
    pub fn byte(&mut self, expected: &'static str) -> Result<u8, WireError> {
        Ok(self.take(1, expected)?[0])
    }

    /// Reads a big-endian `u16`.
    pub fn u16(&mut self, expected: &'static str) -> Result<u16, WireError> {
        let bytes = self.take(2, expected)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Reads a big-endian `u32`.
    pub fn u32(&mut self, expected: &'static str) -> Result<u32, WireError> {
        let bytes = self.take(4, expected)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Reads one element; its value must fit into what is left.
    pub fn element(&mut self) -> Result<Element<'a>, WireError> {
        let (tag, offset, length) = self.tag_and_length()?;
        let value = self.rest.get(..length).ok_or_else(|| overrun(offset, tag, length, self))?;
        self.rest = &self.rest[length..];
        self.offset += length;
        Ok(Element { tag, offset, value })
    }

    /// Reads tag and length of a container and stays in front of its first inner element.
    pub fn enter(&mut self) -> Result<Element<'a>, WireError> {
        let (tag, offset, length) = self.tag_and_length()?;
        let value = self.rest.get(..length).ok_or_else(|| overrun(offset, tag, length, self))?;
        Ok(Element { tag, offset, value })
    }

    fn tag_and_length(&mut self) -> Result<(u8, usize, usize), WireError> {
        let offset = self.offset;
        let tag = self.byte("a tag")?;
        let length = self.u16("a length of two bytes")?;
        Ok((tag, offset, usize::from(length)))
    }

    /// Reads the rest of a message: its length, which must fit, and the elements.
    pub(super) fn elements(&mut self) -> Result<Vec<Element<'a>>, WireError> {
        let offset = self.offset;
        let length = usize::from(self.u16("a length")?);
        if length != self.rest.len() {
            return Err(WireError {
                what: "length does not fit the message",
                offset,
                expected: format!("{}, not {length}", self.rest.len()).into(),
            });
        }
        let mut elements = Vec::with_capacity(4);
        while !self.is_empty() {
            elements.push(self.element()?);
        }
        Ok(elements)
    }
}

#[cold]
fn overrun(offset: usize, tag: u8, length: usize, reader: &Reader<'_>) -> WireError {
    WireError {
        what: "element runs past the end",
        offset,
        expected: format!(
            "at most {} bytes of value for tag {tag}, not {length}",
            reader.rest.len()
        )
        .into(),
    }
}

impl<'a> Element<'a> {
    /// The value if it has exactly `N` bytes.
    pub fn fixed<const N: usize>(&self) -> Result<[u8; N], WireError> {
        <[u8; N]>::try_from(self.value).map_err(|_| WireError {
            what: "element has a wrong size",
            offset: self.offset,
            expected: format!("{N} bytes for tag {}, not {}", self.tag, self.value.len()).into(),
        })
    }

    /// The value as text: without the final NUL that the length counts; must be UTF-8.
    pub fn text(&self) -> Result<&'a str, WireError> {
        let bytes = self.value.strip_suffix(b"\0").unwrap_or(self.value);
        std::str::from_utf8(bytes)
            .map_err(|_| WireError::new("text is not UTF-8", self.offset, "UTF-8"))
    }
}

/// Appends an element to `out`.
///
/// # Panics
/// If `value` is longer than 65,535 bytes; callers write values of bounded size.
pub fn put_element(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("values are written below 64 KiB");
    out.push(tag);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

/// Appends a text element: the text and one NUL, which the length counts.
///
/// # Panics
/// If `text` is longer than 65,534 bytes.
pub fn put_text(out: &mut Vec<u8>, tag: u8, text: &str) {
    let length = u16::try_from(text.len() + 1).expect("texts are written below 64 KiB");
    out.push(tag);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_in_order_with_their_offsets() {
        let bytes = [7, 0, 1, 9, 8, 0, 0];
        let mut reader = Reader::new(&bytes, 100);
        assert_eq!(reader.element().unwrap(), Element { tag: 7, offset: 100, value: &[9] });
        assert_eq!(reader.element().unwrap(), Element { tag: 8, offset: 104, value: &[] });
        assert!(reader.is_empty());
    }

    #[test]
    fn overrun_names_offset_and_room() {
        let mut reader = Reader::new(&[1, 0, 0, 7, 0, 3, 9, 9], 0);
        reader.element().unwrap();
        let error = reader.element().unwrap_err();
        assert_eq!(error.offset, 3);
        assert_eq!(
            error.to_string(),
            "element runs past the end at byte 3: expected at most 2 bytes of value for tag 7, not 3"
        );
    }

    #[test]
    fn short_input_is_an_error_at_its_end() {
        assert_eq!(Reader::new(&[1], 5).element().unwrap_err().offset, 6);
        assert_eq!(Reader::new(&[1, 0], 5).element().unwrap_err().offset, 7);
        assert_eq!(Reader::new(&[], 5).byte("x").unwrap_err().offset, 5);
    }

    #[test]
    fn text_drops_one_final_nul_only() {
        let text = |value| Element { tag: 4, offset: 0, value }.text();
        assert_eq!(text(b"CN=a\0").unwrap(), "CN=a");
        assert_eq!(text(b"CN=a").unwrap(), "CN=a");
        assert_eq!(text(b"\0").unwrap(), "");
        assert_eq!(text(b"a\0\0").unwrap(), "a\0");
        assert!(text(&[0xFF]).is_err());
    }

    #[test]
    fn written_elements_are_read_back() {
        let mut out = Vec::new();
        put_element(&mut out, 9, &[1, 2, 3]);
        put_text(&mut out, 3, "CN=x");
        let mut reader = Reader::new(&out, 0);
        assert_eq!(reader.element().unwrap().value, [1, 2, 3]);
        assert_eq!(reader.element().unwrap().value, b"CN=x\0");
    }
}
