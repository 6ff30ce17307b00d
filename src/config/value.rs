//! Values of the configuration: how durations, sizes, addresses, names and patterns are written.
//!
//! Each function reads one string and says what is wrong with it and what to write instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::diagnostic::{Id, suggest};
use super::model::Endpoint;
use super::section::Setting;

/// Why a string is not a value, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct Invalid {
    pub(super) id: Id,
    pub(super) message: String,
    pub(super) help: String,
}

impl Invalid {
    pub(super) fn new(id: Id, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            id,
            message: message.into(),
            help: help.into(),
        }
    }
}

/// Longer durations are typing errors, and could overflow an instant.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads `"250ms"`; units are us, ms, s, m and h.
pub(super) fn duration(text: &str) -> Result<Duration, Invalid> {
    const HELP: &str = "write one whole number and one unit (us, ms, s, m, h), such as `\"90s\"`";
    let bad = |message: &str, help: String| Invalid::new(Id::BadDuration, message, help);
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits).unwrap_or(("", text));
    if unit.is_empty() && !number.is_empty() {
        return Err(bad(
            "a duration needs a unit",
            format!("write `\"{number}s\"` for seconds"),
        ));
    }
    let micros = micros_per(unit);
    if let (Ok(number), Some(micros)) = (number.parse::<u64>(), micros) {
        let duration = Duration::from_micros(number.saturating_mul(micros));
        return if duration > LONGEST {
            Err(bad(
                "a duration of more than a year",
                "the longest is `\"8760h\"`".to_owned(),
            ))
        } else {
            Ok(duration)
        };
    }
    Err(bad(
        "not a duration",
        decimal_duration(text).unwrap_or_else(|| HELP.to_owned()),
    ))
}

fn micros_per(unit: &str) -> Option<u64> {
    match unit {
        "us" => Some(1),
        "ms" => Some(1_000),
        "s" => Some(1_000_000),
        "m" => Some(60_000_000),
        "h" => Some(3_600_000_000),
        _ => None,
    }
}

/// A help line for `1.5s`: the same in a smaller unit.
fn decimal_duration(text: &str) -> Option<String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
    let (factor, smaller) = match unit {
        "ms" => (1000.0, "us"),
        "s" => (1000.0, "ms"),
        "m" => (60.0, "s"),
        "h" => (60.0, "m"),
        _ => return None,
    };
    Some(format!(
        "durations are whole numbers: write `\"{:.0}{smaller}\"`",
        number * factor
    ))
}

/// Writes a duration as [`duration`] reads it, in the largest unit that fits.
pub(super) fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    for (unit, size) in [
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
    ] {
        if micros >= size && micros.is_multiple_of(size) {
            return format!("{}{unit}", micros / size);
        }
    }
    format!("{micros}us")
}

/// Reads `"64KiB"`; units are B, KiB, MiB and GiB.
pub(super) fn size(text: &str) -> Result<u64, Invalid> {
    let bad = |help: String| Invalid::new(Id::BadSize, "not a size", help);
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits).unwrap_or(("", text));
    let plain = || {
        bad("write a whole number and a unit (B, KiB, MiB, GiB), such as `\"64KiB\"`".to_owned())
    };
    let number: u64 = number.parse().map_err(|_| plain())?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => {
            let meant = match unit.to_ascii_lowercase().as_str() {
                "" => return Err(bare_size(number)),
                "b" => "B",
                "k" | "kb" | "kib" => "KiB",
                "m" | "mb" | "mib" => "MiB",
                "g" | "gb" | "gib" => "GiB",
                _ => return Err(plain()),
            };
            return Err(bad(format!(
                "sizes are binary: write `\"{number}{meant}\"`"
            )));
        }
    };
    Ok(number.saturating_mul(factor))
}

/// The problem of a size without a unit.
pub(super) fn bare_size(number: u64) -> Invalid {
    let fix = if number > 0 && number.is_multiple_of(1024) {
        format!("{}KiB", number / 1024)
    } else {
        format!("{number}B")
    };
    Invalid::new(
        Id::BadSize,
        "a size needs a unit",
        format!("write `\"{fix}\"`"),
    )
}

/// Reads where a socket binds.
pub(super) fn address(text: &str) -> Result<Setting, Invalid> {
    if text.starts_with("unix:") {
        return Err(Invalid::new(
            Id::NotSupported,
            "unix sockets are not supported yet",
            "listen on a loopback address such as `\"127.0.0.1:9001\"`",
        ));
    }
    if let Ok(address) = text.parse() {
        return Ok(Setting::Address(Some(address)));
    }
    let port = text
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok());
    let help = match port.or_else(|| text.parse().ok()) {
        Some(port)
            if !text.contains(':') || text.starts_with(':') || text.starts_with("localhost:") =>
        {
            format!("write `\"127.0.0.1:{port}\"`")
        }
        _ => "write an IP address and a port, such as `\"127.0.0.1:9001\"` or `\"[::1]:9001\"`"
            .to_owned(),
    };
    Err(Invalid::new(
        Id::BadAddress,
        "not an address to listen on",
        help,
    ))
}

