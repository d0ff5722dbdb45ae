//! Our WebRTC transport against str0m, a full ICE agent that nobody here wrote, on virtual time over a virtual wire.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mediaserver_proto::dtls::{Fingerprint, HashAlgorithm, Identity, Role};
use mediaserver_proto::ice::{LocalCredentials, RemoteCredentials};
use mediaserver_proto::io::{Path, SocketId, TransmitQueue};
use mediaserver_proto::sctp::{Channel, DataConfig, DataEvent, DataLimits, EndReason, MessageKind, Reliability};
use mediaserver_proto::srtp::Suite;
use mediaserver_proto::time::Time;
use mediaserver_proto::transport::{
    CloseReason, IceTransport, IceTransportConfig, Received, RemoteParameters, TransportEvent,
};
use str0m::channel::{ChannelConfig, ChannelId, Reliability as TheirReliability};
use str0m::config::{DtlsVersion, Fingerprint as Str0mFingerprint};
use str0m::ice::IceCreds;
use str0m::media::{MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};

const SERVER: &str = "192.0.2.1:10000";
const LATENCY: Duration = Duration::from_millis(15);
const OPUS: u8 = 111;
const OUR_SSRC: u32 = 1111;
const THEIR_SSRC: u32 = 2222;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A call between our transport and str0m.
struct Call {
    base: Instant,
    now: Time,
    ours: IceTransport,
    fingerprint: Fingerprint,
    theirs: Rtc,
    /// What the peer believes its address to be, and what a NAT makes of it.
    peer_inside: SocketAddr,
    peer_outside: SocketAddr,
    to_us: Vec<(Time, SocketAddr, Vec<u8>)>,
    to_them: Vec<(Time, Vec<u8>)>,
    peer_vanished: bool,
    events: Vec<TransportEvent>,
    received: Vec<Vec<u8>>,
    reports: usize,
    their_connected: bool,
    their_received: Vec<(u16, Vec<u8>)>,
    their_timeout: Time,
    data_events: Vec<DataEvent>,
    their_channels: Vec<(ChannelId, String)>,
    their_closed: Vec<ChannelId>,
    their_data: Vec<(bool, Vec<u8>)>,
}

impl Call {
    fn new(version: DtlsVersion) -> Call {
        let base = Instant::now();
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let identity = Identity::new(certificate.certificate, certificate.private_key, base).unwrap();
        let fingerprint = identity.fingerprint(HashAlgorithm::Sha256);
        let credentials = LocalCredentials::new("OurStructuredUfrag+0001".into(), &[7; 18]);
        let ours = IceTransport::new(IceTransportConfig { credentials, seed: [3; 32], identity });
        let peer = address("198.51.100.2:5000");
        let mut theirs = Rtc::builder()
            .set_rtp_mode(true)
            .set_dtls_version(version)
            .set_rtcp_report_interval_audio(Duration::from_millis(500))
            .build(base);
        theirs.add_local_candidate(Candidate::host(peer, "udp").unwrap());
        Call {
            base,
            now: Time::ZERO,
            ours,
            fingerprint,
            theirs,
            peer_inside: peer,
            peer_outside: peer,
            to_us: vec![],
            to_them: vec![],
            peer_vanished: false,
            events: vec![],
            received: vec![],
            reports: 0,
            their_connected: false,
            their_received: vec![],
            their_timeout: Time::ZERO,
            data_events: vec![],
            their_channels: vec![],
            their_closed: vec![],
            their_data: vec![],
        }
    }

    /// Exchanges what SDP would carry.
    fn describe(&mut self, our_role: Role) {
        let local = self.ours.local_credentials().clone();
        let mut api = self.theirs.direct_api();
        api.set_ice_controlling(true);
        let fingerprint = Str0mFingerprint { hash_func: "sha-256".into(), bytes: self.fingerprint.value.clone() };
        api.set_remote_fingerprint(fingerprint);
        api.set_remote_ice_credentials(IceCreds { ufrag: local.ufrag().into(), pass: local.password().into() });
        let mid: Mid = "aud".into();
        api.declare_media(mid, MediaKind::Audio);
        api.declare_stream_tx(Ssrc::from(THEIR_SSRC), None, mid, None);
        api.expect_stream_rx(Ssrc::from(OUR_SSRC), None, mid, None);
        let creds = api.local_ice_credentials();
        let value = api.local_dtls_fingerprint().bytes.clone();
        api.start_dtls(our_role == Role::Server).unwrap();
        self.theirs.add_remote_candidate(Candidate::host(address(SERVER), "udp").unwrap());
        let remote = RemoteParameters {
            credentials: RemoteCredentials::new(creds.ufrag, creds.pass),
            fingerprints: vec![Fingerprint { algorithm: HashAlgorithm::Sha256, value }],
            role: our_role,
        };
        self.act(|ours, now, out| ours.set_remote(remote, now, out));
    }

