//! Connections on virtual time: a visitor at one end of a pipe, a shard at the other end of the rings.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::ice::UfragKey;
use mediaserver_proto::io::{Path, ReceiveBatch, SocketId};
use mediaserver_proto::stream::Framing;
use rtrb::{Consumer, Producer, RingBuffer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};

use super::carry::{Taker, carry};
use super::door::MOST_WAITING;
use super::hub::Hub;
use super::mesh::Mesh;
use crate::admission::{Admission, Shards};
use crate::counters::Counters;
use crate::mailbox::{Waker, event_queue};
use crate::metrics::Published;
use crate::rings::Rings;
use crate::worker::Links;

const STREAMS: usize = 1;
/// Connections of one source that may wait, where nothing else is said.
const OF_ONE: usize = 64;

/// The shard's ends, and everything in between.
pub(super) struct House {
    pub(super) hub: Rc<Hub>,
    to_shard: Consumer<ShardMessage>,
    from_shard: Producer<ShardMessage>,
}

fn key() -> UfragKey {
    UfragKey::new(7, 1, &[3; 32])
}

pub(super) fn house() -> House {
    let (to_shard, taken) = RingBuffer::new(64);
    let (from_shard, given) = RingBuffer::new(64);
    let wakers = Arc::new((0..2).map(|_| Waker::new().unwrap()).collect::<Vec<_>>());
    let links = Links {
        inbox: RingBuffer::new(1).1,
        events: event_queue().unwrap().0,
        rings: Rings::new(vec![Some(given), None], vec![Some(to_shard), None], wakers.clone()),
        wakers,
        stop: Arc::default(),
        published: Published::default(),
    };
    let keys = crate::key_ring::KeyRing::new(key());
    let admission =
        Admission::Shards(Box::new(Shards { keys, count: 1, unix_epoch: Duration::from_secs(1_800_000_000) }));
    let hub = Rc::new(Hub::new(Mesh::new(Instant::now(), links), admission));
    House { hub, to_shard: taken, from_shard }
}

impl House {
    /// Lets everybody do what there is to do.
    async fn settle(&self) {
        for _ in 0..20 {
            while let Some((from, message)) = self.hub.mesh.take_message() {
                self.hub.handle_message(from, message);
            }
            yield_now().await;
        }
    }

    async fn tell(&mut self, message: ShardMessage) {
        self.from_shard.push(message).unwrap();
        self.settle().await;
    }

    async fn send(&mut self, path: Path, datagrams: &[&[u8]]) {
        let mut batch = Box::<ReceiveBatch>::default();
        for datagram in datagrams {
            batch.push(path, datagram);
        }
        self.tell(ShardMessage::Datagrams(batch)).await;
    }

    /// What the shard was given since the last call; buffers that come back are left out.
    fn taken(&mut self) -> Vec<(Path, Vec<u8>)> {
        let mut all = Vec::new();
        while let Ok(message) = self.to_shard.pop() {
            if let ShardMessage::Datagrams(batch) = message {
                all.extend(batch.entries().iter().map(|entry| (entry.path, batch.datagram(entry).to_vec())));
            }
        }
        all
    }

    fn next(&mut self) -> Option<ShardMessage> {
        self.to_shard.pop().ok()
    }

    fn count(&self, name: &str) -> u64 {
        let mut counters = Counters::default();
        self.hub.counts.write(&mut counters);
        counters.get(name).unwrap_or(0)
    }

    /// A visitor who has connected.
    fn connect(&self, remote: &str, pipe: usize) -> Option<(Path, DuplexStream, JoinHandle<()>)> {
        self.connect_to(Taker::Media, remote, pipe)
    }

    fn connect_to(&self, taker: Taker, remote: &str, pipe: usize) -> Option<(Path, DuplexStream, JoinHandle<()>)> {
        let path = Path { socket: SocketId::carried(STREAMS as u16, 0), remote: remote.parse().unwrap() };
        let place = self.hub.enter(path, taker.framing())?;
        let (visitor, stream) = duplex(pipe);
        let task = spawn_local(async move {
            let end = carry(&place, taker, stream).await;
            place.close(end);
        });
        Some((path, visitor, task))
    }

