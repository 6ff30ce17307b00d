mod race;

use std::collections::BTreeMap;

use super::*;
use crate::balance::HashKey;
use crate::config;
use crate::resilience::Verdict::{Abandoned, Failure, Ignored, Success};
use crate::time;

const TEXT: &str =
    "[upstreams.u]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"http://10.0.0.1:80\"]\n";

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn address(n: u8) -> Address {
    ([10, 0, 0, n], 80).into()
}

fn weighted(of: &[(u8, u32)]) -> Vec<Found> {
    let found = |&(n, weight): &(u8, u32)| Found {
        address: address(n),
        host: HeaderValue::from_static("api"),
        way: Arc::default(),
        weight,
    };
    of.iter().map(found).collect()
}

fn equal(of: &[u8]) -> Vec<Found> {
    weighted(&of.iter().map(|&n| (n, 1)).collect::<Vec<_>>())
}

/// Settings without jitter that eject at five failures in a row, for 30 s.
fn config() -> model::Upstream {
    let config = config::parse("test.toml", TEXT);
    let mut upstream = config.unwrap().upstreams.remove(0);
    upstream.balance.policy = Policy::LeastInFlight;
    upstream.balance.slow_start = None;
    upstream.ejection.mode = Mode::Enforce;
    let settings = &mut upstream.ejection.settings;
    settings.consecutive_failures = Some(5);
    settings.failure_rate = None;
    settings.max_ejected = 50_000;
    settings.eject_for = s(30);
    settings.eject_for_max = s(300);
    settings.jitter = Duration::ZERO;
    settings.interval = s(10);
    upstream
}

struct Bench {
    endpoints: Endpoints,
    origin: Instant,
}

impl Bench {
    fn new(config: &model::Upstream, found: &[Found]) -> Self {
        rng::seed(11);
        let origin = time::now();
        let endpoints = Endpoints::new(config, 1, origin);
        endpoints.set(found, origin);
        Self { endpoints, origin }
    }

    fn set(&self, found: &[Found], at: Duration) {
        self.endpoints.set(found, self.origin + at);
    }

    fn pick(&self, at: Duration) -> InFlight {
        self.pick_but(&[], at)
    }

    fn pick_but(&self, avoid: &[u8], at: Duration) -> InFlight {
        let avoid: Vec<_> = avoid.iter().map(|&n| address(n)).collect();
        let picked = self.endpoints.pick(&avoid, None, self.origin + at);
        picked.expect("there is an endpoint")
    }

    /// How often each is picked in so many picks, one after the other.
    fn picks(&self, n: usize, at: Duration) -> BTreeMap<Address, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..n {
            *counts
                .entry(self.pick(at).endpoint().address.clone())
                .or_default() += 1;
        }
        counts
    }

    fn learn(&self, picked: &InFlight, verdict: Verdict, took: Duration, at: Duration) {
        let witness = picked.witness().expect("something is learnt");
        self.endpoints
            .learn(witness, verdict, took, self.origin + at);
    }

    /// Requests, one after the other, to endpoints of which those in `bad` fail; how many each got.
    fn requests(&self, n: usize, bad: &[u8], at: Duration) -> BTreeMap<Address, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..n {
            let picked = self.pick(at);
            let address = picked.endpoint().address.clone();
            *counts.entry(address.clone()).or_default() += 1;
            let fails = bad.iter().any(|&n| self::address(n) == address);
            let verdict = if fails { Failure } else { Success };
            self.learn(&picked, verdict, ms(1), at);
        }
        counts
    }

    fn view(&self, at: Duration) -> EjectionView {
        self.endpoints.ejection_view(self.origin + at)
    }

    fn ejected(&self, at: Duration) -> Vec<Address> {
        let view = self.endpoints.view(self.origin + at);
        let ejected = view.iter().filter(|view| view.ejected_for.is_some());
        ejected.map(|view| view.address.clone()).collect()
    }
}

#[test]
fn without_endpoints_nothing_is_picked() {
    let bench = Bench::new(&config(), &[]);
    assert!(bench.endpoints.pick(&[], None, bench.origin).is_none());
    assert_eq!(bench.endpoints.count(), 0);
}

