//! Telephone events: what parses is the same when written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::codec::telephone_event::TelephoneEvent;

fuzz_target!(|payload: &[u8]| {
    if let Some(event) = TelephoneEvent::parse(payload) {
        assert_eq!(TelephoneEvent::parse(&event.to_bytes()), Some(event));
    }
});
