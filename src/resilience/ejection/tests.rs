use proptest::collection::vec;
use proptest::prelude::*;

use super::Verdict::{Abandoned, Failure, Ignored, Success};
use super::*;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The defaults of the documentation, without jitter.
fn settings() -> Settings {
    Settings {
        consecutive_failures: Some(5),
        failure_rate: Some(85_000),
        min_volume: 50,
        min_endpoints: 5,
        interval: s(10),
        eject_for: s(30),
        eject_for_max: s(300),
        jitter: Duration::ZERO,
        max_ejected: 50_000,
    }
}

/// A machine and the instant it was made at.
struct Bench {
    machine: Machine<u32>,
    origin: Instant,
}

impl Bench {
    fn new(settings: Settings, endpoints: u32) -> Self {
        let origin = crate::time::now();
        let mut machine = Machine::new(settings, 1, origin);
        machine.set(&(0..endpoints).collect::<Vec<_>>(), origin);
        Self { machine, origin }
    }

    fn set(&mut self, endpoints: &[u32], at: Duration) {
        self.machine.set(endpoints, self.origin + at);
    }

    /// An attempt that starts and ends at once, `times` times.
    fn record(&mut self, key: u32, verdict: Verdict, times: u32, at: Duration) {
        for _ in 0..times {
            self.record_since(key, at, verdict, at);
        }
    }

    fn record_since(&mut self, key: u32, started: Duration, verdict: Verdict, at: Duration) {
        let (started, at) = (self.origin + started, self.origin + at);
        self.machine.record(key, started, verdict, at);
    }

    /// Ejects it and says for how long.
    fn eject(&mut self, key: u32, at: Duration) -> Duration {
        self.record(key, Failure, 5, at);
        let events = self.machine.events();
        let lasts = events.into_iter().rev().find_map(|event| match event {
            Event::Ejected { key: k, lasts, .. } if k == key => Some(lasts),
            _ => None,
        });
        lasts.expect("it is ejected")
    }

    /// The endpoints that are ejected at an instant.
    fn ejected(&mut self, at: Duration) -> Vec<u32> {
        self.machine.pass(self.origin + at);
        let keys: Vec<_> = self.machine.present.keys().copied().collect();
        keys.into_iter()
            .filter(|&key| self.machine.ejected_until(key).is_some())
            .collect()
    }

    fn memory(&mut self, key: u32, at: Duration) -> u32 {
        self.machine.pass(self.origin + at);
        self.machine.present[&key].memory
    }
}

#[test]
fn the_fifth_failure_in_a_row_ejects() {
    let mut bench = Bench::new(settings(), 3);
    bench.record(1, Failure, 4, s(1));
    assert!(bench.ejected(s(1)).is_empty());
    bench.record(1, Failure, 1, s(1));
    assert_eq!(bench.ejected(s(1)), [1]);
    let ejected = Event::Ejected {
        key: 1,
        lasts: s(30),
        until: s(31),
        cause: Cause::ConsecutiveFailures,
    };
    assert_eq!(bench.machine.events(), [ejected]);
    assert!(bench.machine.events().is_empty());
}

#[test]
fn a_success_ends_the_row_and_no_evidence_does_not() {
    for (verdict, ejects) in [(Success, false), (Ignored, true), (Abandoned, true)] {
        let mut bench = Bench::new(settings(), 3);
        bench.record(1, Failure, 4, s(1));
        bench.record(1, verdict, 1, s(1));
        bench.record(1, Failure, 1, s(1));
        assert_eq!(!bench.ejected(s(1)).is_empty(), ejects, "{verdict:?}");
    }
}

#[test]
fn switched_off_nothing_ejects() {
    let mut bench = Bench::new(
        Settings {
            consecutive_failures: None,
            failure_rate: None,
            ..settings()
        },
        6,
    );
    for key in 0..6 {
        bench.record(key, Failure, 200, s(1));
    }
    assert!(bench.ejected(s(100)).is_empty());
}

