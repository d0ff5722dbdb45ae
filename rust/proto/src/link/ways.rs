//! The two ways of a link: UDP, and a connection that passes where UDP is blocked, but comes late where it loses.
//!
//! UDP is asked first and always. While it does not answer, the other way is asked as well. Whoever came over the other way
//! goes back when UDP has answered several questions in a row; more of them after each time that UDP was lost again soon.

use std::time::Duration;

use super::seal::Nonce;
use crate::io::Path;
use crate::time::Time;

/// UDP may be silent for so long before the other way is asked: three hellos.
pub(super) const PATIENCE: Duration = Duration::from_millis(750);
/// Between two questions whether UDP passes again.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// So many in a row are to be answered, and so many at the most after UDP was lost again and again.
const ANSWERS: u32 = 3;
const MOST_ANSWERS: u32 = 64;
/// UDP that lasts for so long is not lost again soon.
const LASTS: Duration = Duration::from_secs(60);

/// How frames go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// In datagrams of their own.
    #[default]
    Udp,
    /// Over the TLS connection for frames.
    Tls,
}

impl Way {
    /// As operators read it.
    pub const fn name(self) -> &'static str {
        match self {
            Way::Udp => "udp",
            Way::Tls => "tls",
        }
    }
}

/// A question by UDP while frames go over TLS.
#[derive(Debug, Default)]
struct Trial {
    next: Time,
    /// Of the question that is not answered yet.
    open: Option<Nonce>,
    /// Answers in a row.
    answers: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ways {
    udp: Path,
    tls: Option<Path>,
    /// The way of the session, or of the last one.
    taken: Way,
    /// Since when hellos are not answered.
    asked_since: Option<Time>,
    trial: Trial,
    wanted_answers: u32,
    /// When UDP was taken after TLS.
    returned_at: Option<Time>,
}

impl Ways {
    pub(super) fn new(udp: Path, tls: Option<Path>) -> Ways {
        Ways {
            udp,
            tls,
            taken: Way::Udp,
            asked_since: None,
            trial: Trial::default(),
            wanted_answers: ANSWERS,
            returned_at: None,
        }
    }

    /// The way by which something came.
    pub(super) fn of(&self, from: Path) -> Option<Way> {
        if from == self.udp { Some(Way::Udp) } else { (self.tls == Some(from)).then_some(Way::Tls) }
    }

    /// The way of the session, or of the last one.
    pub(super) fn taken(&self) -> Way {
        self.taken
    }

    /// Where a hello that is not answered yet goes: by UDP, and by TLS where UDP was silent for long, or was so before.
    pub(super) fn asked(&mut self, now: Time) -> impl Iterator<Item = Path> + use<> {
        let since = *self.asked_since.get_or_insert(now);
        let is_late = self.taken == Way::Tls || now.since(since) >= PATIENCE;
        [Some(self.udp), self.tls.filter(|_| is_late)].into_iter().flatten()
    }

    /// Frames go by `way` from now on; whether they went by another one before.
    pub(super) fn take(&mut self, way: Way, now: Time) -> bool {
        self.asked_since = None;
        let before = std::mem::replace(&mut self.taken, way);
        if before == way {
            return false;
        }
        match way {
            Way::Udp => self.returned_at = Some(now),
            Way::Tls => {
                let is_soon = self.returned_at.is_some_and(|at| now.since(at) < LASTS);
                self.wanted_answers = if is_soon { (self.wanted_answers * 2).min(MOST_ANSWERS) } else { ANSWERS };
                self.trial = Trial { next: now + TRY_EVERY, ..Trial::default() };
            }
        }
        true
    }

    /// When UDP is to be tried.
    pub(super) fn trial_due(&self) -> Option<Time> {
        (self.taken == Way::Tls).then_some(self.trial.next)
    }

    /// Begins a question with `nonce`; one that is still open was not answered.
    pub(super) fn begin_trial(&mut self, nonce: Nonce, now: Time) -> Path {
        if self.trial.open.replace(nonce).is_some() {
            self.trial.answers = 0;
        }
        self.trial.next = now + TRY_EVERY;
        self.udp
    }

    /// UDP answered the question with `nonce`. `None` when there is no such question; else whether it answered often enough.
    pub(super) fn answer_trial(&mut self, nonce: &Nonce) -> Option<bool> {
        self.trial.open.take_if(|open| open == nonce)?;
        self.trial.answers += 1;
        Some(self.trial.answers >= self.wanted_answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SocketId;

    const UDP: Path = Path { socket: SocketId(1), remote: std::net::SocketAddr::V4(ADDRESS) };
    const TLS: Path = Path { socket: SocketId(2), ..UDP };
    const ADDRESS: std::net::SocketAddrV4 = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 1);

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn asked(ways: &mut Ways, now: Time) -> Vec<Path> {
        ways.asked(now).collect()
    }

    /// Tries until UDP has answered often enough; how many questions it took.
    fn returns(ways: &mut Ways) -> u32 {
        (1..1000)
            .find(|&number| {
                let due = ways.trial_due().unwrap();
                ways.begin_trial([number as u8; 16], due);
                ways.answer_trial(&[number as u8; 16]).unwrap()
            })
            .unwrap()
    }

    #[test]
    fn tls_is_asked_when_udp_was_silent_for_long_and_at_once_where_it_was_so_before() {
        let mut ways = Ways::new(UDP, Some(TLS));
        assert_eq!(asked(&mut ways, at(5)), [UDP]);
        assert_eq!(asked(&mut ways, at(754)), [UDP]);
        assert_eq!(asked(&mut ways, at(755)), [UDP, TLS]);
        assert!(ways.take(Way::Tls, at(800)));
        assert_eq!(asked(&mut ways, at(60_000)), [UDP, TLS]);
        assert!(ways.take(Way::Udp, at(60_010)));
        assert_eq!(asked(&mut ways, at(90_000)), [UDP]);
        let mut alone = Ways::new(UDP, None);
        assert_eq!((asked(&mut alone, at(0)), asked(&mut alone, at(9_000))), (vec![UDP], vec![UDP]));
    }

    #[test]
    fn an_answer_that_is_missing_begins_the_row_again() {
        let mut ways = Ways::new(UDP, Some(TLS));
        ways.take(Way::Tls, at(0));
        for nonce in [1, 2] {
            ways.begin_trial([nonce; 16], at(0));
            assert_eq!(ways.answer_trial(&[nonce; 16]), Some(false));
            assert_eq!(ways.answer_trial(&[nonce; 16]), None);
        }
        ways.begin_trial([3; 16], at(0));
        ways.begin_trial([4; 16], at(0));
        assert_eq!(ways.answer_trial(&[3; 16]), None);
        assert_eq!(ways.answer_trial(&[4; 16]), Some(false));
    }

    #[test]
    fn udp_that_is_lost_again_soon_has_to_answer_more_often_and_after_a_minute_no_more() {
        let mut ways = Ways::new(UDP, Some(TLS));
        let mut wanted = Vec::new();
        for round in 0..7 {
            ways.take(Way::Tls, at(round * 10_000));
            wanted.push(returns(&mut ways));
            ways.take(Way::Udp, at(round * 10_000));
        }
        assert_eq!(wanted, [3, 6, 12, 24, 48, 64, 64]);
        ways.take(Way::Tls, at(6 * 10_000 + 60_000));
        assert_eq!(returns(&mut ways), 3);
    }
}
