//! Named reasons why a record did not leave the pacer.

use crate::counted::counted;

counted! {
    /// Why a record was dropped; every variant is a counter `pacer.<name>`.
    PacerDrop;
    /// One counter for each [`PacerDrop`].
    PacerDrops;

    /// More records wait than may.
    QueueFull => "pacer_queue_full",
    /// More bytes wait than may.
    TooManyBytes => "pacer_too_many_bytes",
    /// It has waited longer than it is of use.
    Stale => "pacer_stale",
    /// Its picture goes on with another layer, which it would only hold up.
    Abandoned => "pacer_abandoned",
}
