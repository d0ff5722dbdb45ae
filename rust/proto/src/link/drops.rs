//! Named reasons why a Core used a frame or a datagram for nothing.

use crate::counted::counted;

counted! {
    /// Why a Core dropped an Edge's frame, or a datagram for a visitor; every variant is a counter `drop.<name>`.
    LinkDrop;
    /// One counter for each [`LinkDrop`].
    LinkDrops;

    /// A datagram from another address than the Edge's.
    ForeignSource => "link_foreign_source",
    /// A frame that does not parse, or of a kind that a Core does not take.
    MalformedFrame => "link_malformed_frame",
    /// A frame for a path that this Core does not know.
    UnknownPath => "link_unknown_path",
    /// A control frame whose tag is wrong, or that answers no hello of ours.
    ForgedControl => "link_forged_control",
    /// A control frame that came before.
    ReplayedControl => "link_replayed_control",
    /// A path beyond those that a link may have.
    PathLimit => "link_path_limit",
    /// A datagram of a visitor or for one before the Edge has welcomed us.
    Down => "link_down",
    /// A frame from a port that no transport has any more.
    NoPort => "link_no_port",
    /// A datagram for a visitor to whom no path leads.
    NoPath => "link_no_path",
    /// A datagram that does not fit into a frame.
    TooLarge => "link_too_large",
}
