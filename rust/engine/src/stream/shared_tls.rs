//! One TLS port for all that a firewall lets through as HTTPS. Connections that ask for the name of a page are given to the
//! control plane as they came, untouched, or, where pages end their TLS here, with what is inside; all others end here under a
//! certificate of the relay's, and what they say first tells what they are. Never by ALPN: what is asked for there is
//! nobody's proof.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock};

use mediaserver_proto::stream::{PROXY_PREFIX_BYTES, proxy_prefix};
use mediaserver_proto::turn::Network;
use serde_bytes::ByteBuf;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;

use super::carry::{PATIENCE, STUN_HEADER, Taker, carry};
use super::hello::{peek_hello, peek_length};
use super::hub::{Hub, Place};
use super::line::{End, LONGEST_DATAGRAM};
use super::listener::mark;
use super::pass::{give, pass};
use super::terminated::pump;
use crate::config;
use crate::link::Service;

/// What stands before a check (RFC 4571 §2). A TLS client begins with 0x16 and 0x03 (RFC 8446 §5.1), which would be a longer
/// datagram than any that is taken.
const CHECK_LENGTHS: RangeInclusive<u16> = STUN_HEADER..=LONGEST_DATAGRAM as u16;

/// To HTTP that came for a name that is not served here (RFC 9110 §15.5.20).
const MISDIRECTED: &[u8] = b"HTTP/1.1 421 Misdirected Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What the port knows; shared by all that listen on it, and changed under them.
#[derive(Clone)]
pub struct SharedTls {
    known: Arc<RwLock<Arc<Known>>>,
    /// Who takes what is no HTTP.
    relay: Option<usize>,
    /// Media of browsers is taken over plain TCP, too; what leaves has this mark.
    ice_dscp: Option<u8>,
}

struct Known {
    /// Names in lower case whose connections are the control plane's.
    names: HashSet<String>,
    /// For everybody else.
    acceptor: TlsAcceptor,
    /// For those of them whose TLS ends here.
    pages: Option<(HashSet<String>, TlsAcceptor)>,
    proxies: Vec<Network>,
}

impl std::fmt::Debug for SharedTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedTls").field("names", &self.known().names).finish_non_exhaustive()
    }
}

impl SharedTls {
    /// With the certificate that those see who pass nowhere. Fails when it is none, or does not fit its key.
    /// `relay` is the index of its thread, where there is one; with `ice_dscp` media of browsers is taken.
    pub fn new(settings: &config::SharedTls, relay: Option<usize>, ice_dscp: Option<u8>) -> io::Result<SharedTls> {
        Ok(SharedTls { known: Arc::new(RwLock::new(Arc::new(Known::new(settings)?))), relay, ice_dscp })
    }

    /// Takes other names, certificates and proxies for connections that come from now on.
    pub(super) fn change(&self, settings: &config::SharedTls, hub: &Hub) -> io::Result<()> {
        let known = Arc::new(Known::new(settings)?);
        hub.trust(known.proxies.clone());
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// Networks of proxies in front.
    pub(super) fn proxies(&self) -> Vec<Network> {
        self.known().proxies.clone()
    }

    fn known(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a connection that has just come.
    pub(super) async fn serve(self, place: Place, stream: TcpStream) {
        let end = match timeout(PATIENCE, self.begin(&place, stream)).await {
            Ok(Ok(Begun::Passed)) => return,
            Ok(Ok(Begun::Opened(stream, inside))) => {
                place.proven();
                pump(*stream, inside).await
            }
            Ok(Ok(Begun::Relayed(relay, stream))) => carry(&place, Taker::Relay(relay), stream).await,
            Ok(Ok(Begun::Media(stream))) => {
                place.line.frame_as(Taker::Media.framing());
                carry(&place, Taker::Media, stream).await
            }
            Ok(Err(end)) => end,
            Err(_) => End::Silent,
        };
        place.close(end);
    }

    async fn begin(&self, place: &Place, mut stream: TcpStream) -> Result<Begun, End> {
        let (hub, known) = (&*place.hub, self.known());
        let mut source = stream.peer_addr().map_err(|_| End::Broken)?;
        if hub.is_proxy(source.ip())
            && let Some(visitor) = read_source(&mut stream).await?
        {
            place.came_from(visitor.ip())?;
            source = visitor;
        }
        if let Some(dscp) = self.ice_dscp
            && CHECK_LENGTHS.contains(&peek_length(hub, &stream).await?)
        {
            mark(&stream, dscp);
            return Ok(Begun::Media(stream));
        }
        let hello = peek_hello(hub, &stream).await?;
        if let Some(name) = hello.name.filter(|name| known.names.contains(name)) {
            let Some((_, pages)) = known.pages.as_ref().filter(|(names, _)| names.contains(&name)) else {
                pass(hub, stream, source, Service::Page, name).map_err(|_| End::Broken)?;
                return Ok(Begun::Passed);
            };
            let local = stream.local_addr().map_err(|_| End::Broken)?;
            let stream = pages.accept(stream).await.map_err(|_| End::NoHandshake)?;
            let (inside, theirs) = UnixStream::pair().map_err(|_| End::Broken)?;
            give(hub, theirs.into_std().map_err(|_| End::Broken)?.into(), source, local, Service::Page, name);
            return Ok(Begun::Opened(Box::new(stream), inside));
        }
        let mut stream = known.acceptor.accept(stream).await.map_err(|_| End::NoHandshake)?;
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

impl Known {
    fn new(settings: &config::SharedTls) -> io::Result<Known> {
        let pages = settings.page_certificate.as_ref();
        Ok(Known {
            names: lower_case(&settings.names),
            acceptor: acceptor(&settings.certificate_chain, &settings.private_key_der)?,
            pages: pages.map(read_pages).transpose()?,
            proxies: settings.trusted_proxies.iter().map(|text| network(text)).collect::<io::Result<_>>()?,
        })
    }
}

fn acceptor(chain: &[ByteBuf], key: &ByteBuf) -> io::Result<TlsAcceptor> {
    let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_vec()));
    let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn read_pages(pages: &config::PageCertificate) -> io::Result<(HashSet<String>, TlsAcceptor)> {
    Ok((lower_case(&pages.names), acceptor(&pages.chain, &pages.private_key_der)?))
}

fn lower_case(names: &[String]) -> HashSet<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

fn network(text: &str) -> io::Result<Network> {
    let parsed = text.split_once('/').and_then(|(ip, bits)| Some(Network::new(ip.parse().ok()?, bits.parse().ok()?)));
    parsed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{text} is not ip/bits")))
}

/// Whose connection a proxy says that it is; `None` where it is its own.
async fn read_source(stream: &mut TcpStream) -> Result<Option<SocketAddr>, End> {
    let mut first = [0; PROXY_PREFIX_BYTES];
    stream.read_exact(&mut first).await.map_err(|_| End::Peer)?;
    let prefix = proxy_prefix(&first).map_err(End::Proxy)?;
    let mut following = vec![0; prefix.following];
    stream.read_exact(&mut following).await.map_err(|_| End::Peer)?;
    prefix.source(&following).map_err(End::Proxy)
}

/// What a connection has turned out to be.
enum Begun {
    /// A page's; it is the control plane's now.
    Passed,
    /// A page's, whose TLS ends here; the control plane has the other end of the pair.
    Opened(Box<TlsStream<TcpStream>>, UnixStream),
    /// TURN, or something that will show itself to be none.
    Relayed(usize, Box<TlsStream<TcpStream>>),
    /// ICE over TCP, or something that will show itself to be none.
    Media(TcpStream),
}