#[test]
fn it_returns_at_the_end_and_without_a_past() {
    let mut bench = Bench::new(settings(), 3);
    bench.eject(1, s(1));
    assert_eq!(bench.ejected(s(31) - Duration::from_nanos(1)), [1]);
    assert!(bench.ejected(s(31)).is_empty());
    assert_eq!(bench.machine.events(), [Event::Returned { key: 1 }]);
    bench.record(1, Failure, 4, s(31));
    assert!(bench.ejected(s(31)).is_empty());
    bench.record(1, Failure, 1, s(31));
    assert_eq!(bench.ejected(s(31)), [1]);
}

#[test]
fn attempts_started_before_the_return_say_nothing() {
    let mut bench = Bench::new(settings(), 3);
    bench.eject(1, s(1));
    for _ in 0..9 {
        bench.record_since(1, s(1), Failure, s(5));
        bench.record_since(1, s(30), Failure, s(40));
    }
    assert!(bench.ejected(s(40)).is_empty());
    for _ in 0..5 {
        bench.record_since(1, s(31), Failure, s(40));
    }
    assert_eq!(bench.ejected(s(40)), [1]);
}

#[test]
fn the_allowance_is_a_share_but_one_at_least_and_never_the_last() {
    // n endpoints, the share in percent, how many are ejected at most.
    for (n, percent, most) in [
        (0, 50, 0),
        (1, 50, 0),
        (1, 100, 0),
        (2, 50, 1),
        (2, 100, 1),
        (2, 0, 1),
        (3, 50, 1),
        (4, 50, 2),
        (4, 100, 3),
        (5, 59, 2),
        (5, 60, 3),
        (10, 10, 1),
        (19, 10, 1),
        (20, 10, 2),
    ] {
        let max_ejected = percent * 1000;
        let mut bench = Bench::new(
            Settings {
                max_ejected,
                ..settings()
            },
            n,
        );
        for key in 0..n {
            bench.record(key, Failure, 5, s(1));
        }
        let ejected = bench.ejected(s(1)).len();
        assert_eq!(ejected, most, "{n} endpoints, {percent} %");
    }
}

#[test]
fn one_that_was_spared_is_ejected_by_the_next_failure_when_there_is_room() {
    let mut bench = Bench::new(settings(), 3);
    bench.eject(0, s(1));
    bench.record(1, Failure, 7, s(2));
    assert_eq!(bench.ejected(s(30)), [0]);
    bench.record(1, Failure, 1, s(31));
    assert_eq!(bench.ejected(s(31)), [1]);
}

#[test]
fn ejections_grow_up_to_the_longest_and_are_forgotten_one_by_one() {
    let mut bench = Bench::new(settings(), 3);
    let mut at = Duration::ZERO;
    for n in 1..=12 {
        let lasts = bench.eject(1, at);
        assert_eq!(lasts, s(30 * n.min(10)), "ejection {n}");
        at += lasts;
    }
    // At a border of intervals, so that the first whole one begins at once.
    assert_eq!(at.as_secs() % 10, 0);
    for (after, memory) in [(0, 9), (9, 9), (10, 8), (19, 8), (20, 7), (90, 0), (100, 0)] {
        assert_eq!(bench.memory(1, at + s(after)), memory, "after {after} s");
    }
    assert_eq!(bench.eject(1, at + s(100)), s(30));
}

#[test]
fn only_whole_intervals_in_service_count() {
    let mut bench = Bench::new(settings(), 3);
    bench.eject(1, s(1)); // back at 31 s
    assert_eq!(bench.memory(1, s(49)), 1);
    assert_eq!(bench.memory(1, s(50)), 0);
    // The same if nobody looks meanwhile.
    let mut bench = Bench::new(settings(), 3);
    bench.eject(1, s(1));
    assert_eq!(bench.memory(1, s(50)), 0);
    let mut bench = Bench::new(settings(), 3);
    bench.eject(1, s(1));
    bench.record(1, Failure, 5, s(45)); // in the middle of its first whole interval
    assert_eq!(bench.memory(1, s(45)), 2);
    assert_eq!(bench.memory(1, s(119)), 2); // back at 105 s
    assert_eq!(bench.memory(1, s(120)), 1);
    assert_eq!(bench.memory(1, s(7200)), 0);
}