#[test]
fn the_only_endpoint_is_picked_whatever_was_tried_and_nothing_is_learnt() {
    let bench = Bench::new(&config(), &equal(&[1]));
    let picked = bench.pick_but(&[1], s(1));
    assert_eq!(picked.endpoint().address, address(1));
    assert!(picked.witness().is_none());
}

#[test]
fn attempts_are_counted_until_the_guard_goes() {
    let bench = Bench::new(&config(), &equal(&[1, 2]));
    let (first, second) = (bench.pick(s(1)), bench.pick(s(1)));
    assert_ne!(first.endpoint().address, second.endpoint().address);
    let in_flight = || -> usize {
        let view = bench.endpoints.view(bench.origin);
        view.iter().map(|view| view.in_flight).sum()
    };
    assert_eq!(in_flight(), 2);
    drop(first);
    assert_eq!(in_flight(), 1);
    drop(second);
    assert_eq!(in_flight(), 0);
}

#[test]
fn what_was_tried_is_picked_only_where_nothing_else_is() {
    let mut config = config();
    for policy in [
        Policy::LeastInFlight,
        Policy::RoundRobin,
        Policy::Weighted,
        Policy::PeakEwma { decay: s(10) },
    ] {
        config.balance.policy = policy;
        let bench = Bench::new(&config, &equal(&[1, 2, 3]));
        for _ in 0..50 {
            let picked = bench.pick_but(&[1, 3], s(1));
            assert_eq!(picked.endpoint().address, address(2));
        }
        drop(bench.pick_but(&[1, 2, 3], s(1)));
        assert_eq!(bench.view(s(1)).panics, 0);
    }
}

#[test]
fn one_bad_endpoint_of_three_gets_next_to_nothing_and_stays_out_over_ten_refreshes() {
    let bench = Bench::new(&config(), &equal(&[1, 2, 3]));
    let before = bench.requests(300, &[2], s(1));
    assert!(before[&address(2)] < 15, "{before:?}");
    for refresh in 0..10 {
        let at = s(2 + 2 * refresh);
        // Rotating answers: now all of them, now without the bad one, now with another.
        let answer: &[u8] = match refresh % 3 {
            0 => &[3, 1, 2],
            1 => &[1, 3],
            _ => &[2, 1, 4],
        };
        bench.set(&equal(answer), at);
        let counts = bench.requests(100, &[2], at);
        assert_eq!(counts.get(&address(2)), None, "refresh {refresh}");
    }
    let view = bench.view(s(30));
    assert_eq!((view.consecutive, view.panics), (1, 0));
    // At its end it is picked again.
    bench.set(&equal(&[1, 2, 3]), s(30));
    assert_eq!(bench.ejected(s(31) - ms(1)), [address(2)]);
    assert!(bench.ejected(s(31)).is_empty());
    assert!(bench.picks(100, s(31)).contains_key(&address(2)));
}

#[test]
fn no_more_than_the_allowance_is_ejected_and_all_bad_means_that_all_are_picked() {
    let bench = Bench::new(&config(), &equal(&[1, 2, 3, 4]));
    bench.requests(400, &[1, 2, 3, 4], s(1));
    assert_eq!(bench.ejected(s(1)).len(), 2);
    // Discovery takes away those that are left.
    let ejected = bench.ejected(s(1));
    let rest: Vec<_> = equal(&[1, 2, 3, 4])
        .into_iter()
        .filter(|found| ejected.contains(&found.address))
        .collect();
    bench.set(&rest, s(2));
    assert_eq!(bench.view(s(2)).panics, 0);
    let counts = bench.picks(100, s(2));
    assert_eq!(counts.len(), 2, "{counts:?}");
    assert!(counts.values().all(|&count| count > 25), "{counts:?}");
    assert_eq!(bench.view(s(2)).panics, 100);
    // Also in panic, what was tried is not tried again.
    let tried = bench.pick(s(2)).endpoint().address.clone();
    let next = bench
        .endpoints
        .pick(std::slice::from_ref(&tried), None, bench.origin + s(2));
    assert_ne!(next.unwrap().endpoint().address, tried);
}

