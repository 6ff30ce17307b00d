//! An explanation for people: at most 100 columns, no colours.

use std::fmt::Write as _;
use std::time::Duration;

use super::policies::{self, Policy};
use super::timeline::{Segment, Timeline, What};
use super::{Explanation, Lost, Request, time};
use crate::config::model::{EndpointAddress, Protocol};

/// Greatest length of a line.
const WIDTH: usize = 96;
/// Cells of a bar.
const CELLS: u32 = 40;

/// Writes all answers.
pub fn write(request: &Request, explanations: &[Explanation<'_>]) -> String {
    let mut out = String::new();
    if explanations.len() > 1 {
        let names: Vec<_> = explanations
            .iter()
            .map(|each| &*each.listener.name)
            .collect();
        let names = names.join(", ");
        let text = format!("More than one listener could take it ({names}); here is each.");
        wrapped(&mut out, "", &text);
        out.push('\n');
    }
    for (index, explanation) in explanations.iter().enumerate() {
        if index > 0 {
            out.push_str("\n----\n\n");
        }
        one(&mut out, request, explanation);
    }
    out
}

/// Says why there is no answer.
pub fn write_lost(request: &Request, lost: &Lost) -> String {
    let mut out = String::new();
    match lost {
        Lost::Unclear(what) => line(&mut out, what),
        Lost::NoListener { what, nearest } => {
            line(
                &mut out,
                &format!("{} takes no route: {what}.", asked(request)),
            );
            for listener in nearest {
                line(&mut out, &format!("  {listener}"));
            }
        }
        Lost::NoRoute(missed) => {
            let text = "no route matches. Its reply is 404 `no_route`. Nearest first:";
            line(&mut out, &format!("{}: {text}", asked(request)));
            for miss in missed {
                let head = format!("  {}/{}  ", miss.listener, miss.route);
                wrapped(&mut out, &head, &miss.because.join("; "));
            }
        }
    }
    out
}

fn asked(request: &Request) -> String {
    let host = match request.host() {
        "" => String::new(),
        host => format!(" with host {host}"),
    };
    format!("{} {}{host}", request.method, request.path)
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn one(out: &mut String, request: &Request, explanation: &Explanation<'_>) {
    let Explanation {
        listener,
        route,
        way,
        ..
    } = explanation;
    line(out, &asked(request));
    out.push('\n');
    let spoken = match (listener.protocol, &listener.tls) {
        (Protocol::Auto | Protocol::Tcp, None) => "",
        (Protocol::Auto | Protocol::Tcp, Some(_)) => ", over TLS",
        (Protocol::Http1, None) => ", HTTP/1.1 alone",
        (Protocol::Http1, Some(_)) => ", HTTP/1.1 alone, over TLS",
        (Protocol::Http2, None) => ", HTTP/2 alone",
        (Protocol::Http2, Some(_)) => ", HTTP/2 alone, over TLS",
    };
    wrapped(
        out,
        "listener   ",
        &format!("{} at {}{spoken}", listener.name, listener.address),
    );
    let mut conditions = Vec::new();
    conditions.extend(route.host.as_ref().map(|host| format!("host {host}")));
    conditions.extend(
        route
            .path_prefix
            .as_ref()
            .map(|path| format!("path {path}")),
    );
    if !route.methods.is_empty() {
        conditions.push(format!("methods {}", route.methods.join(", ")));
    }
    let conditions = if conditions.is_empty() {
        "takes everything".to_owned()
    } else {
        conditions.join("; ")
    };
    wrapped(out, "route      ", &format!("{}: {conditions}", route.name));
    wrapped(out, "upstream   ", &way.upstream.name);
    wrapped(out, "protocol   ", &policies::protocols::spoken(way));
    if way.upstream.forward.is_none() {
        wrapped(out, "endpoints  ", &endpoints(explanation).join(", "));
    }
    wrapped(out, "host       ", policies::host(way.upstream));
    out.push_str("\nWhat applies\n");
    for policy in &explanation.policies {
        applies(out, policy);
    }
    out.push_str("\nWorst case, every wait at its longest\n");
    drawing(out, &explanation.timeline);
    out.push_str("\nWhat that means\n");
    for fact in &explanation.facts {
        wrapped(out, &format!("  {:<14} ", fact.id), &fact.text);
    }
    for lint in &explanation.lints {
        out.push('\n');
        line(out, &format!("warning[{}]", lint.id));
        wrapped(out, "  ", &lint.message);
        wrapped(out, "  = help: ", &lint.help);
    }
}

/// The endpoints as the configuration writes them.
pub(super) fn endpoints(explanation: &Explanation<'_>) -> Vec<String> {
    let endpoints = &explanation.way.upstream.endpoints;
    let name = |host: &str| {
        if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        }
    };
    endpoints
        .iter()
        .map(|endpoint| match &endpoint.address {
            EndpointAddress::Name { host, port } => {
                let scheme = match (explanation.way.upstream.protocol, endpoint.tls) {
                    (Protocol::Tcp, _) => "tcp",
                    (_, true) => "https",
                    (_, false) => "http",
                };
                format!("{scheme}://{}:{port}", name(host))
            }
            EndpointAddress::Unix(path) => format!("unix:{}", path.display()),
        })
        .collect()
}

fn applies(out: &mut String, policy: &Policy) {
    let mode = policy.mode.map_or("", policies::mode_word);
    let settings: Vec<_> = policy
        .settings
        .iter()
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    let mut text = settings.join(", ");
    if let Some(note) = &policy.note {
        let _ = write!(text, " ({note})");
    }
    wrapped(out, &format!("  {:<10} {mode:<8} ", policy.name), &text);
}

/// Writes `text` after `head`, in lines that begin below its first word.
fn wrapped(out: &mut String, head: &str, text: &str) {
    let indent = head.chars().count();
    let mut column = indent;
    out.push_str(head);
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

fn drawing(out: &mut String, timeline: &Timeline) {
    let longest = timeline.segments.iter().filter_map(|segment| segment.end);
    let whole = timeline.head().or_else(|| longest.max());
    let whole = whole.filter(|whole| !whole.is_zero());
    let whole = whole.unwrap_or(Duration::from_secs(1));
    line(out, &format!("  {:<24}{:>10}{:>10}", "", "from", "to"));
    for segment in &timeline.segments {
        row(out, segment, timeline.deadline, whole);
    }
    if let Some(deadline) = timeline.deadline {
        let from = time(deadline);
        let word = if timeline.is_cut() {
            "deadline: cuts it off"
        } else {
            "deadline: not reached"
        };
        line(out, &format!("  {word:<24}{from:>10}"));
    }
}

fn row(out: &mut String, segment: &Segment, deadline: Option<Duration>, whole: Duration) {
    let name = match &segment.what {
        What::RateLimit => "rate limit".to_owned(),
        What::Queue => "queue".to_owned(),
        What::Connection => "wait for a connection".to_owned(),
        What::Attempt(n) => format!("attempt {n}"),
        What::Connect => "  connect".to_owned(),
        What::Slow => "  slow_call".to_owned(),
        What::BackOff => "back-off, up to".to_owned(),
        What::Hedge(n) => format!("attempt {n}, a hedge"),
        What::Failover(name) => format!("failover to {name}"),
    };
    let from = time(segment.start);
    if deadline.is_some_and(|at| segment.start >= at) {
        line(
            out,
            &format!("  {name:<24}{from:>10}{:>10}   never starts", ""),
        );
        return;
    }
    let to = match (&segment.what, segment.end) {
        (What::Slow, _) => String::new(),
        (_, None) => "no limit".to_owned(),
        (_, Some(end)) => time(deadline.map_or(end, |at| at.min(end))),
    };
    let cell = |at: Duration| {
        let share = at.as_secs_f64() / whole.as_secs_f64();
        (0..CELLS)
            .take_while(|cell| f64::from(*cell) + 0.5 < share * f64::from(CELLS))
            .count()
    };
    let width = CELLS as usize;
    let first = cell(segment.start).min(width - 1);
    let last = segment.end.map_or(width, cell).max(first + 1);
    let mark = match segment.what {
        What::Attempt(_) | What::Hedge(_) | What::Failover(_) => "#",
        What::Connect => "-",
        What::Slow => "!",
        _ => "=",
    };
    let bar = format!("{}{}", " ".repeat(first), mark.repeat(last - first));
    line(
        out,
        &format!("  {name:<24}{from:>10}{to:>10} |{bar:<width$}|"),
    );
}
