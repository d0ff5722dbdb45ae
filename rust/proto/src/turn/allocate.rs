//! Allocate requests (RFC 8656 §7.2).

use std::net::SocketAddr;
use std::time::Duration;

use super::allocation::{Allocation, lifetime_s};
use super::answer::{Asked, Refusal, answer};
use super::authentication::Identity;
use super::channels::Channels;
use super::drops::TurnDrop;
use super::permissions::Permissions;
use super::ports::{Family, OpenedPorts, PortWish, RelayPorts};
use super::requests::{read_family, read_lifetime};
use super::reservations::Token;
use super::server::{Outputs, Server};
use crate::stun::{Class, Message, attribute};
use crate::time::Time;

/// IANA's number of UDP.
const UDP: u8 = 17;

/// What an Allocate request asks for.
#[derive(Clone, Copy, Debug)]
struct Wish {
    port: PortChoice,
    lifetime_s: u32,
    /// An IPv6 address beside the IPv4 one: told that there is none.
    additional: bool,
}

#[derive(Clone, Copy, Debug)]
enum PortChoice {
    New(PortWish),
    /// The one that was kept under a token.
    Kept(Token),
}

impl Server {
    pub(super) fn allocate(
        &mut self,
        asked: Asked<'_, '_>,
        identity: &Identity,
        index: Option<usize>,
        ports: &mut dyn RelayPorts,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), Refusal> {
        let wish = read_wish(asked.message)?;
        if let Some(index) = index {
            // RFC 8656 §7.2: the same request again gets the same answer; any other one is too much.
            let own = self.allocations.get(index).ok_or(TurnDrop::Mismatch)?;
            let is_same = own.transaction == asked.message.transaction();
            if !is_same || own.holder.username != identity.username {
                return Err(TurnDrop::Mismatch.into());
            }
            self.answer_allocated(asked, identity, index, wish.additional, now, out);
            return Ok(());
        }
        if let Some(alternates) = &self.draining {
            let same_family = |server: &&SocketAddr| server.is_ipv4() == asked.path.remote.is_ipv4();
            let alternate = alternates.iter().find(same_family);
            return Err(alternate.map_or(TurnDrop::Draining.into(), |&server| Refusal::TryAlternate(server)));
        }
        let opened = match wish.port {
            PortChoice::New(wish) => self.open_ports(wish, identity, ports)?,
            PortChoice::Kept(token) => {
                // Its place within the quota goes over with it.
                let kept = self.reservations.redeem(token, identity.quota, now).ok_or(TurnDrop::NoPort)?;
                OpenedPorts { relayed: kept.relayed, reserved: None }
            }
        };
        let token = opened.reserved.map(|reserved| {
            let mut token = Token::default();
            self.random.fill(&mut token);
            self.reservations.keep(token, reserved, identity.quota, now);
            token
        });
        self.insert(Allocation {
            client: asked.path,
            relayed: opened.relayed,
            token,
            holder: identity.holder(),
            transaction: asked.message.transaction(),
            expires: now + Duration::from_secs(u64::from(wish.lifetime_s)),
            permissions: Permissions::default(),
            channels: Channels::default(),
        });
        if let Some(&index) = self.by_client.get(&asked.path) {
            self.answer_allocated(asked, identity, index, wish.additional, now, out);
        }
        Ok(())
    }

    fn open_ports(
        &mut self,
        wish: PortWish,
        identity: &Identity,
        ports: &mut dyn RelayPorts,
    ) -> Result<OpenedPorts, TurnDrop> {
        if !ports.has(wish.family) {
            return Err(TurnDrop::Family);
        }
        // A port that is kept counts as much as one that is used.
        let count = 1 + u32::from(wish.reserve_next);
        self.quotas.take(identity.quota, count)?;
        ports.open(wish).ok_or_else(|| {
            (0..count).for_each(|_| self.quotas.give_back(identity.quota));
            TurnDrop::NoPort
        })
    }

    fn answer_allocated(
        &self,
        asked: Asked<'_, '_>,
        identity: &Identity,
        index: usize,
        additional: bool,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) {
        let Some(own) = self.allocations.get(index) else { return };
        let lifetime_s = own.expires.since(now).as_secs() as u32;
        answer(asked, Class::Success, identity, out, |writer| {
            let mut writer = writer
                .xor_address(attribute::XOR_RELAYED_ADDRESS, own.relayed.address)
                .attribute(attribute::LIFETIME, &lifetime_s.to_be_bytes())
                .xor_mapped_address(asked.path.remote);
            if let Some(token) = own.token {
                writer = writer.attribute(attribute::RESERVATION_TOKEN, &token);
            }
            if additional {
                // RFC 8656 §18.12: family IPv6, 440.
                writer = writer.attribute(attribute::ADDRESS_ERROR_CODE, &[2, 0, 4, 40]);
            }
            writer
        });
    }
}

fn read_wish(message: &Message<'_>) -> Result<Wish, TurnDrop> {
    if message.attribute(attribute::MOBILITY_TICKET).is_some() {
        return Err(TurnDrop::Mobility);
    }
    match message.attribute(attribute::REQUESTED_TRANSPORT) {
        Some([UDP, _, _, _]) => {}
        Some([_, _, _, _]) => return Err(TurnDrop::Transport),
        _ => return Err(TurnDrop::BadRequest),
    }
    let family = read_family(message, attribute::REQUESTED_ADDRESS_FAMILY)?;
    let additional = read_family(message, attribute::ADDITIONAL_ADDRESS_FAMILY)?;
    let even = match message.attribute(attribute::EVEN_PORT) {
        None => None,
        Some(&[flags]) => Some(flags & 0x80 != 0),
        Some(_) => return Err(TurnDrop::BadRequest),
    };
    let token = message.attribute(attribute::RESERVATION_TOKEN);
    let token = token.map(|token| Token::try_from(token).map_err(|_| TurnDrop::BadRequest)).transpose()?;
    // RFC 8656 §7.2: what excludes each other.
    let contradicts = token.is_some() && (family.is_some() || even.is_some() || additional.is_some())
        || additional.is_some() && (family.is_some() || even == Some(true) || additional != Some(Family::V6));
    if contradicts {
        return Err(TurnDrop::BadRequest);
    }
    let new = PortWish { family: family.unwrap_or(Family::V4), even: even.is_some(), reserve_next: even == Some(true) };
    Ok(Wish {
        port: token.map_or(PortChoice::New(new), PortChoice::Kept),
        lifetime_s: lifetime_s(read_lifetime(message)?),
        additional: additional.is_some(),
    })
}
