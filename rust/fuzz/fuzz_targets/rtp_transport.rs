//! A plain RTP leg that is fed datagrams inside its latching window.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::io::{Path, SocketId, TransmitQueue};
use mediaserver_proto::time::Time;
use mediaserver_proto::transport::{Received, RtpRemote, RtpTransport, RtpTransportConfig};

fuzz_target!(|input: &[u8]| {
    let mut leg = RtpTransport::new(RtpTransportConfig {
        rtp_socket: SocketId(0),
        rtcp_socket: Some(SocketId(1)),
        latching: Duration::from_millis(500),
        timeout: Duration::from_secs(1),
        identity: None,
    });
    let rtp = Some(([192, 0, 2, 1], 4000).into());
    leg.set_remote(RtpRemote { rtp, ..RtpRemote::default() }, Time::ZERO);
    let (mut now, mut out) = (Time::ZERO, TransmitQueue::default());
    let mut rest = input;
    while let Some((&[socket, host, len], tail)) = rest.split_first_chunk::<3>() {
        let (datagram, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        let path = Path { socket: SocketId(u32::from(socket % 3)), remote: ([192, 0, 2, host], 4000).into() };
        match leg.handle_datagram(path, &mut datagram.to_vec(), now, &mut out) {
            Received::Rtp { len, header_len, .. } => assert!(header_len <= len && len <= datagram.len()),
            Received::Rtcp { len } => assert!(len <= datagram.len()),
            Received::Consumed | Received::Dropped(_) => {}
        }
        now = now + Duration::from_millis(100);
        leg.handle_timeout(now, &mut out);
        while leg.poll_event().is_some() {}
    }
});
