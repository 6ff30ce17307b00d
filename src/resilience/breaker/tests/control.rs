//! Operators, overrides, reloads and views.

use super::*;

#[test]
fn every_operation_in_every_state() {
    let until = crate::time::now() + secs(86_400);
    let operations = [
        Operation::Reset,
        Operation::Trip,
        Operation::Probe,
        Operation::ForcedOpen { until },
        Operation::Disabled { until },
        Operation::MetricsOnly { until },
    ];
    for state in State::ALL {
        for operation in operations {
            let mut rig = Rig::new(base());
            rig.enter(state);
            let ticket = rig.machine.acquire(rig.now()).ok();
            let before = rig.view();
            let overridden = matches!(
                state,
                State::MetricsOnly | State::Disabled | State::ForcedOpen
            );
            let to = match operation {
                Operation::Reset => Some(State::Closed),
                Operation::Trip => (!overridden).then_some(State::Open),
                Operation::Probe => {
                    matches!(state, State::Open | State::HalfOpen).then_some(State::HalfOpen)
                }
                Operation::ForcedOpen { .. } => Some(State::ForcedOpen),
                Operation::Disabled { .. } => Some(State::Disabled),
                Operation::MetricsOnly { .. } => Some(State::MetricsOnly),
            };
            let done = rig.operate(operation);
            let after = rig.view();
            let label = format!("{operation:?} in {state:?}");
            let Some(to) = to else {
                assert_eq!(done, Err(Refused::State(state)), "{label}");
                assert_eq!(after, before, "{label}");
                assert_eq!(rig.machine.take_events(), [], "{label}");
                continue;
            };
            assert_eq!(done, Ok(()), "{label}");
            assert_eq!(rig.transitions(), [(state, to, Cause::Operator)], "{label}");
            assert_eq!(after.state, to, "{label}");
            assert_eq!(after.transitions, before.transitions + 1, "{label}");
            let opens = match to {
                State::Open => before.opens + 1,
                State::HalfOpen => before.opens,
                _ => 0,
            };
            assert_eq!(after.opens, opens, "{label}");
            let probes = if to == State::HalfOpen { 3 } else { 0 };
            assert_eq!(after.probes_left, probes, "{label}");
            if let Some(ticket) = ticket {
                assert_eq!(rig.record(ticket, Failure, FAST), Counted::Late, "{label}");
            }
        }
    }
}

#[test]
fn every_state_admits_and_records_as_it_should() {
    for (state, admits, calls) in [
        (State::Closed, true, 1),
        (State::Open, false, 0),
        (State::HalfOpen, true, 1),
        (State::MetricsOnly, true, 1),
        (State::Disabled, true, 0),
        (State::ForcedOpen, false, 0),
    ] {
        let mut rig = Rig::new(base());
        rig.enter(state);
        if admits {
            assert_eq!(rig.machine.peek(rig.now()), Ok(()));
            assert_eq!(rig.call(Failure), Counted::Failure { slow: false });
        } else {
            assert_eq!(rig.rejected().state, state);
        }
        rig.assert_state(state);
        rig.assert_counts(calls, calls, 0);
        assert_eq!(rig.transitions(), []);
    }
}

#[test]
fn a_peek_takes_nothing() {
    let mut rig = Rig::new(base());
    rig.enter(State::HalfOpen);
    for _ in 0..10 {
        assert_eq!(rig.machine.peek(rig.now()), Ok(()));
    }
    assert_eq!(rig.view().probes_left, 3);
}

#[test]
fn steady_is_where_attempts_go_out_as_without_a_breaker() {
    for (state, steady) in [
        (State::Closed, true),
        (State::Open, false),
        (State::HalfOpen, false),
        (State::MetricsOnly, true),
        (State::Disabled, true),
        (State::ForcedOpen, false),
    ] {
        let mut rig = Rig::new(base());
        rig.enter(state);
        let expected = if steady { Ok(()) } else { Err(state) };
        assert_eq!(rig.machine.steady(rig.now()), expected);
    }
    // What would be a probe is not one of them either.
    let mut rig = Rig::new(base());
    rig.enter(State::Open);
    rig.wait(secs(1));
    assert_eq!(rig.machine.steady(rig.now()), Err(State::Open));
    rig.assert_state(State::Open);
}

#[test]
fn there_are_events_until_they_are_taken() {
    let mut rig = Rig::new(base());
    assert!(!rig.machine.has_events());
    rig.operate(Operation::Trip).expect("is possible");
    assert!(rig.machine.has_events());
    assert_eq!(rig.machine.take_events().len(), 1);
    assert!(!rig.machine.has_events());
}

