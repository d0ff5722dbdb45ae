//! The engine as its owner sees it: started, fed with command batches, drained of event batches, stopped.

mod edges;
mod relay;
mod streams;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use mediaserver_proto::dtls::Identity;
use mediaserver_proto::endpoint::{Endpoint, EndpointConfig, EndpointLimits, Shard, ShardMessage};
use mediaserver_proto::ice::UfragKey;
use mediaserver_proto::io::SocketId;
use rtrb::{Consumer, Producer, RingBuffer};
use serde_bytes::ByteBuf;

use self::edges::{frames_carrier, mesh};
use crate::admission::{Admission, EdgeThreads, Shards};
use crate::audio::{AudioPool, AudioWorker};
use crate::command::{Action, Command, read_batch, shard_of};
use crate::config::{Dscp, EngineConfig};
use crate::edge::EdgeSockets;
use crate::event::{Event, write_batch};
use crate::key_ring::KeyRing;
use crate::link::LinkOwner;
use crate::mailbox::{EventReceiver, EventSender, Waker, event_queue};
use crate::media::read_clip;
use crate::media_links::CoreLinks;
use crate::metrics::{Counters, Published, set};
use crate::ports::PortPools;
use crate::scheduling::Scheduling;
use crate::shard::{Announced, Inbox, ShardControl};
use crate::socket::{Marks, Sender, UdpSocket};
use crate::sockets::Sockets;
use crate::stream::{Listening, Serves};
use crate::worker::{Links, Worker};

/// Commands that wait for a shard.
const INBOX: usize = 32_768;
/// Messages on the way from one shard to another.
const SHARD_RING: usize = 1_024;
/// A packet names the shards that want it in 64 bits.
const MOST_SHARDS: usize = 64;

