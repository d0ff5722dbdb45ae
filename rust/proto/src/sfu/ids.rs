//! Names of transports and tracks, chosen by the control plane, and a map keyed by them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
    };
}

id! {
    /// A transport of this shard.
    TransportId
}
id! {
    /// A track that a peer publishes, on this shard or another.
    UpTrackId
}
id! {
    /// A track that a peer of this shard receives.
    DownTrackId
}
id! {
    /// A clip loaded for playing.
    ClipId
}

/// A map keyed by one of the ids. The ids come from our own control plane, so a fast hash without a seed will do.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Multiplies and folds; see [`IdMap`].
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let product = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}
