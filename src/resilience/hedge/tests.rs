use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const NANO: Duration = Duration::from_nanos(1);

/// Upper ends of all buckets, counted up one by one.
fn bounds() -> Vec<Duration> {
    let mut bounds = vec![ms(1)];
    for doubling in 0..16 {
        let from = ms(1 << doubling);
        bounds.extend((1..=32).map(|n| from + from * n / 32));
    }
    bounds
}

/// What a response time is rounded up to.
fn rounded(took: Duration) -> Duration {
    let bounds = bounds();
    let fits = bounds.iter().find(|&&bound| took <= bound);
    *fits.or_else(|| bounds.last()).unwrap()
}

fn recorded(took: impl IntoIterator<Item = Duration>, now: Instant) -> Latencies {
    let mut latencies = Latencies::new();
    took.into_iter()
        .for_each(|took| latencies.record(took, now));
    latencies
}

#[test]
fn buckets_are_those_of_the_doc() {
    let bounds = bounds();
    assert_eq!(bounds.len(), BUCKETS);
    assert_eq!(bounds.last(), Some(&ms(65_536)));
    for (index, &bound) in bounds.iter().enumerate() {
        assert_eq!(upper_end(index), bound);
        assert_eq!(bucket(bound), index);
        assert_eq!(bucket(bound + NANO), (index + 1).min(BUCKETS - 1));
    }
    assert_eq!(bucket(Duration::ZERO), 0);
    assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
}

#[test]
fn no_percentile_before_a_hundred_samples() {
    let now = crate::time::now();
    let mut latencies = recorded(vec![ms(10); 99], now);
    assert_eq!(latencies.percentile(950, now), None);
    latencies.record(ms(10), now);
    assert_eq!(latencies.percentile(950, now), Some(ms(10)));
    assert_eq!(Latencies::default().percentile(950, now), None);
}

#[test]
fn percentiles_are_of_the_nearest_rank() {
    let now = crate::time::now();
    let mut latencies = recorded((1..=100).map(|n| ms(2 * n)), now);
    for (thousandths, rank) in [
        (0, 1),
        (1, 1),
        (10, 1),
        (11, 2),
        (500, 50),
        (501, 51),
        (950, 95),
        (990, 99),
        (991, 100),
        (1000, 100),
        (u32::MAX, 100),
    ] {
        let found = latencies.percentile(thousandths, now);
        assert_eq!(found, Some(rounded(ms(2 * rank))), "{thousandths}");
    }
}

#[test]
fn one_slow_call_in_twenty_lies_just_above_the_95th_percentile() {
    let now = crate::time::now();
    let mut latencies = recorded(
        (0..200).map(|n| ms(if n % 20 == 0 { 1000 } else { 10 })),
        now,
    );
    assert_eq!(latencies.percentile(950, now), Some(ms(10)));
    assert_eq!(latencies.percentile(951, now), Some(rounded(ms(1000))));
}

#[test]
fn fast_answers_count_as_the_floor_and_very_slow_ones_as_the_top() {
    let now = crate::time::now();
    let mut latencies = recorded(vec![Duration::from_micros(50); 100], now);
    assert_eq!(latencies.percentile(990, now), Some(FLOOR));
    let mut latencies = recorded(vec![secs(3600); 100], now);
    assert_eq!(latencies.percentile(10, now), Some(ms(65_536)));
}

#[test]
fn samples_last_from_their_slot_to_the_tenth() {
    let start = crate::time::now();
    let mut latencies = recorded(vec![ms(10); 100], start);
    for _ in 0..100 {
        latencies.record(ms(20), start + secs(3));
    }
    let last = secs(30) - NANO;
    assert_eq!(latencies.percentile(500, start + last), Some(ms(10)));
    assert_eq!(latencies.percentile(500, start + secs(30)), Some(ms(20)));
    let last = secs(33) - NANO;
    assert_eq!(latencies.percentile(500, start + last), Some(ms(20)));
    assert_eq!(latencies.percentile(500, start + secs(33)), None);
}

#[test]
fn a_long_silence_empties_all_and_keeps_count() {
    let start = crate::time::now();
    let mut latencies = Latencies::new();
    for slot in 0..20 {
        for _ in 0..50 {
            latencies.record(ms(10), start + secs(3 * slot));
        }
    }
    let later = start + secs(86_400);
    assert_eq!(latencies.percentile(500, later), None);
    for _ in 0..100 {
        latencies.record(ms(40), later);
    }
    assert_eq!(latencies.percentile(1, later), Some(ms(40)));
}

#[test]
fn an_earlier_instant_counts_as_the_latest_seen() {
    let start = crate::time::now();
    let mut latencies = recorded(vec![ms(10); 50], start + secs(60));
    assert_eq!(latencies.percentile(500, start + secs(75)), None);
    for _ in 0..50 {
        latencies.record(ms(10), start);
    }
    // The first fifty began slot 0 at 60 s, the others came in slot 5.
    assert_eq!(latencies.percentile(500, start), Some(ms(10)));
    assert_eq!(latencies.percentile(500, start + secs(90)), None);
}

#[test]
fn beyond_what_can_be_counted_nothing_is() {
    let now = crate::time::now();
    let mut latencies = recorded([ms(10)], now);
    latencies.live.total = u32::MAX - 1;
    for _ in 0..2 {
        latencies.record(ms(10), now);
        assert_eq!(latencies.live.total, u32::MAX);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Wait(Duration),
    Record(Duration, usize),
    Ask(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let wait = prop_oneof![
        prop::sample::select(vec![NANO, secs(3), secs(3) - NANO, secs(27), secs(30)]),
        (0_u64..4_000_000_000).prop_map(Duration::from_nanos),
    ];
    // As many samples of each order of magnitude as of the next.
    let took =
        (0_u32..38, any::<u64>()).prop_map(|(bits, n)| Duration::from_nanos(n >> (63 - bits)));
    prop_oneof![
        2 => wait.prop_map(Op::Wait),
        6 => (took, 1_usize..60).prop_map(|(took, times)| Op::Record(took, times)),
        4 => (0_u32..=1000).prop_map(Op::Ask),
    ]
}

proptest! {
    #[test]
    fn percentiles_are_those_of_the_samples_rounded_up(ops in vec(op(), 0..200)) {
        let mut latencies = Latencies::new();
        let mut now = crate::time::now();
        let mut samples: Vec<(Instant, Duration)> = Vec::new();
        for op in ops {
            match op {
                Op::Wait(wait) => now += wait,
                Op::Record(took, times) => for _ in 0..times {
                    latencies.record(took, now);
                    samples.push((now, took));
                },
                Op::Ask(thousandths) => {
                    let first = samples.first().map_or(now, |(at, _)| *at);
                    let slot = |at: Instant| (at - first).as_nanos() / 3_000_000_000;
                    let mut live: Vec<_> = samples
                        .iter()
                        .filter(|(at, _)| slot(*at) + 10 > slot(now))
                        .map(|(_, took)| *took)
                        .collect();
                    live.sort_unstable();
                    let rank = (live.len() * thousandths as usize).div_ceil(1000).max(1);
                    let exact = (live.len() >= 100).then(|| live[rank - 1]);
                    let found = latencies.percentile(thousandths, now);
                    prop_assert_eq!(found, exact.map(rounded));
                    if let (Some(found), Some(exact)) = (found, exact.filter(|&e| e < ms(65_536))) {
                        prop_assert!(found >= exact);
                        prop_assert!(found <= FLOOR || found * 32 < exact * 33);
                    }
                }
            }
        }
    }
}
