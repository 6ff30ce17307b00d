//! One connection of a caller, from accept to close: whether it is encrypted, and what is spoken.
//!
//! The head's timer runs from the accept until a TLS handshake is done, and then from the first
//! byte of a head. Behind TLS the caller says by ALPN what it speaks, and is taken at its word: what
//! then is something else ends the connection.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::Wire;
use super::{http1, http2, tcp};
use crate::config::model::Protocol;
use crate::net::{Ends, sniff};
use crate::proxy::watch::{Phase, Watch};
use crate::proxy::{Caller, Listener, Proxy};
use crate::telemetry::limited::Limited;
use crate::time;
use crate::tls::server::Server;
use crate::tls::{Alpn, TlsStream};

/// Serves a caller until one side closes or a timer ends it.
///
/// # Cancel safety
///
/// Dropping the future closes the connection and cancels what is in flight on it.
pub async fn serve<S>(proxy: Rc<Proxy>, listener: Arc<Listener>, socket: S, ends: Ends)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let settings = &listener.downstream;
    let watch = Rc::new(Watch::new(
        settings.header_timeout,
        settings.idle_timeout,
        time::now(),
    ));
    let caller = Caller {
        proxy,
        listener,
        ends,
        watch,
    };
    let tls = caller.listener.tls.clone();
    let (protocol, wire) = match tls {
        None => (caller.listener.protocol, Wire::plain(socket)),
        Some(tls) => {
            // Apart: an unencrypted connection does not keep room for it.
            let Some((stream, alpn)) = Box::pin(encrypt(&caller, &tls, socket)).await else {
                return;
            };
            let protocol = agreed(caller.listener.protocol, alpn);
            (protocol, Wire::Tls(Box::new(stream)))
        }
    };
    // Apart as well: what is idle or has only begun takes no room for any of them.
    match (protocol, wire) {
        (Protocol::Tcp, wire) => Box::pin(tcp::serve(caller, wire)).await,
        (Protocol::Http2, wire) => Box::pin(http2::serve(caller, wire)).await,
        (Protocol::Auto, Wire::Plain(mut socket)) => {
            let Some((is_http2, before)) =
                in_time(&caller, sniff(&mut socket, || caller.watch.came())).await
            else {
                return;
            };
            let wire = Wire::Plain(socket.rewind(before));
            if is_http2 {
                Box::pin(http2::serve(caller, wire)).await;
            } else {
                Box::pin(http1::serve(caller, wire)).await;
            }
        }
        (Protocol::Http1 | Protocol::Auto, wire) => {
            Box::pin(http1::serve(caller, wire)).await;
        }
    }
}

/// What is spoken behind TLS; a caller that takes no part in ALPN speaks what the listener is for.
const fn agreed(protocol: Protocol, alpn: Alpn) -> Protocol {
    match (protocol, alpn) {
        (Protocol::Tcp, _) => Protocol::Tcp,
        (_, Alpn::Http2) | (Protocol::Http2, Alpn::None) => Protocol::Http2,
        _ => Protocol::Http1,
    }
}

/// Makes the handshake; `None` where it failed or took too long.
async fn encrypt<S>(caller: &Caller, tls: &Server, socket: S) -> Option<(TlsStream<S>, Alpn)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    static FAILED: Limited = Limited::every(Duration::from_secs(10));

    let listener = &caller.listener;
    // From here, not from the first byte: nothing but a handshake can come.
    caller.watch.came();
    let accepted = async { Some(tls.accept(socket).await) };
    match in_time(caller, accepted).await? {
        Ok(accepted) => {
            listener.metrics.handshake_completed();
            caller.watch.idle(time::now());
            Some(accepted)
        }
        Err(error) => {
            let reason = error.reason;
            listener.metrics.handshake_failed(reason);
            if let Some(suppressed) = FAILED.admit(time::now()) {
                tracing::info!(
                    listener = &*listener.name,
                    peer = caller.ends.peer.map(tracing::field::display),
                    reason = reason.word(),
                    %error,
                    suppressed,
                    "TLS handshake of a caller failed"
                );
            }
            None
        }
    }
}

/// What comes before a protocol is known, as long as the connection's timer lets it.
async fn in_time<T>(caller: &Caller, beginning: impl Future<Output = Option<T>>) -> Option<T> {
    let watch = &caller.watch;
    let driven = time::drive(&watch.alarm, pin!(beginning), |now| watch.overdue(now)).await;
    if driven.is_none() && matches!(watch.phase(), Phase::Head(_)) {
        caller.listener.metrics.header_timed_out();
    }
    driven?
}
