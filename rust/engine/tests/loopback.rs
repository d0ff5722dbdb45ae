//! The whole engine with real threads and sockets on loopback, driven over its byte boundary.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use mediaserver_engine::Engine;
use mediaserver_engine::config::read_config;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Just enough of a dynamic value to write commands.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Value {
    Text(&'static str),
    Owned(String),
    Number(u64),
    Flag(bool),
    Nil(()),
    Bytes(ByteBuf),
    List(Vec<Value>),
    Map(BTreeMap<&'static str, Value>),
}

fn map(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Map(entries.into_iter().collect())
}

/// The fields of events that these tests look at.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: u64,
    #[serde(default)]
    rtp_port: u16,
    #[serde(default)]
    reason: String,
}

const CERTIFICATE: &[u8] = include_bytes!("../../proto/tests/data/dtls_certificate.der");
const KEY: &[u8] = include_bytes!("../../proto/tests/data/dtls_key.der");

fn start(shards: u64, ports: (u64, u64)) -> Engine {
    let config = map([
        ("shards", Value::Number(shards)),
        ("webrtc_binds", Value::List(vec![Value::Text("127.0.0.1:0"), Value::Text("[::1]:0")])),
        ("sip_binds", Value::List(vec![Value::Text("127.0.0.1"), Value::Text("::1")])),
        ("sip_ports", Value::List(vec![Value::Number(ports.0), Value::Number(ports.1)])),
        ("certificate_der", Value::Bytes(ByteBuf::from(CERTIFICATE))),
        ("private_key_der", Value::Bytes(ByteBuf::from(KEY))),
        ("ufrag_key", Value::Bytes(ByteBuf::from([5; 32]))),
    ]);
    let config = read_config(&rmp_serde::to_vec_named(&config).unwrap()).unwrap();
    let mut engine = Engine::new(config).unwrap();
    engine.start().unwrap();
    engine
}

fn submit(engine: &mut Engine, commands: Vec<Value>) {
    engine.submit(&rmp_serde::to_vec_named(&Value::List(commands)).unwrap()).unwrap();
}

fn command(kind: &'static str, id: u64, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let head = [("type", Value::Text(kind)), ("id", Value::Number(id)), ("request", Value::Nil(()))];
    map(head.into_iter().chain(fields))
}

/// Waits for the event that `wanted` accepts; everything before it is forgotten.
fn wait(engine: &Engine, wanted: impl Fn(&Event) -> bool) -> Event {
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let events: Vec<Event> = rmp_serde::from_slice(&engine.drain().unwrap()).unwrap();
        if let Some(event) = events.into_iter().find(|event| wanted(event)) {
            return event;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("the event did not come");
}

struct Leg {
    id: u64,
    phone: UdpSocket,
    port: u16,
}

/// A phone with a transport `id`, an up track `id + 1` and a down track `id + 2`.
fn open_leg(engine: &mut Engine, id: u64, ip: &'static str) -> Leg {
    let phone = UdpSocket::bind((ip, 0)).unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    submit(
        engine,
        vec![command(
            "open_rtp_transport",
            id,
            [
                ("bind_ip", Value::Text(ip)),
                ("rtcp_mux", Value::Flag(true)),
                ("latching_ms", Value::Number(0)),
                ("timeout_ms", Value::Number(0)),
            ],
        )],
    );
    let port = wait(engine, |event| event.kind == "rtp_transport_opened" && event.id == id).rtp_port;
    let payload = map([
        ("pt", Value::Number(0)),
        ("codec", Value::Text("PCMU")),
        ("clock_rate", Value::Number(8000)),
        ("channels", Value::Number(1)),
        ("fmtp", Value::Map(BTreeMap::new())),
        ("feedback", Value::List(Vec::new())),
    ]);
    let remote = Value::List(vec![Value::Text(ip), Value::Number(u64::from(phone.local_addr().unwrap().port()))]);
    let common = |kind| {
        [
            ("transport", Value::Number(id)),
            ("kind", Value::Text(kind)),
            ("mid", Value::Nil(())),
            ("payloads", Value::List(vec![payload.clone()])),
        ]
    };
    let remote = command(
        "set_rtp_remote",
        id,
        [("rtp", remote), ("rtcp", Value::Nil(())), ("rtcp_mux", Value::Flag(true)), ("srtp", Value::Nil(()))],
    );
    let up = [("ssrcs", Value::List(Vec::new())), ("closed_gates", Value::List(Vec::new()))];
    let up = command("add_up_track", id + 1, common("audio").into_iter().chain(up));
    let down = [("ssrc", Value::Number(u64::from(port))), ("cname", Value::Owned(format!("leg{id}")))];
    let down = command("add_down_track", id + 2, common("audio").into_iter().chain(down));
    submit(engine, vec![remote, up, down]);
    Leg { id, phone, port }
}

fn subscribe(engine: &mut Engine, receiver: &Leg, source: &Leg) {
    submit(engine, vec![command("subscribe", receiver.id + 2, [("up", Value::Number(source.id + 1))])]);
    // A packet that arrives in the same round goes first, and another shard learns of it by a message.
    std::thread::sleep(Duration::from_millis(50));
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet.extend_from_slice(&sequence.to_be_bytes().repeat(80));
    packet
}

/// The payload's number of the next `count` media packets that the phone hears.
fn hear(phone: &UdpSocket, count: usize) -> Vec<u16> {
    let mut heard = Vec::new();
    let mut buffer = [0; 2048];
    while heard.len() < count {
        let len = phone.recv(&mut buffer).expect("a packet within 5 s");
        if len == 172 {
            heard.push(u16::from_be_bytes([buffer[12], buffer[13]]));
        }
    }
    heard
}

const ON_SECOND_SHARD: u64 = 1 << 48;

#[test]
fn one_source_is_heard_on_its_own_shard_and_on_another() {
    let mut engine = start(2, (34_000, 34_039));
    let source = open_leg(&mut engine, 100, "127.0.0.1");
    let near = open_leg(&mut engine, 200, "127.0.0.1");
    let far = open_leg(&mut engine, ON_SECOND_SHARD + 300, "127.0.0.1");
    subscribe(&mut engine, &near, &source);
    subscribe(&mut engine, &far, &source);
    for sequence in 0..200 {
        source.phone.send_to(&rtp(sequence), ("127.0.0.1", source.port)).unwrap();
        if sequence % 8 == 7 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let all: Vec<u16> = (0..200).collect();
    assert_eq!(hear(&near.phone, 200), all);
    assert_eq!(hear(&far.phone, 200), all);
    std::thread::sleep(Duration::from_millis(250));
    let counters = engine.counters();
    assert_eq!((counters["panics"], counters["drop.send_refused"]), (0, 0));
    assert!(counters["shard0.datagrams_sent"] >= 200 && counters["shard1.datagrams_sent"] >= 200);
    assert_eq!(counters["drop.handover_full"], 0);
    assert!(counters["forward_latency_us.count"] >= 400, "packets that crossed to another shard are measured too");
    engine.stop(Duration::from_secs(2)).unwrap();
}

#[test]
fn ipv6_legs_are_served_like_ipv4_ones() {
    let mut engine = start(1, (34_040, 34_079));
    let source = open_leg(&mut engine, 100, "::1");
    let receiver = open_leg(&mut engine, 200, "127.0.0.1");
    subscribe(&mut engine, &receiver, &source);
    source.phone.send_to(&rtp(7), ("::1", source.port)).unwrap();
    assert_eq!(hear(&receiver.phone, 1), [7]);
}

#[test]
fn stopping_closes_every_transport_and_says_so() {
    let mut engine = start(2, (34_080, 34_119));
    let leg = open_leg(&mut engine, ON_SECOND_SHARD + 100, "127.0.0.1");
    engine.stop(Duration::from_secs(2)).unwrap();
    let closed = wait(&engine, |event| event.kind == "transport_closed");
    assert_eq!((closed.id, closed.reason.as_str()), (leg.id, "commanded"));
    engine.stop(Duration::from_secs(2)).unwrap();
}

#[test]
fn commands_that_cannot_be_read_or_routed_are_refused() {
    let mut engine = start(1, (34_120, 34_129));
    assert!(engine.submit(b"\xc1").is_err());
    assert!(engine.submit(&rmp_serde::to_vec_named(&Value::List(vec![command("dance", 1, [])])).unwrap()).is_err());
    submit(&mut engine, vec![command("restart_ice", 5 << 48, [])]);
    let failed = wait(&engine, |event| event.kind == "command_failed");
    assert_eq!(failed.reason, "there is no such shard");
}

#[test]
fn an_audio_thread_gives_a_phone_the_codec_that_it_has() {
    let mut engine = start(2, (34_140, 34_179));
    let source = open_leg(&mut engine, 100, "127.0.0.1");
    let receiver = open_leg(&mut engine, ON_SECOND_SHARD + 200, "127.0.0.1");
    let payload = map([
        ("pt", Value::Number(8)),
        ("codec", Value::Text("PCMA")),
        ("clock_rate", Value::Number(8000)),
        ("channels", Value::Number(1)),
        ("fmtp", Value::Map(BTreeMap::new())),
        ("feedback", Value::List(Vec::new())),
    ]);
    let only_alaw = [("payloads", Value::List(vec![payload])), ("active", Value::Flag(true))];
    // The ids of the first audio thread follow those of the two shards.
    let transcoder = 2 << 48 | 1;
    let open = |id: u64| {
        let fields = [
            ("source", Value::Number(source.id + 1)),
            ("source_codec", Value::Text("pcmu")),
            ("codec", Value::Text("PCMA")),
        ];
        command("open_transcoder", id, fields)
    };
    submit(
        &mut engine,
        vec![
            command("update_down_track", receiver.id + 2, only_alaw),
            open(transcoder),
            command("subscribe", receiver.id + 2, [("up", Value::Number(transcoder))]),
        ],
    );
    std::thread::sleep(Duration::from_millis(50));
    receiver.phone.set_nonblocking(true).unwrap();
    let (mut sequence, mut heard) = (0u16, 0);
    let until = Instant::now() + Duration::from_secs(20);
    let mut packet = [0; 1500];
    while heard < 20 {
        assert!(Instant::now() < until, "{heard} of the packets that came of {sequence}");
        let mut rtp = rtp(sequence);
        rtp[12..].fill(0x90);
        source.phone.send_to(&rtp, ("127.0.0.1", source.port)).unwrap();
        sequence += 1;
        std::thread::sleep(Duration::from_millis(20));
        while let Ok(len) = receiver.phone.recv(&mut packet) {
            // RTCP has packet types from 200 on (RFC 5761 §4).
            if packet[1] & 0x7f == 8 {
                assert_eq!(len, 12 + 160);
                // µ-law 0x90 is 15996, which lies in A-law's interval from 15872 to 16383.
                heard += u16::from(packet[12..len].iter().all(|&code| code == 0xba));
            }
        }
    }
    submit(&mut engine, vec![open(transcoder)]);
    let failed = wait(&engine, |event| event.kind == "command_failed");
    assert_eq!((failed.id, failed.reason.as_str()), (transcoder, "the id is in use"));
    submit(&mut engine, vec![command("close_transcoder", transcoder, [])]);
    let until = Instant::now() + Duration::from_secs(10);
    while engine.counters().get("transcodes") != Some(&0) {
        assert!(Instant::now() < until, "{:?}", engine.counters());
        std::thread::sleep(Duration::from_millis(20));
    }
    let counters = engine.counters();
    assert!(counters["audio0.transcoded_frames"] >= 20 && counters["transcodes_opened"] == 1);
    assert_eq!((counters["panics"], counters["transcodes_refused"]), (0, 1));
    engine.stop(Duration::from_secs(2)).unwrap();
}