#[test]
fn what_is_tried_but_in_service_comes_before_what_is_ejected() {
    let bench = Bench::new(&config(), &equal(&[1, 2]));
    bench.requests(50, &[1], s(1));
    assert_eq!(bench.ejected(s(1)), [address(1)]);
    for _ in 0..20 {
        assert_eq!(bench.pick_but(&[2], s(2)).endpoint().address, address(2));
    }
    assert_eq!(bench.view(s(2)).panics, 0);
}

#[test]
fn observing_counts_and_leaves_everybody_in() {
    let mut config = config();
    config.ejection.mode = Mode::Observe;
    let bench = Bench::new(&config, &equal(&[1, 2, 3]));
    bench.requests(600, &[2], s(1));
    assert!(bench.ejected(s(1)).is_empty());
    let view = bench.view(s(1));
    assert_eq!((view.consecutive, view.would_eject, view.panics), (0, 1, 0));
    // As with enforcement, it could be ejected again once it was back, and for longer.
    bench.requests(600, &[2], s(31));
    assert_eq!(bench.view(s(31)).would_eject, 2);
    bench.requests(600, &[2], s(80));
    assert_eq!(bench.view(s(80)).would_eject, 2);
    assert!(bench.picks(300, s(80))[&address(2)] > 50);
    // Nor does a new set let them hear of it.
    bench.set(&equal(&[1, 3]), s(81));
    bench.set(&equal(&[1, 2, 3]), s(82));
    assert!(bench.ejected(s(82)).is_empty());
    assert!(!bench.endpoints.restore(&address(2), bench.origin + s(83)));
}

#[test]
fn switched_off_nothing_is_learnt() {
    let mut config = config();
    config.ejection.mode = Mode::Off;
    let bench = Bench::new(&config, &equal(&[1, 2, 3]));
    assert!(bench.pick(s(1)).witness().is_none());
    assert_eq!(bench.view(s(100)).would_eject, 0);
}

#[test]
fn verdicts_without_evidence_eject_nobody() {
    let bench = Bench::new(&config(), &equal(&[1, 2, 3]));
    for verdict in [Ignored, Abandoned] {
        for _ in 0..100 {
            let picked = bench.pick(s(1));
            bench.learn(&picked, verdict, s(9), s(10));
        }
    }
    assert!(bench.ejected(s(10)).is_empty());
}

#[test]
fn a_verdict_may_fall_after_the_guard_has_gone() {
    let bench = Bench::new(&config(), &equal(&[1, 2]));
    for _ in 0..20 {
        let witness = bench.pick(s(1)).witness().unwrap();
        let now = bench.origin + s(2);
        bench.endpoints.learn(witness, Failure, ms(1), now);
    }
    assert_eq!(bench.ejected(s(2)).len(), 1);
}

#[test]
fn an_interval_that_ends_ejects_before_the_next_pick() {
    let mut config = config();
    let settings = &mut config.ejection.settings;
    settings.consecutive_failures = None;
    settings.failure_rate = Some(85_000);
    settings.min_volume = 50;
    settings.min_endpoints = 2;
    let bench = Bench::new(&config, &equal(&[1, 2]));
    bench.requests(400, &[2], s(1));
    assert!(bench.picks(50, s(9)).contains_key(&address(2)));
    assert_eq!(bench.picks(50, s(10))[&address(1)], 50);
    let view = bench.view(s(10));
    assert_eq!((view.failure_rate, view.consecutive), (1, 0));
    assert!(bench.picks(50, s(40)).contains_key(&address(2)));
}

#[test]
fn an_operator_brings_an_endpoint_back() {
    let bench = Bench::new(&config(), &equal(&[1, 2, 3]));
    bench.requests(300, &[2], s(1));
    assert!(!bench.endpoints.restore(&address(1), bench.origin + s(2)));
    assert!(bench.endpoints.restore(&address(2), bench.origin + s(2)));
    assert!(bench.ejected(s(2)).is_empty());
    assert!(bench.picks(100, s(2)).contains_key(&address(2)));
    assert!(!bench.endpoints.restore(&address(2), bench.origin + s(2)));
    assert!(!bench.endpoints.restore(&address(9), bench.origin + s(2)));
}

