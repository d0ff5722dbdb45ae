//! The thread on which links live: one runtime, nothing pinned.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::parts::Parts;
use super::switch::Switch;
use super::table::LinkTable;

/// The thread and its links.
#[derive(Debug)]
pub struct LinkThread {
    /// The links.
    pub links: LinkTable,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LinkThread {
    /// Starts it.
    pub(crate) fn start(parts: Parts, switch: Option<Arc<Switch>>) -> io::Result<LinkThread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let links = LinkTable::new(runtime.handle().clone(), parts);
        let (stop, stopped) = oneshot::channel::<()>();
        let all = links.clone();
        let thread = std::thread::Builder::new().name("link".to_owned()).spawn(move || {
            runtime.block_on(async {
                let carrying = switch.map(|switch| tokio::spawn(switch.run(all.clone())));
                // Its owner says it, or is gone.
                stopped.await.ok();
                if let Some(carrying) = carrying {
                    carrying.abort();
                }
                all.close_all().await;
            });
        })?;
        Ok(LinkThread { links, stop: Some(stop), thread: Some(thread) })
    }

    /// Closes all links and ends the thread; whether it ended before `until`. May be called twice.
    pub fn stop(&mut self, until: Instant) -> bool {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else { return true };
        while !thread.is_finished() {
            if Instant::now() >= until {
                self.thread = Some(thread);
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // A panic was already printed by the panic hook.
        thread.join().ok();
        true
    }
}
