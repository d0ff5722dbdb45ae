//! `mediaserver-load PLAN`: drives the peers of a plan through the engine and prints what came.
//!
//! Prints `ready`; then, for each line `PACKETS_PER_S WARM_UP_MS MEASURE_MS` on standard input (0 packets/s: saturated),
//! `warm {json}` (every packet decrypted), `begin`, `end {json}`. Keeps all peers alive in between; ends with its input.
//!
//! `mediaserver-load serve FD [CPU]` drives peers that come and go; see `serve`.
//!
//! `mediaserver-load echo FD [CPU]` answers every datagram of a socket; see `echo`.
//!
//! `mediaserver-load relay CPU KIND …` loads a relay; see `relay`.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use mediaserver_load::echo;
use mediaserver_load::net::{Control, pin};
use mediaserver_load::plan::Plan;
use mediaserver_load::relay;
use mediaserver_load::run::{Pace, Run};
use mediaserver_load::serve::Server;

/// How soon a command is noticed.
const IDLE_STEP: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mediaserver-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let path = std::env::args_os()
        .nth(1)
        .ok_or("usage: mediaserver-load PLAN | serve FD [CPU] | echo FD [CPU] | relay CPU KIND ...")?;
    if path == "serve" {
        // SAFETY: the parent process opened this descriptor for us; nothing has touched it yet.
        return Server::new(unsafe { Control::adopt(descriptor()?) })?.run();
    }
    if path == "relay" {
        let arguments: Vec<String> = std::env::args().skip(2).collect();
        return relay::serve(&arguments, &commands());
    }
    if path == "echo" {
        // SAFETY: as above.
        return unsafe { echo::serve(descriptor()?) };
    }
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.to_string_lossy()))?;
    let plan: Plan = rmp_serde::from_slice(&bytes).map_err(|error| format!("the plan: {error}"))?;
    if plan.subscribers.is_empty() || plan.burst == 0 || !(128..=1472).contains(&plan.packet_size) {
        return Err("the plan needs subscribers, a burst, and packets of 128 to 1472 bytes".into());
    }
    pin(plan.cpu);
    // SAFETY: the parent process opened these descriptors for us; nothing has touched them yet.
    let mut run = unsafe { Run::new(plan) }?;
    let commands = commands();
    println!("ready");
    loop {
        let line = match commands.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Empty) => {
                run.run_for(IDLE_STEP, Pace::Idle, false)?;
                continue;
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
        };
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [rate, warm_up_ms, measure_ms] = numbers[..] else { return Err(format!("not a command: {line}")) };
        let pace = if rate == 0 { Pace::Saturated } else { Pace::PerSecond(rate) };
        let verified = phase(&mut run, pace, warm_up_ms, true)?;
        println!("warm {verified}");
        println!("begin");
        println!("end {}", phase(&mut run, pace, measure_ms, false)?);
    }
}

/// The descriptor that the command line names; stays on the CPU behind it, where there is one.
fn descriptor() -> Result<i32, String> {
    let numbers: Vec<i32> = std::env::args().skip(2).filter_map(|word| word.parse().ok()).collect();
    if let Some(cpu) = numbers.get(1).and_then(|&cpu| usize::try_from(cpu).ok()) {
        pin(cpu);
    }
    numbers.first().copied().ok_or_else(|| "it needs a descriptor".into())
}

/// Runs for a time and says what came in it.
fn phase(run: &mut Run, pace: Pace, ms: u32, verify: bool) -> Result<String, String> {
    let (before, started) = (run.totals(), Instant::now());
    run.run_for(Duration::from_millis(ms.into()), pace, verify)?;
    Ok(run.totals().json_since(&before, started.elapsed().as_secs_f64()))
}

/// Lines of standard input, read by a thread of their own.
fn commands() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