#[test]
fn a_new_host_for_an_address_keeps_its_ejection() {
    let bench = Bench::new(&config(), &equal(&[1, 2, 3]));
    bench.requests(300, &[2], s(1));
    let mut renamed = equal(&[1, 2, 3]);
    renamed[1].host = HeaderValue::from_static("other");
    bench.set(&renamed, s(2));
    assert_eq!(bench.ejected(s(2)), [address(2)]);
    assert!(!bench.picks(100, s(2)).contains_key(&address(2)));
    assert_eq!(bench.pick_but(&[1, 3], s(31)).endpoint().host, "other");
}

#[test]
fn a_new_endpoint_rises_to_its_share() {
    let mut config = config();
    config.balance.slow_start = Some(s(10));
    for policy in [Policy::LeastInFlight, Policy::Weighted] {
        config.balance.policy = policy;
        let bench = Bench::new(&config, &[]);
        // Those of the first set have their whole share at once.
        bench.set(&equal(&[1, 2]), s(99));
        let first = bench.picks(1000, s(99));
        assert!(first[&address(1)].abs_diff(500) < 60, "{first:?}");
        bench.set(&equal(&[1, 2, 3]), s(100));
        // Of shares 10, 10 and 1; of 10, 10 and 5; of the same.
        for (after, expected) in [(0, 100), (5, 420), (10, 700)] {
            let counts = bench.picks(2100, s(100 + after));
            let new = counts[&address(3)];
            assert!(new.abs_diff(expected) * 5 < expected, "{after} s: {new}");
        }
    }
}

#[test]
fn a_returned_endpoint_rises_to_its_share() {
    let mut config = config();
    config.balance.slow_start = Some(s(10));
    let bench = Bench::new(&config, &equal(&[1, 2, 3]));
    bench.requests(300, &[2], s(1));
    for (at, expected) in [(31, 100), (36, 420), (41, 700)] {
        let counts = bench.picks(2100, s(at));
        let back = counts[&address(2)];
        assert!(back.abs_diff(expected) * 5 < expected, "{at} s: {back}");
    }
    bench.requests(300, &[2], s(50));
    assert_eq!(bench.ejected(s(50)), [address(2)]);
    assert!(bench.endpoints.restore(&address(2), bench.origin + s(51)));
    let back = bench.picks(2100, s(51))[&address(2)];
    assert!(back.abs_diff(100) < 30, "{back}");
}

#[test]
fn weights_are_shares_and_may_change() {
    let bench = Bench::new(&config(), &weighted(&[(1, 1), (2, 3)]));
    let counts = bench.picks(1000, s(1));
    assert!(counts[&address(2)].abs_diff(750) < 60, "{counts:?}");
    let held = bench.pick(s(1));
    bench.set(&weighted(&[(1, 3), (2, 1)]), s(2));
    let view = bench.endpoints.view(bench.origin + s(2));
    assert_eq!(
        view.iter().map(|view| view.weight).collect::<Vec<_>>(),
        [3, 1]
    );
    assert_eq!(view.iter().map(|view| view.in_flight).sum::<usize>(), 1);
    drop(held);
    let counts = bench.picks(1000, s(2));
    assert!(counts[&address(1)].abs_diff(750) < 60, "{counts:?}");
}

#[test]
fn peak_ewma_prefers_the_faster_and_is_not_deceived_by_fast_failures() {
    let mut config = config();
    config.balance.policy = Policy::PeakEwma { decay: s(10) };
    config.ejection.mode = Mode::Off;
    let bench = Bench::new(&config, &equal(&[1, 2]));
    let took = |n: u8, took, verdict, at| {
        let other = if n == 1 { 2 } else { 1 };
        let picked = bench.pick_but(&[other], at);
        assert_eq!(picked.endpoint().address, address(n));
        bench.learn(&picked, verdict, took, at);
    };
    took(1, ms(10), Success, s(1));
    took(2, ms(50), Success, s(1));
    assert_eq!(bench.picks(100, s(1))[&address(1)], 100);
    for _ in 0..10 {
        took(2, ms(1), Failure, s(1));
    }
    assert_eq!(bench.picks(100, s(1))[&address(1)], 100);
    // Cut short, it tells only that it would have taken longer still.
    took(1, ms(100), Abandoned, s(1));
    took(2, ms(1), Abandoned, s(1));
    took(2, ms(1), Ignored, s(1));
    assert_eq!(bench.picks(100, s(1))[&address(2)], 100);
    let view = bench.endpoints.view(bench.origin + s(1));
    let latency = |index: usize| view[index].latency.unwrap().as_millis();
    assert_eq!((latency(0), latency(1)), (100, 50));
    took(2, ms(1), Abandoned, s(3));
    let view = bench.endpoints.view(bench.origin + s(3));
    let decayed = view[1].latency.unwrap().as_millis();
    assert_eq!(decayed, 40, "50 ms, two seconds later");
}

