//! Peers of phones and trunks that a restarted Edge is to let in again: it is asked until it does.
//!
//! The Edge knows a port of a session only once the Core's control plane has had it opened again, which takes its own time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::io::Path;
use crate::time::Time;

/// Between two times that an Edge is asked for one peer.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often: five seconds long.
const MOST_ASKED: u8 = 25;
/// Peers asked for at one time; the others' turn comes first the next time.
const AT_ONCE: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Aims {
    /// With how often each may be asked for again; whose turn it is comes first.
    waiting: VecDeque<(Path, u8)>,
    due: Option<Time>,
    /// How many are left of this round.
    left: usize,
}

impl Aims {
    /// Asks for these from now on, beside those that are asked for already.
    pub(super) fn add(&mut self, paths: Vec<Path>, now: Time) {
        self.waiting.iter_mut().for_each(|(_, left)| *left = MOST_ASKED);
        self.waiting.extend(paths.into_iter().map(|path| (path, MOST_ASKED)));
        self.due = (!self.waiting.is_empty()).then_some(now);
    }

    /// The next one of those that are due; it is due again later until [`Aims::end`] is said of it.
    pub(super) fn take(&mut self, now: Time) -> Option<Path> {
        if self.left == 0 {
            self.due.filter(|&due| due <= now)?;
            self.waiting.retain(|(_, left)| *left > 0);
            self.left = self.waiting.len().min(AT_ONCE);
            self.due = (self.left > 0).then_some(now + ASK_EVERY);
        }
        self.left = self.left.checked_sub(1)?;
        let (path, left) = self.waiting.pop_front()?;
        self.waiting.push_back((path, left - 1));
        Some(path)
    }

    /// The Edge lets in the one that was taken last, or nobody wants that any more.
    pub(super) fn end(&mut self, path: Path) {
        self.waiting.pop_back_if(|(last, _)| *last == path);
    }

    /// When [`Aims::take`] has one.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SocketId;

    fn peer(number: u16) -> Path {
        Path { socket: SocketId::edge_port(0), remote: ([203, 0, 113, 9], number).into() }
    }

    fn round(aims: &mut Aims, ms: u64) -> Vec<u16> {
        std::iter::from_fn(|| aims.take(Time::from_millis(ms))).map(|path| path.remote.port()).collect()
    }

    #[test]
    fn each_is_asked_for_every_200_ms_until_it_is_let_in_or_five_seconds_are_over() {
        let mut aims = Aims::default();
        assert_eq!((aims.take(Time::ZERO), aims.poll_timeout()), (None, None));
        aims.add(vec![peer(1), peer(2)], Time::ZERO);
        assert_eq!(aims.take(Time::ZERO), Some(peer(1)));
        aims.end(peer(1));
        assert_eq!(round(&mut aims, 0), [2]);
        assert_eq!(round(&mut aims, 199), [0u16; 0]);
        assert_eq!(aims.poll_timeout(), Some(Time::from_millis(200)));
        let asked = (1..100).filter(|number| !round(&mut aims, number * 200).is_empty()).count();
        assert_eq!((asked, aims.poll_timeout()), (24, None));
    }

    #[test]
    fn who_is_asked_for_when_the_edge_is_restarted_again_has_as_long_as_others() {
        let mut aims = Aims::default();
        aims.add(vec![peer(1)], Time::ZERO);
        for number in 0..20 {
            assert_eq!(round(&mut aims, number * 200), [1]);
        }
        aims.add(vec![peer(2)], Time::from_millis(4_000));
        for number in 20..45 {
            assert_eq!(round(&mut aims, number * 200), [1, 2]);
        }
        assert_eq!(round(&mut aims, 9_000), [0u16; 0]);
    }

    #[test]
    fn of_many_all_have_their_turn() {
        let mut aims = Aims::default();
        let all: Vec<u16> = (1..=1_000).collect();
        aims.add(all.iter().map(|&number| peer(number)).collect(), Time::ZERO);
        let first = round(&mut aims, 0);
        assert_eq!(first.len(), AT_ONCE);
        let asked: std::collections::BTreeSet<u16> = first.into_iter().chain(round(&mut aims, 200)).collect();
        assert_eq!(asked.len(), all.len());
    }
}
