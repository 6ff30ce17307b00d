//! Breaker operations as they are written in a request:
//! `POST /upstreams/NAME/breaker/ACTION?for=30s&reason=TEXT&route=LISTENER/ROUTE`.
//!
//! Those of [`mod@super::fault`] are written alike, and read by the same functions.

use std::time::{Duration, Instant};

use crate::config;
use crate::resilience::breaker::Operation;

/// How long an override lasts that names no time.
pub(super) const DEFAULT_FOR: Duration = Duration::from_secs(300);

/// The longest override: nobody remembers yesterday's.
pub(super) const MAX_FOR: Duration = Duration::from_secs(24 * 3600);

/// Longer reasons are cut: they are for one log line.
const MAX_REASON: usize = 200;

/// The path of an operation, taken apart but not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) upstream: &'a str,
    pub(super) action: &'a str,
}

/// Takes the path of an operation on a `policy` apart; `None` where it is not one.
pub(super) fn target<'a>(path: &'a str, policy: &str) -> Option<Target<'a>> {
    let (upstream, rest) = path.strip_prefix("/upstreams/")?.split_once('/')?;
    let action = rest.strip_prefix(policy)?.strip_prefix('/')?;
    (!upstream.is_empty() && !action.contains('/')).then_some(Target { upstream, action })
}

/// A request to change a breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Name of the upstream.
    pub(super) upstream: String,
    /// Name of the route, if not the upstream's own breaker is meant.
    pub(super) route: Option<String>,
    /// The word for the operation.
    pub(super) action: &'static str,
    /// The operation.
    pub(super) operation: Operation,
    /// How long it lasts; `None` where it is not an override.
    pub(super) lasts: Option<Duration>,
    /// Why, in the operator's words.
    pub(super) reason: Option<String>,
}

impl Command {
    /// Reads a command, or says what is wrong with it.
    pub(super) fn parse(target: Target<'_>, query: &str, now: Instant) -> Result<Self, String> {
        let upstream = decode(target.upstream)?;
        let (mut lasts, mut route, mut reason) = (None, None, None);
        for parameter in parameters(query) {
            let (key, value) = parameter?;
            match key {
                "for" => lasts = Some(duration("an override", &value)?),
                "route" => route = Some(value),
                "reason" => reason = Some(loggable(&value)),
                _ => {
                    return Err(format!(
                        "unknown parameter `{key}`: use for, reason or route"
                    ));
                }
            }
        }
        let overridden = lasts.unwrap_or(DEFAULT_FOR);
        let until = now + overridden;
        let (action, operation) = match target.action {
            "open" => ("open", Operation::ForcedOpen { until }),
            "close" => ("close", Operation::Disabled { until }),
            "observe" => ("observe", Operation::MetricsOnly { until }),
            "auto" => ("auto", Operation::Reset),
            "trip" => ("trip", Operation::Trip),
            "probe" => ("probe", Operation::Probe),
            other => {
                return Err(format!(
                    "unknown operation `{other}`: use open, close, observe, auto, trip or probe"
                ));
            }
        };
        let is_override = matches!(action, "open" | "close" | "observe");
        if lasts.is_some() && !is_override {
            return Err(format!("`{action}` is done at once and takes no `for`"));
        }
        let lasts = is_override.then_some(overridden);
        Ok(Self {
            upstream,
            route,
            action,
            operation,
            lasts,
            reason,
        })
    }
}

/// The parameters of a query in their order, values decoded.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = Result<(&str, String), String>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        decode(value).map(|value| (key, value))
    })
}

/// Reads how long `what` lasts: written as durations of the configuration are, above zero and at
/// most [`MAX_FOR`].
pub(super) fn duration(what: &str, text: &str) -> Result<Duration, String> {
    match config::duration(text) {
        Err(problem) => Err(format!("`for={text}`: {problem}")),
        Ok(Duration::ZERO) => Err(format!("`for={text}`: {what} lasts for some time")),
        Ok(lasts) if lasts > MAX_FOR => Err(format!("`for={text}`: at most 24h")),
        Ok(lasts) => Ok(lasts),
    }
}

/// Undoes the encoding of a form: `+` is a space, `%XX` a byte.
pub(super) fn decode(text: &str) -> Result<String, String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let byte = digit()
                    .zip(digit())
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                byte.ok_or_else(|| format!("`{text}` is not percent-encoded as it should be"))?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| format!("`{text}` is not UTF-8"))
}

/// Keeps a reason to one line of moderate length, also in a text log.
pub(super) fn loggable(reason: &str) -> String {
    let spaced = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
    spaced.take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests;
