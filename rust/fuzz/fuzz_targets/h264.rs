//! H.264 payloads, STAP-A and FU-A included: looking for the start of a keyframe never panics, and an empty payload is none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::codec::h264::starts_keyframe;

fuzz_target!(|payload: &[u8]| {
    assert!(!(payload.is_empty() && starts_keyframe(payload)));
});
