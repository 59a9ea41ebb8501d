use super::header::CONTAINERS;
use super::tlv::{Element, Reader, WireError};
use super::trust_list::{TAG_RECORD_LENGTH, record};

/// One element of a file, owned: what an editor changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A padding byte (header tag 13, no length, no value).
    Padding,
    /// An element with its value.
    Element {
        /// The tag.
        tag: u8,
        /// The value.
        value: Vec<u8>,
    },
    /// An element whose length counts inner elements.
    Container {
        /// The tag.
        tag: u8,
        /// What it holds.
        nodes: Vec<Node>,
    },
}

/// What follows the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Records of a trust list: the elements of each, tag 1 with its length included.
    Records(Vec<Vec<Node>>),
    /// Content of a signed file.
    Content(Vec<u8>),
}

/// A trust list or signed file as an owned tree that keeps the order of elements, unknown tags
/// and padding, so that writing it again gives the same bytes (`spec/trust-list.md` sections 1
/// and 2). Lengths (containers, header length, record length) are computed when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Elements of the header, tags 1 and 2 included.
    pub header: Vec<Node>,
    /// What follows.
    pub body: Body,
}

const TAG_HEADER_LENGTH: u8 = 2;
const TAG_SIGNATURE: u8 = 12;
const TAG_PADDING: u8 = 13;

impl Document {
    /// Reads a trust list: header and records.
    ///
    /// # Errors
    /// If an element does not fit into what holds it, or a length is wrong.
    pub fn parse_list(bytes: &[u8]) -> Result<Document, WireError> {
        let (header, length) = header(bytes)?;
        let mut reader = Reader::new(&bytes[length..], length);
        let mut records = Vec::new();
        while !reader.is_empty() {
            let (mut inside, mut elements) = (record(&mut reader)?, Vec::with_capacity(10));
            while !inside.is_empty() {
                let Element { tag, value, .. } = inside.element()?;
                elements.push(Node::Element { tag, value: value.to_vec() });
            }
            records.push(elements);
        }
        Ok(Document { header, body: Body::Records(records) })
    }

    /// Reads a signed file: header and content.
    ///
    /// # Errors
    /// If an element of the header does not fit into what holds it.
    pub fn parse_file(bytes: &[u8]) -> Result<Document, WireError> {
        let (header, length) = header(bytes)?;
        Ok(Document { header, body: Body::Content(bytes[length..].to_vec()) })
    }

    /// Writes the file; header length, container lengths and record lengths are those of what is
    /// written.
    ///
    /// # Errors
    /// If header, container, element or record is longer than 65,535 bytes.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::new();
        write_nodes(&self.header, &mut out)?;
        set_length(&mut out, 0, &self.header, TAG_HEADER_LENGTH)?;
        match &self.body {
            Body::Content(content) => out.extend_from_slice(content),
            Body::Records(records) => {
                for record in records {
                    let start = out.len();
                    write_nodes(record, &mut out)?;
                    set_length(&mut out, start, record, TAG_RECORD_LENGTH)?;
                }
            }
        }
        Ok(out)
    }

    /// What the signature covers: the file without element 12, with the header length that it has
    /// once a signature of `signature_length` bytes is in its place.
    ///
    /// # Errors
    /// As [`Document::encode`].
    pub fn to_be_signed(&self, signature_length: usize) -> Result<Vec<u8>, WireError> {
        let mut copy = self.clone();
        copy.put_signature(vec![0; signature_length]);
        let whole = copy.encode()?;
        let start = copy.offset_of_signature();
        Ok([&whole[..start], &whole[start + 3 + signature_length..]].concat())
    }

    /// Puts `signature` into element 12 of the header, which is added behind the signature info if
    /// it is missing.
    pub fn put_signature(&mut self, signature: Vec<u8>) {
        let element = Node::Element { tag: TAG_SIGNATURE, value: signature };
        if let Some(at) = self.signature_index() {
            self.header[at] = element;
            return;
        }
        let at = self.header.iter().position(|node| node.tag() == Some(7));
        self.header.insert(at.map_or(self.header.len(), |at| at + 1), element);
    }

    /// Drops the padding and pads the header anew for a signature of its present length.
    ///
    /// # Errors
    /// As [`Document::encode`].
    pub fn pad(&mut self) -> Result<(), WireError> {
        self.header.retain(|node| *node != Node::Padding);
        let mut out = Vec::new();
        write_nodes(&self.header, &mut out)?;
        let missing = (4 - out.len() % 4) % 4;
        self.header.extend(std::iter::repeat_n(Node::Padding, missing));
        Ok(())
    }

    /// The value of the first header element with this tag, inside containers too.
    pub fn find_mut(&mut self, tag: u8) -> Option<&mut Vec<u8>> {
        find_mut(&mut self.header, tag)
    }

    /// Where element 12 stands among the elements of the header; never inside a container.
    fn signature_index(&self) -> Option<usize> {
        let is_signature = |node: &Node| matches!(node, Node::Element { tag: TAG_SIGNATURE, .. });
        self.header.iter().position(is_signature)
    }

    fn offset_of_signature(&self) -> usize {
        let index = self.signature_index().unwrap_or(self.header.len());
        self.header[..index].iter().map(Node::length).sum()
    }
}

