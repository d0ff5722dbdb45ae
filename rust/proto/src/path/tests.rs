//! Paths under attack and in ordinary life.

use std::net::SocketAddr;
use std::time::Duration;

use super::table::Restored;
use super::*;
use crate::ice::UfragKey;
use crate::io::{Path, SocketId};
use crate::stun::{Class, TransactionId, Writer, method};
use crate::time::Time;

const LIMITS: PathLimits = PathLimits { paths: 1000, unproven_per_prefix: 64 };
const LINK: usize = 3;
const RATE: u32 = 1_000_000;
/// 2026-11-23.
const UNIX: Duration = Duration::from_secs(1_795_000_000);

fn key() -> UfragKey {
    UfragKey::new(1, 2, &[7; 32])
}

fn minute() -> u32 {
    crate::ice::minute_of(UNIX)
}

fn check(ufrag: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Class::Request, method::BINDING, TransactionId([1; 12]))
        .username(format!("{ufrag}:peer").as_bytes())
        .fingerprint();
    bytes
}

fn token(session: u64) -> LocalUfrag {
    LocalUfrag { core: 1, key: 2, generation: 0, shard: 5, session, expires_minute: minute() + 10 }
}

fn source(number: u32) -> Path {
    let address = SocketAddr::from(([10, (number >> 16) as u8, (number >> 8) as u8, number as u8], 5000));
    Path { socket: SocketId(0), remote: address }
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn table() -> PathTable {
    PathTable::new(LIMITS, 77)
}

fn admit(table: &mut PathTable, number: u32, session: u64, now: Time) -> Result<PathId, EdgeDrop> {
    let index = table.admit(source(number), &token(session), LINK, now)?;
    Ok(table.get(index).unwrap().id)
}

fn admission() -> Admission {
    let mut admission = Admission::new(UNIX);
    admission.set_key(key());
    admission
}

#[test]
fn only_a_check_with_a_valid_token_is_let_in() {
    let admission = admission();
    let good = key().make(5 << 48 | 9, 3, minute() + 1);
    let session = admission.check(&check(&good), at(0)).map(|token| SessionKey::of(&token));
    assert_eq!(session, Ok(SessionKey { core: 1, transport: 5 << 48 | 9 }));
    let mut response = check(&good);
    response[0] = 1;
    for (datagram, reason) in [
        (response, EdgeDrop::NoPath),
        (vec![], EdgeDrop::NoPath),
        (vec![0x80; 172], EdgeDrop::NoPath),
        (check("short"), EdgeDrop::ForeignToken),
        (check(&UfragKey::new(1, 2, &[8; 32]).make(9, 0, minute())), EdgeDrop::ForgedToken),
        (check(&UfragKey::new(2, 2, &[7; 32]).make(9, 0, minute())), EdgeDrop::UnknownKey),
        (check(&UfragKey::new(1, 3, &[7; 32]).make(9, 0, minute())), EdgeDrop::UnknownKey),
        (check(&key().make(9, 0, minute() - 1)), EdgeDrop::ExpiredToken),
    ] {
        assert_eq!(admission.check(&datagram, at(0)), Err(reason));
    }
}

#[test]
fn a_token_is_refused_from_the_minute_after_its_last_one() {
    let admission = admission();
    let token = check(&key().make(9, 0, minute()));
    let rest_of_minute = 60 - UNIX.as_secs() % 60;
    assert!(admission.check(&token, at(rest_of_minute * 1000 - 1)).is_ok());
    assert_eq!(admission.check(&token, at(rest_of_minute * 1000)), Err(EdgeDrop::ExpiredToken));
}

#[test]
fn the_token_of_an_ended_session_is_of_no_use_to_whoever_kept_it() {
    let mut admission = admission();
    let kept = check(&key().make(9, 0, minute() + 5));
    admission.revoke(SessionKey { core: 1, transport: 9 }, minute() + 5, at(0));
    assert_eq!(admission.check(&kept, at(0)), Err(EdgeDrop::RevokedToken));
    assert!(admission.check(&check(&key().make(8, 0, minute() + 5)), at(0)).is_ok());
    let after = Time::ZERO + Duration::from_secs(6 * 60);
    assert_eq!(admission.check(&kept, after), Err(EdgeDrop::ExpiredToken));
    admission.revoke(SessionKey { core: 1, transport: 10 }, minute() + 20, after);
    assert_eq!(admission.revoked(), 1, "what expired by itself is forgotten");
}

#[test]
fn a_valid_token_from_a_million_sources_makes_four_paths() {
    let mut table = table();
    let mut full = 0;
    for number in 0..1_000_000 {
        match admit(&mut table, number, 9, at(u64::from(number) / 1000)) {
            Ok(_) => {}
            Err(EdgeDrop::SessionFull) => full += 1,
            Err(other) => panic!("{other:?}"),
        }
        assert!(table.len() <= 4);
    }
    assert_eq!(full, 1_000_000 - 4, "each of the four was silent for less than two seconds");
    assert!(table.is_consistent());
}

#[test]
fn a_silent_unproven_path_gives_way_and_a_proven_one_never_does() {
    let mut table = table();
    let proven = admit(&mut table, 0, 9, at(0)).unwrap();
    table.prove(proven, LINK, RATE).unwrap();
    for number in 1..=4 {
        admit(&mut table, number, 9, at(0)).unwrap();
    }
    assert_eq!(admit(&mut table, 5, 9, at(1999)), Err(EdgeDrop::SessionFull));
    for number in 5..1000 {
        admit(&mut table, number, 9, at(u64::from(number) * 2000)).unwrap();
        assert_eq!(table.len(), 5);
        assert!(table.named(proven, LINK).is_ok());
    }
    let (closed, link) = table.poll_closed().unwrap();
    assert_eq!((table.named(closed, LINK).err(), link), (Some(EdgeDrop::LatePath), LINK));
}

#[test]
fn of_nine_proven_paths_the_one_silent_longest_goes() {
    let mut table = table();
    let ids: Vec<PathId> = (0..9)
        .map(|number| {
            let id = admit(&mut table, number, 9, at(u64::from(number))).unwrap();
            table.prove(id, LINK, RATE).unwrap();
            id
        })
        .collect();
    assert_eq!(table.poll_closed(), Some((ids[0], LINK)));
    assert_eq!((table.poll_closed(), table.len()), (None, 8));
    assert!(table.is_consistent());
}

#[test]
fn one_network_has_few_unproven_paths_and_as_many_proven_ones_as_come() {
    let mut table = table();
    for number in 0..64 {
        admit(&mut table, number, u64::from(number), at(0)).unwrap();
    }
    assert_eq!(admit(&mut table, 64, 64, at(0)), Err(EdgeDrop::PrefixFull));
    assert!(admit(&mut table, 256, 64, at(0)).is_ok(), "another /24");
    let first = table.find(source(0)).and_then(|index| table.get(index)).unwrap().id;
    table.prove(first, LINK, RATE).unwrap();
    assert!(admit(&mut table, 65, 65, at(0)).is_ok());
}

#[test]
fn a_full_table_says_so() {
    let mut table = table();
    for number in 0..1000 {
        admit(&mut table, number * 256, u64::from(number), at(0)).unwrap();
    }
    assert_eq!(admit(&mut table, 1, 5000, at(0)), Err(EdgeDrop::TableFull));
}

#[test]
fn silence_ends_an_unproven_path_after_10_s_and_a_proven_one_after_45_s() {
    let mut table = table();
    let unproven = admit(&mut table, 1, 9, at(0)).unwrap();
    let proven = admit(&mut table, 2, 9, at(0)).unwrap();
    table.prove(proven, LINK, RATE).unwrap();
    table.pass(proven.index(), 100, at(5_000));
    table.handle_timeout(at(9_999));
    assert_eq!(table.len(), 2);
    table.handle_timeout(at(10_000));
    assert_eq!((table.poll_closed(), table.poll_closed()), (Some((unproven, LINK)), None));
    table.handle_timeout(at(49_999));
    assert_eq!(table.poll_timeout(), Some(at(50_000)));
    table.handle_timeout(at(50_000));
    assert_eq!((table.poll_closed(), table.poll_timeout()), (Some((proven, LINK)), None));
    assert!(table.is_empty() && table.is_consistent());
}

#[test]
fn frames_for_paths_that_never_were_are_gone_or_are_of_another_link_have_names() {
    let mut table = table();
    let id = admit(&mut table, 1, 9, at(0)).unwrap();
    assert_eq!(table.named(PathId::new(9, 1), LINK).err(), Some(EdgeDrop::UnknownPath));
    assert_eq!(table.named(id, LINK + 1).err(), Some(EdgeDrop::ForeignPath));
    assert_eq!(table.close(id, LINK + 1), Err(EdgeDrop::ForeignPath));
    table.close(id, LINK).unwrap();
    assert_eq!(table.named(id, LINK).err(), Some(EdgeDrop::LatePath));
    let next = admit(&mut table, 2, 9, at(0)).unwrap();
    assert_eq!((next.index(), next.generation()), (id.index(), id.generation() + 1));
    assert_eq!(table.named(id, LINK).err(), Some(EdgeDrop::LatePath));
}

#[test]
fn an_unproven_path_gets_little_and_a_proven_one_what_was_granted() {
    let mut table = table();
    let id = admit(&mut table, 1, 9, at(0)).unwrap();
    let index = id.index();
    let passed = (0..1000).filter(|_| table.pass(index, 1000, at(1000))).count();
    assert_eq!(passed, 32);
    table.acknowledge(id, LINK, RATE).unwrap();
    assert!(!table.pass(index, 1000, at(1000)), "a grant counts once the path is proven");
    table.prove(id, LINK, RATE).unwrap();
    let mut bytes = 0;
    for ms in 1000..11_000 {
        bytes += (0..20).filter(|_| table.pass(index, 1000, at(ms))).count() * 1000;
        table.acknowledge(id, LINK, RATE).unwrap();
    }
    assert!((10_200_000..10_300_000).contains(&bytes), "{bytes} bytes in ten seconds at {RATE} and its burst");
    table.acknowledge(id, LINK, 0).unwrap();
    assert!((0..100_000).all(|_| table.pass(index, 1000, at(11_000))), "0 is no bound");
}

#[test]
fn the_paths_of_a_session_and_of_a_link_go_together() {
    let mut table = table();
    let session = SessionKey::of(&token(9));
    for number in 0..4 {
        admit(&mut table, number, 9, at(0)).unwrap();
    }
    let other = admit(&mut table, 4, 10, at(0)).unwrap();
    table.close_session(session);
    assert_eq!((table.len(), table.named(other, LINK).is_ok()), (1, true));
    table.close_link(LINK + 1);
    assert_eq!(table.len(), 1);
    table.close_link(LINK);
    assert!(table.is_empty() && table.is_consistent() && table.poll_closed().is_none());
}

fn restored(id: PathId, number: u32, session: u64) -> Restored {
    let session = SessionKey::of(&token(session));
    Restored { id, path: source(number), session, generation: 1, granted: RATE }
}

#[test]
fn a_path_comes_back_under_its_name_or_under_another() {
    let mut table = table();
    let taken = admit(&mut table, 7, 7, at(0)).unwrap();
    let old = PathId::new(20, 5);
    assert_eq!(table.restore(&restored(old, 1, 9), LINK, at(0)), Some(old));
    let entry = table.named(old, LINK).unwrap();
    assert!(entry.is_proven && entry.is_acknowledged && entry.path == source(1));
    let moved = table.restore(&restored(PathId::new(taken.index(), 5), 2, 9), LINK, at(0)).unwrap();
    assert_ne!(moved.index(), taken.index());
    assert_eq!(table.restore(&restored(old, 1, 9), LINK, at(0)), Some(old), "told twice, made once");
    assert_eq!(table.restore(&restored(old, 7, 9), LINK, at(0)), None, "the source is another session's");
    for number in 100..130 {
        admit(&mut table, number, u64::from(number), at(0)).unwrap();
    }
    assert!(table.named(old, LINK).is_ok() && table.is_consistent());
}

#[test]
fn a_flood_of_short_paths_leaves_no_memory_behind() {
    let mut table = table();
    for number in 0..200_000u32 {
        let id = admit(&mut table, number, u64::from(number), at(u64::from(number) / 100)).unwrap();
        table.close(id, LINK).unwrap();
    }
    assert!(table.deadlines() <= 1025 && table.slots() == 1, "{} {}", table.deadlines(), table.slots());
}

#[test]
fn new_bounds_count_the_paths_that_there_are_and_send_none_away() {
    let mut table = table();
    for number in 0..4 {
        admit(&mut table, number, u64::from(number), at(0)).unwrap();
    }
    table.set_limits(PathLimits { paths: 5, unproven_per_prefix: 4 });
    assert_eq!(table.len(), 4);
    assert_eq!(admit(&mut table, 4, 4, at(0)), Err(EdgeDrop::PrefixFull));
    // Of another network.
    admit(&mut table, 1 << 16, 5, at(0)).unwrap();
    assert_eq!(admit(&mut table, 2 << 16, 6, at(0)), Err(EdgeDrop::TableFull));
    table.set_limits(LIMITS);
    admit(&mut table, 2 << 16, 6, at(0)).unwrap();
    admit(&mut table, 4, 4, at(0)).unwrap();
    assert_eq!(table.len(), 7);
}
