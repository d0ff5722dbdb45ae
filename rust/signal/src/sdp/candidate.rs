//! ICE candidates (RFC 8839 §5.1).

use super::error::{Malformed, malformed};
use super::grammar::{digits, is_host, words};

const MAX_PARTS: usize = 64;

/// A candidate; the address may be an mDNS name that is never resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub foundation: &'a str,
    pub component: u64,
    /// Lower case.
    pub transport: String,
    pub priority: u64,
    pub address: &'a str,
    pub port: u16,
    pub kind: &'a str,
    /// Name and value pairs behind the type.
    pub extensions: Vec<(&'a str, &'a str)>,
}

impl<'a> Candidate<'a> {
    /// Read the value of a candidate attribute; an error says what would be right.
    pub fn parse(value: &'a str) -> Result<Self, Malformed> {
        let parts: Vec<&str> = words(value).take(MAX_PARTS + 1).collect();
        if parts.len() < 8 || parts.len() > MAX_PARTS || parts[6] != "typ" || !is_host(parts[4]) {
            return malformed(
                "a candidate is <foundation> <component> <transport> <priority> <address> <port> typ <type>",
            );
        }
        let (Some(component), Some(priority), Some(port)) = (digits(parts[1]), digits(parts[3]), digits(parts[5]))
        else {
            return malformed("a number of the candidate is out of range");
        };
        let Ok(port) = u16::try_from(port) else { return malformed("a number of the candidate is out of range") };
        Ok(Self {
            foundation: parts[0],
            component,
            transport: parts[2].to_lowercase(),
            priority,
            address: parts[4],
            port,
            kind: parts[7],
            extensions: parts[8..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(),
        })
    }
}
