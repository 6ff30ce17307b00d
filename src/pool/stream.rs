//! One exchange on an HTTP/2 stream: the head out, the body after it, the head back.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use h2::Reason;
use h2::client::ResponseFuture;
use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header,
};
use tokio::task::AbortHandle;

use super::interim::Interim;
use super::pump::{Pump, Stopped};
use super::shared::{Silence, Slot};
use super::{Download, Inbound, SendError, Upload};
use crate::lifecycle::tasks;
use crate::resilience::classify;
use crate::tls;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// An exchange whose response head has not come. Dropping it resets the stream.
pub(super) struct Begun {
    response: ResponseFuture,
    body: Outbound,
    /// The head as it was given, in case the request is not processed.
    head: Option<Box<Parts>>,
    interim: Option<Interim>,
    silence: Silence,
}

/// The request body.
enum Outbound {
    /// There is none.
    Empty,
    /// It is being sent.
    Flowing(Box<Pump>),
    /// It was sent.
    Sent,
}

/// The rest of a request body, sent while the response comes. Dropping it breaks the body off.
pub(super) struct Uploading(AbortHandle);

impl Drop for Uploading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends a request head, and its body as far as that is possible at once.
///
/// # Errors
///
/// The connection takes no more streams; nothing was sent.
pub(super) fn begin(
    slot: &mut Slot,
    request: Request<Upload>,
    interim: Option<Interim>,
) -> Result<Box<Begun>, SendError> {
    if slot.is_closing() {
        return Err(SendError::Unsent(Box::new(request)));
    }
    let head = head(&request, slot);
    let (parts, body) = request.into_parts();
    let silence = slot.silence();
    let sent = slot.sender.send_request(head, body.is_empty());
    let Ok((response, stream)) = sent else {
        return Err(SendError::Refused(Some(Box::new(Request::from_parts(
            parts, body,
        )))));
    };
    slot.earnings().opened();
    Ok(Box::new(Begun {
        response,
        body: if body.is_empty() {
            Outbound::Empty
        } else {
            let earnings = Arc::clone(slot.earnings());
            Outbound::Flowing(Box::new(Pump::new(stream, body, earnings)))
        },
        head: Some(Box::new(parts)),
        interim,
        silence,
    }))
}

/// The head as HTTP/2 has it (RFC 9113 §8.2.2, §8.3.1).
pub(super) fn head(request: &Request<Upload>, slot: &Slot) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.version_mut() = Version::HTTP_2;
    request.headers().clone_into(head.headers_mut());
    let headers = head.headers_mut();
    let host = headers.remove(HOST);
    let wants_trailers = is_grpc(headers) || takes_trailers(headers);
    strip(headers);
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = authority.or_else(|| Authority::try_from(slot.endpoint().to_string()).ok());
    let path = request.uri().path_and_query().cloned();
    let mut target = http::uri::Parts::default();
    target.scheme = Some(if slot.pool().settings.tls {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    });
    // A name that stands for no host, where there is none to tell.
    target.authority = Some(authority.unwrap_or_else(|| Authority::from_static("localhost")));
    target.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *head.uri_mut() = Uri::from_parts(target).unwrap_or_default();
    head
}

/// gRPC refuses calls without `TE: trailers`.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| classify::is_grpc(kind.as_bytes()))
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(TE).iter();
    let mut codings = codings.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Takes away what concerns one connection of HTTP/1 only, and what HTTP/2 frames itself.
fn strip(headers: &mut HeaderMap) {
    let is_connections = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "connection"
                | "keep-alive"
                | "proxy-connection"
                | "te"
                | "transfer-encoding"
                | "upgrade"
        )
    };
    if headers.keys().any(is_connections) {
        for name in [
            CONNECTION,
            KEEP_ALIVE,
            PROXY_CONNECTION,
            TE,
            TRANSFER_ENCODING,
            UPGRADE,
        ] {
            headers.remove(name);
        }
    }
}

