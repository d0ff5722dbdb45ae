//! A TURN client as far as a relay needs one to be loaded: it allocates, lets a peer in, and stays.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::{hmac, rand};
use mediaserver_proto::stun::{Class, Message, TransactionId, Writer, attribute, method};

use super::ends::each;
use crate::net::{Inbox, Socket};

/// A request is sent again after so long, and so often.
const AGAIN: Duration = Duration::from_millis(300);
const TRIES: usize = 5;
/// What a server gives who asks for nothing (RFC 8656 §7.2).
const LIFETIME_S: u32 = 600;
/// 17, UDP, in REQUESTED-TRANSPORT (RFC 8656 §18.8).
const UDP: [u8; 4] = [17, 0, 0, 0];

/// Who all clients are (RFC 8489 §9.2).
#[derive(Debug)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) realm: String,
    pub(super) key: hmac::Key,
}

/// What a server answered: an error code, or a success.
#[derive(Debug, Default)]
struct Answer {
    error: Option<u16>,
    nonce: Option<Vec<u8>>,
    relayed: Option<SocketAddr>,
}

/// One client's state beside its socket.
#[derive(Debug)]
pub(super) struct TurnClient {
    nonce: Vec<u8>,
    pub(super) relayed: SocketAddr,
}

impl TurnClient {
    /// Allocates (RFC 8656 §7): once without credentials, which brings the nonce, and once with them.
    pub(super) fn allocate(account: &Account, socket: &Socket, inbox: &mut Inbox) -> Result<TurnClient, String> {
        let relayed = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut client = TurnClient { nonce: Vec::new(), relayed };
        let answer = client.ask(None, socket, inbox, method::ALLOCATE, |writer| {
            writer.attribute(attribute::REQUESTED_TRANSPORT, &UDP)
        })?;
        client.nonce = answer.nonce.filter(|_| answer.error == Some(401)).ok_or("no 401 with a nonce")?;
        let answer = client.request(account, socket, inbox, method::ALLOCATE, |writer| {
            writer.attribute(attribute::REQUESTED_TRANSPORT, &UDP)
        })?;
        client.relayed = answer.relayed.ok_or("no relayed address")?;
        Ok(client)
    }

    /// Lets `peer` send (RFC 8656 §10), and names it by `channel` where there is one (§12).
    pub(super) fn admit(
        &mut self,
        account: &Account,
        socket: &Socket,
        inbox: &mut Inbox,
        peer: SocketAddr,
        channel: Option<u16>,
    ) -> Result<(), String> {
        match channel {
            Some(number) => self.request(account, socket, inbox, method::CHANNEL_BIND, |writer| {
                let [high, low] = number.to_be_bytes();
                let writer = writer.attribute(attribute::CHANNEL_NUMBER, &[high, low, 0, 0]);
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer)
            }),
            None => self.request(account, socket, inbox, method::CREATE_PERMISSION, |writer| {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer)
            }),
        }
        .map(|_| ())
    }

    /// Stays for another ten minutes (RFC 8656 §8), or goes.
    pub(super) fn refresh(
        &mut self,
        account: &Account,
        socket: &Socket,
        inbox: &mut Inbox,
        stays: bool,
    ) -> Result<(), String> {
        let lifetime = if stays { LIFETIME_S } else { 0u32 };
        self.request(account, socket, inbox, method::REFRESH, |writer| {
            writer.attribute(attribute::LIFETIME, &lifetime.to_be_bytes())
        })
        .map(|_| ())
    }

    /// Asks with credentials; a nonce that has grown old is replaced once (RFC 8489 §9.2.5).
    fn request(
        &mut self,
        account: &Account,
        socket: &Socket,
        inbox: &mut Inbox,
        method: u16,
        write: impl Fn(Writer<'_>) -> Writer<'_>,
    ) -> Result<Answer, String> {
        for _ in 0..2 {
            let answer = self.ask(Some(account), socket, inbox, method, &write)?;
            match (answer.error, answer.nonce) {
                (None, _) => return Ok(Answer { nonce: None, ..answer }),
                (Some(438), Some(nonce)) => self.nonce = nonce,
                (Some(code), _) => return Err(format!("the relay refuses method {method} with {code}")),
            }
        }
        Err("the relay's nonces are always stale".into())
    }

    fn ask(
        &self,
        account: Option<&Account>,
        socket: &Socket,
        inbox: &mut Inbox,
        method: u16,
        write: impl Fn(Writer<'_>) -> Writer<'_>,
    ) -> Result<Answer, String> {
        // RFC 8489 §5: whoever had this address before may have used any other.
        let mut transaction = [0u8; 12];
        rand::fill(&mut transaction).map_err(|_| "no random numbers")?;
        let transaction = TransactionId(transaction);
        let mut bytes = Vec::new();
        let mut writer = write(Writer::new(&mut bytes, Class::Request, method, transaction));
        if let Some(account) = account {
            writer = writer
                .username(account.user.as_bytes())
                .attribute(attribute::REALM, account.realm.as_bytes())
                .attribute(attribute::NONCE, &self.nonce)
                .integrity(&account.key);
        }
        writer.fingerprint();
        for _ in 0..TRIES {
            socket.send(&bytes).map_err(|error| format!("send: {error}"))?;
            let asked = Instant::now();
            while asked.elapsed() < AGAIN {
                let mut answer = None;
                each(inbox, socket, &mut |datagram, _| answer = read(datagram, transaction).or(answer.take()))?;
                if let Some(answer) = answer {
                    return Ok(answer);
                }
            }
        }
        Err(format!("the relay does not answer method {method}"))
    }
}

fn read(datagram: &[u8], transaction: TransactionId) -> Option<Answer> {
    let message = Message::parse(datagram).ok().filter(|message| message.transaction() == transaction)?;
    let error = match message.class() {
        Class::Success => None,
        Class::Error => Some(message.error_code()?),
        _ => return None,
    };
    Some(Answer {
        error,
        nonce: message.attribute(attribute::NONCE).map(<[u8]>::to_vec),
        relayed: message.xor_address(attribute::XOR_RELAYED_ADDRESS),
    })
}
