//! What was wrong with a message, and what to answer.

use std::borrow::Cow;

/// A message or one of its fields breaks the grammar; `status` is the code to answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ParseError {
    pub reason: Cow<'static, str>,
    pub status: u16,
}

impl ParseError {
    /// An error that is answered with 400.
    pub(crate) const fn new(reason: &'static str) -> Self {
        Self { reason: Cow::Borrowed(reason), status: 400 }
    }

    /// An error with a code of its own.
    pub(crate) const fn with_status(reason: &'static str, status: u16) -> Self {
        Self { reason: Cow::Borrowed(reason), status }
    }

    /// An error whose text says more than a constant can.
    pub(crate) const fn said(reason: String, status: u16) -> Self {
        Self { reason: Cow::Owned(reason), status }
    }
}
