//! SIP: framing, messages, registrations and answers; what is read is written again and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resetstorm::wire::sip::{Contact, Registered, SipMessage, frame, parse_answer};

fuzz_target!(|bytes: &[u8]| {
    let _ = frame(bytes);
    let Ok(message) = SipMessage::parse(bytes) else { return };
    let written = message.encode();
    assert_eq!(SipMessage::parse(&written).as_ref(), Ok(&message));
    let _ = (Contact::of(&message), parse_answer(bytes, 1));
    let answer = Registered::Ok { expires_s: 60 }.encode(&message, None);
    assert!(bytes.len() > 4_096 || SipMessage::parse(&answer).is_ok());
});
