//! XOR-MAPPED-ADDRESS and its relatives (RFC 8489 §14.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::MAGIC_COOKIE;
use super::message::TransactionId;

const FAMILY_V4: u8 = 1;
const FAMILY_V6: u8 = 2;

/// Reads an XORed address; `None` when family or length is wrong.
pub(super) fn read_xor(value: &[u8], transaction: TransactionId) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([p0, p1]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match family {
        FAMILY_V4 => {
            let bits = u32::from_be_bytes(address.try_into().ok()?);
            IpAddr::V4(Ipv4Addr::from_bits(bits ^ MAGIC_COOKIE))
        }
        FAMILY_V6 => {
            let bits = u128::from_be_bytes(address.try_into().ok()?);
            IpAddr::V6(Ipv6Addr::from_bits(bits ^ mask_v6(transaction)))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Writes an XORed address; returns the buffer and how much of it is used.
pub(super) fn write_xor(address: SocketAddr, transaction: TransactionId) -> ([u8; 20], usize) {
    let mut value = [0u8; 20];
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    value[2..4].copy_from_slice(&port.to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            value[1] = FAMILY_V4;
            value[4..8].copy_from_slice(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes());
            (value, 8)
        }
        IpAddr::V6(ip) => {
            value[1] = FAMILY_V6;
            value[4..20].copy_from_slice(&(ip.to_bits() ^ mask_v6(transaction)).to_be_bytes());
            (value, 20)
        }
    }
}

/// Writes an address as MAPPED-ADDRESS has it (RFC 8489 §14.1).
pub(super) fn write_plain(address: SocketAddr) -> ([u8; 20], usize) {
    let mut value = [0u8; 20];
    value[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            value[1] = FAMILY_V4;
            value[4..8].copy_from_slice(&ip.octets());
            (value, 8)
        }
        IpAddr::V6(ip) => {
            value[1] = FAMILY_V6;
            value[4..20].copy_from_slice(&ip.octets());
            (value, 20)
        }
    }
}

/// Magic cookie and transaction id side by side.
fn mask_v6(transaction: TransactionId) -> u128 {
    let mut mask = [0u8; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction.0);
    u128::from_be_bytes(mask)
}
