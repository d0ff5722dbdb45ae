//! Decimal numbers with bounds, and CSeq.

use std::borrow::Cow;

use super::ParseError;
use super::text::{is_token, trim, words};

const MAX_DIGITS: usize = 32;
const MAX_CSEQ: u64 = (1 << 31) - 1;

/// A non-negative decimal number of at most `maximum`; `what` names it in the error.
pub fn number(text: &[u8], what: &str, maximum: u64) -> Result<u64, ParseError> {
    let text = trim(text);
    if text.is_empty() || text.len() > MAX_DIGITS || !text.iter().all(u8::is_ascii_digit) {
        return Err(ParseError { reason: Cow::Owned(format!("{what} is not a number")), status: 400 });
    }
    let value = text.iter().fold(0_u128, |value, &digit| value * 10 + u128::from(digit - b'0'));
    match u64::try_from(value) {
        Ok(value) if value <= maximum => Ok(value),
        _ => Err(ParseError::said(format!("{what} is above {maximum}"), 400)),
    }
}

/// CSeq as number, below 2^31 (RFC 3261 §8.1.1.5), and method.
pub fn cseq(text: &[u8]) -> Result<(u64, &[u8]), ParseError> {
    let mut parts = words(text);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(value), Some(method), None) if is_token(method) => Ok((number(value, "CSeq", MAX_CSEQ)?, method)),
        _ => Err(ParseError::new("CSeq is not a number and a method")),
    }
}
