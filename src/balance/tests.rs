use proptest::prelude::*;

use super::*;

/// Endpoints as a test wants them.
#[derive(Clone, Debug)]
struct Stand {
    share: u32,
    in_flight: usize,
    latency: Option<f64>,
}

impl Loads for Vec<Stand> {
    fn count(&self) -> usize {
        self.len()
    }

    fn share(&self, index: usize) -> u32 {
        self[index].share
    }

    fn in_flight(&self, index: usize) -> usize {
        self[index].in_flight
    }

    fn latency(&self, index: usize) -> Option<f64> {
        self[index].latency
    }

    fn even(&self) -> bool {
        let first = self.first().map_or(0, |first| first.share);
        first > 0 && self.iter().all(|stand| stand.share == first)
    }
}

/// Nobody at all, which is as even as can be.
struct Nobody;

impl Loads for Nobody {
    fn count(&self) -> usize {
        0
    }

    fn share(&self, _: usize) -> u32 {
        unreachable!()
    }

    fn in_flight(&self, _: usize) -> usize {
        unreachable!()
    }

    fn latency(&self, _: usize) -> Option<f64> {
        unreachable!()
    }

    fn even(&self) -> bool {
        true
    }
}

/// The same, but nobody knows that they are even.
#[derive(Clone, Debug)]
struct Unaware(Vec<Stand>);

impl Loads for Unaware {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn share(&self, index: usize) -> u32 {
        self.0.share(index)
    }

    fn in_flight(&self, index: usize) -> usize {
        self.0.in_flight(index)
    }

    fn latency(&self, index: usize) -> Option<f64> {
        self.0.latency(index)
    }

    fn even(&self) -> bool {
        false
    }
}

fn stands(of: &[(u32, usize)]) -> Vec<Stand> {
    of.iter()
        .map(|&(share, in_flight)| Stand {
            share,
            in_flight,
            latency: None,
        })
        .collect()
}

fn idle(shares: &[u32]) -> Vec<Stand> {
    stands(&shares.iter().map(|&share| (share, 0)).collect::<Vec<_>>())
}

fn draw(random: u64) -> Draw {
    Draw {
        random,
        turn: 0,
        hash: None,
    }
}

const PEAK: Policy = Policy::PeakEwma {
    decay: Duration::from_secs(10),
};

fn policies() -> [Policy; 5] {
    let ring = Policy::RingHash(HashKey::Header("x-key".into()));
    let (least, turn, weighted) = (Policy::LeastInFlight, Policy::RoundRobin, Policy::Weighted);
    [least, PEAK, turn, weighted, ring]
}

/// How often each is picked in `draws`.
fn histogram(policy: &Policy, loads: &impl Loads, draws: usize) -> Vec<usize> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut counts = vec![0; loads.count()];
    for turn in 0..draws {
        let draw = Draw {
            turn,
            ..draw(rng.u64(..))
        };
        counts[policy.choose(loads, None, draw).expect("there is one")] += 1;
    }
    counts
}

#[track_caller]
fn assert_near(counts: &[usize], expected: &[usize]) {
    assert_eq!(counts.len(), expected.len());
    for (&count, &expected) in counts.iter().zip(expected) {
        let close = count.abs_diff(expected) * 10 <= expected;
        assert!(close, "{counts:?}, expected {expected:?}");
    }
}

#[test]
fn none_of_none_and_none_without_a_share() {
    for policy in policies() {
        assert_eq!(policy.choose(&idle(&[]), None, draw(42)), None);
        assert_eq!(policy.choose(&Nobody, None, draw(42)), None);
        assert_eq!(policy.choose(&idle(&[0, 0]), None, draw(42)), None);
        assert_eq!(policy.choose(&idle(&[5]), None, draw(u64::MAX)), Some(0));
        assert_eq!(policy.choose(&idle(&[0, 3, 0]), None, draw(42)), Some(1));
    }
}

#[test]
fn a_ring_finds_nobody_where_nobody_has_a_share() {
    let policy = Policy::RingHash(HashKey::Header("x-key".into()));
    let ring = Ring::new(&[("a", 1), ("b", 1)]);
    let draw = Draw {
        hash: Some(hash(b"key")),
        ..draw(1)
    };
    assert_eq!(policy.choose(&idle(&[0, 0]), Some(&ring), draw), None);
    assert_eq!(policy.choose(&idle(&[0, 1]), Some(&ring), draw), Some(1));
    assert_eq!(policy.choose(&idle(&[1, 0]), Some(&ring), draw), Some(0));
    assert!(policy.choose(&idle(&[1, 2]), Some(&ring), draw).is_some());
    let home = policy.choose(&idle(&[1, 1]), Some(&ring), draw);
    for random in 0..50 {
        let draw = Draw { random, ..draw };
        assert_eq!(policy.choose(&idle(&[1, 1]), Some(&ring), draw), home);
    }
}