    fn act<R>(&mut self, act: impl FnOnce(&mut IceTransport, Time, &mut TransmitQueue) -> R) -> R {
        let mut out = TransmitQueue::default();
        let result = act(&mut self.ours, self.now, &mut out);
        while let Some(event) = self.ours.poll_event() {
            self.events.push(event);
        }
        while let Some(event) = self.ours.poll_data_event() {
            self.data_events.push(event);
        }
        for entry in out.entries() {
            // What goes to an address that the NAT no longer maps is lost.
            if entry.path.remote == self.peer_outside && !self.peer_vanished {
                self.to_them.push((self.now + LATENCY, out.datagram(entry).to_vec()));
            }
        }
        result
    }

    fn poll_them(&mut self) {
        loop {
            match self.theirs.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.their_timeout = Time::ZERO + at.saturating_duration_since(self.base);
                    return;
                }
                Output::Transmit(transmit) => {
                    if !self.peer_vanished {
                        self.to_us.push((self.now + LATENCY, self.peer_outside, transmit.contents.to_vec()));
                    }
                }
                Output::Event(Event::Connected) => self.their_connected = true,
                Output::Event(Event::RtpPacket(packet)) => {
                    self.their_received.push((packet.header.sequence_number, packet.payload.to_vec()));
                }
                Output::Event(Event::ChannelOpen(id, label)) => self.their_channels.push((id, label)),
                Output::Event(Event::ChannelClose(id)) => self.their_closed.push(id),
                Output::Event(Event::ChannelData(data)) => self.their_data.push((data.binary, data.data)),
                Output::Event(_) => {}
            }
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.poll_them();
        loop {
            let to_us = self.to_us.first().map_or(Time::FAR_FUTURE, |(at, ..)| *at);
            let to_them = self.to_them.first().map_or(Time::FAR_FUTURE, |(at, _)| *at);
            let our_timer = self.ours.poll_timeout().unwrap_or(Time::FAR_FUTURE);
            let their_timer = self.their_timeout.max(self.now + Duration::from_micros(1));
            let next = to_us.min(to_them).min(our_timer).min(their_timer);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            let instant = self.base + self.now.since(Time::ZERO);
            if to_us <= self.now {
                let (_, from, mut datagram) = self.to_us.remove(0);
                let path = Path { socket: SocketId(0), remote: from };
                match self.act(|ours, now, out| ours.handle_datagram(path, &mut datagram, now, out)) {
                    Received::Rtp { len, header_len, .. } => self.received.push(datagram[header_len..len].to_vec()),
                    Received::Rtcp { .. } => self.reports += 1,
                    Received::Consumed | Received::Dropped(_) => {}
                }
            } else if to_them <= self.now {
                let (_, datagram) = self.to_them.remove(0);
                let receive = Receive::new(Protocol::Udp, address(SERVER), self.peer_inside, &datagram).unwrap();
                self.theirs.handle_input(Input::Receive(instant, receive)).unwrap();
                self.poll_them();
            } else if our_timer <= self.now {
                self.act(|ours, now, out| ours.handle_timeout(now, out));
            } else {
                self.theirs.handle_input(Input::Timeout(instant)).unwrap();
                self.poll_them();
            }
        }
    }

    fn connect(&mut self) -> Time {
        while self.now < Time::from_millis(5000) {
            self.run(Duration::from_millis(5));
            let ours = self.events.iter().any(|event| matches!(event, TransportEvent::Connected { .. }));
            if ours && self.their_connected {
                return self.now;
            }
        }
        panic!("not connected: {:?} {:?}", self.events, self.ours);
    }

    fn we_send(&mut self, sequence: u16, payload: &[u8]) {
        let mut header = [0x80, OPUS, 0, 0, 0, 0, 3, 192, 0, 0, 0, 0];
        header[2..4].copy_from_slice(&sequence.to_be_bytes());
        header[8..].copy_from_slice(&OUR_SSRC.to_be_bytes());
        self.act(|ours, _, out| ours.protect_rtp(&header, payload, out)).unwrap();
    }

    fn they_send(&mut self, sequence: u64, payload: &[u8]) {
        let instant = self.base + self.now.since(Time::ZERO);
        let mut api = self.theirs.direct_api();
        let stream = api.stream_tx(&Ssrc::from(THEIR_SSRC)).unwrap();
        stream.write_rtp(RtpWrite::new(OPUS.into(), sequence.into(), sequence as u32 * 960, instant, payload));
        self.theirs.handle_input(Input::Timeout(instant)).unwrap();
        self.poll_them();
    }

    /// 20 packets each way, 20 ms apart, all of which must arrive.
    fn talk(&mut self, first: u16) {
        let (ours, theirs) = (self.their_received.len(), self.received.len());
        for sequence in first..first + 20 {
            self.we_send(sequence, format!("ours {sequence}").as_bytes());
            self.they_send(u64::from(sequence), format!("theirs {sequence}").as_bytes());
            self.run(Duration::from_millis(20));
        }
        self.run(LATENCY * 2);
        let expected: Vec<_> = (first..first + 20).map(|n| (n, format!("ours {n}").into_bytes())).collect();
        assert_eq!(self.their_received[ours..], expected);
        let expected: Vec<_> = (first..first + 20).map(|n| format!("theirs {n}").into_bytes()).collect();
        assert_eq!(self.received[theirs..], expected);
    }
}

