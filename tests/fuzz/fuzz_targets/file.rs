//! Signed and encrypted files: parse, what is signed, envelope sizes; written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resetstorm::toolbox::{inspect, to_text};
use resetstorm::wire::{Document, SignedFile};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(found) = inspect(bytes, &Default::default()) {
        let _ = to_text(&found.value);
    }
    let Ok(file) = SignedFile::parse(bytes) else { return };
    let mut covered = Vec::new();
    file.signed_bytes(&mut covered);
    assert_eq!(covered.len() + 3 + file.header.signature.len(), bytes.len());
    if let Ok(encryption) = file.encryption()
        && encryption.check(file.body.len()).is_ok()
    {
        assert!(usize::from(encryption.padding) <= file.body.len());
    }
    if let Ok(document) = Document::parse_file(bytes) {
        assert_eq!(document.encode().unwrap(), bytes);
    }
});
