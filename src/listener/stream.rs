//! One stream of an HTTP/2 connection: its request handled, its response sent.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;

use super::http2::Life;
use crate::net::{Duplex, Tap, Tapped};
use crate::pool::{Inbound, Linger, Upload};
use crate::proxy::Caller;
use crate::proxy::body::ResponseBody;
use crate::proxy::websocket::{self, Extended};
use crate::time;

/// Answers one request.
///
/// # Cancel safety
///
/// Dropping the future cancels the request and resets the stream.
pub(super) async fn answer(
    caller: Rc<Caller>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    life: Rc<Life>,
    linger: Linger,
) {
    // Cancelled before anybody looked at it, by the caller or for an error: it costs no more.
    if poll_fn(|cx| Poll::Ready(respond.poll_reset(cx).is_ready())).await {
        return;
    }
    let is_head = request.method() == Method::HEAD;
    let watch = Rc::clone(&caller.watch);
    let (head, body) = request.into_parts();
    let (mut request, received) = if head.method == Method::CONNECT {
        // What comes is no body, but the caller's half of a tunnel.
        let request = connect(Request::from_parts(head, Upload::empty()));
        (request, Some(body))
    } else {
        let body = Inbound::http2(body, &head.headers, Some(&linger));
        (Request::from_parts(head, Upload::new(body)), None)
    };
    let expects = request.headers().contains_key(header::EXPECT);
    let mut gate = expects.then(|| request.body_mut().hold_back()).flatten();
    let response = {
        let mut handled = pin!(caller.handle(request));
        poll_fn(|cx| {
            if let Poll::Ready(Ok(response)) = handled.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            if gate
                .as_ref()
                .is_some_and(|gate| gate.poll_open(cx).is_ready())
            {
                gate = None;
                let _ = respond.send_informational(bare(StatusCode::CONTINUE));
            }
            respond.poll_reset(cx).map(|_| None)
        })
        .await
    };
    let Some(mut response) = response else { return };
    if let Some(tunnel) = response.body_mut().take_tunnel() {
        let (mut head, _) = framed(response, true);
        *head.status_mut() = StatusCode::OK;
        if let (Some(received), Ok(sent)) = (received, respond.send_response(head, false)) {
            let stream = Duplex::new(received, sent, Reason::CONNECT_ERROR);
            let resets = Some(stream.resets());
            let tap = Paid(life);
            Box::pin(tunnel.run(Tapped { stream, tap }, resets, &watch.alarm)).await;
        }
        return;
    }
    let (head, body) = framed(response, is_head);
    let Some(body) = body else {
        let _ = respond.send_response(head, true);
        return;
    };
    let Ok(stream) = respond.send_response(head, false) else {
        return;
    };
    let mut outgoing = Outgoing {
        stream,
        ended: false,
        broken_by: Reason::INTERNAL_ERROR,
    };
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|cx| outgoing.unless_reset(cx, |cx| body.as_mut().poll_frame(cx)));
        let frame = match frame.await {
            Some(Some(Ok(frame))) => frame,
            Some(None) => return outgoing.end(),
            Some(Some(Err(aborted))) => {
                outgoing.broken_by = passed_on(aborted.code);
                return;
            }
            // The caller wants no more of it.
            None => return,
        };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    let room = poll_fn(|cx| outgoing.poll_room(cx, data.len())).await;
                    let Some(room) = room else { return };
                    watch.touch();
                    let piece = data.split_to(room.min(data.len()));
                    life.sent(piece.len());
                    outgoing.ended = data.is_empty() && body.is_end_stream();
                    let sent = outgoing.stream.send_data(piece, outgoing.ended);
                    if sent.is_err() || outgoing.ended {
                        return;
                    }
                }
                if body.is_end_stream() {
                    return outgoing.end();
                }
            }
            Err(other) => {
                if let Ok(trailers) = other.into_trailers() {
                    outgoing.ended = outgoing.stream.send_trailers(trailers).is_ok();
                    return;
                }
            }
        }
    }
}

