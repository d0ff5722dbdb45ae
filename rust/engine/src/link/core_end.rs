//! The Core's end of a connection that it has dialled: HTTP/2 in reverse, so the Core is its server.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::control::{keep_alive, receive, send};
use super::counters::Count;
use super::event::{LinkEvent, StreamOpened};
use super::headers::{CONTROL, VISITOR, read_visitor};
use super::limits::{CONTROL_TIME, GOODBYE_TIME, HEADER_BYTES, STREAM_SEND_BUFFER, STREAM_WINDOW};
use super::parts::{Parts, Stop};
use super::pipe::{End, pipe};
use super::reason::of_h2;
use super::state::{CONCURRENT_STREAMS, Link};

type Incoming = (Request<RecvStream>, SendResponse<Bytes>);

/// Serves one connection until it ends; gives the reason.
pub(crate) async fn run<T>(io: T, remote: SocketAddr, link: &Arc<Link>, parts: &Parts, stop: &mut Stop) -> String
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * CONCURRENT_STREAMS)
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .max_send_buffer_size(STREAM_SEND_BUFFER)
        .handshake::<T, Bytes>(io);
    let mut connection = match timeout(CONTROL_TIME, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return of_h2(&error),
        Err(_) => return "the other end did not begin to speak HTTP/2 in time".to_owned(),
    };
    let mut served = Served { link, parts, remote, is_up: false, duties: JoinSet::new(), streams: JoinSet::new() };
    if let Some(ping) = connection.ping_pong() {
        served.duties.spawn(keep_alive(ping, link.busy.subscribe()));
    }
    let control_by = Instant::now() + CONTROL_TIME;
    loop {
        tokio::select! {
            incoming = connection.accept() => match incoming {
                Some(Ok(incoming)) => served.accept(incoming),
                Some(Err(error)) => return of_h2(&error),
                None => return "the other end closed the connection".to_owned(),
            },
            Some(reason) = served.duties.join_next() => {
                return reason.unwrap_or_else(|_| "a task of the link failed".to_owned());
            }
            Some(end) = served.streams.join_next() => parts.count_end(end.ok()),
            () = sleep_until(control_by), if !served.is_up => {
                return "the other end opened no control stream in time".to_owned();
            }
            reason = stop.said() => {
                drop(served);
                connection.abrupt_shutdown(Reason::NO_ERROR);
                timeout(GOODBYE_TIME, poll_fn(|cx| connection.poll_closed(cx))).await.ok();
                return reason.to_owned();
            }
        }
    }
}

struct Served<'a> {
    link: &'a Arc<Link>,
    parts: &'a Parts,
    remote: SocketAddr,
    is_up: bool,
    /// The link ends with the first of these.
    duties: JoinSet<String>,
    streams: JoinSet<End>,
}

impl Served<'_> {
    fn accept(&mut self, (request, response): Incoming) {
        match request.uri().path() {
            CONTROL if !self.is_up => self.open_control(request, response),
            VISITOR if self.is_up => self.open_visitor(request, response),
            _ => self.refuse(response, Count::StreamInvalid),
        }
    }

    fn open_control(&mut self, request: Request<RecvStream>, mut response: SendResponse<Bytes>) {
        // A stream that was reset meanwhile cannot be answered; without another one the time for it runs out.
        let Ok(stream) = response.send_response(Response::new(()), false) else { return };
        let inlets = self.link.open();
        self.is_up = true;
        self.duties.spawn(send(stream, inlets.messages));
        let (link, parts) = (self.link.clone(), self.parts.clone());
        self.parts.count(Count::Connected);
        self.parts.tell(LinkEvent::Up { link: link.id, remote: self.remote });
        self.duties.spawn(async move { receive(request.into_body(), &link, &parts).await });
    }

    fn open_visitor(&mut self, request: Request<RecvStream>, mut response: SendResponse<Bytes>) {
        let Some(visitor) = read_visitor(&request) else { return self.refuse(response, Count::StreamInvalid) };
        let Ok(room) = self.link.arrivals.clone().try_acquire_owned() else {
            return self.refuse(response, Count::StreamsBound);
        };
        let Ok((ours, theirs)) = socket_pair() else { return self.refuse(response, Count::StreamNoSocket) };
        let stream = response.stream_id().as_u32();
        let Ok(send) = response.send_response(Response::new(()), false) else { return };
        let opened = StreamOpened { link: self.link.id, stream, connection: theirs.into(), visitor, room };
        if self.parts.tell(LinkEvent::StreamOpened(opened)) {
            self.parts.count(Count::StreamsOpened);
            self.streams.spawn(pipe(Box::new(ours), send, request.into_body()));
        }
    }

    fn refuse(&self, mut response: SendResponse<Bytes>, why: Count) {
        self.parts.count(why);
        response.send_reset(Reason::REFUSED_STREAM);
    }
}

fn socket_pair() -> std::io::Result<(UnixStream, StdUnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}
