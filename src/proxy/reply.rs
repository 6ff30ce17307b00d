//! Local replies: honest, machine-readable, at once.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::ResponseBody;
use super::error::{ProxyError, Row, Side};
use super::exchange::Exchange;
use super::route::Route;
use crate::config::model;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A static reply that takes the place of a local one.
#[derive(Clone, Debug)]
pub struct Fallback {
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
}

impl Fallback {
    /// Prepares a configured fallback; `None` where its parts are not legal HTTP, which the
    /// configuration has refused.
    pub fn new(fallback: &model::Fallback) -> Option<Self> {
        Some(Self {
            status: StatusCode::from_u16(fallback.status).ok()?,
            content_type: HeaderValue::try_from(&fallback.content_type).ok()?,
            body: Bytes::from(fallback.body.clone()),
        })
    }
}

/// Builds the reply to a request that `error` ended.
pub(super) fn local(error: ProxyError, mut exchange: Exchange) -> Response<ResponseBody> {
    let row = error.row();
    let fallback = exchange
        .route
        .as_ref()
        .and_then(|route| route.fallback.clone());
    // An injected status stands for the upstream's own answer.
    let answered = matches!(error, ProxyError::FaultAbort(_));
    // A 2xx would be the beginning of a tunnel.
    let tunnel = exchange.asks_for_tunnel();
    let fallback = fallback.filter(|_| row.side != Side::Downstream && !answered && !tunnel);
    // So would the 200 of a gRPC status.
    let grpc = exchange.grpc && !tunnel;
    let (status, content_type, body) = match fallback {
        _ if grpc => (
            StatusCode::OK,
            HeaderValue::from_static("application/grpc"),
            Bytes::new(),
        ),
        Some(fallback) => (fallback.status, fallback.content_type, fallback.body),
        None => {
            let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::BAD_GATEWAY);
            let problem = HeaderValue::from_static("application/problem+json");
            (status, problem, problem_json(error, &row, &exchange))
        }
    };
    exchange.reply(status.as_u16(), row.reason);
    let unread = exchange.unread;
    let mut response = Response::new(ResponseBody::local(body, exchange));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(PROXY_STATUS, proxy_status(&row));
    if grpc {
        headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(row.grpc_status)));
        headers.insert(GRPC_MESSAGE, grpc_message(error, &row));
    }
    if let ProxyError::BreakerOpen { retry_after } | ProxyError::RateLimited { retry_after } = error
    {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if unread
        || tunnel
        || matches!(
            error,
            ProxyError::BadRequest(_)
                | ProxyError::HeadTooLarge
                | ProxyError::TargetTooLong
                | ProxyError::ClientIdle
                | ProxyError::ClientSlow
        )
    {
        // What follows on this connection may not be what the caller meant as the next request.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Says in `Proxy-Status` that it was a failover that answered; what is there already came from
/// further away and stands first.
pub(super) fn say_failover(headers: &mut HeaderMap, route: &Route) {
    let text = format!(
        "outrigger; next-hop=\"{}\"; details=\"failover\"",
        route.upstream.name
    );
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(PROXY_STATUS, value);
    }
}

/// RFC 9209.
fn proxy_status(row: &Row) -> HeaderValue {
    let reason = row.reason.as_str();
    let text = format!(
        "outrigger; error={}; details=\"{reason}\"",
        row.proxy_status
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("outrigger"))
}

/// What happened, as gRPC has it: percent-encoded UTF-8.
fn grpc_message(error: ProxyError, row: &Row) -> HeaderValue {
    let ProxyError::BadRequest(rule) = error else {
        return HeaderValue::from_static(row.title);
    };
    let mut text = String::new();
    for byte in row.title.bytes().chain(*b": ").chain(rule.bytes()) {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => text += &format!("%{byte:02X}"),
        }
    }
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(row.title))
}

/// RFC 9457.
fn problem_json(error: ProxyError, row: &Row, exchange: &Exchange) -> Bytes {
    let mut problem = serde_json::json!({
        "type": "about:blank",
        "title": row.title,
        "status": row.status,
        "reason": row.reason.as_str(),
    });
    if let ProxyError::BadRequest(rule) = error {
        problem["detail"] = rule.into();
    }
    if let Some(route) = exchange.serving() {
        problem["upstream"] = (*route.upstream.name).into();
    }
    Bytes::from(problem.to_string())
}
