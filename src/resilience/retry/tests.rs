use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NANO: Duration = Duration::from_nanos(1);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn settings() -> Settings {
    Settings {
        retries: 2,
        on: On {
            not_sent: true,
            reset: true,
            timeout: false,
            status: StatusSet(vec![(502, 504)]),
            grpc: vec![14],
        },
        non_idempotent: false,
        max_body_buffer: 65536,
        backoff: Backoff {
            base: ms(25),
            max: ms(250),
            jitter: Jitter::None,
        },
        max_retry_after: ms(2000),
    }
}

fn jittered(jitter: Jitter) -> Settings {
    let mut settings = settings();
    settings.retries = u32::MAX;
    settings.backoff.jitter = jitter;
    settings
}

const AGAIN: Sendable = Sendable {
    idempotent: true,
    replayable: true,
};

/// What follows a 503 to a request that can be sent again.
fn after_503(plan: &mut Plan, settings: &Settings, advice: Advice) -> Next {
    plan.next(settings, Ended::Status(503), AGAIN, advice, None)
}

/// Insists on a retry after a 503 without a deadline.
fn delay(plan: &mut Plan, settings: &Settings, advice: Advice) -> Duration {
    match after_503(plan, settings, advice) {
        Next::After { delay, .. } => delay,
        other => panic!("expected a retry, not {other:?}"),
    }
}

#[test]
fn outcomes_are_told_apart_by_kind() {
    let all = [
        Ended::NotSent,
        Ended::Reset,
        Ended::TimedOut,
        Ended::Status(503),
        Ended::Grpc(14),
        Ended::Final,
    ];
    let answers = |settings: &Settings| all.map(|ended| settings.why(ended));

    let mut settings = settings();
    let expected = [Why::NotSent, Why::Reset, Why::Status, Why::Grpc].map(Some);
    let [not_sent, reset, status, grpc] = expected;
    assert_eq!(
        answers(&settings),
        [not_sent, reset, None, status, grpc, None]
    );

    settings.on.timeout = true;
    assert_eq!(settings.why(Ended::TimedOut), Some(Why::Timeout));

    settings.on = On {
        not_sent: false,
        reset: false,
        timeout: false,
        status: StatusSet::default(),
        grpc: Vec::new(),
    };
    assert_eq!(answers(&settings), [None; 6]);
}

#[test]
fn only_listed_statuses_are_tried_again() {
    let settings = settings();
    for (status, listed) in [(200, false), (501, false), (502, true), (504, true)] {
        let why = listed.then_some(Why::Status);
        assert_eq!(settings.why(Ended::Status(status)), why, "{status}");
    }
    for (code, listed) in [(0, false), (13, false), (14, true), (256 + 14, false)] {
        let why = listed.then_some(Why::Grpc);
        assert_eq!(settings.why(Ended::Grpc(code)), why, "{code}");
    }
}

#[test]
fn what_does_not_call_for_a_retry_is_no_denial() {
    let mut settings = settings();
    settings.retries = 0;
    let nothing = Sendable {
        idempotent: false,
        replayable: false,
    };
    let (mut plan, zero) = (Plan::new(1), Some(Duration::ZERO));
    for ended in [Ended::Status(200), Ended::TimedOut, Ended::Final] {
        let next = plan.next(&settings, ended, nothing, Advice::Forbidden, zero);
        assert_eq!(next, Next::Deliver, "{ended:?}");
    }
    assert_eq!(
        after_503(&mut plan, &settings, Advice::None),
        Next::Denied(Denied::Spent)
    );
}

#[test]
fn the_last_of_two_retries_is_the_second() {
    let (mut plan, settings) = (Plan::new(1), settings());
    assert_eq!(delay(&mut plan, &settings, Advice::None), ms(25));
    assert_eq!(delay(&mut plan, &settings, Advice::After(ms(7))), ms(7));
    for _ in 0..2 {
        assert_eq!(
            after_503(&mut plan, &settings, Advice::None),
            Next::Denied(Denied::Spent)
        );
    }
}

/// Every combination of what speaks against a retry: the denial is the first in the order of
/// [`Denied`].
#[test]
fn the_first_check_that_fails_names_the_denial() {
    for bits in 0_u32..64 {
        let bit = |n: u32| bits & (1 << n) != 0;
        let (spent, not_idempotent, committed, forbidden, late) =
            (bit(0), bit(1), bit(2), bit(3), bit(4));
        let ended = if bit(5) { Ended::NotSent } else { Ended::Reset };
        let mut settings = settings();
        settings.retries = u32::from(!spent);
        let resend = Sendable {
            idempotent: !not_idempotent,
            replayable: !committed,
        };
        let advice = if forbidden {
            Advice::Forbidden
        } else {
            Advice::None
        };
        let remaining = late.then_some(ms(25));

        let refused = [
            (spent, Denied::Spent),
            (not_idempotent && ended != Ended::NotSent, Denied::Unsafe),
            (committed, Denied::Committed),
            (forbidden, Denied::Forbidden),
            (late, Denied::Deadline),
        ];
        let why = settings.why(ended).unwrap();
        let granted = Next::After { delay: ms(25), why };
        let expected = refused
            .iter()
            .find(|(fails, _)| *fails)
            .map_or(granted, |&(_, denied)| Next::Denied(denied));
        let next = Plan::new(1).next(&settings, ended, resend, advice, remaining);
        assert_eq!(next, expected, "{refused:?}");
    }
}

