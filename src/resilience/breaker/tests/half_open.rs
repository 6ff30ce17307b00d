//! Probes, stale tickets, and what time does to open and half-open.

use super::*;

fn half_open() -> Rig {
    half_open_with(base())
}

fn half_open_with(settings: Settings) -> Rig {
    let mut rig = Rig::new(settings);
    rig.enter(State::HalfOpen);
    rig
}

#[test]
fn the_first_attempt_after_the_wait_is_a_probe() {
    let mut rig = Rig::new(base());
    rig.enter(State::Open);
    rig.wait(secs(30));
    rig.assert_state(State::Open);
    assert_eq!(rig.transitions(), []);
    rig.acquire();
    assert_eq!(
        rig.transitions(),
        [(State::Open, State::HalfOpen, Cause::WaitOver)]
    );
    assert_eq!(rig.view().probes_left, 2);
}

#[test]
fn no_more_probes_than_permits() {
    let mut rig = half_open();
    for left in [2, 1, 0] {
        rig.acquire();
        assert_eq!(rig.view().probes_left, left);
    }
    for _ in 0..10 {
        assert_eq!(
            rig.rejected(),
            Rejected {
                retry_after: Duration::ZERO,
                state: State::HalfOpen
            }
        );
    }
}

#[test]
fn probes_without_evidence_give_their_permits_back() {
    let mut rig = half_open();
    for _ in 0..5 {
        let probes = [rig.acquire(), rig.acquire(), rig.acquire()];
        rig.rejected();
        for (probe, verdict) in probes.into_iter().zip([Ignored, Abandoned, Abandoned]) {
            assert_eq!(rig.record(probe, verdict, FAST), Counted::Ignored);
        }
        assert_eq!(rig.view().probes_left, 3);
    }
    rig.assert_state(State::HalfOpen);
}

#[test]
fn a_result_uses_its_permit_up() {
    let mut rig = half_open();
    rig.calls(2, Success);
    assert_eq!(rig.view().probes_left, 1);
    rig.assert_counts(2, 0, 0);
    assert_eq!(rig.view().failure_rate, None);
}

#[test]
fn the_last_result_decides_and_none_before() {
    for (verdicts, to, cause) in [
        ([Failure, Failure, Failure], State::Open, Cause::FailureRate),
        ([Failure, Failure, Success], State::Open, Cause::FailureRate),
        ([Success, Failure, Success], State::Closed, Cause::Recovered),
        ([Success, Success, Success], State::Closed, Cause::Recovered),
    ] {
        let mut rig = half_open();
        rig.calls(1, verdicts[0]);
        rig.calls(1, verdicts[1]);
        rig.assert_state(State::HalfOpen);
        rig.calls(1, verdicts[2]);
        assert_eq!(rig.transitions(), [(State::HalfOpen, to, cause)]);
        rig.assert_counts(0, 0, 0);
    }
}

#[test]
fn slow_probes_count_like_failed_ones() {
    for (verdict, cause) in [
        (Success, Cause::SlowRate),
        (Failure, Cause::FailureAndSlowRate),
    ] {
        let mut rig = half_open();
        for _ in 0..3 {
            rig.call_of(verdict, SLOW_CALL + NANO);
        }
        assert_eq!(rig.transitions(), [(State::HalfOpen, State::Open, cause)]);
    }
    let mut rig = half_open();
    for _ in 0..3 {
        rig.call_of(Success, SLOW_CALL);
    }
    rig.assert_state(State::Closed);
}

#[test]
fn the_minimum_of_calls_is_not_asked_for_in_half_open() {
    let mut rig = half_open_with(Settings {
        min_calls: 100,
        ..base()
    });
    rig.calls(3, Failure);
    rig.assert_state(State::Open);
}

#[test]
fn failures_in_a_row_do_not_decide_in_half_open() {
    let mut rig = half_open_with(Settings {
        consecutive_failures: Some(1),
        ..base()
    });
    rig.call(Failure);
    rig.assert_state(State::HalfOpen);
    rig.calls(2, Success);
    rig.assert_state(State::Closed);
}

