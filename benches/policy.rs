//! What the policies cost on the path of a request, in nanoseconds.
//!
//! Instants are counted up by hand, so that no figure contains a read of the clock; `clock` tells
//! what one costs. A group with threads has each of them go through the same object as fast as it
//! can: the figure is what one cycle takes in the eyes of one thread.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing better to do than to say so"
)]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Uri};

use outrigger::app::{self, Built};
use outrigger::balance::{self, HashKey, Policy};
use outrigger::config::model::{self, Mode};
use outrigger::config::{self, Config};
use outrigger::resilience::breaker::{Counted, Machine, Settings, Transition};
use outrigger::resilience::hedge::Delay;
use outrigger::resilience::timeout::{Deadline, parse_grpc_timeout};
use outrigger::resilience::{Verdict, bulkhead as pure, rate_limit};
use outrigger::rng;
use outrigger::telemetry::metrics::Metrics;
use outrigger::time;
use outrigger::upstream::breaker::{Breaker, Observer};
use outrigger::upstream::budget::{Budget, Withdrawal};
use outrigger::upstream::bulkhead::{Bulkhead, Entry};
use outrigger::upstream::endpoint::InFlight;
use outrigger::upstream::endpoints::{Endpoints, Found};
use outrigger::upstream::hedge::HedgeDelay;
use outrigger::upstream::rate_limit::RateLimit;

/// Between two calls of a policy, and as long as a call takes.
const STEP: Duration = Duration::from_micros(1);

const THREADS: [usize; 3] = [1, 2, 4];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    breaker(&mut criterion);
    bulkhead(&mut criterion);
    rate_limit(&mut criterion);
    budget(&mut criterion);
    hedge(&mut criterion);
    balance(&mut criterion);
    route(&mut criterion);
    deadline(&mut criterion);
    criterion.final_summary();
}

/// The configuration of one upstream with every policy at its default.
fn defaults() -> Config {
    config::parse(
        "bench.toml",
        "[upstreams.api]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"http://127.0.0.1:1\"]\n",
    )
    .expect("the configuration is valid")
}

fn breaker_settings() -> Settings {
    let mut upstreams = defaults().upstreams.into_iter();
    upstreams
        .next()
        .expect("it has an upstream")
        .breaker
        .settings
}

/// Hears everything and does nothing.
struct Deaf;

impl Observer for Deaf {
    fn transition(&self, transition: &Transition) {
        black_box(transition);
    }

    fn counted(&self, counted: Counted) {
        black_box(counted);
    }
}

/// Instants without a clock.
struct Ticks(Instant);

impl Ticks {
    fn next(&mut self) -> Instant {
        self.0 += STEP;
        self.0
    }
}

fn breaker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker");
    group.bench_function("machine: admit, head, record", |bencher| {
        let mut ticks = Ticks(time::now());
        let mut machine = Machine::new(breaker_settings(), 1, ticks.next());
        bencher.iter(|| {
            if let Ok(ticket) = machine.acquire(ticks.next()) {
                machine.head(ticket, ticks.next());
                machine.record(ticket, Verdict::Success, STEP, ticks.next());
            }
        });
    });
    group.bench_function("machine: peek", |bencher| {
        let mut ticks = Ticks(time::now());
        let mut machine = Machine::new(breaker_settings(), 1, ticks.next());
        bencher.iter(|| machine.peek(ticks.next()));
    });
    let shell = || {
        let (deaf, now) = (Box::new(Deaf), time::now());
        Breaker::new(breaker_settings(), Mode::Enforce, 1, deaf, now)
    };
    for threads in THREADS {
        let id = BenchmarkId::new("shell: admit, head, record", threads);
        group.bench_function(id, |bencher| {
            let breaker = shell();
            bencher.iter_custom(|cycles| {
                contend(threads, cycles, |ticks| {
                    if let Ok(mut permit) = breaker.admit(ticks.next()) {
                        permit.head(ticks.next());
                        permit.record(Verdict::Success, ticks.next());
                    }
                })
            });
        });
        let id = BenchmarkId::new("shell: peek", threads);
        group.bench_function(id, |bencher| {
            let breaker = shell();
            bencher.iter_custom(|cycles| {
                contend(threads, cycles, |ticks| {
                    // A refusal would not be the common case; there is none.
                    let _ = black_box(breaker.peek(ticks.next()));
                })
            });
        });
    }
    group.finish();
}

