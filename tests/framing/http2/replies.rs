//! The answers of HTTP/1 upstreams once more, to a caller that speaks HTTP/2: none of what framed
//! them goes on, and what broke off there breaks off here.

use std::net::SocketAddr;

use super::{Fields, Got, answered, exchange, lawful};
use crate::case::{Answer, Body, Outcome, Reply, plain};
use crate::h2raw::{self, End, Frame};
use crate::responses::{bodies, fields, framing, interim, status};
use crate::run::{self, Checked, Seen};
use crate::upstreams::Event;

const CASE: Fields = &[
    (b":scheme", b"http"),
    (b":path", b"/case"),
    (b":authority", b"case"),
    (b"te", b"trailers"),
];

#[track_caller]
fn replies(replies: &'static [Reply]) {
    let upstreams = replies.iter().map(run::answering).collect();
    let seen = run::run(upstreams, "", |index, address| {
        ask(address, replies[index].method)
    });
    let mut wrong = String::new();
    for (reply, seen) in replies.iter().zip(&seen) {
        let check = |expect: &Outcome| check(expect, reply.method, seen);
        let found = match &reply.failure {
            None => check(&reply.expect),
            Some(failure) => {
                let instead = failure.instead.iter().try_for_each(&check);
                run::still_fails(check(&reply.expect), instead, failure.why)
            }
        };
        let got = format!("{:?}, then {:?}", seen.got.case, seen.got.next);
        run::note(&mut wrong, reply.name, found, seen, got);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Asks for `/case` and then for `/next`.
pub(super) fn ask(address: SocketAddr, method: &str) -> Got {
    let method: (&[u8], &[u8]) = (b":method", method.as_bytes());
    let fields = [&[method], CASE].concat();
    exchange(address, &[Frame::headers(1, &fields, true)])
}

pub(super) fn check(expect: &Outcome, method: &'static str, seen: &Seen<Got>) -> Checked {
    let Got { case, next } = &seen.got;
    let events: Vec<&Event> = seen.events.iter().collect();
    let mut events = events.into_iter();
    run::arrived(events.next(), &plain(method, "/case"))?;
    match expect {
        Outcome::Refuse(status) => {
            if case.status() != *status || case.end != End::Whole {
                return Err(format!("not refused with {status}"));
            }
        }
        Outcome::Pass(answer) => passed(case, answer)?,
        Outcome::Abort(status) => {
            if case.status() != *status || !matches!(case.end, End::Reset(_)) {
                return Err("no abort".to_owned());
            }
        }
    }
    lawful(case)?;
    let Some(next) = next else {
        return Err("the connection ended".to_owned());
    };
    answered(next, &plain("GET", "/next"))?;
    run::arrived(events.next(), &plain("GET", "/next"))?;
    run::nothing_more(events.as_slice(), seen)
}

fn passed(case: &h2raw::Message, answer: &Answer) -> Checked {
    let body = match answer.body {
        Body::None => b"",
        Body::Length(body) | Body::Chunked(body) => body,
    };
    if case.status() != answer.status || case.end != End::Whole || case.data != body {
        return Err("another answer".to_owned());
    }
    for (name, value) in answer.has {
        if case.all(name) != [*value] {
            return Err(format!("{name} is {:?}", case.all(name)));
        }
    }
    let is_there = |name: &&&str| !case.all(name).is_empty();
    if let Some(name) = answer.lacks.iter().find(is_there) {
        return Err(format!("{name} went on"));
    }
    let field =
        |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let trailers: Vec<h2raw::Field> = answer.trailers.iter().map(field).collect();
    if case.trailers != trailers {
        return Err("other trailers".to_owned());
    }
    Ok(())
}

#[test]
fn of_every_framing() {
    replies(framing::REPLIES);
}

#[test]
fn with_every_body() {
    replies(bodies::REPLIES);
}

#[test]
fn with_odd_fields() {
    replies(fields::REPLIES);
}

#[test]
fn after_interim_answers() {
    replies(interim::REPLIES);
}

#[test]
fn with_odd_status_lines() {
    replies(status::REPLIES);
}
