//! What has to hold whatever the bytes are: one function for each edge that reads or writes what a
//! peer, a caller or an operator chose.
//!
//! Shared by the fuzz targets and by their twins on stable.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};
use outrigger::admin::grpc_health;
use outrigger::config;
use outrigger::config::model::{Downstream, Forwarding};
use outrigger::net::allow::{AllowList, Pattern};
use outrigger::net::frames::{FrameLimits, FrameMeter};
use outrigger::net::guard::AddressGuard;
use outrigger::net::proxy_protocol;
use outrigger::net::target::{Host, Target};
use outrigger::proxy::error::ProxyError;
use outrigger::proxy::forwarded::{self, Peer, Seen};
use outrigger::proxy::{advice, answer, request, survey, websocket};
use outrigger::resilience::retry::Advice;
use outrigger::resilience::timeout;

/// A meter finds the same whatever pieces the bytes come in.
pub(crate) fn frames(data: &[u8]) {
    let Some((&size, bytes)) = data.split_first() else {
        return;
    };
    let now = outrigger::time::now();
    // Small enough to be exhausted by a few frames.
    let limits = FrameLimits {
        control_burst: 5,
        resets_burst: 2,
        continuations: 2,
        ..FrameLimits::default()
    };
    let mut whole = FrameMeter::new(limits, 0, now);
    let expected = whole.feed(bytes, now);
    let mut pieces = FrameMeter::new(limits, 0, now);
    let mut found = Ok(());
    for piece in bytes.chunks(usize::from(size).max(1)) {
        found = pieces.feed(piece, now);
        if found.is_err() {
            break;
        }
    }
    assert_eq!(found, expected);
    let later = now + Duration::from_secs(3600);
    assert_eq!(whole.feed(&[], later), expected, "a flood stays one");
}

/// A receiver reads the addresses that were written.
pub(crate) fn proxy_protocol(data: &[u8]) {
    let mut data = data.iter().copied();
    let mut address = || {
        let kind = data.next()?;
        let mut octets = [0; 18];
        octets
            .iter_mut()
            .zip(&mut data)
            .for_each(|(o, byte)| *o = byte);
        let [ip @ .., high, low] = octets;
        let ip: IpAddr = match kind % 4 {
            0 => return None,
            1 => ip.into(),
            2 => [ip[0], ip[1], ip[2], ip[3]].into(),
            _ => Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3])
                .to_ipv6_mapped()
                .into(),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes([high, low])))
    };
    let (source, destination) = (address(), address());
    let bytes = proxy_protocol::header(source, destination);
    let (head, body) = bytes.split_at(16);
    assert_eq!(head[..12], *b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(
        usize::from(u16::from_be_bytes([head[14], head[15]])),
        body.len()
    );
    let (Some(source), Some(destination)) = (source, destination) else {
        assert_eq!(head[12..], [0x20, 0, 0, 0]);
        return;
    };
    let octets = match (head[12], head[13]) {
        (0x21, 0x11) => 4,
        (0x21, 0x21) => 16,
        other => panic!("{other:?}"),
    };
    assert_eq!(body.len(), 2 * octets + 4);
    for (number, address) in [source, destination].into_iter().enumerate() {
        let ip = &body[number * octets..][..octets];
        let ip = match <[u8; 4]>::try_from(ip) {
            Ok(ip) => ip.into(),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(ip).unwrap()),
        };
        let port = &body[2 * octets + 2 * number..][..2];
        assert_eq!(port, address.port().to_be_bytes());
        assert_eq!(ip.to_canonical(), address.ip().to_canonical());
    }
}

