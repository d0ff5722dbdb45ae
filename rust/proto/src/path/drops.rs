//! Named reasons why an Edge used a datagram or a frame for nothing.

use crate::counted::counted;

counted! {
    /// Why an Edge dropped a visitor's datagram or a Core's frame; every variant is a counter `drop.<name>`.
    EdgeDrop;
    /// One counter for each [`EdgeDrop`].
    EdgeDrops;

    /// From a source without a path, and no STUN Binding request with a user name.
    NoPath => "edge_no_path",
    /// A check whose ufrag is not of our shape.
    ForeignToken => "edge_foreign_token",
    /// A ufrag signed by a key that this Edge does not hold.
    UnknownKey => "edge_unknown_key",
    /// A ufrag whose signature is wrong.
    ForgedToken => "edge_forged_token",
    /// A ufrag whose time is over.
    ExpiredToken => "edge_expired_token",
    /// A ufrag of a session that has ended.
    RevokedToken => "edge_revoked_token",
    /// A valid ufrag of a Core to which there is no link now.
    NoLink => "edge_no_link",
    /// A new source for a session that has as many unproven ones as it may.
    SessionFull => "edge_session_full",
    /// A new source from a network with as many unproven ones as it may have.
    PrefixFull => "edge_prefix_full",
    /// A new source while the table is full.
    TableFull => "edge_table_full",
    /// A check for one session from a source that belongs to another.
    PathTaken => "edge_path_taken",
    /// A visitor sends more than the Core has granted.
    Policed => "edge_policed",
    /// A datagram that does not fit into a frame.
    TooLarge => "edge_too_large",
    /// A datagram while the link of its path is down.
    LinkDown => "edge_link_down",
    /// A frame from an address that no link has proven.
    UnprovenLink => "edge_unproven_link",
    /// A frame that does not parse, or of a kind that an Edge does not take.
    MalformedFrame => "edge_malformed_frame",
    /// A frame for a path that never was.
    UnknownPath => "edge_unknown_path",
    /// A frame for a path that is gone.
    LatePath => "edge_late_path",
    /// A frame for a path of another link.
    ForeignPath => "edge_foreign_path",
    /// A control frame whose tag is wrong.
    ForgedControl => "edge_forged_control",
    /// A control frame that came before.
    ReplayedControl => "edge_replayed_control",
    /// From a source that was not named for the port, after the time in which others may come in its place.
    PortStranger => "edge_port_stranger",
    /// A frame for a port that is not open.
    UnknownPort => "edge_unknown_port",
    /// A hello for a link that nobody announced.
    UnknownLink => "edge_unknown_link",
    /// A hello whose tag is wrong.
    ForgedHello => "edge_forged_hello",
    /// A hello with a cookie that is not ours, too old, older than one that was used, or of another address.
    StaleHello => "edge_stale_hello",
}
