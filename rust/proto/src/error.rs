//! Named reasons why a datagram was not used, and the counters that hold them.

use std::fmt;

use crate::counted::counted;

counted! {
    /// Why the transport side dropped a datagram; every variant is a counter `drop.<name>`.
    Drop;
    /// One counter for each [`Drop`].
    DropCounters;

    /// Empty datagram, or a first byte that RFC 7983 gives to nobody.
    Unclassified => "unclassified",
    /// STUN whose header or attributes do not parse.
    StunMalformed => "stun_malformed",
    /// STUN with a FINGERPRINT that does not match.
    StunFingerprint => "stun_fingerprint",
    /// STUN method or class that this path does not serve.
    StunUnsupported => "stun_unsupported",
    /// Binding request without the attributes that ICE needs.
    StunIncomplete => "stun_incomplete",
    /// Binding request for a local ufrag that is not (or no longer) ours.
    StunUnknownUfrag => "stun_unknown_ufrag",
    /// A local ufrag whose own signature is wrong: forged or of another installation.
    StunForgedUfrag => "stun_forged_ufrag",
    /// MESSAGE-INTEGRITY that does not verify.
    StunBadIntegrity => "stun_bad_integrity",
    /// Response to no challenge of ours, or from another path than the challenged one.
    StunUnknownTransaction => "stun_unknown_transaction",
    /// The peer refused our challenge.
    StunErrorResponse => "stun_error_response",
    /// A new tuple while the table of unproven tuples is full.
    TupleTableFull => "tuple_table_full",
    /// DTLS, RTP or RTCP from a tuple without a valid STUN check.
    UnboundTuple => "unbound_tuple",
    /// DTLS before the remote description, beyond the few datagrams that are held.
    DtlsEarly => "dtls_early",
    /// DTLS after the association ended.
    DtlsClosed => "dtls_closed",
    /// DTLS application data on a transport that agreed on no data channels.
    DtlsApplicationData => "dtls_application_data",
    /// More SCTP packets a second than one transport may send.
    SctpPacketRate => "sctp_packet_rate",
    /// SCTP data on a stream beyond those that were offered.
    SctpStreamOutOfRange => "sctp_stream_out_of_range",
    /// A message in fragments of a few bytes.
    SctpTinyFragment => "sctp_tiny_fragment",
    /// A payload protocol identifier that data channels do not use.
    SctpUnknownPpid => "sctp_unknown_ppid",
    /// A message from or to a stream that is no open channel.
    SctpUnknownChannel => "sctp_unknown_channel",
    /// A message larger than its receiver takes.
    SctpMessageTooLarge => "sctp_message_too_large",
    /// A text message that is not UTF-8.
    SctpTextNotUtf8 => "sctp_text_not_utf8",
    /// A channel protocol message that does not parse.
    DcepMalformed => "dcep_malformed",
    /// An OPEN on a stream in use or of the wrong parity, or an ACK that answers nothing.
    DcepUnexpected => "dcep_unexpected",
    /// An OPEN beyond the channels that a transport may have.
    DataChannelLimit => "data_channel_limit",
    /// A message to a channel with too much waiting.
    DataChannelFull => "data_channel_full",
    /// A message to a transport with too much waiting on all its channels.
    DataTransportFull => "data_transport_full",
    /// RTP or RTCP before keys exist.
    SrtpNoKeys => "srtp_no_keys",
    /// RTP or RTCP whose header does not parse.
    RtpMalformed => "rtp_malformed",
    /// Authentication failed.
    SrtpAuthentication => "srtp_authentication",
    /// Index seen before.
    SrtpReplayed => "srtp_replayed",
    /// Index older than the replay window.
    SrtpTooOld => "srtp_too_old",
    /// More SSRCs than one transport may have.
    SrtpTooManySsrcs => "srtp_too_many_ssrcs",
    /// Plain media on a leg that negotiated SRTP or before the remote description.
    RtpNoRemote => "rtp_no_remote",
    /// RTP or RTCP from an address that is neither negotiated nor latched.
    UnexpectedSource => "unexpected_source",
    /// Real-time text under a payload type that was not agreed on, or whose blocks do not parse.
    TextFormat => "text_format",
    /// A report beside real-time text that does not parse.
    TextReport => "text_report",
    /// A packet of text whose turn is over: a copy, or one that was made up for.
    TextLate => "text_late",
    /// A packet of text that was lost and is shown as a mark.
    TextLost => "text_lost",
    /// A block of text that is not UTF-8.
    TextNotUtf8 => "text_not_utf8",
    /// A character for a phone with too much text waiting.
    TextOverflow => "text_overflow",
    /// The transport is closed.
    TransportClosed => "transport_closed",
}

impl fmt::Display for Drop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
