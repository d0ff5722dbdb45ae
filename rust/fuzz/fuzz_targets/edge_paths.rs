//! An Edge's table under any order of what may happen to it: it never holds more than it may.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::ice::LocalUfrag;
use mediaserver_proto::io::{Path, SocketId};
use mediaserver_proto::path::{PathId, PathLimits, PathTable, SessionKey};
use mediaserver_proto::time::Time;

const LIMITS: PathLimits = PathLimits { paths: 24, unproven_per_prefix: 6 };

fuzz_target!(|steps: &[u8]| {
    let mut table = PathTable::new(LIMITS, 7);
    let mut now = Time::ZERO;
    for step in steps.chunks_exact(3) {
        let (source, session, link) = (step[1] % 40, u64::from(step[2] % 8), usize::from(step[2] >> 6));
        let path = Path { socket: SocketId(0), remote: ([192, 0, source % 3, source], 5000).into() };
        let token = LocalUfrag { core: 1, key: 0, generation: 0, shard: 0, session, expires_minute: 0 };
        let place = table.find(path);
        let id = place.and_then(|index| table.get(index)).map_or(PathId::new(u16::from(step[2]), 1), |entry| entry.id);
        match step[0] % 8 {
            0 | 1 if place.is_none() => drop(table.admit(path, &token, link, now)),
            2 => drop(table.prove(id, link, 1000)),
            3 => drop(table.close(id, link)),
            4 => table.close_session(SessionKey::of(&token)),
            5 => table.close_link(link),
            6 => now = now + Duration::from_millis(u64::from(step[1]) * 100),
            _ => drop(place.map(|index| table.pass(index, 1000, now))),
        }
        table.handle_timeout(now);
        while table.poll_closed().is_some() {}
        assert!(table.len() <= LIMITS.paths);
        if let Some(index) = table.find(path) {
            assert_eq!(table.get(index).map(|entry| entry.path), Some(path));
        }
    }
    table.handle_timeout(now + Duration::from_secs(60));
    assert!(table.is_empty() && table.poll_timeout().is_none());
});