#[test]
fn jitter_lengthens_within_its_bound() {
    let jitter = ms(1000);
    let mut bench = Bench::new(
        Settings {
            jitter,
            ..settings()
        },
        3,
    );
    let mut seen = Vec::new();
    for n in 0..20 {
        let at = s(n * 1000);
        let lasts = bench.eject(1, at);
        assert!(lasts >= s(30) && lasts <= s(31), "{lasts:?}");
        seen.push(lasts);
    }
    seen.dedup();
    assert!(seen.len() > 10);
}

#[test]
fn the_share_of_failures_ejects_at_the_end_of_the_interval() {
    for (failed, of, ejects) in [
        (85, 100, true),
        (84, 100, false),
        (17, 20, false),
        (43, 50, true),
    ] {
        let off = None;
        let mut bench = Bench::new(
            Settings {
                consecutive_failures: off,
                ..settings()
            },
            5,
        );
        for key in 0..4 {
            bench.record(key, Success, 50, s(2));
        }
        bench.record(4, Failure, failed, s(3));
        bench.record(4, Success, of - failed, s(3));
        // With 20 outcomes only four have the volume.
        assert!(bench.ejected(s(10) - Duration::from_nanos(1)).is_empty());
        assert_eq!(!bench.ejected(s(10)).is_empty(), ejects, "{failed} of {of}");
        if ejects {
            let ejected = Event::Ejected {
                key: 4,
                lasts: s(30),
                until: s(40),
                cause: Cause::FailureRate,
            };
            assert_eq!(bench.machine.events(), [ejected]);
        }
        bench.record(4, Failure, 49, s(11));
        assert_eq!(
            bench.ejected(s(20)).len(),
            usize::from(ejects),
            "a new count"
        );
    }
}

#[test]
fn shares_need_enough_endpoints_with_enough_outcomes() {
    let mut bench = Bench::new(
        Settings {
            consecutive_failures: None,
            ..settings()
        },
        6,
    );
    for key in 0..6 {
        let times = if key < 2 { 49 } else { 50 };
        bench.record(key, Failure, times, s(1));
    }
    assert!(bench.ejected(s(10)).is_empty());
    for key in 0..6 {
        let times = if key < 1 { 49 } else { 50 };
        bench.record(key, Failure, times, s(11));
    }
    assert_eq!(bench.ejected(s(20)), [1, 2, 3]);
}

#[test]
fn the_worst_go_first_where_not_all_may() {
    let mut bench = Bench::new(
        Settings {
            consecutive_failures: None,
            max_ejected: 40_000,
            ..settings()
        },
        5,
    );
    for (key, failed) in [(0, 86), (1, 100), (2, 0), (3, 90), (4, 90)] {
        bench.record(key, Failure, failed, s(1));
        bench.record(key, Success, 100 - failed, s(1));
    }
    assert_eq!(bench.ejected(s(10)), [1, 3]);
}

#[test]
fn what_was_due_happens_as_of_then_however_late_it_is_found() {
    let mut bench = Bench::new(
        Settings {
            consecutive_failures: None,
            min_endpoints: 1,
            ..settings()
        },
        3,
    );
    bench.record(0, Failure, 50, s(1));
    assert!(bench.ejected(s(45)).is_empty());
    let ejected = Event::Ejected {
        key: 0,
        lasts: s(30),
        until: s(40),
        cause: Cause::FailureRate,
    };
    assert_eq!(
        bench.machine.events(),
        [ejected, Event::Returned { key: 0 }]
    );
    assert_eq!(bench.memory(0, s(49)), 1);
    assert_eq!(bench.memory(0, s(50)), 0);
}

#[test]
fn an_endpoint_that_disappears_keeps_what_remains_of_its_ejection() {
    let mut bench = Bench::new(settings(), 3);
    bench.eject(1, s(1));
    for refresh in 0..10_u64 {
        // Rotating answers: now with it, now without.
        let answer: &[u32] = if refresh % 2 == 0 {
            &[0, 2, 3]
        } else {
            &[1, 2, 3]
        };
        bench.set(answer, s(2 + refresh));
        let expected: &[u32] = if refresh % 2 == 0 { &[] } else { &[1] };
        assert_eq!(bench.ejected(s(2 + refresh)), expected);
    }
    assert_eq!(bench.ejected(s(30)), [1]);
    assert!(bench.ejected(s(31)).is_empty());
    assert_eq!(bench.memory(1, s(31)), 1);
}

