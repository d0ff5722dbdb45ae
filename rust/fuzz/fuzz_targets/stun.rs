//! STUN parser and everything that reads a parsed message.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::ice::{Agent, LocalCredentials, RemoteCredentials};
use mediaserver_proto::io::{Path, SocketId, TransmitQueue};
use mediaserver_proto::stun::Message;
use mediaserver_proto::time::Time;

static LOCAL: LazyLock<LocalCredentials> = LazyLock::new(|| LocalCredentials::new("fuzz".into(), &[0; 18]));

fuzz_target!(|datagram: &[u8]| {
    let Ok(message) = Message::parse(datagram) else { return };
    let _ = (message.username(), message.receiver_ufrag(), message.priority(), message.nomination());
    let _ = (message.xor_mapped_address(), message.error_code(), message.use_candidate());
    assert!(message.unknown_required().len() <= 8);
    assert!(message.attributes().count() <= 32);

    let path = Path { socket: SocketId(0), remote: ([192, 0, 2, 1], 5000).into() };
    let mut out = TransmitQueue::default();
    let mut agent = Agent::new(LOCAL.clone(), &[1; 32]);
    agent.set_remote(RemoteCredentials::new("peer", "peer's password"), Time::ZERO, &mut out);
    // Nobody can guess an HMAC: no message of the fuzzer may bind a tuple or get an answer.
    assert!(agent.handle_message(path, &message, Time::ZERO, &mut out).is_err());
    assert!(out.is_empty() && !agent.is_bound(path));
});