#[test]
fn requests_that_are_not_idempotent_go_again_if_never_processed_or_if_told_so() {
    let resend = Sendable {
        idempotent: false,
        replayable: true,
    };
    let next =
        |settings: &Settings, ended| Plan::new(1).next(settings, ended, resend, Advice::None, None);
    let mut settings = settings();
    settings.on.timeout = true;
    let processed = [
        Ended::Reset,
        Ended::TimedOut,
        Ended::Status(503),
        Ended::Grpc(14),
    ];
    for ended in processed {
        assert_eq!(next(&settings, ended), Next::Denied(Denied::Unsafe));
    }
    assert!(matches!(
        next(&settings, Ended::NotSent),
        Next::After { .. }
    ));
    settings.non_idempotent = true;
    for ended in processed {
        assert!(matches!(next(&settings, ended), Next::After { .. }));
    }
}

#[test]
fn advice_is_followed_exactly_up_to_the_longest_allowed() {
    let settings = jittered(Jitter::Full);
    let mut plan = Plan::new(1);
    for advised in [Duration::ZERO, NANO, ms(1000), ms(2000)] {
        assert_eq!(delay(&mut plan, &settings, Advice::After(advised)), advised);
    }
    for advice in [
        Advice::After(ms(2000) + NANO),
        Advice::After(Duration::MAX),
        Advice::Forbidden,
    ] {
        let next = after_503(&mut plan, &settings, advice);
        assert_eq!(next, Next::Denied(Denied::Forbidden), "{advice:?}");
    }
}

#[test]
fn a_delay_must_end_before_the_deadline() {
    let settings = settings();
    let next = |advice, remaining| {
        Plan::new(1).next(&settings, Ended::Reset, AGAIN, advice, Some(remaining))
    };
    for (advice, wait) in [(Advice::None, ms(25)), (Advice::After(ms(90)), ms(90))] {
        let denied = Next::Denied(Denied::Deadline);
        assert_eq!(next(advice, wait - NANO), denied);
        assert_eq!(next(advice, wait), denied);
        let granted = Next::After {
            delay: wait,
            why: Why::Reset,
        };
        assert_eq!(next(advice, wait + NANO), granted);
    }
    let none_left = next(Advice::After(Duration::ZERO), Duration::ZERO);
    assert_eq!(none_left, Next::Denied(Denied::Deadline));
}

#[test]
fn ceilings_double_up_to_the_greatest_and_start_over_after_advice() {
    let (mut plan, settings) = (Plan::new(1), jittered(Jitter::None));
    let mut delays = |count: usize| -> Vec<_> {
        (0..count)
            .map(|_| delay(&mut plan, &settings, Advice::None))
            .collect()
    };
    let doubling = [25, 50, 100, 200, 250, 250].map(ms);
    assert_eq!(delays(6), doubling);
    let mut plan = Plan::new(1);
    delay(&mut plan, &settings, Advice::None);
    delay(&mut plan, &settings, Advice::None);
    delay(&mut plan, &settings, Advice::After(ms(1)));
    for expected in doubling {
        assert_eq!(delay(&mut plan, &settings, Advice::None), expected);
    }
}

#[test]
fn a_decorrelated_delay_grows_from_the_one_before() {
    let settings = jittered(Jitter::Decorrelated);
    let longest = |draws: usize| {
        let delays = (0..200).map(|seed| {
            let mut plan = Plan::new(seed);
            let mut draw = || delay(&mut plan, &settings, Advice::None);
            (0..draws).map(|_| draw()).last()
        });
        delays.flatten().max().unwrap()
    };
    assert!(longest(1) <= ms(75));
    assert!(longest(2) > ms(75) && longest(2) <= ms(225));
    assert_eq!(longest(5), ms(250));
}

#[test]
fn a_decorrelated_delay_starts_over_after_advice() {
    let mut settings = jittered(Jitter::Decorrelated);
    settings.backoff.max = Duration::MAX;
    for seed in 0..200 {
        let mut plan = Plan::new(seed);
        for _ in 0..8 {
            delay(&mut plan, &settings, Advice::None);
        }
        delay(&mut plan, &settings, Advice::After(ms(2000)));
        assert!(delay(&mut plan, &settings, Advice::None) <= ms(75));
    }
}

#[test]
fn no_number_of_doublings_overflows() {
    for doublings in [0, 1, 31, 32, 62, 63, 64, 65, 127, 128, u32::MAX] {
        assert_eq!(ceiling(0, 250, doublings), 0);
        let exact = u128::from(u64::MAX).min(1_u128 << doublings.min(100));
        assert_eq!(u128::from(ceiling(1, u64::MAX, doublings)), exact);
        assert_eq!(ceiling(u64::MAX, u64::MAX, doublings), u64::MAX);
        assert_eq!(ceiling(25, 10, doublings), 10);
    }
}

