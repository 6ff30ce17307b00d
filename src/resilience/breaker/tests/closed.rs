//! The closed state: windows, thresholds, what counts; and the open wait.

use super::*;

#[test]
fn too_few_calls_do_not_trip() {
    for last in [Success, Failure] {
        let mut rig = Rig::new(base());
        rig.calls(3, Failure);
        rig.assert_state(State::Closed);
        rig.call(last);
        assert_eq!(
            rig.transitions(),
            [(State::Closed, State::Open, Cause::FailureRate)],
            "completed by {last:?}"
        );
    }
}

#[test]
fn a_call_without_evidence_does_not_complete_the_minimum() {
    let mut rig = Rig::new(base());
    rig.calls(3, Failure);
    assert_eq!(rig.call(Ignored), Counted::Ignored);
    assert_eq!(rig.call(Abandoned), Counted::Ignored);
    rig.assert_state(State::Closed);
    rig.assert_counts(3, 3, 0);
}

#[test]
fn a_rate_trips_at_its_threshold_and_not_below() {
    for (failed, calls, rate, trips) in [
        (1, 3, 33_000, true),
        (1, 3, 33_300, true),
        (1, 3, 33_333, true),
        (1, 3, 33_334, false),
        (1, 3, 34_000, false),
        (7, 1000, 700, true),
        (6, 1000, 700, false),
        (2, 4, 50_000, true),
        (1, 4, 50_000, false),
        (4, 4, 100_000, true),
        (3, 4, 100_000, false),
    ] {
        for slow in [false, true] {
            let mut rig = Rig::new(Settings {
                min_calls: calls,
                failure_rate: if slow { WHOLE } else { rate },
                slow_rate: if slow { rate } else { WHOLE },
                ..base()
            });
            for call in 0..calls {
                match (call < failed, slow) {
                    (true, true) => rig.call_of(Success, secs(1)),
                    (true, false) => rig.call(Failure),
                    (false, _) => rig.call(Success),
                };
            }
            let state = if trips { State::Open } else { State::Closed };
            assert_eq!(
                rig.view().state,
                state,
                "{failed} of {calls} against {rate}, slow: {slow}"
            );
        }
    }
}

#[test]
fn a_call_is_slow_past_the_limit() {
    let mut rig = Rig::new(base());
    assert_eq!(
        rig.call_of(Success, SLOW_CALL),
        Counted::Success { slow: false }
    );
    rig.assert_counts(1, 0, 0);
    assert_eq!(
        rig.call_of(Success, SLOW_CALL + NANO),
        Counted::Success { slow: true }
    );
    rig.assert_counts(2, 0, 1);
    assert_eq!(
        rig.call_of(Failure, SLOW_CALL + NANO),
        Counted::Failure { slow: true }
    );
    rig.assert_counts(3, 1, 2);
}

#[test]
fn without_a_limit_nothing_is_slow() {
    let mut rig = Rig::new(Settings {
        slow_call: None,
        ..base()
    });
    for _ in 0..10 {
        assert_eq!(
            rig.call_of(Success, secs(3600)),
            Counted::Success { slow: false }
        );
        assert_eq!(rig.call_of(Abandoned, secs(3600)), Counted::Ignored);
    }
    rig.assert_counts(10, 0, 0);
}

#[test]
fn a_call_cut_short_counts_if_it_was_slow_already() {
    let mut rig = Rig::new(base());
    assert_eq!(rig.call_of(Abandoned, SLOW_CALL), Counted::Ignored);
    rig.assert_counts(0, 0, 0);
    assert_eq!(
        rig.call_of(Abandoned, SLOW_CALL + NANO),
        Counted::Success { slow: true }
    );
    rig.assert_counts(1, 0, 1);
}

#[test]
fn the_cause_names_every_rate_that_was_reached() {
    for (verdict, duration, cause) in [
        (Failure, FAST, Cause::FailureRate),
        (Success, secs(1), Cause::SlowRate),
        (Failure, secs(1), Cause::FailureAndSlowRate),
    ] {
        let mut rig = Rig::new(base());
        for _ in 0..4 {
            rig.call_of(verdict, duration);
        }
        assert_eq!(rig.transitions(), [(State::Closed, State::Open, cause)]);
    }
}

#[test]
fn a_transition_carries_what_counted() {
    let mut rig = Rig::new(base());
    rig.calls(2, Success);
    rig.call(Failure);
    rig.call_of(Failure, secs(1));
    assert_eq!(
        rig.machine.take_events(),
        [Event::Transition(Transition {
            from: State::Closed,
            to: State::Open,
            cause: Cause::FailureRate,
            counts: Counts {
                calls: 4,
                failed: 2,
                slow: 1,
                overdue: 0
            },
            open_wait: Some(secs(1)),
        })]
    );
    assert!(!rig.machine.has_events());
}

