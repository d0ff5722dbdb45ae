//! Requests: who sends them, and those about an allocation that there is (RFC 8656 §8, §10, §12).

use std::net::SocketAddr;
use std::time::Duration;

use super::allocation::lifetime_s;
use super::answer::{Asked, Refusal, answer, unknown_attributes};
use super::authentication::Identity;
use super::channels::{BindError, NUMBERS};
use super::drops::TurnDrop;
use super::ports::{Family, RelayPorts};
use super::server::{Outputs, Server};
use crate::io::Path;
use crate::stun::{Class, Message, attribute, method};
use crate::time::Time;

impl Server {
    /// Authenticates a request, does what it asks for and answers it.
    pub(super) fn handle_request(
        &mut self,
        path: Path,
        message: &Message<'_>,
        len: usize,
        ports: &mut dyn RelayPorts,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) {
        let asked = Asked { path, message, len };
        let index = self.by_client.get(&path).copied();
        let holder = index.and_then(|index| Some(self.allocations.get(index)?.holder));
        let identity = match self.authenticator.check(message, path.remote, now, holder) {
            Ok(identity) => identity,
            Err(reason) => {
                self.drops.count(reason);
                if let Err(reason) = self.refuse_stranger(asked, reason, now, out) {
                    self.drops.count(reason);
                }
                return;
            }
        };
        let (unknown, count) = unknown_attributes(message);
        let result = if count > 0 {
            Err(Refusal::Unknown(unknown, count))
        } else {
            match message.method() {
                method::ALLOCATE => self.allocate(asked, &identity, index, ports, now, out),
                method::REFRESH => self.refresh(asked, &identity, index, ports, now, out),
                method::CREATE_PERMISSION => self.create_permission(asked, &identity, index, now, out),
                _ => self.bind_channel(asked, &identity, index, now, out),
            }
        };
        if let Err(refusal) = result {
            self.drops.count(refusal.reason());
            self.refuse(asked, &identity, &refusal, out);
        }
    }

    /// The allocation that a request is about, which must be the sender's.
    fn own_allocation(&self, index: Option<usize>, identity: &Identity) -> Result<usize, TurnDrop> {
        let index = index.ok_or(TurnDrop::Mismatch)?;
        let allocation = self.allocations.get(index).ok_or(TurnDrop::Mismatch)?;
        if allocation.holder.username == identity.username { Ok(index) } else { Err(TurnDrop::WrongUser) }
    }

    /// RFC 8656 §8.2.
    fn refresh(
        &mut self,
        asked: Asked<'_, '_>,
        identity: &Identity,
        index: Option<usize>,
        ports: &mut dyn RelayPorts,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), Refusal> {
        let index = self.own_allocation(index, identity)?;
        if let Some(family) = read_family(asked.message, attribute::REQUESTED_ADDRESS_FAMILY)?
            && self.allocations.get(index).is_some_and(|own| Family::of(own.relayed.address.ip()) != family)
        {
            return Err(TurnDrop::PeerFamily.into());
        }
        let lifetime_s = match read_lifetime(asked.message)? {
            Some(0) => {
                self.remove(index, ports);
                0
            }
            wanted => {
                let lifetime_s = lifetime_s(wanted);
                self.prolong(index, now + Duration::from_secs(u64::from(lifetime_s)));
                lifetime_s
            }
        };
        answer(asked, Class::Success, identity, out, |writer| {
            writer.attribute(attribute::LIFETIME, &lifetime_s.to_be_bytes())
        });
        Ok(())
    }

