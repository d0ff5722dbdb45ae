//! All links and listeners of a process. Its methods may be called from any thread and never wait.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::certificates::{
    CONTROL_PROTOCOL, Credentials, Fingerprint, MEDIA_PROTOCOL, Pin, client_config, server_config,
};
use super::command::{CarryStream, DialLink, LinkCredentials, ListenLink};
use super::dial::{Purpose, Target, keep};
use super::event::Visitor;
use super::listen::Listener;
use super::parts::{Parts, Stopper, stop};
use super::state::{Connection, Link};
use crate::sys::take_descriptor;

/// Why a command is refused.
pub(crate) type Refused = String;

/// Links and listeners by their ids.
#[derive(Clone, Debug)]
pub struct LinkTable {
    runtime: Handle,
    parts: Parts,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    links: HashMap<u64, Arc<Link>>,
    /// What keeps them going, by the id under which it was commanded.
    running: HashMap<u64, Running>,
}

#[derive(Debug)]
struct Running {
    stopper: Stopper,
    tasks: Vec<JoinHandle<()>>,
    links: Vec<u64>,
}

impl LinkTable {
    /// None yet; their tasks will run on `runtime`.
    pub fn new(runtime: Handle, parts: Parts) -> LinkTable {
        LinkTable { runtime, parts, entries: Arc::default() }
    }

    /// Keeps a link to an Edge from now on.
    pub fn dial(&self, id: u64, command: &DialLink) -> Result<(), Refused> {
        let credentials = read_credentials(&command.credentials)?;
        let fingerprint = Fingerprint::try_from(command.fingerprint.as_slice())?;
        let name = ServerName::try_from(command.server_name.clone())
            .map_err(|_| format!("invalid server_name: {} is no DNS name", command.server_name))?;
        let mut entries = self.entries();
        entries.check_free(id, &[id])?;
        let link = Link::new(id, self.parts.counters.clone());
        let (stopper, heard) = stop();
        let mut purposes = vec![(Purpose::Control, CONTROL_PROTOCOL)];
        if command.media {
            purposes.push((Purpose::Media, MEDIA_PROTOCOL));
        }
        let mut tasks = Vec::new();
        for (purpose, protocol) in purposes {
            let tls = client_config(&credentials, fingerprint, protocol).map_err(|error| error.to_string())?;
            let address = SocketAddr::from(command.address);
            let target = Target { address, name: name.clone(), tls: Arc::new(tls), purpose };
            tasks.push(self.runtime.spawn(keep(target, link.clone(), self.parts.clone(), heard.clone())));
        }
        entries.links.insert(id, link);
        entries.running.insert(id, Running { stopper, tasks, links: vec![id] });
        Ok(())
    }

    /// Admits Cores from now on; gives the address that was bound.
    pub fn listen(&self, id: u64, command: &ListenLink) -> Result<SocketAddr, Refused> {
        let credentials = read_credentials(&command.credentials)?;
        let mut pins = Vec::new();
        for core in &command.cores {
            let fingerprint = Fingerprint::try_from(core.fingerprint.as_slice())?;
            ServerName::try_from(core.name.as_str()).map_err(|_| format!("invalid name: {}", core.name))?;
            pins.push(Pin { link: core.link, name: core.name.clone(), fingerprint });
        }
        let tls = server_config(&credentials, &pins).map_err(|error| error.to_string())?;
        let mut ids: Vec<u64> = pins.iter().map(|pin| pin.link).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut entries = self.entries();
        entries.check_free(id, &ids)?;
        let bind = SocketAddr::from(command.bind);
        let socket = bind_listener(bind).map_err(|error| format!("cannot listen on {bind}: {error}"))?;
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        let links: HashMap<u64, Arc<Link>> =
            ids.iter().map(|&id| (id, Link::new(id, self.parts.counters.clone()))).collect();
        entries.links.extend(links.clone());
        let (stopper, heard) = stop();
        let listener = Listener::new(Arc::new(tls), pins, links, self.parts.clone());
        let tasks = vec![self.runtime.spawn(listener.run(socket, heard))];
        entries.running.insert(id, Running { stopper, tasks, links: ids });
        Ok(address)
    }

