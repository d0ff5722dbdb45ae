//! How the media of a SIP leg are protected: not at all, with keys of its descriptions, or with those of DTLS.

use super::dtls_srtp::{DtlsSrtp, DtlsTerms};
use super::srtp_pair::SrtpPair;
use crate::dtls::Identity;
use crate::io::SocketId;
use crate::srtp::SrtpKeys;
use crate::time::Time;

/// What offer and answer agreed on.
#[derive(Debug)]
pub(super) enum Protection {
    Plain,
    Sdes(Box<SrtpPair>),
    Dtls(Box<DtlsSrtp>),
}

/// What one packet is protected with.
pub(super) enum Keys<'a> {
    /// Nothing.
    None,
    Srtp(&'a mut SrtpPair),
    /// They are still to come, and until then nothing passes.
    Awaited,
}

impl Protection {
    /// What another offer and answer agreed on; an association, and a direction of SDES, that stays goes on.
    pub(super) fn update(
        &mut self,
        srtp: Option<SrtpKeys>,
        dtls: Option<(DtlsTerms, &Identity)>,
        rtp_socket: SocketId,
        now: Time,
    ) {
        *self = match (dtls, srtp, std::mem::replace(self, Protection::Plain)) {
            (Some((terms, _)), _, Protection::Dtls(old)) if old.is(&terms) => Protection::Dtls(old),
            (Some((terms, identity)), _, _) => {
                Protection::Dtls(Box::new(DtlsSrtp::new(identity.clone(), terms, rtp_socket, now)))
            }
            (None, Some(keys), Protection::Sdes(old)) => Protection::Sdes(Box::new(SrtpPair::rekeyed(*old, keys))),
            (None, Some(keys), _) => Protection::Sdes(Box::new(SrtpPair::new(keys))),
            (None, None, _) => Protection::Plain,
        };
    }

    /// For packets on the RTP port.
    pub(super) fn rtp(&mut self) -> Keys<'_> {
        match self {
            Protection::Plain => Keys::None,
            Protection::Sdes(srtp) => Keys::Srtp(srtp),
            Protection::Dtls(dtls) => dtls.rtp.srtp.as_mut().map_or(Keys::Awaited, Keys::Srtp),
        }
    }

    /// For RTCP; on a port of its own it has keys of its own where they come by DTLS (RFC 5764 §4.1).
    pub(super) fn rtcp(&mut self, on_rtp_port: bool) -> Keys<'_> {
        match self {
            Protection::Plain => Keys::None,
            Protection::Sdes(srtp) => Keys::Srtp(srtp),
            Protection::Dtls(dtls) => {
                let srtp = if on_rtp_port {
                    dtls.rtp.srtp.as_mut()
                } else {
                    dtls.rtcp.as_mut().and_then(|rtcp| rtcp.srtp.as_mut())
                };
                srtp.map_or(Keys::Awaited, Keys::Srtp)
            }
        }
    }

    /// All contexts, RTP's first.
    pub(super) fn pairs(&self) -> impl Iterator<Item = &SrtpPair> {
        let (rtp, rtcp) = match self {
            Protection::Plain => (None, None),
            Protection::Sdes(srtp) => (Some(&**srtp), None),
            Protection::Dtls(dtls) => (dtls.rtp.srtp.as_ref(), dtls.rtcp.as_ref().and_then(|rtcp| rtcp.srtp.as_ref())),
        };
        rtp.into_iter().chain(rtcp)
    }
}
