//! SRTP of both directions of a SIP media leg, with the keys to tell whether they change.

use crate::srtp::{Inbound, MasterKey, Outbound, SrtpKeys};

/// Contexts of both directions under their keys.
#[derive(Debug)]
pub(super) struct SrtpPair {
    local: MasterKey,
    remote: MasterKey,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
}

impl SrtpPair {
    /// Contexts that nothing was sent or received under.
    pub(super) fn new(keys: SrtpKeys) -> SrtpPair {
        SrtpPair {
            inbound: Inbound::new(&keys.remote),
            outbound: Outbound::new(&keys.local),
            local: keys.local,
            remote: keys.remote,
        }
    }

    /// Contexts of `keys`; a direction whose key did not change keeps its own: its indices must go on (RFC 3711 §9.1).
    pub(super) fn rekeyed(old: SrtpPair, keys: SrtpKeys) -> SrtpPair {
        let inbound = (old.remote == keys.remote).then_some(old.inbound);
        let outbound = (old.local == keys.local).then_some(old.outbound);
        SrtpPair {
            inbound: inbound.unwrap_or_else(|| Inbound::new(&keys.remote)),
            outbound: outbound.unwrap_or_else(|| Outbound::new(&keys.local)),
            local: keys.local,
            remote: keys.remote,
        }
    }
}