#[test]
fn an_endpoint_that_is_back_after_its_ejection_is_new() {
    let mut bench = Bench::new(settings(), 3);
    bench.eject(1, s(1));
    bench.set(&[0, 2], s(2));
    bench.set(&[0, 1, 2], s(31));
    assert!(bench.ejected(s(31)).is_empty());
    assert_eq!(bench.memory(1, s(31)), 0);
    assert!(bench.machine.gone.is_empty());
    // And what is said of its former life is no matter.
    for _ in 0..9 {
        bench.record_since(1, s(1), Failure, s(32));
    }
    assert!(bench.ejected(s(32)).is_empty());
}

#[test]
fn an_endpoint_that_disappears_in_service_is_forgotten() {
    let mut bench = Bench::new(settings(), 3);
    bench.record(1, Failure, 4, s(1));
    bench.set(&[0, 2], s(2));
    bench.record(1, Failure, 4, s(2));
    bench.set(&[0, 1, 2], s(3));
    bench.record(1, Failure, 4, s(3));
    assert!(bench.ejected(s(3)).is_empty());
    bench.set(&[2, 1, 1, 0], s(4)); // those that stay keep their count
    bench.record(1, Failure, 1, s(4));
    assert_eq!(bench.ejected(s(4)), [1]);
}

#[test]
fn no_more_than_so_many_are_remembered() {
    let most = u32::try_from(MAX_GONE).unwrap();
    let mut bench = Bench::new(settings(), 0);
    for n in 0..most + 10 {
        let at = ms(u64::from(n));
        bench.set(&[2 * n, 2 * n + 1], at);
        bench.eject(2 * n, at);
    }
    bench.set(&[], s(3));
    assert_eq!(bench.machine.gone.len(), MAX_GONE);
    assert!(
        !bench.machine.gone.contains_key(&18),
        "it would be back first"
    );
    assert!(bench.machine.gone.contains_key(&20));
}

#[test]
fn an_operator_ends_an_ejection() {
    let mut bench = Bench::new(settings(), 3);
    let at = |bench: &Bench, after| bench.origin + after;
    let now = at(&bench, s(1));
    assert!(!bench.machine.restore(1, now));
    bench.eject(1, s(1));
    let now = at(&bench, s(2));
    assert!(bench.machine.restore(1, now));
    assert!(!bench.machine.restore(1, now));
    assert!(bench.ejected(s(2)).is_empty());
    // Without a past, but with its memory.
    for _ in 0..9 {
        bench.record_since(1, s(1), Failure, s(3));
    }
    assert!(bench.ejected(s(3)).is_empty());
    assert_eq!(bench.eject(1, s(3)), s(60));
    bench.set(&[0, 2], s(4));
    let now = at(&bench, s(5));
    assert!(bench.machine.restore(1, now));
    bench.set(&[0, 1, 2], s(6));
    assert!(bench.ejected(s(6)).is_empty());
    // What is over at that instant needs no end.
    assert_eq!(bench.eject(0, s(6)), s(30));
    bench.set(&[1, 2], s(7));
    let now = at(&bench, s(36));
    assert!(!bench.machine.restore(0, now));
}

#[test]
fn time_does_not_run_backwards_and_odd_settings_do_no_harm() {
    let mut bench = Bench::new(settings(), 3);
    bench.eject(1, s(40));
    bench.record(0, Failure, 5, s(1));
    assert_eq!(bench.ejected(s(0)), [1]);
    let mut bench = Bench::new(settings(), 3);
    assert!(bench.ejected(s(40)).is_empty());
    bench.record(1, Failure, 5, s(1));
    assert_eq!(bench.ejected(s(69)), [1]);
    let mut bench = Bench::new(
        Settings {
            min_volume: 0,
            min_endpoints: 0,
            ..settings()
        },
        3,
    );
    assert!(bench.ejected(s(10)).is_empty(), "no outcome is no failure");
    let zero = Duration::ZERO;
    let mut bench = Bench::new(
        Settings {
            consecutive_failures: Some(0),
            min_volume: 0,
            min_endpoints: 0,
            interval: zero,
            eject_for: zero,
            eject_for_max: zero,
            max_ejected: u32::MAX,
            ..settings()
        },
        3,
    );
    bench.record(1, Failure, 1, s(100));
    bench.record(1, Success, 1, s(5000));
    assert!(bench.ejected(s(5001)).is_empty());
}

