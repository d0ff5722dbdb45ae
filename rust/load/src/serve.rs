//! Peers that come and go: the loop behind `mediaserver-load serve FD`.
//!
//! `FD` is a Unix socket of packets. Each packet is one MessagePack map and is answered by one array: `{op: "add", id, plan}`
//! with the peer's UDP socket beside it, `{op: "remove", id}`, `{op: "pace", id, frames_per_s}`, `{op: "figures"}`;
//! `{op: "timing", on}` lets the kernel tell when packets arrive, and `{op: "echo", remote}` with a UDP socket beside it
//! probes an echo from then on. The program ends with the socket.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mediaserver_proto::time::Time;
use serde::{Deserialize, Serialize};

use crate::echo::Probe;
use crate::histogram::Histogram;
use crate::member::{Figures, Member, Plan};
use crate::net::{BATCH, Control, Inbox, Poll, Socket};
use crate::source::Source;

/// Names of the control socket and the probe's in the poll, and of the probe among the timers.
const CONTROL: u64 = u64::MAX;
const PROBE: u64 = u64::MAX - 1;
const REPORT_GAP: Duration = Duration::from_secs(1);
/// RFC 7675 §5.1: every five seconds, here twice as often.
const CHECK_GAP: Duration = Duration::from_millis(2_500);
/// Batches taken from one socket before others have their turn.
const TURN: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Request {
    Add { id: u64, plan: Box<Plan> },
    Remove { id: u64 },
    Pace { id: u64, frames_per_s: f64 },
    Timing { on: bool },
    Echo { remote: String },
    Figures,
}

#[derive(Debug, Default, Serialize)]
struct Reply {
    error: Option<String>,
    /// By id.
    members: Vec<(u64, Figures)>,
    /// How late frames left since the last reply that asked for figures: median, 99th percentile, most, in ms.
    lateness_ms: [f64; 3],
    /// How long sampled packets took from send to receive: median, 99th, 99.9th percentile, most, in ms.
    latency_ms: [f64; 4],
    /// How many packets that is.
    latency_count: u64,
    /// Share of the time that the loop had something to do.
    busy: f64,
    /// How long the echo took, as `latency_ms`.
    echo_ms: [f64; 4],
    /// How many answers that is.
    echo_count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Of a track; the number tells timers of a former pace from those that hold.
    Frame(usize, u32),
    Feedback,
    Check,
    Report,
    Probe,
}

/// All peers.
#[derive(Debug)]
pub struct Server {
    control: Control,
    poll: Poll,
    inbox: Inbox,
    members: BTreeMap<u64, Member>,
    timers: BinaryHeap<Reverse<(Time, u64, Timer)>>,
    start: Instant,
    /// The same moment, in nanoseconds since the Unix epoch.
    epoch_ns: u64,
    timing: bool,
    probe: Option<Probe>,
    lateness: Histogram,
    latency: Histogram,
    waited: Duration,
    asked: Instant,
}

