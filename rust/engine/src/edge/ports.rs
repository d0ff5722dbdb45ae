//! The ports that an Edge's worker opens for media of phones and trunks.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use mediaserver_proto::link::{EdgeLink, PortPair};
use mediaserver_proto::path::SessionKey;
use mediaserver_proto::time::Time;

use super::sockets::EdgeSockets;
use crate::command::{Action, Address};
use crate::event::Event;
use crate::ports::PortPools;
use crate::shard::milliseconds;
use crate::sys::Poller;

/// What opening takes beside the pools.
pub(super) struct Parts<'a> {
    pub(super) edge: &'a mut EdgeLink,
    pub(super) sockets: &'a mut EdgeSockets,
    pub(super) poller: &'a Poller,
}

/// Which ports are wanted.
pub(super) struct Wanted {
    pub(super) ip: IpAddr,
    /// That of RTP; any where nobody knows one from before.
    pub(super) rtp: Option<u16>,
}

/// Opens a pair for a session; the ports of RTP and RTCP.
pub(super) fn open(
    pools: &mut PortPools,
    parts: Parts<'_>,
    session: SessionKey,
    wanted: &Wanted,
    now: Time,
) -> Result<(u16, u16), String> {
    let Parts { edge, sockets, poller } = parts;
    let all = sockets.all_mut();
    let ids = all.reserve_pair();
    let pair = match wanted.rtp {
        Some(port) => pools.open_again(wanted.ip, port, ids, now),
        None => pools.open(wanted.ip, ids, now),
    };
    let (rtp, rtcp) = match pair {
        Ok(pair) => pair,
        Err(error) => {
            all.close(ids.0);
            all.close(ids.1);
            return Err(error.to_string());
        }
    };
    let ports = (rtp.local().port(), rtcp.local().port());
    let polled = [&rtp, &rtcp].into_iter().try_for_each(|socket| poller.add(socket.as_raw_fd(), socket.id().0.into()));
    all.put(rtp);
    all.put(rtcp);
    let taken = polled.map_err(|error: io::Error| error.to_string());
    let taken = taken.and_then(|()| {
        let is_new = edge.open_ports(session, [ids.0, ids.1], now);
        if is_new { Ok(ports) } else { Err("limit edge_ports".to_owned()) }
    });
    if taken.is_err() {
        close(pools, sockets, [ids.0, ids.1], now);
    }
    taken
}

/// Closes the sockets of a pair.
pub(super) fn close(pools: &mut PortPools, sockets: &mut EdgeSockets, pair: PortPair, now: Time) {
    let all = sockets.all_mut();
    all.close(pair[1]);
    if let Some(rtp) = all.close(pair[0]) {
        pools.release(rtp.local(), now);
    }
}

/// Closes what has ended, and says so.
pub(super) fn close_ended(
    pools: &mut PortPools,
    edge: &mut EdgeLink,
    sockets: &mut EdgeSockets,
    id: u64,
    now: Time,
) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((session, pair)) = edge.poll_closed_ports() {
        close(pools, sockets, pair, now);
        events.push(Event::EdgePortsClosed { id, core: session.core, transport: session.transport });
    }
    events
}

/// Takes what the peer's description says.
pub(super) fn aim(edge: &mut EdgeLink, action: &Action, now: Time) -> Result<(), &'static str> {
    let Action::AimEdgePorts { core, transport, rtp, rtcp, latching_ms } = action else {
        return Err("invalid command for ports");
    };
    let session = SessionKey { core: *core, transport: *transport };
    let address = |given: &Option<Address>| given.map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port));
    let is_known = edge.aim_ports(session, [address(rtp), address(rtcp)], milliseconds(*latching_ms), now);
    if is_known { Ok(()) } else { Err("there are no such ports") }
}
