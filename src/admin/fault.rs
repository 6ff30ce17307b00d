//! Operations on faults as they are written in a request:
//! `POST /upstreams/NAME/fault/ACTION?for=30s&share=0.1&reason=TEXT`, and `fault/clear?id=N`.
//!
//! Beside `for`, which has no default, `share` and `reason` there are the conditions `method`
//! (more than once for several), `path_prefix` and `header=NAME:VALUE`, `counted=true`, and what
//! the action needs: `delay`, `status`, `after` or `rate`.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::operation::{Target, decode, duration, loggable, parameters};
use crate::config;
use crate::resilience::WHOLE;
use crate::resilience::fault::{Action, Settings};

/// What is done to the faults of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultOperation {
    /// Begins one.
    Inject {
        /// What and to which requests.
        settings: Settings,
        /// How long it lasts, at most a day.
        lasts: Duration,
    },
    /// Ends the one of this number, or all.
    Clear(Option<u64>),
}

/// A request to change faults.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command {
    /// Name of the upstream.
    pub(super) upstream: String,
    /// The word for the operation.
    pub(super) action: &'static str,
    /// The operation.
    pub(super) operation: FaultOperation,
    /// Why, in the operator's words.
    pub(super) reason: Option<String>,
}

/// The actions, the parameter that each needs, and an example of that.
const ACTIONS: [(&str, Option<(&str, &str)>); 5] = [
    ("delay", Some(("delay", "200ms"))),
    ("abort", Some(("status", "503"))),
    ("reset", None),
    ("truncate", Some(("after", "1KiB"))),
    ("slow-body", Some(("rate", "1KiB"))),
];

impl Command {
    /// Reads a command, or says what is wrong with it.
    pub(super) fn parse(target: Target<'_>, query: &str) -> Result<Self, String> {
        let upstream = decode(target.upstream)?;
        if target.action == "clear" {
            return Self::clear(upstream, query);
        }
        let known = ACTIONS.iter().find(|(name, _)| *name == target.action);
        let Some(&(action, own)) = known else {
            return Err(format!(
                "unknown operation `{}`: use delay, abort, reset, truncate, slow-body or clear",
                target.action
            ));
        };
        let (mut lasts, mut reason, mut given) = (None, None, None);
        let mut settings = Settings {
            action: Action::Reset,
            share: WHOLE,
            methods: Vec::new(),
            path_prefix: None,
            header: None,
            counted: false,
        };
        for parameter in parameters(query) {
            let (key, value) = parameter?;
            match key {
                "for" => lasts = Some(duration("a fault", &value)?),
                "reason" => reason = Some(loggable(&value)),
                "share" => settings.share = share(&value)?,
                "method" => settings.methods.push(method(&value)?),
                "path_prefix" => settings.path_prefix = path_prefix(&value)?,
                "header" => settings.header = Some(header(&value)?),
                "counted" => settings.counted = flag(&value)?,
                key if own.is_some_and(|(own, _)| own == key) => given = Some(value),
                _ => {
                    let own = own.map_or_else(String::new, |(own, _)| format!("{own}, "));
                    return Err(format!(
                        "unknown parameter `{key}`: use {own}for, reason, share, method, \
                         path_prefix, header or counted"
                    ));
                }
            }
        }
        if let Some((own, example)) = own {
            let given = given
                .ok_or_else(|| format!("`{action}` needs `{own}`, such as `{own}={example}`"))?;
            settings.action =
                needed(own, &given).map_err(|problem| format!("`{own}={given}`: {problem}"))?;
        }
        let lasts = lasts.ok_or("a fault always ends: say when, such as `for=30s`")?;
        Ok(Self {
            upstream,
            action,
            operation: FaultOperation::Inject { settings, lasts },
            reason,
        })
    }

    fn clear(upstream: String, query: &str) -> Result<Self, String> {
        let (mut id, mut reason) = (None, None);
        for parameter in parameters(query) {
            let (key, value) = parameter?;
            match key {
                "id" => {
                    let number = value.parse();
                    let problem = |_| format!("`id={value}`: write the number of a fault");
                    id = Some(number.map_err(problem)?);
                }
                "reason" => reason = Some(loggable(&value)),
                _ => return Err(format!("unknown parameter `{key}`: use id or reason")),
            }
        }
        Ok(Self {
            upstream,
            action: "clear",
            operation: FaultOperation::Clear(id),
            reason,
        })
    }
}

/// Reads the action whose own parameter `name` is `value`.
fn needed(name: &str, value: &str) -> Result<Action, String> {
    match name {
        "delay" => match config::duration(value)? {
            Duration::ZERO => Err("a delay takes some time".into()),
            delay => Ok(Action::Delay(delay)),
        },
        "status" => {
            let status = value.parse().ok();
            let status = status.filter(|status| (200..=599).contains(status));
            status
                .map(Action::Abort)
                .ok_or_else(|| "write a status from 200 to 599".into())
        }
        "after" => config::size(value).map(Action::Truncate),
        _ => match config::size(value)? {
            0 => Err("a body has to come some time".into()),
            rate => Ok(Action::SlowBody(rate)),
        },
    }
}

/// Reads a ratio above 0 and up to 1, in thousandths of a percent.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within 1 to `WHOLE`, as checked"
)]
fn share(text: &str) -> Result<u32, String> {
    let whole = f64::from(WHOLE);
    let share = text
        .parse::<f64>()
        .map_or(0.0, |share| (share * whole).round());
    if (1.0..=whole).contains(&share) {
        Ok(share as u32)
    } else {
        Err(format!(
            "`share={text}`: write a ratio of 0.00001 to 1, such as `share=0.1`"
        ))
    }
}

fn method(text: &str) -> Result<String, String> {
    let sound = text.parse::<Method>().is_ok() && !text.bytes().any(|b| b.is_ascii_lowercase());
    let problem = || format!("`method={text}`: methods are upper-case words, such as `GET`");
    sound.then(|| text.to_owned()).ok_or_else(problem)
}

/// Reads the beginning of a path; `/` is any.
fn path_prefix(text: &str) -> Result<Option<String>, String> {
    if !text.starts_with('/') || text.contains(['?', '#', '*']) {
        let help = "write the beginning of a path, such as `/v2`";
        return Err(format!("`path_prefix={text}`: {help}"));
    }
    let prefix = text.trim_end_matches('/');
    Ok((!prefix.is_empty()).then(|| prefix.to_owned()))
}

/// Reads `name:value`. The value is not repeated in the problem: it may be a secret.
fn header(text: &str) -> Result<(String, String), String> {
    let read = || {
        let (name, value) = text.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        let name: HeaderName = name.parse().ok()?;
        HeaderValue::from_str(value).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    read().ok_or_else(|| "`header`: write a field and its value, such as `x-game-day:1`".into())
}

fn flag(text: &str) -> Result<bool, String> {
    let problem = |_| format!("`counted={text}`: write true or false");
    text.parse().map_err(problem)
}

#[cfg(test)]
mod tests;