impl Node {
    /// The tag; `None` for padding.
    pub const fn tag(&self) -> Option<u8> {
        match self {
            Node::Padding => None,
            Node::Element { tag, .. } | Node::Container { tag, .. } => Some(*tag),
        }
    }

    /// Bytes that the node takes when written.
    fn length(&self) -> usize {
        match self {
            Node::Padding => 1,
            Node::Element { value, .. } => 3 + value.len(),
            Node::Container { nodes, .. } => 3 + nodes.iter().map(Node::length).sum::<usize>(),
        }
    }
}

fn header(bytes: &[u8]) -> Result<(Vec<Node>, usize), WireError> {
    let mut reader = Reader::new(bytes, 0);
    if reader.peek() != Some(1) {
        return Err(WireError::new("wrong tag", 0, "tag 1 (version) first"));
    }
    reader.element()?;
    let element = reader.element()?;
    if element.tag != TAG_HEADER_LENGTH {
        return Err(WireError::new("wrong tag", element.offset, "tag 2 (header length) second"));
    }
    let length = usize::from(u16::from_be_bytes(element.fixed()?));
    let inside =
        bytes.get(..length).filter(|inside| inside.len() >= reader.offset()).ok_or_else(|| {
            WireError {
                what: "header length out of range",
                offset: element.offset,
                expected: format!("{} to {}, not {length}", reader.offset(), bytes.len()).into(),
            }
        })?;
    // Containers nest at most as deep as there are container tags.
    Ok((nodes(Reader::new(inside, 0), CONTAINERS.len())?, length))
}

fn nodes(mut reader: Reader<'_>, depth: usize) -> Result<Vec<Node>, WireError> {
    let mut inside = Vec::new();
    while let Some(tag) = reader.peek() {
        if tag == TAG_PADDING {
            reader.byte("padding")?;
            inside.push(Node::Padding);
            continue;
        }
        let element = reader.element()?;
        if depth > 0 && CONTAINERS.contains(&tag) {
            let inner = Reader::new(element.value, element.offset + 3);
            inside.push(Node::Container { tag, nodes: nodes(inner, depth - 1)? });
        } else {
            inside.push(Node::Element { tag, value: element.value.to_vec() });
        }
    }
    Ok(inside)
}

fn write_nodes(nodes: &[Node], out: &mut Vec<u8>) -> Result<(), WireError> {
    for node in nodes {
        match node {
            Node::Padding => out.push(TAG_PADDING),
            Node::Element { tag, value } => {
                write_start(*tag, value.len(), out)?;
                out.extend_from_slice(value);
            }
            Node::Container { tag, nodes } => {
                write_start(*tag, nodes.iter().map(Node::length).sum(), out)?;
                write_nodes(nodes, out)?;
            }
        }
    }
    Ok(())
}