fn bulkhead(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bulkhead");
    group.bench_function("machine: enter, leave", |bencher| {
        let mut machine = pure::Machine::new(64, 32, &[]);
        bencher.iter(|| {
            black_box(machine.enter(0, ()));
            machine.leave(0)
        });
    });
    group.bench_function("machine: full, four classes: enter, leave", |bencher| {
        let mut machine = pure::Machine::new(64, 64, &[25_000; 4]);
        for n in 0..96 {
            machine.enter(n % 4, ());
        }
        let mut class = 0;
        bencher.iter(|| {
            class = (class + 1) % 4;
            black_box(machine.enter(class, ()));
            machine.leave(class)
        });
    });
    for threads in THREADS {
        let id = BenchmarkId::new("shell: enter, drop", threads);
        group.bench_function(id, |bencher| {
            let bulkhead = Arc::new(Bulkhead::new(Mode::Enforce, 64, 32, None));
            bencher.iter_custom(|cycles| {
                contend(threads, cycles, |_| match bulkhead.enter(0) {
                    Entry::Slot(slot) => drop(black_box(slot)),
                    Entry::Wait(_) | Entry::Full { .. } => {}
                })
            });
        });
    }
    group.finish();
}

fn rate_limit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate limit");
    // One a nanosecond: there is always a token.
    let settings = rate_limit::Settings {
        rate: 1_000_000,
        per: Duration::from_millis(1),
        burst: 1_000_000,
        max_wait: Duration::ZERO,
    };
    group.bench_function("machine: acquire", |bencher| {
        let mut ticks = Ticks(time::now());
        let mut machine = rate_limit::Machine::new(settings.clone(), ticks.next());
        bencher.iter(|| machine.acquire(None, ticks.next()));
    });
    for threads in THREADS {
        let id = BenchmarkId::new("shell: acquire", threads);
        group.bench_function(id, |bencher| {
            let settings = model::RateLimit {
                mode: Mode::Enforce,
                settings: settings.clone(),
            };
            let limit = RateLimit::new(&settings, time::now());
            bencher.iter_custom(|cycles| {
                contend(threads, cycles, |ticks| {
                    // A refusal would not be the common case; there is none.
                    let _ = black_box(limit.acquire(None, ticks.next()));
                })
            });
        });
    }
    group.finish();
}

fn budget(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("budget");
    let shell = || {
        let settings = defaults().upstreams.remove(0).budget;
        Arc::new(Budget::new(settings, time::now()))
    };
    for threads in THREADS {
        let id = BenchmarkId::new("shell: deposit", threads);
        group.bench_function(id, |bencher| {
            let budget = shell();
            bencher.iter_custom(|cycles| {
                contend(threads, cycles, |ticks| budget.deposit(ticks.next()))
            });
        });
    }
    group.bench_function("shell: deposit, withdraw, spend", |bencher| {
        let (budget, mut ticks) = (shell(), Ticks(time::now()));
        bencher.iter(|| {
            budget.deposit(ticks.next());
            budget.withdraw(ticks.next()).map(Withdrawal::spend)
        });
    });
    group.finish();
}

fn hedge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hedge");
    for threads in THREADS {
        let id = BenchmarkId::new("shell: delay, observe", threads);
        group.bench_function(id, |bencher| {
            let hedge = HedgeDelay::new(Delay::Percentile(950));
            bencher.iter_custom(|cycles| {
                contend(threads, cycles, |ticks| {
                    let now = ticks.next();
                    black_box(hedge.delay(now));
                    // Up to 131 ms, spread over many buckets.
                    let took = Duration::from_nanos(rng::u64() >> 37);
                    hedge.observe(took, now);
                })
            });
        });
    }
    group.finish();
}

/// Has each thread do `cycles` cycles at the same time; returns how long the slowest took.
fn contend(threads: usize, cycles: u64, cycle: impl Fn(&mut Ticks) + Sync) -> Duration {
    let start = Barrier::new(threads);
    let run = || {
        start.wait();
        let began = time::now();
        let mut ticks = Ticks(began);
        for _ in 0..cycles {
            cycle(&mut ticks);
        }
        time::now().saturating_duration_since(began)
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let own = run();
        let others = others
            .into_iter()
            .map(|thread| thread.join().expect("a cycle does not panic"));
        others.fold(own, Duration::max)
    })
}

/// A set of so many endpoints under a policy, one of them ejected if `troubled`.
fn endpoints(policy: Policy, count: u8, troubled: bool, now: Instant) -> Endpoints {
    let mut config = defaults().upstreams.remove(0);
    config.balance.policy = policy;
    let endpoints = Endpoints::new(&config, 1, now);
    let found = (1..=count).map(|n| Found {
        address: ([10, 0, 0, n], 80).into(),
        host: HeaderValue::from_static("api"),
        way: Arc::default(),
        weight: 1,
    });
    endpoints.set(&found.collect::<Vec<_>>(), now);
    while troubled && endpoints.view(now).iter().all(|e| e.ejected_for.is_none()) {
        let picked = endpoints.pick(&[], None, now).expect("there is one");
        let witness = picked.witness().expect("there is something to learn");
        endpoints.learn(witness, Verdict::Failure, STEP, now);
    }
    endpoints
}

