//! The Edge's end of a connection that a Core has dialled: HTTP/2 in reverse, so the Edge is its client.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::control::{keep_alive, receive, send};
use super::counters::Count;
use super::event::LinkEvent;
use super::headers::{control_request, visitor_request};
use super::limits::{
    CONTROL_TIME, GOODBYE_TIME, HANDSHAKE_TIME, HEADER_BYTES, STREAM_SEND_BUFFER, STREAM_WINDOW, STREAMS,
};
use super::parts::{Parts, Stop};
use super::pipe::{End, pipe};
use super::reason::of_h2;
use super::state::{CONCURRENT_STREAMS, Link, Opening};

/// Uses one connection until it ends; gives the reason.
pub(crate) async fn run<T>(io: T, remote: SocketAddr, link: &Arc<Link>, parts: &Parts, stop: &mut Stop) -> String
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * CONCURRENT_STREAMS)
        .initial_max_send_streams(CONCURRENT_STREAMS as usize)
        .max_header_list_size(HEADER_BYTES)
        .max_send_buffer_size(STREAM_SEND_BUFFER)
        .enable_push(false)
        .handshake::<T, Bytes>(io);
    let (mut requests, mut connection) = match timeout(CONTROL_TIME, handshake).await {
        Ok(Ok(both)) => both,
        Ok(Err(error)) => return of_h2(&error),
        Err(_) => return "the other end did not begin to speak HTTP/2 in time".to_owned(),
    };
    // The link ends with the first of these; `driver` ends them all.
    let mut duties = JoinSet::new();
    let mut driver = JoinSet::new();
    if let Some(ping) = connection.ping_pong() {
        duties.spawn(keep_alive(ping, link.busy.subscribe()));
    }
    driver.spawn(async move {
        match connection.await {
            Ok(()) => "the other end closed the connection".to_owned(),
            Err(error) => of_h2(&error),
        }
    });
    let control = tokio::select! {
        control = timeout(CONTROL_TIME, open(&mut requests)) => control,
        Some(reason) = driver.join_next() => return reason.unwrap_or_else(|_| "a task of the link failed".to_owned()),
        reason = stop.said() => return reason.to_owned(),
    };
    let (stream, body) = match control {
        Ok(Ok(both)) => both,
        Ok(Err(error)) => return of_h2(&error),
        Err(_) => return "the other end took no control stream in time".to_owned(),
    };
    let mut inlets = link.open();
    duties.spawn(send(stream, inlets.messages));
    parts.count(Count::Connected);
    parts.tell(LinkEvent::Up { link: link.id, remote });
    {
        let (link, parts) = (link.clone(), parts.clone());
        duties.spawn(async move { receive(body, &link, &parts).await });
    }
    let mut streams: JoinSet<End> = JoinSet::new();
    loop {
        tokio::select! {
            Some(reason) = duties.join_next() => return reason.unwrap_or_else(|_| "a task of the link failed".to_owned()),
            Some(reason) = driver.join_next() => return reason.unwrap_or_else(|_| "a task of the link failed".to_owned()),
            Some(end) = streams.join_next() => parts.count_end(end.ok()),
            Some(opening) = inlets.visitors.recv() => {
                if streams.len() < STREAMS {
                    streams.spawn(visit(requests.clone(), opening, parts.clone()));
                } else {
                    // To be dropped is to be closed; the page says why and comes again.
                    parts.count(Count::StreamsBound);
                }
            }
            reason = stop.said() => {
                streams.shutdown().await;
                duties.shutdown().await;
                drop(requests);
                timeout(GOODBYE_TIME, driver.join_next()).await.ok();
                return reason.to_owned();
            }
        }
    }
}

async fn open(requests: &mut SendRequest<Bytes>) -> Result<(h2::SendStream<Bytes>, h2::RecvStream), h2::Error> {
    let (response, stream) = requests.send_request(control_request(), false)?;
    Ok((stream, response.await?.into_body()))
}

/// Carries one visitor's connection.
async fn visit(requests: SendRequest<Bytes>, mut opening: Opening, parts: Parts) -> End {
    let Some(request) = visitor_request(&opening.visitor) else {
        parts.count(Count::StreamInvalid);
        return End::Reset;
    };
    let answered = async {
        let (response, stream) = requests.ready().await?.send_request(request, false)?;
        Ok::<_, h2::Error>((stream, response.await?.into_body()))
    };
    match timeout(HANDSHAKE_TIME, answered).await {
        Ok(Ok((stream, body))) => {
            parts.count(Count::StreamsOpened);
            pipe(opening.connection, stream, body).await
        }
        // The Core refused it, or is not answering.
        Ok(Err(_)) | Err(_) => {
            opening.connection.abort();
            End::Reset
        }
    }
}
