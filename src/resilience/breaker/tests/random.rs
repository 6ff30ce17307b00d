//! Random operations against the naive model.

use proptest::prelude::*;

use super::super::model::Model;
use super::*;

#[derive(Clone, Debug)]
enum Op {
    Wait(Duration),
    Peek,
    Acquire,
    Pause(usize),
    Resume(usize),
    Head(usize),
    Record(usize, Verdict, Duration),
    Operate(Override),
    Reconfigure(Box<Settings>),
    View,
}

#[derive(Clone, Copy, Debug)]
enum Override {
    Reset,
    Trip,
    Probe,
    ForcedOpen(Duration),
    Disabled(Duration),
    MetricsOnly(Duration),
}

fn some_settings() -> impl Strategy<Value = Settings> {
    let window = prop_oneof![
        (1u32..4).prop_map(Window::Seconds),
        (1u32..6).prop_map(Window::Calls)
    ];
    let rate = || prop::sample::select(vec![1, 33_333, 33_334, 50_000, 66_666, 100_000]);
    let closed = (
        window,
        1u32..5,
        rate(),
        prop::option::weighted(0.8, prop::sample::select(vec![ms(100), ms(250)])),
        rate(),
        prop::bool::weighted(0.8),
        1u32..4,
        prop::option::of(1u32..4),
    );
    let open = (
        prop::sample::select(vec![1u64, 100, 1001]),
        prop::sample::select(vec![1001u64, 3000]),
        prop::sample::select(vec![1000u32, 1500, 2000]),
        prop::sample::select(vec![0u32, 200]),
        1u32..4,
        prop::option::of(prop::sample::select(vec![
            ms(100),
            SLOW_CALL + NANO,
            ms(400),
        ])),
        prop::sample::select(vec![AfterMaxWait::Open, AfterMaxWait::Closed]),
        any::<bool>(),
    );
    (closed, open).prop_map(|(closed, open)| Settings {
        window: closed.0,
        min_calls: closed.1,
        failure_rate: closed.2,
        slow_call: closed.3,
        slow_rate: closed.4,
        count_overdue: closed.5,
        max_requests: closed.6,
        consecutive_failures: closed.7,
        open_for: ms(open.0),
        open_for_max: ms(open.1),
        open_multiplier: open.2,
        open_jitter: open.3,
        half_open_calls: open.4,
        half_open_max_wait: open.5,
        half_open_on_max_wait: open.6,
        auto_half_open: open.7,
    })
}

fn some_op() -> impl Strategy<Value = Op> {
    let step = prop_oneof![
        6 => (0u64..60).prop_map(ms),
        2 => Just(NANO),
        2 => Just(SLOW_CALL),
        2 => (0u64..1500).prop_map(ms),
        1 => (0u64..20).prop_map(secs),
    ];
    let verdict =
        prop::sample::select(vec![Success, Success, Failure, Failure, Ignored, Abandoned]);
    let duration = prop::sample::select(vec![FAST, SLOW_CALL, SLOW_CALL + NANO, ms(251)]);
    let limit = || (0u64..1000).prop_map(ms);
    let operation = prop_oneof![
        1 => Just(Override::Reset),
        2 => Just(Override::Trip),
        2 => Just(Override::Probe),
        1 => limit().prop_map(Override::ForcedOpen),
        1 => limit().prop_map(Override::Disabled),
        2 => limit().prop_map(Override::MetricsOnly),
    ];
    // Attempts are named by how recent they are: mostly the last few.
    let which = || prop_oneof![4 => 0usize..5, 1 => 0usize..100];
    prop_oneof![
        12 => step.prop_map(Op::Wait),
        3 => Just(Op::Peek),
        20 => Just(Op::Acquire),
        3 => which().prop_map(Op::Pause),
        4 => which().prop_map(Op::Resume),
        3 => which().prop_map(Op::Head),
        16 => (which(), verdict, duration).prop_map(|(w, v, d)| Op::Record(w, v, d)),
        1 => operation.prop_map(Op::Operate),
        1 => some_settings().prop_map(|settings| Op::Reconfigure(Box::new(settings))),
        2 => Just(Op::View),
    ]
}

fn operation(asked: Override, now: Instant) -> Operation {
    match asked {
        Override::Reset => Operation::Reset,
        Override::Trip => Operation::Trip,
        Override::Probe => Operation::Probe,
        Override::ForcedOpen(limit) => Operation::ForcedOpen { until: now + limit },
        Override::Disabled(limit) => Operation::Disabled { until: now + limit },
        Override::MetricsOnly(limit) => Operation::MetricsOnly { until: now + limit },
    }
}

