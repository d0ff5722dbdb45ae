//! Connections that the control plane gets as they came: nothing of them is decrypted here, or read.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::carry::PATIENCE;
use super::hello::peek_hello;
use super::hub::{Hub, Place};
use super::line::End;
use crate::event::Event;
use crate::link::{Descriptor, Service};

/// Takes a connection of the port for SIP over TLS: who does not begin to speak TLS in time goes no further.
pub(super) async fn serve_sip(place: Place, stream: TcpStream) {
    let begun = async {
        let hello = peek_hello(&place.hub, &stream).await?;
        let source = stream.peer_addr().map_err(|_| End::Broken)?;
        pass(&place.hub, stream, source, Service::Sip, hello.name.unwrap_or_default()).map_err(|_| End::Broken)
    };
    let end = match timeout(PATIENCE, begun).await {
        Ok(Ok(())) => return,
        Ok(Err(end)) => end,
        Err(_) => End::Silent,
    };
    place.close(end);
}

/// Gives a connection to the control plane: it is gone from here then.
pub(super) fn pass(
    hub: &Hub,
    stream: TcpStream,
    source: SocketAddr,
    service: Service,
    server_name: String,
) -> io::Result<()> {
    let local = stream.local_addr()?;
    give(hub, OwnedFd::from(stream.into_std()?), source, local, service, server_name);
    Ok(())
}

/// The same with what its bytes come by.
pub(super) fn give(
    hub: &Hub,
    fd: OwnedFd,
    source: SocketAddr,
    local: SocketAddr,
    service: Service,
    server_name: String,
) {
    // No link brought it, so it has no number.
    let (source, local, fd) = (source.into(), local.into(), Descriptor::new(fd, None));
    let event = Event::StreamOpened { id: 0, stream: 0, fd, source, local, server_name, service, number: 0 };
    let links = hub.mesh.links();
    hub.counts.add(if links.events.tell(event) { "streams_passed" } else { "events_lost" }, 1);
}