    /// Closes what was dialled or listens under `id`.
    pub fn close(&self, id: u64) -> Result<(), Refused> {
        let mut entries = self.entries();
        let running = entries.running.remove(&id).ok_or("there is no such link")?;
        for link in &running.links {
            entries.links.remove(link);
        }
        running.stopper.stop("closed by us");
        Ok(())
    }

    /// Says whether paths exist.
    pub fn set_busy(&self, id: u64, busy: bool) -> Result<(), Refused> {
        self.link(id)?.busy.send_if_modified(|is_busy| std::mem::replace(is_busy, busy) != busy);
        Ok(())
    }

    /// Queues a control message.
    pub fn send_message(&self, id: u64, message: Bytes) -> Result<(), Refused> {
        Ok(self.link(id)?.send_message(message)?)
    }

    /// At an Edge: carries a visitor's connection to the Core of the link. A plain socket whose bytes leave when they are
    /// written; what is behind a buffer would wait for a flush.
    pub fn open_stream(&self, id: u64, visitor: Visitor, connection: Box<dyn Connection>) -> Result<(), Refused> {
        Ok(self.link(id)?.open_stream(visitor, connection)?)
    }

    /// The same with a connection that the control plane was given: its descriptor is ours from now on, in any case.
    pub fn carry(&self, id: u64, command: CarryStream) -> Result<(), Refused> {
        let unusable = |error: std::io::Error| format!("invalid fd: {error}");
        let connection = socket2::Socket::from(take_descriptor(command.fd).map_err(unusable)?);
        connection.set_nonblocking(true).map_err(unusable)?;
        let connection: Box<dyn Connection> = {
            let _inside = self.runtime.enter();
            // A visitor's own, or what is inside of one whose TLS ends here.
            if connection.domain().map_err(unusable)? == socket2::Domain::UNIX {
                Box::new(UnixStream::from_std(connection.into()).map_err(unusable)?)
            } else {
                Box::new(TcpStream::from_std(connection.into()).map_err(unusable)?)
            }
        };
        let CarryStream { source, local, server_name, service, number, .. } = command;
        let visitor = Visitor { source: source.into(), local: local.into(), server_name, service, number };
        self.open_stream(id, visitor, connection)
    }

    /// Queues a media frame for the TLS connection; whether it was taken.
    pub fn send_frame(&self, id: u64, frame: &[u8]) -> bool {
        self.link(id).is_ok_and(|link| link.send_frame(frame))
    }

    /// Closes everything and waits until it is closed.
    pub async fn close_all(&self) {
        let running: Vec<Running> = {
            let mut entries = self.entries();
            entries.links.clear();
            entries.running.drain().map(|(_, running)| running).collect()
        };
        for each in &running {
            each.stopper.stop("closed by us");
        }
        for task in running.into_iter().flat_map(|running| running.tasks) {
            // One that failed has nothing left to close.
            task.await.ok();
        }
    }

    fn link(&self, id: u64) -> Result<Arc<Link>, Refused> {
        self.entries().links.get(&id).cloned().ok_or_else(|| "there is no such link".to_owned())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn check_free(&self, id: u64, links: &[u64]) -> Result<(), Refused> {
        if self.running.contains_key(&id) || links.iter().any(|link| self.links.contains_key(link)) {
            return Err("invalid id: it is in use".to_owned());
        }
        Ok(())
    }
}

fn read_credentials(command: &LinkCredentials) -> Result<Credentials, Refused> {
    let LinkCredentials { certificate_chain_pem: chain, private_key_pem: key, issuers_pem: issuers } = command;
    Ok(Credentials::from_pem(chain, key, issuers)?)
}

fn bind_listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