fn balance(criterion: &mut Criterion) {
    let decay = Duration::from_secs(10);
    let policies = [
        ("least in flight", Policy::LeastInFlight),
        ("peak ewma", Policy::PeakEwma { decay }),
        ("round robin", Policy::RoundRobin),
        ("weighted", Policy::Weighted),
        (
            "ring hash",
            Policy::RingHash(HashKey::Header("x-customer".to_owned())),
        ),
    ];
    let mut group = criterion.benchmark_group("balance");
    for (name, policy) in &policies {
        for count in [1, 3, 50] {
            let now = time::now();
            let endpoints = endpoints(policy.clone(), count, false, now);
            let mut key = 0_u64;
            group.bench_function(
                BenchmarkId::new(format!("pick, drop: {name}"), count),
                |b| {
                    b.iter(|| {
                        key = key.wrapping_add(1);
                        let hash = Some(balance::hash(&key.to_be_bytes()));
                        endpoints.pick(&[], hash, now)
                    });
                },
            );
        }
    }
    for count in [3, 50] {
        let now = time::now();
        let troubled = endpoints(Policy::LeastInFlight, count, true, now);
        group.bench_function(BenchmarkId::new("pick, drop: one is ejected", count), |b| {
            b.iter(|| troubled.pick(&[], None, now));
        });
    }
    for threads in THREADS {
        let id = BenchmarkId::new("pick, learn, drop: 3 endpoints", threads);
        group.bench_function(id, |bencher| {
            let endpoints = endpoints(Policy::LeastInFlight, 3, false, time::now());
            bencher.iter_custom(|cycles| {
                contend(threads, cycles, |ticks| {
                    let picked = endpoints.pick(&[], None, ticks.next());
                    if let Some(witness) = picked.as_ref().and_then(InFlight::witness) {
                        endpoints.learn(witness, Verdict::Success, STEP, ticks.next());
                    }
                })
            });
        });
    }
    group.finish();
}

fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for routes in [1, 10, 100] {
        let built = routed(routes);
        // The last one matches, so that every rule is looked at.
        let uri = Uri::try_from(format!("/service-{}/items/7?full=1", routes - 1));
        let uri = uri.expect("the target is valid");
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("api.internal:8080"));
        let listener = built.listeners.first().expect("there is a listener");
        let table = listener.routes.load();
        assert!(table.find(&Method::GET, &uri, &headers).is_some());
        group.bench_function(BenchmarkId::new("find the last of", routes), |bencher| {
            bencher.iter(|| {
                let table = listener.routes.load();
                black_box(table.find(&Method::GET, black_box(&uri), &headers)).is_some()
            });
        });
    }
    group.finish();
}

/// A listener with so many routes, each with a host and a prefix of its own.
fn routed(routes: usize) -> Built {
    let rules: String = (0..routes)
        .map(|n| {
            format!(
                "{{ host = \"api.internal\", path_prefix = \"/service-{n}\", upstream = \"api\" }},\n"
            )
        })
        .collect();
    let text = format!(
        "[upstreams.api]\nendpoints = [\"http://127.0.0.1:1\"]\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\nroutes = [\n{rules}]\n"
    );
    let config = config::parse("bench.toml", &text).expect("the configuration is valid");
    let metrics = Metrics::new(1).expect("metrics can be registered");
    app::build(&config, 1, &metrics).expect("there is nothing to load")
}

fn deadline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deadline");
    let timeouts = defaults().upstreams.remove(0).timeouts;
    group.bench_function("of a request and its attempt", |bencher| {
        let mut ticks = Ticks(time::now());
        bencher.iter(|| {
            let now = ticks.next();
            let client = black_box(Some(Duration::from_secs(2)));
            let deadline = Deadline::new(now, timeouts.request, timeouts.total, client);
            let first_byte = timeouts.first_byte.and_then(|wait| now.checked_add(wait));
            (
                deadline.past(now),
                deadline.bound(first_byte),
                deadline.remaining(now),
            )
        });
    });
    group.bench_function("read grpc-timeout", |bencher| {
        bencher.iter(|| parse_grpc_timeout(black_box(b"2500m")));
    });
    group.bench_function("clock", |bencher| bencher.iter(time::now));
    group.finish();
}