    /// One whose check has passed.
    async fn connect_bound(&mut self) -> (Path, DuplexStream, JoinHandle<()>) {
        let (path, mut visitor, task) = self.connect("192.0.2.1:40000", 1 << 20).unwrap();
        visitor.write_all(&framed(&check(&token()))).await.unwrap();
        self.settle().await;
        assert_eq!(self.taken(), [(path, check(&token()))]);
        self.tell(ShardMessage::PathBound(path)).await;
        (path, visitor, task)
    }
}

fn token() -> String {
    key().make(42, 0, 0xff_ffff)
}

/// A STUN Binding request for the local ufrag `ufrag`.
fn check(ufrag: &str) -> Vec<u8> {
    let name = format!("{ufrag}:theirs");
    let mut bytes = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[9; 12], &[0, 6, 0, name.len() as u8]].concat();
    bytes.extend_from_slice(name.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes[3] = (bytes.len() - 20) as u8;
    bytes
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    [&(datagram.len() as u16).to_be_bytes()[..], datagram].concat()
}

async fn on_virtual_time<F: Future>(test: F) -> F::Output {
    tokio::time::pause();
    LocalSet::new().run_until(test).await
}

/// Whether the other side has closed the pipe, without an answer.
async fn is_closed(visitor: &mut DuplexStream) -> bool {
    matches!(visitor.read(&mut [0; 16]).await, Ok(0))
}

