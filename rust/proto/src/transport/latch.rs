//! Symmetric-RTP latching of one component: from where media is accepted, and where ours goes.
//!
//! The rules against RTP bleed: learn inside the window after an offer/answer only, once; the address of the SDP
//! outweighs another port of its host, and that any other host; with SRTP only authenticated packets teach.

use std::net::SocketAddr;

/// How well a source fits the SDP; a better one replaces a worse one inside the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Kept from before the last offer/answer; anything confirmed replaces it.
    Carried,
    OtherHost,
    SameHost,
    Exact,
}

/// What to do with a packet from some source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Where we send to anyway.
    Accept,
    /// Accept, and once it proved authentic call [`Latch::learn`].
    Learn,
    Refuse,
}

/// Latching state of RTP or of RTCP.
#[derive(Clone, Debug, Default)]
pub(super) struct Latch {
    signalled: Option<SocketAddr>,
    learned: Option<(SocketAddr, Fit)>,
}

impl Latch {
    /// A new offer/answer: what was learned for the same signalled address is kept until something confirms or replaces it.
    pub(super) fn rearm(&mut self, signalled: Option<SocketAddr>) {
        if self.signalled == signalled {
            if let Some((_, fit)) = &mut self.learned {
                *fit = Fit::Carried;
            }
        } else {
            self.learned = None;
        }
        self.signalled = signalled;
    }

    /// Where to send. Nowhere when the SDP gave no address: that is a hold of RFC 2543.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        let signalled = self.signalled?;
        Some(self.learned.map_or(signalled, |(address, _)| address))
    }

    /// What was learned, as opposed to signalled.
    pub(super) fn learned(&self) -> Option<SocketAddr> {
        self.learned.map(|(address, _)| address)
    }

    /// Judges a source. `open`: the window is open. `enabled`: latching is on at all.
    pub(super) fn judge(&self, source: SocketAddr, open: bool, enabled: bool) -> Verdict {
        if !enabled {
            // Some phones send from another port than they receive on; without latching that changes nothing.
            let same_host = self.signalled.is_some_and(|signalled| signalled.ip() == source.ip());
            return if same_host { Verdict::Accept } else { Verdict::Refuse };
        }
        let fit = self.fit(source);
        match self.learned {
            Some((address, Fit::Carried)) if address == source && open => Verdict::Learn,
            Some((address, _)) if address == source => Verdict::Accept,
            Some((_, learned)) if open && fit > learned => Verdict::Learn,
            Some(_) => Verdict::Refuse,
            // The signalled address itself needs no window.
            None if open || fit == Fit::Exact => Verdict::Learn,
            None => Verdict::Refuse,
        }
    }

    /// Latches to a source that [`Latch::judge`] said to learn; true when the destination changed by it.
    pub(super) fn learn(&mut self, source: SocketAddr) -> bool {
        let before = self.destination();
        self.learned = Some((source, self.fit(source)));
        before != self.destination()
    }

    /// Whether `source` fits the description better than `other`.
    pub(super) fn outweighs(&self, source: SocketAddr, other: SocketAddr) -> bool {
        self.fit(source) > self.fit(other)
    }

    fn fit(&self, source: SocketAddr) -> Fit {
        match self.signalled {
            Some(signalled) if signalled == source => Fit::Exact,
            Some(signalled) if signalled.ip() == source.ip() => Fit::SameHost,
            _ => Fit::OtherHost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn latch() -> Latch {
        let mut latch = Latch::default();
        latch.rearm(Some(address("10.0.0.5:4000")));
        latch
    }

    fn offer(latch: &mut Latch, source: &str, open: bool) -> Verdict {
        let verdict = latch.judge(address(source), open, true);
        if verdict == Verdict::Learn {
            latch.learn(address(source));
        }
        verdict
    }

    #[test]
    fn a_source_behind_nat_is_learned_once_inside_the_window() {
        let mut latch = latch();
        assert_eq!(offer(&mut latch, "203.0.113.9:6000", true), Verdict::Learn);
        assert_eq!(offer(&mut latch, "198.51.100.1:1", true), Verdict::Refuse);
        assert_eq!(offer(&mut latch, "203.0.113.9:6000", false), Verdict::Accept);
        assert_eq!(latch.destination(), Some(address("203.0.113.9:6000")));
    }

    #[test]
    fn outside_the_window_only_the_signalled_address_counts() {
        let mut latch = latch();
        assert_eq!(offer(&mut latch, "203.0.113.9:6000", false), Verdict::Refuse);
        assert_eq!(offer(&mut latch, "10.0.0.5:4000", false), Verdict::Learn);
        assert_eq!(offer(&mut latch, "10.0.0.5:4002", true), Verdict::Refuse);
    }

    #[test]
    fn the_signalled_address_takes_the_latch_back_inside_the_window() {
        let mut latch = latch();
        offer(&mut latch, "198.51.100.1:1", true);
        assert_eq!(offer(&mut latch, "10.0.0.5:4002", true), Verdict::Learn);
        assert_eq!(offer(&mut latch, "10.0.0.5:4000", true), Verdict::Learn);
        assert_eq!(offer(&mut latch, "198.51.100.1:1", true), Verdict::Refuse);
        assert_eq!(latch.destination(), Some(address("10.0.0.5:4000")));
    }

    #[test]
    fn a_new_offer_keeps_the_learned_source_until_another_proves_itself() {
        let mut latch = latch();
        offer(&mut latch, "203.0.113.9:6000", true);
        latch.rearm(Some(address("10.0.0.5:4000")));
        assert_eq!(latch.destination(), Some(address("203.0.113.9:6000")));
        assert_eq!(offer(&mut latch, "203.0.113.9:7000", true), Verdict::Learn, "its NAT gave it a new port");
        latch.rearm(Some(address("10.0.0.6:4000")));
        assert_eq!(latch.destination(), Some(address("10.0.0.6:4000")), "a new address is believed");
    }

    #[test]
    fn the_old_source_confirms_itself_after_a_new_offer() {
        let mut latch = latch();
        offer(&mut latch, "203.0.113.9:6000", true);
        latch.rearm(Some(address("10.0.0.5:4000")));
        assert_eq!(offer(&mut latch, "203.0.113.9:6000", true), Verdict::Learn);
        assert_eq!(offer(&mut latch, "198.51.100.1:1", true), Verdict::Refuse);
    }

    #[test]
    fn without_an_address_nothing_is_sent() {
        let mut latch = latch();
        offer(&mut latch, "10.0.0.5:4000", true);
        latch.rearm(None);
        assert_eq!(latch.destination(), None);
    }

    #[test]
    fn latching_switched_off_learns_nothing() {
        let latch = latch();
        assert_eq!(latch.judge(address("10.0.0.5:4002"), true, false), Verdict::Accept);
        assert_eq!(latch.judge(address("203.0.113.9:6000"), true, false), Verdict::Refuse);
    }
}
