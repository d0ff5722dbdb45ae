//! The Edge's inner listener: admits pinned Cores, one connection of each kind for each.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates::{CONTROL_PROTOCOL, MEDIA_PROTOCOL, Pin, pin_of};
use super::counters::Count;
use super::dial::Purpose;
use super::event::LinkEvent;
use super::limits::{HANDSHAKE_TIME, HANDSHAKES, HANDSHAKES_PER_SOURCE};
use super::parts::{Parts, Stop, Stopper, stop};
use super::state::Link;
use super::{edge_end, media, tcp};

/// How long an earlier connection of the same Core may take to end.
const REPLACE_TIME: Duration = Duration::from_secs(1);
/// After an error that has to do with this machine and not with who comes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An inner listener.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) pins: Vec<Pin>,
    pub(crate) links: HashMap<u64, Arc<Link>>,
    pub(crate) parts: Parts,
    running: Mutex<HashMap<(u64, Purpose), Running>>,
    next: AtomicU64,
    handshakes: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that is in use.
#[derive(Debug)]
struct Running {
    number: u64,
    stopper: Stopper,
    ended: oneshot::Receiver<()>,
}

impl Listener {
    pub(crate) fn new(
        tls: Arc<ServerConfig>,
        pins: Vec<Pin>,
        links: HashMap<u64, Arc<Link>>,
        parts: Parts,
    ) -> Arc<Listener> {
        let (running, next, handshakes) = Default::default();
        Arc::new(Listener { tls, pins, links, parts, running, next, handshakes })
    }

    /// Serves until it is told to stop; every connection ends with it.
    pub(crate) async fn run(self: Arc<Listener>, listener: std::net::TcpListener, mut stop: Stop) {
        let Ok(listener) = TcpListener::from_std(listener) else {
            return self.parts.count(Count::AcceptFailed);
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((connection, remote)) => {
                        let Some(place) = Place::take(&self, remote.ip()) else {
                            self.parts.count(Count::HandshakesBound);
                            continue;
                        };
                        connections.spawn(self.clone().serve(connection, remote, place, stop.clone()));
                    }
                    Err(_) => {
                        self.parts.count(Count::AcceptFailed);
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                _ = stop.said() => break,
            }
        }
        for running in self.running().values() {
            running.stopper.stop("closed by us");
        }
        timeout(REPLACE_TIME, async { while connections.join_next().await.is_some() {} }).await.ok();
    }

    async fn serve(self: Arc<Listener>, connection: TcpStream, remote: SocketAddr, place: Place, mut stop: Stop) {
        let admitted = tokio::select! {
            admitted = timeout(HANDSHAKE_TIME, self.admit(connection)) => admitted,
            _ = stop.said() => return,
        };
        drop(place);
        let (connection, link, purpose) = match admitted {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(why)) => return self.parts.count(why),
            Err(_) => return self.parts.count(Count::HandshakeTime),
        };
        self.run_connection(connection, remote, &link, purpose).await;
    }

    /// The TLS handshake, and whose connection it is.
    async fn admit(&self, connection: TcpStream) -> Result<(TlsStream<TcpStream>, Arc<Link>, Purpose), Count> {
        let failed = |_| Count::HandshakeFailed;
        connection.set_nodelay(true).map_err(failed)?;
        let connection = TlsAcceptor::from(self.tls.clone()).accept(connection).await.map_err(failed)?;
        let (socket, session) = connection.get_ref();
        let purpose = match session.alpn_protocol() {
            Some(name) if name == CONTROL_PROTOCOL => Purpose::Control,
            Some(name) if name == MEDIA_PROTOCOL => Purpose::Media,
            _ => return Err(Count::NoAlpn),
        };
        tcp::set_up(socket, purpose == Purpose::Media).map_err(failed)?;
        let certificate = session.peer_certificates().and_then(<[_]>::first).ok_or(Count::HandshakeFailed)?;
        let pin = pin_of(&self.pins, certificate).ok_or(Count::HandshakeFailed)?;
        let link = self.links.get(&pin.link).cloned().ok_or(Count::HandshakeFailed)?;
        Ok((connection, link, purpose))
    }

    /// Runs a connection in the place of an earlier one of the same Core, whose end it waits for.
    async fn run_connection(
        &self,
        connection: TlsStream<TcpStream>,
        remote: SocketAddr,
        link: &Arc<Link>,
        purpose: Purpose,
    ) {
        let (stopper, mut own) = stop();
        let (_end, ended) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let earlier = self.running().insert((link.id, purpose), Running { number, stopper, ended });
        if let Some(earlier) = earlier {
            earlier.stopper.stop("a newer connection of the same Core came in its place");
            // One that does not end keeps the link; the Core comes again.
            if timeout(REPLACE_TIME, earlier.ended).await.is_err() {
                return self.forget(link.id, purpose, number);
            }
        }
        match purpose {
            Purpose::Control => {
                let reason = edge_end::run(connection, remote, link, &self.parts, &mut own).await;
                if link.close() {
                    self.parts.tell(LinkEvent::Down { link: link.id, reason });
                }
            }
            Purpose::Media => {
                let reason = media::run(connection, link, &self.parts, &mut own).await;
                self.parts.tell(LinkEvent::MediaDown { link: link.id, reason });
            }
        }
        self.forget(link.id, purpose, number);
    }

    /// Takes a connection out, unless a newer one has its place.
    fn forget(&self, link: u64, purpose: Purpose, number: u64) {
        let mut running = self.running();
        if running.get(&(link, purpose)).is_some_and(|found| found.number == number) {
            running.remove(&(link, purpose));
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<(u64, Purpose), Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the handshakes at the same time.
struct Place {
    listener: Arc<Listener>,
    source: IpAddr,
}

impl Place {
    fn take(listener: &Arc<Listener>, source: IpAddr) -> Option<Place> {
        let mut handshakes = listener.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = handshakes.values().sum();
        let of_source = handshakes.get(&source).copied().unwrap_or_default();
        if all >= HANDSHAKES || of_source >= HANDSHAKES_PER_SOURCE {
            return None;
        }
        handshakes.insert(source, of_source + 1);
        drop(handshakes);
        Some(Place { listener: listener.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut handshakes = self.listener.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = handshakes.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                handshakes.remove(&self.source);
            }
        }
    }
}
