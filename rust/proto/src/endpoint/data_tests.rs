//! Three browsers on two shards: topics, permissions, rates, and a member that has gone silent.

use std::time::{Duration, Instant};

use super::tests::{endpoint, entropy, id};
use super::*;
use crate::dtls::{HashAlgorithm, Role};
use crate::ice::{LocalCredentials, RemoteCredentials};
use crate::io::{Path, ReceiveBatch, SocketId};
use crate::sctp::{Channel, DataConfig, DataEvent, DataLimits, MessageKind};
use crate::stun::{Class, TransactionId, Writer, method};
use crate::transport::{IceTransport, IceTransportConfig, RemoteParameters};

const RATES: DataRates = DataRates { messages_per_second: 100, bytes_per_second: 512 * 1024 };

fn data_config(entropy: u64) -> DataConfig {
    let limits = DataLimits::default();
    DataConfig { local_port: 5000, remote_port: 5000, remote_message_bytes: 0, entropy, limits }
}

/// A browser: a transport of ours that plays the other end.
struct Browser {
    id: u64,
    transport: IceTransport,
    address: std::net::SocketAddr,
    received: Vec<Vec<u8>>,
    silent: bool,
}

/// Two shards and their browsers, with a wire that takes no time.
struct World {
    shards: [Endpoint; 2],
    browsers: Vec<Browser>,
    events: Vec<EndpointEvent>,
    now: Time,
}

impl World {
    /// Browsers on the given shards, each with an open channel on stream 0.
    fn new(shards: &[Shard]) -> World {
        let mut world = World {
            shards: [endpoint(0, 2), endpoint(1, 2)],
            browsers: vec![],
            events: vec![],
            now: Time::from_millis(1000),
        };
        for (number, &shard) in shards.iter().enumerate() {
            world.connect(number, shard);
            // One after the other: few may be half open at once.
            world.run(Duration::from_secs(1));
        }
        for browser in &mut world.browsers {
            let mut out = TransmitQueue::default();
            assert_eq!(browser.transport.open_channel(Channel::new("chat"), None, world.now, &mut out), Ok(0));
            let path = browser.transport.selected_path().unwrap();
            assert_eq!(path, Path { socket: SocketId(0), remote: "192.0.2.1:10000".parse().unwrap() });
            world.shards[(browser.id >> 48) as usize].take(browser.address, &out, world.now);
        }
        world.run(Duration::from_secs(1));
        let opened = world.events.iter().filter(|event| matches!(event, EndpointEvent::ChannelOpened { .. })).count();
        assert_eq!(opened, shards.len());
        world
    }

