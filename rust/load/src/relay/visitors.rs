//! Lanes through an Edge: visitors with a path each, and the Core's end of the link, which is this program's too.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, UNIX_EPOCH};

use aws_lc_rs::rand;
use mediaserver_proto::ice::{UfragKey, minute_of};
use mediaserver_proto::io::{MAX_DATAGRAM, SocketId, TransmitQueue};
use mediaserver_proto::link::frame::{FrameKind, HEADER, Header, frames};
use mediaserver_proto::link::{CoreEvent, CoreLink, CoreLinkConfig, LinkKey, LinkName};
use mediaserver_proto::path::PathId;
use mediaserver_proto::stun::{Class, TransactionId, Writer, method};
use mediaserver_proto::time::Time;

use super::ends::{each, sent};
use super::lanes::{Found, Lanes, Way};
use crate::net::{Inbox, Poll, Socket};

/// Who the Core is to the Edge, and which of its keys signs.
const CORE: u16 = 7;
const KEY: u8 = 1;
/// A link or a path that is not there after so long will not come.
const PATIENCE: Duration = Duration::from_secs(5);
/// A check that was not answered by a path is sent again.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// Paths end when they are silent for 45 s.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(10);
/// How long tokens are good for, in minutes.
const TOKEN_MINUTES: u32 = 120;

/// The sockets of visitors and of a Core.
#[derive(Debug)]
pub(super) struct Wires {
    visitors: Vec<Socket>,
    core: Socket,
    poll: Poll,
}

impl Wires {
    pub(super) fn new(core: Socket) -> Result<Wires, String> {
        let poll = Poll::new([]).map_err(|error| format!("epoll: {error}"))?;
        Ok(Wires { visitors: Vec::new(), core, poll })
    }

    pub(super) fn push(&mut self, visitor: Socket) -> Result<(), String> {
        let name = self.visitors.len() as u64;
        self.poll.add(visitor.as_raw_fd(), name).map_err(|error| format!("epoll: {error}"))?;
        self.visitors.push(visitor);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.visitors.len()
    }

    /// Datagrams of a visitor.
    pub(super) fn send_up(&self, lane: usize, payloads: &[u8], bytes: usize) -> Result<(), String> {
        let visitor = &self.visitors[lane];
        sent(if payloads.len() > bytes { visitor.send_joined(payloads, bytes) } else { visitor.send(payloads) })
    }

    /// Frames of the Core: as many in a datagram as fit, datagrams of equal length as one message.
    pub(super) fn send_down(
        &self,
        path: PathId,
        payloads: &[u8],
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        out.clear();
        for payload in payloads.chunks_exact(bytes) {
            out.extend_from_slice(&Header::new(FrameKind::Data, bytes as u16, path).write());
            out.extend_from_slice(payload);
        }
        let piece = MAX_DATAGRAM / (HEADER + bytes) * (HEADER + bytes);
        sent(if out.len() > piece { self.core.send_joined(out, piece) } else { self.core.send(out) })
    }

    /// What came for visitors, as it is.
    pub(super) fn receive_down(&mut self, inbox: &mut Inbox, found: &mut Found<'_>) -> Result<(), String> {
        let ready = self.poll.wait(0).map_err(|error| format!("epoll: {error}"))?;
        ready.iter().try_for_each(|&name| each(inbox, &self.visitors[name as usize], found))
    }

    /// Datagrams of the link.
    pub(super) fn receive_up(&self, inbox: &mut Inbox, found: &mut Found<'_>) -> Result<(), String> {
        each(inbox, &self.core, found)
    }