/// As [`address`], or `"off"`.
pub(super) fn address_or_off(text: &str) -> Result<Setting, Invalid> {
    match text {
        "off" => Ok(Setting::Address(None)),
        _ => address(text),
    }
}

/// Reads a DNS server: an IP address, with port 53 unless given.
pub(super) fn dns_server(text: &str) -> Result<Setting, Invalid> {
    let ip = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53));
    ip.or_else(|_| text.parse())
        .map(|address| Setting::Address(Some(address)))
        .map_err(|_| {
            Invalid::new(
                Id::BadAddress,
                "not the address of a DNS server",
                "write an IP address, with a port unless it is 53: `\"10.0.0.2\"`, `\"10.0.0.2:5353\"`",
            )
        })
}

/// Reads `"http://host:port"`; the port is 80 unless given.
pub(super) fn endpoint(text: &str) -> Result<Setting, Invalid> {
    let bad = |message: &str, help: String| Invalid::new(Id::BadEndpoint, message, help);
    let Some((scheme, authority)) = text.split_once("://") else {
        return Err(bad(
            "an endpoint needs a scheme",
            format!("write `\"http://{text}\"`"),
        ));
    };
    match scheme {
        "http" => {}
        "https" => {
            return Err(Invalid::new(
                Id::NotSupported,
                "TLS to upstreams is not supported yet",
                format!("write `\"http://{authority}\"` if the upstream also speaks plain HTTP"),
            ));
        }
        _ => {
            return Err(bad(
                "unknown scheme",
                format!("write `\"http://{authority}\"`"),
            ));
        }
    }
    if let Some(at) = authority.find(['/', '?', '#']) {
        let (host, _) = authority.split_at_checked(at).unwrap_or((authority, ""));
        return Err(bad(
            "an endpoint has no path or query: the caller's is passed on",
            format!("write `\"http://{host}\"`"),
        ));
    }
    if let Some((_, host)) = authority.rsplit_once('@') {
        return Err(bad(
            "an endpoint has no user name or password",
            format!("write `\"http://{host}\"`"),
        ));
    }
    host_and_port(authority, Some(80)).map(Setting::Endpoint)
}

/// Reads the `"host:port"` of a name whose every address is an endpoint.
pub(super) fn dns_name(text: &str) -> Result<Setting, Invalid> {
    if let Some((_, authority)) = text.split_once("://") {
        return Err(Invalid::new(
            Id::BadEndpoint,
            "a name stands without a scheme",
            format!("write `\"{authority}\"`"),
        ));
    }
    host_and_port(text, None).map(Setting::Endpoint)
}

fn host_and_port(text: &str, default_port: Option<u16>) -> Result<Endpoint, Invalid> {
    const HELP: &str =
        "write a host and a port, such as `payments:8080`, `10.0.0.7:8080` or `[::1]:8080`";
    let bad = |message: &str| Invalid::new(Id::BadEndpoint, message, HELP);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match (port, default_port) {
        (Some(port), _) => match port.parse::<u16>() {
            Ok(port) if port > 0 && !text.ends_with(&format!(":+{port}")) => port,
            _ => return Err(bad("the port is not a number from 1 to 65535")),
        },
        (None, Some(port)) => port,
        (None, None) => return Err(bad("the port is missing")),
    };
    let host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(literal) => match literal.parse::<Ipv6Addr>() {
            Ok(literal) => literal.to_string(),
            Err(_) => return Err(bad("not an IPv6 address")),
        },
        None if host.contains(':') => return Err(bad("an IPv6 address stands in brackets")),
        None if is_host(host) => host.to_ascii_lowercase(),
        None => return Err(bad("not a host name")),
    };
    Ok(Endpoint { host, port })
}

/// Whether it is a DNS name or an IPv4 address.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= 253
        && name.split('.').all(label)
        // No top-level domain is a number, so this must be an address.
        && (!last.bytes().all(|b| b.is_ascii_digit()) || text.parse::<Ipv4Addr>().is_ok())
}

/// Reads what the upstream sees in `Host`: the words are told apart later, the rest is a value.
pub(super) fn host_header(text: &str) -> Result<Setting, Invalid> {
    match host_and_port(text, Some(80)) {
        Ok(_) => Ok(Setting::Text(text.to_owned())),
        Err(_) => Err(Invalid::new(
            Id::BadHost,
            "not a value for `Host`",
            "write `\"endpoint\"`, `\"preserve\"` or a host such as `\"payments.internal\"`",
        )),
    }
}