    fn connect(&mut self, number: usize, shard: Shard) {
        let (now, mut out) = (self.now, TransmitQueue::default());
        let seed = u8::try_from(number).unwrap() + 1;
        let endpoint = &mut self.shards[usize::from(shard)];
        let transport_id = id(shard, 10 * (number as u64 + 1));
        let server = endpoint.open_ice_transport(transport_id, Duration::ZERO, entropy(seed), now).unwrap();
        let identity =
            Identity::new(super::tests::CERTIFICATE.to_vec(), super::tests::KEY.to_vec(), Instant::now()).unwrap();
        let fingerprints = vec![identity.fingerprint(HashAlgorithm::Sha256)];
        let credentials = LocalCredentials::new(format!("client{number}"), &[seed; 18]);
        let ours = RemoteCredentials::new(server.ufrag(), server.password());
        let theirs = RemoteCredentials::new(credentials.ufrag(), credentials.password());
        let mut transport = IceTransport::new(IceTransportConfig { credentials, seed: [seed; 32], identity });
        let remote = |credentials, role| RemoteParameters { credentials, fingerprints: fingerprints.clone(), role };
        endpoint.set_ice_remote(transport_id, remote(theirs, Role::Server), now, &mut out).unwrap();
        endpoint.accept_data(transport_id, data_config(u64::from(seed)), RATES, now, &mut out).unwrap();
        transport.set_remote(remote(ours, Role::Client), now, &mut out);
        transport.accept_data(data_config(100 + u64::from(seed)), now, &mut out);
        let mut check = Vec::new();
        let key =
            aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, server.password().as_bytes());
        Writer::new(&mut check, Class::Request, method::BINDING, TransactionId([seed; 12]))
            .username(format!("{}:client{number}", server.ufrag()).as_bytes())
            .priority(1)
            .integrity(&key)
            .fingerprint();
        let address = ([198, 51, 100, seed], 5000).into();
        out.clear();
        out.push(Path { socket: SocketId(0), remote: address }, &check);
        let answers = endpoint.take(address, &out, now);
        self.browsers.push(Browser { id: transport_id, transport, address, received: vec![], silent: false });
        self.give(&answers);
    }

    /// Gives browsers what a shard sent.
    fn give(&mut self, out: &TransmitQueue) {
        for entry in out.entries() {
            let Some(browser) = self.browsers.iter_mut().find(|browser| browser.address == entry.path.remote) else {
                continue;
            };
            if browser.silent {
                continue;
            }
            let mut back = TransmitQueue::default();
            let path = Path { socket: SocketId(0), remote: "192.0.2.1:10000".parse().unwrap() };
            browser.transport.handle_datagram(path, &mut out.datagram(entry).to_vec(), self.now, &mut back);
            while let Some(event) = browser.transport.poll_data_event() {
                if let DataEvent::Message { payload, .. } = event {
                    browser.received.push(payload);
                }
            }
            let (shard, address) = ((browser.id >> 48) as usize, browser.address);
            let answers = self.shards[shard].take(address, &back, self.now);
            self.give(&answers);
        }
    }

    /// Carries messages between shards and takes events.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            for shard in 0..2 {
                while let Some((to, message)) = self.shards[shard].poll_message() {
                    let mut out = TransmitQueue::default();
                    self.shards[usize::from(to)].handle_message(shard as Shard, message, self.now, &mut out);
                    self.give(&out);
                    idle = false;
                }
                while let Some(event) = self.shards[shard].poll_event() {
                    self.events.push(event);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.now < until {
            self.now = self.now + Duration::from_millis(10);
            for shard in 0..2 {
                let mut out = TransmitQueue::default();
                self.shards[shard].handle_timeout(self.now, &mut out);
                self.give(&out);
            }
            for number in 0..self.browsers.len() {
                let browser = &mut self.browsers[number];
                let mut out = TransmitQueue::default();
                browser.transport.handle_timeout(self.now, &mut out);
                let (shard, address) = ((browser.id >> 48) as usize, browser.address);
                let answers = self.shards[shard].take(address, &out, self.now);
                self.give(&answers);
            }
            self.settle();
        }
    }

    /// Has a browser open another channel; its stream.
    fn open(&mut self, number: usize, channel: Channel) -> u16 {
        let browser = &mut self.browsers[number];
        let mut out = TransmitQueue::default();
        let stream = browser.transport.open_channel(channel, None, self.now, &mut out).unwrap();
        let (shard, address) = ((browser.id >> 48) as usize, browser.address);
        let answers = self.shards[shard].take(address, &out, self.now);
        self.give(&answers);
        self.run(Duration::from_secs(1));
        stream
    }

    fn join(&mut self, number: usize, topic: u64, may_send: bool, may_receive: bool) {
        self.join_on((self.browsers[number].id, 0), number, topic, may_send, may_receive);
    }

    fn join_on(&mut self, channel: ChannelId, number: usize, topic: u64, may_send: bool, may_receive: bool) {
        let sender = format!("browser {number}").into();
        let membership = Membership { topic, may_send, may_receive, report: number == 0, sender };
        let mut out = TransmitQueue::default();
        let shard = &mut self.shards[(channel.0 >> 48) as usize];
        shard.join_topic(channel, membership, self.now, &mut out).unwrap();
        self.give(&out);
        self.settle();
    }

    fn say(&mut self, number: usize, text: &[u8]) {
        let browser = &mut self.browsers[number];
        let mut out = TransmitQueue::default();
        browser.transport.send_message(0, MessageKind::Text, text, self.now, &mut out).ok();
        let (shard, address) = ((browser.id >> 48) as usize, browser.address);
        let answers = self.shards[shard].take(address, &out, self.now);
        self.give(&answers);
        self.settle();
    }

    fn heard(&mut self) -> Vec<Vec<Vec<u8>>> {
        self.browsers.iter_mut().map(|browser| std::mem::take(&mut browser.received)).collect()
    }

    fn counter(&self, wanted: &str) -> u64 {
        let mut total = 0;
        for shard in &self.shards {
            shard.counters(|name, value| total += if name == wanted { value } else { 0 });
        }
        total
    }
}

