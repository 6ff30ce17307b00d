//! What the demo prints, and what it remembers for its summary.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::MOODY;
use super::load::Load;
use super::moody::{Since, Switch};
use super::stats::Histogram;
use super::table::{Line, Style, brief};
use crate::app::Addresses;
use crate::resilience::breaker::{Cause, State, Transition, View};
use crate::time;
use crate::upstream::view::UpstreamView;

/// The heading is repeated after so many pairs of lines.
const PAGE: u32 = 20;
/// The summary tells of this many transitions at most: the first.
const TOLD: usize = 20;

/// One upstream as the demo follows it.
#[derive(Debug)]
pub(super) struct Side {
    name: Arc<str>,
    load: Arc<Load>,
    state: State,
    transitions: u64,
    told: Vec<String>,
}

impl Side {
    /// Follows the upstream called `name` under `load`.
    pub(super) fn new(name: Arc<str>, load: Arc<Load>) -> Self {
        Self {
            name,
            load,
            state: State::Closed,
            transitions: 0,
            told: Vec::new(),
        }
    }
}

/// Standard output during a demo.
#[derive(Debug)]
pub(super) struct Show {
    style: Style,
    start: Instant,
    sides: Vec<Side>,
    switch: Switch,
    changed: Option<Since>,
    pairs: u32,
    unread: bool,
}

