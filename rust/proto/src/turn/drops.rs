//! Why a datagram was not relayed or a request refused, by name.

use crate::counted::counted;

counted! {
    /// Why the TURN server dropped a datagram or refused a request; every variant is a counter.
    TurnDrop;
    /// One counter for each [`TurnDrop`].
    TurnDrops;

    /// A first byte that is neither STUN's nor ChannelData's.
    Unclassified => "unclassified",
    /// A STUN message, an attribute or ChannelData that does not parse.
    Malformed => "malformed",
    /// A FINGERPRINT that does not match.
    Fingerprint => "fingerprint",
    /// A method or class that this server does not serve.
    Unsupported => "unsupported",
    /// An answer that was not sent: too many to one source prefix.
    AnswerLimited => "answer_limited",
    /// An answer that was not sent: too large for the request that asked for it.
    Amplification => "amplification",
    /// A request without MESSAGE-INTEGRITY: each client's first (401).
    Unauthenticated => "unauthenticated",
    /// An integrity attribute without what belongs to it, or with what cannot be (400).
    BadCredentials => "bad_credentials",
    /// USERNAME of more than 508 bytes (400).
    LongUsername => "long_username",
    /// Another realm (401).
    WrongRealm => "wrong_realm",
    /// A user that there is not (401).
    UnknownUser => "unknown_user",
    /// Time-limited credentials whose time is over (401).
    ExpiredCredentials => "expired_credentials",
    /// MESSAGE-INTEGRITY that does not verify (401).
    BadIntegrity => "bad_integrity",
    /// A nonce that was given once and is too old (438).
    StaleNonce => "stale_nonce",
    /// A nonce that was not given to this address (438).
    ForeignNonce => "foreign_nonce",
    /// The allocation is another user's (441).
    WrongUser => "wrong_user",
    /// Attributes that must be understood and are not, DONT-FRAGMENT among them (420).
    UnknownAttribute => "unknown_attribute",
    /// Attributes that are missing, contradict each other or have no such value (400).
    BadRequest => "bad_request",
    /// An allocation that should move between addresses, RFC 8016 (405).
    Mobility => "mobility",
    /// Relaying by another transport than UDP (442).
    Transport => "transport",
    /// A family of addresses that is not relayed (440).
    Family => "family",
    /// A peer of another family than the allocation's (443).
    PeerFamily => "peer_family",
    /// A second allocation for one 5-tuple, or none where there should be one (437).
    Mismatch => "mismatch",
    /// Too many allocations of one user (486).
    UserQuota => "user_quota",
    /// Too many allocations (508).
    TotalQuota => "total_quota",
    /// No relayed port is left, or the reserved one is gone (508).
    NoPort => "no_port",
    /// No more permissions or channels for this allocation (508).
    TableFull => "table_full",
    /// New allocations go elsewhere (300, or 508 where nobody else is known).
    Draining => "draining",
    /// A peer that is not for this server's users (403).
    PeerDenied => "peer_denied",
    /// A channel that names another peer, or a peer that has another channel (400).
    ChannelConflict => "channel_conflict",
    /// Data from a client without an allocation.
    NoAllocation => "no_allocation",
    /// ChannelData for a number that names nobody.
    NoChannel => "no_channel",
    /// Data to a peer without a permission.
    NoPermission => "no_permission",
    /// Data from a peer without a permission.
    UnpermittedPeer => "unpermitted_peer",
    /// Data for a relayed address that nobody has.
    NoRelay => "no_relay",
}