/// What one run shows to the outside: decisions, records, events.
fn run(settings: Settings, seed: u64, ops: &[Op], look: bool) -> Vec<String> {
    let start = crate::time::now();
    let mut now = start;
    let mut machine = Machine::new(settings, seed, start);
    let mut tickets = Vec::new();
    let mut seen = Vec::new();
    for op in ops {
        let ticket = |which: &usize| {
            let index = tickets.len().checked_sub(which + 1)?;
            tickets.get(index).copied()
        };
        match op {
            Op::Wait(time) => now += *time,
            Op::Peek => seen.push(format!("{:?}", machine.peek(now))),
            Op::Acquire => match machine.acquire(now) {
                Ok(ticket) => tickets.push(ticket),
                Err(rejected) => seen.push(format!("{rejected:?}")),
            },
            Op::Record(which, verdict, duration) => {
                if let Some(ticket) = ticket(which) {
                    tickets.retain(|other| *other != ticket);
                    let counted = machine.record(ticket, *verdict, *duration, now);
                    seen.push(format!("{counted:?}"));
                }
            }
            Op::Head(which) => {
                if let Some(ticket) = ticket(which) {
                    machine.head(ticket, now);
                }
            }
            Op::Pause(which) => {
                if let Some(ticket) = ticket(which) {
                    machine.pause(ticket, now);
                }
            }
            Op::Resume(which) => {
                if let Some(ticket) = ticket(which) {
                    machine.resume(ticket, now);
                }
            }
            Op::Operate(asked) => {
                seen.push(format!(
                    "{:?}",
                    machine.operate(operation(*asked, now), now)
                ));
            }
            Op::Reconfigure(settings) => machine.reconfigure(settings.as_ref().clone(), now),
            Op::View => {}
        }
        if look {
            machine.view(now);
            let _ = machine.peek(now);
        }
    }
    machine.view(now);
    seen.extend(
        machine
            .take_events()
            .iter()
            .map(|event| format!("{event:?}")),
    );
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_agrees_with_the_model(
        settings in some_settings(),
        seed: u64,
        ops in prop::collection::vec(some_op(), 1..150),
    ) {
        let start = crate::time::now();
        let mut now = start;
        let mut machine = Machine::new(settings.clone(), seed, start);
        let mut model = Model::new(settings, seed, start);
        // Ticket, number in the model, whether it was recorded.
        let mut attempts: Vec<(Ticket, usize, bool)> = Vec::new();
        for op in &ops {
            let find = |which: &usize| attempts.len().checked_sub(which + 1);
            match op {
                Op::Wait(time) => now += *time,
                Op::Peek => prop_assert_eq!(machine.peek(now), model.peek(now)),
                Op::Acquire => match (machine.acquire(now), model.acquire(now)) {
                    (Ok(ticket), Ok(id)) => attempts.push((ticket, id, false)),
                    (Err(ours), Err(theirs)) => prop_assert_eq!(ours, theirs),
                    (ours, theirs) => prop_assert!(false, "{:?} but {:?}", ours, theirs),
                },
                Op::Pause(which) => if let Some(index) = find(which) {
                    machine.pause(attempts[index].0, now);
                    model.pause(attempts[index].1, now);
                },
                Op::Resume(which) => if let Some(index) = find(which) {
                    machine.resume(attempts[index].0, now);
                    model.resume(attempts[index].1, now);
                },
                Op::Head(which) => if let Some(index) = find(which) {
                    machine.head(attempts[index].0, now);
                    model.head(attempts[index].1, now);
                },
                Op::Record(which, verdict, duration) => {
                    if let Some(index) = find(which) && !attempts[index].2 {
                        attempts[index].2 = true;
                        let (ticket, id, _) = attempts[index];
                        prop_assert_eq!(
                            machine.record(ticket, *verdict, *duration, now),
                            model.record(id, *verdict, *duration, now)
                        );
                    }
                }
                Op::Operate(asked) => {
                    let operation = operation(*asked, now);
                    prop_assert_eq!(
                        machine.operate(operation, now),
                        model.operate(operation, now)
                    );
                }
                Op::Reconfigure(settings) => {
                    machine.reconfigure(settings.as_ref().clone(), now);
                    model.reconfigure(settings.as_ref().clone(), now);
                }
                Op::View => prop_assert_eq!(machine.view(now), model.view(now)),
            }
            let events = std::mem::take(&mut model.events);
            prop_assert_eq!(machine.take_events(), events);
            if let machine::Phase::HalfOpen { calls, .. } = machine.phase {
                prop_assert!(model.probes_out() <= calls as usize);
            }
        }
        prop_assert_eq!(machine.view(now), model.view(now));
        prop_assert_eq!(machine.take_events(), model.events);
    }

    #[test]
    fn looking_changes_no_decision(
        settings in some_settings(),
        seed: u64,
        ops in prop::collection::vec(some_op(), 1..150),
    ) {
        prop_assert_eq!(
            run(settings.clone(), seed, &ops, false),
            run(settings, seed, &ops, true)
        );
    }

    #[test]
    fn nothing_is_admitted_before_the_wait_is_over(
        settings in some_settings(),
        seed: u64,
        steps in prop::collection::vec(0u64..700, 1..50),
    ) {
        let start = crate::time::now();
        let mut now = start;
        let returns = settings.auto_half_open && settings.half_open_max_wait.is_some();
        let mut machine = Machine::new(settings, seed, start);
        machine.operate(Operation::Trip, now).unwrap();
        let until = now + machine.view(now).open_remaining;
        for step in steps {
            now += ms(step);
            if machine.acquire(now).is_ok() {
                prop_assert!(now >= until);
                break;
            }
            prop_assert!(now < until || returns);
        }
    }
}