impl Show {
    pub(super) fn new(start: Instant, sides: Vec<Side>, switch: Switch) -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            style: Style { colour },
            start,
            sides,
            switch,
            changed: None,
            pairs: 0,
            unread: false,
        }
    }

    /// Prints one line or more.
    pub(super) fn say(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        self.unread |= written.is_err();
    }

    /// Whether nobody reads any more: the other end of a pipe is gone.
    pub(super) fn is_unread(&self) -> bool {
        self.unread
    }

    /// Says where everything is and what to try.
    pub(super) fn intro(&mut self, at: &Addresses, moody: Option<SocketAddr>, rate: u32) {
        self.say("Outrigger demo: two upstreams behind one proxy, every policy at its default.\n");
        let listeners = at.listeners.iter().map(|(name, address)| {
            let what = if &**name == MOODY {
                "does what you tell it"
            } else {
                "always answers in 5 to 15 ms"
            };
            format!("  {name:<13} http://{address}   {what}; {rate} calls/s through the proxy")
        });
        let status = at
            .admin
            .as_ref()
            .map(|a| format!("  {:<13} http://{a}/", "status page"));
        let metrics = at
            .metrics
            .as_ref()
            .map(|m| format!("  {:<13} http://{m}/metrics", "metrics"));
        let lines: Vec<String> = listeners.chain(status).chain(metrics).collect();
        self.say(&lines.join("\n"));
        self.help();
        if let Some(moody) = moody {
            let say = format!("  or elsewhere:   curl -X POST http://{moody}/mode/hang");
            self.say(&say);
        }
        let of_moody = at.listeners.iter().find(|(name, _)| &**name == MOODY);
        if let Some((_, address)) = of_moody {
            self.say(&format!("  be a caller:    curl -i http://{address}/"));
        }
        self.say("");
    }

    /// Says what may be typed.
    pub(super) fn help(&mut self) {
        self.say(
            "\nType a word and Enter to change the moody upstream's ways:\n  \
             ok  slow (3 s per call)  fail (500)  hang (30 s per call)     also: help  quit",
        );
    }

    /// Tells of a change of mood.
    pub(super) fn mood(&mut self, since: Since) {
        self.changed = Some(since);
        let time = since.at.saturating_duration_since(self.start);
        let text = self.style.mood(time, MOODY, since.mood);
        self.say(&text);
    }

    /// Looks for transitions and tells of them.
    pub(super) fn look(&mut self, status: &[UpstreamView]) {
        let now = time::now();
        let changed = self.changed.map(|since| {
            let after = now.saturating_duration_since(since.at);
            (after, since.mood)
        });
        let mut lines = Vec::new();
        for side in &mut self.sides {
            let Some(view) = breaker(status, &side.name) else {
                continue;
            };
            if view.transitions == side.transitions {
                continue;
            }
            let after = changed.filter(|_| &*side.name == MOODY);
            for transition in since(side.state, view) {
                let time = now.saturating_duration_since(self.start);
                lines.push(self.style.transition(time, &side.name, &transition, after));
                // Going to and fro between open and half-open is no news.
                let end = matches!(transition.to, State::Closed)
                    || matches!(transition.from, State::Closed);
                if let (true, Some((after, mood)), true) = (end, after, side.told.len() < TOLD) {
                    side.told.push(format!(
                        "{}: breaker {} after {} ({})",
                        mood.as_str(),
                        transition.to.as_str(),
                        brief(after),
                        transition.cause.as_str()
                    ));
                }
            }
            side.transitions = view.transitions;
            side.state = view.state;
        }
        for line in lines {
            self.say(&line);
        }
    }

    /// Prints the pair of lines of one second.
    pub(super) fn second(&mut self, status: &[UpstreamView]) {
        let now = time::now();
        if self.pairs.is_multiple_of(PAGE) {
            let heading = self.style.heading();
            self.say(&heading);
        }
        self.pairs += 1;
        let mut time = Some(now.saturating_duration_since(self.start));
        let mut lines = Vec::new();
        for side in &self.sides {
            let upstream = status.iter().find(|view| view.name == side.name);
            let mood = (&*side.name == MOODY).then(|| self.switch.since().mood);
            let mut meter = side.load.meter();
            lines.push(self.style.line(&Line {
                time: time.take(),
                upstream: &side.name,
                mood,
                tally: meter.take(),
                recent: meter.recent(now),
                breaker: breaker(status, &side.name),
                in_flight: upstream.map_or(0, |view| view.in_flight),
            }));
        }
        self.say(&lines.join("\n"));
    }

    /// Prints what has happened in the whole run.
    pub(super) fn summary(&mut self) {
        let run = time::now().saturating_duration_since(self.start);
        let mut lines = vec![format!("\nAfter {}:", brief(run))];
        for side in &self.sides {
            let meter = side.load.meter();
            let total = meter.total();
            let mut line = format!(
                "  {:<8} {} calls: {} ok, {} failed, {} local 503",
                side.name, total.begun, total.ok, total.failed, total.local
            );
            if let Some(latency) = percentiles(meter.refused()) {
                line.push_str(&format!(" (by the open breaker: {latency})"));
            }
            if total.skipped > 0 {
                line.push_str(&format!(", {} left out", total.skipped));
            }
            lines.push(line);
            for (histogram, when) in [
                (meter.ok_in_peace(), "well"),
                (meter.ok_in_trouble(), "not well"),
            ] {
                if let Some(latency) = percentiles(histogram) {
                    lines.push(format!("{:11}ok, while moody was {when}: {latency}", ""));
                }
            }
            lines.extend(side.told.iter().map(|told| format!("{:11}{told}", "")));
        }
        self.say(&lines.join("\n"));
    }
}

fn percentiles(histogram: &Histogram) -> Option<String> {
    let p50 = brief(histogram.percentile(50)?);
    let p99 = brief(histogram.percentile(99)?);
    Some(format!("p50 {p50}, p99 {p99}"))
}

/// The upstream's own breaker.
fn breaker<'a>(status: &'a [UpstreamView], name: &str) -> Option<&'a View> {
    let upstream = status.iter().find(|view| &*view.name == name)?;
    upstream.breakers.first().map(|breaker| &breaker.view)
}

/// The transitions between the state seen last and `view`. Of several only the last is known; a
/// half-open period that was over at once is added, as it can only have begun in one way.
fn since(seen: State, view: &View) -> impl Iterator<Item = Transition> {
    let last = view.last.clone();
    let missed = last
        .as_ref()
        .filter(|last| seen == State::Open && last.from == State::HalfOpen)
        .map(|last| Transition {
            from: seen,
            to: last.from,
            cause: Cause::WaitOver,
            counts: last.counts,
            open_wait: None,
        });
    missed.into_iter().chain(last)
}
