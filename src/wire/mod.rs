//! Bytes ↔ values: trust lists, signed and encrypted files, TVS and CAPF messages, TFTP packets,
//! phone configurations.
//!
//! No policy, no cryptography, no I/O. Readers borrow from their input, check every length before
//! use and answer bad input with a [`WireError`] that names the place.

mod attribute;
mod auth_mode;
pub mod ber;
pub mod capf;
mod config;
mod dialogue;
mod document;
mod encrypted;
mod file_name;
mod framing;
mod header;
mod name;
pub mod phone_page;
pub mod sip;
mod stub;
pub mod tftp;
mod tlv;
mod trust_list;
pub mod tvs;
pub mod uri;
mod url;

pub use auth_mode::AuthMode;
pub use config::{
    CapfServer, Config, ConfigError, ConfigNode, ConfigTemplate, ConfigValues, Enrolment,
    FilledConfig, LOCALE, RING_LIST, ServiceUrls, SipMember, TvsMember,
};
pub use dialogue::{Dialogue, DialogueRules, Security};
pub use document::{Body, Document, Node};
pub use encrypted::Encryption;
pub use file_name::{FileName, Seal};
pub use framing::Framing;
pub use header::{
    DIGEST_SHA1, DIGEST_SHA512, Header, HeaderOrder, HeaderPlaces, HeaderSpec, SignedFile,
    UnsignedHeader, modulus_id,
};
pub use name::{Name, name_key, same_name};
pub use stub::{StubError, stub_xml};
pub use tlv::{Element, Reader, WireError, put_element, put_text};
pub use trust_list::{
    HASH_SHA1, HASH_UNNAMED, ROLE_CALLMANAGER, ROLE_CALLMANAGER_TFTP, ROLE_CAPF, ROLE_SAST,
    ROLE_TFTP, ROLE_TVS, Record, RecordCertificate, RecordSpec, Records, put_blank_record,
};
pub use url::{Url, UrlError};
