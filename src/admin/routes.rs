//! Which request gets which answer: a function of the request head.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, ORIGIN,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tracing::info;

use super::fault::{self, FaultOperation};
use super::operation::{self, Command, Target};
use super::status::StatusView;
use super::{FaultError, OperateError, Site, Surface, restore};
use crate::resilience::WHOLE;
use crate::resilience::breaker::Refused;
use crate::resilience::fault::MOST;
use crate::telemetry::metrics;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const PAGE: &str = include_str!("status.html");

/// The page carries all it needs and talks to nobody but its own server.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// Answers a request; the body of a request is never read.
pub(super) fn respond<B>(
    surface: Surface,
    site: &Site,
    peer: &str,
    request: &Request<B>,
) -> Response<Full<Bytes>> {
    if surface == Surface::Admin
        && let Err(refusal) = own_site(request.headers())
    {
        return text(StatusCode::FORBIDDEN, refusal);
    }
    let path = request.uri().path();
    if surface == Surface::Admin {
        let query = request.uri().query().unwrap_or_default();
        for (policy, operate) in OPERATIONS {
            if let Some(target) = operation::target(path, policy) {
                return match *request.method() {
                    Method::POST => operate(site, peer, target, query),
                    _ => not_allowed("POST"),
                };
            }
        }
        if let Some(target) = restore::target(path) {
            return match *request.method() {
                Method::POST => restored(site, peer, target, query),
                _ => not_allowed("POST"),
            };
        }
    }
    let page: fn(&Site) -> Response<Full<Bytes>> = match (surface, path) {
        (_, "/metrics") => exposition,
        (_, "/livez") => |_| text(StatusCode::OK, "ok"),
        (_, "/readyz") => readiness,
        (Surface::Admin, "/") => |_| status_page(),
        (Surface::Admin, "/status") => status,
        _ => return text(StatusCode::NOT_FOUND, "there is no such page"),
    };
    match *request.method() {
        // hyper sends the head alone in answer to HEAD.
        Method::GET | Method::HEAD => page(site),
        _ => not_allowed("GET, HEAD"),
    }
}

