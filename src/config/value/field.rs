//! Fields of a message head: names, values, cookies, upgrades.

use super::{Invalid, is_token};
use crate::config::diagnostic::Id;
use crate::config::section::Setting;

/// Reads a header field name; lower case from here on.
pub(in crate::config) fn field_name(text: &str) -> Result<Setting, Invalid> {
    name(text, "write a name such as `\"x-example\"`").map(Setting::Text)
}

/// As [`field_name`], or nothing.
pub(in crate::config) fn field_name_or_none(text: &str) -> Result<Setting, Invalid> {
    if text.is_empty() {
        return Ok(Setting::Text(String::new()));
    }
    let help = "write a name such as `\"x-example\"`, or `\"\"` for none";
    name(text, help).map(Setting::Text)
}

fn name(text: &str, help: &str) -> Result<String, Invalid> {
    const FRAMING: [&str; 8] = [
        "connection",
        "content-length",
        "grpc-timeout",
        "host",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let lower = text.to_ascii_lowercase();
    if lower.is_empty() || !lower.bytes().all(is_token) {
        return Err(Invalid::new(Id::BadHeader, "not a header field name", help));
    }
    if FRAMING.contains(&lower.as_str()) {
        return Err(Invalid::new(
            Id::BadHeader,
            "this field has another meaning in HTTP",
            "use a field of your own such as `\"x-example\"`",
        ));
    }
    Ok(lower)
}

/// Reads a value of a header field.
pub(in crate::config) fn field_value(text: &str) -> Result<Setting, Invalid> {
    if is_value(text) {
        return Ok(Setting::Text(text.to_owned()));
    }
    Err(Invalid::new(
        Id::BadHeader,
        "not a header field value",
        "write visible ASCII characters such as `\"application/json\"`",
    ))
}

fn is_value(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        && text.trim() == text
}

/// Reads `"name: value"`.
pub(in crate::config) fn field(text: &str) -> Result<Setting, Invalid> {
    const HELP: &str = "write a name, a colon and a value, such as `\"x-example: yes\"`";
    let (before, after) = text.split_once(':').unwrap_or((text, ""));
    let value = after.trim();
    if !is_value(value) {
        return Err(Invalid::new(Id::BadHeader, "not a header field", HELP));
    }
    name(before, HELP).map(|name| Setting::Field(name, value.to_owned()))
}

/// Reads a protocol that a connection may be upgraded to; lower case from here on.
pub(in crate::config) fn upgrade(text: &str) -> Result<Setting, Invalid> {
    let bad = |message: &str, help: &str| Err(Invalid::new(Id::BadUpgrade, message, help));
    let lower = text.to_ascii_lowercase();
    if lower.is_empty() || !lower.bytes().all(is_token) {
        let help = "write a name such as `\"websocket\"`, without a version";
        return bad("not the name of a protocol", help);
    }
    if matches!(lower.as_str(), "h2c" | "h2") {
        return bad(
            "requests could be smuggled past every check over HTTP/2 inside an HTTP/1.1 connection",
            "remove it: HTTP/2 is spoken from the first byte on, see `protocol`",
        );
    }
    Ok(Setting::Text(lower))
}

/// Reads the name of a cookie, or nothing.
pub(in crate::config) fn cookie_name_or_none(text: &str) -> Result<Setting, Invalid> {
    if text.bytes().all(is_token) {
        return Ok(Setting::Text(text.to_owned()));
    }
    Err(Invalid::new(
        Id::BadHeader,
        "not the name of a cookie",
        "write a name such as `\"session\"`, or `\"\"` for none",
    ))
}
