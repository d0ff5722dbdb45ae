//! The Core's attempts to reach an Edge, one after the other for as long as the link is wanted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::backoff::Backoff;
use super::event::LinkEvent;
use super::parts::{Parts, Stop};
use super::reason::of_io;
use super::state::Link;
use super::{core_end, media, tcp};

/// How long a TCP connection may take while paths exist; the next attempt is the better one then.
const CONNECT_TIME_BUSY: Duration = Duration::from_secs(1);
/// The same while there is nothing to lose.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// How long the TLS handshake may take.
const TLS_TIME: Duration = Duration::from_secs(2);
/// A connection that lived for as long is no failed attempt.
const LIVED: Duration = Duration::from_secs(2);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Control messages and visitors' streams.
    Control,
    /// Media frames.
    Media,
}

/// Where an Edge is and how to know it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) name: ServerName<'static>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) purpose: Purpose,
}

/// Keeps a connection until it is told to stop.
pub(crate) async fn keep(target: Target, link: Arc<Link>, parts: Parts, mut stop: Stop) {
    let mut backoff = Backoff::default();
    let mut busy = link.busy.subscribe();
    let mut last_reason = String::new();
    loop {
        let since = Instant::now();
        let reason = attempt(&target, &link, &parts, &mut stop).await;
        let was_up = match target.purpose {
            Purpose::Control => link.close(),
            Purpose::Media => since.elapsed() >= LIVED,
        };
        if was_up || reason != last_reason {
            let (link, reason) = (link.id, reason.clone());
            parts.tell(match target.purpose {
                Purpose::Control => LinkEvent::Down { link, reason },
                Purpose::Media => LinkEvent::MediaDown { link, reason },
            });
        }
        last_reason = reason;
        if since.elapsed() >= LIVED && was_up {
            backoff.reset();
        }
        let was_busy = *busy.borrow_and_update();
        let wait = backoff.next(was_busy, fastrand::f64());
        tokio::select! {
            () = sleep(wait) => {}
            // Whoever waits for a path does not wait for the end of a long pause.
            Ok(_) = busy.wait_for(|busy| *busy && !was_busy) => {}
            _ = stop.said() => return,
        }
    }
}

async fn attempt(target: &Target, link: &Arc<Link>, parts: &Parts, stop: &mut Stop) -> String {
    let is_busy = *link.busy.borrow();
    let connect_time = if is_busy { CONNECT_TIME_BUSY } else { CONNECT_TIME };
    let connected = async {
        let connection = match timeout(connect_time, TcpStream::connect(target.address)).await {
            Ok(connection) => connection.map_err(|error| of_io(&error))?,
            Err(_) => return Err("no answer; a firewall on the way may drop it".to_owned()),
        };
        tcp::set_up(&connection, target.purpose == Purpose::Media).map_err(|error| of_io(&error))?;
        let connector = TlsConnector::from(target.tls.clone());
        match timeout(TLS_TIME, connector.connect(target.name.clone(), connection)).await {
            Ok(connection) => connection.map_err(|error| of_io(&error)),
            Err(_) => Err("the other end accepts TCP and does not answer TLS".to_owned()),
        }
    };
    let connection = tokio::select! {
        connected = connected => match connected {
            Ok(connection) => connection,
            Err(reason) => return reason,
        },
        reason = stop.said() => return reason.to_owned(),
    };
    match target.purpose {
        Purpose::Control => core_end::run(connection, target.address, link, parts, stop).await,
        Purpose::Media => media::run(connection, link, parts, stop).await,
    }
}