/// A name is no address in anybody's reading, and what is written is read back.
pub(crate) fn authority(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(target) = Target::parse(text, Some(80)) else {
        return;
    };
    assert_eq!(
        Target::parse(&target.to_string(), None).as_ref(),
        Ok(&target)
    );
    assert_ne!(target.port, 0);
    match &target.host {
        Host::Name(name) => {
            assert!(generous_ipv4(name).is_none(), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
        }
        Host::Ip(ip) => {
            assert_eq!(*ip, ip.to_canonical());
            let guard = AddressGuard::default();
            assert!(!ip.is_loopback() || guard.refuses(*ip).is_some());
        }
    }
}

/// Reads an IPv4 address as `inet_aton` does: 1-4 parts, decimal, octal or hexadecimal.
fn generous_ipv4(text: &str) -> Option<u32> {
    let parts: Vec<&str> = text.split('.').collect();
    let (last, first) = parts.split_last()?;
    if first.len() > 3 {
        return None;
    }
    let number = |part: &str| {
        let lower = part.to_ascii_lowercase();
        match lower.strip_prefix("0x") {
            Some("") => Some(0),
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None if lower.len() > 1 && lower.starts_with('0') => {
                u32::from_str_radix(&lower, 8).ok()
            }
            None => lower.parse().ok(),
        }
    };
    let high = first.iter().try_fold(0_u32, |sum, part| {
        let part = number(part).filter(|part| *part < 256)?;
        Some(sum << 8 | part)
    })?;
    let _ = number(last)?;
    Some(high)
}

/// A pattern that is a target allows that one, and `*:*` every one.
pub(crate) fn allow(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let pattern = text.parse::<Pattern>();
    let Ok(target) = Target::parse(text, None) else {
        return;
    };
    let own = AllowList(vec![pattern.expect("every target is a pattern")]);
    assert!(own.allows(&target));
    let mut other = target.clone();
    other.port = other.port.wrapping_add(1);
    assert!(!own.allows(&other));
    let all = AllowList(vec!["*:*".parse().expect("a pattern")]);
    assert!(all.allows(&target) && all.allows(&other));
}

/// What we add stands last and whole, in one line.
pub(crate) fn forwarded(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let host = lines
        .next()
        .and_then(|line| HeaderValue::from_bytes(line).ok());
    let seen = Seen {
        peer: Peer::Unix,
        is_tls: false,
        version: Version::HTTP_11,
        host: host.as_ref(),
    };
    let all = Forwarding {
        via: true,
        forwarded: true,
        x_forwarded: true,
    };
    let mut alone = HeaderMap::new();
    forwarded::add(&mut alone, all, &seen);
    let mut headers = HeaderMap::new();
    let names = ["forwarded", "x-forwarded-for", "via"];
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            for name in names {
                headers.append(name, value.clone());
            }
        }
    }
    forwarded::add(&mut headers, all, &seen);
    for name in names {
        let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let value = values.next().expect("it was added");
        assert!(value.ends_with(alone[name].as_bytes()), "{value:?}");
        assert_eq!(values.next(), None);
    }
    assert_eq!(headers.get("x-forwarded-host"), host.as_ref());
}

/// What an edge has where nothing is said of it, but for a protocol to upgrade to beside WebSocket.
static DOWNSTREAM: LazyLock<Downstream> = LazyLock::new(|| {
    let text = "[defaults.downstream]\nupgrades = [\"websocket\", \"other\"]\n\
                [upstreams.a]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"http://a:80\"]\n";
    let config = config::parse("fuzz.toml", text).expect("a valid file");
    config.listeners[0].downstream.clone()
});

/// A request head that is taken can be read in one way only, what is made of it as well, and the
/// head that answers it too.
///
/// Lines of the request, an empty one, lines of the answer; the first one of either is three words:
/// method, target and version (`0`, `1` or `2`), and a status.
pub(crate) fn head(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some(mut request) = lines.next().and_then(request_line) else {
        return;
    };
    *request.headers_mut() = fields(lines.by_ref());
    let Ok(survey) = survey::survey(&request, &DOWNSTREAM) else {
        return;
    };
    let named = connection_options(request.headers());
    let needs_host = request.version() > Version::HTTP_10;
    assert_framing(request.headers());
    assert!(request.headers().len() <= DOWNSTREAM.max_headers);
    request::prepare(&mut request, &survey, None);

    let headers = request.headers();
    assert_framing(headers);
    assert_eq!(request.version(), Version::HTTP_11);
    assert!(request.uri().authority().is_none(), "{request:?}");
    let path = request.uri().path();
    assert!(path.starts_with('/') || path == "*" && request.method() == Method::OPTIONS);
    let hosts = headers.get_all("host").iter().count();
    assert!(hosts == 1 || hosts == 0 && !needs_host);
    assert!(headers.contains_key("x-request-id"));
    assert!(headers.get_all("cookie").iter().count() <= 1);
    let left = connection_options(headers);
    match left.as_slice() {
        [] => assert!(!headers.contains_key("upgrade") && !headers.contains_key("te")),
        [option] => {
            assert!(option == "te" || option == "upgrade");
            assert!(headers.contains_key(option));
        }
        more => panic!("{more:?}"),
    }
    assert_stripped(headers, &named);
    if hosts == 0 {
        // From HTTP/1.0: it gets the endpoint's.
        let host = HeaderValue::from_static("a");
        request.headers_mut().insert("host", host);
    }
    let again = survey::survey(&request, &DOWNSTREAM);
    assert!(
        matches!(again, Ok(_) | Err(ProxyError::HeadTooLarge)),
        "{again:?}: {request:?}"
    );

    let Some(status) = lines.next() else {
        return;
    };
    let Ok(mut response) = Response::builder().status(status).body(()) else {
        return;
    };
    *response.headers_mut() = fields(lines);
    let Ok(mut response) = answer::checked(response, &survey) else {
        return;
    };
    assert_framing(response.headers());
    let named = connection_options(response.headers());
    request::clean(response.headers_mut());
    assert_framing(response.headers());
    assert_stripped(response.headers(), &named);
    assert_eq!(connection_options(response.headers()), [""; 0]);
}