fn exposition(site: &Site) -> Response<Full<Bytes>> {
    match site
        .metrics
        .render(&site.admin.views(), site.admin.ready().is_ok())
    {
        Ok(exposition) => reply(StatusCode::OK, metrics::CONTENT_TYPE, exposition),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn readiness(site: &Site) -> Response<Full<Bytes>> {
    match site.admin.ready() {
        Ok(()) => text(StatusCode::OK, "ready"),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

fn status_page() -> Response<Full<Bytes>> {
    let mut page = reply(StatusCode::OK, HTML, PAGE);
    let policy = HeaderValue::from_static(PAGE_POLICY);
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    page
}

fn status(site: &Site) -> Response<Full<Bytes>> {
    let views = site.admin.views();
    let status = StatusView::new(&views, site.admin.ready(), crate::time::unix_now());
    match serde_json::to_vec(&status) {
        Ok(json) => reply(StatusCode::OK, JSON, json),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

type Operate = fn(&Site, &str, Target<'_>, &str) -> Response<Full<Bytes>>;

/// What may be operated on, as the path names it, and how.
const OPERATIONS: [(&str, Operate); 2] = [("breaker", operated), ("fault", faulted)];

/// Parses, does and audits an operation on a breaker.
fn operated(site: &Site, peer: &str, target: Target<'_>, query: &str) -> Response<Full<Bytes>> {
    let command = match Command::parse(target, query, crate::time::now()) {
        Ok(command) => command,
        Err(problem) => return text(StatusCode::BAD_REQUEST, problem),
    };
    let Command {
        upstream,
        route,
        action,
        operation,
        lasts,
        reason,
    } = &command;
    let route = route.as_deref();
    let result = site.admin.operate(upstream, route, *operation);
    let (status, outcome) = match result {
        Ok(()) => (StatusCode::OK, "done".to_owned()),
        Err(OperateError::NoUpstream) => (
            StatusCode::NOT_FOUND,
            format!("no upstream is named `{upstream}`"),
        ),
        Err(OperateError::NoRoute) => {
            let route = route.unwrap_or_default();
            let problem = format!("upstream `{upstream}` has no breaker of a route `{route}`");
            (StatusCode::NOT_FOUND, problem)
        }
        Err(OperateError::Refused(Refused::Off)) => (
            StatusCode::CONFLICT,
            "the breaker is off by its configuration".to_owned(),
        ),
        Err(OperateError::Refused(Refused::State(state))) => {
            let state = state.as_str();
            (
                StatusCode::CONFLICT,
                format!("`{action}` makes no sense while the breaker is {state}"),
            )
        }
    };
    info!(
        upstream,
        route,
        operation = action,
        for_ms = lasts.map(millis),
        reason,
        peer,
        outcome,
        "breaker operation"
    );
    text(status, outcome)
}

/// Parses, does and audits an operation on faults. What the fault looks for in a field is not
/// logged: it may be a secret.
fn faulted(site: &Site, peer: &str, target: Target<'_>, query: &str) -> Response<Full<Bytes>> {
    let command = match fault::Command::parse(target, query) {
        Ok(command) => command,
        Err(problem) => return text(StatusCode::BAD_REQUEST, problem),
    };
    let fault::Command {
        upstream,
        action,
        operation,
        reason,
    } = command;
    let (share, counted, lasts, id) = match &operation {
        FaultOperation::Inject { settings, lasts } => {
            let share = f64::from(settings.share) / f64::from(WHOLE);
            (Some(share), Some(settings.counted), Some(*lasts), None)
        }
        FaultOperation::Clear(id) => (None, None, None, *id),
    };
    let result = site.admin.fault(&upstream, operation);
    let begun = result.ok().flatten();
    let (status, outcome) = match result {
        Ok(Some(id)) => (StatusCode::OK, format!("done: fault {id}")),
        Ok(None) => (StatusCode::OK, "done".to_owned()),
        Err(FaultError::NoUpstream) => (
            StatusCode::NOT_FOUND,
            format!("no upstream is named `{upstream}`"),
        ),
        Err(FaultError::NoFault) => {
            let id = id.unwrap_or_default();
            let problem = format!("upstream `{upstream}` has no fault {id}, or not any more");
            (StatusCode::NOT_FOUND, problem)
        }
        Err(FaultError::Full) => (
            StatusCode::CONFLICT,
            format!("upstream `{upstream}` has {MOST} faults already: clear one"),
        ),
    };
    info!(
        upstream,
        operation = action,
        fault = begun.or(id),
        share,
        counted,
        for_ms = lasts.map(millis),
        reason,
        peer,
        outcome,
        "fault operation"
    );
    text(status, outcome)
}

/// Parses, does and audits the end of an ejection.
fn restored(
    site: &Site,
    peer: &str,
    target: restore::Target<'_>,
    query: &str,
) -> Response<Full<Bytes>> {
    let command = match restore::Command::parse(target, query) {
        Ok(command) => command,
        Err(problem) => return text(StatusCode::BAD_REQUEST, problem),
    };
    let restore::Command {
        upstream,
        endpoint,
        reason,
    } = &command;
    let (status, outcome) = match site.admin.restore(upstream, endpoint) {
        Some(true) => (StatusCode::OK, "done".to_owned()),
        Some(false) => (
            StatusCode::CONFLICT,
            format!("endpoint `{endpoint}` of `{upstream}` is not ejected"),
        ),
        None => (
            StatusCode::NOT_FOUND,
            format!("no upstream is named `{upstream}`"),
        ),
    };
    info!(
        upstream,
        %endpoint,
        operation = "restore",
        reason,
        peer,
        outcome,
        "endpoint operation"
    );
    text(status, outcome)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Says whether a request was meant for a server on loopback: a page from elsewhere that a browser
/// was tricked into sending here has a foreign `Origin`, or a foreign `Host` if its name was
/// rebound to our address.
fn own_site(headers: &HeaderMap) -> Result<(), &'static str> {
    let host = only(headers, HOST.as_str()).and_then(|host| host.to_str().ok());
    let Some(host) = host.filter(|host| is_loopback(host)) else {
        return Err("the host must be localhost or a loopback address");
    };
    if !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let origin = only(headers, ORIGIN.as_str()).and_then(|origin| origin.to_str().ok());
    match origin.and_then(|origin| origin.strip_prefix("http://")) {
        Some(origin) if origin.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err("requests from other sites are refused"),
    }
}

/// The value of a field that occurs once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_loopback(host: &str) -> bool {
    let port_at = match host.rfind(']') {
        Some(bracket) => host
            .get(bracket..)
            .and_then(|rest| rest.find(':'))
            .map(|at| bracket + at),
        None => host.rfind(':'),
    };
    let name = port_at.and_then(|at| host.get(..at)).unwrap_or(host);
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || bare
            .unwrap_or(name)
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed}"));
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<Full<Bytes>> {
    let mut body = body.into();
    body.push('\n');
    reply(status, TEXT, body)
}

fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
