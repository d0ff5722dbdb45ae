//! The engine as its owner sees it: started, fed with command batches, drained of event batches, stopped.

mod address;
mod audio;
mod edges;
mod error;
mod layout;
mod relay;
mod routing;
mod shards;
mod streams;
mod threads;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use mediaserver_proto::ice::UfragKey;
use mediaserver_proto::io::SocketId;

pub(crate) use self::address::{read_addresses, read_ip};
pub use self::error::EngineError;
pub(crate) use self::error::io_error;
use self::layout::Layout;
use self::shards::identity;
use self::threads::Thread;
use crate::admission::{Admission, EdgeThreads, Shards};
use crate::config::{Dscp, EngineConfig};
use crate::counters::{Counters, set};
use crate::edge::EdgeSockets;
use crate::event::{Event, write_batch};
use crate::key_ring::KeyRing;
use crate::link::LinkOwner;
use crate::mailbox::{EventReceiver, EventSender, Waker, event_queue};
use crate::rings::Rings;
use crate::socket::UdpSocket;

/// The packet engine.
pub struct Engine {
    config: EngineConfig,
    layout: Layout,
    epoch: Instant,
    /// Random: this life of the engine, for Edges.
    instance: u64,
    ufrag_key: UfragKey,
    keys: KeyRing,
    events: EventReceiver,
    event_sender: EventSender,
    wakers: Arc<Vec<Waker>>,
    stop: Arc<AtomicBool>,
    /// Those of threads that are yet to be started.
    rings: Vec<Rings>,
    threads: Vec<Thread>,
    clips: HashMap<u64, usize>,
    receive_buffer: u64,
    links: LinkOwner,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("shards", &self.config.shards).finish_non_exhaustive()
    }
}

impl Engine {
    /// Checks the configuration; nothing is bound yet.
    pub fn new(config: EngineConfig) -> Result<Engine, EngineError> {
        let layout = Layout::new(&config)?;
        let ufrag_key = read_ufrag_key(&config)?;
        let Dscp { audio, video, screen } = config.dscp;
        if [audio, video, screen].iter().any(|&mark| mark > 63) {
            return Err(EngineError::Config("dscp must be below 64".to_owned()));
        }
        let mut instance = [0; 8];
        rand::fill(&mut instance).map_err(|_| EngineError::Config("there are no random numbers".to_owned()))?;
        let epoch = Instant::now();
        // Only to refuse a bad certificate now; each shard makes its own.
        if config.shards > 0 {
            identity(&config, epoch)?;
        }
        let (event_sender, events) = event_queue().map_err(io_error("event queue"))?;
        let wakers = (0..layout.threads()).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>();
        let wakers = Arc::new(wakers.map_err(io_error("eventfd"))?);
        Ok(Engine {
            layout,
            epoch,
            instance: u64::from_ne_bytes(instance),
            keys: KeyRing::new(ufrag_key.clone()),
            ufrag_key,
            events,
            links: LinkOwner::new(event_sender.clone()),
            event_sender,
            wakers,
            stop: Arc::new(AtomicBool::new(false)),
            rings: Vec::new(),
            threads: Vec::new(),
            clips: HashMap::new(),
            receive_buffer: 0,
            config,
        })
    }

    /// Binds the sockets and starts the threads, in the order of their indices.
    pub fn start(&mut self) -> Result<(), EngineError> {
        if !self.threads.is_empty() {
            return Err(EngineError::State("the engine was started before"));
        }
        let shared = self.bind_shared()?;
        let listeners = self.bind_streams()?;
        let edge_sockets = self.bind_edges()?;
        let media = shared.iter().map(Vec::as_slice).chain(edge_sockets.first().map(EdgeSockets::public));
        let relay = self.relay_setup(media)?;
        self.rings = Rings::mesh(&self.wakers);
        self.start_shards(shared, &listeners)?;
        self.start_audio_threads()?;
        if let Some(setup) = relay {
            self.start_relay(setup)?;
        }
        self.start_edge_workers(edge_sockets)?;
        if self.layout.streams().is_some() {
            self.start_streams_thread(listeners)?;
        }
        self.connect_links();
        Ok(())
    }