#[test]
fn a_request_without_a_key_goes_where_less_is_in_flight() {
    let policy = Policy::RingHash(HashKey::Cookie("sid".into()));
    let ring = Ring::new(&[("a", 1), ("b", 1)]);
    for random in [0, 7, u64::MAX] {
        let loads = stands(&[(1, 9), (1, 2)]);
        assert_eq!(policy.choose(&loads, Some(&ring), draw(random)), Some(1));
    }
}

#[test]
fn the_less_loaded_of_two_whatever_the_bits() {
    for loads in [stands(&[(1, 3), (1, 2)]), stands(&[(7, 1), (7, 0)])] {
        for random in [0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let chosen = Policy::LeastInFlight.choose(&loads, None, draw(random));
            assert_eq!(chosen, Some(1));
            let unaware = Unaware(loads.clone());
            let chosen = Policy::LeastInFlight.choose(&unaware, None, draw(random));
            assert_eq!(chosen, Some(1));
        }
    }
}

#[test]
fn the_random_bits_break_ties_evenly() {
    for n in [2, 5, 64] {
        let even = idle(&vec![1; n]);
        assert_near(
            &histogram(&Policy::LeastInFlight, &even, 1000 * n),
            &vec![1000; n],
        );
        let mut gap = vec![3; n + 1];
        gap[1] = 0;
        let mut expected = vec![1000; n + 1];
        expected[1] = 0;
        for policy in [Policy::LeastInFlight, PEAK, Policy::Weighted] {
            assert_near(&histogram(&policy, &idle(&gap), 1000 * n), &expected);
        }
    }
}

#[test]
fn of_equals_it_is_the_one_that_was_drawn_first() {
    for policy in [Policy::LeastInFlight, PEAK] {
        assert_eq!(policy.choose(&idle(&[1, 1]), None, draw(0)), Some(0));
        assert_eq!(policy.choose(&idle(&[1, 1]), None, draw(u64::MAX)), Some(1));
    }
}

#[test]
fn the_most_loaded_is_never_picked_and_the_least_loaded_most() {
    // Of n endpoints in order of load, the k-th (from 0) wins against the n - 1 - k above it.
    let loads = stands(&[(1, 0), (1, 1), (1, 2), (1, 3)]);
    let expected = [6_000, 4_000, 2_000, 0];
    assert_near(
        &histogram(&Policy::LeastInFlight, &loads, 12_000),
        &expected,
    );
    assert_near(
        &histogram(&Policy::LeastInFlight, &Unaware(loads), 12_000),
        &expected,
    );
}

#[test]
fn idle_endpoints_are_picked_in_proportion_to_their_shares() {
    for policy in [Policy::LeastInFlight, Policy::Weighted] {
        let counts = histogram(&policy, &idle(&[1000, 2000, 3000]), 12_000);
        assert_near(&counts, &[2_000, 4_000, 6_000]);
        let counts = histogram(&policy, &idle(&[100, 1000]), 11_000);
        assert_near(&counts, &[1_000, 10_000]);
    }
    // Where shares are part of the cost, they are not part of the draw.
    let counts = histogram(&PEAK, &idle(&[1000, 2000, 3000]), 12_000);
    assert_near(&counts, &[4_000; 3]);
}

#[test]
fn an_endpoint_is_full_by_its_share() {
    // Whoever is drawn first stays unless one more at the other makes that one no fuller.
    for (loads, always) in [
        (stands(&[(1, 1), (10, 9)]), Some(1)),
        (stands(&[(1, 0), (10, 10)]), Some(0)),
        (stands(&[(1, 0), (10, 9)]), None),
    ] {
        let counts = histogram(&Policy::LeastInFlight, &loads, 1_000);
        match always {
            Some(index) => assert_eq!(counts[index], 1_000, "{loads:?}"),
            None => assert!(counts.iter().all(|&count| count > 0), "{loads:?}"),
        }
    }
}