/// What is sent through a tunnel is answered by frames as a body is.
struct Paid(Rc<Life>);

impl Tap for Paid {
    fn read(&self, _: &[u8]) -> bool {
        true
    }

    fn wrote(&self, bytes: usize) {
        self.0.sent(bytes);
    }
}

/// An extended CONNECT (RFC 8441) as the upgrade that HTTP/1.1 has in its place; a plain one as it
/// is, and so one of a protocol that has no such form.
fn connect(mut request: Request<Upload>) -> Request<Upload> {
    let Some(protocol) = request.extensions_mut().remove::<Protocol>() else {
        return request;
    };
    request.extensions_mut().insert(Extended);
    if protocol.as_str().eq_ignore_ascii_case("websocket")
        && let Ok(key) = HeaderValue::try_from(websocket::new_key())
    {
        *request.method_mut() = Method::GET;
        *request.version_mut() = Version::HTTP_11;
        let host = request.uri().authority().map(Authority::as_str);
        let host = host.and_then(|host| HeaderValue::from_str(host).ok());
        let headers = request.headers_mut();
        if let Some(host) = host {
            headers.entry(header::HOST).or_insert(host);
        }
        headers.insert(header::SEC_WEBSOCKET_KEY, key);
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    request
}

fn bare(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}

/// The response as HTTP/2 frames it, and its body where there is one.
fn framed(response: Response<ResponseBody>, is_head: bool) -> (Response<()>, Option<ResponseBody>) {
    let (mut head, body) = response.into_parts();
    head.version = Version::HTTP_2;
    let headers = &mut head.headers;
    headers.remove(header::CONNECTION);
    headers.remove(header::UPGRADE);
    headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    headers.remove(header::TRANSFER_ENCODING);
    if !headers.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::try_from(time::http_date())
    {
        headers.insert(header::DATE, date);
    }
    // HTTP/1 has none in them by its framing; here it would be one (RFC 9110 §6.4.1).
    let never = matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    let has_body = !is_head && !never && !body.is_end_stream();
    if has_body
        && let Some(length) = body.size_hint().exact()
        && !headers.contains_key(header::CONTENT_LENGTH)
    {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    (Response::from_parts(head, ()), has_body.then_some(body))
}

/// A response being sent. Dropped before its end it is reset: what has come is not the whole.
struct Outgoing {
    stream: SendStream<Bytes>,
    ended: bool,
    /// What a reset says.
    broken_by: Reason,
}

/// What the caller is told of a response that its upstream broke off by this code.
///
/// Most codes are about our stream or connection with the upstream (RFC 9113 §7), and some would
/// have the caller do what it must not: REFUSED_STREAM to send again what was processed,
/// HTTP_1_1_REQUIRED to do so by another version. NO_ERROR and CANCEL do not go on, as there are
/// clients that take them for the end of a body.
fn passed_on(code: Option<u32>) -> Reason {
    match code.map(Reason::from) {
        Some(Reason::ENHANCE_YOUR_CALM) => Reason::ENHANCE_YOUR_CALM,
        _ => Reason::INTERNAL_ERROR,
    }
}

impl Outgoing {
    /// What `poll` gives, or `None` once the caller has reset the stream.
    fn unless_reset<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Option<T>> {
        match poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.stream.poll_reset(cx).map(|_| None),
        }
    }

    /// How many of so many bytes the caller takes now; `None` once it takes none any more.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Option<usize>> {
        self.stream.reserve_capacity(wanted);
        loop {
            match self.stream.capacity() {
                0 => {}
                room => return Poll::Ready(Some(room)),
            }
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => return self.stream.poll_reset(cx).map(|_| None),
            }
        }
    }

    fn end(mut self) {
        self.ended = self.stream.send_data(Bytes::new(), true).is_ok();
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.ended {
            self.stream.send_reset(self.broken_by);
        }
    }
}
