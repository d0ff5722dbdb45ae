//! Behaviour of the ICE agent on virtual time, against a hand-driven full agent.

use std::time::Duration;

use super::*;
use crate::error::Drop;
use crate::io::{Path, SocketId, TransmitQueue};
use crate::stun::{Class, Message, TransactionId, Writer, attribute, method};
use crate::time::Time;

struct Browser {
    credentials: LocalCredentials,
    next: u8,
}

impl Browser {
    fn new() -> Browser {
        Browser { credentials: LocalCredentials::from_parts("brow".into(), "browserbrowserbrowser1".into()), next: 0 }
    }

    fn remote(&self) -> RemoteCredentials {
        RemoteCredentials::new(self.credentials.ufrag(), self.credentials.password())
    }

    fn check(&mut self, server: &LocalCredentials, use_candidate: bool) -> Vec<u8> {
        self.check_with(server.ufrag(), server.password(), use_candidate, None)
    }

    fn check_with(&mut self, ufrag: &str, password: &str, use_candidate: bool, nomination: Option<u32>) -> Vec<u8> {
        self.next += 1;
        let mut bytes = Vec::new();
        let username = format!("{ufrag}:{}", self.credentials.ufrag());
        let mut writer = Writer::new(&mut bytes, Class::Request, method::BINDING, TransactionId([self.next; 12]))
            .username(username.as_bytes())
            .attribute(attribute::ICE_CONTROLLING, &[1; 8])
            .priority(1);
        if use_candidate {
            writer = writer.attribute(attribute::USE_CANDIDATE, &[]);
        }
        if let Some(number) = nomination {
            writer = writer.attribute(attribute::NOMINATION, &number.to_be_bytes());
        }
        writer.integrity(RemoteCredentials::new(ufrag, password).key()).fingerprint();
        bytes
    }

    /// Answers every request of ours that `out` holds for `path`.
    fn answers(&self, out: &TransmitQueue, path: Path) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        for entry in out.entries().iter().filter(|entry| entry.path == path) {
            let message = Message::parse(out.datagram(entry)).unwrap();
            if message.class() == Class::Request {
                assert_eq!(message.receiver_ufrag(), Some(self.credentials.ufrag().as_bytes()));
                assert!(message.verify_integrity(self.credentials.key()));
                let mut bytes = Vec::new();
                Writer::new(&mut bytes, Class::Success, method::BINDING, message.transaction())
                    .xor_mapped_address("192.0.2.1:10000".parse().unwrap())
                    .integrity(self.credentials.key())
                    .fingerprint();
                answers.push(bytes);
            }
        }
        answers
    }
}

fn path(port: u16) -> Path {
    Path { socket: SocketId(0), remote: format!("192.0.2.9:{port}").parse().unwrap() }
}

fn local() -> LocalCredentials {
    LocalCredentials::new("serverufrag".into(), &[3; 18])
}

fn agent() -> Agent {
    Agent::new(local(), &[5; 32])
}

fn give(agent: &mut Agent, from: Path, bytes: &[u8], now: Time, out: &mut TransmitQueue) -> Result<(), Drop> {
    agent.handle_message(from, &Message::parse(bytes).unwrap(), now, out)
}

/// A check from `from`, and the answer to our challenge when `answer`.
fn prove(agent: &mut Agent, browser: &mut Browser, from: Path, use_candidate: bool, now: Time) {
    let mut out = TransmitQueue::default();
    let check = browser.check(&agent.local().clone(), use_candidate);
    give(agent, from, &check, now, &mut out).unwrap();
    for answer in browser.answers(&out, from) {
        give(agent, from, &answer, now, &mut TransmitQueue::default()).unwrap();
    }
}

fn connected() -> (Agent, Browser) {
    let (mut agent, mut browser) = (agent(), Browser::new());
    agent.set_remote(browser.remote(), Time::ZERO, &mut TransmitQueue::default());
    prove(&mut agent, &mut browser, path(1), false, Time::ZERO);
    assert_eq!(agent.selected(), Some(path(1)));
    (agent, browser)
}

