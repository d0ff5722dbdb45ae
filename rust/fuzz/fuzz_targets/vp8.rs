//! VP8 payload descriptors: what parses is the same when written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::codec::vp8::{Descriptor, MAX_DESCRIPTOR};

fuzz_target!(|payload: &[u8]| {
    let Some(descriptor) = Descriptor::parse(payload) else { return };
    assert!(usize::from(descriptor.len) <= payload.len().min(MAX_DESCRIPTOR));
    let mut out = [0; MAX_DESCRIPTOR];
    let len = descriptor.write(&mut out);
    let again = Descriptor::parse(&out[..usize::from(len)]).expect("a written descriptor parses");
    assert_eq!(Descriptor { len: descriptor.len, ..again }, descriptor);
});