    pub(super) fn tell_arrival(&self, on: bool) -> Result<(), String> {
        let mut sockets = self.visitors.iter().chain([&self.core]);
        sockets.try_for_each(|socket| socket.tell_arrival(on)).map_err(|error| format!("timing: {error}"))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct EdgeLanes {
    public: SocketAddr,
    link_address: SocketAddr,
    wires: Wires,
    link: CoreLink,
    key: UfragKey,
    queue: TransmitQueue<'static>,
    /// By lane.
    paths: Vec<PathId>,
    /// The sockets of those that are silent.
    silent: Vec<Socket>,
    sessions: u64,
    renewed: Time,
    out: Vec<u8>,
}

impl EdgeLanes {
    pub(super) fn new(
        public: SocketAddr,
        link: SocketAddr,
        count: usize,
        ufrag_key: &[u8],
        link_key: &[u8],
    ) -> Result<EdgeLanes, String> {
        let secret = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map_err(|_| "a key has 32 bytes".to_owned());
        let mut random = [0u8; 40];
        rand::fill(&mut random).map_err(|_| "no random numbers")?;
        let (seed, instance) = random.split_at(32);
        let config = CoreLinkConfig {
            name: LinkName { core: CORE, shard: 0 },
            instance: u64::from_be_bytes(instance.try_into().unwrap_or_default()),
            seed: secret(seed)?,
            key: LinkKey::new(&secret(link_key)?),
            socket: SocketId(0),
            edge: link,
            number: 0,
            granted: 0,
        };
        let core = open(link)?;
        let mut lanes = EdgeLanes {
            public,
            link_address: link,
            wires: Wires::new(core)?,
            link: CoreLink::new(config, Time::ZERO),
            key: UfragKey::new(CORE, KEY, &secret(ufrag_key)?),
            queue: TransmitQueue::default(),
            paths: Vec::new(),
            silent: Vec::new(),
            sessions: 0,
            renewed: Time::ZERO,
            out: Vec::new(),
        };
        let (mut inbox, began) = (Inbox::default(), Instant::now());
        // With the size of datagrams that the wire is taken to have, frames share what they would on Ethernet.
        while !lanes.link.is_up() || lanes.link.mtu() < MAX_DATAGRAM {
            let now = Time::ZERO + began.elapsed();
            lanes.pulse(now)?;
            lanes.take_up(&mut inbox, now, &mut |_, _| {})?;
            if began.elapsed() > PATIENCE {
                return Err("the Edge does not answer on the link".into());
            }
        }
        for _ in 0..count {
            let (visitor, path) = lanes.join(&mut inbox, Time::ZERO + began.elapsed())?;
            lanes.wires.push(visitor)?;
            lanes.paths.push(path);
        }
        Ok(lanes)
    }

    /// A visitor with a proven path.
    fn join(&mut self, inbox: &mut Inbox, now: Time) -> Result<(Socket, PathId), String> {
        let visitor = open(self.public)?;
        self.sessions += 1;
        let minute = minute_of(UNIX_EPOCH.elapsed().unwrap_or_default());
        let ufrag = self.key.make(self.sessions, 0, minute + TOKEN_MINUTES);
        let mut check = Vec::new();
        Writer::new(&mut check, Class::Request, method::BINDING, TransactionId([9; 12]))
            .username(format!("{ufrag}:peer").as_bytes())
            .fingerprint();
        let began = Instant::now();
        let mut checks = 0;
        while began.elapsed() < PATIENCE {
            if began.elapsed() >= CHECK_EVERY * checks {
                checks += 1;
                sent(visitor.send(&check))?;
            }
            let mut proven = None;
            let is_check = |body: &[u8]| body == check;
            self.take_up(inbox, now + began.elapsed(), &mut |frame, _| {
                let header = Header::read(frame).filter(|header| header.is_proven && is_check(&frame[HEADER..]));
                proven = proven.or(header.map(|header| header.path));
            })?;
            if let Some(path) = proven {
                return Ok((visitor, path));
            }
            // It comes again, by the proven path.
            if self.prove(now + began.elapsed())? {
                sent(visitor.send(&check))?;
            }
        }
        Err("the Edge lets a visitor with a token not in".into())
    }

    /// Says of new paths that they have answered a challenge; whether there was one.
    fn prove(&mut self, now: Time) -> Result<bool, String> {
        let mut any = false;
        while let Some(event) = self.link.poll_event() {
            if let CoreEvent::Opened(path) = event {
                self.link.prove(path, now, &mut self.queue);
                any = true;
            }
        }
        self.flush()?;
        Ok(any)
    }

    /// Takes what came by the link: shows the frames with datagrams of acknowledged paths, and handles the others.
    fn take_up(&mut self, inbox: &mut Inbox, now: Time, found: &mut Found<'_>) -> Result<(), String> {
        let EdgeLanes { wires, link, queue, link_address, .. } = self;
        let mut known = Vec::new();
        wires.receive_up(inbox, &mut |datagram, arrived| {
            let mut others = false;
            for frame in frames(datagram).map_while(Result::ok) {
                match frame.header.kind {
                    FrameKind::Data => found(frame.bytes, arrived),
                    _ => others = true,
                }
            }
            if others {
                link.handle_datagram(*link_address, datagram, 0, now, &mut known, queue);
            }
        })?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), String> {
        for entry in self.queue.entries() {
            // What is larger does not pass on Ethernet.
            if entry.len <= MAX_DATAGRAM {
                sent(self.wires.core.send(self.queue.datagram(entry)))?;
            }
        }
        self.queue.clear();
        Ok(())
    }
}

impl Lanes for EdgeLanes {
    fn count(&self) -> usize {
        self.wires.len()
    }

    fn send(&mut self, lane: usize, way: Way, payloads: &[u8], bytes: usize) -> Result<(), String> {
        match way {
            Way::Up => self.wires.send_up(lane, payloads, bytes),
            Way::Down => self.wires.send_down(self.paths[lane], payloads, bytes, &mut self.out),
        }
    }

    fn receive(&mut self, inbox: &mut Inbox, now: Time, found: &mut Found<'_>) -> Result<(), String> {
        self.wires.receive_down(inbox, found)?;
        self.take_up(inbox, now, &mut |frame, arrived| found(&frame[HEADER..], arrived))
    }

    fn tell_arrival(&self, on: bool) -> Result<(), String> {
        self.wires.tell_arrival(on)
    }

    fn add(&mut self, inbox: &mut Inbox, now: Time) -> Result<(), String> {
        let (visitor, _) = self.join(inbox, now)?;
        self.silent.push(visitor);
        Ok(())
    }

    fn pulse(&mut self, now: Time) -> Result<(), String> {
        if self.link.poll_timeout().is_some_and(|due| due <= now) {
            self.link.handle_timeout(now, &mut self.queue);
            self.flush()?;
        }
        Ok(())
    }

    fn keep(&mut self, _inbox: &mut Inbox, now: Time) -> Result<(), String> {
        if now.since(self.renewed) < SIGN_OF_LIFE_EVERY {
            return Ok(());
        }
        self.renewed = now;
        self.wires.visitors.iter().chain(&self.silent).try_for_each(|visitor| sent(visitor.send(&[0x80; 12])))
    }
}

fn open(remote: SocketAddr) -> Result<Socket, String> {
    Socket::open(0).and_then(|socket| socket.connected(remote)).map_err(|error| format!("socket: {error}"))
}