impl Endpoint {
    /// Takes datagrams of one peer and gives what leaves.
    fn take(&mut self, from: std::net::SocketAddr, datagrams: &TransmitQueue, now: Time) -> TransmitQueue<'static> {
        let (mut batch, mut out) = (ReceiveBatch::default(), TransmitQueue::default());
        for entry in datagrams.entries() {
            batch.push(Path { socket: SocketId(0), remote: from }, datagrams.datagram(entry));
        }
        let all = 0..batch.len();
        self.handle_batch(&mut batch, all, now, &mut out);
        out
    }
}

#[test]
fn a_message_reaches_every_other_member_on_every_shard_once() {
    let mut world = World::new(&[0, 0, 1]);
    for number in 0..3 {
        world.join(number, 7, true, true);
    }
    world.say(0, b"hello");
    world.run(Duration::from_secs(1));
    assert_eq!(world.heard(), [vec![], vec![b"hello".to_vec()], vec![b"hello".to_vec()]]);
    world.say(2, b"from afar");
    world.run(Duration::from_secs(1));
    assert_eq!(world.heard(), [vec![b"from afar".to_vec()], vec![b"from afar".to_vec()], vec![]]);
    assert_eq!(world.shards.iter().map(Endpoint::messages_delivered).sum::<u64>(), 4);
    let reported: Vec<_> =
        world.events.iter().filter(|event| matches!(event, EndpointEvent::ChannelMessage { .. })).collect();
    let payload = b"hello".to_vec();
    assert_eq!(reported, [&EndpointEvent::ChannelMessage { id: world.browsers[0].id, stream: 0, text: true, payload }]);
}

/// `one`, `two`, … as they were said.
fn numbered(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    range.map(|number| number.to_string().into_bytes()).collect()
}

#[test]
fn what_is_said_before_the_topic_is_known_follows_in_order_and_in_bounds() {
    let mut world = World::new(&[0, 1]);
    world.join(1, 7, true, true);
    for text in numbered(0..300) {
        world.say(0, &text);
        world.run(Duration::from_millis(10));
    }
    world.join(0, 7, true, true);
    world.say(0, b"now");
    world.run(Duration::from_secs(1));
    let mut wanted = numbered(0..256);
    wanted.push(b"now".to_vec());
    assert_eq!(world.heard()[1], wanted);
    assert_eq!(world.counter("data_held_full"), 300 - 256);
}

#[test]
fn what_is_said_before_anybody_else_is_there_waits_for_the_first_who_comes() {
    for shards in [[0, 0, 0], [0, 1, 0]] {
        let mut world = World::new(&shards);
        world.say(2, b"before");
        world.join(2, 7, true, true);
        world.say(2, b"alone");
        world.run(Duration::from_secs(1));
        world.join(1, 7, true, true);
        world.say(2, b"together");
        world.run(Duration::from_secs(1));
        let all = [&b"before"[..], b"alone", b"together"].map(<[u8]>::to_vec).to_vec();
        assert_eq!(world.heard(), [vec![], all, vec![]], "shards {shards:?}");
        // What it says when everybody has gone is not for those who come later.
        let gone = (world.browsers[1].id, 0);
        world.shards[shards[1] as usize].leave_topic(gone).unwrap();
        world.settle();
        world.say(2, b"to nobody");
        world.run(Duration::from_secs(1));
        world.join(0, 7, true, true);
        world.run(Duration::from_secs(1));
        assert_eq!(world.heard()[0], Vec::<Vec<u8>>::new());
    }
}

#[test]
fn what_waits_too_long_or_ends_with_its_channel_is_counted() {
    let mut world = World::new(&[0, 1]);
    world.say(0, b"old");
    world.run(super::held::HELD_FOR + Duration::from_secs(1));
    world.say(0, b"new");
    world.join(1, 7, true, true);
    world.join(0, 7, true, true);
    world.run(Duration::from_secs(1));
    assert_eq!(world.heard()[1], [b"new".to_vec()]);
    assert_eq!(world.counter("data_held_too_long"), 1);

    let mut world = World::new(&[0]);
    world.say(0, b"never heard");
    world.shards[0].close_transport(world.browsers[0].id, world.now, &mut TransmitQueue::default()).unwrap();
    assert_eq!(world.counter("data_held_closed"), 1);
}

