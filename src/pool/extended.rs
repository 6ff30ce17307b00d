//! An upgrade towards an upstream of HTTP/2: extended CONNECT (RFC 8441).
//!
//! Outside, it looks like the upgrade of HTTP/1.1 that it stands for: a 101 is what opens the tunnel.

use std::io;

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use http::header::{SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::shared::Slot;
use super::stream;
use super::{Download, Inbound, SendError, Upload};
use crate::net::Duplex;
use crate::tls;

/// Whether a stream is to be a tunnel.
pub(super) enum Extended {
    /// No.
    No,
    /// Its request asks for it.
    Asked,
    /// It is one.
    Open(Box<Duplex>),
}

/// A CONNECT whose answer has not come. Dropping it resets the stream.
pub(super) struct Begun {
    response: ResponseFuture,
    sent: SendStream<Bytes>,
    protocol: HeaderValue,
}

/// Sends the CONNECT that stands for an upgrade.
///
/// # Errors
///
/// [`SendError::Invalid`] where the upstream does not take such requests.
pub(super) fn begin(slot: &mut Slot, request: &Request<Upload>) -> Result<Box<Begun>, SendError> {
    let protocol = request.headers().get(UPGRADE).cloned();
    let name = protocol
        .as_ref()
        .and_then(|protocol| protocol.to_str().ok());
    let taken = slot.sender.is_extended_connect_protocol_enabled();
    let (Some(name), true) = (name, taken) else {
        return Err(SendError::Invalid);
    };
    let mut head = stream::head(request, slot);
    *head.method_mut() = Method::CONNECT;
    head.headers_mut().remove(SEC_WEBSOCKET_KEY);
    head.extensions_mut()
        .insert(Protocol::from(name.to_ascii_lowercase().as_str()));
    let Ok((response, sent)) = slot.sender.send_request(head, false) else {
        return Err(SendError::Reset { answered: false });
    };
    Ok(Box::new(Begun {
        response,
        sent,
        protocol: protocol.unwrap_or_else(|| HeaderValue::from_static("websocket")),
    }))
}

impl Begun {
    /// Waits for the answer: a 101 with the tunnel, or why there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the stream.
    pub(super) async fn answered(
        mut self: Box<Self>,
    ) -> Result<(Response<Download>, Extended), SendError> {
        let response = self.response.await.map_err(|error| {
            let io: Option<&io::Error> = error.get_io();
            match io.and_then(|error| tls::reason_of(error)) {
                Some(reason) => SendError::Tls(reason),
                None if error.is_library() => SendError::Invalid,
                None => SendError::Reset { answered: true },
            }
        })?;
        let (mut head, body) = response.into_parts();
        if head.status.is_success() {
            head.status = StatusCode::SWITCHING_PROTOCOLS;
            head.headers.insert(UPGRADE, self.protocol);
            let tunnel = Extended::Open(Box::new(Duplex::new(body, self.sent)));
            return Ok((Response::from_parts(head, Download::none()), tunnel));
        }
        // It has nothing more to hear from us.
        let _ = self.sent.send_data(Bytes::new(), true);
        let body = Download::new(Inbound::http2(body, &head.headers, None));
        Ok((Response::from_parts(head, body), Extended::No))
    }
}