    /// RFC 8656 §10.2: all of the peers, or none of them.
    fn create_permission(
        &mut self,
        asked: Asked<'_, '_>,
        identity: &Identity,
        index: Option<usize>,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), Refusal> {
        let index = self.own_allocation(index, identity)?;
        let allocation = self.allocations.get_mut(index).ok_or(TurnDrop::Mismatch)?;
        let message = asked.message;
        let of_peers = |attribute: &crate::stun::Attribute<'_>| attribute.kind == attribute::XOR_PEER_ADDRESS;
        let mut any = false;
        for attribute in message.attributes().filter(of_peers) {
            let peer = message.read_xor_address(attribute.value).ok_or(TurnDrop::BadRequest)?;
            if !allocation.is_of_family(peer) {
                return Err(TurnDrop::PeerFamily.into());
            }
            if !self.peers.admits_ip(peer.ip()) {
                return Err(TurnDrop::PeerDenied.into());
            }
            any = true;
        }
        if !any {
            return Err(TurnDrop::BadRequest.into());
        }
        let peers = || {
            let values = message.attributes().filter(of_peers);
            values.filter_map(|attribute| message.read_xor_address(attribute.value)).map(|peer| peer.ip())
        };
        if !allocation.permissions.has_room_for(peers(), now) {
            return Err(TurnDrop::TableFull.into());
        }
        for ip in peers() {
            allocation.permissions.refresh(ip, now).map_err(|_| TurnDrop::TableFull)?;
        }
        answer(asked, Class::Success, identity, out, |writer| writer);
        Ok(())
    }

    /// RFC 8656 §12.2; the peer gets a permission with it.
    fn bind_channel(
        &mut self,
        asked: Asked<'_, '_>,
        identity: &Identity,
        index: Option<usize>,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), Refusal> {
        let index = self.own_allocation(index, identity)?;
        let allocation = self.allocations.get_mut(index).ok_or(TurnDrop::Mismatch)?;
        let (number, peer) = read_channel(asked.message)?;
        if !allocation.is_of_family(peer) {
            return Err(TurnDrop::PeerFamily.into());
        }
        if !self.peers.admits(peer) {
            return Err(TurnDrop::PeerDenied.into());
        }
        allocation.channels.check(number, peer, now).map_err(|error| match error {
            BindError::Conflict => TurnDrop::ChannelConflict,
            BindError::Full => TurnDrop::TableFull,
        })?;
        allocation.permissions.refresh(peer.ip(), now).map_err(|_| TurnDrop::TableFull)?;
        allocation.channels.bind(number, peer, now).map_err(|_| TurnDrop::TableFull)?;
        answer(asked, Class::Success, identity, out, |writer| writer);
        Ok(())
    }
}

fn read_channel(message: &Message<'_>) -> Result<(u16, SocketAddr), TurnDrop> {
    let peer = message.xor_address(attribute::XOR_PEER_ADDRESS).ok_or(TurnDrop::BadRequest)?;
    // RFC 8656 §18.1: the number, and two bytes that are ignored.
    let Some(&[n0, n1, _, _]) = message.attribute(attribute::CHANNEL_NUMBER) else { return Err(TurnDrop::BadRequest) };
    let number = u16::from_be_bytes([n0, n1]);
    if NUMBERS.contains(&number) { Ok((number, peer)) } else { Err(TurnDrop::BadRequest) }
}

/// LIFETIME in seconds, where it is there.
pub(super) fn read_lifetime(message: &Message<'_>) -> Result<Option<u32>, TurnDrop> {
    let value = message.attribute(attribute::LIFETIME);
    value.map(|value| Ok(u32::from_be_bytes(value.try_into().map_err(|_| TurnDrop::BadRequest)?))).transpose()
}

/// REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.6, §18.11), where it is there.
pub(super) fn read_family(message: &Message<'_>, kind: u16) -> Result<Option<Family>, TurnDrop> {
    match message.attribute(kind) {
        None => Ok(None),
        Some([1, _, _, _]) => Ok(Some(Family::V4)),
        Some([2, _, _, _]) => Ok(Some(Family::V6)),
        Some([_, _, _, _]) => Err(TurnDrop::Family),
        Some(_) => Err(TurnDrop::BadRequest),
    }
}
