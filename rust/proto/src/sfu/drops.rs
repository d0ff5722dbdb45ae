//! Named reasons for which the media side drops a packet, and their counters.

use crate::counted::counted;

counted! {
    /// Why a media packet was not forwarded; every variant is a counter `drop.<name>`.
    MediaDrop;
    /// One counter for each [`MediaDrop`].
    MediaDropCounters;

    /// Not RTP (RFC 3550 §5.1).
    Malformed => "media_malformed",
    /// No such transport.
    UnknownTransport => "media_unknown_transport",
    /// An SSRC that neither SDP, nor `mid`, nor a unique payload type binds to a track.
    UnknownSsrc => "unknown_ssrc",
    /// A layer that was not negotiated, or an SSRC of a simulcast track that names none.
    UnknownRid => "unknown_rid",
    /// SSRC 0, which browsers use to probe bandwidth before media.
    Probe => "probe",
    /// More SSRCs than a transport may have.
    SsrcLimit => "ssrc_limit",
    /// A payload type that the track did not negotiate.
    UnknownPayloadType => "unknown_payload_type",
    /// A retransmission for a layer without an SSRC, or of a payload type that the track does not have.
    RtxUnbound => "rtx_unbound",
    /// A retransmission without an original packet in it: padding.
    RtxPadding => "rtx_padding",
    /// The same sequence number again.
    Duplicate => "duplicate",
    /// Older than the receive window.
    TooOld => "too_old",
    /// First packet after a jump of the sequence; the next one in order is believed.
    SequenceJump => "sequence_jump",
    /// The track has a newer SSRC that is alive.
    SupersededSsrc => "superseded_ssrc",
    /// The `consent` gate is closed.
    GateConsent => "gate_consent",
    /// The `mute` gate is closed.
    GateMute => "gate_mute",
    /// The `queued` gate is closed.
    GateQueued => "gate_queued",
    /// The `permission` gate is closed.
    GatePermission => "gate_permission",
    /// Padding without payload; the receiver's sequence is closed up.
    PaddingOnly => "padding_only",
    /// A payload descriptor that is cut short, of a format that cannot be forwarded without.
    MalformedDescriptor => "malformed_descriptor",
    /// A dependency descriptor that names a template of a structure that has not come.
    UnknownTemplate => "unknown_template",
    /// A telephone event with more than an event, or cut short.
    MalformedEvent => "malformed_event",
    /// The receiver's track is not active.
    DownInactive => "down_inactive",
    /// The receiver's target says pause.
    DownPaused => "down_paused",
    /// The receiver hears a clip.
    DownPlaying => "down_playing",
    /// The receiver negotiated no payload type for the codec.
    DownNoPayloadType => "down_no_payload_type",
    /// A frame above the receiver's temporal layer.
    DownTemporal => "down_temporal",
    /// The receiver waits for a keyframe.
    DownAwaitsKeyframe => "down_awaits_keyframe",
    /// From before the receiver's current source.
    DownOldStream => "down_old_stream",
    /// Too late for the receiver's sequence.
    DownTooLate => "down_too_late",
    /// Its place in the receiver's sequence is taken.
    DownDuplicate => "down_duplicate",
    /// The receiver is being sent DTMF digits instead.
    DownSendingDtmf => "down_sending_dtmf",
    /// A receiver misses what is not remembered any more, or cannot be sent again.
    NackUnknown => "nack_unknown",
    /// A receiver misses what it no longer needs: the line was full, and it went over to another layer.
    NackAbandoned => "nack_abandoned",
    /// A receiver asks again before the answer can have come, or too often.
    NackRepeated => "nack_repeated",
    /// A receiver asks for more than its share of retransmissions, or for too much at once.
    NackLimit => "nack_limit",
    /// A receiver asks for a keyframe of a screen while one waits for its turn on its line.
    KeyframeUnderWay => "keyframe_under_way",
    /// A receiver asks for keyframes faster than any receiver needs them.
    KeyframeRequestLimit => "keyframe_request_limit",
    /// A packet of a layer that the receiver is not given.
    DownOtherLayer => "down_other_layer",
    /// Transport-wide feedback of a peer that was sent nothing it could be about.
    FeedbackUnexpected => "feedback_unexpected",
    /// A packet that has waited for its turn until its payload was gone.
    PacedTooLate => "paced_too_late",
    /// RTCP that does not parse.
    RtcpMalformed => "rtcp_malformed",
    /// Feedback about an SSRC that is not ours.
    RtcpUnknownSsrc => "rtcp_unknown_ssrc",
    /// A report on a report of ours that is to have come before ours went, or a minute later: no round trip.
    RtcpImpossibleTime => "rtcp_impossible_time",
    /// The event queue towards the control plane is full.
    EventOverflow => "event_overflow",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_and_a_counter_of_its_own() {
        let mut counters = MediaDropCounters::default();
        for &reason in MediaDrop::ALL {
            counters.count(reason);
            assert_eq!(counters.get(reason), 1);
        }
        let names: std::collections::HashSet<_> = counters.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), MediaDrop::ALL.len());
    }
}