#[test]
fn a_stale_ticket_changes_nothing() {
    for verdict in [Success, Failure, Ignored, Abandoned] {
        for duration in [FAST, secs(1)] {
            let mut rig = Rig::new(Settings {
                half_open_calls: 1,
                ..base()
            });
            let stale: Vec<_> = (0..5).map(|_| rig.acquire()).collect();
            let check = |rig: &mut Rig, ticket, state| {
                let before = rig.view();
                assert_eq!(before.state, state);
                rig.machine.pause(ticket, rig.now());
                rig.machine.resume(ticket, rig.now());
                rig.head(ticket);
                assert_eq!(rig.record(ticket, verdict, duration), Counted::Late);
                assert_eq!(rig.view(), before);
                assert_eq!(rig.machine.take_events(), []);
            };
            rig.operate(Operation::Reset).unwrap();
            rig.machine.take_events();
            check(&mut rig, stale[0], State::Closed);
            rig.enter(State::Open);
            check(&mut rig, stale[1], State::Open);
            rig.wait(secs(1));
            let probe = rig.acquire();
            rig.machine.take_events();
            check(&mut rig, stale[2], State::HalfOpen);
            rig.record(probe, Success, FAST);
            rig.machine.take_events();
            check(&mut rig, stale[3], State::Closed);
            rig.call(Failure);
            check(&mut rig, stale[4], State::Closed);
        }
    }
}

#[test]
fn a_probe_of_an_earlier_period_is_stale() {
    let mut rig = half_open_with(Settings {
        half_open_calls: 1,
        ..base()
    });
    let earlier = rig.acquire();
    rig.operate(Operation::Probe).unwrap();
    let probe = rig.acquire();
    assert_eq!(rig.record(earlier, Ignored, FAST), Counted::Late);
    assert_eq!(rig.view().probes_left, 0, "no permit is minted");
    rig.record(probe, Success, FAST);
    rig.assert_state(State::Closed);
}

#[test]
fn the_longest_wait_ends_the_period() {
    for (then, to) in [
        (AfterMaxWait::Open, State::Open),
        (AfterMaxWait::Closed, State::Closed),
    ] {
        let mut rig = half_open_with(Settings {
            half_open_max_wait: Some(secs(2)),
            half_open_on_max_wait: then,
            slow_call: None,
            ..base()
        });
        let probe = rig.acquire();
        rig.call(Success);
        rig.wait(secs(2) - NANO);
        rig.assert_state(State::HalfOpen);
        rig.wait(NANO);
        rig.assert_state(to);
        assert_eq!(rig.transitions(), [(State::HalfOpen, to, Cause::MaxWait)]);
        let view = rig.view();
        if to == State::Open {
            assert_eq!(
                (view.opens, view.open_remaining),
                (2, secs(2)),
                "one more opening"
            );
        } else {
            assert_eq!((view.opens, view.counts.calls), (0, 0));
        }
        assert_eq!(rig.record(probe, Failure, FAST), Counted::Late);
    }
}

#[test]
fn the_wait_counts_from_when_the_period_ended_not_from_who_looked() {
    let mut rig = half_open_with(Settings {
        half_open_max_wait: Some(secs(2)),
        ..base()
    });
    rig.wait(ms(3500));
    assert_eq!(rig.rejected().retry_after, ms(500));
    rig.wait(ms(500));
    rig.acquire();
    rig.assert_state(State::HalfOpen);
}

#[test]
fn no_longest_wait_by_default() {
    for half_open_max_wait in [None, Some(Duration::ZERO)] {
        let mut rig = half_open_with(Settings {
            half_open_max_wait,
            ..base()
        });
        rig.wait(secs(86_400));
        rig.assert_state(State::HalfOpen);
    }
}

#[test]
fn open_is_left_alone_where_so_set_and_cascades_in_time() {
    let mut rig = Rig::new(Settings {
        auto_half_open: true,
        half_open_max_wait: Some(secs(10)),
        ..base()
    });
    rig.enter(State::Open);
    rig.wait(secs(1) - NANO);
    rig.assert_state(State::Open);
    rig.wait(NANO);
    rig.assert_state(State::HalfOpen);
    assert_eq!(
        rig.transitions(),
        [(State::Open, State::HalfOpen, Cause::WaitOver)]
    );
    // Half-open until 11 s, open until 13 s, half-open until 23 s, open until 27 s.
    rig.now = secs(25);
    assert_eq!(
        rig.rejected(),
        Rejected {
            retry_after: secs(2),
            state: State::Open
        }
    );
    assert_eq!(
        rig.transitions(),
        [
            (State::HalfOpen, State::Open, Cause::MaxWait),
            (State::Open, State::HalfOpen, Cause::WaitOver),
            (State::HalfOpen, State::Open, Cause::MaxWait),
        ]
    );
    assert_eq!(rig.view().opens, 3);
}