fn events(agent: &mut Agent) -> Vec<IceEvent> {
    std::iter::from_fn(|| agent.poll_event()).collect()
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

#[test]
fn a_check_is_answered_with_the_address_it_came_from() {
    let (mut agent, mut browser) = (agent(), Browser::new());
    let mut out = TransmitQueue::default();
    let check = browser.check(&local(), false);
    give(&mut agent, path(1), &check, Time::ZERO, &mut out).unwrap();
    assert_eq!(out.len(), 1, "no remote credentials yet, so no challenge");
    let answer = Message::parse(out.datagram(&out.entries()[0])).unwrap();
    assert_eq!(answer.class(), Class::Success);
    assert_eq!(answer.xor_mapped_address(), Some(path(1).remote));
    assert!(answer.verify_integrity(local().key()));
    assert!(out.bytes().len() <= check.len(), "an answer is no longer than the check");
    assert_eq!(events(&mut agent), [IceEvent::Bound(path(1))]);
}

#[test]
fn unauthenticated_checks_get_no_answer_and_are_counted_by_name() {
    let (mut agent, mut browser) = (agent(), Browser::new());
    let mut out = TransmitQueue::default();
    let foreign = browser.check_with("other", local().password(), false, None);
    assert_eq!(give(&mut agent, path(1), &foreign, Time::ZERO, &mut out), Err(Drop::StunUnknownUfrag));
    let forged = browser.check_with(local().ufrag(), "wrong", false, None);
    assert_eq!(give(&mut agent, path(1), &forged, Time::ZERO, &mut out), Err(Drop::StunBadIntegrity));
    assert!(out.is_empty() && !agent.is_bound(path(1)));
}

#[test]
fn a_tuple_is_selected_only_after_it_answered_our_challenge() {
    let (mut agent, mut browser) = (agent(), Browser::new());
    let mut out = TransmitQueue::default();
    agent.set_remote(browser.remote(), Time::ZERO, &mut out);
    let check = browser.check(&local(), true);
    give(&mut agent, path(1), &check, Time::ZERO, &mut out).unwrap();
    assert_eq!(agent.selected(), None, "a nomination alone proves nothing");
    let answers = browser.answers(&out, path(1));
    assert_eq!(answers.len(), 1);
    let elsewhere = give(&mut agent, path(2), &answers[0], at(20), &mut TransmitQueue::default());
    assert_eq!(elsewhere, Err(Drop::StunUnknownTransaction));
    assert_eq!(agent.selected(), None);
    give(&mut agent, path(1), &answers[0], at(20), &mut TransmitQueue::default()).unwrap();
    assert_eq!(agent.selected(), Some(path(1)));
    assert_eq!(agent.round_trip(), Some(Duration::from_millis(20)));
    assert_eq!(events(&mut agent), [IceEvent::Bound(path(1)), IceEvent::Proven(path(1)), IceEvent::Selected(path(1))]);
}

#[test]
fn an_answer_with_the_wrong_password_proves_nothing() {
    let (mut agent, mut browser) = (agent(), Browser::new());
    let mut out = TransmitQueue::default();
    agent.set_remote(browser.remote(), Time::ZERO, &mut out);
    let check = browser.check(&local(), false);
    give(&mut agent, path(1), &check, Time::ZERO, &mut out).unwrap();
    let mut forger = Browser::new();
    forger.credentials = browser.credentials.clone();
    let answers = forger.answers(&out, path(1));
    let mut forged = Vec::new();
    let transaction = Message::parse(&answers[0]).unwrap().transaction();
    Writer::new(&mut forged, Class::Success, method::BINDING, transaction).integrity(local().key()).fingerprint();
    let result = give(&mut agent, path(1), &forged, at(1), &mut TransmitQueue::default());
    assert_eq!(result, Err(Drop::StunBadIntegrity));
    assert_eq!(agent.selected(), None);
}

#[test]
fn checks_before_the_description_are_challenged_once_it_comes() {
    let (mut agent, mut browser) = (agent(), Browser::new());
    let check = browser.check(&local(), false);
    give(&mut agent, path(1), &check, Time::ZERO, &mut TransmitQueue::default()).unwrap();
    let mut out = TransmitQueue::default();
    agent.set_remote(browser.remote(), at(300), &mut out);
    let answers = browser.answers(&out, path(1));
    assert_eq!(answers.len(), 1);
    give(&mut agent, path(1), &answers[0], at(320), &mut TransmitQueue::default()).unwrap();
    assert_eq!(agent.selected(), Some(path(1)));
}

#[test]
fn a_challenge_is_repeated_with_backoff_and_given_up() {
    let (mut agent, mut browser) = (agent(), Browser::new());
    let mut out = TransmitQueue::default();
    agent.set_remote(browser.remote(), Time::ZERO, &mut out);
    let check = browser.check(&local(), false);
    give(&mut agent, path(1), &check, Time::ZERO, &mut out).unwrap();
    let mut sent = vec![];
    while agent.poll_timeout() < at(30_000) && agent.is_bound(path(1)) {
        let now = agent.poll_timeout();
        out.clear();
        agent.handle_timeout(now, &mut out);
        if !out.is_empty() {
            sent.push(now.as_millis());
        }
    }
    assert_eq!(sent, [100, 300, 700, 1500, 3100, 4700]);
    assert!(!agent.is_bound(path(1)), "an unproven tuple is forgotten after 10 s");
}

#[test]
fn a_nomination_moves_media_and_an_older_renomination_does_not() {
    let (mut agent, mut browser) = connected();
    prove(&mut agent, &mut browser, path(2), false, at(10));
    assert_eq!(agent.selected(), Some(path(1)), "proven alone does not move media");
    let mut out = TransmitQueue::default();
    let check = browser.check_with(local().ufrag(), local().password(), true, Some(2));
    give(&mut agent, path(2), &check, at(20), &mut out).unwrap();
    assert_eq!(agent.selected(), Some(path(2)));
    let old = browser.check_with(local().ufrag(), local().password(), true, Some(1));
    give(&mut agent, path(1), &old, at(30), &mut out).unwrap();
    assert_eq!(agent.selected(), Some(path(2)));
}

#[test]
fn media_on_a_proven_tuple_moves_the_path_and_on_an_unproven_one_does_not() {
    let (mut agent, mut browser) = connected();
    let check = browser.check(&local(), false);
    give(&mut agent, path(2), &check, at(10), &mut TransmitQueue::default()).unwrap();
    agent.heard_media(path(2), at(20));
    assert_eq!(agent.selected(), Some(path(1)));
    prove(&mut agent, &mut browser, path(3), false, at(30));
    agent.heard_media(path(3), at(40));
    assert_eq!(agent.selected(), Some(path(3)));
}

#[test]
fn media_in_flight_does_not_undo_a_fresh_nomination() {
    let (mut agent, mut browser) = connected();
    prove(&mut agent, &mut browser, path(2), true, at(10));
    assert_eq!(agent.selected(), Some(path(2)));
    agent.heard_media(path(1), at(60));
    assert_eq!(agent.selected(), Some(path(2)));
    agent.heard_media(path(1), at(1200));
    assert_eq!(agent.selected(), Some(path(1)));
}

#[test]
fn unproven_tuples_are_bounded_and_evict_no_proven_one() {
    let (mut agent, mut browser) = connected();
    let mut out = TransmitQueue::default();
    let mut refused = 0;
    for port in 100..110 {
        let check = browser.check(&local(), false);
        refused += usize::from(give(&mut agent, path(port), &check, at(10), &mut out) == Err(Drop::TupleTableFull));
    }
    assert_eq!(refused, 6);
    assert!(agent.is_bound(path(1)));
    let check = browser.check(&local(), false);
    assert_eq!(give(&mut agent, path(200), &check, at(3000), &mut out), Ok(()), "silent unproven ones give way");
    assert_eq!(agent.paths().count(), 5);
}

#[test]
fn proven_tuples_are_bounded_and_the_selected_one_stays() {
    let (mut agent, mut browser) = connected();
    for port in 2..40 {
        prove(&mut agent, &mut browser, path(port), false, at(u64::from(port)));
    }
    assert_eq!(agent.paths().count(), 8);
    assert_eq!(agent.selected(), Some(path(1)));
    assert!(agent.is_bound(path(1)) && agent.is_bound(path(39)));
}

#[test]
fn consent_ends_30_s_after_the_last_valid_message_and_not_before() {
    let (mut agent, mut browser) = connected();
    let mut out = TransmitQueue::default();
    let check = browser.check(&local(), false);
    give(&mut agent, path(1), &check, at(5000), &mut out).unwrap();
    events(&mut agent);
    let mut now = Time::ZERO;
    let mut expired_at = None;
    while agent.poll_timeout() != Time::FAR_FUTURE {
        now = agent.poll_timeout().max(now);
        agent.handle_timeout(now, &mut out);
        if events(&mut agent).contains(&IceEvent::ConsentExpired) {
            expired_at = Some(now);
            break;
        }
    }
    assert_eq!(expired_at, Some(at(35_000)));
}

#[test]
fn a_peer_that_stops_checking_but_answers_ours_stays() {
    let (mut agent, browser) = connected();
    let mut out = TransmitQueue::default();
    while agent.poll_timeout() < at(120_000) {
        let now = agent.poll_timeout();
        out.clear();
        agent.handle_timeout(now, &mut out);
        for answer in browser.answers(&out, path(1)) {
            give(&mut agent, path(1), &answer, now + Duration::from_millis(30), &mut TransmitQueue::default()).unwrap();
        }
        assert!(!events(&mut agent).contains(&IceEvent::ConsentExpired));
    }
    assert_eq!(agent.selected(), Some(path(1)));
}

#[test]
fn a_peer_that_never_comes_expires_after_its_description() {
    let (mut agent, browser) = (agent(), Browser::new());
    agent.set_remote(browser.remote(), at(1000), &mut TransmitQueue::default());
    assert_eq!(agent.poll_timeout(), at(31_000));
    agent.handle_timeout(at(31_000), &mut TransmitQueue::default());
    assert_eq!(events(&mut agent), [IceEvent::ConsentExpired]);
    assert_eq!(agent.poll_timeout(), Time::FAR_FUTURE);
}

#[test]
fn a_restart_honours_old_credentials_for_the_grace_and_keeps_the_path() {
    let (mut agent, mut browser) = connected();
    let new = LocalCredentials::new("secondufrag".into(), &[4; 18]);
    agent.restart(new.clone(), Duration::from_secs(5), at(1000));
    let mut out = TransmitQueue::default();
    let old_check = browser.check(&local(), false);
    give(&mut agent, path(1), &old_check, at(2000), &mut out).unwrap();
    let answer = Message::parse(out.datagram(&out.entries()[0])).unwrap();
    assert!(answer.verify_integrity(local().key()), "answered under the credentials it was asked with");
    let new_check = browser.check(&new, false);
    give(&mut agent, path(1), &new_check, at(2000), &mut out).unwrap();
    assert_eq!(agent.selected(), Some(path(1)));
    let late = browser.check(&local(), false);
    assert_eq!(give(&mut agent, path(1), &late, at(6001), &mut out), Err(Drop::StunUnknownUfrag));
}

#[test]
fn when_the_selected_tuple_falls_silent_another_proven_one_takes_over() {
    let (mut agent, mut browser) = connected();
    let mut out = TransmitQueue::default();
    let mut now = Time::ZERO;
    while now < at(60_000) {
        now = now + Duration::from_millis(500);
        if now.as_millis().is_multiple_of(2000) {
            prove(&mut agent, &mut browser, path(2), false, now);
        }
        agent.handle_timeout(now, &mut out);
    }
    assert_eq!(agent.selected(), Some(path(2)));
    assert!(!agent.is_bound(path(1)));
}

#[test]
fn an_unknown_required_attribute_is_refused_with_420() {
    let mut agent = agent();
    let mut bytes = Vec::new();
    let username = format!("{}:x", local().ufrag());
    Writer::new(&mut bytes, Class::Request, method::BINDING, TransactionId([1; 12]))
        .username(username.as_bytes())
        .attribute(0x7fff, b"?")
        .integrity(local().key())
        .fingerprint();
    let mut out = TransmitQueue::default();
    assert_eq!(give(&mut agent, path(1), &bytes, Time::ZERO, &mut out), Err(Drop::StunUnsupported));
    let answer = Message::parse(out.datagram(&out.entries()[0])).unwrap();
    assert_eq!(answer.error_code(), Some(420));
    assert!(!agent.is_bound(path(1)));
}

#[test]
fn a_tuple_that_is_gone_gives_way_at_once_to_another_proven_one() {
    let (mut agent, mut browser) = connected();
    prove(&mut agent, &mut browser, path(2), true, at(100));
    assert_eq!(agent.selected(), Some(path(2)));
    events(&mut agent);
    agent.forget(path(2));
    assert_eq!(events(&mut agent), [IceEvent::Unbound(path(2)), IceEvent::Selected(path(1))]);
    agent.forget(path(2));
    agent.forget(path(1));
    assert_eq!((events(&mut agent), agent.selected()), (vec![IceEvent::Unbound(path(1))], None));
    // The peer may come back by another way within the time of its consent.
    prove(&mut agent, &mut browser, path(3), false, at(20_000));
    assert_eq!(agent.selected(), Some(path(3)));
    agent.handle_timeout(at(40_000), &mut TransmitQueue::default());
    assert!(!events(&mut agent).contains(&IceEvent::ConsentExpired));
}

/// The visitor's path `port` over the Edge at the other end of `link`.
fn over(link: u32, port: u16) -> Path {
    Path { socket: SocketId::linked(link, 0), ..path(port) }
}

/// An agent whose media goes over the Edge of link 1, with proven paths over that of link 2, too.
fn over_two_edges() -> (Agent, Browser) {
    let (mut agent, mut browser) = (agent(), Browser::new());
    agent.set_remote(browser.remote(), Time::ZERO, &mut TransmitQueue::default());
    prove(&mut agent, &mut browser, over(2, 1), false, Time::ZERO);
    prove(&mut agent, &mut browser, over(1, 1), true, Time::ZERO);
    assert_eq!(agent.selected(), Some(over(1, 1)));
    events(&mut agent);
    (agent, browser)
}

#[test]
fn media_leaves_a_lost_edge_for_a_proven_path_over_another_one_and_nothing_is_forgotten() {
    let (mut agent, _) = over_two_edges();
    assert!(!agent.leave_link(2), "no media goes there");
    assert!(agent.leave_link(1));
    assert_eq!(events(&mut agent), [IceEvent::Selected(over(2, 1))]);
    assert!(agent.is_proven(over(1, 1)), "the Edge may come back");
    // The browser sends over the first one still, or again.
    agent.heard_media(over(1, 1), at(10));
    assert_eq!(agent.selected(), Some(over(1, 1)));
}

#[test]
fn without_another_proven_path_media_stays_with_the_lost_edge() {
    let (mut agent, mut browser) = (agent(), Browser::new());
    agent.set_remote(browser.remote(), Time::ZERO, &mut TransmitQueue::default());
    prove(&mut agent, &mut browser, over(1, 1), true, Time::ZERO);
    let unanswered = browser.check(&local(), true);
    give(&mut agent, over(2, 1), &unanswered, Time::ZERO, &mut TransmitQueue::default()).unwrap();
    assert!(agent.leave_link(1), "it is to look for another way");
    assert_eq!(agent.selected(), Some(over(1, 1)));
}

#[test]
fn paths_over_an_edge_are_forgotten_once_media_goes_elsewhere_and_not_before() {
    let (mut agent, _) = over_two_edges();
    agent.forget_link(1);
    assert!(agent.uses_link(1) && agent.is_proven(over(1, 1)));
    agent.leave_link(1);
    events(&mut agent);
    agent.forget_link(1);
    assert_eq!(events(&mut agent), [IceEvent::Unbound(over(1, 1))]);
    assert_eq!(agent.selected(), Some(over(2, 1)));
}
