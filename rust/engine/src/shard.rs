//! A shard's side of the control boundary: commands become calls of the endpoint, its events become ours.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::rand;
use mediaserver_proto::dtls::{Fingerprint, HashAlgorithm, Role};
use mediaserver_proto::endpoint::{CommandError, Endpoint, EndpointEvent, Entropy, RtpSockets};
use mediaserver_proto::ice::{LocalCredentials, RemoteCredentials};
use mediaserver_proto::io::{SocketId, TransmitQueue};
use mediaserver_proto::link::LinkKey;
use mediaserver_proto::srtp::{MasterKey, SrtpKeys, Suite};
use mediaserver_proto::time::Time;
use mediaserver_proto::transport::{DtlsTerms, RemoteParameters, RtpRemote};
use serde_bytes::ByteBuf;

use crate::command::{self, Action, Address as CommandAddress, Command, DtlsRole};
use crate::data::channel_opened;
use crate::event::{Event, Layer, TransportStats};
use crate::media_links::{self, CoreLinks, LinkError};
use crate::ports::{PortError, PortPools};
use crate::sockets::Sockets;

use crate::inbox::Inbox;

/// The addresses that peers are told.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    /// Bind address to announced address, where they differ.
    pub ips: HashMap<IpAddr, IpAddr>,
    /// Announced addresses of the shared WebRTC sockets.
    pub shared: Vec<SocketAddr>,
    /// Announced addresses at which the same is taken over TCP.
    pub tcp: Vec<SocketAddr>,
}

impl Announced {
    /// What peers see instead of `ip`.
    pub fn ip(&self, ip: IpAddr) -> IpAddr {
        self.ips.get(&ip).copied().unwrap_or(ip)
    }
}

/// Why a command was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("invalid {0}")]
    Invalid(&'static str),
    #[error("no random numbers")]
    Random,
}

/// What a command is answered with, apart from a refusal.
pub(crate) enum Answer {
    /// `command_done`.
    Done,
    /// An event of its own.
    Event(Event),
}

/// The endpoint with its sockets, as commands see them.
#[derive(Debug)]
pub struct ShardControl {
    /// The protocol side.
    pub endpoint: Endpoint,
    /// All sockets.
    pub sockets: Sockets,
    /// Ways over Edges.
    pub links: CoreLinks,
    /// Where visitors reach Edges.
    edge_addresses: Vec<SocketAddr>,
    /// The same by TCP.
    edge_tcp_addresses: Vec<SocketAddr>,
    ports: PortPools,
    announced: Announced,
    own_sockets: HashMap<u64, RtpSockets>,
    opened: Vec<SocketId>,
    events: Vec<Event>,
}

