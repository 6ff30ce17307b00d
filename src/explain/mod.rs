//! What becomes of a request, worked out from the configuration alone: `outrigger explain`.
//!
//! Protects from settings that are each valid and together do what nobody meant. [`find()`] says
//! which route a request takes, with the matcher that the proxy itself uses; [`way::Way`] gathers
//! what applies there; [`timeline`] puts its waits one behind the other, each at its longest;
//! [`arithmetic`] says what that means for rates and loads; [`lint`] points out what cannot work.
//! [`text`] and [`json`] write the same facts.
//!
//! Pure: a configuration and a request in, values out. Reads no file and no clock, resolves and
//! calls nothing. It knows limits, not traffic: every figure is a bound, not a forecast.

pub mod arithmetic;
pub mod find;
pub mod json;
pub mod lint;
pub mod policies;
pub mod text;
pub mod timeline;
pub mod way;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use find::{Lost, Request, find};

use crate::config::model::{Config, Listener, Route};

/// Everything about one way that a request may take.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// Where it arrives.
    pub listener: &'a Listener,
    /// The route that it takes there.
    pub route: &'a Route,
    /// What applies.
    pub way: way::Way<'a>,
    /// What applies, in words.
    pub policies: Vec<policies::Policy>,
    /// The worst case, wait by wait.
    pub timeline: timeline::Timeline,
    /// What the figures mean.
    pub facts: Vec<arithmetic::Fact>,
    /// What cannot work as written.
    pub lints: Vec<lint::Lint>,
}

/// Explains `request` at every listener that could take it; there is at least one answer.
///
/// `now` is the time since the Unix epoch, which faults end by.
///
/// # Errors
///
/// Says why no route takes it.
pub fn explain<'a>(
    config: &'a Config,
    request: &'a Request,
    now: Duration,
) -> Result<Vec<Explanation<'a>>, Lost> {
    let found = find(config, request)?;
    Ok(found
        .into_iter()
        .filter_map(|(listener, route)| {
            let way = way::Way::of_route(config, route, request)?;
            Some(Explanation {
                listener,
                route,
                policies: policies::of(&way, route, now),
                timeline: timeline::of(&way),
                facts: arithmetic::of(&way),
                lints: [lint::lint(config, route), lint::of_request(&way, listener)].concat(),
                way,
            })
        })
        .collect())
}

/// Writes a time for people: `25 ms`, `5.025 s`, `5 min`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.001 && !duration.is_zero() {
        format!("{} us", duration.as_micros())
    } else if seconds < 1.0 {
        format!("{} ms", trimmed(seconds * 1000.0, 1))
    } else if seconds < 120.0 {
        format!("{} s", trimmed(seconds, 3))
    } else if seconds < 7200.0 {
        format!("{} min", trimmed(seconds / 60.0, 1))
    } else if seconds < 172_800.0 {
        format!("{} h", trimmed(seconds / 3600.0, 1))
    } else {
        format!("{} days", trimmed(seconds / 86_400.0, 1))
    }
}

/// Writes a number with three figures or all before the point, without zeros at its end.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    trimmed(value, decimals)
}

fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
