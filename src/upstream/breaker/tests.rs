//! Tests of the shell: modes, guards, clocks, observers.

use std::sync::mpsc;

use super::*;
use crate::resilience::Verdict::{Abandoned, Failure, Ignored, Success};
use crate::resilience::breaker::{AfterMaxWait, State, Window};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn settings() -> Settings {
    Settings {
        window: Window::Seconds(10),
        min_calls: 2,
        failure_rate: 50_000,
        slow_call: Some(ms(100)),
        slow_rate: 50_000,
        count_overdue: true,
        max_requests: 100,
        consecutive_failures: None,
        open_for: ms(1000),
        open_for_max: ms(60_000),
        open_multiplier: 2000,
        open_jitter: 0,
        half_open_calls: 1,
        half_open_max_wait: None,
        half_open_on_max_wait: AfterMaxWait::Open,
        auto_half_open: false,
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Changed(State, State, Cause),
    WouldTrip(Cause),
    Counted(Counted),
}

use Heard::Changed;

struct Ear(mpsc::Sender<Heard>);

impl Observer for Ear {
    fn transition(&self, transition: &Transition) {
        let Transition {
            from, to, cause, ..
        } = transition;
        self.0.send(Changed(*from, *to, *cause)).unwrap();
    }

    fn would_trip(&self, cause: Cause, _: &Counts) {
        self.0.send(Heard::WouldTrip(cause)).unwrap();
    }

    fn counted(&self, counted: Counted) {
        self.0.send(Heard::Counted(counted)).unwrap();
    }
}

struct Rig {
    breaker: Arc<Breaker>,
    heard: mpsc::Receiver<Heard>,
    start: Instant,
}

impl Rig {
    fn new(mode: Mode) -> Self {
        let (sender, heard) = mpsc::channel();
        let start = crate::time::now();
        Self {
            breaker: Breaker::new(settings(), mode, 1, Box::new(Ear(sender)), start),
            heard,
            start,
        }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + ms(millis)
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.try_iter().collect()
    }

    fn counted(&self) -> Vec<Counted> {
        self.heard()
            .into_iter()
            .map(|heard| match heard {
                Heard::Counted(counted) => counted,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn admit(&self, millis: u64) -> Permit {
        self.breaker.admit(self.at(millis)).expect("is admitted")
    }

    fn fail(&self, millis: u64) {
        self.admit(millis).record(Failure, self.at(millis));
    }

    fn state(&self, millis: u64) -> State {
        self.breaker.view(self.at(millis)).state
    }

    fn reconfigure(&self, mode: Mode) {
        self.breaker.reconfigure(settings(), mode, self.at(0));
    }
}

#[test]
fn enforced_it_trips_and_rejects_and_recovers() {
    let rig = Rig::new(Mode::Enforce);
    assert_eq!(rig.breaker.mode(), Mode::Enforce);
    rig.fail(0);
    rig.fail(0);
    assert_eq!(
        rig.heard(),
        [
            Heard::Counted(Counted::Failure { slow: false }),
            Changed(State::Closed, State::Open, Cause::FailureRate),
            Heard::Counted(Counted::Failure { slow: false }),
        ]
    );
    let rejected = rig.breaker.admit(rig.at(400)).unwrap_err();
    assert_eq!(rejected.retry_after, ms(600));
    assert_eq!(rig.breaker.peek(rig.at(400)), Err(rejected));
    assert_eq!(rig.counted(), [Counted::Rejected, Counted::Rejected]);
    assert_eq!(rig.breaker.peek(rig.at(1000)), Ok(()));
    rig.admit(1000).record(Success, rig.at(1000));
    assert_eq!(
        rig.heard(),
        [
            Changed(State::Open, State::HalfOpen, Cause::WaitOver),
            Changed(State::HalfOpen, State::Closed, Cause::Recovered),
            Heard::Counted(Counted::Success { slow: false }),
        ]
    );
}

#[test]
fn observed_it_decides_and_lets_pass() {
    let rig = Rig::new(Mode::Observe);
    rig.fail(0);
    rig.fail(0);
    assert_eq!(rig.state(0), State::Open);
    rig.heard();
    assert_eq!(rig.breaker.peek(rig.at(0)), Ok(()));
    assert_eq!(rig.heard(), []);
    let mut passed = rig.admit(0);
    assert_eq!(rig.counted(), [Counted::WouldReject]);
    passed.head(rig.at(50));
    assert_eq!(passed.elapsed(rig.at(70)), ms(50));
    passed.record(Failure, rig.at(70));
    drop(rig.admit(100));
    assert_eq!(
        rig.counted(),
        [Counted::WouldReject],
        "the attempts themselves are not recorded"
    );
    rig.admit(1000).record(Success, rig.at(1000));
    assert_eq!(rig.state(1000), State::Closed);
}

#[test]
fn off_it_keeps_the_clock_alone() {
    let rig = Rig::new(Mode::Off);
    let permit = rig.admit(0);
    assert_eq!(permit.elapsed(rig.at(30)), ms(30));
    permit.record(Failure, rig.at(30));
    for _ in 0..10 {
        rig.fail(40);
    }
    assert_eq!(rig.breaker.peek(rig.at(50)), Ok(()));
    assert_eq!(
        rig.breaker.operate(Operation::Trip, rig.at(50)),
        Err(Refused::Off)
    );
    assert_eq!(rig.heard(), []);
    assert_eq!(rig.breaker.view(rig.at(60)).counts, Counts::default());
}

#[test]
fn switching_off_closes_and_makes_permits_without_effect() {
    let rig = Rig::new(Mode::Enforce);
    let mut dropped_while_off = rig.admit(0);
    let recorded_later = rig.admit(0);
    rig.fail(0);
    rig.fail(0);
    rig.heard();
    rig.reconfigure(Mode::Off);
    assert_eq!(
        rig.heard(),
        [Changed(State::Open, State::Closed, Cause::Operator)]
    );
    dropped_while_off.head(rig.at(0));
    drop(dropped_while_off);
    assert_eq!(rig.heard(), []);
    rig.reconfigure(Mode::Off);
    rig.reconfigure(Mode::Observe);
    recorded_later.record(Failure, rig.at(0));
    assert_eq!(rig.counted(), [Counted::Late]);
    assert_eq!(rig.breaker.view(rig.at(0)).counts, Counts::default());
}

#[test]
fn a_reload_keeps_an_open_breaker_open() {
    let rig = Rig::new(Mode::Enforce);
    rig.fail(0);
    rig.fail(0);
    for mode in [Mode::Enforce, Mode::Observe, Mode::Enforce] {
        rig.reconfigure(mode);
        assert_eq!(rig.breaker.mode(), mode);
        assert_eq!(rig.state(0), State::Open);
    }
}

#[test]
fn a_dropped_probe_gives_its_place_back() {
    let rig = Rig::new(Mode::Enforce);
    rig.breaker.operate(Operation::Trip, rig.at(0)).unwrap();
    rig.breaker.operate(Operation::Probe, rig.at(0)).unwrap();
    let probe = rig.admit(0);
    assert!(rig.breaker.admit(rig.at(0)).is_err());
    drop(probe);
    assert_eq!(rig.breaker.view(crate::time::now()).probes_left, 1);
    rig.heard();
    drop(rig.breaker.admit(crate::time::now()).unwrap());
    assert_eq!(rig.counted(), [Counted::Ignored]);
}

#[test]
fn a_permit_dropped_late_is_a_slow_call() {
    let (sender, heard) = mpsc::channel();
    // Dispatched in the past, as the drop reads the clock itself.
    let now = crate::time::now();
    let past = now
        .checked_sub(ms(101))
        .expect("the machine runs longer than that");
    let mut settings = settings();
    settings.count_overdue = false;
    let breaker = Breaker::new(settings, Mode::Enforce, 1, Box::new(Ear(sender)), past);
    drop(breaker.admit(past).unwrap());
    assert_eq!(
        heard.recv(),
        Ok(Heard::Counted(Counted::Success { slow: true }))
    );
}

#[test]
fn the_duration_is_the_one_to_the_head() {
    let rig = Rig::new(Mode::Enforce);
    let mut permit = rig.admit(0);
    permit.head(rig.at(100));
    permit.head(rig.at(5000));
    assert_eq!(permit.elapsed(rig.at(9000)), ms(100));
    permit.record(Abandoned, rig.at(9000));
    assert_eq!(rig.counted(), [Counted::Ignored], "100 ms is not slow");
    let mut permit = rig.admit(9000);
    permit.head(rig.at(9101));
    permit.record(Ignored, rig.at(9101));
    let mut permit = rig.admit(9200);
    permit.head(rig.at(9301));
    permit.record(Success, rig.at(9302));
    assert_eq!(
        rig.counted(),
        [Counted::Ignored, Counted::Success { slow: true }]
    );
}

#[test]
fn an_upload_stops_the_clock_from_elsewhere() {
    let rig = Rig::new(Mode::Enforce);
    let mut permit = rig.admit(0);
    let clock = permit.upload_clock();
    let other = permit.upload_clock();
    clock.pause(rig.at(40));
    assert_eq!(permit.elapsed(rig.at(90)), ms(40));
    other.pause(rig.at(80));
    other.resume(rig.at(1040));
    clock.resume(rig.at(1050));
    assert_eq!(permit.elapsed(rig.at(1060)), ms(60));
    let overdue = |millis| rig.breaker.view(rig.at(millis)).counts.overdue;
    assert_eq!(overdue(1100), 0);
    assert_eq!(overdue(1101), 1, "the machine knows of the pause");
    permit.head(rig.at(1110));
    clock.pause(rig.at(1200));
    clock.resume(rig.at(1300));
    assert_eq!(permit.elapsed(rig.at(1400)), ms(110));
    permit.record(Success, rig.at(1400));
    clock.pause(rig.at(1500));
    assert_eq!(rig.counted(), [Counted::Success { slow: true }]);
}

#[test]
fn a_head_during_a_pause_ends_it() {
    let rig = Rig::new(Mode::Enforce);
    let mut permit = rig.admit(0);
    let clock = permit.upload_clock();
    clock.pause(rig.at(10));
    permit.head(rig.at(500));
    clock.resume(rig.at(600));
    assert_eq!(permit.elapsed(rig.at(700)), ms(10));
    permit.record(Success, rig.at(700));
    assert_eq!(rig.counted(), [Counted::Success { slow: false }]);
}

#[test]
fn metrics_only_reports_what_would_have_tripped() {
    let rig = Rig::new(Mode::Enforce);
    let until = rig.at(1000);
    rig.breaker
        .operate(Operation::MetricsOnly { until }, rig.at(0))
        .unwrap();
    rig.fail(0);
    rig.heard();
    rig.fail(0);
    rig.fail(0);
    let failure = Heard::Counted(Counted::Failure { slow: false });
    assert_eq!(
        rig.heard(),
        [
            Heard::WouldTrip(Cause::FailureRate),
            failure.clone(),
            failure
        ]
    );
}

#[test]
fn an_observer_may_call_the_breaker() {
    struct Nosy(
        mpsc::Sender<State>,
        std::sync::OnceLock<std::sync::Weak<Breaker>>,
    );
    impl Observer for Arc<Nosy> {
        fn transition(&self, transition: &Transition) {
            let breaker = self.1.get().unwrap().upgrade().unwrap();
            let now = crate::time::now();
            self.0.send(transition.to).unwrap();
            if transition.to == State::Open {
                breaker.operate(Operation::Probe, now).unwrap();
                // Heard after this call, not within it.
                self.0.send(breaker.view(now).state).unwrap();
                self.0.send(State::Disabled).unwrap();
            }
        }

        fn counted(&self, _: Counted) {}
    }
    let (sender, heard) = mpsc::channel();
    let nosy = Arc::new(Nosy(sender, std::sync::OnceLock::new()));
    let now = crate::time::now();
    let breaker = Breaker::new(
        settings(),
        Mode::Enforce,
        1,
        Box::new(Arc::clone(&nosy)),
        now,
    );
    nosy.1.set(Arc::downgrade(&breaker)).unwrap();
    breaker.operate(Operation::Trip, now).unwrap();
    assert_eq!(
        heard.try_iter().collect::<Vec<_>>(),
        [
            State::Open,
            State::HalfOpen,
            State::Disabled,
            State::HalfOpen
        ]
    );
}

#[test]
fn racing_probes_get_exactly_the_permits_there_are() {
    let rig = Rig::new(Mode::Enforce);
    let mut three = settings();
    three.half_open_calls = 3;
    rig.breaker.reconfigure(three, Mode::Enforce, rig.at(0));
    rig.breaker.operate(Operation::Trip, rig.at(0)).unwrap();
    rig.heard();
    let now = rig.at(1000);
    let permits: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| rig.breaker.admit(now).ok()))
            .collect();
        racers
            .into_iter()
            .filter_map(|racer| racer.join().unwrap())
            .collect()
    });
    assert_eq!(permits.len(), 3);
    let heard = rig.heard();
    let rejected = Heard::Counted(Counted::Rejected);
    assert_eq!(heard.iter().filter(|heard| **heard == rejected).count(), 5);
    let changed = Changed(State::Open, State::HalfOpen, Cause::WaitOver);
    assert_eq!(heard.iter().filter(|heard| **heard == changed).count(), 1);
    for permit in permits {
        permit.record(Ignored, now);
    }
    assert_eq!(rig.breaker.view(now).probes_left, 3);
}