#[tokio::test]
async fn datagrams_travel_both_ways_and_the_connection_ends_with_its_path() {
    on_virtual_time(async {
        let mut house = house();
        let (path, mut visitor, task) = house.connect_bound().await;
        // Cut wherever; an empty frame is nothing to a shard.
        let stream = [framed(b"\x16dtls"), framed(b""), framed(b"\x80rtp")].concat();
        visitor.write_all(&stream[..3]).await.unwrap();
        house.settle().await;
        visitor.write_all(&stream[3..]).await.unwrap();
        house.settle().await;
        assert_eq!(house.taken(), [(path, b"\x16dtls".to_vec()), (path, b"\x80rtp".to_vec())]);

        house.send(path, &[b"one", b"three"]).await;
        let mut answer = [0; 12];
        visitor.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer.as_slice(), [framed(b"one"), framed(b"three")].concat());

        // It lives longer than one whose check has not passed.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!task.is_finished());
        // What was said last still gets there.
        house.from_shard.push(ShardMessage::PathUnbound(path)).unwrap();
        house.send(path, &[b"bye"]).await;
        visitor.read_exact(&mut answer[..5]).await.unwrap();
        assert_eq!(answer[..5], framed(b"bye"));
        assert!(is_closed(&mut visitor).await);
        assert_eq!((house.hub.open(), house.count("stream_connections")), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn whoever_does_not_begin_with_a_valid_check_is_closed_and_counted() {
    let forged = UfragKey::new(7, 1, &[4; 32]).make(42, 0, 0xff_ffff);
    let foreign = UfragKey::new(8, 1, &[3; 32]).make(42, 0, 0xff_ffff);
    let expired = key().make(42, 0, 1);
    let no_such_shard = key().make(5 << 48, 0, 0xff_ffff);
    let mut response = check(&token());
    response[0] = 1;
    on_virtual_time(async {
        for (first, name) in [
            (check(&forged), "drop.stream_forged_ufrag"),
            (check(&foreign), "drop.stream_foreign_ufrag"),
            (check("abcd"), "drop.stream_foreign_ufrag"),
            (check(&expired), "drop.stream_expired_ufrag"),
            (check(&no_such_shard), "drop.stream_foreign_ufrag"),
            (response.clone(), "drop.stream_no_check"),
            (b"\x16dtls".to_vec(), "drop.stream_no_check"),
            (Vec::new(), "drop.stream_no_check"),
        ] {
            let mut house = house();
            let (_, mut visitor, task) = house.connect("192.0.2.1:40000", 1 << 20).unwrap();
            // A valid check behind it helps nobody.
            visitor.write_all(&[framed(&first), framed(&check(&token()))].concat()).await.unwrap();
            task.await.unwrap();
            assert!(is_closed(&mut visitor).await);
            assert_eq!((house.count(name), house.hub.open()), (1, 0), "{name}");
            assert!(house.taken().is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn who_says_nothing_half_a_frame_or_a_check_that_does_not_pass_is_closed_in_time() {
    on_virtual_time(async {
        for first in [Vec::new(), vec![0], framed(&check(&token()))[..30].to_vec(), framed(&check(&token()))] {
            let house = house();
            let (_, mut visitor, task) = house.connect("192.0.2.1:40000", 1 << 20).unwrap();
            visitor.write_all(&first).await.unwrap();
            let begun = tokio::time::Instant::now();
            task.await.unwrap();
            assert_eq!(begun.elapsed().as_secs(), 5);
            assert_eq!(house.count("drop.stream_silent"), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_shard_learns_that_a_connection_is_gone_also_when_its_check_was_under_way() {
    on_virtual_time(async {
        let mut house = house();
        let (path, visitor, task) = house.connect_bound().await;
        drop(visitor);
        task.await.unwrap();
        assert!(matches!(house.next(), Some(ShardMessage::PathClosed(closed)) if closed == path));
        house.tell(ShardMessage::PathBound(path)).await;
        assert!(matches!(house.next(), Some(ShardMessage::PathClosed(closed)) if closed == path));
        house.send(path, &[b"late"]).await;
        assert_eq!(house.count("drop.stream_gone"), 1);
    })
    .await;
}

#[tokio::test]
async fn half_closed_is_closed() {
    on_virtual_time(async {
        let mut house = house();
        let (_, mut visitor, task) = house.connect_bound().await;
        visitor.shutdown().await.unwrap();
        task.await.unwrap();
        assert!(is_closed(&mut visitor).await);
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_loses_whole_datagrams_and_what_it_reads_is_in_order() {
    on_virtual_time(async {
        let mut house = house();
        let (path, mut visitor, _task) = house.connect("192.0.2.1:40000", 3_000).unwrap();
        visitor.write_all(&framed(&check(&token()))).await.unwrap();
        house.settle().await;
        for n in 0..400u16 {
            let datagram = [&n.to_be_bytes()[..], &[0; 998]].concat();
            house.send(path, &[&datagram]).await;
        }
        let lost = house.count("drop.stream_slow_reader");
        assert!((100..200).contains(&lost), "{lost}");
        let (mut seen, mut frame) = (Vec::new(), [0; 1002]);
        for _ in 0..400 - lost {
            visitor.read_exact(&mut frame).await.unwrap();
            assert_eq!(frame[..2], [3, 232]);
            seen.push(u16::from_be_bytes([frame[2], frame[3]]));
        }
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
    })
    .await;
}

#[tokio::test]
async fn frames_of_65535_bytes_are_passed_over_and_counted() {
    on_virtual_time(async {
        let mut house = house();
        let (path, mut visitor, _task) = house.connect_bound().await;
        visitor.write_all(&[framed(&[0x80; 65_535]), framed(b"\x80rtp")].concat()).await.unwrap();
        house.settle().await;
        assert_eq!(house.taken(), [(path, b"\x80rtp".to_vec())]);
        assert_eq!(house.count("drop.stream_frame_too_long"), 1);
    })
    .await;
}

#[tokio::test]
async fn one_source_has_a_bound_and_a_crowd_of_many_sends_the_oldest_away() {
    on_virtual_time(async {
        let house = house();
        let mut one = Vec::new();
        for port in 0..OF_ONE {
            one.push(house.connect(&format!("192.0.2.{}:{}", port % 200, 1000 + port), 64).unwrap());
        }
        assert!(house.connect("192.0.2.201:9", 64).is_none());
        assert_eq!(house.count("drop.stream_source_limit"), 1);
        let mut others = Vec::new();
        for n in 0..MOST_WAITING - OF_ONE + 3 {
            others.push(house.connect(&format!("10.{}.{}.1:1000", n / 256, n % 256), 64).unwrap());
            house.settle().await;
        }
        assert_eq!(house.count("drop.stream_crowded"), 3);
        assert!(one[..3].iter().all(|(_, _, task)| task.is_finished()));
        assert!(!one[3].2.is_finished());
        assert_eq!(house.hub.open(), MOST_WAITING);
    })
    .await;
}

/// A STUN message of a type, without attributes.
fn stun(kind: [u8; 2]) -> Vec<u8> {
    [&kind[..], &[0, 0, 0x21, 0x12, 0xa4, 0x42], &[9; 12]].concat()
}

#[tokio::test]
async fn a_relay_is_given_what_its_clients_say_and_they_stay_once_it_has_granted_something() {
    on_virtual_time(async {
        let mut house = house();
        // In this house the relay has the place of the shard.
        let (path, mut client, task) = house.connect_to(Taker::Relay(0), "192.0.2.1:40000", 1 << 20).unwrap();
        let (allocate, channel) = (stun([0, 3]), [0x40, 0, 0, 1, 9, 0, 0, 0]);
        client.write_all(&[&allocate[..], &channel].concat()).await.unwrap();
        house.settle().await;
        assert_eq!(house.taken(), [(path, allocate), (path, channel[..5].to_vec())]);
        house.send(path, &[&stun([1, 3]), &channel[..5]]).await;
        let mut answer = [0; 28];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer.as_slice(), [&stun([1, 3])[..], &channel].concat());
        // Longer than an allocation lives without a word, it does not stay either.
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert!(!task.is_finished());
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert!(task.is_finished());
    })
    .await;
}

#[test]
fn the_first_two_bytes_tell_media_from_turn() {
    for first in [check(&token()), check("abcd")] {
        assert_eq!(Taker::of(u16::from_be_bytes([framed(&first)[0], framed(&first)[1]]), 3), Taker::Media);
    }
    for kind in [[0, 1], [0, 3], [0, 4]] {
        assert_eq!(Taker::of(u16::from_be_bytes(kind), 3), Taker::Relay(3));
    }
}

#[tokio::test]
async fn on_a_shared_port_each_is_framed_as_it_turns_out_to_be() {
    on_virtual_time(async {
        for (taker, first, answer) in [
            (Taker::Media, framed(&check(&token())), framed(b"one")),
            // In this house the relay has the place of the shard.
            (Taker::Relay(0), stun([0, 3]), b"one".to_vec()),
        ] {
            let mut house = house();
            let path =
                Path { socket: SocketId::carried(STREAMS as u16, 0), remote: "192.0.2.1:40000".parse().unwrap() };
            let place = house.hub.enter(path, Framing::Turn).unwrap();
            place.line.frame_as(taker.framing());
            let (mut visitor, stream) = duplex(1 << 20);
            spawn_local(async move { carry(&place, taker, stream).await });
            visitor.write_all(&first).await.unwrap();
            house.settle().await;
            assert_eq!(house.taken().len(), 1);
            house.send(path, &[b"one"]).await;
            let mut read = vec![0; answer.len()];
            visitor.read_exact(&mut read).await.unwrap();
            assert_eq!(read, answer);
        }
    })
    .await;
}

#[tokio::test]
async fn who_gets_nothing_of_a_relay_or_does_not_speak_to_it_is_closed() {
    on_virtual_time(async {
        for (first, answer, name) in [
            (stun([0, 3]), Some(stun([1, 0x13])), "drop.stream_silent"),
            (stun([0, 1]), Some(stun([1, 1])), "drop.stream_silent"),
            (vec![0x40, 0, 0, 1, 9, 0, 0, 0], None, "drop.stream_no_check"),
            // Its first letters are those of ChannelData longer than any.
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), None, "drop.stream_silent"),
            (vec![0x16, 3, 1, 2, 0], None, "drop.stream_no_frame"),
        ] {
            let mut house = house();
            let (path, mut client, task) = house.connect_to(Taker::Relay(0), "192.0.2.1:40000", 1 << 20).unwrap();
            client.write_all(&first).await.unwrap();
            house.settle().await;
            if let Some(answer) = answer {
                house.send(path, &[&answer]).await;
            }
            task.await.unwrap();
            assert_eq!((house.count(name), house.hub.open()), (1, 0), "{name} {first:?}");
        }
    })
    .await;
}