#[test]
fn extreme_settings_are_drawn_from_all_the_same() {
    for jitter in [
        Jitter::Full,
        Jitter::Equal,
        Jitter::Decorrelated,
        Jitter::None,
    ] {
        for (base, max) in [
            (Duration::ZERO, Duration::ZERO),
            (Duration::ZERO, Duration::MAX),
            (Duration::MAX, Duration::MAX),
            (ms(100), ms(10)),
        ] {
            let mut settings = jittered(jitter);
            settings.backoff.base = base;
            settings.backoff.max = max;
            let mut plan = Plan::new(1);
            for _ in 0..100 {
                assert!(delay(&mut plan, &settings, Advice::None) <= max);
            }
        }
    }
}

#[test]
fn a_seed_makes_the_delays() {
    let delays = |seed| {
        let (mut plan, settings) = (Plan::new(seed), jittered(Jitter::Full));
        [(); 5].map(|()| delay(&mut plan, &settings, Advice::None))
    };
    assert_eq!(delays(7), delays(7));
    assert_ne!(delays(7), delays(8));
}

/// Both ends and the middle are drawn: the mean lies where the formula puts it.
#[test]
fn draws_are_spread_over_their_range() {
    for (jitter, from, to) in [
        (Jitter::Full, ms(0), ms(25)),
        (Jitter::Equal, Duration::from_micros(12_500), ms(25)),
        (Jitter::Decorrelated, ms(25), ms(75)),
    ] {
        let settings = jittered(jitter);
        let draws: Vec<_> = (0..4000)
            .map(|seed| delay(&mut Plan::new(seed), &settings, Advice::None))
            .collect();
        let (width, mean) = (to - from, draws.iter().sum::<Duration>() / 4000);
        let middle = from + width / 2;
        assert!(mean.abs_diff(middle) < width / 20, "{jitter:?}: {mean:?}");
        let (least, most) = (draws.iter().min().unwrap(), draws.iter().max().unwrap());
        assert!(*least >= from && *least < from + width / 20, "{jitter:?}");
        assert!(*most <= to && *most > to - width / 20, "{jitter:?}");
    }
}

#[test]
fn words_of_metrics_are_distinct() {
    let words: std::collections::BTreeSet<_> = Why::ALL
        .map(Why::as_str)
        .into_iter()
        .chain(Denied::ALL.map(Denied::as_str))
        .collect();
    assert_eq!(words.len(), Why::ALL.len() + Denied::ALL.len());
}

proptest! {
    /// The bounds of each formula, told naively in wide integers.
    #[test]
    fn delays_stay_within_their_formula(
        seed in any::<u64>(),
        base in 0_u64..1 << 40,
        max in 0_u64..1 << 42,
        advised in vec(any::<bool>(), 1..200),
    ) {
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::None] {
            let mut settings = jittered(jitter);
            settings.backoff.base = Duration::from_nanos(base);
            settings.backoff.max = Duration::from_nanos(max);
            let mut plan = Plan::new(seed);
            let (mut k, mut previous) = (1_u32, u128::from(base));
            let (base, max) = (u128::from(base), u128::from(max));
            for &advised in &advised {
                if advised {
                    prop_assert_eq!(delay(&mut plan, &settings, Advice::After(ms(3))), ms(3));
                    (k, previous) = (1, base);
                    continue;
                }
                let ceiling = max.min(base << (k - 1).min(80));
                let (least, most) = match jitter {
                    Jitter::Full => (0, ceiling),
                    Jitter::Equal => (ceiling / 2, ceiling),
                    Jitter::Decorrelated => (base.min(max), max.min(3 * previous)),
                    Jitter::None => (ceiling, ceiling),
                };
                let drawn = delay(&mut plan, &settings, Advice::None).as_nanos();
                prop_assert!((least..=most).contains(&drawn), "{jitter:?} {k}: {drawn}");
                previous = drawn.max(base);
                k += 1;
            }
        }
    }

    /// A plan never grants more than `retries`, and grants all of them to who keeps asking.
    #[test]
    fn no_more_retries_are_granted_than_allowed(
        retries in 0_u32..12,
        asks in vec((any::<bool>(), any::<bool>(), any::<bool>()), 0..60),
    ) {
        let mut settings = settings();
        settings.retries = retries;
        let (mut plan, mut granted) = (Plan::new(1), 0);
        for (idempotent, replayable, retryable) in asks {
            let resend = Sendable { idempotent, replayable };
            let ended = if retryable { Ended::Reset } else { Ended::Final };
            let next = plan.next(&settings, ended, resend, Advice::None, None);
            let expected = retryable && idempotent && replayable && granted < retries;
            prop_assert_eq!(matches!(next, Next::After { .. }), expected);
            granted += u32::from(expected);
        }
    }
}