/// Why the engine cannot be built, started, fed or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A value of the configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// A batch of commands cannot be read.
    #[error("the command batch cannot be read: {0}")]
    Batch(#[from] rmp_serde::decode::Error),
    /// Events or counters cannot be written.
    #[error("the answer cannot be written: {0}")]
    Answer(#[from] rmp_serde::encode::Error),
    /// A socket, an eventfd or a thread cannot be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Called in the wrong order.
    #[error("{0}")]
    State(&'static str),
    /// A thread did not end in time.
    #[error("shard {0} did not stop in time")]
    Stuck(usize),
    /// The thread of the links did not end in time.
    #[error("the links did not stop in time")]
    LinksStuck,
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> EngineError {
    let what = what.into();
    |source| EngineError::Io { what, source }
}

struct ShardHandle {
    inbox: Producer<Inbox>,
    published: Published,
    thread: Option<JoinHandle<()>>,
}

/// The packet engine.
pub struct Engine {
    config: EngineConfig,
    epoch: Instant,
    /// Random: this life of the engine, for Edges.
    instance: u64,
    ufrag_key: UfragKey,
    keys: KeyRing,
    events: EventReceiver,
    event_sender: EventSender,
    wakers: Arc<Vec<Waker>>,
    stop: Arc<AtomicBool>,
    shards: Vec<ShardHandle>,
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
        let least = usize::from(config.edge.is_none());
        if !(least..=MOST_SHARDS).contains(&config.shards) {
            return Err(EngineError::Config(format!("shards must be 1 to {MOST_SHARDS}, not {}", config.shards)));
        }
        let threads = mesh(&config);
        if threads > MOST_SHARDS {
            return Err(EngineError::Config(format!("there must be {MOST_SHARDS} threads at most, not {threads}")));
        }
        let secret: [u8; 32] = match config.ufrag_key.as_slice().try_into() {
            Ok(secret) => secret,
            // An Edge signs nothing.
            Err(_) if config.shards == 0 => [0; 32],
            Err(_) => return Err(EngineError::Config("ufrag_key must have 32 bytes".to_owned())),
        };
        let mut instance = [0; 8];
        rand::fill(&mut instance).map_err(|_| EngineError::Config("there are no random numbers".to_owned()))?;
        let core =
            u16::try_from(config.core_id).map_err(|_| EngineError::Config("core_id must be below 65536".to_owned()))?;
        let key =
            u8::try_from(config.key_id).map_err(|_| EngineError::Config("key_id must be below 256".to_owned()))?;
        let Dscp { audio, video, screen } = config.dscp;
        if [audio, video, screen].iter().any(|&mark| mark > 63) {
            return Err(EngineError::Config("dscp must be below 64".to_owned()));
        }
        let epoch = Instant::now();
        // Only to refuse a bad certificate now; each shard makes its own.
        if config.shards > 0 {
            identity(&config, epoch)?;
        }
        let (event_sender, events) = event_queue().map_err(io_error("event queue"))?;
        let wakers = (0..mesh(&config)).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>();
        let wakers = Arc::new(wakers.map_err(io_error("eventfd"))?);
        Ok(Engine {
            epoch,
            instance: u64::from_ne_bytes(instance),
            keys: KeyRing::new(UfragKey::new(core, key, &secret)),
            ufrag_key: UfragKey::new(core, key, &secret),
            events,
            links: LinkOwner::new(event_sender.clone()),
            event_sender,
            wakers,
            stop: Arc::new(AtomicBool::new(false)),
            shards: Vec::new(),
            clips: HashMap::new(),
            receive_buffer: 0,
            config,
        })
    }

    /// Binds the sockets and starts the threads.
    pub fn start(&mut self) -> Result<(), EngineError> {
        if !self.shards.is_empty() {
            return Err(EngineError::State("the engine was started before"));
        }
        let count = self.config.shards;
        let shared = self.bind_shared()?;
        let listeners = self.bind_streams()?;
        let sip_ips = self.config.sip_binds.iter().map(|ip| read_ip(ip)).collect::<Result<Vec<_>, _>>()?;
        let edge_sockets = self.bind_edges()?;
        let media = shared.iter().map(Vec::as_slice).chain(edge_sockets.first().map(EdgeSockets::public));
        let relay = self.relay_setup(media)?;
        let mut rings = make_rings(mesh(&self.config));
        let mut workers = Vec::with_capacity(count);
        for (shard, sockets) in shared.into_iter().enumerate() {
            let (producer, consumer) = RingBuffer::new(INBOX);
            let published = Published::default();
            let links = self.links(consumer, std::mem::take(&mut rings[shard]), published.clone());
            let poller = Worker::poller(shard, &sockets, &links).map_err(io_error(format!("shard {shard}")))?;
            let endpoint = self.endpoint_config(shard)?;
            let ports = PortPools::new(&sip_ips, self.config.sip_ports, shard, count).marked(self.config.dscp.video);
            let (announced, sockets) = (self.announced(&sockets, &listeners)?, Sockets::new(sockets));
            let epoch = self.epoch;
            let scheduling = Scheduling::new(self.config.pin.then_some(shard), self.config.real_time);
            let sender = Sender::new(self.config.gso, Marks::new(&self.config.dscp));
            let (core, instance) = (self.config.core_id as u16, self.instance);
            let (buffer, carrier) = (self.config.receive_buffer_bytes, frames_carrier(&self.config));
            // The endpoint is made on its thread and stays there: SCTP associations cannot move between threads.
            let run = move || {
                let edges = CoreLinks::new(core, shard as u16, instance, buffer, carrier);
                let control = ShardControl::new(Endpoint::new(endpoint), sockets, ports, announced, edges);
                Worker::new(shard, scheduling, sender, epoch, poller, control, links).run();
            };
            workers.push((run, producer, published));
        }
        for (shard, (run, inbox, published)) in workers.into_iter().enumerate() {
            let thread = std::thread::Builder::new()
                .name(format!("shard-{shard}"))
                .spawn(run)
                .map_err(io_error(format!("thread of shard {shard}")))?;
            self.shards.push(ShardHandle { inbox, published, thread: Some(thread) });
        }
        let mut rings = rings.drain(count..);
        for rings in rings.by_ref().take(self.config.audio_threads) {
            self.start_audio_thread(rings)?;
        }
        if let Some(setup) = relay
            && let Some(rings) = rings.next()
        {
            self.start_relay(rings, setup)?;
        }
        let edges: Vec<RingEnds> = rings.by_ref().take(edge_workers(&self.config)).collect();
        self.start_edge_workers(edges, edge_sockets)?;
        if streams::are_wanted(&self.config)
            && let Some(rings) = rings.next()
        {
            self.start_streams_thread(rings, listeners)?;
        }
        if let Some(rings) = rings.next() {
            self.connect_links(rings);
        }
        Ok(())
    }

    /// What connects a thread with the others.
    fn links(&self, inbox: Consumer<Inbox>, (inbound, outbound): RingEnds, published: Published) -> Links {
        let (events, wakers, stop) = (self.event_sender.clone(), self.wakers.clone(), self.stop.clone());
        Links { inbox, events, inbound, outbound, wakers, stop, published }
    }

    /// Starts the next audio thread; its index is behind those of the shards.
    fn start_audio_thread(&mut self, ends: RingEnds) -> Result<(), EngineError> {
        let index = self.shards.len();
        let (shards, threads) = (self.config.shards, self.config.audio_threads);
        let number = index - shards;
        let (inbox, consumer) = RingBuffer::new(INBOX);
        let published = Published::default();
        let links = self.links(consumer, ends, published.clone());
        // What cannot be shared out evenly goes to the first ones.
        let share = |whole: usize| whole / threads + usize::from(number < whole % threads);
        let (transcodes, mixed_legs) = (self.config.limits.transcodes, self.config.limits.mixed_legs);
        let pool = AudioPool::new(Shard::try_from(shards).unwrap_or(Shard::MAX), share(transcodes), share(mixed_legs));
        let worker =
            AudioWorker::new(index, self.epoch, pool, links).map_err(io_error(format!("audio thread {number}")))?;
        let thread = std::thread::Builder::new()
            .name(format!("audio-{number}"))
            .spawn(move || worker.run())
            .map_err(io_error(format!("audio thread {number}")))?;
        self.shards.push(ShardHandle { inbox, published, thread: Some(thread) });
        Ok(())
    }

    /// Hands a batch of commands to the shards. When it cannot be read, none of it counts.
    pub fn submit(&mut self, batch: &[u8]) -> Result<(), EngineError> {
        let commands = read_batch(batch)?;
        if self.shards.is_empty() {
            return Err(EngineError::State("the engine is not running"));
        }
        let mut touched = vec![false; self.shards.len()];
        for command in commands {
            self.route(command, &mut touched);
        }
        for (shard, _) in touched.iter().enumerate().filter(|(_, touched)| **touched) {
            self.wakers[shard].wake();
        }
        Ok(())
    }

    /// Everything that the shards have to tell.
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

    /// Counters by name: the sum over all shards, and each shard's own under `shard<n>.`.
    pub fn counters(&self) -> Counters {
        let mut all = Counters::new();
        set(&mut all, "shards", self.config.shards as u64);
        set(&mut all, "receive_buffer_bytes", self.receive_buffer);
        for (shard, handle) in self.shards.iter().enumerate() {
            let (shards, audio_threads) = (self.config.shards, self.config.audio_threads);
            let relays = usize::from(self.config.turn.is_some());
            let owner = match shard.checked_sub(shards) {
                None => format!("shard{shard}"),
                Some(number) if number < audio_threads => format!("audio{number}"),
                Some(number) if number < audio_threads + relays => "relay".to_owned(),
                Some(number) if number < audio_threads + relays + edge_workers(&self.config) => {
                    format!("edge{}", number - audio_threads - relays)
                }
                Some(_) => "streams".to_owned(),
            };
            for (name, value) in handle.published.read() {
                set(&mut all, &format!("{owner}.{name}"), value);
                // Quantiles do not add up: the worst shard's is the engine's.
                let total = all.entry(name.clone()).or_default();
                *total = if is_quantile(&name) { value.max(*total) } else { *total + value };
            }
        }
        self.links.write(&mut all);
        all
    }

    /// The same as msgpack.
    pub fn write_counters(&self) -> Result<Vec<u8>, EngineError> {
        Ok(rmp_serde::to_vec_named(&self.counters())?)
    }

    /// Names of the threads, by the index that ids carry.
    pub fn threads(&self) -> Vec<String> {
        let threads = self.shards.iter().map(|handle| handle.thread.as_ref());
        threads.map(|thread| thread.and_then(|thread| thread.thread().name()).unwrap_or_default().to_owned()).collect()
    }

    /// Closes all transports and ends the threads. May be called twice.
    pub fn stop(&mut self, deadline: Duration) -> Result<(), EngineError> {
        self.stop.store(true, Ordering::Relaxed);
        for waker in self.wakers.iter() {
            waker.wake();
        }
        let until = Instant::now() + deadline;
        for (shard, handle) in self.shards.iter_mut().enumerate() {
            let Some(thread) = handle.thread.take() else { continue };
            while !thread.is_finished() {
                if Instant::now() >= until {
                    handle.thread = Some(thread);
                    return Err(EngineError::Stuck(shard));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            // A panic outside of the guarded calls was already printed by the panic hook.
            thread.join().ok();
        }
        if self.links.stop(until) { Ok(()) } else { Err(EngineError::LinksStuck) }
    }

    fn route(&mut self, command: Command, touched: &mut [bool]) {
        let Command { id, request, action } = command;
        match action {
            Action::LoadClip { tracks } => {
                let bytes: usize =
                    tracks.iter().flat_map(|track| &track.packets).map(|packet| packet.payload.len()).sum();
                let name = "load_clip";
                if self.clips.values().sum::<usize>() + bytes > self.config.limits.clip_bytes {
                    return self.refuse(id, request, name, "limit clip_bytes");
                }
                match read_clip(id, tracks) {
                    Ok(clip) => {
                        self.clips.insert(id, bytes);
                        self.broadcast(touched, |request| Inbox::LoadClip { request, clip: clip.clone() }, request);
                    }
                    Err(reason) => self.refuse(id, request, name, reason),
                }
            }
            Action::UnloadClip => {
                self.clips.remove(&id);
                self.broadcast(touched, |request| Inbox::UnloadClip { id, request }, request);
            }
            Action::Play { ids, clip, repeat } => {
                let play = |ids| Action::Play { ids, clip, repeat };
                self.scatter(id, request, ids, touched, play);
            }
            Action::SetTurnSecrets { .. } | Action::SetTurnLimits { .. } | Action::DrainTurn { .. } => {
                self.push(self.relay_index(), Command { id, request, action }, touched);
            }
            // The thread of streams is the last one; without it somebody else refuses.
            Action::SetSharedTls(_) | Action::SetConnectionLimits(_) => {
                self.push(self.shards.len() - 1, Command { id, request, action }, touched)
            }
            Action::StopPlaying { ids } => {
                self.scatter(id, request, ids, touched, |ids| Action::StopPlaying { ids });
            }
            Action::SetUfragKey { key_id, key } => self.set_ufrag_key(id, request, key_id, key, touched),
            // Links belong to no shard.
            action if LinkOwner::takes(&action) => {
                let name = action.name();
                if let Err(reason) = self.links.command(id, request, action) {
                    self.refuse(id, request, name, &reason);
                }
            }
            action => self.push(shard_of(id), Command { id, request, action }, touched),
        }
    }

    /// A shard signs by another key from now on, and everybody knows what it signs.
    fn set_ufrag_key(&mut self, id: u64, request: Option<u64>, key_id: u8, key: ByteBuf, touched: &mut [bool]) {
        match key.as_slice().try_into() {
            Ok(secret) => self.keys.add(UfragKey::new(self.config.core_id as u16, key_id, secret)),
            Err(_) => return self.refuse(id, request, "set_ufrag_key", "invalid key: it must have 32 bytes"),
        }
        self.push(shard_of(id), Command { id, request, action: Action::SetUfragKey { key_id, key } }, touched);
    }

    /// One command about objects of several shards becomes one for each; the last one answers.
    fn scatter(
        &mut self,
        id: u64,
        request: Option<u64>,
        mut ids: Vec<u64>,
        touched: &mut [bool],
        action: impl Fn(Vec<u64>) -> Action,
    ) {
        let name = action(Vec::new()).name();
        if ids.is_empty() {
            return self.refuse(id, request, name, "invalid ids");
        }
        while let Some(&first) = ids.first() {
            let (these, rest): (Vec<u64>, Vec<u64>) = ids.into_iter().partition(|&id| shard_of(id) == shard_of(first));
            let request = request.filter(|_| rest.is_empty());
            self.push(shard_of(first), Command { id, request, action: action(these) }, touched);
            ids = rest;
        }
    }

    fn broadcast(&mut self, touched: &mut [bool], item: impl Fn(Option<u64>) -> Inbox, request: Option<u64>) {
        let handles = self.shards.iter_mut().take(self.config.shards);
        for (shard, (handle, touched)) in handles.zip(touched).enumerate() {
            *touched |= handle.inbox.push(item(request.filter(|_| shard == 0))).is_ok();
        }
    }

    fn push(&mut self, shard: usize, command: Command, touched: &mut [bool]) {
        let (id, request, name) = (command.id, command.request, command.action.name());
        let Some(handle) = self.shards.get_mut(shard) else {
            return self.refuse(id, request, name, "there is no such shard");
        };
        match handle.inbox.push(Inbox::Command(command)) {
            Ok(()) => touched[shard] = true,
            Err(_) => self.refuse(id, request, name, "limit commands waiting"),
        }
    }

    fn refuse(&self, id: u64, request: Option<u64>, command: &'static str, reason: &str) {
        let event = Event::CommandFailed { request, id, command, reason: reason.to_owned() };
        self.event_sender.tell(event);
    }

    /// One set of sockets for each shard. With more shards than ports some share theirs, and the kernel gives a packet to any
    /// of them.
    fn bind_shared(&mut self) -> Result<Vec<Vec<UdpSocket>>, EngineError> {
        let mut shards: Vec<Vec<UdpSocket>> = (0..self.config.shards).map(|_| Vec::new()).collect();
        let ports = usize::from(self.config.webrtc_ports.max(1));
        for (index, text) in self.config.webrtc_binds.iter().enumerate() {
            let first: SocketAddr =
                text.parse().map_err(|_| EngineError::Config(format!("webrtc_binds: {text} is not ip:port")))?;
            let id = SocketId(u32::try_from(index).unwrap_or(u32::MAX));
            for shard in 0..shards.len() {
                let address = match shard.checked_sub(ports) {
                    Some(before) => shards[before][index].local(),
                    // With port 0 the kernel chooses one.
                    None if first.port() == 0 => first,
                    None => SocketAddr::new(first.ip(), first.port().saturating_add(shard as u16)),
                };
                let socket = UdpSocket::bind(id, address, true, self.config.receive_buffer_bytes)
                    .map_err(io_error(format!("cannot bind {address}")))?;
                if self.config.dscp.video != 0 {
                    socket.mark(self.config.dscp.video);
                }
                self.receive_buffer = socket.receive_buffer_bytes() as u64;
                shards[shard].push(socket);
            }
        }
        Ok(shards)
    }

    /// What the peers of a shard with these sockets are told.
    fn announced(&self, sockets: &[UdpSocket], listeners: &[Listening]) -> Result<Announced, EngineError> {
        let mut ips = HashMap::new();
        for (bind, announced) in &self.config.announced {
            ips.insert(read_ip(bind)?, read_ip(announced)?);
        }
        let mut announced = Announced { ips, ..Announced::default() };
        let seen = |local: SocketAddr| SocketAddr::new(announced.ip(local.ip()), local.port());
        let shared = sockets.iter().map(|socket| seen(socket.local())).collect();
        let ice = listeners.iter().filter(|each| matches!(each.serves, Serves::Ice { .. }));
        let tcp = ice.filter_map(|each| each.listener.local_addr().ok()).map(seen).collect();
        (announced.shared, announced.tcp) = (shared, tcp);
        Ok(announced)
    }

    /// Who takes what came in at another thread than its own.
    fn admission(&self) -> Admission {
        let count = self.config.shards;
        if count > 0 {
            return Admission::Shards(Box::new(Shards {
                keys: self.keys.clone(),
                count,
                unix_epoch: self.unix_epoch(),
            }));
        }
        let first = self.relay_index() + usize::from(self.config.turn.is_some());
        Admission::Edge(EdgeThreads { first, count: edge_workers(&self.config) })
    }

    /// Time since the Unix epoch at `Time::ZERO`.
    fn unix_epoch(&self) -> Duration {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        unix.saturating_sub(self.epoch.elapsed())
    }

    fn endpoint_config(&self, shard: usize) -> Result<EndpointConfig, EngineError> {
        let limits = &self.config.limits;
        Ok(EndpointConfig {
            shard: Shard::try_from(shard).unwrap_or(Shard::MAX),
            shards: Shard::try_from(self.config.shards).unwrap_or(Shard::MAX),
            sources: Shard::try_from(self.config.shards + self.config.audio_threads).unwrap_or(Shard::MAX),
            ufrag_key: self.ufrag_key.clone(),
            identity: identity(&self.config, self.epoch)?,
            unix_epoch: self.unix_epoch(),
            limits: EndpointLimits {
                transports: limits.transports,
                half_open: limits.half_open,
                tracks_per_transport: limits.tracks_per_transport,
                unknown_ssrcs: limits.unknown_ssrcs,
            },
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A thread that does not end keeps running without an owner; there is nobody left to tell.
        self.stop(Duration::from_secs(2)).ok();
    }
}

/// Threads that are connected with each other: shards, then those for sound, then the relay,
/// then those of an Edge, then the one for streams.
fn members(config: &EngineConfig) -> usize {
    let relay = usize::from(config.turn.is_some());
    config.shards + config.audio_threads + relay + edge_workers(config) + usize::from(streams::are_wanted(config))
}

fn identity(config: &EngineConfig, epoch: Instant) -> Result<Identity, EngineError> {
    Identity::new(config.certificate_der.to_vec(), config.private_key_der.to_vec(), epoch)
        .map_err(|error| EngineError::Config(error.to_string()))
}

/// Threads of an Edge.
fn edge_workers(config: &EngineConfig) -> usize {
    config.edge.as_ref().map_or(0, |edge| edge.workers)
}

fn read_ip(text: &str) -> Result<IpAddr, EngineError> {
    text.parse().map_err(|_| EngineError::Config(format!("{text} is not an IP address")))
}

fn is_quantile(name: &str) -> bool {
    name.starts_with("forward_latency_us.p") || name == "forward_latency_us.max"
}

type RingEnds = (Vec<Option<Consumer<ShardMessage>>>, Vec<Option<Producer<ShardMessage>>>);

/// A ring for every ordered pair of shards; `[shard]` has its inbound and outbound ends.
fn make_rings(shards: usize) -> Vec<RingEnds> {
    let mut ends: Vec<RingEnds> =
        (0..shards).map(|_| ((0..shards).map(|_| None).collect(), (0..shards).map(|_| None).collect())).collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (producer, consumer) = RingBuffer::new(SHARD_RING);
            ends[from].1[to] = Some(producer);
            ends[to].0[from] = Some(consumer);
        }
    }
    ends
}
