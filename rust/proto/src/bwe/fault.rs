//! Named reasons why a piece of feedback was not believed, and the counters that hold them.

use crate::counted::counted;

counted! {
    /// Why feedback, or a part of it, was not used; every variant is a counter `feedback.<name>`.
    Fault;
    /// One counter for each [`Fault`].
    Faults;

    /// About a packet that never left.
    NeverSent => "feedback_never_sent",
    /// About a packet so old that nothing is known of it any more.
    Forgotten => "feedback_forgotten",
    /// A packet reported once more that was reported as received.
    Repeated => "feedback_repeated",
    /// More packets than can be in flight; what is beyond was not looked at.
    TooLong => "feedback_too_long",
    /// Feedback that comes faster than any receiver has news; it was not looked at.
    TooOften => "feedback_too_often",
    /// Arrival times that run faster than time does, or backwards; what was known of the delay is thrown away.
    Impossible => "feedback_impossible",
    /// A receiver's estimate of less than the smallest that is of use; the smallest was taken.
    EstimateTooLow => "feedback_estimate_too_low",
}