#[test]
fn a_full_agent_connects_and_media_flows_both_ways() {
    for version in [DtlsVersion::Dtls12, DtlsVersion::Auto] {
        let mut call = Call::new(version);
        call.describe(Role::Server);
        let connected = call.connect();
        // One round trip of checks and two of DTLS are 90 ms; str0m's own timers add to that.
        assert!(connected < Time::from_millis(400), "{version:?} took {connected:?}");
        assert_eq!(call.ours.suite(), Some(Suite::AeadAes256Gcm));
        call.talk(100);
        call.run(Duration::from_secs(2));
        assert!(call.reports > 0, "str0m's RTCP was understood");
    }
}

#[test]
fn we_can_be_the_dtls_client() {
    let mut call = Call::new(DtlsVersion::Dtls12);
    call.describe(Role::Client);
    call.connect();
    call.talk(100);
}

#[test]
fn a_call_outlives_ten_minutes_of_checks() {
    let mut call = Call::new(DtlsVersion::Dtls12);
    call.describe(Role::Server);
    call.connect();
    call.run(Duration::from_secs(600));
    call.talk(100);
    assert!(!call.events.iter().any(|event| matches!(event, TransportEvent::Closed(_))));
}

#[test]
fn media_follows_a_new_nat_mapping_after_proof() {
    let mut call = Call::new(DtlsVersion::Dtls12);
    call.describe(Role::Server);
    call.connect();
    call.talk(100);
    call.peer_outside = address("198.51.100.2:61000");
    // Until a check comes from there, media from the new mapping is dropped in O(1).
    call.they_send(200, b"too early");
    call.run(LATENCY * 2);
    assert!(!call.received.contains(&b"too early".to_vec()));
    call.run(Duration::from_secs(8));
    // Now the tuple is bound and proven; the first authentic media moves the path.
    call.they_send(201, b"here I am");
    call.run(LATENCY * 2);
    let moved = Path { socket: SocketId(0), remote: call.peer_outside };
    assert_eq!(call.ours.selected_path(), Some(moved));
    assert!(call.events.contains(&TransportEvent::PathChanged(moved)));
    call.talk(300);
}

#[test]
fn an_ice_restart_keeps_keys_and_media() {
    let mut call = Call::new(DtlsVersion::Dtls12);
    call.describe(Role::Server);
    call.connect();
    call.talk(100);
    let fresh = LocalCredentials::new("OurStructuredUfrag+0002".into(), &[8; 18]);
    call.act(|ours, now, _| ours.restart(fresh.clone(), Duration::from_secs(5), now));
    let theirs = IceCreds { ufrag: "again".into(), pass: "againagainagainagain12".into() };
    let mut api = call.theirs.direct_api();
    api.set_local_ice_credentials(theirs.clone());
    api.set_remote_ice_credentials(IceCreds { ufrag: fresh.ufrag().into(), pass: fresh.password().into() });
    let remote = RemoteParameters {
        credentials: RemoteCredentials::new(theirs.ufrag, theirs.pass),
        fingerprints: vec![],
        role: Role::Server,
    };
    call.act(|ours, now, out| ours.set_remote(remote, now, out));
    call.run(Duration::from_secs(40));
    call.talk(500);
    assert!(!call.events.iter().any(|event| matches!(event, TransportEvent::Closed(_))));
}

