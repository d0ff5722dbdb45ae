//! One line of standard input.
//!
//! `line NAME BIND TARGET` opens a line, `set NAME up|down|both KEY=VALUE…` shapes it (keys not named are off),
//! `counts NAME` asks what became of the packets.

use std::net::SocketAddr;
use std::time::Duration;

use crate::line::Shape;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Open a line.
    Line {
        /// Its name.
        name: String,
        /// Where clients send.
        bind: SocketAddr,
        /// Where it leads.
        target: SocketAddr,
    },
    /// Shape a direction or both.
    Set {
        /// The line.
        name: String,
        /// Towards the target.
        up: Option<Shape>,
        /// From the target.
        down: Option<Shape>,
    },
    /// Say what became of the packets.
    Counts {
        /// The line.
        name: String,
    },
}

impl Command {
    /// # Errors
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Command, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["line", name, bind, target] => {
                Ok(Command::Line { name: name.into(), bind: address(bind)?, target: address(target)? })
            }
            ["set", name, which, ref settings @ ..] => {
                let shape = shape(settings)?;
                let (up, down) = match which {
                    "up" => (Some(shape), None),
                    "down" => (None, Some(shape)),
                    "both" => (Some(shape), Some(shape)),
                    _ => return Err(format!("not a direction: {which}")),
                };
                Ok(Command::Set { name: name.into(), up, down })
            }
            ["counts", name] => Ok(Command::Counts { name: name.into() }),
            _ => Err(format!("not a command: {text}")),
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("not an address and port: {text}"))
}

fn shape(settings: &[&str]) -> Result<Shape, String> {
    let mut shape = Shape::default();
    for setting in settings {
        let (key, value) = setting.split_once('=').ok_or_else(|| format!("not KEY=VALUE: {setting}"))?;
        let number: f64 = value.parse().map_err(|_| format!("not a number: {setting}"))?;
        if !(0.0..=1e12).contains(&number) {
            return Err(format!("out of range: {setting}"));
        }
        let ms = Duration::from_secs_f64(number / 1000.0);
        match key {
            "rate_bps" if number >= 1.0 => shape.rate_bps = Some(number),
            "delay_ms" => shape.delay = ms,
            "jitter_ms" => shape.jitter = ms,
            "loss" if number <= 1.0 => shape.loss = number,
            "queue_ms" => shape.queue = ms,
            _ => return Err(format!("not a setting: {setting}")),
        }
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_the_rest_is_off() {
        let Ok(Command::Set { name, up, down }) = Command::parse("set a down rate_bps=600000 delay_ms=40 loss=0.05")
        else {
            panic!("a set command")
        };
        assert_eq!((name.as_str(), up), ("a", None));
        let expected =
            Shape { rate_bps: Some(600_000.0), delay: Duration::from_millis(40), loss: 0.05, ..Shape::default() };
        assert_eq!(down, Some(expected));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "set a sideways",
            "set a up loss=2",
            "set a up rate_bps=0",
            "set a up delay_ms=-1",
            "set a up delay_ms=NaN",
            "line a 127.0.0.1 127.0.0.1:9",
            "stop",
        ] {
            assert!(Command::parse(text).is_err(), "{text}");
        }
    }
}
