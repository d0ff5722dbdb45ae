//! The header of a proxy (PROXY protocol version 2): what is asked for is bounded, and an address is the one in its place.
#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::stream::{MOST_PROXY_BYTES, PROXY_PREFIX_BYTES, ProxyError, proxy_prefix};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

fuzz_target!(|input: ([u8; PROXY_PREFIX_BYTES], bool, &[u8])| {
    let (mut prefix, signed, following) = input;
    if signed {
        prefix[..SIGNATURE.len()].copy_from_slice(SIGNATURE);
    }
    let [.., version, family, high, low] = prefix;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let header = match proxy_prefix(&prefix) {
        Ok(header) => header,
        Err(ProxyError::NoHeader) => return assert!(!prefix.starts_with(SIGNATURE) || version >> 4 != 2),
        Err(ProxyError::Unknown) => return assert!(version & 0x0f > 1),
        Err(ProxyError::Length) => return assert!(length > MOST_PROXY_BYTES),
    };
    assert!(prefix.starts_with(SIGNATURE) && header.following == length && length <= MOST_PROXY_BYTES);
    let Ok(Some(source)) = header.source(following) else { return };
    // A proxy that speaks for itself (LOCAL) names nobody.
    assert_eq!(version, 0x21);
    let (ip, port) = match family {
        0x11 => (IpAddr::from(<[u8; 4]>::try_from(&following[..4]).unwrap()), &following[8..10]),
        0x21 => (Ipv6Addr::from(<[u8; 16]>::try_from(&following[..16]).unwrap()).to_canonical(), &following[32..34]),
        other => panic!("an address of family {other:#x}"),
    };
    assert_eq!((source.ip(), source.port().to_be_bytes().as_slice()), (ip, port));
});
