//! JSON of a list or message: whatever is built can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resetstorm::toolbox::assemble;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = serde_json::from_slice(bytes) {
        let _ = assemble(&value, None);
    }
});
