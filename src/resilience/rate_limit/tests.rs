use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

fn settings(rate: u32, per: Duration, burst: u32, max_wait: Duration) -> Settings {
    Settings {
        rate,
        per,
        burst,
        max_wait,
    }
}

/// Ten a second, two at once.
fn ten(max_wait: Duration) -> Settings {
    settings(10, SECOND, 2, max_wait)
}

fn start() -> Instant {
    crate::time::now()
}

fn refused(retry_after: Duration) -> Acquired {
    Acquired::Rejected { retry_after }
}

#[track_caller]
fn holds(machine: &Machine, tokens: f64, now: Instant) {
    let held = machine.tokens(now);
    assert!((held - tokens).abs() < 1e-9, "{held} tokens, not {tokens}");
}

#[test]
fn a_burst_goes_at_once_and_the_next_is_told_when() {
    let t = start();
    let mut machine = Machine::new(ten(Duration::ZERO), t);
    assert_eq!(machine.acquire(None, t), Acquired::Now);
    assert_eq!(machine.acquire(None, t), Acquired::Now);
    assert_eq!(machine.acquire(None, t), refused(100 * MS));
    assert_eq!(machine.acquire(None, t + 30 * MS), refused(70 * MS));
    let early = t + 100 * MS - Duration::from_nanos(1);
    assert_eq!(
        machine.acquire(None, early),
        refused(Duration::from_nanos(1))
    );
    assert_eq!(machine.acquire(None, t + 100 * MS), Acquired::Now);
    assert_eq!(machine.acquire(None, t + 100 * MS), refused(100 * MS));
}

#[test]
fn a_refusal_takes_nothing() {
    let t = start();
    let mut machine = Machine::new(ten(Duration::ZERO), t);
    machine.acquire(None, t);
    machine.acquire(None, t);
    for _ in 0..1000 {
        assert_eq!(machine.acquire(None, t), refused(100 * MS));
    }
    holds(&machine, 0.0, t);
}

#[test]
fn waiters_go_in_order_of_arrival_exactly_spaced() {
    let t = start();
    let mut machine = Machine::new(settings(3, SECOND, 1, 2 * SECOND), t);
    assert_eq!(machine.acquire(None, t), Acquired::Now);
    // A third of a second is no whole number of nanoseconds: each wait is rounded up by itself,
    // and nothing adds up.
    for nanos in [
        333_333_334,
        666_666_667,
        1_000_000_000,
        1_333_333_334,
        1_666_666_667,
        2_000_000_000,
    ] {
        let at = t + Duration::from_nanos(nanos);
        assert_eq!(machine.acquire(None, t), Acquired::At(at));
    }
    assert_eq!(
        machine.acquire(None, t),
        refused(Duration::from_nanos(2_333_333_334))
    );
    holds(&machine, -6.0, t);
    // A newcomer lines up behind those who wait.
    let at = t + Duration::from_nanos(2_333_333_334);
    assert_eq!(machine.acquire(None, t + SECOND), Acquired::At(at));
}

#[test]
fn the_longest_wait_is_inclusive_and_the_time_left_is_not() {
    let t = start();
    let table = [
        (99 * MS, None, false),
        (100 * MS, None, true),
        (SECOND, Some(99 * MS), false),
        (SECOND, Some(100 * MS), false),
        (SECOND, Some(101 * MS), true),
        (SECOND, Some(Duration::ZERO), false),
    ];
    for (max_wait, left, waits) in table {
        let mut machine = Machine::new(ten(max_wait), t);
        machine.acquire(left, t);
        machine.acquire(left, t);
        let expected = if waits {
            Acquired::At(t + 100 * MS)
        } else {
            refused(100 * MS)
        };
        assert_eq!(machine.acquire(left, t), expected, "{max_wait:?} {left:?}");
    }
}

#[test]
fn a_request_without_time_may_still_go_at_once() {
    let t = start();
    let mut machine = Machine::new(ten(SECOND), t);
    assert_eq!(machine.acquire(Some(Duration::ZERO), t), Acquired::Now);
}