#[test]
fn words_are_those_of_the_log() {
    assert_eq!(Cause::ConsecutiveFailures.as_str(), "consecutive_failures");
    assert_eq!(Cause::FailureRate.as_str(), "failure_rate");
}

/// The rules told naively: time goes from one thing that is due to the next, never further.
struct Model {
    settings: Settings,
    rng: fastrand::Rng,
    border: Duration,
    present: BTreeMap<u32, Naive>,
    gone: BTreeMap<u32, Naive>,
    events: Vec<Event<u32>>,
}

#[derive(Clone, Debug, Default)]
struct Naive {
    until: Option<Duration>,
    since: Duration,
    row: u32,
    outcomes: Vec<bool>,
    memory: u32,
}

impl Model {
    fn advance(&mut self, now: Duration) {
        loop {
            let back = self
                .present
                .iter()
                .filter_map(|(key, e)| Some((e.until?, *key)))
                .min()
                .filter(|(until, _)| *until <= now.min(self.border));
            if let Some((until, key)) = back {
                let endpoint = self.present.get_mut(&key).unwrap();
                endpoint.until = None;
                endpoint.since = until;
                self.events.push(Event::Returned { key });
            } else if self.border <= now {
                self.end_interval();
            } else {
                return;
            }
        }
    }

    fn end_interval(&mut self) {
        let border = self.border;
        let min_volume = usize::try_from(self.settings.min_volume).unwrap();
        let mut heard: Vec<(u32, f64)> = Vec::new();
        for (key, e) in &mut self.present {
            let outcomes = std::mem::take(&mut e.outcomes);
            if e.until.is_none() && outcomes.len() >= min_volume {
                let failed = outcomes.iter().filter(|failed| **failed).count();
                heard.push((*key, failed as f64 / outcomes.len() as f64));
            }
        }
        if let Some(rate) = self.settings.failure_rate
            && heard.len() >= usize::try_from(self.settings.min_endpoints).unwrap()
        {
            heard.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            for (key, share) in heard {
                if share * 100_000.0 >= f64::from(rate) - 1e-6 {
                    self.eject(key, Cause::FailureRate, border);
                }
            }
        }
        for e in self.present.values_mut() {
            if e.until.is_none() && e.since + self.settings.interval <= border {
                e.memory = e.memory.saturating_sub(1);
            }
        }
        self.border += self.settings.interval;
    }

    fn eject(&mut self, key: u32, cause: Cause, at: Duration) {
        let n = self.present.len();
        let ejected = self.present.values().filter(|e| e.until.is_some()).count();
        let share = n * usize::try_from(self.settings.max_ejected).unwrap() / 100_000;
        if ejected + 1 > share.max(1) || ejected + 1 == n {
            return;
        }
        let jitter = u64::try_from(self.settings.jitter.as_nanos()).unwrap();
        let jitter = Duration::from_nanos(self.rng.u64(0..=jitter));
        let Settings {
            eject_for,
            eject_for_max,
            ..
        } = self.settings;
        let endpoint = self.present.get_mut(&key).unwrap();
        let lasts = (eject_for * (endpoint.memory + 1)).min(eject_for_max) + jitter;
        let mut memory = endpoint.memory + 1;
        while memory > 0 && eject_for * memory >= eject_for_max {
            memory -= 1;
        }
        let until = at + lasts;
        *endpoint = Naive {
            until: Some(until),
            since: until,
            memory,
            ..Naive::default()
        };
        self.events.push(Event::Ejected {
            key,
            lasts,
            until,
            cause,
        });
    }

    fn set(&mut self, keys: &[u32], now: Duration) {
        let mut old = std::mem::take(&mut self.present);
        self.gone.retain(|_, e| e.until > Some(now));
        for key in keys {
            let fresh = Naive {
                since: now,
                ..Naive::default()
            };
            let known = old.remove(key).or_else(|| self.gone.remove(key));
            self.present.insert(*key, known.unwrap_or(fresh));
        }
        old.retain(|_, e| e.until.is_some());
        self.gone.append(&mut old);
    }

