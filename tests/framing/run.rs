//! Runs a family of cases: one daemon, and for each case an upstream of its own, so that whatever
//! leaves the proxy there belongs to it.

use std::fmt::{Display, Write as _};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::case::{After, Answer, Body, Case, Expect, Message, NEXT, Outcome, Reply, Unfit, plain};
use crate::strict::{self, Framing, Parsed, Read};
use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::upstreams::{Event, Upstream, saw};

/// Everything that was seen of one case.
pub(crate) struct Seen<T = Vec<u8>> {
    /// What the caller got.
    pub(crate) got: T,
    /// What a caller got that came afterwards, on a connection of its own.
    probe: Vec<u8>,
    /// What the upstream got.
    pub(crate) events: Vec<Event>,
}

const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";

pub(crate) type Checked = Result<(), String>;

/// Runs the cases of a family in the direction of the request.
#[track_caller]
pub(crate) fn requests(cases: &[Case]) {
    requests_to("", &[], cases);
}

/// As [`requests`], to upstreams with these further lines in their section.
#[track_caller]
pub(crate) fn requests_to(section: &str, unfit: Unfit, cases: &[Case]) {
    let upstreams = cases.iter().map(|_| Upstream::recording()).collect();
    let seen = run(upstreams, section, |index, address| {
        let case = &cases[index];
        match case.after {
            After::Next => exchange(address, &[case.bytes, NEXT].concat(), false),
            After::Finish => exchange(address, case.bytes, true),
        }
    });
    let mut wrong = String::new();
    for (case, seen) in cases.iter().zip(&seen) {
        let check = |expect: &[Expect]| check_request(expect, case.after, seen);
        let found = match &case.failure {
            None => check(case.expect),
            Some(failure) => still_fails(check(case.expect), check(failure.instead), failure.why),
        };
        let found = fits(case.name, found, unfit);
        note(&mut wrong, case.name, found, seen, seen.got.escape_ascii());
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What was found of a case, or the reverse where it is unfit.
pub(crate) fn fits(name: &str, found: Checked, unfit: Unfit) -> Checked {
    match unfit.iter().find(|unfit| unfit.0 == name) {
        None => found,
        Some((_, why)) => match found {
            Ok(()) => Err(format!("passes now, and needs no excuse any more: {why}")),
            Err(_) => Ok(()),
        },
    }
}

/// Runs the cases of a family in the direction of the response.
#[track_caller]
pub(crate) fn responses(replies: &'static [Reply]) {
    let upstreams = replies.iter().map(answering).collect();
    let seen = run(upstreams, "", |index, address| {
        ask(address, replies[index].method)
    });
    let mut wrong = String::new();
    for (reply, seen) in replies.iter().zip(&seen) {
        let check = |expect: &Outcome| check_response(expect, reply.method, seen);
        let found = match &reply.failure {
            None => check(&reply.expect),
            Some(failure) => {
                let instead = failure.instead.iter().try_for_each(&check);
                still_fails(check(&reply.expect), instead, failure.why)
            }
        };
        note(&mut wrong, reply.name, found, seen, seen.got.escape_ascii());
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Asks for `/case` and, behind it, for `/next`.
pub(crate) fn ask(address: SocketAddr, method: &str) -> Vec<u8> {
    let head = format!("{method} /case HTTP/1.1\r\nhost: case\r\nte: trailers\r\n\r\n");
    exchange(address, &[head.as_bytes(), NEXT].concat(), false)
}

/// An upstream that gives this answer to what comes first.
pub(crate) fn answering(reply: &'static Reply) -> Upstream {
    Upstream::scripted(|request| match request.start[1].as_str() {
        "/case" => (reply.bytes.to_vec(), reply.closes),
        _ => (saw(request), false),
    })
}

/// Nothing is right about an expected failure but that it fails as it is said to.
pub(crate) fn still_fails(right: Checked, instead: Checked, why: &str) -> Checked {
    match right {
        Ok(()) => Err(format!("passes now, and needs no excuse any more: {why}")),
        Err(_) => instead.map_err(|found| format!("fails otherwise than expected: {found}")),
    }
}

pub(crate) fn note<T>(
    wrong: &mut String,
    name: &str,
    found: Checked,
    seen: &Seen<T>,
    got: impl Display,
) {
    if let Err(why) = found {
        let _ = writeln!(wrong, "\n{name}: {why}\n  the caller got {got}");
        for event in &seen.events {
            let _ = writeln!(wrong, "  the upstream got {event:?}");
        }
    }
}

/// Runs one case for each of these upstreams, and gathers what was seen on either side.
pub(crate) fn run<T>(
    upstreams: Vec<Upstream>,
    more: &str,
    each: impl Fn(usize, SocketAddr) -> T,
) -> Vec<Seen<T>> {
    let mut config = String::new();
    for (index, upstream) in upstreams.iter().enumerate() {
        let url = upstream.url();
        let _ = write!(
            config,
            "[upstreams.case{index}]\nlisten = \"127.0.0.1:0\"\nendpoints = [{url:?}]\n\
             host = \"preserve\"\n{more}\n"
        );
    }
    let daemon = Daemon::start(&config);
    let callers: Vec<_> = (0..upstreams.len())
        .map(|index| {
            let address = daemon.address(&format!("case{index}"));
            (each(index, address), exchange(address, PROBE, false))
        })
        .collect();
    drop(daemon);
    let events = upstreams.into_iter().map(Upstream::finish);
    let seen = callers.into_iter().zip(events);
    seen.map(|((got, probe), events)| Seen { got, probe, events })
        .collect()
}

/// Writes these bytes on a connection of its own, and reads until the proxy ends it.
fn exchange(address: SocketAddr, bytes: &[u8], finish: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the proxy accepts");
    let patience = stream.set_read_timeout(Some(PATIENCE));
    patience.expect("the option is supported");
    // A proxy that has seen enough reads no more: that is no error.
    drop(stream.write_all(bytes));
    if finish {
        drop(stream.shutdown(Shutdown::Write));
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            answer.extend_from_slice(b"(and no end)");
        }
        _ => {}
    }
    answer
}

/// Takes one response off what the caller got, with its interim ones before it.
fn take(bytes: &mut &[u8], method: &str) -> Result<(Vec<u16>, Box<Parsed>), String> {
    let mut interim = Vec::new();
    loop {
        match strict::response(bytes, method)? {
            Read::Whole(response, length) => {
                *bytes = &bytes[length..];
                match status(&response) {
                    status @ 100..200 if status != 101 => interim.push(status),
                    _ => return Ok((interim, response)),
                }
            }
            Read::Part { head: Some(head) } => return Err(format!("cut off: {head:?}")),
            Read::Part { head: None } if bytes.is_empty() => return Err("no answer".to_owned()),
            Read::Part { head: None } => return Err("half a head".to_owned()),
        }
    }
}

fn status(response: &Parsed) -> u16 {
    response.start[1].parse().unwrap_or_default()
}

/// That the answer is that to this request.
pub(crate) fn belongs(response: &Parsed, method: &str, target: &str) -> Checked {
    let wanted = format!("{method} {target}");
    if response.all("x-saw") == [&wanted] {
        Ok(())
    } else {
        Err(format!(
            "an answer to something else than {wanted}: {response:?}"
        ))
    }
}

fn check_request(expect: &[Expect], after: After, seen: &Seen) -> Checked {
    let mut bytes = &seen.got[..];
    // What broke off may be noticed after what came later on another connection.
    let breaks = |expect: &Expect| matches!(expect, Expect::Broken(_));
    let parts = |event: &&Event| !matches!(event, Event::Part(_)) || !expect.iter().any(breaks);
    let events: Vec<&Event> = seen.events.iter().filter(parts).collect();
    let mut events = events.into_iter();
    let mut open = true;
    for expect in expect {
        match expect {
            Expect::Reject(wanted) => {
                refused(&mut bytes, "GET", *wanted)?;
                open = false;
            }
            Expect::Forward(message) | Expect::Continue(message) | Expect::Last(message) => {
                let (interim, response) = take(&mut bytes, message.method)?;
                belongs(&response, message.method, message.target)?;
                let told = interim == [100] && matches!(expect, Expect::Continue(_));
                if !told && !interim.is_empty() {
                    return Err(format!("interim responses {interim:?}"));
                }
                arrived(events.next(), message)?;
                open = !matches!(expect, Expect::Last(_));
            }
            Expect::Broken(wanted) => {
                if !bytes.is_empty() {
                    refused(&mut bytes, "GET", *wanted)?;
                }
                open = false;
            }
            Expect::Close => open = false,
        }
    }
    if open && after == After::Next {
        let (_, response) = take(&mut bytes, "GET")?;
        belongs(&response, "GET", "/next")?;
        arrived(events.next(), &plain("GET", "/next"))?;
    }
    if !bytes.is_empty() {
        return Err(format!("and then {:?}", String::from_utf8_lossy(bytes)));
    }
    nothing_more(events.as_slice(), seen)
}

/// The answer is a local reply of this status that ends the connection.
fn refused(bytes: &mut &[u8], method: &str, wanted: u16) -> Checked {
    let (_, response) = take(bytes, method)?;
    if status(&response) != wanted || !response.all("x-saw").is_empty() {
        return Err(format!("not refused with {wanted}: {response:?}"));
    }
    Ok(())
}

/// That the upstream got no more than it should, and that a caller who comes later gets its own.
pub(crate) fn nothing_more<T>(events: &[&Event], seen: &Seen<T>) -> Checked {
    let (_, response) = take(&mut &seen.probe[..], "GET").map_err(|why| format!("probe: {why}"))?;
    belongs(&response, "GET", "/probe")?;
    match events {
        [probe] => arrived(Some(probe), &plain("GET", "/probe")),
        _ => Err(format!("{} more messages left than came in", events.len())),
    }
}

/// That what left is what was understood.
pub(crate) fn arrived(event: Option<&Event>, message: &Message) -> Checked {
    let Some(Event::Whole(request)) = event else {
        return Err(format!("not a whole request: {event:?}"));
    };
    let [method, target, _] = &request.start;
    if method != message.method || target != message.target {
        return Err(format!("{method} {target} left"));
    }
    body_is(request, &message.body)?;
    fields_are(request, message.has, message.lacks)
}

fn body_is(parsed: &Parsed, body: &Body) -> Checked {
    let (framing, bytes) = match *body {
        Body::None => (Framing::None, &b""[..]),
        Body::Length(bytes) => (Framing::Length, bytes),
        Body::Chunked(bytes) => (Framing::Chunked, bytes),
    };
    // In HTTP/2, a body of nothing may be none.
    let is_none = parsed.start[2] == "HTTP/2" && bytes.is_empty() && framing == Framing::Chunked;
    let same = parsed.framing == framing || (is_none && parsed.framing == Framing::None);
    if !same || parsed.body != bytes {
        return Err(format!("another body than {body:?} left"));
    }
    Ok(())
}

/// Fields of one hop, which never go on.
const HOP: [&str; 3] = ["keep-alive", "proxy-connection", "upgrade"];

fn fields_are(parsed: &Parsed, has: &[(&str, &str)], lacks: &[&str]) -> Checked {
    for (name, value) in has {
        if parsed.all(name) != [*value] {
            return Err(format!("{name} is {:?}", parsed.all(name)));
        }
    }
    // Ours, where the caller takes trailers.
    if !matches!(parsed.all("te").as_slice(), [] | ["trailers"]) {
        return Err(format!("te is {:?}", parsed.all("te")));
    }
    let named = |name: &&str| has.iter().any(|field| field.0 == *name);
    let hop = HOP.iter().filter(|name| !named(name));
    match lacks
        .iter()
        .chain(hop)
        .find(|name| !parsed.all(name).is_empty())
    {
        Some(name) => Err(format!("{name} went on")),
        None => Ok(()),
    }
}

pub(crate) fn check_response(expect: &Outcome, method: &'static str, seen: &Seen) -> Checked {
    let mut bytes = &seen.got[..];
    let events: Vec<&Event> = seen.events.iter().collect();
    let mut events = events.into_iter();
    arrived(events.next(), &plain(method, "/case"))?;
    let open = match expect {
        Outcome::Refuse(wanted) => {
            refused(&mut bytes, method, *wanted)?;
            true
        }
        Outcome::Pass(answer) => {
            passed(&mut bytes, method, answer)?;
            true
        }
        Outcome::Abort(wanted) => {
            aborted(&mut bytes, method, *wanted)?;
            false
        }
    };
    if open {
        let (_, response) = take(&mut bytes, "GET")?;
        belongs(&response, "GET", "/next")?;
        arrived(events.next(), &plain("GET", "/next"))?;
    }
    if !bytes.is_empty() {
        return Err(format!("and then {:?}", String::from_utf8_lossy(bytes)));
    }
    nothing_more(events.as_slice(), seen)
}

fn passed(bytes: &mut &[u8], method: &str, answer: &Answer) -> Checked {
    // Interim answers are for whoever is nearer.
    let (_, response) = take(bytes, method)?;
    if status(&response) != answer.status {
        return Err(format!("{response:?}"));
    }
    body_is(&response, &answer.body)?;
    fields_are(&response, answer.has, answer.lacks)?;
    let trailers = response.trailers.iter();
    let trailers: Vec<_> = trailers.map(|(name, value)| (&**name, &**value)).collect();
    if trailers != answer.trailers {
        return Err(format!("trailers {trailers:?}"));
    }
    Ok(())
}

/// A head of this status whose body has no end.
fn aborted(bytes: &mut &[u8], method: &str, wanted: u16) -> Checked {
    match strict::response(bytes, method)? {
        Read::Part { head: Some(head) } if status(&head) == wanted => {
            *bytes = b"";
            Ok(())
        }
        other => Err(format!("no abort: {other:?}")),
    }
}
