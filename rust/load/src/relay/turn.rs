//! Lanes through a TURN server: clients with an allocation each, and a peer for each of them.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use mediaserver_proto::stun::{Class, Message, TransactionId, Writer, attribute, method};
use mediaserver_proto::time::Time;

use super::ends::Ends;
use super::lanes::{Found, Lanes, Way};
use super::turn_client::{Account, TurnClient};
use crate::net::{Inbox, Socket};

/// The number that each client has for its peer.
pub(super) const CHANNEL: u16 = 0x4000;
/// Permissions last five minutes, allocations and channels ten (RFC 8656 §7.2, §9, §12).
const RENEW_EVERY: Duration = Duration::from_secs(120);

/// See the module.
#[derive(Debug)]
pub(super) struct TurnLanes {
    server: SocketAddr,
    account: Account,
    /// Payloads go as ChannelData; else as Send and Data indications.
    is_channel: bool,
    ends: Ends,
    clients: Vec<(TurnClient, SocketAddr)>,
    /// Those that are silent.
    silent: Vec<(TurnClient, Socket)>,
    renewed: Time,
    out: Vec<u8>,
}

impl TurnLanes {
    pub(super) fn new(
        server: SocketAddr,
        count: usize,
        is_channel: bool,
        user: &str,
        key: &[u8],
        realm: &str,
    ) -> Result<TurnLanes, String> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
        let account = Account { user: user.to_owned(), realm: realm.to_owned(), key };
        let mut lanes = TurnLanes {
            server,
            account,
            is_channel,
            ends: Ends::new()?,
            clients: Vec::new(),
            silent: Vec::new(),
            renewed: Time::ZERO,
            out: Vec::new(),
        };
        let mut inbox = Inbox::default();
        for _ in 0..count {
            let peer = open()?;
            let address = peer.local().map_err(|error| format!("peer: {error}"))?;
            let (client, socket) = lanes.join(address, &mut inbox)?;
            let peer = peer.connected(client.relayed).map_err(|error| format!("peer: {error}"))?;
            lanes.clients.push((client, address));
            lanes.ends.push(socket, peer)?;
        }
        Ok(lanes)
    }

    /// A client with everything that it needs to talk with `peer`.
    fn join(&self, peer: SocketAddr, inbox: &mut Inbox) -> Result<(TurnClient, Socket), String> {
        let socket = open()?.connected(self.server).map_err(|error| format!("client: {error}"))?;
        let mut client = TurnClient::allocate(&self.account, &socket, inbox)?;
        client.admit(&self.account, &socket, inbox, peer, self.is_channel.then_some(CHANNEL))?;
        Ok((client, socket))
    }
}

impl Lanes for TurnLanes {
    fn count(&self) -> usize {
        self.ends.len()
    }

    fn send(&mut self, lane: usize, way: Way, payloads: &[u8], bytes: usize) -> Result<(), String> {
        if way == Way::Down {
            return self.ends.send(lane, way, payloads, bytes);
        }
        self.out.clear();
        for payload in payloads.chunks_exact(bytes) {
            if self.is_channel {
                channel_data(&mut self.out, payload);
            } else {
                // With FINGERPRINT, as coturn's own client has it: the server must look at every byte.
                Writer::new(&mut self.out, Class::Indication, method::SEND, TransactionId([7; 12]))
                    .xor_address(attribute::XOR_PEER_ADDRESS, self.clients[lane].1)
                    .attribute(attribute::DATA, payload)
                    .fingerprint();
            }
        }
        let piece = self.out.len() * bytes / payloads.len();
        self.ends.send(lane, way, &self.out, piece)
    }

    fn receive(&mut self, inbox: &mut Inbox, _now: Time, found: &mut Found<'_>) -> Result<(), String> {
        let is_channel = self.is_channel;
        self.ends.receive(inbox, &mut |way, datagram, arrived| match way {
            Way::Up => found(datagram, arrived),
            Way::Down if is_channel => found(unwrap_channel_data(datagram), arrived),
            Way::Down => {
                let message = Message::parse(datagram).ok();
                let data = message.and_then(|message| message.attribute(attribute::DATA));
                found(data.unwrap_or_default(), arrived);
            }
        })
    }

    fn tell_arrival(&self, on: bool) -> Result<(), String> {
        self.ends.tell_arrival(on)
    }

    fn add(&mut self, inbox: &mut Inbox, _now: Time) -> Result<(), String> {
        // Nothing is sent to this peer.
        let joined = self.join(SocketAddr::from(([127, 0, 0, 1], 9)), inbox)?;
        self.silent.push(joined);
        Ok(())
    }

    fn keep(&mut self, inbox: &mut Inbox, now: Time) -> Result<(), String> {
        if now.since(self.renewed) < RENEW_EVERY {
            return Ok(());
        }
        self.renewed = now;
        for (lane, (client, peer)) in self.clients.iter_mut().enumerate() {
            let socket = self.ends.client(lane);
            client.refresh(&self.account, socket, inbox, true)?;
            client.admit(&self.account, socket, inbox, *peer, self.is_channel.then_some(CHANNEL))?;
        }
        Ok(())
    }

    fn leave(&mut self, inbox: &mut Inbox) -> Result<(), String> {
        for (lane, (client, _)) in self.clients.iter_mut().enumerate() {
            client.refresh(&self.account, self.ends.client(lane), inbox, false)?;
        }
        for (client, socket) in &mut self.silent {
            client.refresh(&self.account, socket, inbox, false)?;
        }
        Ok(())
    }
}

fn open() -> Result<Socket, String> {
    Socket::open(0).map_err(|error| format!("socket: {error}"))
}

/// RFC 8656 §12.4, over UDP: without padding.
pub(super) fn channel_data(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(&CHANNEL.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(payload);
}

/// The payload; nothing, which is nobody's, where the datagram is something else.
pub(super) fn unwrap_channel_data(datagram: &[u8]) -> &[u8] {
    let Some((&[a, b, high, low], rest)) = datagram.split_first_chunk::<4>() else { return &[] };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if [a, b] == CHANNEL.to_be_bytes() { rest.get(..len).unwrap_or_default() } else { &[] }
}
