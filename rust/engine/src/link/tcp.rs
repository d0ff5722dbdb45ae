//! The TCP connection under a link.

use std::io;

use socket2::SockRef;
use tokio::net::TcpStream;

/// Bytes that the kernel takes beyond what it has sent, of control and streams, and of media.
const UNSENT: u32 = 256 * 1024;
const UNSENT_MEDIA: u32 = 16 * 1024;

/// Sets the connection up. What waits in the kernel can neither be dropped nor overtaken by a sign of life, so it is little;
/// of media, which grow old, it is least.
pub(crate) fn set_up(connection: &TcpStream, is_media: bool) -> io::Result<()> {
    connection.set_nodelay(true)?;
    SockRef::from(connection).set_tcp_notsent_lowat(if is_media { UNSENT_MEDIA } else { UNSENT })
}