impl Begun {
    /// Waits for the response head; with it comes what is left of the upload.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the stream.
    pub(super) async fn answered(
        mut self: Box<Self>,
    ) -> Result<(Response<Download>, Option<Uploading>), SendError> {
        let answered = poll_fn(|cx| self.poll(cx)).await;
        match answered {
            Ok(response) => {
                let uploading = match self.body {
                    Outbound::Flowing(pump) => Some(upload_on(pump)),
                    Outbound::Empty | Outbound::Sent => None,
                };
                Ok((response, uploading))
            }
            Err(Failure::Caller) => Err(SendError::Upload),
            Err(Failure::Invalid) => Err(SendError::Invalid),
            Err(Failure::Stream(error)) => Err(self.failed(&error)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Download>, Failure>> {
        if let Outbound::Flowing(pump) = &mut self.body
            && let Poll::Ready(stopped) = pump.poll(cx)
        {
            match stopped {
                Err(Stopped::Caller) => return Poll::Ready(Err(Failure::Caller)),
                // The response says why, and whether the body may be sent elsewhere.
                Err(Stopped::Upstream) => {}
                Ok(()) => self.body = Outbound::Sent,
            }
        }
        while let Poll::Ready(Some(Ok(response))) = self.response.poll_informational(cx) {
            // There is no other protocol to switch to (RFC 9113 §8.6).
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(Failure::Invalid));
            }
            if let Some(interim) = &self.interim {
                interim.tell(response.status());
            }
        }
        let Poll::Ready(answered) = Pin::new(&mut self.response).poll(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(match answered {
            Ok(response) => received(response),
            Err(error) => Err(Failure::Stream(error)),
        })
    }

    /// What an error says about the request.
    fn failed(&mut self, error: &h2::Error) -> SendError {
        let back = || {
            let body = match std::mem::replace(&mut self.body, Outbound::Sent) {
                Outbound::Empty => Some(Upload::empty()),
                Outbound::Flowing(pump) => pump.into_untouched(),
                Outbound::Sent => None,
            };
            let back = self.head.take().zip(body);
            back.map(|(head, body)| Box::new(Request::from_parts(*head, body)))
        };
        failed(error, &self.silence, back)
    }
}

/// What an error says about a request, which is had `back` where the upstream has not processed it.
pub(super) fn failed(
    error: &h2::Error,
    silence: &Silence,
    back: impl FnOnce() -> Option<Box<Request<Upload>>>,
) -> SendError {
    let gone = error.is_remote() && error.is_go_away();
    let refused = error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
    if gone || refused {
        return match back() {
            // The connection's fault, as if it had been closed before.
            Some(request) if gone => SendError::Unsent(request),
            back => SendError::Refused(back),
        };
    }
    if let Some(reason) = error.get_io().and_then(|error| tls::reason_of(error)) {
        SendError::Tls(reason)
    } else if error.is_library() {
        SendError::Invalid
    } else {
        SendError::Reset {
            answered: error.is_reset() || !silence.lasts(),
        }
    }
}

/// Why there is no response head.
enum Failure {
    Caller,
    Invalid,
    Stream(h2::Error),
}

fn received(response: Response<h2::RecvStream>) -> Result<Response<Download>, Failure> {
    let headers = response.headers();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next();
    let settled = lengths.all(|length| Some(length) == first);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS || !settled {
        return Err(Failure::Invalid);
    }
    let (head, body) = response.into_parts();
    let body = Inbound::http2(body, &head.headers, None);
    Ok(Response::from_parts(head, Download::new(body)))
}

/// Sends the rest of a body in a task of its own: the response is read meanwhile.
fn upload_on(mut pump: Box<Pump>) -> Uploading {
    let task = tasks::spawn_local("upload", async move {
        // Whoever reads the response hears of what became of the stream.
        let _ = poll_fn(|cx| pump.poll(cx)).await;
    });
    Uploading(task.abort_handle())
}