#[test]
fn one_that_leaves_gives_its_token_to_the_next_and_moves_nobody() {
    let t = start();
    let mut machine = Machine::new(ten(SECOND), t);
    machine.acquire(None, t);
    machine.acquire(None, t);
    let (first, second) = (machine.acquire(None, t), machine.acquire(None, t));
    assert_eq!(
        (first, second),
        (Acquired::At(t + 100 * MS), Acquired::At(t + 200 * MS))
    );
    machine.give_back(t); // the second leaves
    holds(&machine, -1.0, t);
    assert_eq!(machine.acquire(None, t), Acquired::At(t + 200 * MS));
}

#[test]
fn tokens_given_back_do_not_overflow() {
    let t = start();
    let mut machine = Machine::new(ten(SECOND), t);
    for _ in 0..3 {
        machine.acquire(None, t);
    }
    let later = t + 5 * SECOND;
    machine.give_back(later);
    holds(&machine, 2.0, later);
    machine.give_back(later); // one too many
    holds(&machine, 2.0, later);
    assert_eq!(machine.acquire(None, later), Acquired::Now);
    assert_eq!(machine.acquire(None, later), Acquired::Now);
    assert_eq!(machine.acquire(None, later), Acquired::At(later + 100 * MS));
}

/// Callers that never wait for their turn: each leaves just before it, and another comes.
#[test]
fn tokens_that_nobody_spends_do_not_pile_up_in_reservations() {
    let t = start();
    let mut machine = Machine::new(ten(SECOND), t);
    machine.acquire(None, t);
    machine.acquire(None, t);
    let mut waiting = Vec::new();
    for step in 0..10_000 {
        let now = t + step * 10 * MS;
        let due = now + 15 * MS;
        while let Some(leaves) = waiting.iter().position(|&at| at < due) {
            waiting.swap_remove(leaves);
            machine.give_back(now);
        }
        while let Acquired::At(at) = machine.acquire(None, now) {
            waiting.push(at);
        }
    }
    // Should those who are left stay, no more go within the second of `max_wait` than the burst
    // and twice what comes in meanwhile: not the thousand of the time that has passed.
    assert!(waiting.len() <= 22, "{}", waiting.len());
}

#[test]
fn a_late_spender_costs_nobody_anything() {
    let t = start();
    let mut machine = Machine::new(settings(10, SECOND, 1, SECOND), t);
    assert_eq!(machine.acquire(None, t), Acquired::Now);
    let first = t + 100 * MS;
    assert_eq!(machine.acquire(None, t), Acquired::At(first));
    // It wakes 5 ms late: the next is due all the same.
    assert_eq!(
        machine.acquire(None, first + 2 * MS),
        Acquired::At(first + 100 * MS)
    );
    machine.spend();
    machine.spend();
    assert_eq!(machine.acquire(None, first + 200 * MS), Acquired::Now);
}

#[test]
fn years_of_idleness_fill_it_once() {
    let t = start();
    let fast = settings(1_000_000, MS, 1_000_000, Duration::ZERO);
    let slow = settings(1, 3600 * SECOND, 1, Duration::ZERO);
    for (settings, later) in [
        (ten(Duration::ZERO), t + 3 * DAY),
        (fast, t + 36_500 * DAY),
        (slow, t + 36_500 * DAY),
    ] {
        let burst = settings.burst;
        let mut machine = Machine::new(settings, t);
        machine.acquire(None, t);
        holds(&machine, f64::from(burst), later);
        for _ in 0..burst {
            assert_eq!(machine.acquire(None, later), Acquired::Now);
        }
        assert!(matches!(
            machine.acquire(None, later),
            Acquired::Rejected { .. }
        ));
    }
}

#[test]
fn nothing_overflows_whatever_the_settings() {
    let t = start();
    let extremes = [0, 1, u32::MAX];
    let times = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for (rate, burst) in extremes.into_iter().flat_map(|r| extremes.map(|b| (r, b))) {
        for (per, max_wait) in times.into_iter().flat_map(|p| times.map(|w| (p, w))) {
            let settings = settings(rate, per, burst, max_wait);
            let mut machine = Machine::new(settings.clone(), t);
            for _ in 0..4 {
                machine.acquire(None, t);
            }
            machine.acquire(None, t + 36_500 * DAY);
            machine.give_back(t);
            machine.reconfigure(ten(SECOND), t);
            machine.acquire(None, t);
            machine.reconfigure(settings, t);
            machine.acquire(Some(Duration::MAX), t);
        }
    }
}

