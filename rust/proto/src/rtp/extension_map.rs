//! Which header extension ids mean what on one transport (RFC 8285 §5: one map per BUNDLE group).

/// A header extension that this project knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionKind {
    /// m-line identification.
    Mid,
    /// Stream identification.
    Rid,
    /// Stream that a repair packet belongs to.
    RepairedRid,
    /// Absolute send time.
    AbsSendTime,
    /// Transport-wide sequence number.
    TransportSequence,
    /// Client-to-mixer audio level.
    AudioLevel,
    /// Transmission time offset.
    TransmissionOffset,
    /// Coordination of video orientation.
    VideoOrientation,
    /// Playout delay limits.
    PlayoutDelay,
    /// AV1 dependency descriptor.
    DependencyDescriptor,
}

impl ExtensionKind {
    /// Every kind, in the order of their discriminants.
    pub const ALL: [ExtensionKind; 10] = [
        ExtensionKind::Mid,
        ExtensionKind::Rid,
        ExtensionKind::RepairedRid,
        ExtensionKind::AbsSendTime,
        ExtensionKind::TransportSequence,
        ExtensionKind::AudioLevel,
        ExtensionKind::TransmissionOffset,
        ExtensionKind::VideoOrientation,
        ExtensionKind::PlayoutDelay,
        ExtensionKind::DependencyDescriptor,
    ];

    /// The URI in `a=extmap`.
    pub const fn uri(self) -> &'static str {
        match self {
            ExtensionKind::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            ExtensionKind::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            ExtensionKind::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            ExtensionKind::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            ExtensionKind::TransportSequence => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            ExtensionKind::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            ExtensionKind::TransmissionOffset => "urn:ietf:params:rtp-hdrext:toffset",
            ExtensionKind::VideoOrientation => "urn:3gpp:video-orientation",
            ExtensionKind::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            ExtensionKind::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
        }
    }

    /// The kind of a URI; `None` for one that this project does not know.
    pub fn from_uri(uri: &str) -> Option<ExtensionKind> {
        ExtensionKind::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// Why an extension id cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionMapError {
    /// Ids 0 and above 255 are not representable; 15 only ends a one-byte list.
    #[error("header extension id {0} is not between 1 and 255, or is 15")]
    Id(u16),
    /// RFC 8843 §14: an id keeps its meaning for the life of the transport.
    #[error("header extension id {0} already stands for another URI")]
    Reused(u16),
}

/// Ids of the known extensions of one transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionMap {
    ids: [u8; ExtensionKind::ALL.len()],
}

impl ExtensionMap {
    /// Binds `id` to `uri`; a URI that is not known is accepted and ignored.
    pub fn set(&mut self, id: u16, uri: &str) -> Result<(), ExtensionMapError> {
        let small = u8::try_from(id).map_err(|_| ExtensionMapError::Id(id))?;
        if small == 0 || small == 15 {
            return Err(ExtensionMapError::Id(id));
        }
        let kind = ExtensionKind::from_uri(uri);
        if self.kind(small).is_some_and(|other| Some(other) != kind) {
            return Err(ExtensionMapError::Reused(id));
        }
        if let Some(kind) = kind {
            self.ids[kind as usize] = small;
        }
        Ok(())
    }

    /// The id of a kind; `None` when it was not negotiated.
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        Some(self.ids[kind as usize]).filter(|&id| id != 0)
    }

    /// The kind of an id.
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        if id == 0 {
            return None;
        }
        self.ids.iter().position(|&known| known == id).map(|index| ExtensionKind::ALL[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_by_kind_and_a_kind_by_id() {
        let mut map = ExtensionMap::default();
        map.set(3, "urn:ietf:params:rtp-hdrext:sdes:mid").unwrap();
        map.set(4, "urn:example:unknown").unwrap();
        assert_eq!(map.id(ExtensionKind::Mid), Some(3));
        assert_eq!(map.kind(3), Some(ExtensionKind::Mid));
        assert_eq!(map.kind(4), None);
        assert_eq!(map.id(ExtensionKind::Rid), None);
    }

    #[test]
    fn an_id_never_changes_its_meaning() {
        let mut map = ExtensionMap::default();
        map.set(3, ExtensionKind::Mid.uri()).unwrap();
        map.set(3, ExtensionKind::Mid.uri()).unwrap();
        assert_eq!(map.set(3, ExtensionKind::Rid.uri()), Err(ExtensionMapError::Reused(3)));
        assert_eq!(map.set(0, ExtensionKind::Rid.uri()), Err(ExtensionMapError::Id(0)));
        assert_eq!(map.set(15, ExtensionKind::Rid.uri()), Err(ExtensionMapError::Id(15)));
    }

    #[test]
    fn every_kind_is_found_by_its_uri() {
        for (index, kind) in ExtensionKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(ExtensionKind::from_uri(kind.uri()), Some(kind));
        }
    }
}