#[test]
fn a_vanished_peer_is_noticed_within_30_s() {
    let mut call = Call::new(DtlsVersion::Dtls12);
    call.describe(Role::Server);
    call.connect();
    call.peer_vanished = true;
    call.run(Duration::from_secs(29));
    assert!(!call.events.iter().any(|event| matches!(event, TransportEvent::Closed(_))));
    call.run(Duration::from_secs(2));
    assert!(call.events.contains(&TransportEvent::Closed(CloseReason::ConsentExpired)));
}

fn data_call(our_role: Role) -> Call {
    let mut call = Call::new(DtlsVersion::Dtls12);
    call.describe(our_role);
    let config = DataConfig {
        local_port: 5000,
        remote_port: 5000,
        remote_message_bytes: 256 * 1024,
        entropy: 5,
        limits: DataLimits::default(),
    };
    call.act(|ours, now, out| ours.accept_data(config, now, out));
    call.theirs.direct_api().start_sctp(our_role == Role::Server);
    call.connect();
    call.run(Duration::from_secs(1));
    call
}

#[test]
fn another_stack_opens_a_channel_writes_and_closes_it() {
    let mut call = data_call(Role::Server);
    let config = ChannelConfig {
        label: "pointer".into(),
        protocol: "v1".into(),
        ordered: false,
        reliability: TheirReliability::MaxRetransmits { retransmits: 3 },
        negotiated: None,
    };
    let id = call.theirs.direct_api().create_data_channel(config);
    call.run(Duration::from_secs(1));
    let channel = Channel {
        protocol: "v1".into(),
        ordered: false,
        reliability: Reliability::Retransmits(3),
        ..Channel::new("pointer")
    };
    let Some(DataEvent::Opened { stream, channel: opened }) = call.data_events.pop() else { panic!("not opened") };
    assert_eq!(Channel { priority: 256, ..opened }, channel);
    assert_eq!(call.their_channels, [(id, "pointer".to_owned())]);
    let largest = vec![7; 64 * 1024];
    for (binary, payload) in [(false, "grüß".as_bytes()), (true, &largest)] {
        call.theirs.channel(id).unwrap().write(binary, payload).unwrap();
        call.run(Duration::from_secs(1));
        let kind = if binary { MessageKind::Binary } else { MessageKind::Text };
        assert_eq!(call.data_events.pop(), Some(DataEvent::Message { stream, kind, payload: payload.to_vec() }));
        call.act(|ours, now, out| ours.send_message(stream, kind, payload, now, out)).unwrap();
        call.run(Duration::from_secs(1));
        assert_eq!(call.their_data.pop(), Some((binary, payload.to_vec())));
    }
    call.act(|ours, now, out| ours.send_message(stream, MessageKind::Text, b"", now, out)).unwrap();
    call.run(Duration::from_secs(1));
    assert_eq!(call.their_data.pop(), Some((false, vec![])));
    call.theirs.direct_api().close_data_channel(id);
    call.run(Duration::from_secs(1));
    assert_eq!(call.data_events, [DataEvent::Closed { stream, reason: EndReason::Peer }]);
}

#[test]
fn we_open_a_channel_to_another_stack_as_dtls_client() {
    let mut call = data_call(Role::Client);
    let opened = call.act(|ours, now, out| ours.open_channel(Channel::new("chat"), None, now, out));
    assert_eq!(opened, Ok(0), "the DTLS client has the even streams");
    call.run(Duration::from_secs(1));
    assert_eq!(call.their_channels.len(), 1);
    assert!(matches!(call.data_events[..], [DataEvent::Opened { stream: 0, .. }]));
    call.act(|ours, now, out| ours.send_message(0, MessageKind::Text, b"hello", now, out)).unwrap();
    call.run(Duration::from_secs(1));
    assert_eq!(call.their_data, [(false, b"hello".to_vec())]);
    call.act(|ours, now, out| ours.close_channel(0, now, out));
    call.run(Duration::from_secs(1));
    assert_eq!(call.their_closed, [call.their_channels[0].0]);
    // An association with nothing to say costs two heartbeats a minute and stays.
    call.run(Duration::from_secs(300));
    let reopened = call.act(|ours, now, out| ours.open_channel(Channel::new("again"), None, now, out));
    assert_eq!(reopened, Ok(0), "the stream is free again");
}

#[test]
fn data_that_was_not_agreed_on_is_counted_and_ignored() {
    let mut call = Call::new(DtlsVersion::Dtls12);
    call.describe(Role::Server);
    call.theirs.direct_api().start_sctp(true);
    call.connect();
    call.run(Duration::from_secs(3));
    assert!(call.ours.drops_mut().get(mediaserver_proto::error::Drop::DtlsApplicationData) > 0);
    call.talk(100);
}
