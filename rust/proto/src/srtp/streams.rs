//! Per-SSRC packet indices of one direction, in a bounded sorted table.

use super::SrtpError;
use super::replay::ReplayWindow;

/// Highest indices of one SSRC, for export and import (architecture: state is data).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamIndices {
    /// Whose indices they are.
    pub ssrc: u32,
    /// Highest 48-bit SRTP index used.
    pub rtp: Option<u64>,
    /// Highest 31-bit SRTCP index used.
    pub rtcp: Option<u32>,
}

/// Windows of one SSRC.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    pub(super) rtp: ReplayWindow,
    pub(super) rtcp: ReplayWindow,
}

/// All SSRCs of one direction.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    limit: usize,
    /// Sorted; the place of an SSRC here is the place of its windows there.
    ssrcs: Vec<u32>,
    streams: Vec<Stream>,
}

impl Streams {
    pub(super) fn new(limit: usize) -> Streams {
        Streams { limit, ssrcs: Vec::new(), streams: Vec::new() }
    }

    pub(super) fn get(&self, ssrc: u32) -> Option<&Stream> {
        self.ssrcs.binary_search(&ssrc).ok().map(|at| &self.streams[at])
    }

    /// Refuses an SSRC that would be one too many, before any cipher work is done for it.
    pub(super) fn check_room(&self, ssrc: u32) -> Result<(), SrtpError> {
        if self.ssrcs.len() < self.limit || self.ssrcs.binary_search(&ssrc).is_ok() {
            Ok(())
        } else {
            Err(SrtpError::TooManySsrcs)
        }
    }

    /// The windows of an SSRC, made when it is new; it allocates then only.
    pub(super) fn entry(&mut self, ssrc: u32) -> Result<&mut Stream, SrtpError> {
        match self.ssrcs.binary_search(&ssrc) {
            Ok(at) => Ok(&mut self.streams[at]),
            Err(_) if self.ssrcs.len() >= self.limit => Err(SrtpError::TooManySsrcs),
            Err(at) => {
                self.ssrcs.insert(at, ssrc);
                self.streams.insert(at, Stream::default());
                Ok(&mut self.streams[at])
            }
        }
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = StreamIndices> + '_ {
        self.ssrcs.iter().zip(&self.streams).map(|(&ssrc, stream)| StreamIndices {
            ssrc,
            rtp: stream.rtp.highest(),
            rtcp: stream.rtcp.highest().map(|index| index as u32),
        })
    }

    /// Takes over exported indices: everything up to them counts as used.
    pub(super) fn restore(&mut self, indices: StreamIndices) -> Result<(), SrtpError> {
        let stream = self.entry(indices.ssrc)?;
        if let Some(index) = indices.rtp {
            stream.rtp = ReplayWindow::restored(index);
        }
        if let Some(index) = indices.rtcp {
            stream.rtcp = ReplayWindow::restored(u64::from(index));
        }
        Ok(())
    }
}
