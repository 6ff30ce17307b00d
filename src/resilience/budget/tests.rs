use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const fn settings(deposit: u32, min_per_second: u32) -> Settings {
    Settings {
        deposit,
        min_per_second,
        window: Duration::from_secs(10),
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const NANO: Duration = Duration::from_nanos(1);

fn machine(settings: Settings) -> (Machine, Instant) {
    let start = crate::time::now();
    (Machine::new(settings, start), start)
}

/// Withdraws as often as it is granted, within reason.
fn drain(machine: &mut Machine, now: Instant) -> usize {
    let granted = std::iter::from_fn(|| machine.withdraw(now));
    granted.take(1000).count()
}

#[test]
fn five_requests_pay_for_a_retry_at_a_fifth() {
    let (mut machine, now) = machine(settings(200, 0));
    for _ in 0..4 {
        machine.deposit(now);
        assert_eq!(machine.withdraw(now), None);
    }
    machine.deposit(now);
    assert_eq!(machine.balance(now), 1000);
    assert!(machine.withdraw(now).is_some());
    assert_eq!(machine.balance(now), 0);
    assert_eq!(machine.withdraw(now), None);
    assert_eq!(machine.balance(now), 0);
}

#[test]
fn the_reserve_may_go_at_once_and_is_back_a_window_later() {
    let (mut machine, start) = machine(settings(0, 3));
    assert_eq!(machine.balance(start), 30_000);
    assert_eq!(drain(&mut machine, start), 30);
    assert_eq!(drain(&mut machine, start + secs(10) - NANO), 0);
    assert_eq!(drain(&mut machine, start + secs(10)), 30);
}

#[test]
fn nothing_deposited_and_nothing_reserved_is_nothing_granted() {
    let (mut machine, start) = machine(settings(0, 0));
    for second in 0..100 {
        machine.deposit(start + secs(second));
        assert_eq!(machine.withdraw(start + secs(second)), None);
    }
}

#[test]
fn a_deposit_lasts_from_its_slot_to_the_tenth() {
    let (mut machine, start) = machine(settings(1000, 0));
    machine.deposit(start + ms(999));
    machine.deposit(start + ms(1000));
    for (at, expected) in [
        (start + ms(1000), 2000),
        (start + secs(10) - NANO, 2000),
        (start + secs(10), 1000),
        (start + secs(11) - NANO, 1000),
        (start + secs(11), 0),
        (start + secs(86_400 * 365), 0),
    ] {
        assert_eq!(machine.balance(at), expected);
    }
    // To look ahead has changed nothing.
    assert_eq!(machine.balance(start + ms(1000)), 2000);
}

#[test]
fn deposits_that_expire_before_their_withdrawals_leave_a_debt() {
    let (mut machine, start) = machine(settings(1000, 0));
    machine.deposit(start);
    assert!(machine.withdraw(start + secs(9)).is_some());
    assert_eq!(machine.balance(start + secs(9)), 0);
    assert_eq!(machine.balance(start + secs(10)), -1000);
    machine.deposit(start + secs(10));
    assert_eq!(machine.withdraw(start + secs(10)), None);
    machine.deposit(start + secs(10));
    assert!(machine.withdraw(start + secs(10)).is_some());
    assert_eq!(machine.balance(start + secs(19)), 1000);
}

#[test]
fn an_earlier_instant_counts_as_the_latest_seen() {
    let (mut machine, start) = machine(settings(1000, 0));
    machine.deposit(start + secs(15));
    assert_eq!(machine.balance(start), 1000);
    machine.deposit(start);
    assert_eq!(machine.balance(start + secs(25) - NANO), 2000);
    assert_eq!(machine.balance(start + secs(25)), 0);
    assert_eq!(machine.balance(start - secs(1)), 2000);
}

#[test]
fn a_refund_goes_back_to_the_slot_it_came_from() {
    let (mut machine, start) = machine(settings(0, 1));
    let early = machine.withdraw(start).unwrap();
    let kept = machine.withdraw(start + secs(5));
    assert!(kept.is_some());
    machine.refund(early, start + secs(9));
    assert_eq!(machine.balance(start + secs(9)), 9000);
    // Not to the present one: there it would outlast the withdrawal.
    assert_eq!(machine.balance(start + secs(10)), 9000);
    assert_eq!(machine.balance(start + secs(15)), 10_000);
}

#[test]
fn a_refund_of_an_expired_slot_adds_nothing() {
    let (mut machine, start) = machine(settings(0, 1));
    let withdrawal = machine.withdraw(start).unwrap();
    machine.refund(withdrawal, start + secs(10));
    assert_eq!(machine.balance(start + secs(10)), 10_000);
}

#[test]
fn new_settings_start_a_new_budget_and_the_same_ones_do_not() {
    let (mut machine, start) = machine(settings(500, 1));
    machine.deposit(start);
    let withdrawal = machine.withdraw(start).unwrap();
    machine.reconfigure(settings(500, 1), start);
    assert_eq!(machine.balance(start), 9500);
    machine.reconfigure(settings(500, 2), start + secs(5));
    assert_eq!(machine.balance(start + secs(5)), 20_000);
    // What the old one handed out is not owed by the new one, although its slots are live.
    machine.refund(withdrawal, start + secs(5));
    assert_eq!(machine.balance(start + secs(5)), 20_000);
    // Slots are counted from the change.
    machine.deposit(start + secs(5));
    assert_eq!(machine.balance(start + secs(15) - NANO), 20_500);
    assert_eq!(machine.balance(start + secs(15)), 20_000);
}

#[test]
fn extreme_settings_saturate() {
    let extreme = Settings {
        deposit: u32::MAX,
        min_per_second: u32::MAX,
        window: Duration::MAX,
    };
    let (mut machine, start) = machine(extreme);
    machine.deposit(start);
    assert_eq!(machine.balance(start), i64::MAX);
    let none = Settings {
        window: Duration::ZERO,
        ..settings(1000, 1)
    };
    machine.reconfigure(none, start);
    machine.deposit(start + secs(1_000_000_000));
    assert_eq!(machine.balance(start + secs(1_000_000_000)), 1000);
}

#[derive(Clone, Debug)]
enum Op {
    Wait(Duration),
    StepBack,
    Deposit,
    Withdraw,
    Refund(prop::sample::Index),
    Reconfigure(Settings),
    Look(Duration),
}

fn some_settings() -> impl Strategy<Value = Settings> {
    let deposit = prop::sample::select(vec![0, 1, 200, 333, 1000, 10_000]);
    let window = prop::sample::select(vec![ms(1000), ms(1003), secs(10)]);
    (deposit, 0_u32..3, window).prop_map(|(deposit, min_per_second, window)| Settings {
        deposit,
        min_per_second,
        window,
    })
}

fn some_wait() -> impl Strategy<Value = Duration> {
    prop_oneof![
        prop::sample::select(vec![NANO, ms(100) - NANO, ms(100), ms(1000), secs(10)]),
        (0_u64..20_000_000_000).prop_map(Duration::from_nanos),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => some_wait().prop_map(Op::Wait),
        1 => Just(Op::StepBack),
        8 => Just(Op::Deposit),
        6 => Just(Op::Withdraw),
        3 => any::<prop::sample::Index>().prop_map(Op::Refund),
        1 => some_settings().prop_map(Op::Reconfigure),
        2 => some_wait().prop_map(Op::Look),
    ]
}

/// The same rules told naively: every deposit and withdrawal is listed with its instant.
struct Model {
    settings: Settings,
    start: Instant,
    events: Vec<(Instant, i64)>,
}

impl Model {
    fn slot(&self, at: Instant) -> u128 {
        (at - self.start).as_nanos() / (self.settings.window.as_nanos() / 10)
    }

    fn balance(&self, now: Instant) -> i64 {
        let Settings {
            min_per_second,
            window,
            ..
        } = self.settings;
        let reserve = i64::from(min_per_second) * i64::try_from(window.as_millis()).unwrap();
        let live = |at: Instant| self.slot(at) + 10 > self.slot(now);
        let events = self.events.iter().filter(|(at, _)| live(*at));
        reserve + events.map(|(_, amount)| amount).sum::<i64>()
    }
}

proptest! {
    #[test]
    fn the_machine_does_what_the_naive_model_does(
        settings in some_settings(),
        ops in vec(op(), 0..300),
    ) {
        let (mut machine, start) = machine(settings.clone());
        let mut model = Model { settings, start, events: Vec::new() };
        let mut now = start;
        // The machine's receipt, and the event it stands for: `None` where the budget is another.
        let mut held: Vec<(Withdrawal, Option<usize>)> = Vec::new();
        for op in ops {
            match op {
                Op::Wait(wait) => now += wait,
                Op::StepBack => {
                    // No earlier than what the machine has seen, as the model does not know.
                    machine.deposit(now);
                    model.events.push((now, i64::from(model.settings.deposit)));
                    machine.deposit(start);
                    model.events.push((now, i64::from(model.settings.deposit)));
                }
                Op::Deposit => {
                    machine.deposit(now);
                    model.events.push((now, i64::from(model.settings.deposit)));
                }
                Op::Withdraw => {
                    let withdrawal = machine.withdraw(now);
                    prop_assert_eq!(withdrawal.is_some(), model.balance(now) >= 1000);
                    if let Some(withdrawal) = withdrawal {
                        held.push((withdrawal, Some(model.events.len())));
                        model.events.push((now, -1000));
                        prop_assert!(machine.balance(now) >= 0);
                    }
                }
                Op::Refund(index) => {
                    if !held.is_empty() {
                        let (withdrawal, event) = held.swap_remove(index.index(held.len()));
                        machine.refund(withdrawal, now);
                        // As if it had never been made.
                        if let Some(event) = event {
                            model.events[event].1 = 0;
                        }
                    }
                }
                Op::Reconfigure(settings) => {
                    machine.reconfigure(settings.clone(), now);
                    if settings != model.settings {
                        model = Model { settings, start: now, events: Vec::new() };
                        held.iter_mut().for_each(|(_, event)| *event = None);
                    }
                }
                Op::Look(ahead) => {
                    prop_assert_eq!(machine.balance(now + ahead), model.balance(now + ahead));
                }
            }
            prop_assert_eq!(machine.balance(now), model.balance(now));
        }
    }

    /// Under total failure, with every attempt asking for another at once or later: over any ten
    /// slots in a row, attempts stay within the share of the requests plus the reserve.
    #[test]
    fn a_steady_rate_of_failures_is_amplified_by_the_ratio_and_the_reserve_only(
        deposit in prop::sample::select(vec![0_u32, 1, 200, 500, 1000, 10_000]),
        min_per_second in 0_u32..4,
        every in 7_u64..900,
        tries in 0_usize..15,
        lag in 0_u64..5000,
    ) {
        let (mut machine, start) = machine(settings(deposit, min_per_second));
        // What happens when (in milliseconds): first attempts, and tries at a retry.
        let mut agenda: Vec<(u64, bool)> = Vec::new();
        for at in (0..40_000).step_by(usize::try_from(every).unwrap()) {
            agenda.push((at, true));
            let at = at + lag;
            agenda.extend(std::iter::repeat_n((at, false), tries));
        }
        agenda.sort_unstable_by_key(|&(at, first)| (at, !first));
        let (mut requests, mut retries) = (vec![0_u64; 60], vec![0_u64; 60]);
        for (at, first) in agenda {
            let (now, second) = (start + ms(at), usize::try_from(at / 1000).unwrap());
            if first {
                machine.deposit(now);
                requests[second] += 1;
            } else if machine.withdraw(now).is_some() {
                retries[second] += 1;
            }
        }
        for (requests, retries) in requests.windows(10).zip(retries.windows(10)).take(31) {
            let retries: u64 = retries.iter().sum();
            // A window of the same length may hold one request more than another.
            let requests = requests.iter().sum::<u64>() + 1;
            let reserve = u64::from(min_per_second) * 10;
            prop_assert!(
                1000 * retries <= requests * u64::from(deposit) + 1000 * reserve,
                "{retries} retries of {requests} requests"
            );
        }
    }
}
