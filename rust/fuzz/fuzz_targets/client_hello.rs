//! The first message of a TLS client: what is known of a beginning stays so, however the rest comes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::stream::{MOST_HELLO_BYTES, client_hello};

fuzz_target!(|input: (&[u8], u16)| {
    let (bytes, cut) = input;
    let beginning = &bytes[..usize::from(cut).min(bytes.len())];
    let whole = client_hello(bytes);
    match client_hello(beginning) {
        Ok(None) => {}
        known => assert_eq!(known, whole),
    }
    // Nobody is waited for without an end.
    if let Ok(None) = whole {
        assert!(bytes.len() < MOST_HELLO_BYTES);
    }
});
