//! The header that a proxy puts before a connection to say whose it is: PROXY protocol version 2 (haproxy.org,
//! proxy-protocol.txt §2.2). Version 1, which is text, is not spoken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// Bytes before the addresses: whoever has them knows how many follow.
pub const PROXY_PREFIX_BYTES: usize = 16;
/// Addresses and what a proxy says beside them may be so long; they are at most 216 bytes without that.
pub const MOST_PROXY_BYTES: usize = 2_048;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2: u8 = 0x20;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const UNSPECIFIED: u8 = 0x00;
const TCP_4: u8 = 0x11;
const TCP_6: u8 = 0x21;

/// Why a connection of a proxy does not begin as it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyError {
    /// Something else than the header.
    #[error("the first bytes are no PROXY header of version 2")]
    NoHeader,
    /// A command or an address family that no visitor has.
    #[error("the PROXY header is of an unknown kind")]
    Unknown,
    /// More than [`MOST_PROXY_BYTES`] follow, or fewer than the addresses take.
    #[error("the length in the PROXY header is wrong")]
    Length,
}

/// The part of the header that says what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyPrefix {
    command: u8,
    family: u8,
    /// Bytes that follow before the visitor's own.
    pub following: usize,
}

/// Reads the first bytes of a connection. They are judged as a whole: a proxy sends its header at once (§2).
pub fn proxy_prefix(bytes: &[u8; PROXY_PREFIX_BYTES]) -> Result<ProxyPrefix, ProxyError> {
    let (signature, rest) = bytes.split_at(SIGNATURE.len());
    let [version, family, high, low] = rest else { return Err(ProxyError::NoHeader) };
    if signature != SIGNATURE || version & 0xf0 != VERSION_2 {
        return Err(ProxyError::NoHeader);
    }
    let (command, following) = (version & 0x0f, usize::from(u16::from_be_bytes([*high, *low])));
    if command > PROXY {
        return Err(ProxyError::Unknown);
    }
    if following > MOST_PROXY_BYTES {
        return Err(ProxyError::Length);
    }
    Ok(ProxyPrefix { command, family: *family, following })
}

impl ProxyPrefix {
    /// Whose connection it is, from the bytes that follow; `None` where the proxy speaks for itself, to see that we live.
    pub fn source(&self, following: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
        if self.command == LOCAL || self.family == UNSPECIFIED {
            return Ok(None);
        }
        let address = match self.family {
            TCP_4 => following.first_chunk::<12>().map(|bytes| {
                let [a, b, c, d, _, _, _, _, high, low, _, _] = *bytes;
                (IpAddr::from(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes([high, low]))
            }),
            TCP_6 => following.first_chunk::<36>().and_then(|bytes| {
                let ip = Ipv6Addr::from(*bytes.first_chunk::<16>()?);
                Some((ip.to_canonical(), u16::from_be_bytes([bytes[32], bytes[33]])))
            }),
            _ => return Err(ProxyError::Unknown),
        };
        address.map(|address| Some(address.into())).ok_or(ProxyError::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(version: u8, family: u8, length: u16) -> [u8; PROXY_PREFIX_BYTES] {
        let mut bytes = [0; PROXY_PREFIX_BYTES];
        bytes[..12].copy_from_slice(&SIGNATURE);
        bytes[12..14].copy_from_slice(&[version, family]);
        bytes[14..].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    #[test]
    fn a_visitors_address_is_told() {
        let four = proxy_prefix(&prefix(0x21, 0x11, 12)).unwrap();
        assert_eq!(four.following, 12);
        let addresses = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        assert_eq!(four.source(&addresses), Ok(Some("203.0.113.9:4711".parse().unwrap())));

        let six = proxy_prefix(&prefix(0x21, 0x21, 40)).unwrap();
        let mut addresses = [0; 40];
        addresses[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        addresses[32..34].copy_from_slice(&443u16.to_be_bytes());
        assert_eq!(six.source(&addresses), Ok(Some("[2001:db8::7]:443".parse().unwrap())));
        addresses[..16].copy_from_slice(&"::ffff:203.0.113.9".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(six.source(&addresses), Ok(Some("203.0.113.9:443".parse().unwrap())), "IPv4 is IPv4");
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        assert_eq!(proxy_prefix(&prefix(0x20, 0, 0)).unwrap().source(&[]), Ok(None));
        assert_eq!(proxy_prefix(&prefix(0x20, 0x11, 12)).unwrap().source(&[1; 12]), Ok(None));
        assert_eq!(proxy_prefix(&prefix(0x21, 0, 9)).unwrap().source(&[0; 9]), Ok(None));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let cases = [
            (prefix(0x11, 0x11, 12), ProxyError::NoHeader),
            (prefix(0x31, 0x11, 12), ProxyError::NoHeader),
            (*b"PROXY TCP4 192.0", ProxyError::NoHeader),
            ([0x16; 16], ProxyError::NoHeader),
            (prefix(0x22, 0x11, 12), ProxyError::Unknown),
            (prefix(0x21, 0x11, 2_049), ProxyError::Length),
            (prefix(0x21, 0x11, u16::MAX), ProxyError::Length),
        ];
        for (bytes, error) in cases {
            assert_eq!(proxy_prefix(&bytes), Err(error), "{bytes:02x?}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for (family, bytes, error) in [
            (0x11, 11, ProxyError::Length),
            (0x21, 35, ProxyError::Length),
            (0x12, 12, ProxyError::Unknown),
            (0x22, 36, ProxyError::Unknown),
            (0x31, 216, ProxyError::Unknown),
            (0xff, 36, ProxyError::Unknown),
        ] {
            let prefix = proxy_prefix(&prefix(0x21, family, bytes)).unwrap();
            assert_eq!(prefix.source(&vec![0; usize::from(bytes)]), Err(error), "{family:02x}");
        }
    }
}
