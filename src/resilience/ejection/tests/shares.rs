//! Shares of failures, looked at when an interval ends.

use super::*;

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