#[test]
fn the_faster_wins_by_latency_times_those_in_flight_by_share() {
    let of = |share, in_flight, latency| Stand {
        share,
        in_flight,
        latency,
    };
    for (first, second) in [
        (of(1, 0, Some(10.0)), of(1, 0, Some(11.0))),
        (of(1, 2, Some(10.0)), of(1, 0, Some(31.0))),
        (of(1, 0, Some(29.0)), of(1, 2, Some(10.0))),
        (of(3, 2, Some(10.0)), of(1, 0, Some(10.1))),
        (of(1, 0, None), of(1, 0, Some(0.001))),
        (of(1, 999, Some(3.6e9)), of(1, 1, None)),
        (of(1, 1, None), of(1, 2, None)),
        (of(2, 1, None), of(1, 1, None)),
    ] {
        for random in [0, 7, u64::MAX] {
            let loads = vec![first.clone(), second.clone()];
            assert_eq!(
                PEAK.choose(&loads, None, draw(random)),
                Some(0),
                "{loads:?}"
            );
            let loads = vec![second.clone(), first.clone()];
            assert_eq!(
                PEAK.choose(&loads, None, draw(random)),
                Some(1),
                "{loads:?}"
            );
        }
    }
}

#[test]
fn in_turn_means_in_turn() {
    let chosen =
        |loads: &Vec<Stand>| -> Vec<_> { (0..6).filter_map(|turn| in_turn(loads, turn)).collect() };
    assert_eq!(chosen(&idle(&[1, 1, 1])), [0, 1, 2, 0, 1, 2]);
    // Neither weights nor load nor slow start change it, and a gap is filled by all in turn.
    assert_eq!(
        chosen(&stands(&[(9, 0), (1, 7), (5, 0)])),
        [0, 1, 2, 0, 1, 2]
    );
    assert_eq!(chosen(&idle(&[1, 0, 1, 2])), [0, 2, 3, 0, 2, 3]);
    assert!(in_turn(&idle(&[1, 1]), usize::MAX).is_some());
}

#[test]
fn slow_start_is_a_straight_line_with_a_floor() {
    let over = Duration::from_secs(10);
    for (millis, share) in [
        (0, 100),
        (999, 100),
        (1_000, 100),
        (1_010, 101),
        (5_000, 500),
        (9_999, 999),
        (10_000, 1000),
        (11_000, 1000),
    ] {
        let since = Duration::from_millis(millis);
        assert_eq!(slow_start(since, over), share, "{millis} ms");
    }
    assert_eq!(slow_start(Duration::MAX, over), 1000);
    assert_eq!(slow_start(Duration::ZERO, Duration::ZERO), 1000);
    assert_eq!(slow_start(Duration::ZERO, Duration::MAX), 100);
}

#[test]
fn shares_that_vanish_between_two_looks_are_no_trouble() {
    use std::cell::Cell;
    let looks = Cell::new(0);
    // The total is taken with three shares, then two of them are gone.
    let share = |index: usize| {
        looks.set(looks.get() + 1);
        u32::from(looks.get() <= 3 || index == 1)
    };
    assert_eq!(two::one(3, share, u64::from(u32::MAX)), Some(1));
    looks.set(0);
    let share = |_: usize| {
        looks.set(looks.get() + 1);
        u32::from(looks.get() <= 3)
    };
    assert_eq!(two::one(3, share, 0), None);
}

fn stand() -> impl Strategy<Value = Stand> {
    let latency = proptest::option::of(0.001..1e9);
    (0_u32..4, 0_usize..4, latency).prop_map(|(share, in_flight, latency)| Stand {
        share: share * 1000,
        in_flight,
        latency,
    })
}

proptest! {
    /// Whoever is picked has a share, and somebody is picked if anybody has one.
    #[test]
    fn the_pick_has_a_share(
        loads in proptest::collection::vec(stand(), 0..9),
        random: u64,
        turn: usize,
        hash: Option<u64>,
    ) {
        let names: Vec<_> = loads.iter().enumerate().map(|(i, s)| (i.to_string(), s.share)).collect();
        let ring = Ring::new(&names);
        let draw = Draw { random, turn, hash };
        for policy in policies() {
            let any = loads.iter().any(|stand| stand.share > 0);
            let chosen = policy.choose(&loads, Some(&ring), draw);
            prop_assert_eq!(chosen.is_some(), any);
            prop_assert!(chosen.is_none_or(|index| loads[index].share > 0));
        }
    }

    /// With equal shares there is another one with no less in flight.
    #[test]
    fn the_pick_beats_somebody(
        in_flight in proptest::collection::vec(0_usize..4, 2..9),
        random: u64,
    ) {
        let loads = stands(&in_flight.iter().map(|&of| (1, of)).collect::<Vec<_>>());
        for unaware in [false, true] {
            let chosen = if unaware {
                Policy::LeastInFlight.choose(&Unaware(loads.clone()), None, draw(random))
            } else {
                Policy::LeastInFlight.choose(&loads, None, draw(random))
            };
            let picked = chosen.expect("one of them");
            let mut others = (0..loads.len()).filter(|&i| i != picked);
            prop_assert!(others.any(|other| in_flight[picked] <= in_flight[other]));
        }
    }
}
