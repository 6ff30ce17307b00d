//! Running attempts past `slow_call`.

use super::*;

/// The first instant at which an attempt dispatched at zero is overdue.
const DUE: Duration = SLOW_CALL.saturating_add(NANO);

fn hang(rig: &mut Rig, count: usize) -> Vec<Ticket> {
    (0..count).map(|_| rig.acquire()).collect()
}

#[test]
fn hung_calls_trip_while_they_hang() {
    let mut rig = Rig::new(base());
    hang(&mut rig, 4);
    rig.wait(SLOW_CALL);
    rig.assert_state(State::Closed);
    rig.wait(NANO);
    rig.assert_state(State::Open);
    assert_eq!(
        rig.machine.take_events(),
        [Event::Transition(Transition {
            from: State::Closed,
            to: State::Open,
            cause: Cause::Overdue,
            counts: Counts {
                calls: 0,
                failed: 0,
                slow: 0,
                overdue: 4
            },
            open_wait: Some(secs(1)),
        })]
    );
}

#[test]
fn whoever_looks_finds_the_trip_as_of_when_it_was_due() {
    type Look = fn(&mut Rig, Ticket);
    let looks: [(&str, Look); 6] = [
        ("peek", |rig, _| {
            assert!(rig.machine.peek(rig.now()).is_err())
        }),
        ("acquire", |rig, _| {
            assert!(rig.machine.acquire(rig.now()).is_err())
        }),
        ("head", |rig, ticket| rig.head(ticket)),
        ("record", |rig, ticket| {
            assert_eq!(rig.record(ticket, Success, FAST), Counted::Late);
        }),
        ("pause", |rig, ticket| rig.machine.pause(ticket, rig.now())),
        ("view", |rig, _| assert_eq!(rig.view().opens, 1)),
    ];
    for (name, look) in looks {
        let mut rig = Rig::new(base());
        let tickets = hang(&mut rig, 4);
        rig.wait(DUE + ms(300));
        look(&mut rig, tickets[0]);
        assert_eq!(
            rig.transitions(),
            [(State::Closed, State::Open, Cause::Overdue)],
            "{name}"
        );
        assert_eq!(rig.rejected().retry_after, ms(700), "{name}");
    }
}

#[test]
fn fewer_overdue_calls_than_the_minimum_do_not_trip() {
    let mut rig = Rig::new(base());
    hang(&mut rig, 3);
    rig.wait(secs(3600));
    rig.assert_state(State::Closed);
    assert_eq!(rig.view().counts.overdue, 3);
    hang(&mut rig, 1);
    rig.wait(DUE);
    rig.assert_state(State::Open);
}

#[test]
fn a_small_bulkhead_full_of_hung_calls_trips_too() {
    let mut rig = Rig::new(Settings {
        max_requests: 2,
        ..base()
    });
    hang(&mut rig, 1);
    rig.wait(ms(50));
    hang(&mut rig, 1);
    rig.wait(ms(50) + NANO);
    rig.assert_state(State::Closed);
    rig.wait(ms(50));
    rig.assert_state(State::Open);
}

#[test]
fn overdue_calls_are_held_against_outcomes_since_the_oldest_was_dispatched() {
    for (since, trips) in [(4, true), (5, false)] {
        let mut rig = Rig::new(base());
        // Earlier outcomes hide nothing.
        rig.calls(1000, Success);
        hang(&mut rig, 4);
        rig.calls(since, Success);
        rig.calls(9, Ignored);
        rig.wait(DUE);
        let state = if trips { State::Open } else { State::Closed };
        assert_eq!(rig.view().state, state, "{since} outcomes since");
    }
}

#[test]
fn the_oldest_is_the_oldest_that_is_overdue() {
    let mut rig = Rig::new(base());
    let first = rig.acquire();
    rig.calls(100, Success);
    hang(&mut rig, 4);
    // With the first among them there were 100 outcomes, without it there are none.
    rig.head(first);
    rig.wait(DUE);
    rig.assert_state(State::Open);

    let mut rig = Rig::new(base());
    let first = rig.acquire();
    rig.calls(100, Success);
    hang(&mut rig, 4);
    rig.wait(DUE);
    rig.assert_state(State::Closed);
    // Evaluated when one becomes overdue, not when one ends.
    rig.record(first, Ignored, DUE);
    rig.assert_state(State::Closed);
    hang(&mut rig, 1);
    rig.wait(DUE);
    rig.assert_state(State::Open);
}