#[test]
fn a_ring_forgets_the_oldest_call() {
    let mut rig = Rig::new(Settings {
        window: Window::Calls(3),
        failure_rate: WHOLE,
        min_calls: 3,
        ..base()
    });
    for (verdict, duration, counts) in [
        (Failure, FAST, (1, 1, 0)),
        (Success, secs(1), (2, 1, 1)),
        (Success, FAST, (3, 1, 1)),
        (Success, FAST, (3, 0, 1)),
        (Failure, FAST, (3, 1, 0)),
        (Failure, FAST, (3, 2, 0)),
    ] {
        rig.call_of(verdict, duration);
        rig.assert_counts(counts.0, counts.1, counts.2);
    }
    rig.assert_state(State::Closed);
    rig.call(Failure);
    rig.assert_state(State::Open);
}

#[test]
fn a_ring_begins_anew_after_a_reset() {
    let mut rig = Rig::new(Settings {
        window: Window::Calls(3),
        min_calls: 3,
        failure_rate: WHOLE,
        ..base()
    });
    // Four calls: the ring has turned by one.
    rig.calls(4, Success);
    rig.operate(Operation::Reset).unwrap();
    rig.assert_counts(0, 0, 0);
    rig.call(Failure);
    rig.calls(2, Success);
    rig.assert_counts(3, 1, 0);
    rig.call(Success);
    rig.assert_counts(3, 0, 0);
}

#[test]
fn a_ring_of_one_holds_the_last_call() {
    let mut rig = Rig::new(Settings {
        window: Window::Calls(1),
        min_calls: 1,
        ..base()
    });
    rig.calls(100, Success);
    rig.assert_counts(1, 0, 0);
    rig.wait(secs(3600));
    rig.assert_counts(1, 0, 0);
    rig.call(Failure);
    rig.assert_state(State::Open);
}

#[test]
fn buckets_change_at_the_full_second() {
    let mut rig = Rig::new(Settings {
        window: Window::Seconds(2),
        min_calls: 100,
        ..base()
    });
    rig.wait(ms(999));
    rig.call(Failure);
    rig.wait(ms(1));
    rig.call(Success);
    rig.wait(ms(999));
    rig.assert_counts(2, 1, 0);
    rig.wait(ms(1));
    rig.assert_counts(1, 0, 0);
    rig.wait(ms(999));
    rig.assert_counts(1, 0, 0);
    rig.wait(ms(1));
    rig.assert_counts(0, 0, 0);
}

#[test]
fn a_window_of_one_second_holds_the_current_one() {
    let mut rig = Rig::new(Settings {
        window: Window::Seconds(1),
        min_calls: 100,
        ..base()
    });
    rig.call(Failure);
    rig.wait(ms(999));
    rig.assert_counts(1, 1, 0);
    rig.wait(ms(1));
    rig.assert_counts(0, 0, 0);
}

#[test]
fn a_call_belongs_to_the_second_it_was_recorded_in() {
    let mut rig = Rig::new(Settings {
        window: Window::Seconds(1),
        slow_call: None,
        ..base()
    });
    let ticket = rig.acquire();
    rig.wait(secs(5));
    rig.record(ticket, Failure, secs(5));
    rig.assert_counts(1, 1, 0);
}

#[test]
fn hours_of_silence_empty_the_window() {
    for gap in [10, 11, 19, 20, 3600, 86_400, u64::from(u32::MAX)] {
        let mut rig = Rig::new(Settings {
            min_calls: 100,
            ..base()
        });
        for _ in 0..10 {
            rig.call(Failure);
            rig.wait(secs(1));
        }
        rig.now -= secs(1);
        rig.assert_counts(10, 10, 0);
        rig.wait(secs(gap));
        rig.call(Success);
        rig.assert_counts(1, 0, 0);
    }
}

#[test]
fn ageing_trips_nothing() {
    let mut rig = Rig::new(Settings {
        min_calls: 2,
        ..base()
    });
    rig.calls(2, Success);
    rig.wait(secs(9));
    rig.call(Failure);
    rig.call(Success);
    rig.wait(secs(1));
    // Half of what is left has failed, and only a record may say so.
    rig.assert_counts(2, 1, 0);
    rig.assert_state(State::Closed);
    rig.call(Success);
    rig.assert_state(State::Closed);
}

#[test]
fn time_does_not_run_backwards() {
    let mut rig = Rig::new(base());
    rig.enter(State::Open);
    rig.wait(ms(600));
    assert_eq!(rig.rejected().retry_after, ms(400));
    rig.now = ms(100);
    assert_eq!(rig.rejected().retry_after, ms(400));
    // An instant before the origin is the origin.
    let mut early = Rig::new(base());
    early.wait(secs(5));
    let before = early.start;
    early.machine.operate(Operation::Trip, early.now()).unwrap();
    let rejected = early.machine.acquire(before).unwrap_err();
    assert_eq!(rejected.retry_after, secs(1));
}

