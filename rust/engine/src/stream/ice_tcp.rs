//! ICE over TCP (RFC 6544), the passive side: a browser that UDP is closed to connects and sends its checks here.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use mediaserver_proto::stream::{Deframer, Framing};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::hub::Place;
use super::line::{End, LONGEST_DATAGRAM};

/// So long a connection may be nobody's. A browser sends its first check at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Carries datagrams both ways until the connection is over.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(place: Place, mut stream: S) {
    let Place { hub, line } = &place;
    let mut deframer = Deframer::new(Framing::Prefixed, LONGEST_DATAGRAM);
    let mut patience = pin!(sleep(PATIENCE));
    let end = loop {
        let step = poll_fn(|context| {
            let now = hub.mesh.now();
            let written = line.poll_write(context, &mut stream, now, &hub.counts);
            if written.is_ready() {
                return written;
            }
            let piece = &mut hub.piece.borrow_mut();
            let read = line.poll_read(context, &mut stream, &mut deframer, piece, &hub.counts, |datagram| {
                let owner = match line.owner.get() {
                    Some(owner) => owner,
                    None => hub.admission.shard_of(datagram, now)?,
                };
                line.owner.set(Some(owner));
                // An empty frame keeps a NAT's binding alive and says nothing.
                if !datagram.is_empty() {
                    hub.mesh.hand_over(owner, line.path, datagram, now);
                }
                Ok(())
            });
            hub.mesh.flush(&hub.counts);
            read
        });
        tokio::select! {
            biased;
            end = step => break end,
            () = line.called() => {
                if let Some(end) = line.ended() {
                    break end;
                }
            }
            () = &mut patience, if !line.bound.get() => {
                if !line.bound.get() {
                    break End::Silent;
                }
            }
        }
    };
    if let Some(name) = end.drop_name() {
        hub.counts.add(name, 1);
    }
}