#[test]
fn an_override_ends_with_a_reset() {
    for operation in [
        |until| Operation::ForcedOpen { until },
        |until| Operation::Disabled { until },
        |until| Operation::MetricsOnly { until },
    ] {
        let mut rig = Rig::new(base());
        rig.calls(3, Failure);
        let until = rig.at(secs(30));
        rig.operate(operation(until)).unwrap();
        let overridden = rig.view().state;
        rig.transitions();
        rig.wait(secs(30) - NANO);
        rig.assert_state(overridden);
        assert_eq!(rig.view().override_remaining, Some(NANO));
        let ticket = rig.machine.acquire(rig.now()).ok();
        rig.wait(NANO);
        rig.assert_state(State::Closed);
        assert_eq!(rig.view().override_remaining, None);
        assert_eq!(
            rig.transitions(),
            [(overridden, State::Closed, Cause::OverrideExpired)]
        );
        rig.assert_counts(0, 0, 0);
        if let Some(ticket) = ticket {
            assert_eq!(rig.record(ticket, Failure, FAST), Counted::Late);
        }
    }
}

#[test]
fn an_override_that_is_over_already_ends_at_once() {
    let mut rig = Rig::new(base());
    rig.wait(secs(5));
    let until = rig.at(secs(1));
    rig.operate(Operation::ForcedOpen { until }).unwrap();
    assert!(rig.machine.peek(rig.now()).is_ok());
    assert_eq!(
        rig.transitions(),
        [
            (State::Closed, State::ForcedOpen, Cause::Operator),
            (State::ForcedOpen, State::Closed, Cause::OverrideExpired),
        ]
    );
}

#[test]
fn forced_open_says_when_it_ends() {
    let mut rig = Rig::new(base());
    rig.enter(State::ForcedOpen);
    rig.wait(secs(3590));
    assert_eq!(
        rig.rejected(),
        Rejected {
            retry_after: secs(10),
            state: State::ForcedOpen
        }
    );
}

#[test]
fn metrics_only_reports_once_per_entry_and_never_trips() {
    let mut rig = Rig::new(base());
    for _ in 0..2 {
        rig.enter(State::MetricsOnly);
        rig.calls(3, Failure);
        assert_eq!(rig.machine.take_events(), []);
        rig.calls(20, Failure);
        assert_eq!(
            rig.machine.take_events(),
            [Event::WouldTrip {
                cause: Cause::FailureRate,
                counts: Counts {
                    calls: 4,
                    failed: 4,
                    slow: 0,
                    overdue: 0
                },
            }]
        );
        assert_eq!(rig.view().failure_rate, Some(1.0));
        rig.assert_state(State::MetricsOnly);
    }
}

#[test]
fn thresholds_act_from_the_next_record() {
    let mut rig = Rig::new(base());
    rig.calls(3, Failure);
    rig.reconfigure(|settings| settings.min_calls = 2);
    rig.assert_state(State::Closed);
    rig.call(Success);
    rig.assert_state(State::Open);

    let mut rig = Rig::new(Settings {
        failure_rate: WHOLE,
        ..base()
    });
    rig.calls(3, Failure);
    rig.call(Success);
    rig.reconfigure(|settings| settings.failure_rate = 50_000);
    rig.assert_state(State::Closed);
    rig.call(Success);
    rig.assert_state(State::Open);
}

#[test]
fn a_changed_window_starts_empty_and_an_unchanged_one_does_not() {
    let mut rig = Rig::new(base());
    rig.calls(3, Failure);
    let ticket = rig.acquire();
    rig.reconfigure(|settings| settings.open_for = secs(9));
    rig.assert_counts(3, 3, 0);
    rig.reconfigure(|settings| settings.window = Window::Seconds(11));
    rig.assert_counts(0, 0, 0);
    assert_eq!(
        rig.record(ticket, Failure, FAST),
        Counted::Failure { slow: false }
    );
    rig.reconfigure(|settings| settings.window = Window::Calls(11));
    rig.assert_counts(0, 0, 0);
    assert_eq!(rig.transitions(), [], "the state is kept");
    // The new window knows what second it is.
    rig.wait(secs(100));
    rig.reconfigure(|settings| settings.window = Window::Seconds(2));
    rig.call(Failure);
    rig.wait(secs(1));
    rig.assert_counts(1, 1, 0);
}

#[test]
fn an_open_wait_may_only_become_shorter() {
    for (open_for, remaining) in [(1, 0), (4, 1), (10, 7), (60, 7)] {
        let mut rig = Rig::new(Settings {
            open_for: secs(10),
            ..base()
        });
        rig.enter(State::Open);
        rig.wait(secs(3));
        rig.reconfigure(|settings| settings.open_for = secs(open_for));
        rig.assert_state(State::Open);
        assert_eq!(rig.view().open_remaining, secs(remaining));
        assert_eq!(rig.transitions(), []);
    }
}

