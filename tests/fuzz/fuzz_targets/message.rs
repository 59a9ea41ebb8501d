//! TVS and CAPF messages: parse, typed parts, written again, JSON and back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resetstorm::toolbox::{assemble, inspect};
use resetstorm::wire::{capf, tvs};

fuzz_target!(|bytes: &[u8]| {
    let _ = (tvs::Request::parse(bytes), tvs::Response::parse(bytes));
    if let Ok(message) = tvs::Message::parse(bytes) {
        assert_eq!(message.encode(), bytes);
    }
    if let Ok(message) = capf::Message::parse(bytes) {
        assert_eq!(message.encode(), bytes);
        let _ = (message.certificate(), message.device_name(), message.reason());
        for element in &message.elements {
            let _ = capf::HashedProof::parse(element).map(|proof| proof.encode());
            let _ = capf::Sudi::parse(element).map(|sudi| sudi.encode());
        }
    }
    if let Ok(found) = inspect(bytes, &Default::default())
        && matches!(found.value["kind"].as_str(), Some("tvs" | "capf"))
    {
        assert_eq!(assemble(&found.value, None).unwrap(), bytes);
    }
});
