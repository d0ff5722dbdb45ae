//! What all connections of the thread have in common: who they are, and the ways to the other threads.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use mediaserver_proto::endpoint::{Shard, ShardMessage};
use mediaserver_proto::io::{Path, ReceiveBatch};
use mediaserver_proto::stream::Framing;
use mediaserver_proto::turn::Network;

use super::counts::Counts;
use super::door::{Closed, Door, MOST_WAITING};
use super::line::{End, Line, PIECE_BYTES};
use super::mesh::Mesh;
use crate::admission::Admission;
use crate::config::ConnectionLimits;

/// How the answer to an Allocate request begins that has been granted (RFC 8656 §3): it proves who gets it. From a shard
/// nothing comes that begins so, but to those who have proven themselves before.
const ALLOCATED: [u8; 2] = [0x01, 0x03];

/// See the module.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) mesh: Mesh,
    pub(super) counts: Counts,
    pub(super) admission: Admission,
    /// What one read brings; nobody keeps it.
    pub(super) piece: RefCell<Vec<u8>>,
    /// Networks of proxies, which say whose a connection is.
    proxies: RefCell<Vec<Network>>,
    door: RefCell<Door>,
    lines: RefCell<HashMap<Path, Rc<Line>>>,
    /// Those that have proven nothing, the oldest first, and some that have since.
    waiting: RefCell<VecDeque<Rc<Line>>>,
}

impl Hub {
    /// A thread without connections.
    pub(super) fn new(mesh: Mesh, admission: Admission) -> Hub {
        Hub {
            mesh,
            counts: Counts::default(),
            admission,
            piece: RefCell::new(vec![0; PIECE_BYTES]),
            proxies: RefCell::default(),
            door: RefCell::default(),
            lines: RefCell::default(),
            waiting: RefCell::default(),
        }
    }

    /// Takes a connection, if there is room; it is given up when the place is dropped.
    pub(super) fn enter(self: &Rc<Hub>, path: Path, framing: Framing) -> Option<Place> {
        let line = Rc::new(Line::new(path, framing));
        // Many come through a proxy; each of them is counted once it has said who it is.
        let is_proxy = self.is_proxy(path.remote.ip());
        if let Err(closed) = self.door.borrow_mut().enter(line.source.get(), is_proxy) {
            let name = match closed {
                Closed::Full => "drop.stream_full",
                Closed::SourceLimit => "drop.stream_source_limit",
            };
            self.counts.add(name, 1);
            return None;
        }
        self.counts.add("stream_connections", 1);
        self.lines.borrow_mut().insert(path, line.clone());
        self.wait(line.clone());
        Some(Place { hub: self.clone(), line })
    }

    /// Remembers who has to prove itself, and sends the oldest away when there are too many.
    fn wait(&self, line: Rc<Line>) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= 4 * MOST_WAITING {
            waiting.retain(|line| line.is_waiting());
        }
        while let Some(oldest) = waiting.pop_front_if(|oldest| !oldest.is_waiting() || self.door.borrow().is_crowded())
        {
            if oldest.is_waiting() {
                oldest.end(End::Crowded);
                break;
            }
        }
        waiting.push_back(line);
    }

    /// Believes these from now on.
    pub(super) fn trust(&self, proxies: Vec<Network>) {
        *self.proxies.borrow_mut() = proxies;
    }

    /// Other bounds from now on.
    pub(super) fn set_limits(&self, limits: ConnectionLimits) {
        self.door.borrow_mut().set_limits(limits);
    }

    /// Whether a connection from there begins with a PROXY header.
    pub(super) fn is_proxy(&self, ip: IpAddr) -> bool {
        self.proxies.borrow().iter().any(|network| network.contains(ip.to_canonical()))
    }

    /// Open connections.
    pub(super) fn open(&self) -> usize {
        self.door.borrow().open()
    }

    /// Does what another thread says.
    pub(super) fn handle_message(&self, from: Shard, message: ShardMessage) {
        match message {
            ShardMessage::Datagrams(batch) => {
                self.send(&batch);
                // A buffer that finds no room is made anew there.
                self.mesh.give_back(usize::from(from), batch);
            }
            ShardMessage::Returned(batch) => self.mesh.reclaim(batch),
            ShardMessage::PathBound(path) => match self.line(path) {
                Some(line) => self.bound(&line),
                // It closed while the check was under way.
                None => self.mesh.tell(usize::from(from), ShardMessage::PathClosed(path), &self.counts),
            },
            ShardMessage::PathUnbound(path) => {
                if let Some(line) = self.line(path).filter(|line| line.owner.get() == Some(usize::from(from))) {
                    line.end(End::Unbound);
                }
            }
            // There is no media here.
            _ => {}
        }
    }

    fn send(&self, batch: &ReceiveBatch) {
        let now = self.mesh.now();
        let lines = self.lines.borrow();
        for entry in batch.entries() {
            match lines.get(&entry.path) {
                Some(line) => {
                    let datagram = batch.datagram(entry);
                    line.send(datagram, now, &self.counts);
                    if datagram.starts_with(&ALLOCATED) {
                        self.bound(line);
                    }
                }
                None => self.counts.add("drop.stream_gone", 1),
            }
        }
    }

    fn line(&self, path: Path) -> Option<Rc<Line>> {
        self.lines.borrow().get(&path).cloned()
    }

    fn bound(&self, line: &Line) {
        if !line.bound.replace(true) {
            self.door.borrow_mut().proven(line.source.get());
        }
    }
}

/// A connection's place among the others.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) hub: Rc<Hub>,
    pub(super) line: Rc<Line>,
}

impl Place {
    /// A proxy says whose it is.
    pub(super) fn came_from(&self, visitor: IpAddr) -> Result<(), End> {
        let source = visitor.into();
        self.hub.door.borrow_mut().moved(self.line.source.get(), source).map_err(|_| End::SourceLimit)?;
        self.line.source.set(source);
        Ok(())
    }

    /// It has proven itself by something else than a datagram.
    pub(super) fn proven(&self) {
        self.hub.bound(&self.line);
    }

    /// Gives it up, and counts why.
    pub(super) fn close(self, end: End) {
        if let Some(name) = end.drop_name() {
            self.hub.counts.add(name, 1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Place { hub, line } = self;
        // So that nobody counts it as one that waits.
        line.end(End::Peer);
        hub.lines.borrow_mut().remove(&line.path);
        hub.door.borrow_mut().leave(line.source.get(), line.bound.get());
        hub.counts.add("panics", u64::from(std::thread::panicking()));
        hub.counts.touch();
        if let Some(owner) = line.owner.get() {
            hub.mesh.tell(owner, ShardMessage::PathClosed(line.path), &hub.counts);
        }
    }
}
