//! Channel protocol messages: what parses is the same when written and read again. The screen only looks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::sctp::{Dcep, screen::screen};

fuzz_target!(|message: &[u8]| {
    let _ = screen(message, 1024);
    let Some(parsed) = Dcep::parse(message) else { return };
    let mut written = Vec::new();
    parsed.write(&mut written);
    assert_eq!(Dcep::parse(&written), Some(parsed));
});
