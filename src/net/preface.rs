//! Whether a peer speaks HTTP/2 without having said so before.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

/// What a client of HTTP/2 sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is clear whether the peer speaks HTTP/2; gives what was read. `None` where the
/// connection ended before. `came` is told whenever something did.
pub(crate) async fn sniff<S: AsyncRead + Unpin>(
    socket: &mut S,
    mut came: impl FnMut(),
) -> Option<(bool, Bytes)> {
    let mut bytes = [0_u8; 512];
    let mut buffer = ReadBuf::new(&mut bytes);
    loop {
        let before = buffer.filled().len();
        let read = poll_fn(|cx| Pin::new(&mut *socket).poll_read(cx, &mut buffer));
        if read.await.is_err() || buffer.filled().len() == before {
            return None;
        }
        came();
        let seen = buffer.filled();
        let is_http2 = seen.starts_with(PREFACE);
        if is_http2 || !PREFACE.starts_with(seen) {
            return Some((is_http2, Bytes::copy_from_slice(seen)));
        }
    }
}