#[test]
fn an_attempt_with_its_head_is_never_overdue() {
    let mut rig = Rig::new(base());
    for ticket in hang(&mut rig, 10) {
        rig.head(ticket);
    }
    rig.wait(secs(3600));
    rig.assert_state(State::Closed);
    assert_eq!(rig.view().counts.overdue, 0);
}

#[test]
fn an_attempt_stops_being_overdue_with_its_head_or_end() {
    let mut rig = Rig::new(base());
    let tickets = hang(&mut rig, 3);
    rig.wait(DUE);
    assert_eq!(rig.view().counts.overdue, 3);
    rig.head(tickets[0]);
    assert_eq!(rig.view().counts.overdue, 2);
    rig.record(tickets[1], Failure, DUE);
    assert_eq!(rig.view().counts.overdue, 1);
    rig.record(tickets[2], Abandoned, DUE);
    assert_eq!(rig.view().counts.overdue, 0);
    // Each enters the window once, when it ends.
    rig.assert_counts(2, 1, 2);
    rig.record(tickets[0], Ignored, DUE);
    rig.assert_counts(2, 1, 2);
}

#[test]
fn a_ticket_with_its_head_does_not_touch_the_next_attempt() {
    let mut rig = Rig::new(base());
    for done in hang(&mut rig, 4) {
        rig.head(done);
        // Takes over the place of `done`.
        rig.acquire();
        rig.machine.pause(done, rig.now());
        rig.head(done);
        rig.record(done, Ignored, FAST);
    }
    rig.wait(DUE);
    rig.assert_state(State::Open);
}

#[test]
fn a_clock_that_stands_is_not_overdue() {
    let mut rig = Rig::new(base());
    let tickets = hang(&mut rig, 4);
    rig.wait(ms(40));
    for ticket in &tickets {
        rig.machine.pause(*ticket, rig.now());
        rig.machine.pause(*ticket, rig.now());
    }
    rig.wait(secs(10));
    rig.assert_state(State::Closed);
    for ticket in &tickets {
        rig.machine.resume(*ticket, rig.now());
    }
    rig.wait(ms(30));
    for ticket in &tickets {
        rig.machine.resume(*ticket, rig.now());
        rig.machine.pause(*ticket, rig.now());
    }
    rig.wait(secs(10));
    for ticket in &tickets {
        rig.machine.resume(*ticket, rig.now());
    }
    rig.wait(ms(30));
    assert_eq!(rig.view().counts.overdue, 0);
    rig.wait(NANO);
    rig.assert_state(State::Open);
}

#[test]
fn an_overdue_attempt_stays_so_while_its_clock_stands() {
    let mut rig = Rig::new(base());
    let tickets = hang(&mut rig, 3);
    rig.wait(DUE);
    rig.view();
    for ticket in tickets {
        rig.machine.pause(ticket, rig.now());
        rig.machine.resume(ticket, rig.now());
    }
    assert_eq!(rig.view().counts.overdue, 3);
}

#[test]
fn resumed_attempts_and_others_fall_due_in_order() {
    let mut rig = Rig::new(Settings {
        min_calls: 3,
        ..base()
    });
    let early = rig.acquire();
    rig.machine.pause(early, rig.now());
    rig.wait(ms(10));
    rig.acquire();
    rig.wait(ms(10));
    rig.machine.resume(early, rig.now());
    rig.wait(ms(10));
    rig.acquire();
    // Due at 110, 120 (the early one) and 130 ms, plus the nanosecond.
    for (at, overdue) in [(110, 0), (111, 1), (120, 1), (121, 2), (130, 2)] {
        rig.now = ms(at);
        assert_eq!(rig.view().counts.overdue, overdue, "at {at} ms");
    }
    rig.now = ms(131);
    rig.assert_state(State::Open);
    assert_eq!(rig.view().open_remaining, ms(1130) + NANO - ms(131));
}

