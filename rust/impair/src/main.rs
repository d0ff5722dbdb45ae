//! `mediaserver-impair`: UDP lines with rate, delay, jitter, loss and queue, changed by lines on standard input.
//!
//! Every command (see `command`) is answered by one line: `ok …` or `error …`. The program ends with its input.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::process::ExitCode;
use std::time::Instant;

use mediaserver_impair::command::Command;
use mediaserver_impair::line::Nanos;
use mediaserver_impair::relay::Relay;

/// Longest command.
const LONGEST_COMMAND: usize = 4_096;
/// How late a packet may leave is what the timer slack of this thread allows.
const TIMER_SLACK_NS: libc::c_ulong = 1_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mediaserver-impair: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    // SAFETY: no pointers; this thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0) };
    let start = Instant::now();
    let now = || start.elapsed().as_nanos() as Nanos;
    let mut relays: BTreeMap<String, Relay> = BTreeMap::new();
    let mut input = Input::default();
    loop {
        let timeout = relays.values().filter_map(Relay::timeout).min();
        wait(&relays, timeout.map(|at| at.saturating_sub(now())))?;
        for relay in relays.values_mut() {
            relay.turn(now())?;
        }
        let open = input.read()?;
        while let Some(text) = input.line() {
            let answer = match Command::parse(&text).and_then(|command| obey(command, &mut relays, now())) {
                Ok(answer) => format!("ok {answer}"),
                Err(error) => format!("error {error}"),
            };
            let mut out = io::stdout().lock();
            writeln!(out, "{}", answer.trim_end())?;
            out.flush()?;
        }
        if !open {
            return Ok(());
        }
    }
}

fn obey(command: Command, relays: &mut BTreeMap<String, Relay>, now: Nanos) -> Result<String, String> {
    match command {
        Command::Line { name, bind, target } => {
            if relays.contains_key(&name) {
                return Err(format!("there is a line {name} already"));
            }
            let seed = relays.len() as u64 * 2 + 1;
            let relay = Relay::new(bind, target, seed).map_err(|error| format!("{bind}: {error}"))?;
            let address = relay.address().map_err(|error| error.to_string())?;
            relays.insert(name, relay);
            Ok(address.to_string())
        }
        Command::Set { name, up, down } => {
            relays.get_mut(&name).ok_or_else(|| format!("no line {name}"))?.reshape(up, down, now);
            Ok(String::new())
        }
        Command::Counts { name } => Ok(relays.get(&name).ok_or_else(|| format!("no line {name}"))?.json()),
    }
}

/// Sleeps until a socket or standard input has something, or for `nanos`.
fn wait(relays: &BTreeMap<String, Relay>, nanos: Option<Nanos>) -> io::Result<()> {
    let watched = relays.values().flat_map(Relay::descriptors).chain([libc::STDIN_FILENO]);
    let mut polled: Vec<libc::pollfd> =
        watched.map(|fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    let nanos = nanos.unwrap_or(1_000_000_000);
    let time = libc::timespec {
        tv_sec: (nanos / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: the array has this length and lives through the call, as the time does; no signal mask.
    let ready =
        unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, &raw const time, std::ptr::null()) };
    match ready {
        0.. => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        },
    }
}

/// Standard input, read without ever waiting for it.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
}

impl Input {
    /// Takes what is there; false at its end.
    fn read(&mut self) -> io::Result<bool> {
        let mut polled = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry that lives through the call.
        if unsafe { libc::poll(&raw mut polled, 1, 0) } <= 0 {
            return Ok(true);
        }
        let mut piece = [0u8; LONGEST_COMMAND];
        // SAFETY: pointer and length are of one array.
        let count = unsafe { libc::read(libc::STDIN_FILENO, piece.as_mut_ptr().cast(), piece.len()) };
        match count {
            0 => return Ok(false),
            1.. => self.bytes.extend_from_slice(&piece[..count as usize]),
            _ => return Err(io::Error::last_os_error()),
        }
        if self.bytes.len() > LONGEST_COMMAND * 2 {
            return Err(io::Error::other("a command without an end"));
        }
        Ok(true)
    }

    /// The next whole line.
    fn line(&mut self) -> Option<String> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n')?;
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim().to_owned())
    }
}