impl Server {
    /// Obeys what comes on `control`.
    ///
    /// # Errors
    /// A sentence when the system refuses.
    pub fn new(control: Control) -> Result<Server, String> {
        let poll = Poll::new([]).map_err(|error| format!("epoll: {error}"))?;
        poll.add(control.as_raw_fd(), CONTROL).map_err(|error| format!("epoll: {error}"))?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Server {
            control,
            poll,
            inbox: Inbox::default(),
            members: BTreeMap::new(),
            timers: BinaryHeap::new(),
            start: Instant::now(),
            epoch_ns: since_epoch.as_nanos() as u64,
            timing: false,
            probe: None,
            lateness: Histogram::default(),
            latency: Histogram::default(),
            waited: Duration::ZERO,
            asked: Instant::now(),
        })
    }

    /// Runs until the control socket is closed.
    ///
    /// # Errors
    /// A sentence when a socket or a packet fails in a way that no network explains.
    pub fn run(&mut self) -> Result<(), String> {
        loop {
            self.fire()?;
            let next = self.timers.peek().map_or(Duration::from_secs(1), |Reverse((at, _, _))| at.since(self.now()));
            let before = Instant::now();
            // Rounded down: a frame is rather waited for by turning round than sent a millisecond late.
            let ready: Vec<u64> =
                self.poll.wait(next.as_millis().min(1_000) as i32).map_err(|error| format!("epoll: {error}"))?.to_vec();
            self.waited += before.elapsed();
            for name in ready {
                if name == CONTROL {
                    if !self.obey()? {
                        return Ok(());
                    }
                } else if name == PROBE {
                    let epoch_ns = self.epoch_ns;
                    if let Some(probe) = &mut self.probe {
                        probe.receive(&mut self.inbox, |at| Time(at.saturating_sub(epoch_ns)))?;
                    }
                } else {
                    self.receive(name)?;
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_nanos() as u64)
    }

    fn fire(&mut self) -> Result<(), String> {
        loop {
            let now = self.now();
            let Some(&Reverse((at, id, timer))) = self.timers.peek() else { return Ok(()) };
            if at > now {
                return Ok(());
            }
            self.timers.pop();
            if let (Timer::Probe, Some(probe)) = (timer, &mut self.probe) {
                self.timers.push(Reverse((probe.ask(now), PROBE, Timer::Probe)));
                continue;
            }
            let Some(member) = self.members.get_mut(&id) else { continue };
            match timer {
                Timer::Frame(_, pace) if pace != member.pace => {}
                Timer::Frame(track, _) => {
                    self.lateness.add(now.since(at));
                    member.send(track, now)?;
                    let gap = member.sources.get(track).map_or(REPORT_GAP, Source::gap);
                    // After a pause the missed frames are not made up for; lateness has told of it.
                    let next = if now.since(at) > gap * 10 { now + gap } else { at + gap };
                    self.timers.push(Reverse((next, id, timer)));
                }
                Timer::Feedback => {
                    // A timer that an earlier one has overtaken finds nothing due.
                    member.feedback_armed = member.feedback_armed.filter(|&armed| armed > at);
                    member.give_feedback(now);
                    arm(&mut self.timers, id, member);
                }
                Timer::Probe => {}
                Timer::Check => {
                    member.peer.check();
                    self.timers.push(Reverse((now + CHECK_GAP, id, timer)));
                }
                Timer::Report => {
                    member.report(now);
                    self.timers.push(Reverse((now + REPORT_GAP, id, timer)));
                }
            }
        }
    }

    fn receive(&mut self, id: u64) -> Result<(), String> {
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        for _ in 0..TURN {
            let count = match self.inbox.receive(&member.peer.socket) {
                Ok(count) => count,
                // The server's port is closed: as good as no packet.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => 0,
                Err(error) => return Err(format!("receive: {error}")),
            };
            let now = Time(self.start.elapsed().as_nanos() as u64);
            for index in 0..count {
                let arrived = self.inbox.arrived_ns(index).map_or(now, |at| Time(at.saturating_sub(self.epoch_ns)));
                let (_, datagram) = self.inbox.datagram(index);
                member.handle(datagram, now, arrived, &mut self.latency)?;
            }
            if count < BATCH {
                break;
            }
        }
        arm(&mut self.timers, id, member);
        Ok(())
    }

    /// One request; false when there will be none any more.
    fn obey(&mut self) -> Result<bool, String> {
        let Some((bytes, socket)) = self.control.receive().map_err(|error| format!("control: {error}"))? else {
            return Ok(false);
        };
        let mut reply = Reply::default();
        match rmp_serde::from_slice(&bytes) {
            Ok(Request::Add { id, mut plan }) => match socket {
                Some(socket) => {
                    plan.peer.fd = socket.into_raw_fd();
                    reply.error = self.add(id, *plan).err();
                }
                None => reply.error = Some("no socket came with it".into()),
            },
            Ok(Request::Remove { id }) => match self.members.remove(&id) {
                Some(member) => reply.members.push((id, member.figures())),
                None => reply.error = Some(format!("no member {id}")),
            },
            Ok(Request::Pace { id, frames_per_s }) => {
                reply.error = self.pace(id, frames_per_s).err();
            }
            Ok(Request::Timing { on }) => reply.error = self.set_timing(on).err(),
            Ok(Request::Echo { remote }) => {
                let socket = socket.ok_or_else(|| "no socket came with it".to_owned());
                reply.error = socket.and_then(|socket| self.start_probe(socket, &remote)).err();
            }
            Ok(Request::Figures) => self.fill(&mut reply),
            Err(error) => reply.error = Some(error.to_string()),
        }
        let bytes = rmp_serde::to_vec(&reply).map_err(|error| error.to_string())?;
        self.control.send(&bytes).map_err(|error| format!("control: {error}"))?;
        Ok(true)
    }

    fn add(&mut self, id: u64, plan: Plan) -> Result<(), String> {
        if id >= PROBE || self.members.contains_key(&id) {
            return Err(format!("there is a member {id} already"));
        }
        let now = self.now();
        // SAFETY: the descriptor came with the request and is ours alone.
        let member = unsafe { Member::new(plan, now) }?;
        self.poll.add(member.peer.socket.as_raw_fd(), id).map_err(|error| format!("epoll: {error}"))?;
        member.peer.socket.tell_arrival(self.timing).map_err(|error| format!("timing: {error}"))?;
        for track in 0..member.sources.len() {
            self.timers.push(Reverse((now, id, Timer::Frame(track, 0))));
        }
        // Spread, so that peers made together do not report together.
        let spread = Duration::from_millis(id * 37 % 1_000);
        self.timers.push(Reverse((now + spread, id, Timer::Report)));
        self.timers.push(Reverse((now + spread, id, Timer::Check)));
        self.members.insert(id, member);
        Ok(())
    }

    fn pace(&mut self, id: u64, frames_per_s: f64) -> Result<(), String> {
        let now = self.now();
        let member = self.members.get_mut(&id).ok_or_else(|| format!("no member {id}"))?;
        member.set_pace(frames_per_s)?;
        for track in 0..member.sources.len() {
            self.timers.push(Reverse((now, id, Timer::Frame(track, member.pace))));
        }
        Ok(())
    }

    fn set_timing(&mut self, on: bool) -> Result<(), String> {
        self.timing = on;
        let mut sockets = self.members.values().map(|member| &member.peer.socket);
        sockets.try_for_each(|socket| socket.tell_arrival(on)).map_err(|error| format!("timing: {error}"))
    }

    fn start_probe(&mut self, socket: OwnedFd, remote: &str) -> Result<(), String> {
        let remote = remote.parse().map_err(|_| format!("not an address: {remote}"))?;
        let now = self.now();
        // SAFETY: the descriptor came with the request and is ours alone.
        let socket =
            unsafe { Socket::adopt(socket.into_raw_fd(), remote) }.map_err(|error| format!("echo: {error}"))?;
        let probe = Probe::new(socket, now)?;
        self.poll.add(probe.fd(), PROBE).map_err(|error| format!("epoll: {error}"))?;
        if self.probe.replace(probe).is_none() {
            self.timers.push(Reverse((now, PROBE, Timer::Probe)));
        }
        Ok(())
    }

    fn fill(&mut self, reply: &mut Reply) {
        reply.members = self.members.iter().map(|(&id, member)| (id, member.figures())).collect();
        let late = &mut self.lateness;
        reply.lateness_ms = [late.quantile_ms(0.5), late.quantile_ms(0.99), late.most_ms()];
        late.clear();
        (reply.latency_ms, reply.latency_count) = take_quantiles(&mut self.latency);
        if let Some(probe) = &mut self.probe {
            (reply.echo_ms, reply.echo_count) = take_quantiles(&mut probe.took);
        }
        let (passed, waited) = (self.asked.elapsed().as_secs_f64(), self.waited.as_secs_f64());
        reply.busy = (1.0 - waited / passed.max(1e-9)).clamp(0.0, 1.0);
        (self.asked, self.waited) = (Instant::now(), Duration::ZERO);
    }
}

/// Median, 99th and 99.9th percentile and most in milliseconds, and of how many; forgets them.
fn take_quantiles(of: &mut Histogram) -> ([f64; 4], u64) {
    let found = [of.quantile_ms(0.5), of.quantile_ms(0.99), of.quantile_ms(0.999), of.most_ms()];
    let count = of.count();
    of.clear();
    (found, count)
}

fn arm(timers: &mut BinaryHeap<Reverse<(Time, u64, Timer)>>, id: u64, member: &mut Member) {
    if let Some(at) = member.feedback_timeout()
        && member.feedback_armed.is_none_or(|armed| at < armed)
    {
        member.feedback_armed = Some(at);
        timers.push(Reverse((at, id, Timer::Feedback)));
    }
}
