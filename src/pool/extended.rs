//! An upgrade towards an upstream of HTTP/2: extended CONNECT (RFC 8441).
//!
//! Outside, it looks like the upgrade of HTTP/1.1 that it stands for: a 101 is what opens the tunnel.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{Reason, SendStream};
use http::header::{SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::shared::{Silence, Slot};
use super::stream;
use super::{Download, Inbound, SendError, Stream, Upload};
use crate::net::frames::Earnings;
use crate::net::{Duplex, Resets, Tap, Tapped};

/// Whether a stream is to be a tunnel.
pub(super) enum Extended {
    /// No.
    No,
    /// Its request asks for it.
    Asked,
    /// It is one, of which this tells when it is reset.
    Open(Box<dyn Stream>, Resets),
}

/// A CONNECT whose answer has not come. Dropping it resets the stream.
pub(super) struct Begun {
    response: ResponseFuture,
    sent: SendStream<Bytes>,
    protocol: HeaderValue,
    /// The upgrade itself, in case it is not processed.
    request: Box<Request<Upload>>,
    silence: Silence,
    earnings: Arc<Earnings>,
}

/// What is sent through a tunnel is answered by frames as a body is.
struct Paid(Arc<Earnings>);

impl Tap for Paid {
    fn read(&self, _: &[u8]) -> bool {
        true
    }

    fn wrote(&self, bytes: usize) {
        self.0.sent(bytes);
    }
}

/// Sends the CONNECT that stands for an upgrade.
///
/// # Errors
///
/// [`SendError::Unsupported`] where the upstream does not take such requests, else that the
/// connection takes no more streams; nothing was sent.
pub(super) fn begin(slot: &mut Slot, request: Request<Upload>) -> Result<Box<Begun>, SendError> {
    if slot.is_closing() {
        return Err(SendError::Unsent(Box::new(request)));
    }
    let protocol = request.headers().get(UPGRADE).cloned();
    let taken = slot.sender.is_extended_connect_protocol_enabled();
    let (Some(protocol), true) = (protocol, taken) else {
        return Err(SendError::Unsupported);
    };
    let name = protocol.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut head = stream::head(&request, slot);
    *head.method_mut() = Method::CONNECT;
    head.headers_mut().remove(SEC_WEBSOCKET_KEY);
    head.extensions_mut().insert(Protocol::from(name.as_str()));
    let silence = slot.silence();
    let request = Box::new(request);
    let Ok((response, sent)) = slot.sender.send_request(head, false) else {
        return Err(SendError::Unsent(request));
    };
    let earnings = Arc::clone(slot.earnings());
    earnings.opened();
    Ok(Box::new(Begun {
        response,
        sent,
        protocol,
        request,
        silence,
        earnings,
    }))
}

impl Begun {
    /// Waits for the answer: a 101 with the tunnel, or why there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the stream.
    pub(super) async fn answered(self) -> Result<(Response<Download>, Extended), SendError> {
        let Self {
            response,
            mut sent,
            protocol,
            request,
            silence,
            earnings,
        } = self;
        let response = match response.await {
            Ok(response) => response,
            Err(error) => return Err(stream::failed(&error, &silence, || Some(request))),
        };
        let (mut head, body) = response.into_parts();
        if head.status.is_success() {
            head.status = StatusCode::SWITCHING_PROTOCOLS;
            head.headers.insert(UPGRADE, protocol);
            let stream = Duplex::new(body, sent, Reason::CANCEL);
            let resets = stream.resets();
            let tap = Paid(earnings);
            let tunnel = Box::new(Tapped { stream, tap });
            let response = Response::from_parts(head, Download::none());
            return Ok((response, Extended::Open(tunnel, resets)));
        }
        // It has nothing more to hear from us.
        let _ = sent.send_data(Bytes::new(), true);
        let body = Download::new(Inbound::http2(body, &head.headers, None));
        Ok((Response::from_parts(head, body), Extended::No))
    }
}