#[test]
fn so_many_failures_in_a_row_trip_at_once() {
    let row = Settings {
        consecutive_failures: Some(3),
        min_calls: 100,
        ..base()
    };
    let mut rig = Rig::new(row.clone());
    rig.calls(2, Failure);
    rig.call(Success);
    rig.calls(2, Failure);
    rig.call(Ignored);
    rig.assert_state(State::Closed);
    rig.call(Failure);
    assert_eq!(
        rig.transitions(),
        [(State::Closed, State::Open, Cause::ConsecutiveFailures)]
    );

    // Off.
    let mut rig = Rig::new(Settings {
        min_calls: 100,
        ..base()
    });
    rig.calls(99, Failure);
    rig.assert_state(State::Closed);

    // The row does not outlive its epoch.
    let mut rig = Rig::new(row.clone());
    rig.calls(2, Failure);
    rig.operate(Operation::Reset).unwrap();
    rig.calls(2, Failure);
    rig.assert_state(State::Closed);

    // A rate that is reached at once is the better explanation.
    let mut rig = Rig::new(Settings {
        min_calls: 3,
        ..row
    });
    rig.calls(3, Failure);
    assert_eq!(
        rig.transitions(),
        [(State::Closed, State::Open, Cause::FailureRate)]
    );
}

#[test]
fn rates_are_unknown_below_the_minimum() {
    let mut rig = Rig::new(base());
    rig.calls(3, Success);
    let view = rig.view();
    assert_eq!((view.failure_rate, view.slow_rate), (None, None));
    rig.call_of(Failure, secs(1));
    let view = rig.view();
    assert_eq!(
        (view.failure_rate, view.slow_rate),
        (Some(0.25), Some(0.25))
    );
}

#[test]
fn open_waits_grow_to_the_cap_and_begin_anew_after_a_recovery() {
    let mut rig = Rig::new(Settings {
        open_for_max: secs(7),
        half_open_calls: 1,
        ..base()
    });
    rig.calls(4, Failure);
    for (opens, wait) in [(1, 1), (2, 2), (3, 4), (4, 7), (5, 7)] {
        let view = rig.view();
        assert_eq!((view.opens, view.open_remaining), (opens, secs(wait)));
        rig.wait(secs(wait) - NANO);
        assert_eq!(
            rig.rejected(),
            Rejected {
                retry_after: NANO,
                state: State::Open
            }
        );
        rig.wait(NANO);
        assert_eq!(rig.machine.peek(rig.now()), Ok(()));
        rig.assert_state(State::Open);
        assert_eq!(rig.view().open_remaining, Duration::ZERO);
        rig.call(Failure);
    }
    rig.wait(secs(7));
    let probe = rig.acquire();
    assert_eq!(rig.view().opens, 6, "kept while half-open");
    rig.record(probe, Success, FAST);
    assert_eq!(rig.view().opens, 0);
    rig.calls(4, Failure);
    assert_eq!(rig.view().open_remaining, secs(1));
}

#[test]
fn open_waits_are_computed_in_whole_milliseconds() {
    let wait = |open_for, multiplier, jitter, opens, draw| {
        let settings = Settings {
            open_for: ms(open_for),
            open_multiplier: multiplier,
            open_jitter: jitter,
            ..base()
        };
        wait::open_wait(&settings, opens, draw).as_micros()
    };
    assert_eq!(wait(1001, 1500, 0, 1, u32::MAX), 1_001_000);
    assert_eq!(wait(1001, 1500, 0, 2, 0), 1_501_000);
    assert_eq!(wait(1001, 1500, 0, 3, 0), 2_251_000);
    // Where rounding eats the growth, and whatever the number of openings.
    assert_eq!(wait(1, 1500, 0, u32::MAX, 0), 1_000);
    assert_eq!(wait(5000, 1000, 0, u32::MAX, 0), 5_000_000);
    assert_eq!(wait(5000, u32::MAX, 0, u32::MAX, 0), 60_000_000);
    // Jitter lengthens, past the cap too, and by less than its share.
    assert_eq!(wait(1000, 2000, 100, 1, 0), 1_000_000);
    assert_eq!(wait(1000, 2000, 100, 1, 1 << 31), 1_050_000);
    assert_eq!(wait(1000, 2000, 100, 1, u32::MAX), 1_099_000);
    assert_eq!(wait(60_000, 2000, 1000, 9, 1 << 31), 90_000_000);
}

#[test]
fn jitter_is_drawn_from_the_seed() {
    let waits = |seed| {
        let mut rig = Rig::new(base());
        let settings = Settings {
            open_jitter: 500,
            open_multiplier: 1000,
            ..base()
        };
        rig.machine = Machine::new(settings, seed, rig.start);
        (0..20)
            .map(|_| {
                rig.operate(Operation::Trip).unwrap();
                rig.view().open_remaining
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
    assert!(
        waits(3)
            .iter()
            .all(|wait| (secs(1)..ms(1500)).contains(wait))
    );
}