fn write_start(tag: u8, length: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
    let length = u16::try_from(length).map_err(|_| WireError {
        what: "element too long to write",
        offset: out.len(),
        expected: format!("at most 65535 bytes for tag {tag}, not {length}").into(),
    })?;
    out.push(tag);
    out.extend_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Writes the length of what starts at `start` into the element `tag` of it, if it has one of two
/// bytes.
fn set_length(out: &mut [u8], start: usize, nodes: &[Node], tag: u8) -> Result<(), WireError> {
    let too_long = |length: usize| WireError {
        what: "too long to write",
        offset: start,
        expected: format!("at most 65535 bytes, not {length}").into(),
    };
    let total = out.len() - start;
    let mut at = start;
    for node in nodes {
        match node {
            Node::Element { tag: found, value } if *found == tag && value.len() == 2 => {
                let length = u16::try_from(total).map_err(|_| too_long(total))?;
                out[at + 3..at + 5].copy_from_slice(&length.to_be_bytes());
                return Ok(());
            }
            node => at += node.length(),
        }
    }
    Ok(())
}

fn find_mut(nodes: &mut [Node], wanted: u8) -> Option<&mut Vec<u8>> {
    nodes.iter_mut().find_map(|node| match node {
        Node::Element { tag, value } if *tag == wanted => Some(value),
        Node::Container { nodes, .. } => find_mut(nodes, wanted),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HeaderOrder, HeaderSpec, RecordCertificate, RecordSpec};

    fn header_bytes() -> Vec<u8> {
        let spec = HeaderSpec {
            order: HeaderOrder::IssuerFirst,
            version: (1, 2),
            signer_version: Some((1, 1)),
            signer_name: "CN=pub",
            serial: &[0x83],
            issuer: "CN=ca",
            digest: 3,
            signature_length: 64,
            file_name: "ITLFile.tlv",
            timestamp: 1,
        };
        spec.encode().with_signature(&[9; 64])
    }

    fn list_bytes() -> Vec<u8> {
        let mut bytes = header_bytes();
        let spec = RecordSpec {
            dns_name: None,
            subject: "CN=pub",
            role: 0,
            issuer: "CN=ca",
            serial: &[0x83],
            public_key: &[1; 140],
            signature: Some(&[2; 128]),
            certificate: RecordCertificate::Hash { sha1: [3; 20], algorithm: 1 },
            address: None,
        };
        spec.encode(&mut bytes);
        bytes.extend_from_slice(&[1, 0, 2, 0, 9, 99, 0, 1, 7]);
        bytes
    }

    #[test]
    fn a_list_with_unknown_elements_is_written_as_it_was() {
        let bytes = list_bytes();
        let document = Document::parse_list(&bytes).unwrap();
        let Body::Records(records) = &document.body else { panic!("a list") };
        assert_eq!((records.len(), records[1].len()), (2, 2));
        assert_eq!(document.encode().unwrap(), bytes);
    }

    #[test]
    fn lengths_follow_an_edit() {
        let mut document = Document::parse_list(&list_bytes()).unwrap();
        *document.find_mut(4).unwrap() = b"CN=longer\0".to_vec();
        let Body::Records(records) = &mut document.body else { panic!("a list") };
        records.truncate(1);
        records[0].retain(|node| node.tag() != Some(8));
        document.pad().unwrap();
        let bytes = document.encode().unwrap();
        let file = crate::wire::SignedFile::parse(&bytes).unwrap();
        assert_eq!((file.header.signer_name, file.header.length % 4), ("CN=longer", 0));
        let offset = usize::from(file.header.length);
        let records: Vec<_> =
            crate::wire::Records::new(file.body, offset).collect::<Result<_, _>>().unwrap();
        assert_eq!((records.len(), records[0].signature), (1, &[][..]));
    }

    #[test]
    fn what_is_signed_is_what_the_parser_finds_signed() {
        let bytes = list_bytes();
        let file = crate::wire::SignedFile::parse(&bytes).unwrap();
        let mut covered = Vec::new();
        file.signed_bytes(&mut covered);
        let document = Document::parse_list(&bytes).unwrap();
        assert_eq!(document.to_be_signed(64).unwrap(), covered);
    }

    #[test]
    fn a_missing_signature_is_added_behind_the_signature_info() {
        let mut document = Document::parse_file(&header_bytes()).unwrap();
        document.header.retain(|node| node.tag() != Some(12));
        document.put_signature(vec![9; 64]);
        assert_eq!(document.encode().unwrap(), header_bytes());
    }

    #[test]
    fn a_signature_inside_a_container_is_not_the_signature() {
        let mut document = Document::parse_file(&header_bytes()).unwrap();
        let inner = Node::Element { tag: 12, value: vec![1; 9] };
        document.header.insert(2, Node::Container { tag: 12, nodes: vec![inner] });
        let at = document.header.iter().rposition(|node| node.tag() == Some(12)).unwrap();
        document.header.remove(at);
        document.header.retain(|node| node.tag() != Some(7));
        let covered = document.to_be_signed(64).unwrap();
        let mut signed = document.clone();
        signed.put_signature(vec![0; 64]);
        let whole = signed.encode().unwrap();
        assert_eq!(covered, whole[..whole.len() - 67], "the signature was added at the end");
    }

    #[test]
    fn an_element_past_its_container_is_refused() {
        let mut bytes = header_bytes();
        // Tag 3 starts at byte 15; its first inner element claims more than the container holds.
        assert_eq!((bytes[15], bytes[18]), (3, 4));
        bytes[20] = 200;
        let error = Document::parse_file(&bytes).unwrap_err();
        assert_eq!((error.what, error.offset), ("element runs past the end", 18));
    }

    #[test]
    fn padding_fills_to_four_bytes() {
        let mut document = Document::parse_file(&header_bytes()).unwrap();
        for extra in 0..4 {
            *document.find_mut(14).unwrap() = vec![b'a'; 4 + extra];
            document.pad().unwrap();
            let bytes = document.encode().unwrap();
            assert_eq!(bytes.len() % 4, 0);
            let padding = document.header.iter().filter(|node| **node == Node::Padding).count();
            assert!(padding < 4);
        }
    }

    #[test]
    fn too_long_parts_are_refused_by_the_writer() {
        let mut document = Document::parse_file(&header_bytes()).unwrap();
        *document.find_mut(14).unwrap() = vec![b'a'; 65_536];
        assert_eq!(document.encode().unwrap_err().what, "element too long to write");
        *document.find_mut(14).unwrap() = vec![b'a'; 65_535];
        assert_eq!(document.encode().unwrap_err().what, "too long to write");
    }
}
