//! One HTTP/1 connection of a caller.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::{FAREWELL, Wire};
use crate::net::{Rewound, Tap, Tapped};
use crate::pool::{Inbound, Upload};
use crate::proxy::Caller;
use crate::proxy::tunnel::Tunnel;
use crate::proxy::watch::{Phase, Watch};
use crate::time;

/// How long a caller may take to go, and how much it may still send: an upload that nobody wants has
/// no bound but the time.
const GOING: (Duration, usize) = (FAREWELL, usize::MAX);

/// Serves a caller until one side closes or a timer ends it.
///
/// # Cancel safety
///
/// Dropping the future closes the connection and cancels the request in flight.
pub(super) async fn serve<S>(caller: Caller, mut wire: Wire<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let settings = &caller.listener.downstream;
    let watch = Rc::clone(&caller.watch);
    let mut builder = Builder::new();
    builder
        .max_buf_size(settings.max_header_bytes)
        .max_headers(settings.max_headers)
        .half_close(settings.half_close)
        .preserve_header_case(settings.keep_header_case)
        // The watch bounds the head and the pause before it, with one timer.
        .header_read_timeout(None);
    let metrics = caller.listener.metrics.clone();
    let socket = caller.ends.socket();
    let watched = socket.as_deref().filter(|_| !settings.half_close);
    let caller = Rc::new(caller);
    // The answer that is being sent has neither a length nor chunks: its end is that of the connection.
    let is_open_ended = Cell::new(false);
    let tunnel: RefCell<Option<Box<Tunnel>>> = RefCell::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        let knows_chunks = request.version() > Version::HTTP_10;
        let request = request.map(|body| Upload::new(Inbound::Http1(body)));
        let (tunnel, is_open_ended) = (&tunnel, &is_open_ended);
        // Boxed: the library keeps room for it for the life of the connection.
        let handled = Box::pin(Rc::clone(&caller).handle(request));
        async move {
            let Ok(mut response) = handled.await;
            if let Some(taken) = response.body_mut().take_tunnel() {
                tunnel.replace(Some(taken));
            }
            let length = response.body().size_hint().exact();
            is_open_ended.set(!knows_chunks && length.is_none());
            name(&mut response);
            Ok::<_, Infallible>(response)
        }
    });
    let (ended, phase) = {
        let tapped = Tapped {
            stream: &mut wire,
            tap: Rc::clone(&watch),
        };
        let connection = builder.serve_connection(TokioIo::new(tapped), service);
        // The library does not read, and so hears of no end, where nobody takes what it has read.
        let gone = async {
            match watched {
                Some(socket) => socket.closed().await,
                None => pending().await,
            }
        };
        let mut connection = pin!(connection.without_shutdown());
        let served = pin!(async {
            tokio::select! {
                biased;
                done = &mut connection => Some(done),
                () = gone => None,
            }
        });
        let driven = time::drive(&watch.alarm, served, |now| watch.overdue(now));
        let ended = driven.await;
        let ended = ended.map(|done| done.map(|done| done.map(|parts| parts.read_buf)));
        // Before the connection is dropped: a response that ends with it leaves the caller idle.
        (ended, watch.phase())
    };
    // A response that was cut short must not look whole.
    if is_open_ended.get() && !matches!(ended, Some(Some(Ok(_)))) {
        socket.inspect(|socket| socket.break_off());
    } else {
        drop(socket);
    }
    match ended {
        Some(None) => tracing::debug!("a caller went away"),
        Some(Some(Ok(before))) => match tunnel.take() {
            None => wire.close(&watch.alarm, GOING).await,
            Some(tunnel) => {
                let wire = Rewound::new(before, wire);
                let mut carried = Box::pin(tunnel.run(wire, None, &watch.alarm));
                time::drive(&watch.alarm, carried.as_mut(), |_| false).await;
            }
        },
        Some(Some(Err(error))) => {
            tracing::debug!(%error, "connection of a caller ended");
            // Its answer, where there is one, is whole.
            if error.is_parse() {
                wire.close(&watch.alarm, GOING).await;
            }
        }
        None => {
            tracing::debug!(?phase, "connection of a caller timed out");
            match phase {
                Phase::Head(_) => metrics.header_timed_out(),
                Phase::Idle(_) => wire.close(&watch.alarm, GOING).await,
                // A response that was cut short must not look whole.
                Phase::Busy | Phase::Stream => {}
            }
        }
    }
}

/// A status without a name goes without: hyper has a word of its own for it.
fn name<B>(response: &mut Response<B>) {
    if response.status().canonical_reason().is_none()
        && response.extensions().get::<ReasonPhrase>().is_none()
    {
        let nothing = ReasonPhrase::from_static(b"");
        response.extensions_mut().insert(nothing);
    }
}

impl Tap for Rc<Watch> {
    fn read(&self, bytes: &[u8]) -> bool {
        Watch::read(self, bytes);
        true
    }

    fn wrote(&self, _: usize) {
        self.touch();
    }

    fn flushed(&self) {
        self.drained();
    }
}