    fn record(&mut self, key: u32, started: Duration, failed: bool, now: Duration) {
        let Some(e) = self.present.get_mut(&key) else {
            return;
        };
        if e.until.is_some() || started < e.since {
            return;
        }
        e.outcomes.push(failed);
        e.row = if failed { e.row + 1 } else { 0 };
        let reached = self
            .settings
            .consecutive_failures
            .is_some_and(|n| e.row >= n);
        if failed && reached {
            self.eject(key, Cause::ConsecutiveFailures, now);
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Record(u32, u64, bool, u32),
    Set(u8),
    Restore(u32),
    Pass,
}

fn op() -> impl Strategy<Value = (u64, Op)> {
    let op = prop_oneof![
        8 => (0_u32..6, 0_u64..20, any::<bool>(), 1_u32..6)
            .prop_map(|(key, age, failed, times)| Op::Record(key, age, failed, times)),
        2 => any::<u8>().prop_map(Op::Set),
        1 => (0_u32..6).prop_map(Op::Restore),
        1 => Just(Op::Pass),
    ];
    (prop_oneof![0_u64..4, 0_u64..80], op)
}

fn any_settings() -> impl Strategy<Value = Settings> {
    (
        proptest::option::of(1_u32..5),
        proptest::option::of(1_u32..=100_000),
        1_u32..6,
        1_u32..4,
        prop_oneof![Just(0_u64), Just(3)],
        0_u32..=100_000,
    )
        .prop_map(
            |(row, rate, min_volume, min_endpoints, jitter, max_ejected)| Settings {
                consecutive_failures: row,
                failure_rate: rate,
                min_volume,
                min_endpoints,
                interval: ms(10),
                eject_for: ms(7),
                eject_for_max: ms(33),
                jitter: ms(jitter),
                max_ejected,
            },
        )
}

proptest! {
    #[test]
    fn the_machine_does_what_the_naive_model_does(
        settings in any_settings(),
        ops in vec(op(), 0..150),
    ) {
        let origin = crate::time::now();
        let mut machine = Machine::new(settings.clone(), 5, origin);
        let mut model = Model {
            border: settings.interval,
            settings,
            rng: fastrand::Rng::with_seed(5),
            present: BTreeMap::new(),
            gone: BTreeMap::new(),
            events: Vec::new(),
        };
        machine.set(&[0, 1, 2, 3], origin);
        model.set(&[0, 1, 2, 3], Duration::ZERO);
        let mut now = Duration::ZERO;
        for (gap, op) in ops {
            now += ms(gap);
            model.advance(now);
            match op {
                Op::Record(key, age, failed, times) => {
                    let started = now.saturating_sub(ms(age));
                    let verdict = if failed { Failure } else { Success };
                    for _ in 0..times {
                        machine.record(key, origin + started, verdict, origin + now);
                        model.record(key, started, failed, now);
                    }
                }
                Op::Set(bits) => {
                    let keys: Vec<_> = (0..6).filter(|key| bits & (1 << key) != 0).collect();
                    machine.set(&keys, origin + now);
                    model.set(&keys, now);
                }
                Op::Restore(key) => {
                    let known = model.gone.remove(&key).is_some_and(|e| e.until > Some(now));
                    let ejected = match model.present.get_mut(&key) {
                        Some(e) if e.until.is_some() => {
                            (e.until, e.since) = (None, now);
                            true
                        }
                        _ => known,
                    };
                    prop_assert_eq!(machine.restore(key, origin + now), ejected);
                }
                Op::Pass => machine.pass(origin + now),
            }
            prop_assert_eq!(machine.events(), std::mem::take(&mut model.events));
            prop_assert_eq!(machine.interval_end(), model.border);
            for key in 0..6 {
                let endpoint = model.present.get(&key);
                prop_assert_eq!(machine.ejected_until(key), endpoint.and_then(|e| e.until));
                let memory = machine.present.get(&key).map(|e| e.memory);
                prop_assert_eq!(memory, endpoint.map(|e| e.memory));
            }
        }
    }
}
