//! An explanation for programs: the facts of [`super::text`] as one JSON object.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::arithmetic::{Fact, millis};
use super::policies::{self, Policy};
use super::timeline::{Timeline, What};
use super::{Explanation, Lost, Request, text};

/// Writes all answers.
pub fn write(request: &Request, explanations: &[Explanation<'_>]) -> String {
    let explanations: Vec<_> = explanations.iter().map(one).collect();
    rendered(request, "explanations", explanations.into())
}

/// Says why there is no answer.
pub fn write_lost(request: &Request, lost: &Lost) -> String {
    let problem = match lost {
        Lost::Unclear(what) => json!({ "problem": what }),
        Lost::NoListener { what, nearest } => json!({ "problem": what, "listeners": nearest }),
        Lost::NoRoute(missed) => {
            let missed: Vec<_> = missed
                .iter()
                .map(|miss| {
                    json!({
                        "listener": miss.listener,
                        "route": miss.route,
                        "because": miss.because,
                    })
                })
                .collect();
            json!({ "problem": "no route matches", "routes": missed })
        }
    };
    rendered(request, "not_found", problem)
}

fn rendered(request: &Request, key: &str, value: Value) -> String {
    let request = json!({
        "method": request.method.as_str(),
        "host": request.host(),
        "path": request.path,
    });
    let mut object = Map::new();
    object.insert("request".to_owned(), request);
    object.insert(key.to_owned(), value);
    format!("{:#}\n", Value::Object(object))
}

fn one(explanation: &Explanation<'_>) -> Value {
    let upstream = explanation.way.upstream;
    let policies: Vec<_> = explanation.policies.iter().map(policy).collect();
    let facts: Vec<_> = explanation.facts.iter().map(fact).collect();
    let lints: Vec<_> = explanation
        .lints
        .iter()
        .map(|lint| json!({ "id": lint.id, "message": lint.message, "help": lint.help }))
        .collect();
    json!({
        "listener": {
            "name": &*explanation.listener.name,
            "address": explanation.listener.address.to_string(),
        },
        "route": &*explanation.route.name,
        "upstream": &*upstream.name,
        "protocol": policies::protocols::spoken(&explanation.way),
        "endpoints": text::endpoints(explanation),
        "host": policies::host(upstream),
        "policies": policies,
        "timeline": timeline(&explanation.timeline),
        "facts": facts,
        "lints": lints,
    })
}

fn policy(policy: &Policy) -> Value {
    let settings: Map<_, _> = policy
        .settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str())))
        .collect();
    json!({
        "name": policy.name,
        "mode": policy.mode.map(policies::mode_word),
        "settings": settings,
        "note": policy.note,
    })
}

fn timeline(timeline: &Timeline) -> Value {
    let time = |at: Option<Duration>| at.map(millis);
    let segments: Vec<_> = timeline
        .segments
        .iter()
        .map(|segment| {
            let deadline = timeline.deadline;
            let starts = deadline.is_none_or(|at| segment.start < at);
            let to = match &segment.what {
                What::Failover(name) => Value::from(&**name),
                _ => Value::Null,
            };
            json!({
                "what": segment.what.as_str(),
                "attempt": segment.what.attempt(),
                "to": to,
                "start_ms": millis(segment.start),
                "end_ms": time(segment.end),
                "starts": starts,
                "cut": starts && deadline.is_some_and(|at| segment.end.is_none_or(|end| end > at)),
            })
        })
        .collect();
    json!({
        "segments": segments,
        "deadline_ms": time(timeline.deadline),
        "without_deadline_ms": time(timeline.without_deadline),
        "head_ms": time(timeline.head()),
    })
}

fn fact(fact: &Fact) -> Value {
    let numbers: Map<_, _> = fact
        .numbers
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(*value)))
        .collect();
    json!({ "id": fact.id, "text": fact.text, "numbers": numbers })
}
