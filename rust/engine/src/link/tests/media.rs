//! Media frames over TLS.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::Instant;

use super::super::limits::FRAME_BYTES;
use super::super::media;
use super::super::parts::stop;
use super::super::state::Link;
use super::*;
use crate::link::Count;

#[tokio::test]
async fn frames_go_both_ways_over_a_second_connection() {
    let house = House::new();
    let (core_shown, edge_shown) = (house.issue(CORE), house.issue(EDGE));
    let (mut core, mut edge) = (Side::new(), Side::new());
    let address = edge.listen(&edge_shown, vec![core_shown.pin(EDGE_LINK, CORE)]);
    let command = DialLink {
        address: (address.ip(), address.port()),
        server_name: EDGE.to_owned(),
        fingerprint: edge_shown.fingerprint.clone().into(),
        credentials: core_shown.credentials.clone(),
        media: true,
    };
    assert!(!core.links.send_frame(CORE_LINK, b"too early"));
    core.links.dial(CORE_LINK, &command).unwrap();
    for side in [&mut core, &mut edge] {
        while !matches!(side.next().await, LinkEvent::MediaUp { .. }) {}
    }
    for number in 0..100u8 {
        assert!(core.links.send_frame(CORE_LINK, &[number; 1200]));
        assert!(edge.links.send_frame(EDGE_LINK, &[number; 172]));
    }
    for number in 0..100u8 {
        let up = timeout(PATIENCE, edge.frames.recv()).await.unwrap().unwrap();
        let down = timeout(PATIENCE, core.frames.recv()).await.unwrap().unwrap();
        assert_eq!(
            (up.0, &up.1[..], down.0, &down.1[..]),
            (EDGE_LINK, &[number; 1200][..], CORE_LINK, &[number; 172][..])
        );
    }
    assert!(!core.links.send_frame(CORE_LINK, &[0; FRAME_BYTES + 1]));
    assert_eq!(core.counters.get(Count::FrameSize), 1);
}

/// One end by itself, over a pipe that holds `room` bytes.
fn alone(room: usize) -> (Side, Arc<Link>, tokio::io::DuplexStream, tokio::task::JoinHandle<String>) {
    let side = Side::new();
    let (ours, theirs) = duplex(room);
    let link = Link::new(1, side.counters.clone());
    let (its, parts) = (link.clone(), side.parts.clone());
    let ended = tokio::spawn(async move {
        let (_stopper, mut stop) = stop();
        media::run(ours, &its, &parts, &mut stop).await
    });
    (side, link, theirs, ended)
}

#[tokio::test(start_paused = true)]
async fn after_a_line_that_stood_still_only_what_is_fresh_is_sent() {
    let (mut side, link, mut wire, _ended) = alone(1024);
    assert!(matches!(side.next().await, LinkEvent::MediaUp { link: 1 }));
    // 20 ms apart for a second, while nobody reads: one batch fills the pipe, the rest waits.
    for number in 0..50u8 {
        assert!(link.send_frame(&[number; 1000]));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut heard = Vec::new();
    while !heard.contains(&49) {
        let length = wire.read_u16().await.unwrap();
        if length == 1000 {
            let mut frame = [0; 1000];
            wire.read_exact(&mut frame).await.unwrap();
            heard.push(frame[0]);
        }
    }
    // The first ones were on their way; of the others those of the last 200 ms.
    let late = side.counters.get(Count::FrameLate);
    assert_eq!(heard.len() as u64 + late, 50);
    assert!(late >= 35, "{late} {heard:?}");
    assert!(heard.iter().all(|number| !(5..40).contains(number)), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_answers_no_question_is_dead() {
    let (_side, link, _wire, ended) = alone(65536);
    link.busy.send_replace(true);
    let since = Instant::now();
    assert_eq!(ended.await.unwrap(), "no sign of life from the other end for 2 s");
    assert!(since.elapsed() <= Duration::from_millis(2010));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_too_long_ends_the_connection() {
    let (_side, _link, mut wire, ended) = alone(65536);
    wire.write_u16(FRAME_BYTES as u16 + 1).await.unwrap();
    assert_eq!(ended.await.unwrap(), format!("the other end sent a media frame of {} bytes", FRAME_BYTES + 1));
}