#[test]
fn permissions_hold_and_a_member_that_moved_hears_the_new_topic_only() {
    let mut world = World::new(&[0, 0, 1]);
    world.join(0, 7, true, false);
    world.join(1, 7, false, true);
    world.join(2, 7, true, true);
    world.say(1, b"not allowed");
    world.say(2, b"for one only");
    world.run(Duration::from_secs(1));
    assert_eq!(world.heard(), [vec![], vec![b"for one only".to_vec()], vec![]]);
    assert_eq!(world.counter("data_not_permitted"), 1);
    world.join(2, 8, true, true);
    world.say(0, b"old topic");
    world.run(Duration::from_secs(1));
    assert_eq!(world.heard(), [vec![], vec![b"old topic".to_vec()], vec![]]);
    let mut out = TransmitQueue::default();
    let message = TopicMessage { kind: MessageKind::Text, payload: b"from above".to_vec() };
    world.shards[0].publish(8, message, world.now, &mut out);
    world.settle();
    world.run(Duration::from_secs(1));
    assert_eq!(world.heard(), [vec![], vec![], vec![b"from above".to_vec()]]);
}

#[test]
fn a_sender_beyond_its_rate_is_cut_back_by_name() {
    let mut world = World::new(&[0, 1]);
    for number in 0..2 {
        world.join(number, 7, true, true);
    }
    for _ in 0..300 {
        world.say(0, b"x");
    }
    world.run(Duration::from_millis(100));
    let heard = world.heard()[1].len() as u64;
    assert!((200..=220).contains(&heard), "{heard} messages passed");
    assert_eq!(heard + world.counter("data_rate_messages"), 300);
    world.run(Duration::from_secs(10));
    for _ in 0..20 {
        world.say(0, &[b'y'; 64 * 1024]);
        world.run(Duration::from_millis(20));
    }
    assert!(world.counter("data_rate_bytes") > 0);
}

#[test]
fn a_member_that_never_reads_hurts_nobody_and_goes_when_it_overflows() {
    let mut world = World::new(&[0, 0, 1]);
    for number in 0..3 {
        world.join(number, 7, true, true);
    }
    world.browsers[1].silent = true;
    let before = world.counter("data_channel_full");
    for _ in 0..40 {
        world.say(0, &[b'z'; 16 * 1024]);
        world.run(Duration::from_millis(50));
    }
    assert_eq!(world.heard()[2].len(), 40, "the other one heard everything");
    assert!(world.counter("data_channel_full") > before);
    let closed = EndpointEvent::ChannelClosed { id: world.browsers[1].id, stream: 0, reason: "too_slow" };
    assert!(world.events.contains(&closed));
    world.shards[0].close_transport(world.browsers[0].id, world.now, &mut TransmitQueue::default()).unwrap();
    world.settle();
    assert!(world.shards[0].topics.shards(7) == [1] && world.shards[1].topics.shards(7).is_empty());
}

#[test]
fn who_asks_for_names_gets_the_servers_word_for_the_sender() {
    let mut world = World::new(&[0, 1, 1]);
    for number in 0..2 {
        world.join(number, 7, true, true);
    }
    let stream = world.open(2, Channel { protocol: "mediaserver.named".into(), ..Channel::new("chat") });
    world.join_on((world.browsers[2].id, stream), 2, 7, true, true);
    world.say(0, b"browser 1\nI am somebody else");
    world.run(Duration::from_secs(1));
    let plain = b"browser 1\nI am somebody else".to_vec();
    assert_eq!(world.heard(), [vec![], vec![plain], vec![b"browser 0\nbrowser 1\nI am somebody else".to_vec()]]);
    let message = TopicMessage { kind: MessageKind::Text, payload: b"from above".to_vec() };
    world.shards[0].publish(7, message, world.now, &mut TransmitQueue::default());
    world.run(Duration::from_secs(1));
    assert_eq!(world.heard()[2], [b"\nfrom above".to_vec()]);
}