#[test]
fn a_reload_keeps_the_jitter_that_was_drawn() {
    let mut rig = Rig::new(Settings {
        open_jitter: 1000,
        ..base()
    });
    rig.enter(State::Open);
    let remaining = rig.view().open_remaining;
    assert!(remaining > secs(1));
    rig.reconfigure(|settings| settings.min_calls = 9);
    assert_eq!(rig.view().open_remaining, remaining);
}

#[test]
fn a_reload_does_not_begin_half_open_in_the_past() {
    let mut rig = Rig::new(Settings {
        open_for: secs(100),
        half_open_max_wait: Some(secs(10)),
        ..base()
    });
    rig.enter(State::Open);
    rig.wait(secs(50));
    rig.reconfigure(|settings| {
        settings.open_for = secs(1);
        settings.auto_half_open = true;
    });
    rig.wait(secs(10) - NANO);
    rig.assert_state(State::HalfOpen);
    rig.wait(NANO);
    rig.assert_state(State::Open);
}

#[test]
fn half_open_settings_act_from_the_next_period() {
    let mut rig = Rig::new(base());
    rig.enter(State::HalfOpen);
    rig.reconfigure(|settings| {
        settings.half_open_calls = 1;
        settings.half_open_max_wait = Some(secs(1));
        settings.half_open_on_max_wait = AfterMaxWait::Closed;
    });
    rig.wait(secs(100));
    rig.assert_state(State::HalfOpen);
    rig.calls(2, Success);
    rig.assert_state(State::HalfOpen);
    rig.operate(Operation::Probe).unwrap();
    assert_eq!(rig.view().probes_left, 1);
    rig.wait(secs(1));
    rig.assert_state(State::Closed);
}

#[test]
fn a_reload_survives_overrides() {
    let mut rig = Rig::new(base());
    rig.enter(State::ForcedOpen);
    rig.reconfigure(|settings| settings.window = Window::Calls(5));
    rig.assert_state(State::ForcedOpen);
}

#[test]
fn running_attempts_keep_their_allowance() {
    let mut rig = Rig::new(base());
    let tickets: Vec<_> = (0..3).map(|_| rig.acquire()).collect();
    rig.reconfigure(|settings| settings.slow_call = Some(ms(10)));
    rig.acquire();
    rig.wait(ms(11));
    assert_eq!(rig.view().counts.overdue, 1, "the new one falls due first");
    rig.head(tickets[0]);
    rig.wait(ms(89));
    assert_eq!(rig.view().counts.overdue, 1);
    rig.wait(NANO);
    assert_eq!(rig.view().counts.overdue, 3);
}

#[test]
fn overdue_detection_switched_off_forgets_who_was_overdue() {
    for state in [State::Closed, State::HalfOpen] {
        let mut rig = Rig::new(base());
        rig.enter(state);
        let overdue = rig.acquire();
        rig.wait(secs(1));
        let waiting = rig.acquire();
        assert_eq!(rig.view().counts.overdue, 1);
        rig.reconfigure(|settings| settings.count_overdue = false);
        assert_eq!(rig.view().counts.overdue, 0);
        rig.reconfigure(|settings| settings.count_overdue = true);
        rig.wait(secs(1));
        assert_eq!(rig.view().counts.overdue, 0);
        rig.record(overdue, Failure, FAST);
        rig.record(waiting, Failure, FAST);
        // In half-open the first has had its result: slow, not failed.
        match state {
            State::Closed => rig.assert_counts(2, 2, 0),
            _ => rig.assert_counts(2, 1, 1),
        }
    }
}

#[test]
fn switched_off_it_forgets_all() {
    for state in State::ALL {
        let mut rig = Rig::new(base());
        rig.enter(state);
        let ticket = rig.machine.acquire(rig.now()).ok();
        rig.machine.switch_off(rig.now());
        rig.assert_state(State::Closed);
        rig.assert_counts(0, 0, 0);
        if let Some(ticket) = ticket {
            assert_eq!(rig.record(ticket, Failure, FAST), Counted::Late);
        }
        let expected = if state == State::Closed {
            vec![]
        } else {
            vec![(state, State::Closed, Cause::Operator)]
        };
        assert_eq!(rig.transitions(), expected);
    }
}

#[test]
fn words_are_unique() {
    let states: std::collections::HashSet<_> = State::ALL.iter().map(|s| s.as_str()).collect();
    assert_eq!(states.len(), State::ALL.len());
    let causes = [
        Cause::FailureRate,
        Cause::SlowRate,
        Cause::FailureAndSlowRate,
        Cause::Overdue,
        Cause::ConsecutiveFailures,
        Cause::WaitOver,
        Cause::Recovered,
        Cause::MaxWait,
        Cause::Operator,
        Cause::OverrideExpired,
    ];
    let words: std::collections::HashSet<_> = causes.iter().map(|cause| cause.as_str()).collect();
    assert_eq!(words.len(), causes.len());
}
