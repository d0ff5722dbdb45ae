//! The engine's TCP: the thread that has it, and the sockets that it listens on.

use mediaserver_proto::io::SocketId;

use super::address::read_address;
use super::{Engine, EngineError, io_error};
use crate::stream::{self, Listening, Serves, SharedTls, StreamsWorker};

impl Engine {
    /// Starts the thread that has all TCP.
    pub(super) fn start_streams_thread(&mut self, listeners: Vec<Listening>) -> Result<(), EngineError> {
        let (seat, links) = self.seat();
        let worker =
            StreamsWorker::new(seat.index, self.epoch, listeners, self.admission(), self.config.connections, links);
        let worker = worker.map_err(seat.failed())?;
        self.spawn(seat, move || worker.run())
    }

    /// The TCP sockets, named by their place among them.
    pub(super) fn bind_streams(&self) -> Result<Vec<Listening>, EngineError> {
        let Some(member) = self.layout.streams() else { return Ok(Vec::new()) };
        let mut listeners = Vec::new();
        for (number, (key, text, serves)) in self.served()?.into_iter().enumerate() {
            let address = read_address(key, text)?;
            let listener = stream::bind(address).map_err(io_error(format!("cannot bind {address} (TCP)")))?;
            let socket = SocketId::carried(member as u16, u16::try_from(number).unwrap_or(u16::MAX));
            listeners.push(Listening { listener, socket, serves });
        }
        Ok(listeners)
    }

    /// What is served where: by the key of the configuration and the address that it names.
    fn served(&self) -> Result<Vec<(&'static str, &str, Serves)>, EngineError> {
        let (relay, dscp) = (self.layout.relay(), self.config.dscp.video);
        let ice = &self.config.webrtc_tcp_binds;
        let turn = self.config.turn.as_ref().map_or(&[][..], |turn| &turn.tcp_binds);
        let mut all: Vec<(_, &str, _)> = Vec::new();
        for text in ice {
            let serves = match relay.filter(|_| turn.contains(text)) {
                Some(relay) => Serves::IceOrTurn { dscp, relay },
                None => Serves::Ice { dscp },
            };
            all.push(("webrtc_tcp_binds", text, serves));
        }
        if let Some(relay) = relay {
            let others = turn.iter().filter(|text| !ice.contains(text));
            all.extend(others.map(|text| ("turn", text.as_str(), Serves::Turn { relay })));
        }
        if let Some(settings) = &self.config.shared_tls {
            let ice_dscp = (!settings.ice.is_empty()).then_some(dscp);
            let shared = SharedTls::new(settings, relay, ice_dscp).map_err(io_error("certificate of shared_tls"))?;
            all.extend(
                settings.binds.iter().map(|text| ("shared_tls", text.as_str(), Serves::SharedTls(shared.clone()))),
            );
        }
        if let Some(edge) = &self.config.edge {
            all.extend(edge.sip_tls_binds.iter().map(|text| ("sip_tls_binds", text.as_str(), Serves::SipTls)));
        }
        Ok(all)
    }
}