#[test]
fn a_paused_attempt_that_ends_is_gone() {
    let mut rig = Rig::new(base());
    let tickets = hang(&mut rig, 4);
    for ticket in &tickets {
        rig.machine.pause(*ticket, rig.now());
    }
    rig.head(tickets[0]);
    rig.record(tickets[1], Ignored, FAST);
    for ticket in &tickets {
        rig.machine.resume(*ticket, rig.now());
    }
    rig.wait(DUE);
    assert_eq!(rig.view().counts.overdue, 2);
}

#[test]
fn off_means_off() {
    for settings in [
        Settings {
            count_overdue: false,
            ..base()
        },
        Settings {
            slow_call: None,
            ..base()
        },
    ] {
        let mut rig = Rig::new(settings);
        hang(&mut rig, 100);
        rig.wait(secs(3600));
        rig.assert_state(State::Closed);
        assert_eq!(rig.view().counts.overdue, 0);
    }
}

#[test]
fn attempts_of_an_earlier_epoch_are_not_counted() {
    let mut rig = Rig::new(base());
    hang(&mut rig, 3);
    rig.operate(Operation::Reset).unwrap();
    hang(&mut rig, 1);
    rig.wait(DUE);
    rig.assert_state(State::Closed);
    assert_eq!(rig.view().counts.overdue, 1);
}

#[test]
fn an_overdue_probe_is_a_slow_result_at_once() {
    for (slow, to) in [(1, State::Closed), (2, State::Open)] {
        let mut rig = Rig::new(base());
        rig.enter(State::HalfOpen);
        hang(&mut rig, slow);
        for _ in slow..3 {
            rig.call(Success);
        }
        rig.wait(SLOW_CALL);
        rig.assert_state(State::HalfOpen);
        rig.wait(ms(500));
        rig.assert_state(to);
        if to == State::Open {
            assert_eq!(
                rig.transitions(),
                [(State::HalfOpen, State::Open, Cause::SlowRate)]
            );
            assert_eq!(
                rig.view().open_remaining,
                ms(1500) + NANO,
                "second opening, since due"
            );
        }
    }
}

#[test]
fn an_overdue_probe_does_not_count_twice() {
    for verdict in [Success, Failure, Ignored, Abandoned] {
        for head in [false, true] {
            let mut rig = Rig::new(base());
            rig.enter(State::HalfOpen);
            let probe = rig.acquire();
            rig.wait(DUE);
            rig.assert_counts(1, 0, 1);
            assert_eq!(rig.view().counts.overdue, 1);
            assert_eq!(rig.view().probes_left, 2);
            if head {
                rig.head(probe);
                rig.head(probe);
                assert_eq!(rig.view().counts.overdue, 0);
            }
            rig.record(probe, verdict, DUE);
            rig.assert_counts(1, 0, 1);
            assert_eq!(
                rig.view().probes_left,
                2,
                "its permit is used up: {verdict:?}"
            );
            assert_eq!(rig.view().counts.overdue, 0);
            rig.calls(2, Success);
            rig.assert_state(State::Closed);
        }
    }
}

#[test]
fn a_probe_with_its_head_in_time_counts_when_it_ends() {
    let mut rig = Rig::new(base());
    rig.enter(State::HalfOpen);
    let probe = rig.acquire();
    rig.head(probe);
    rig.wait(secs(60));
    rig.assert_counts(0, 0, 0);
    rig.record(probe, Failure, FAST);
    rig.assert_counts(1, 1, 0);
}

#[test]
fn a_period_that_ends_as_a_probe_falls_due_is_over() {
    let mut rig = Rig::new(Settings {
        half_open_calls: 1,
        half_open_max_wait: Some(DUE),
        half_open_on_max_wait: AfterMaxWait::Closed,
        ..base()
    });
    rig.enter(State::HalfOpen);
    rig.acquire();
    rig.wait(DUE);
    rig.assert_state(State::Closed);
    assert_eq!(
        rig.transitions(),
        [(State::HalfOpen, State::Closed, Cause::MaxWait)]
    );
}

#[test]
fn overdue_attempts_would_trip_in_metrics_only() {
    let mut rig = Rig::new(base());
    rig.enter(State::MetricsOnly);
    hang(&mut rig, 9);
    rig.wait(DUE);
    rig.assert_state(State::MetricsOnly);
    assert_eq!(
        rig.machine.take_events(),
        [Event::WouldTrip {
            cause: Cause::Overdue,
            counts: Counts {
                overdue: 4,
                ..Counts::default()
            },
        }]
    );
}