#[test]
fn time_that_runs_backwards_adds_nothing_and_takes_nothing() {
    let t = start() + SECOND;
    let mut machine = Machine::new(ten(SECOND), t);
    machine.acquire(None, t);
    machine.acquire(None, t);
    let back = t.checked_sub(SECOND).unwrap_or(t);
    // The wait counts from the latest instant that was seen.
    assert_eq!(machine.acquire(None, back), Acquired::At(t + 100 * MS));
    holds(&machine, -1.0, back);
    assert_eq!(machine.acquire(None, t), Acquired::At(t + 200 * MS));
    holds(&machine, -1.0, t + 100 * MS);
}

#[test]
fn looking_changes_nothing() {
    let t = start();
    let mut machine = Machine::new(ten(Duration::ZERO), t);
    machine.acquire(None, t);
    machine.acquire(None, t);
    holds(&machine, 0.5, t + 50 * MS);
    holds(&machine, 2.0, t + 9 * SECOND);
    assert_eq!(machine.acquire(None, t + 60 * MS), refused(40 * MS));
}

#[test]
fn a_reload_fills_at_the_old_rate_and_keeps_what_fits() {
    let t = start();
    let hundred = settings(100, SECOND, 50, Duration::ZERO);
    let mut machine = Machine::new(hundred.clone(), t);
    for _ in 0..50 {
        assert_eq!(machine.acquire(None, t), Acquired::Now);
    }
    let later = t + 300 * MS;
    // 30 have come in meanwhile, at the old rate; the new burst holds 20.
    machine.reconfigure(settings(60, 60 * SECOND, 20, Duration::ZERO), later);
    holds(&machine, 20.0, later);
    holds(&machine, 20.0, later + DAY);
    for _ in 0..20 {
        assert_eq!(machine.acquire(None, later), Acquired::Now);
    }
    assert_eq!(machine.acquire(None, later), refused(SECOND));
    // A greater burst is not given away.
    machine.reconfigure(hundred, later);
    holds(&machine, 0.0, later);
    assert_eq!(machine.acquire(None, later), refused(10 * MS));
}

#[test]
fn a_reload_keeps_reservations_and_parts_of_tokens() {
    let t = start();
    let mut machine = Machine::new(ten(SECOND), t);
    for _ in 0..5 {
        machine.acquire(None, t);
    }
    holds(&machine, -2.5, t + 50 * MS);
    machine.reconfigure(settings(10, 10 * SECOND, 2, 9 * SECOND), t + 50 * MS);
    holds(&machine, -2.5, t + 50 * MS);
    assert_eq!(
        machine.acquire(None, t + 50 * MS),
        Acquired::At(t + 50 * MS + 3500 * MS)
    );
    // One token is one token, whatever it was worth when it was reserved.
    machine.give_back(t + 50 * MS);
    holds(&machine, -2.5, t + 50 * MS);
}

#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    Back(u64),
    Acquire(Option<u64>),
    Leave(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0_u64..400_000_000).prop_map(Op::Pass),
        1 => (0_u64..1000).prop_map(Op::Back),
        6 => prop::option::weighted(0.3, 0_u64..3_000_000_000).prop_map(Op::Acquire),
        2 => any::<prop::sample::Index>().prop_map(Op::Leave),
    ]
}

/// The same rules told as fractions: `held` over [`Model::denominator`] tokens.
struct Model {
    settings: Settings,
    held: i128,
    waiting: Vec<u64>,
    now: u64,
}

impl Model {
    fn denominator(&self) -> i128 {
        i128::try_from(self.settings.per.as_nanos()).unwrap()
    }

    fn pass(&mut self, now: u64) {
        let passed = now.saturating_sub(self.now);
        let rate = i128::from(self.settings.rate);
        let full = i128::from(self.settings.burst) * self.denominator();
        self.held = full.min(self.held + rate * i128::from(passed));
        self.now = self.now.max(now);
    }

    /// A waiter is gone that has not spent its token: as much of it comes back as a burst
    /// has room for.
    fn give_back(&mut self) {
        let others = i128::try_from(self.waiting.len()).unwrap() * self.denominator();
        let full = i128::from(self.settings.burst) * self.denominator();
        let room = full - others - self.held;
        self.held += room.clamp(0, self.denominator());
    }

