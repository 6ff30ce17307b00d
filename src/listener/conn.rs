//! One connection of a caller, from accept to close: what is spoken on it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{http1, http2, tcp};
use crate::config::model::Protocol;
use crate::net::{Ends, Rewound};
use crate::proxy::watch::Watch;
use crate::proxy::{Caller, Listener, Proxy};
use crate::time;

/// Serves a caller until one side closes or a timer ends it.
///
/// # Cancel safety
///
/// Dropping the future closes the connection and cancels what is in flight on it.
pub async fn serve<S>(proxy: Rc<Proxy>, listener: Arc<Listener>, mut socket: S, ends: Ends)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let settings = &listener.downstream;
    let watch = Rc::new(Watch::new(
        settings.header_timeout,
        settings.idle_timeout,
        time::now(),
    ));
    let protocol = listener.protocol;
    let caller = Caller {
        proxy,
        listener,
        ends,
        watch: Rc::clone(&watch),
    };
    match protocol {
        Protocol::Tcp => tcp::serve(caller, socket).await,
        Protocol::Http1 => http1::serve(caller, socket).await,
        Protocol::Http2 => http2::serve(caller, socket).await,
        Protocol::Auto => {
            let sniffed = {
                let sniffed = pin!(sniff(&mut socket, &watch));
                time::drive(&watch.alarm, sniffed, |now| watch.overdue(now)).await
            };
            let Some(Some((is_http2, before))) = sniffed else {
                return;
            };
            let socket = Rewound::new(before, socket);
            if is_http2 {
                http2::serve(caller, socket).await;
            } else {
                http1::serve(caller, socket).await;
            }
        }
    }
}

/// What a client of HTTP/2 sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is clear whether the caller speaks HTTP/2; gives what was read. `None` where the
/// connection ended before.
async fn sniff<S: AsyncRead + Unpin>(socket: &mut S, watch: &Watch) -> Option<(bool, Bytes)> {
    let mut bytes = [0_u8; 512];
    let mut buffer = ReadBuf::new(&mut bytes);
    loop {
        let before = buffer.filled().len();
        let read = poll_fn(|cx| Pin::new(&mut *socket).poll_read(cx, &mut buffer));
        if read.await.is_err() || buffer.filled().len() == before {
            return None;
        }
        watch.came();
        let seen = buffer.filled();
        let is_http2 = seen.starts_with(PREFACE);
        if is_http2 || !PREFACE.starts_with(seen) {
            return Some((is_http2, Bytes::copy_from_slice(seen)));
        }
    }
}
