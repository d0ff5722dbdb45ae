//! The engine's TCP: the thread that has it, and the sockets that it listens on.

use std::net::SocketAddr;

use mediaserver_proto::io::SocketId;
use rtrb::RingBuffer;

use super::{Engine, EngineError, INBOX, RingEnds, ShardHandle, io_error, members};
use crate::config::EngineConfig;
use crate::metrics::Published;
use crate::stream::{self, Listening, Serves, SharedTls, StreamsWorker};

/// Whether anything listens for TCP.
pub(super) fn are_wanted(config: &EngineConfig) -> bool {
    let turn = config.turn.as_ref().is_some_and(|turn| !turn.tcp_binds.is_empty());
    let shared = config.shared_tls.as_ref().is_some_and(|shared| !shared.binds.is_empty());
    !config.webrtc_tcp_binds.is_empty() || turn || shared || !sip_tls_binds(config).is_empty()
}

fn sip_tls_binds(config: &EngineConfig) -> &[String] {
    config.edge.as_ref().map_or(&[], |edge| &edge.sip_tls_binds)
}

impl Engine {
    /// Starts the thread that has all TCP; its index is the last one.
    pub(super) fn start_streams_thread(
        &mut self,
        ends: RingEnds,
        listeners: Vec<Listening>,
    ) -> Result<(), EngineError> {
        let (inbox, consumer) = RingBuffer::new(INBOX);
        let published = Published::default();
        let links = self.links(consumer, ends, published.clone());
        let worker = StreamsWorker::new(
            self.shards.len(),
            self.epoch,
            listeners,
            self.admission(),
            self.config.connections,
            links,
        )
        .map_err(io_error("thread of streams"))?;
        let thread = std::thread::Builder::new()
            .name("streams".to_owned())
            .spawn(move || worker.run())
            .map_err(io_error("thread of streams"))?;
        self.shards.push(ShardHandle { inbox, published, thread: Some(thread) });
        Ok(())
    }

    /// The TCP sockets, named by their place among them.
    pub(super) fn bind_streams(&self) -> Result<Vec<Listening>, EngineError> {
        let member = u16::try_from(members(&self.config) - 1).unwrap_or(u16::MAX);
        let (ice, dscp) = (&self.config.webrtc_tcp_binds, self.config.dscp.video);
        let relay = self.config.turn.as_ref().map(|_| self.relay_index());
        let turn = self.config.turn.as_ref().map_or(&[][..], |turn| &turn.tcp_binds);
        let mut all: Vec<_> = ice
            .iter()
            .map(|text| match relay.filter(|_| turn.contains(text)) {
                Some(relay) => (text, Serves::IceOrTurn { dscp, relay }),
                None => (text, Serves::Ice { dscp }),
            })
            .collect();
        if let Some(relay) = relay {
            let others = turn.iter().filter(|text| !ice.contains(text));
            all.extend(others.map(|text| (text, Serves::Turn { relay })));
        }
        if let Some(settings) = &self.config.shared_tls {
            let shared = SharedTls::new(settings, relay).map_err(io_error("certificate of shared_tls"))?;
            all.extend(settings.binds.iter().map(|text| (text, Serves::SharedTls(shared.clone()))));
        }
        all.extend(sip_tls_binds(&self.config).iter().map(|text| (text, Serves::SipTls)));
        let mut listeners = Vec::new();
        for (number, (text, serves)) in all.into_iter().enumerate() {
            let address: SocketAddr =
                text.parse().map_err(|_| EngineError::Config(format!("{text} is not ip:port")))?;
            let listener = stream::bind(address).map_err(io_error(format!("cannot bind {address} (TCP)")))?;
            let socket = SocketId::carried(member, u16::try_from(number).unwrap_or(u16::MAX));
            listeners.push(Listening { listener, socket, serves });
        }
        Ok(listeners)
    }
}
