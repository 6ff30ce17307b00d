//! A request that is tried again, hedged, delayed, spoilt or handed over is cut off at every step of
//! its way, and nothing of it remains: no slot, permit, place, token or withdrawal.

use std::time::Duration;

use crate::caller::post;
use crate::cut::{Scenario, other, others_are_slow};
use crate::upstream::{Arrived, Reach, Step, Upstream, dripping, ms, ok, ok_after, send};
use crate::world::World;

/// A budget of which nothing expires while a scenario runs: 60 in reserve.
const BUDGET: &str = "budget = { ratio = 0.2, min_per_second = 1, window = \"60s\" }\n";

fn settings(retry: &str, rest: &str) -> &'static str {
    format!("[upstreams.u.retry]\nmode = \"enforce\"\n{BUDGET}{retry}\n{rest}").leak()
}

fn budget_is_whole(world: &World) {
    world.check_budget(60_000, 200);
}

fn failing(arrived: &Arrived) -> Vec<Step> {
    match arrived.path() {
        "/subject" => vec![
            Step::Body,
            Step::Sleep(ms(10)),
            send("HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbu"),
            Step::Sleep(ms(10)),
            send("sy"),
        ],
        _ => ok(),
    }
}

/// Fails the first `times` requests.
fn failing_first(times: usize) -> Upstream {
    let mut seen = 0;
    Upstream::new(move |arrived| {
        seen += 1;
        if seen <= times {
            failing(arrived)
        } else {
            ok_after(ms(10))
        }
    })
}

#[test]
fn between_attempts_that_all_fail() {
    let scenario = Scenario {
        settings: settings("retries = 3", ""),
        script: || Upstream::new(failing),
        status: 503,
        afterwards: budget_is_whole,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn between_attempts_of_which_the_last_is_good() {
    let scenario = Scenario {
        settings: settings(
            "retries = 2\nbackoff = { base = \"40ms\", jitter = \"none\" }",
            "",
        ),
        script: || failing_first(2),
        afterwards: budget_is_whole,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn between_attempts_that_do_not_connect() {
    let scenario = Scenario {
        settings: settings("retries = 2", ""),
        script: || Upstream::new(|_| ok()).reached(|| Reach::Refused(ms(10))),
        status: 502,
        afterwards: budget_is_whole,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn while_an_upload_is_sent_again() {
    let scenario = Scenario {
        // Nobody reads an upload during the wait, or sees that its caller has left: a short one.
        settings: settings(
            "retries = 2\nnon_idempotent = true\nbackoff = { base = \"1ms\", jitter = \"none\" }",
            "",
        ),
        script: || {
            let mut seen = 0;
            Upstream::new(move |_| {
                seen += 1;
                match seen {
                    // It answers in the middle of the upload, and goes.
                    1 => vec![
                        Step::Sleep(ms(10)),
                        send("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"),
                        Step::Hang,
                    ],
                    2 => vec![Step::Sleep(ms(70)), Step::Close],
                    _ => ok_after(ms(10)),
                }
            })
        },
        request: vec![
            (Duration::ZERO, post("/subject", 10)),
            (ms(50), "01234".to_owned()),
            (ms(200), "56789".to_owned()),
        ],
        within: ms(3),
        afterwards: budget_is_whole,
        ..Scenario::default()
    };
    scenario.check();
}

const HEDGE: &str = "[upstreams.u.hedge]\ndelay = \"30ms\"\nmax_hedges = 2\nsame_endpoint = true";

#[test]
fn beside_a_hedge_that_wins() {
    let scenario = Scenario {
        settings: settings("", HEDGE),
        script: || {
            let mut seen = 0;
            Upstream::new(move |_| {
                seen += 1;
                match seen {
                    1 => ok_after(ms(500)),
                    _ => dripping(3, ms(10)),
                }
            })
        },
        afterwards: budget_is_whole,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn beside_hedges_that_lose() {
    let scenario = Scenario {
        settings: settings("", HEDGE),
        script: || {
            let mut seen = 0;
            Upstream::new(move |_| {
                seen += 1;
                match seen {
                    1 => ok_after(ms(80)),
                    _ => ok_after(ms(500)),
                }
            })
        },
        afterwards: budget_is_whole,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn beside_hedges_that_all_fail() {
    let scenario = Scenario {
        settings: settings("", HEDGE),
        script: || Upstream::new(failing),
        status: 503,
        afterwards: budget_is_whole,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn waiting_for_a_token() {
    let scenario = Scenario {
        settings: "[upstreams.u.rate_limit]\nrate = 10\nburst = 1\nmax_wait = \"1s\"",
        script: others_are_slow,
        before: |world, others| (0..3).for_each(|_| other(world, others)),
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn in_the_queue_of_a_class() {
    let scenario = Scenario {
        settings: "[upstreams.u.bulkhead]\nmax_requests = 2\nqueue_timeout = \"500ms\"\n\
                   [upstreams.u.priority]\nclasses = { live = { share = 0.5 }, batch = { share = 0.5 } }",
        script: others_are_slow,
        before: |world, others| (0..5).for_each(|_| other(world, others)),
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn on_the_way_to_a_failover() {
    let scenario = Scenario {
        settings: "failover = \"v\"\nretry = { mode = \"enforce\", retries = 1 }\n\
                   [upstreams.v]\nendpoints = [\"http://192.0.2.9:80\"]",
        script: || {
            let mut seen = 0;
            Upstream::new(move |_| {
                seen += 1;
                match seen {
                    1 | 2 => vec![Step::Body, Step::Sleep(ms(10)), Step::Close],
                    _ => dripping(3, ms(10)),
                }
            })
        },
        ..Scenario::default()
    };
    scenario.check();
}

const SPOILT: &str = "[[upstreams.u.faults]]\nuntil = \"9999-12-31T23:59:59Z\"\n";

fn spoilt(fault: &str) -> &'static str {
    format!("{SPOILT}{fault}").leak()
}

#[test]
fn during_an_injected_delay() {
    let scenario = Scenario {
        settings: spoilt("action = \"delay\"\ndelay = \"50ms\""),
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn during_an_injected_slow_body() {
    let scenario = Scenario {
        settings: spoilt("action = \"slow-body\"\nrate = \"20B\""),
        script: || Upstream::new(|_| dripping(5, ms(1))),
        ..Scenario::default()
    };
    scenario.check();
}
