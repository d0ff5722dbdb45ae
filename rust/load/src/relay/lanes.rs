//! What every relay under load looks like, and which kinds there are.

use mediaserver_proto::time::Time;

use super::floor::{EdgeFloor, TurnFloor};
use super::turn::TurnLanes;
use super::visitors::EdgeLanes;
use super::{key_bytes, number, socket_address};
use crate::net::Inbox;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From a client to its peer, or from a visitor to the Core.
    Up,
    /// Back.
    Down,
}

/// Is shown a payload, and when it arrived, in nanoseconds since the Unix epoch, where the kernel says so.
pub(super) type Found<'a> = dyn FnMut(&[u8], Option<u64>) + 'a;

/// One relay and everybody around it.
pub(super) trait Lanes {
    /// How many lanes carry the load.
    fn count(&self) -> usize;

    /// Sends payloads of equal length, side by side in `payloads`, into a lane: as a burst, or as what it is when there is one.
    fn send(&mut self, lane: usize, way: Way, payloads: &[u8], bytes: usize) -> Result<(), String>;

    /// Takes what came out, and shows each payload.
    fn receive(&mut self, inbox: &mut Inbox, now: Time, found: &mut Found<'_>) -> Result<(), String>;

    /// Whether the kernel says when payloads arrive.
    fn tell_arrival(&self, on: bool) -> Result<(), String>;

    /// One more client, set up as those that carry the load, that will be silent.
    fn add(&mut self, _inbox: &mut Inbox, _now: Time) -> Result<(), String> {
        Err("the limit program knows only those that it was started with".into())
    }

    /// What must happen even while a load runs, so that lanes stay open.
    fn pulse(&mut self, _now: Time) -> Result<(), String> {
        Ok(())
    }

    /// What must happen in between.
    fn keep(&mut self, _inbox: &mut Inbox, _now: Time) -> Result<(), String> {
        Ok(())
    }

    /// Gives back what the relay keeps for these lanes: whoever comes next may have their addresses.
    fn leave(&mut self, _inbox: &mut Inbox) -> Result<(), String> {
        Ok(())
    }
}

/// Makes the lanes that the command line asks for.
pub(super) fn make(arguments: &[String]) -> Result<Box<dyn Lanes>, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Ok(match words[..] {
        ["turn", server, count, form, user, key, realm] => {
            let is_channel = match form {
                "channel" => true,
                "send" => false,
                _ => return Err(format!("neither channel nor send: {form}")),
            };
            let server = socket_address(server)?;
            Box::new(TurnLanes::new(server, number(count)?, is_channel, user, &key_bytes(key)?, realm)?)
        }
        ["edge", public, link, count, ufrag_key, link_key] => {
            let (ufrag_key, link_key) = (key_bytes(ufrag_key)?, key_bytes(link_key)?);
            Box::new(EdgeLanes::new(
                socket_address(public)?,
                socket_address(link)?,
                number(count)?,
                &ufrag_key,
                &link_key,
            )?)
        }
        ["turn-floor", server, relayed, clients, peers, count] => Box::new(TurnFloor::new(
            socket_address(server)?,
            number(relayed)?,
            number(clients)?,
            number(peers)?,
            number(count)?,
        )?),
        ["edge-floor", public, link, core, visitors, count] => Box::new(EdgeFloor::new(
            socket_address(public)?,
            socket_address(link)?,
            number(core)?,
            number(visitors)?,
            number(count)?,
        )?),
        _ => return Err("relay: turn, edge, turn-floor or edge-floor, and what they need".into()),
    })
}
