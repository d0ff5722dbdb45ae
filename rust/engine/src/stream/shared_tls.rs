//! One TLS port for all that a firewall lets through as HTTPS. Connections that ask for the name of a page are given to the
//! control plane as they came, untouched; all others end here under a certificate of the relay's, and what they say first
//! tells what they are. Never by ALPN: what is asked for there is nobody's proof.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;

use super::carry::{PATIENCE, Taker, carry};
use super::hello::peek_hello;
use super::hub::{Hub, Place};
use super::line::End;
use super::pass::pass;
use crate::config;
use crate::link::Service;

/// To HTTP that came for a name that is not served here (RFC 9110 §15.5.20).
const MISDIRECTED: &[u8] = b"HTTP/1.1 421 Misdirected Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What the port knows; shared by all that listen on it.
#[derive(Clone)]
pub struct SharedTls {
    /// Names in lower case whose connections pass through.
    names: Arc<HashSet<String>>,
    acceptor: TlsAcceptor,
    /// Who takes what is no HTTP.
    relay: Option<usize>,
}

impl std::fmt::Debug for SharedTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedTls").field("names", &self.names).finish_non_exhaustive()
    }
}

impl SharedTls {
    /// With the certificate that those see who pass nowhere. Fails when it is none, or does not fit its key.
    /// `relay` is the index of its thread, where there is one.
    pub fn new(settings: &config::SharedTls, relay: Option<usize>) -> io::Result<SharedTls> {
        let chain = settings.certificate_chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(settings.private_key_der.to_vec()));
        let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(io::Error::other)?;
        let names = settings.names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(SharedTls { names: Arc::new(names), acceptor: TlsAcceptor::from(Arc::new(server)), relay })
    }

    /// Takes a connection that has just come.
    pub(super) async fn serve(self, place: Place, stream: TcpStream) {
        let end = match timeout(PATIENCE, self.begin(&place.hub, stream)).await {
            Ok(Ok(Begun::Passed)) => return,
            Ok(Ok(Begun::Relayed(relay, stream))) => carry(&place, Taker::Relay(relay), stream).await,
            Ok(Err(end)) => end,
            Err(_) => End::Silent,
        };
        place.close(end);
    }

    async fn begin(&self, hub: &Hub, stream: TcpStream) -> Result<Begun, End> {
        let hello = peek_hello(hub, &stream).await?;
        if let Some(name) = hello.name.filter(|name| self.names.contains(name)) {
            pass(hub, stream, Service::Page, name).map_err(|_| End::Broken)?;
            return Ok(Begun::Passed);
        }
        let mut stream = self.acceptor.accept(stream).await.map_err(|_| End::NoHandshake)?;
        let first = stream.fill_buf().await.map_err(|_| End::Broken)?.first().copied().ok_or(End::Peer)?;
        if !first.is_ascii_uppercase() {
            let relay = self.relay.ok_or(End::NoRelay)?;
            return Ok(Begun::Relayed(relay, Box::new(stream)));
        }
        stream.write_all(MISDIRECTED).await.map_err(|_| End::Broken)?;
        stream.shutdown().await.map_err(|_| End::Broken)?;
        Err(End::Misdirected)
    }
}

/// What a connection has turned out to be.
enum Begun {
    /// A page's; it is the control plane's now.
    Passed,
    /// TURN, or something that will show itself to be none.
    Relayed(usize, Box<TlsStream<TcpStream>>),
}
