//! Random callers against a random upstream, and what must hold whatever they do.
//!
//! Everything is a function of a seed. `OUTRIGGER_SIM_SEEDS=N` runs that many of them, and
//! `OUTRIGGER_SIM_SEED=S` replays the one that a failure has named. All durations are even
//! milliseconds and the watcher looks at odd ones, when nothing can run: what it sees is settled.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use fastrand::Rng;
use outrigger::lifecycle::tasks;
use outrigger::time;

use crate::caller::{Caller, Got, get, post};
use crate::upstream::{Arrived, Reach, Step, Upstream, ms, send};
use crate::world::{World, simulate};

const SEEDS: u64 = 200;
const CALLERS: usize = 6;
const REQUESTS: usize = 5;

#[test]
fn whatever_happens() {
    let number = |name| Some(std::env::var(name).ok()?.parse().expect("a number"));
    let seeds = match number("OUTRIGGER_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("OUTRIGGER_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut outcomes = BTreeMap::new();
    for seed in seeds {
        let run = catch_unwind(AssertUnwindSafe(|| simulate(seed, run(seed))));
        match run {
            Ok(seen) => seen.into_iter().for_each(|outcome| {
                *outcomes.entry(outcome).or_insert(0_u32) += 1;
            }),
            Err(panic) => {
                println!("failed: replay it with OUTRIGGER_SIM_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    println!("{outcomes:#?}");
    assert_eq!(
        tasks::panics(),
        0,
        "a task of the proxy or of the simulation panicked"
    );
}

/// Small limits and short times, and one policy or the other beside the defaults.
fn settings(rng: &mut Rng) -> String {
    let max_connections = rng.usize(1..=4);
    let failover = ["", "failover = \"v\"\n"][rng.usize(..2)];
    let policies = policies(rng) + if failover.is_empty() { "" } else { FAILOVER };
    let half_close = rng.bool();
    format!(
        "{failover}{policies}[defaults.downstream]
half_close = {half_close}
[upstreams.u.bulkhead]
max_requests = {}
max_queued = {}
queue_timeout = \"50ms\"
max_connections = {max_connections}
max_idle = {}
idle_timeout = \"300ms\"
[defaults.timeouts]
connect = \"100ms\"
first_byte = \"200ms\"
request = \"400ms\"
stream_idle = \"150ms\"
total = \"{}\"
[upstreams.u.breaker]
window = {}
min_calls = 8
open_for = \"200ms\"
settle_after = \"300ms\"
",
        rng.usize(1..=4),
        rng.usize(0..=3),
        rng.usize(0..=max_connections),
        ["off", "600ms"][rng.usize(..2)],
        ["\"10s\"", "20"][rng.usize(..2)],
    )
}

const FAILOVER: &str = "[upstreams.v]\nendpoints = [\"http://192.0.2.9:80\"]\n";

/// Tables of policies, each there or not.
fn policies(rng: &mut Rng) -> String {
    let mode = |rng: &mut Rng| ["enforce", "observe"][rng.usize(..2)];
    let mut tables = String::new();
    match rng.u8(..4) {
        0 => tables += "[upstreams.u.retry]\nmode = \"off\"\n",
        1 => {
            let (delay, most) = (2 * rng.u64(1..40), rng.u8(1..=3));
            tables += &format!(
                "[upstreams.u.hedge]\nmode = \"{}\"\ndelay = \"{delay}ms\"\nmax_hedges = {most}\nsame_endpoint = true\n",
                mode(rng)
            );
        }
        _ => {
            let (retries, base) = (rng.u8(..4), 2 * rng.u64(1..30));
            tables += &format!(
                "[upstreams.u.retry]\nmode = \"{}\"\nretries = {retries}\non = [\"not-sent\", \"reset\", \"timeout\", \"500\", \"503\"]\nmax_body_buffer = \"{}B\"\nbackoff = {{ base = \"{base}ms\", max = \"60ms\", jitter = \"none\" }}\n",
                mode(rng),
                [0, 15, 65536][rng.usize(..3)],
            );
        }
    }
    if rng.u8(..4) == 0 {
        tables += &format!(
            "[upstreams.u.rate_limit]\nmode = \"{}\"\nrate = {}\nper = \"1s\"\nburst = {}\nmax_wait = \"{}ms\"\n",
            mode(rng),
            [5, 10, 20, 25, 50][rng.usize(..5)],
            rng.u8(1..5),
            2 * rng.u8(..100),
        );
    }
    if rng.u8(..4) == 0 {
        tables += &format!(
            "[upstreams.u.adaptive]\nmode = \"{}\"\ninitial = 2\nmin = 1\nmax = 4\nwindow = \"50ms\"\nmin_samples = 2\n",
            mode(rng)
        );
    }
    if rng.u8(..4) == 0 {
        tables += &format!(
            "[upstreams.u.priority]\nmode = \"{}\"\nheader = \"x-class\"\nclasses = {{ live = {{ share = 0.5 }}, batch = {{ share = 0.25 }} }}\n",
            mode(rng)
        );
    }
    if rng.u8(..6) == 0 {
        let action = [
            "action = \"delay\"\ndelay = \"40ms\"",
            "action = \"abort\"\nstatus = 503",
            "action = \"reset\"",
        ];
        tables += &format!(
            "[[upstreams.u.faults]]\n{}\nshare = 0.3\ncounted = {}\nuntil = \"9999-12-31T23:59:59Z\"\n",
            action[rng.usize(..3)],
            rng.bool(),
        );
    }
    tables
}

/// An even number of milliseconds below `below`.
fn pause(rng: &mut Rng, below: u64) -> Duration {
    ms(rng.u64(..below) / 2 * 2)
}

/// What the upstream makes of a request: mostly an answer that names the request, now and then
/// one of the things that upstreams do.
fn answer(rng: &mut Rng, arrived: &Arrived) -> Vec<Step> {
    let path = arrived.path();
    let times = if rng.u8(..4) == 0 { 2000 } else { 3 };
    let body = path.repeat(times);
    let head = |status: &str, framing: &str| {
        send(format!(
            "HTTP/1.1 {status}\r\nx-path: {path}\r\n{framing}\r\n\r\n"
        ))
    };
    let length = format!("content-length: {}", body.len());
    let close = format!("{length}\r\nconnection: close");
    let wait = Step::Sleep(pause(rng, 100));
    let whole = send(body.clone());
    let half = send(&body.as_bytes()[..body.len() / 2]);
    match rng.u8(..24) {
        0 => vec![Step::Body, head("500 Oops", &length), whole],
        1 => vec![Step::Body, head("404 Not Found", &length), whole],
        2 => vec![Step::Body, Step::Hang],
        3 => vec![Step::Hang],
        4 => vec![Step::Close],
        5 => vec![Step::Body, wait, Step::Close],
        6 => vec![
            Step::Body,
            send("HTTP/1.1 200 OK\r\ncontent-"),
            wait,
            Step::Close,
        ],
        7 => vec![Step::Body, head("200 OK", &length), half, wait, Step::Close],
        8 => vec![Step::Body, head("200 OK", &length), half, Step::Hang],
        9 => vec![Step::Body, send("what is this\r\n\r\n")],
        10 => vec![head("200 OK", &length), wait, whole],
        11 => vec![head("200 OK", &length), whole, Step::Close],
        12 => vec![Step::Body, head("200 OK", &close), whole, Step::Close],
        13 => vec![Step::Body, head("204 No Content", "x: y")],
        14 => vec![
            Step::Body,
            head("200 OK", "connection: close"),
            wait,
            whole,
            Step::Close,
        ],
        15 | 16 => {
            // Closes an idle connection, perhaps just when it is used again.
            let patience = Step::Sleep(pause(rng, 60));
            let turns = Step::Yield(rng.usize(..6));
            let steps = [Step::Body, head("200 OK", &length), whole];
            let mut steps = steps.to_vec();
            steps.extend([Step::Done, patience, turns, Step::Close]);
            steps
        }
        17 | 18 => {
            let mut steps = vec![Step::Body, head("200 OK", "transfer-encoding: chunked")];
            for _ in 0..times.min(9) {
                steps.push(send(format!("{:x}\r\n{path}\r\n", path.len())));
                steps.push(Step::Sleep(pause(rng, 80)));
            }
            steps.push(send("0\r\n\r\n"));
            steps
        }
        _ => vec![Step::Body, wait, head("200 OK", &length), whole],
    }
}

fn reach(rng: &mut Rng) -> Reach {
    match rng.u8(..12) {
        0 => Reach::Refused(pause(rng, 50)),
        1 => Reach::Never,
        2..4 => Reach::After(pause(rng, 150)),
        _ => Reach::After(Duration::ZERO),
    }
}

async fn run(seed: u64) -> Vec<String> {
    let mut rng = Rng::with_seed(seed);
    let settings = settings(&mut rng);
    if std::env::var_os("OUTRIGGER_SIM_SEED").is_some() {
        println!("{settings}");
    }
    let (mut answers, mut reaches) = (rng.fork(), rng.fork());
    let script = Upstream::new(move |arrived| answer(&mut answers, arrived));
    let script = script.reached(move || reach(&mut reaches));
    let world = std::rc::Rc::new(World::new(&settings, &script));

    let watched = std::rc::Rc::clone(&world);
    let watcher = tasks::spawn_local("watcher", async move {
        time::sleep(ms(1)).await;
        for round in 0_u64.. {
            watched.check(watched.activity.in_flight());
            // As often as a real one would, on this scale.
            if round % 25 == 0 {
                watched.upstream.pool.reap(time::now());
            }
            time::sleep(ms(2)).await;
        }
    });
    let (outcomes, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let callers = (0..CALLERS).map(|name| {
        let (world, outcomes) = (std::rc::Rc::clone(&world), outcomes.clone());
        let rng = rng.fork();
        tasks::spawn_local("caller", async move {
            call(&world, name, rng, &|outcome| {
                let _ = outcomes.send(outcome);
            })
            .await;
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller does not panic");
    }
    time::sleep(ms(200)).await;
    assert!(!watcher.is_finished(), "the watcher has seen something");
    watcher.abort();
    assert!(watcher.await.is_err());

    let mut deliveries = BTreeMap::new();
    for arrived in script.arrived() {
        let key = (arrived.method().to_owned(), arrived.path().to_owned());
        *deliveries.entry(key).or_insert(0) += 1;
    }
    for ((method, path), times) in deliveries {
        // A GET may be tried four times at one upstream and twice at the other, and sent once more
        // each time where a kept connection was found dead.
        let most = if method == "POST" { 1 } else { 12 };
        assert!(times <= most, "{method} {path} was delivered {times} times");
    }
    let view = world.view();
    if world.is_alone() {
        assert!(script.most_open() <= view.max_connections);
        assert!(script.most_exchanging() <= view.max_requests);
    }
    let world = std::rc::Rc::into_inner(world).expect("nobody else has it");
    world.end().await;

    drop(outcomes);
    let mut all = Vec::new();
    while let Some(outcome) = seen.recv().await {
        all.push(outcome);
    }
    all
}

/// One caller: requests one after the other, on one connection for as long as it lasts.
async fn call(world: &World, name: usize, mut rng: Rng, outcome: &dyn Fn(String)) {
    let mut caller = world.caller();
    for number in 0..REQUESTS {
        time::sleep(pause(&mut rng, 120)).await;
        let path = format!("/{name}/{number}");
        let patience = if rng.u8(..6) == 0 {
            pause(&mut rng, 250)
        } else {
            Duration::from_secs(5)
        };
        let exchange = exchange(&mut caller, &path, &mut rng);
        let Ok((got, again)) = tokio::time::timeout(patience, exchange).await else {
            // Only those who lost patience go without an answer.
            assert!(patience < Duration::from_secs(1), "{path} has no answer");
            outcome("caller left".to_owned());
            caller = world.caller();
            continue;
        };
        judge(&got, &path);
        let word = match (got.whole, got.reason()) {
            (true, "" | "failover") => "whole",
            (true, reason) => reason,
            (false, _) => "aborted",
        };
        outcome(format!("{} {word}", got.status));
        if !got.whole || !again || got.head.field("connection") == Some("close") {
            caller = world.caller();
        }
    }
}

/// Writes a request and reads its answer; says whether the connection may be used again. It may not
/// after a body: where the answer did not wait for it, the rest of it is still in the way.
async fn exchange(caller: &mut Caller, path: &str, rng: &mut Rng) -> (Got, bool) {
    let class = ["", "x-class: live\r\n", "x-class: batch\r\n"][rng.usize(..3)];
    let classed = |head: String| head.replace("\r\n\r\n", &format!("\r\n{class}\r\n"));
    if rng.bool() {
        caller.write(classed(get(path))).await;
        if rng.u8(..5) == 0 {
            // A slow reader.
            time::sleep(pause(rng, 250)).await;
        }
        return (caller.response().await, true);
    }
    let pieces = rng.usize(..4);
    let size = if rng.bool() { 10 } else { 30_000 };
    caller.write(classed(post(path, pieces * size))).await;
    for _ in 0..pieces {
        time::sleep(pause(rng, 180)).await;
        caller.write("x".repeat(size)).await;
    }
    (caller.response().await, pieces == 0)
}

/// An answer is the upstream's own to this very request, or one of ours that says why.
fn judge(got: &Got, path: &str) {
    assert_ne!(got.status, 0, "{path} has no answer and no abort");
    let ours = !["", "failover"].contains(&got.reason());
    assert_ne!(ours, got.head.field("x-path").is_some(), "{path}: {got:?}");
    if ours {
        assert!(got.whole && got.status >= 400, "{path}: {got:?}");
        return;
    }
    assert_eq!(got.head.field("x-path"), Some(path));
    let body = String::from_utf8_lossy(&got.body);
    let expected = path.repeat(body.len() / path.len() + 1);
    assert!(expected.starts_with(&*body), "{path}: a foreign body");
    if got.whole && got.head.field("content-length").is_some() {
        assert!(!body.is_empty() && body.len().is_multiple_of(path.len()));
    }
}