/// Reads a host pattern: a name, or `*.` and a name.
pub(super) fn host_pattern(text: &str) -> Result<Setting, Invalid> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    let literal = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let valid = match literal {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => is_host(name) && !name.ends_with('.'),
    };
    if valid {
        return Ok(Setting::Text(lower));
    }
    let help = match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => {
            format!("the port plays no part: write `\"{host}\"`")
        }
        _ => "write a host such as `\"search.local\"` or `\"*.local\"`; leave `host` away to match any".to_owned(),
    };
    Err(Invalid::new(Id::BadHost, "not a host pattern", help))
}

/// Reads a path prefix of whole segments; a trailing slash changes nothing.
pub(super) fn path_prefix(text: &str) -> Result<Setting, Invalid> {
    let bad = |help: String| Err(Invalid::new(Id::BadPath, "not a path prefix", help));
    if !text.starts_with('/') {
        return bad(format!("a path begins with a slash: write `\"/{text}\"`"));
    }
    if text.contains(['?', '#', '*']) || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return bad("write the beginning of a path as it is sent, without query or wildcard, such as `\"/v2\"`".to_owned());
    }
    Ok(Setting::Text(text.trim_end_matches('/').to_owned()))
}

/// Reads a method.
pub(super) fn method(text: &str) -> Result<Setting, Invalid> {
    if text.is_empty()
        || !text.bytes().all(is_token)
        || text.bytes().any(|b| b.is_ascii_lowercase())
    {
        return Err(Invalid::new(
            Id::BadMethod,
            "not a method",
            format!(
                "methods are upper-case words: write `\"{}\"`",
                method_fix(text)
            ),
        ));
    }
    Ok(Setting::Text(text.to_owned()))
}

fn method_fix(text: &str) -> String {
    let upper: String = text
        .to_ascii_uppercase()
        .chars()
        .filter(|c| u8::try_from(*c).is_ok_and(is_token))
        .collect();
    if upper.is_empty() {
        "GET".to_owned()
    } else {
        upper
    }
}

/// Reads a header field name, or nothing; lower case from here on.
pub(super) fn field_name(text: &str) -> Result<Setting, Invalid> {
    const FRAMING: [&str; 7] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let lower = text.to_ascii_lowercase();
    if !lower.bytes().all(is_token) {
        return Err(Invalid::new(
            Id::BadHeader,
            "not a header field name",
            "write a name such as `\"x-deadline-ms\"`, or `\"\"` for none",
        ));
    }
    if FRAMING.contains(&lower.as_str()) {
        return Err(Invalid::new(
            Id::BadHeader,
            "this field has another meaning in HTTP",
            "use a field of your own such as `\"x-deadline-ms\"`",
        ));
    }
    Ok(Setting::Text(lower))
}

/// Whether a byte may stand in a method or field name (RFC 9110, section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Reads a name that becomes a label in metrics and logs.
pub(super) fn name(text: &str) -> Result<Setting, Invalid> {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'`');
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(Setting::Text(text.to_owned()));
    }
    Err(Invalid::new(
        Id::BadName,
        "a name has 1 to 64 visible ASCII characters, without quotes and backslashes",
        "names become labels in metrics and logs: choose a short one",
    ))
}

/// Reads any text.
#[expect(
    clippy::unnecessary_wraps,
    reason = "stands beside readers that can fail"
)]
pub(super) fn text(text: &str) -> Result<Setting, Invalid> {
    Ok(Setting::Text(text.to_owned()))
}

/// Reads a value of a header field.
pub(super) fn field_value(text: &str) -> Result<Setting, Invalid> {
    if !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        && text.trim() == text
    {
        return Ok(Setting::Text(text.to_owned()));
    }
    Err(Invalid::new(
        Id::BadHeader,
        "not a header field value",
        "write visible ASCII characters such as `\"application/json\"`",
    ))
}

/// Reads a log filter: a level, or `target=level`, or several with commas between.
pub(super) fn log_level(text: &str) -> Result<Setting, Invalid> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for part in text.split(',') {
        let (target, level) = part.split_once('=').unwrap_or(("outrigger", part));
        let path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-');
        if target.is_empty() || !target.bytes().all(path) {
            return Err(Invalid::new(
                Id::BadLogLevel,
                "not a log filter",
                "write a level such as `\"info\"`, or `\"info,outrigger::pool=debug\"`",
            ));
        }
        if !LEVELS.contains(&level) {
            return Err(Invalid::new(
                Id::BadLogLevel,
                "not a log level",
                suggest(level, LEVELS),
            ));
        }
    }
    Ok(Setting::Text(text.to_owned()))
}

/// Reads `"429"` or `"500-599"`.
pub(super) fn statuses(text: &str) -> Result<Setting, Invalid> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        text.parse()
            .ok()
            .filter(|status| (100..=599).contains(status))
    };
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Setting::Statuses(first, last)),
        _ => Err(Invalid::new(
            Id::BadStatus,
            "not a status or a range of statuses",
            "write statuses from 100 to 599, such as `429` or `\"500-599\"`",
        )),
    }
}