fn request_line(line: &[u8]) -> Option<Request<()>> {
    let mut words = line.split(|byte| *byte == b' ');
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    let target = words.next()?;
    // As HTTP/2 has it: a path that may be anything.
    let path = || PathAndQuery::try_from(target).ok().map(Uri::from);
    *request.uri_mut() = Uri::try_from(target).ok().or_else(path)?;
    *request.version_mut() = match words.next()? {
        b"0" => Version::HTTP_10,
        b"1" => Version::HTTP_11,
        b"2" => Version::HTTP_2,
        _ => return None,
    };
    Some(request)
}

/// Lines up to an empty one.
fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = halves.next().map(HeaderName::from_bytes);
        let value = halves.next().map(HeaderValue::from_bytes);
        if let (Some(Ok(name)), Some(Ok(value))) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// One length at most, or one coding; nothing that another parser takes for either.
fn assert_framing(headers: &HeaderMap) {
    let all = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let lengths: Vec<_> = all("content-length").collect();
    let codings: Vec<_> = all("transfer-encoding").collect();
    assert!(lengths.len() + codings.len() <= 1, "{headers:?}");
    for length in lengths {
        assert!(!length.is_empty() && length.iter().all(u8::is_ascii_digit));
    }
    for coding in codings {
        assert!(coding.eq_ignore_ascii_case(b"chunked"));
    }
    assert!(!headers.contains_key("content_length"));
    assert!(!headers.contains_key("transfer_encoding"));
}

/// Names in `Connection`, in lower case.
fn connection_options(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all("connection").iter();
    let options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let options = options.map(|option| option.trim_ascii().to_ascii_lowercase());
    options
        .filter_map(|option| String::from_utf8(option).ok())
        .collect()
}

/// What concerned one connection is gone, apart from what is put there anew.
fn assert_stripped(headers: &HeaderMap, named: &[String]) {
    let kept = ["content-length", "transfer-encoding", "host"];
    let anew = ["connection", "te", "upgrade", "x-request-id"];
    let is_gone = |name: &&String| !kept.contains(&name.as_str()) && !anew.contains(&name.as_str());
    for name in named.iter().filter(is_gone) {
        assert!(!headers.contains_key(name), "{name}: {headers:?}");
    }
    assert!(!headers.contains_key("keep-alive") && !headers.contains_key("proxy-connection"));
}

/// Advice is a time, a prohibition, or nothing.
pub(crate) fn retry_after(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in ["retry-after", "date", "grpc-retry-pushback-ms"] {
        let value = lines.next().map(HeaderValue::from_bytes);
        if let Some(Ok(value)) = value {
            headers.insert(name, value);
        }
    }
    let plain = advice::advice(&headers, false);
    if !headers.contains_key("retry-after") {
        assert_eq!(plain, Advice::None);
    }
    let grpc = advice::advice(&headers, true);
    if !headers.contains_key("grpc-retry-pushback-ms") {
        assert_eq!(grpc, plain);
    }
}

/// What is sent on is never more than what was read, and at most a unit's worth less.
pub(crate) fn grpc_timeout(data: &[u8]) {
    let _ = timeout::parse_millis(data);
    let Some(read) = timeout::parse_grpc_timeout(data) else {
        return;
    };
    let Some(written) = timeout::format_grpc_timeout(read) else {
        assert!(read.is_zero());
        return;
    };
    let again = timeout::parse_grpc_timeout(written.as_bytes()).expect("what we write is valid");
    assert_eq!(again, read, "{written}");
}

/// A request is whole and short, or refused.
pub(crate) fn grpc_health(data: &[u8]) {
    if let Ok(service) = grpc_health::decode(data) {
        assert!(service.len() <= data.len() && data.len() <= grpc_health::MAX_BODY);
        assert_eq!(data[0], 0);
    }
}

/// A handshake that is taken has a key that can be answered.
pub(crate) fn websocket(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let mut request = Request::new(());
    for (name, text) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
    ] {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(text));
    }
    request.headers_mut().insert("sec-websocket-key", value);
    if let Ok(key) = websocket::key_of(&request) {
        assert_eq!((key.len(), key.find('=')), (24, Some(22)));
        assert_eq!(websocket::accept_key(key).len(), 28);
    }
}

/// A file is valid or has an error, and nothing that is said of it points outside of it.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(diagnostics) = config::parse("fuzz.toml", text) {
        assert!(diagnostics.count().0 > 0);
        for item in diagnostics.items() {
            if let Some(span) = &item.span {
                assert!(text.get(span.clone()).is_some(), "{item:?}");
            }
        }
        diagnostics.render(true);
        diagnostics.to_json();
    }
}
