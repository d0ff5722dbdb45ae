//! Load for relays, and what comes out at the other end: `mediaserver-load relay KIND …`.
//!
//! A lane is a client, and where its datagrams leave the relay: a TURN client and its peer, or a visitor of an Edge and the
//! Core. Datagrams go both ways in turns, paced, singly or as bursts; each says whose it is and when it was sent.

mod ends;
mod floor;
mod lanes;
mod load;
#[cfg(test)]
mod tests;
mod turn;
mod turn_client;
mod visitors;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use crate::net::pin;
use load::{Load, Shape};

/// How soon a command is noticed.
const IDLE_STEP: Duration = Duration::from_millis(20);

/// Obeys `commands` until there will be none any more. `arguments` follow the word `relay`:
///
/// * `CPU turn SERVER LANES channel|send USER KEY REALM`, the long-term key in hexadecimal digits
/// * `CPU edge PUBLIC LINK LANES UFRAG_KEY LINK_KEY`, both keys in hexadecimal digits
/// * `CPU turn-floor SERVER RELAYED CLIENTS PEERS LANES`, the last three the first of ports in a row of 127.0.0.1
/// * `CPU edge-floor PUBLIC LINK CORE VISITORS LANES`
///
/// Says `ready`. `run BYTES BURST PACKETS_PER_S WARM_UP_MS MEASURE_MS` is answered by `begin` when the measured part begins
/// and `end {json}` when it is over; `add COUNT`, which makes clients that are silent from then on, by `added {json}`; `echo
/// ADDRESS`, which is probed from then on while a load runs, by `probing`.
///
/// # Errors
/// A sentence, when the relay or the system does not do what is asked.
pub fn serve(arguments: &[String], commands: &Receiver<String>) -> Result<(), String> {
    let (cpu, arguments) = arguments.split_first().ok_or("relay: no CPU")?;
    pin(number(cpu)?);
    let mut load = Load::new(lanes::make(arguments)?);
    println!("ready");
    loop {
        let line = match commands.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Empty) => {
                load.idle(IDLE_STEP)?;
                continue;
            }
            Err(TryRecvError::Disconnected) => return load.leave(),
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["run", bytes, burst, rate, warm_up_ms, measure_ms] => {
                let shape = Shape::new(number(bytes)?, number(burst)?, number(rate)?)?;
                load.keep()?;
                load.run(&shape, Duration::from_millis(number(warm_up_ms)?))?;
                println!("begin");
                println!("end {}", load.run(&shape, Duration::from_millis(number(measure_ms)?))?);
            }
            ["add", count] => println!("added {}", load.add(number(count)?)?),
            ["echo", address] => {
                load.probe(socket_address(address)?)?;
                println!("probing");
            }
            _ => return Err(format!("not a command: {line}")),
        }
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("not a number that fits: {word}"))
}

fn socket_address(word: &str) -> Result<SocketAddr, String> {
    word.parse().map_err(|_| format!("not an address and port: {word}"))
}

fn key_bytes(word: &str) -> Result<Vec<u8>, String> {
    let digits = |at: usize| word.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes: Option<Vec<u8>> = (0..word.len()).step_by(2).map(digits).collect();
    bytes.ok_or_else(|| "a key is not of hexadecimal digits".to_owned())
}