#[test]
fn a_single_endpoint_has_its_latency_by_peak_ewma() {
    let mut config = config();
    config.balance.policy = Policy::PeakEwma { decay: s(10) };
    let bench = Bench::new(&config, &equal(&[1]));
    let picked = bench.pick(s(1));
    bench.learn(&picked, Failure, ms(7), s(1));
    let view = bench.endpoints.view(bench.origin + s(1));
    assert_eq!(view[0].latency.unwrap().as_millis(), 7);
}

#[test]
fn a_key_stays_where_it_is_and_moves_on_while_its_endpoint_is_out() {
    let mut config = config();
    let key = HashKey::Header("x-customer".into());
    config.balance.policy = Policy::RingHash(key.clone());
    let bench = Bench::new(&config, &equal(&[1, 2, 3]));
    assert_eq!(bench.endpoints.hash_key(), Some(&key));
    let pick = |avoid: &[Address], at| {
        let hash = Some(balance::hash(b"customer-7"));
        let now = bench.origin + at;
        let picked = bench.endpoints.pick(avoid, hash, now);
        picked.expect("there is an endpoint")
    };
    let home = pick(&[], s(1)).endpoint().address.clone();
    assert!((0..20).all(|_| pick(&[], s(1)).endpoint().address == home));
    let next = pick(std::slice::from_ref(&home), s(1))
        .endpoint()
        .address
        .clone();
    assert_ne!(next, home);
    for _ in 0..5 {
        let picked = pick(&[], s(1));
        bench.learn(&picked, Failure, ms(1), s(1));
    }
    assert_eq!(pick(&[], s(2)).endpoint().address, next);
    assert_eq!(pick(&[], s(31)).endpoint().address, home);
    // Without a key it goes anywhere.
    assert_eq!(bench.picks(100, s(32)).len(), 3);
}

#[test]
fn round_robin_goes_round() {
    let mut config = config();
    config.balance.policy = Policy::RoundRobin;
    let bench = Bench::new(&config, &equal(&[1, 2, 3]));
    let counts = bench.picks(300, s(1));
    assert!(counts.values().all(|&count| count == 100), "{counts:?}");
}

#[test]
fn a_further_attempt_is_no_turn_of_the_round() {
    let mut config = config();
    config.balance.policy = Policy::RoundRobin;
    let bench = Bench::new(&config, &equal(&[1, 2]));
    let mut firsts = BTreeMap::new();
    for _ in 0..100 {
        let first = bench.pick(s(1)).endpoint().address.clone();
        *firsts.entry(first.clone()).or_insert(0) += 1;
        if first == address(2) {
            let second = bench.pick_but(&[2], s(1));
            assert_eq!(second.endpoint().address, address(1));
        }
    }
    assert!(firsts.values().all(|&count| count == 50), "{firsts:?}");
}

#[test]
fn threads_that_learn_and_refresh_at_once_agree_in_the_end() {
    let bench = Bench::new(&config(), &equal(&[1, 2, 3]));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| bench.requests(2_000, &[2], s(1)));
        }
        scope.spawn(|| {
            for n in 0..200 {
                let answer: &[u8] = if n % 2 == 0 { &[1, 3] } else { &[1, 2, 3] };
                bench.set(&equal(answer), s(1));
            }
        });
    });
    bench.set(&equal(&[1, 2, 3]), s(1));
    bench.requests(100, &[2], s(1));
    assert_eq!(bench.ejected(s(1)), [address(2)]);
    let view = bench.endpoints.view(bench.origin + s(1));
    assert!(view.iter().all(|view| view.in_flight == 0), "{view:?}");
}