impl ShardControl {
    /// A shard without transports.
    pub fn new(
        endpoint: Endpoint,
        sockets: Sockets,
        ports: PortPools,
        announced: Announced,
        links: CoreLinks,
    ) -> ShardControl {
        ShardControl {
            endpoint,
            sockets,
            links,
            edge_addresses: Vec::new(),
            edge_tcp_addresses: Vec::new(),
            ports,
            announced,
            own_sockets: HashMap::new(),
            opened: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Sockets that were opened since the last call and wait to be polled.
    pub fn take_opened(&mut self) -> Vec<SocketId> {
        std::mem::take(&mut self.opened)
    }

    /// Events in the order in which they happened.
    pub fn take_events(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// Does what a command says, and answers it.
    pub fn handle(&mut self, item: Inbox, now: Time, out: &mut TransmitQueue) {
        let (id, request, name, result) = match item {
            Inbox::Command(Command { id, request, action }) => {
                let name = action.name();
                (id, request, name, self.apply(id, request, action, now, out))
            }
            Inbox::LoadClip { request, clip } => {
                let id = clip.id.0;
                self.endpoint.load_clip(clip);
                (id, request, "load_clip", Ok(Answer::Done))
            }
            Inbox::UnloadClip { id, request } => {
                let result = self.endpoint.unload_clip(id).map(|()| Answer::Done).map_err(Refusal::from);
                (id, request, "unload_clip", result)
            }
            Inbox::SetUfragKey { id, request, key } => {
                self.endpoint.set_ufrag_key(*key);
                (id, request, "set_ufrag_key", Ok(Answer::Done))
            }
        };
        // What the command caused comes before its answer.
        self.collect_events(now);
        match result {
            Ok(Answer::Event(event)) => self.events.push(event),
            Ok(Answer::Done) => self.events.extend(request.map(|request| Event::CommandDone { request })),
            Err(refusal) => {
                self.events.push(Event::CommandFailed { request, id, command: name, reason: refusal.to_string() });
            }
        }
    }

    /// Lets links and endpoint tell each other what they know of paths.
    pub fn settle_links(&mut self, now: Time, out: &mut TransmitQueue) {
        self.links.settle(&mut self.endpoint, now, out, &mut self.events);
    }

    /// These transports are to look for another way.
    pub(crate) fn tell_left(&mut self, transports: impl IntoIterator<Item = u64>) {
        self.events.extend(transports.into_iter().map(|id| Event::EdgeLeft { id }));
    }

    /// Turns the endpoint's events into ours.
    pub fn collect_events(&mut self, now: Time) {
        while let Some(event) = self.endpoint.poll_event() {
            let event = match event {
                EndpointEvent::TransportConnected { id, remote, suite } => Event::TransportConnected {
                    id,
                    remote: remote.into(),
                    srtp_profile: suite.map_or("none", Suite::name),
                },
                EndpointEvent::TransportPathChanged { id, remote } => {
                    Event::TransportPathChanged { id, remote: remote.into() }
                }
                EndpointEvent::TransportClosed { id, reason, last } => {
                    self.close_sockets(id, now);
                    self.links.forget(id);
                    Event::TransportClosed {
                        id,
                        reason,
                        last: last.map(|last| Box::new(TransportStats::new(id, &last))),
                    }
                }
                EndpointEvent::MediaTimeout { id, silent_ms } => Event::MediaTimeout { id, silent_ms },
                EndpointEvent::MediaResumed { id } => Event::MediaResumed { id },
                EndpointEvent::UpTrackStarted { id, codec, ssrc } => {
                    Event::UpTrackStarted { id, codec: codec.to_owned(), ssrc }
                }
                EndpointEvent::UpTrackLayersChanged { id, layers } => {
                    Event::UpTrackLayersChanged { id, layers: layers.iter().map(Layer::from).collect() }
                }
                EndpointEvent::UpTrackLayersWanted { id, rids, max_spatial } => {
                    Event::UpTrackLayersWanted { id, rids: rids.iter().map(ToString::to_string).collect(), max_spatial }
                }
                EndpointEvent::DownTrackLayerChanged { id, state, layer, temporal } => {
                    let layer = layer.map(|layer| Layer::from(&(layer, true)));
                    Event::DownTrackLayerChanged { id, state, layer, temporal }
                }
                EndpointEvent::KeyframeNeeded { id } => Event::KeyframeNeeded { id },
                EndpointEvent::SpeechChanged { id, loudness } => Event::SpeechChanged { id, loudness },
                EndpointEvent::DtmfReceived { id, digit, duration_ms } => {
                    Event::DtmfReceived { id, digit: digit.to_string(), duration_ms }
                }
                EndpointEvent::ChannelOpened { id, stream, channel } => channel_opened(id, stream, channel),
                EndpointEvent::ChannelClosed { id, stream, reason } => Event::ChannelClosed { id, stream, reason },
                EndpointEvent::ChannelMessage { id, stream, text, payload } => {
                    Event::ChannelMessage { id, stream, text, payload: ByteBuf::from(payload) }
                }
                EndpointEvent::PlayFinished { id, clip } => Event::PlayFinished { id, clip },
            };
            self.events.push(event);
        }
    }

    fn apply(
        &mut self,
        id: u64,
        request: Option<u64>,
        action: Action,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<Answer, Refusal> {
        match action {
            Action::OpenIceTransport { restart_grace_ms } => {
                let grace = milliseconds(restart_grace_ms);
                let credentials = self.endpoint.open_ice_transport(id, grace, entropy()?, now)?;
                return Ok(Answer::Event(self.ice_opened(id, request, &credentials)));
            }
            Action::RestartIce => {
                let credentials = self.endpoint.restart_ice(id, entropy()?, now, out)?;
                return Ok(Answer::Event(self.ice_opened(id, request, &credentials)));
            }
            Action::SetIceRemote { ufrag, pwd, fingerprints, dtls_role, reduced_size } => {
                let remote = RemoteParameters {
                    credentials: RemoteCredentials::new(ufrag, pwd),
                    fingerprints: read_fingerprints(&fingerprints)?,
                    role: read_role(dtls_role),
                };
                self.endpoint.set_ice_remote(id, remote, now, out)?;
                self.endpoint.set_reduced_size(id, reduced_size)?;
            }
            Action::OpenRtpTransport { bind_ip, rtcp_mux: _, latching_ms, timeout_ms, edge } => {
                let times = (milliseconds(latching_ms), milliseconds(timeout_ms));
                let event = match edge {
                    Some(ports) => self.open_rtp_at_edge(id, request, ports, times, now)?,
                    None => self.open_rtp(id, request, bind_ip, times, now)?,
                };
                return Ok(Answer::Event(event));
            }
            Action::SetRtpRemote { rtp, rtcp, rtcp_mux, srtp, dtls } => {
                let remote = RtpRemote {
                    rtp: read_address(rtp),
                    rtcp: read_address(rtcp),
                    rtcp_mux,
                    srtp: srtp.as_ref().map(read_srtp_keys).transpose()?,
                    dtls: dtls.as_ref().map(read_dtls_terms).transpose()?,
                };
                self.endpoint.set_rtp_remote(id, remote, now, out)?;
            }
            Action::CloseTransport { reason: _ } => self.endpoint.close_transport(id, now, out)?,
            Action::ReadStats { ids } => {
                let transports = ids
                    .iter()
                    .filter_map(|&id| Some(TransportStats::new(id, &self.endpoint.statistics(id)?)))
                    .collect();
                return Ok(Answer::Event(Event::Stats { request, transports }));
            }
            Action::OpenMediaLink { edge, bind_ip, key, path_bytes_per_second, tls_link, worker } => {
                let key = key.as_slice().try_into().map_err(|_| Refusal::Invalid("key"))?;
                let (edge, key) = (SocketAddr::new(edge.0, edge.1), LinkKey::new(key));
                let tls = tls_link.map(|link| (link, worker));
                let opening = media_links::Opening { id, edge, bind_ip, key, path_bytes_per_second, tls };
                self.opened.push(self.links.open(opening, &mut self.sockets, now)?);
            }
            Action::CloseMediaLink => {
                if !self.links.close(id, &mut self.sockets) {
                    return Err(Refusal::Invalid("link"));
                }
            }
            Action::LeaveMediaLink => {
                let link = self.links.number_of(id).ok_or(Refusal::Invalid("link"))?;
                let left = self.endpoint.leave_link(link, now, out);
                self.tell_left(left);
            }
            Action::SweepMediaLink => {
                let link = self.links.number_of(id).ok_or(Refusal::Invalid("link"))?;
                let transports = self.endpoint.forget_link(link, now, out).len() as u32;
                return Ok(Answer::Event(Event::MediaLinkSwept { id, transports, request }));
            }
            Action::SetEdgeAddresses { addresses, tcp_addresses } => {
                let read =
                    |all: Vec<CommandAddress>| all.into_iter().map(|(ip, port)| SocketAddr::new(ip, port)).collect();
                (self.edge_addresses, self.edge_tcp_addresses) = (read(addresses), read(tcp_addresses));
            }
            Action::Ping => {}
            Action::AcceptData { .. }
            | Action::OpenChannel { .. }
            | Action::CloseChannel { .. }
            | Action::JoinTopic { .. }
            | Action::LeaveTopic { .. }
            | Action::OpenText { .. }
            | Action::SendMessage { .. }
            | Action::Publish { .. } => self.apply_data(id, action, now, out)?,
            action => self.apply_media(id, action, now, out)?,
        }
        Ok(Answer::Done)
    }

    fn ice_opened(&self, id: u64, request: Option<u64>, credentials: &LocalCredentials) -> Event {
        Event::IceTransportOpened {
            id,
            ufrag: credentials.ufrag().to_owned(),
            pwd: credentials.password().to_owned(),
            addresses: self
                .announced
                .shared
                .iter()
                .chain(&self.edge_addresses)
                .map(|&address| address.into())
                .collect(),
            tcp_addresses: self
                .announced
                .tcp
                .iter()
                .chain(&self.edge_tcp_addresses)
                .map(|&address| address.into())
                .collect(),
            request,
        }
    }

    fn open_rtp(
        &mut self,
        id: u64,
        request: Option<u64>,
        bind_ip: IpAddr,
        (latching, timeout): (Duration, Duration),
        now: Time,
    ) -> Result<Event, Refusal> {
        self.endpoint.check_new_transport(id)?;
        let entropy = entropy()?;
        let ids = self.sockets.reserve_pair();
        let (rtp, rtcp) = match self.ports.open(bind_ip, ids, now) {
            Ok(pair) => pair,
            Err(error) => {
                self.sockets.close(ids.0);
                self.sockets.close(ids.1);
                return Err(error.into());
            }
        };
        let sockets = RtpSockets { rtp: ids.0, rtcp: ids.1 };
        let event = Event::RtpTransportOpened {
            id,
            ip: self.announced.ip(bind_ip).to_string(),
            rtp_port: rtp.local().port(),
            rtcp_port: rtcp.local().port(),
            request,
        };
        self.sockets.put(rtp);
        self.sockets.put(rtcp);
        self.opened.extend([ids.0, ids.1]);
        self.own_sockets.insert(id, sockets);
        let opened = self.endpoint.open_rtp_transport(id, sockets, entropy, latching, timeout);
        if let Err(error) = opened {
            self.close_sockets(id, now);
            return Err(error.into());
        }
        Ok(event)
    }

    /// The same on ports that an Edge has opened.
    fn open_rtp_at_edge(
        &mut self,
        id: u64,
        request: Option<u64>,
        ports: command::EdgePorts,
        (latching, timeout): (Duration, Duration),
        now: Time,
    ) -> Result<Event, Refusal> {
        self.endpoint.check_new_transport(id)?;
        let entropy = entropy()?;
        let (rtp, rtcp) = self.links.open_ports(ports.link, id)?;
        let sockets = RtpSockets { rtp, rtcp };
        self.own_sockets.insert(id, sockets);
        if let Err(error) = self.endpoint.open_rtp_transport(id, sockets, entropy, latching, timeout) {
            self.close_sockets(id, now);
            return Err(error.into());
        }
        let (ip, rtp_port, rtcp_port) = (ports.ip.to_string(), ports.rtp_port, ports.rtcp_port);
        Ok(Event::RtpTransportOpened { id, ip, rtp_port, rtcp_port, request })
    }

    fn close_sockets(&mut self, id: u64, now: Time) {
        if let Some(sockets) = self.own_sockets.remove(&id) {
            if sockets.rtp.is_edge_port() {
                return self.links.close_ports(sockets.rtp, sockets.rtcp);
            }
            self.sockets.close(sockets.rtcp);
            if let Some(rtp) = self.sockets.close(sockets.rtp) {
                self.ports.release(rtp.local(), now);
            }
        }
    }
}

pub(crate) fn milliseconds(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

fn entropy() -> Result<Entropy, Refusal> {
    let mut entropy = Entropy { password: [0; _], seed: [0; 32], cname: [0; 12], rtcp_ssrc: 0 };
    let mut ssrc = [0; 4];
    for bytes in [&mut entropy.password[..], &mut entropy.seed, &mut entropy.cname, &mut ssrc] {
        rand::fill(bytes).map_err(|_| Refusal::Random)?;
    }
    entropy.rtcp_ssrc = u32::from_be_bytes(ssrc);
    Ok(entropy)
}

/// RFC 3264 §5.1, §8.4: port 0 and the unspecified address mean that nothing is to be sent.
fn read_address(address: Option<CommandAddress>) -> Option<SocketAddr> {
    let (ip, port) = address?;
    (port != 0 && !ip.is_unspecified()).then(|| SocketAddr::new(ip, port))
}

fn read_fingerprints(fingerprints: &[command::Fingerprint]) -> Result<Vec<Fingerprint>, Refusal> {
    let known: Vec<Fingerprint> = fingerprints
        .iter()
        .filter_map(|fingerprint| {
            let algorithm = HashAlgorithm::from_name(&fingerprint.algorithm)?;
            Some(Fingerprint { algorithm, value: fingerprint.value.to_vec() })
        })
        .collect();
    if known.is_empty() { Err(Refusal::Invalid("fingerprints")) } else { Ok(known) }
}

fn read_role(role: DtlsRole) -> Role {
    match role {
        DtlsRole::Server => Role::Server,
        DtlsRole::Client => Role::Client,
    }
}

fn read_dtls_terms(terms: &command::DtlsTerms) -> Result<DtlsTerms, Refusal> {
    Ok(DtlsTerms {
        association: terms.association,
        role: read_role(terms.role),
        fingerprints: read_fingerprints(&terms.fingerprints)?,
    })
}

fn read_srtp_keys(keys: &command::SrtpKeys) -> Result<SrtpKeys, Refusal> {
    let read = |suite: &str, key: &[u8]| {
        let suite = Suite::from_name(suite).ok_or(Refusal::Invalid("SRTP suite"))?;
        MasterKey::from_key_and_salt(suite, key).map_err(|_| Refusal::Invalid("SRTP key length"))
    };
    Ok(SrtpKeys {
        local: read(&keys.local_suite, &keys.local_key)?,
        remote: read(&keys.remote_suite, &keys.remote_key)?,
    })
}