    /// Everything that the threads have to tell.
    pub fn drain(&self) -> Result<Vec<u8>, EngineError> {
        let events = self.events.drain();
        let batch = write_batch(&events)?;
        for event in &events {
            if let Event::StreamOpened { fd, .. } = event {
                fd.hand_over();
            }
        }
        Ok(batch)
    }

    /// Readable when [`Engine::drain`] has something to give.
    pub fn event_fd(&self) -> RawFd {
        self.events.as_raw_fd()
    }

    /// Counters by name: the sum over all threads, and each one's own behind its name, as `shard<n>.`.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut own = Counters::default();
        set(&mut own, "shards", self.config.shards as u64);
        set(&mut own, "receive_buffer_bytes", self.receive_buffer);
        self.links.write(&mut own);
        let mut all = BTreeMap::new();
        for thread in &self.threads {
            let owner = thread.name.replace('-', "");
            for (name, value) in thread.published.read().iter() {
                all.insert(format!("{owner}.{name}"), value);
                // Quantiles do not add up: the worst shard's is the engine's.
                let total: &mut u64 = all.entry(name.to_owned()).or_default();
                *total = if is_quantile(name) { value.max(*total) } else { *total + value };
            }
        }
        all.extend(own.iter().map(|(name, value)| (name.to_owned(), value)));
        all
    }

    /// The same as msgpack.
    pub fn write_counters(&self) -> Result<Vec<u8>, EngineError> {
        Ok(rmp_serde::to_vec_named(&self.counters())?)
    }

    /// Names of the threads, by the index that ids carry.
    pub fn threads(&self) -> Vec<String> {
        self.threads.iter().map(|thread| thread.name.clone()).collect()
    }

    /// Binds a socket that is seen from outside, and that several threads may share.
    fn bind_public(&mut self, id: SocketId, address: SocketAddr) -> Result<UdpSocket, EngineError> {
        let socket = UdpSocket::bind(id, address, true, self.config.receive_buffer_bytes)
            .map_err(io_error(format!("cannot bind {address}")))?;
        if self.config.dscp.video != 0 {
            socket.mark(self.config.dscp.video);
        }
        self.receive_buffer = socket.receive_buffer_bytes() as u64;
        Ok(socket)
    }

    /// Who takes what came in at another thread than its own.
    fn admission(&self) -> Admission {
        let (count, edge) = (self.layout.shards, self.layout.edge());
        if count > 0 {
            let shards = Shards { keys: self.keys.clone(), count, unix_epoch: self.unix_epoch() };
            return Admission::Shards(Box::new(shards));
        }
        Admission::Edge(EdgeThreads { first: edge.start, count: edge.len() })
    }

    /// Time since the Unix epoch at `Time::ZERO`.
    fn unix_epoch(&self) -> Duration {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        unix.saturating_sub(self.epoch.elapsed())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A thread that does not end keeps running without an owner; there is nobody left to tell.
        self.stop(Duration::from_secs(2)).ok();
    }
}

fn read_ufrag_key(config: &EngineConfig) -> Result<UfragKey, EngineError> {
    let secret = match config.ufrag_key.as_slice().try_into() {
        Ok(secret) => secret,
        // An Edge signs nothing.
        Err(_) if config.shards == 0 => [0; 32],
        Err(_) => return Err(EngineError::Config("ufrag_key must have 32 bytes".to_owned())),
    };
    let core =
        u16::try_from(config.core_id).map_err(|_| EngineError::Config("core_id must be below 65536".to_owned()))?;
    let key = u8::try_from(config.key_id).map_err(|_| EngineError::Config("key_id must be below 256".to_owned()))?;
    Ok(UfragKey::new(core, key, &secret))
}

fn is_quantile(name: &str) -> bool {
    name.starts_with("forward_latency_us.p") || name == "forward_latency_us.max"
}
