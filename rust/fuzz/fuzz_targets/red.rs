//! Redundant audio: parsing never panics, no block lies outside the payload or over the packet itself, and rewritten
//! payload types leave the rest as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::codec::Codec;
use mediaserver_proto::codec::red::{Descriptor, MAX_REWRITTEN, RECENT};

fuzz_target!(|payload: &[u8]| {
    let Some(descriptor) = Descriptor::parse(payload, |_| Some(Codec::Opus)) else { return };
    assert!(usize::from(descriptor.start) <= payload.len());
    for back in 1..=RECENT {
        if let Some(earlier) = descriptor.earlier(back) {
            assert!(earlier.start + earlier.len <= descriptor.start);
        }
    }
    let mut out = [0; MAX_REWRITTEN];
    if let Some(len) = descriptor.write(99, &mut out) {
        let again = [&out[..usize::from(len)], &payload[usize::from(len)..]].concat();
        let again = Descriptor::parse(&again, |_| Some(Codec::Opus)).expect("what was written parses");
        assert_eq!(Descriptor { payload_type: descriptor.payload_type, ..again }, descriptor);
    }
});