    /// Nanoseconds until there is a whole token: found by asking, not by dividing.
    fn wait(&self) -> u64 {
        let rate = i128::from(self.settings.rate);
        let enough = |nanos: u64| self.held + rate * i128::from(nanos) >= self.denominator();
        let (mut low, mut high) = (0, 1);
        while !enough(high) {
            high *= 2;
        }
        while low < high {
            let middle = low.midpoint(high);
            if enough(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

proptest! {
    #[test]
    fn the_machine_does_what_the_naive_model_does(
        rate in 1_u32..50,
        per in 1_u64..3_000,
        burst in 1_u32..8,
        max_wait in 0_u64..2_000,
        ops in vec(op(), 0..150),
    ) {
        let t = start();
        let settings = settings(
            rate,
            Duration::from_millis(per),
            burst,
            Duration::from_millis(max_wait),
        );
        let mut machine = Machine::new(settings.clone(), t);
        let mut model = Model {
            held: i128::from(burst) * i128::from(per) * 1_000_000,
            settings,
            waiting: Vec::new(),
            now: 0,
        };
        let mut clock = 0_u64;
        let mut gone: Vec<u64> = Vec::new();
        for op in ops {
            match op {
                Op::Pass(nanos) => clock += nanos,
                Op::Back(nanos) => clock = clock.saturating_sub(nanos),
                Op::Acquire(left) => {
                    model.pass(clock);
                    let wait = model.wait();
                    let at = model.now + wait;
                    let now = t + Duration::from_nanos(clock);
                    let acquired = machine.acquire(left.map(Duration::from_nanos), now);
                    let in_time =
                        wait <= max_wait * 1_000_000 && left.is_none_or(|left| wait < left);
                    let expected = if wait == 0 {
                        Acquired::Now
                    } else if in_time {
                        Acquired::At(t + Duration::from_nanos(at))
                    } else {
                        refused(Duration::from_nanos(wait))
                    };
                    prop_assert_eq!(acquired, expected);
                    if wait == 0 {
                        gone.push(at);
                    } else if in_time {
                        model.waiting.push(at);
                    }
                    if wait == 0 || in_time {
                        model.held -= model.denominator();
                    }
                }
                Op::Leave(index) if !model.waiting.is_empty() => {
                    model.waiting.swap_remove(index.index(model.waiting.len()));
                    machine.give_back(t + Duration::from_nanos(clock));
                    model.pass(clock);
                    model.give_back();
                }
                Op::Leave(_) => {}
            }
            model.waiting.sort_unstable();
            while let Some(&at) = model.waiting.first().filter(|&&at| at <= clock) {
                machine.spend();
                model.waiting.remove(0);
                gone.push(at);
            }
        }
        gone.append(&mut model.waiting);
        // However they came: from the start to each instant no more than was agreed on; in any
        // span later no more than that and what `max_wait` may hold up.
        gone.sort_unstable();
        let parts = i128::from(per) * 1_000_000;
        let burst = i128::from(burst) * parts;
        for (from, first) in gone.iter().enumerate() {
            for (to, last) in gone.iter().enumerate().skip(from) {
                let count = i128::try_from(to - from + 1).unwrap();
                let since = if from == 0 { 0 } else { *first };
                let held_up = if from == 0 { 0 } else { max_wait * 1_000_000 };
                let span = i128::from(*last) - i128::from(since) + i128::from(held_up);
                prop_assert!(count * parts <= burst + i128::from(rate) * span);
            }
        }
    }

    /// Under lasting pressure the bucket gives neither a token too many nor one too few.
    #[test]
    fn nothing_is_rounded_away(
        rate in 1_u32..50,
        per in 1_u64..5000,
        steps in vec(0_u64..2_000_000, 1..2000),
    ) {
        let t = start();
        // More than can flow in between two looks: it never runs over.
        let burst = 101;
        let settings = settings(rate, Duration::from_millis(per), burst, Duration::ZERO);
        let mut machine = Machine::new(settings, t);
        let (mut passed, mut gone) = (0_u64, 0_u64);
        for step in std::iter::once(0).chain(steps) {
            passed += step;
            while machine.acquire(None, t + Duration::from_nanos(passed)) == Acquired::Now {
                gone += 1;
            }
            let due = passed * u64::from(rate) / (per * 1_000_000);
            prop_assert_eq!(gone, u64::from(burst) + due);
        }
    }
}
