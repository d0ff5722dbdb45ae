//! The line that is wrong, and what would be right.

use std::borrow::Cow;

/// A description breaks a rule; `line` is the 1-based number of the line, 0 the whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct SdpError {
    pub line: usize,
    pub reason: Cow<'static, str>,
    /// The line, unless it holds a key or a password.
    pub text: String,
}

/// A value is not what it should be; the text says what would be right.
pub(crate) type Malformed = Cow<'static, str>;

/// The error of a value.
pub(crate) const fn malformed<T>(reason: &'static str) -> Result<T, Malformed> {
    Err(Cow::Borrowed(reason))
}
