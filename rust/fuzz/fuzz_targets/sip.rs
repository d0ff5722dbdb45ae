//! SIP heads and fields: reading never panics, fields keep within the bounds, and every part of a list is a part of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_signal::sip::{Head, Limits, NameAddr, Uri, Via, cseq, number, params, split, unquoted};

const LIMITS: Limits = Limits { headers: 32, header_bytes: 512 };

fn read_field(value: &[u8]) {
    let _ = (cseq(value), number(value, "number", 255), Uri::parse(value), unquoted(value));
    for separator in [b',', b';'] {
        if let Ok(parts) = split(value, separator) {
            assert!(parts.iter().map(|part| part.len() + 1).sum::<usize>() <= value.len() + 1);
            let _ = params(parts.iter().copied());
            for part in parts {
                let _ = (NameAddr::parse(part), Via::parse(part));
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    read_field(data);
    if let Ok(head) = Head::parse(data, LIMITS) {
        assert!(head.fields.len() <= LIMITS.headers);
        for field in &head.fields {
            assert!(field.value.len() <= LIMITS.header_bytes);
            assert!(!field.value.contains(&b'\n'));
            read_field(&field.value);
        }
    }
});
