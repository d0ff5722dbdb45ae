//! Messages of RFC 3261: heads, lists, parameters, addresses, Via and URIs. Values stay as they came on the wire.

mod address;
mod error;
mod head;
mod list;
mod name;
mod number;
mod text;
mod uri;
mod via;

pub use address::NameAddr;
pub use error::ParseError;
pub use head::{Field, Head, Limits, Start};
pub use list::{is_quoted, params, split, unquoted};
pub use name::{KNOWN, Name};
pub use number::{cseq, number};
pub use text::is_token;
pub use uri::{HostPort, SipUri, Uri};
pub use via::Via;

/// Parameters in order; `None` is a parameter without a value.
pub type Params<'a> = Vec<(&'a [u8], Option<&'a [u8]>)>;
