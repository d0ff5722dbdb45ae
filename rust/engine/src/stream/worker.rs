//! The thread itself: a runtime of its own, which sleeps until a stream or another thread has something.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mediaserver_proto::time::Time;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, yield_now};
use tokio::time::sleep;

use super::hub::Hub;
use super::listener::{Listening, Serves, accept};
use super::mesh::Mesh;
use super::shared_tls::SharedTls;
use crate::admission::Admission;
use crate::asked::Asked;
use crate::command::Action;
use crate::config::ConnectionLimits;
use crate::counters::set;
use crate::inbox::Inbox;
use crate::mailbox::Waker;
use crate::metrics::PUBLISH_EVERY;
use crate::sys::thread_cpu_ns;
use crate::worker::Links;

/// Messages of other threads handled before the streams have their turn.
const MESSAGES_PER_ROUND: usize = 64;
/// How soon it is tried again to pass on what found no room.
const RETRY: Duration = Duration::from_millis(1);
/// When the engine stops, shards say goodbye to their peers; so long their last datagrams are waited for.
const FAREWELL: Duration = Duration::from_millis(50);

/// See the module; made anywhere, run on its own thread.
#[derive(Debug)]
pub struct StreamsWorker {
    member: usize,
    epoch: Instant,
    runtime: Runtime,
    listeners: Vec<Listening>,
    admission: Admission,
    limits: ConnectionLimits,
    links: Links,
}

impl StreamsWorker {
    /// The thread with index `member` among all; `epoch` is the instant of `Time::ZERO`.
    pub fn new(
        member: usize,
        epoch: Instant,
        listeners: Vec<Listening>,
        admission: Admission,
        limits: ConnectionLimits,
        links: Links,
    ) -> io::Result<StreamsWorker> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(StreamsWorker { member, epoch, runtime, listeners, admission, limits, links })
    }

    /// Runs until the engine stops.
    pub fn run(self) {
        let StreamsWorker { member, epoch, runtime, listeners, admission, limits, links } = self;
        let wakers = links.wakers.clone();
        let hub = Rc::new(Hub::new(Mesh::new(epoch, links), admission));
        hub.set_limits(limits);
        let shared = listeners.iter().find_map(|listening| match &listening.serves {
            Serves::SharedTls(shared) => Some(shared.clone()),
            _ => None,
        });
        hub.trust(shared.as_ref().map(SharedTls::proxies).unwrap_or_default());
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async {
            for Listening { listener, socket, serves } in listeners {
                match TcpListener::from_std(listener) {
                    Ok(listener) => drop(tokio::task::spawn_local(accept(hub.clone(), listener, socket, serves))),
                    // Only epoll itself can refuse it.
                    Err(_) => hub.counts.add("receive_errors", 1),
                }
            }
            if serve(&hub, &wakers[member], shared.as_ref()).await.is_err() {
                hub.counts.add("receive_errors", 1);
            }
            publish(&hub);
        });
    }
}

/// Carries what the other threads have for the streams, until the engine stops.
async fn serve(hub: &Hub, waker: &Waker, shared: Option<&SharedTls>) -> io::Result<()> {
    let stop = hub.mesh.links().stop.clone();
    let bell = waker.watch()?;
    let mut published_at = Time::ZERO;
    let mut stops_at = None;
    loop {
        let mut is_busy = take_commands(hub, shared);
        for _ in 0..MESSAGES_PER_ROUND {
            let Some((from, message)) = hub.mesh.take_message() else { break };
            hub.handle_message(from, message);
            is_busy = true;
        }
        let has_waiting = hub.mesh.pass_waiting();
        let now = hub.mesh.now();
        if stop.load(Ordering::Relaxed) {
            let at = *stops_at.get_or_insert(now + FAREWELL);
            if now >= at || hub.open() == 0 {
                return Ok(());
            }
        }
        if hub.counts.changed() && now.since(published_at) >= PUBLISH_EVERY {
            publish(hub);
            published_at = now;
        }
        if is_busy {
            yield_now().await;
            continue;
        }
        let retry = (has_waiting || stops_at.is_some()).then_some(RETRY);
        let pause = retry.or(hub.counts.changed().then_some(PUBLISH_EVERY));
        rest(hub, waker, &bell, pause).await?;
    }
}

/// Sleeps until another thread has something, or for `pause`.
async fn rest(hub: &Hub, waker: &Waker, bell: &AsyncFd<OwnedFd>, pause: Option<Duration>) -> io::Result<()> {
    waker.prepare_sleep();
    if !hub.mesh.has_input() {
        tokio::select! {
            ready = bell.readable() => {
                let mut ready = ready?;
                waker.reset();
                ready.clear_ready();
            }
            () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            () = hub.counts.news() => {}
        }
    }
    waker.awake();
    Ok(())
}

/// Does what commands say, and answers them; whether there were some.
fn take_commands(hub: &Hub, shared: Option<&SharedTls>) -> bool {
    let mut any = false;
    let mut links = hub.mesh.links();
    while let Ok(item) = links.inbox.pop() {
        any = true;
        let Inbox::Command(command) = item else { continue };
        let asked = Asked::by(&command);
        // What is done may have something to tell, too.
        drop(links);
        let done = do_command(hub, shared, command.action);
        links = hub.mesh.links();
        if asked.answer(done).is_some_and(|event| !links.events.tell(event)) {
            hub.counts.add("events_lost", 1);
        }
    }
    any
}

fn do_command(hub: &Hub, shared: Option<&SharedTls>, action: Action) -> Result<(), String> {
    match (action, shared) {
        (Action::Ping, _) => Ok(()),
        (Action::SetConnectionLimits(limits), _) => {
            hub.set_limits(limits);
            Ok(())
        }
        (Action::SetSharedTls(settings), Some(shared)) => {
            shared.change(&settings, hub).map_err(|error| format!("invalid shared_tls: {error}"))
        }
        _ => Err("invalid command for the thread of streams".to_owned()),
    }
}

fn publish(hub: &Hub) {
    hub.mesh.links().published.publish(|counters| {
        hub.counts.write(counters);
        set(counters, "streams_open", hub.open() as u64);
        set(counters, "cpu_ns", thread_cpu_ns());
    });
}
