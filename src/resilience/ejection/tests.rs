mod gone;
mod random;
mod shares;

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
            .filter(|key| self.machine.ejected_until(key).is_some())
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
fn an_operator_ends_an_ejection() {
    let mut bench = Bench::new(settings(), 3);
    let at = |bench: &Bench, after| bench.origin + after;
    let now = at(&bench, s(1));
    assert!(!bench.machine.restore(&1, now));
    bench.eject(1, s(1));
    let now = at(&bench, s(2));
    assert!(bench.machine.restore(&1, now));
    assert!(!bench.machine.restore(&1, now));
    assert!(bench.ejected(s(2)).is_empty());
    // Without a past, but with its memory.
    for _ in 0..9 {
        bench.record_since(1, s(1), Failure, s(3));
    }
    assert!(bench.ejected(s(3)).is_empty());
    assert_eq!(bench.eject(1, s(3)), s(60));
    bench.set(&[0, 2], s(4));
    let now = at(&bench, s(5));
    assert!(bench.machine.restore(&1, now));
    bench.set(&[0, 1, 2], s(6));
    assert!(bench.ejected(s(6)).is_empty());
    // What is over at that instant needs no end.
    assert_eq!(bench.eject(0, s(6)), s(30));
    bench.set(&[1, 2], s(7));
    let now = at(&bench, s(36));
    assert!(!bench.machine.restore(&0, now));
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
