//! Values of the configuration: how durations, sizes, times, addresses, names and patterns are written.
//!
//! Each function reads one string and says what is wrong with it and what to write instead.

mod field;
mod moment;
mod place;
mod secure;
mod target;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::diagnostic::{Id, suggest};
use super::section::Setting;

pub(super) use field::{
    cookie_name_or_none, field, field_name, field_name_or_none, field_value, upgrade,
};
pub(super) use moment::moment;
pub(super) use place::{
    Scheme, address, address_or_off, dns_name, dns_server, endpoint, host_header, host_pattern,
};
pub(super) use secure::{file, pin, server_name};
pub(super) use target::{network, target};

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
