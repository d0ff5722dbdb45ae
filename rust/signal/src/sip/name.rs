//! Names of header fields: their usual spelling, and compact forms (RFC 3261 §7.3.3, table of IANA).

use std::borrow::Cow;

/// Names whose spelling is known, sorted without regard to case.
pub const KNOWN: &[&str] = &[
    "Accept",
    "Accept-Contact",
    "Accept-Encoding",
    "Accept-Language",
    "Alert-Info",
    "Allow",
    "Allow-Events",
    "Authorization",
    "Call-ID",
    "Call-Info",
    "Contact",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "CSeq",
    "Date",
    "Diversion",
    "Event",
    "Expires",
    "From",
    "Geolocation",
    "History-Info",
    "Identity",
    "Identity-Info",
    "In-Reply-To",
    "Max-Forwards",
    "MIME-Version",
    "Min-Expires",
    "Min-SE",
    "Organization",
    "P-Access-Network-Info",
    "P-Asserted-Identity",
    "P-Called-Party-Id",
    "P-Charging-Vector",
    "P-Preferred-Identity",
    "Path",
    "Priority",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Require",
    "RAck",
    "Reason",
    "Record-Route",
    "Refer-To",
    "Referred-By",
    "Reject-Contact",
    "Remote-Party-ID",
    "Replaces",
    "Request-Disposition",
    "Require",
    "Retry-After",
    "Route",
    "RSeq",
    "Server",
    "Service-Route",
    "Session-Expires",
    "Session-ID",
    "Subject",
    "Subscription-State",
    "Supported",
    "Target-Dialog",
    "Timestamp",
    "To",
    "Unsupported",
    "User-Agent",
    "User-to-User",
    "Via",
    "Warning",
    "WWW-Authenticate",
];

const COMPACT: &[(u8, &str)] = &[
    (b'a', "Accept-Contact"),
    (b'b', "Referred-By"),
    (b'c', "Content-Type"),
    (b'd', "Request-Disposition"),
    (b'e', "Content-Encoding"),
    (b'f', "From"),
    (b'i', "Call-ID"),
    (b'j', "Reject-Contact"),
    (b'k', "Supported"),
    (b'l', "Content-Length"),
    (b'm', "Contact"),
    (b'n', "Identity-Info"),
    (b'o', "Event"),
    (b'r', "Refer-To"),
    (b's', "Subject"),
    (b't', "To"),
    (b'u', "Allow-Events"),
    (b'v', "Via"),
    (b'x', "Session-Expires"),
    (b'y', "Identity"),
];

/// The usual spelling of a header name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name<'a> {
    /// Index in [`KNOWN`].
    Known(usize),
    Other(Cow<'a, str>),
}

impl<'a> Name<'a> {
    /// The spelling of `name`, which is a token; compact forms become long.
    pub fn of(name: &'a [u8]) -> Self {
        if let [letter] = name
            && let Some((_, long)) = COMPACT.iter().find(|(short, _)| *short == letter.to_ascii_lowercase())
        {
            return Self::of(long.as_bytes());
        }
        let found = KNOWN.binary_search_by(|known| {
            let known = known.bytes().map(|byte| byte.to_ascii_lowercase());
            known.cmp(name.iter().map(u8::to_ascii_lowercase))
        });
        match found {
            Ok(index) => Self::Known(index),
            Err(_) => Self::Other(Cow::Owned(capitalised(name))),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(index) => KNOWN[*index],
            Self::Other(text) => text,
        }
    }
}

fn capitalised(name: &[u8]) -> String {
    let mut first = true;
    name.iter()
        .map(|&byte| {
            let byte = if first { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
            first = byte == b'-';
            char::from(byte)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_names_are_found_in_any_case() {
        for (index, name) in KNOWN.iter().enumerate() {
            assert_eq!(Name::of(name.to_ascii_uppercase().as_bytes()), Name::Known(index), "{name}");
        }
        for (short, long) in COMPACT {
            assert_eq!(Name::of(&[*short]).as_str(), *long);
        }
        assert_eq!(Name::of(b"x-new-ONE").as_str(), "X-New-One");
    }
}
