//! The loop: bursts that leave on time, and what comes of them.

use std::time::{Duration, Instant};

use mediaserver_proto::time::Time;

use super::lanes::{Lanes, Way};
use crate::echo::Probe;
use crate::histogram::Histogram;
use crate::net::{Inbox, Socket};
use crate::stamp::{self, STAMP};

/// Between two looks at what keeps lanes open.
const PULSE_EVERY: Duration = Duration::from_millis(50);
/// What is sent at the end of a run is waited for so long.
const LAST: Duration = Duration::from_millis(50);
/// Bytes of the lane's number at the beginning of a payload.
const MARK: usize = 4;

/// How the load looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    bytes: usize,
    burst: usize,
    packets_per_s: u32,
}

impl Shape {
    /// Payloads of so many bytes, in bursts of 1 to 8.
    pub(super) fn new(bytes: usize, burst: usize, packets_per_s: u32) -> Result<Shape, String> {
        if !(MARK + STAMP..=1400).contains(&bytes) || !(1..=8).contains(&burst) || packets_per_s == 0 {
            return Err("a load has payloads of 16 to 1400 bytes, bursts of 1 to 8, and a rate".into());
        }
        Ok(Shape { bytes, burst, packets_per_s })
    }
}

#[derive(Debug, Default)]
struct Counts {
    received: u64,
    wrong: u64,
    latency: Histogram,
}

/// Everything that runs.
pub(super) struct Load {
    lanes: Box<dyn Lanes>,
    inbox: Inbox,
    probe: Option<Probe>,
    start: Instant,
    pulsed: Time,
    /// Bursts sent since the beginning: says whose turn it is.
    turn: usize,
}

impl Load {
    pub(super) fn new(lanes: Box<dyn Lanes>) -> Load {
        let start = Instant::now();
        Load { lanes, inbox: Inbox::default(), probe: None, start, pulsed: Time::ZERO, turn: 0 }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// Asks an echo beside every run from now on.
    pub(super) fn probe(&mut self, echo: std::net::SocketAddr) -> Result<(), String> {
        let socket =
            Socket::open(0).and_then(|socket| socket.connected(echo)).map_err(|error| format!("echo: {error}"))?;
        self.lanes.tell_arrival(true)?;
        self.probe = Some(Probe::new(socket, self.now())?);
        Ok(())
    }

    /// Nothing is sent but what keeps the lanes.
    pub(super) fn idle(&mut self, time: Duration) -> Result<(), String> {
        self.keep()?;
        let now = self.now();
        self.lanes.receive(&mut self.inbox, now, &mut |_, _| {})?;
        std::thread::sleep(time);
        Ok(())
    }

    fn pulse(&mut self) -> Result<(), String> {
        let now = self.now();
        if now.since(self.pulsed) >= PULSE_EVERY {
            self.pulsed = now;
            self.lanes.pulse(now)?;
        }
        Ok(())
    }

    /// Before a run: what keeps the lanes open would else be due in the middle of it.
    pub(super) fn keep(&mut self) -> Result<(), String> {
        self.pulse()?;
        let now = self.now();
        self.lanes.keep(&mut self.inbox, now)
    }

    /// Ends all lanes.
    pub(super) fn leave(&mut self) -> Result<(), String> {
        self.lanes.leave(&mut self.inbox)
    }

    /// Sets so many clients up, one after the other; JSON.
    pub(super) fn add(&mut self, count: usize) -> Result<String, String> {
        let began = Instant::now();
        for _ in 0..count {
            self.pulse()?;
            let now = self.now();
            self.lanes.add(&mut self.inbox, now)?;
        }
        Ok(format!("{{\"count\": {count}, \"seconds\": {}}}", began.elapsed().as_secs_f64()))
    }

    /// Sends for so long; JSON.
    pub(super) fn run(&mut self, shape: &Shape, time: Duration) -> Result<String, String> {
        let epoch = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(self.start.elapsed());
        let mut counts = Counts::default();
        let (mut lateness, mut sent) = (Histogram::default(), 0u64);
        let gap = Duration::from_nanos(shape.burst as u64 * 1_000_000_000 / u64::from(shape.packets_per_s));
        let mut payloads = vec![0xA5u8; shape.burst * shape.bytes];
        if let Some(probe) = &mut self.probe {
            probe.took.clear();
        }
        let (began, mut echo_at) = (self.now(), self.now());
        let mut due = began;
        loop {
            let now = self.now();
            if now.since(began) >= time {
                break;
            }
            if now >= due {
                lateness.add(now.since(due));
                sent += self.send(shape, &mut payloads, now)?;
                due = due + gap;
            }
            if let Some(probe) = self.probe.as_mut().filter(|_| now >= echo_at) {
                echo_at = probe.ask(now);
            }
            self.receive(shape, &mut counts, epoch)?;
            self.pulse()?;
        }
        let seconds = self.now().since(began).as_secs_f64();
        let ended = self.now();
        while counts.received < sent && self.now().since(ended) < LAST {
            self.receive(shape, &mut counts, epoch)?;
        }
        Ok(self.report(sent, seconds, &counts, &lateness))
    }

    fn send(&mut self, shape: &Shape, payloads: &mut [u8], now: Time) -> Result<u64, String> {
        let count = self.lanes.count();
        let lane = self.turn % count;
        // Every lane both ways in turns.
        let way = if (self.turn / count).is_multiple_of(2) { Way::Up } else { Way::Down };
        self.turn += 1;
        for payload in payloads.chunks_exact_mut(shape.bytes) {
            payload[..MARK].copy_from_slice(&(lane as u32).to_be_bytes());
            stamp::write(payload, now.0);
        }
        self.lanes.send(lane, way, payloads, shape.bytes)?;
        Ok(shape.burst as u64)
    }

    fn receive(&mut self, shape: &Shape, counts: &mut Counts, epoch: Duration) -> Result<(), String> {
        let (now, start) = (self.now(), self.start);
        let lanes = self.lanes.count() as u32;
        let at = |arrived_ns: u64| Time(arrived_ns.saturating_sub(epoch.as_nanos() as u64));
        self.lanes.receive(&mut self.inbox, now, &mut |payload, arrived| {
            let lane = payload.first_chunk::<MARK>().map(|mark| u32::from_be_bytes(*mark));
            match (lane, stamp::read(payload)) {
                (Some(lane), Some(sent)) if lane < lanes && payload.len() == shape.bytes => {
                    counts.received += 1;
                    let arrived = arrived.map_or_else(|| Time::ZERO + start.elapsed(), at);
                    counts.latency.add(arrived.since(Time(sent)));
                }
                _ => counts.wrong += 1,
            }
        })?;
        if let Some(probe) = &mut self.probe {
            probe.receive(&mut self.inbox, at)?;
        }
        Ok(())
    }

    fn report(&self, sent: u64, seconds: f64, counts: &Counts, lateness: &Histogram) -> String {
        let quantiles =
            |histogram: &Histogram| format!("[{}, {}]", histogram.quantile_ms(0.5), histogram.quantile_ms(0.99));
        let echo = self.probe.as_ref().map_or("null".to_owned(), |probe| quantiles(&probe.took));
        let (latency, lateness) = (quantiles(&counts.latency), quantiles(lateness));
        let Counts { received, wrong, .. } = counts;
        format!(
            "{{\"sent\": {sent}, \"received\": {received}, \"wrong\": {wrong}, \"seconds\": {seconds}, \
             \"latency_ms\": {latency}, \"lateness_ms\": {lateness}, \"echo_ms\": {echo}}}"
        )
    }
}
