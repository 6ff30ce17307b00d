//! The choice of an endpoint: of two taken at random, the one with less in flight.
//!
//! Two random choices come close to the best of all at the price of two reads, and callers that
//! decide at the same moment do not all flock to the same endpoint (Mitzenmacher, "The Power of
//! Two Choices in Randomized Load Balancing", 2001). The choice is pure: loads and random bits
//! come in as arguments, nothing is remembered or allocated.

use std::time::Duration;

/// `balance` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// By which rule.
    pub policy: Policy,
    /// A new or returned endpoint gets its full share only after this long; `None` is `"off"`.
    pub slow_start: Option<Duration>,
}

/// The rule by which an endpoint is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// Of two at random, the one with less in flight.
    LeastInFlight,
    /// Of two at random, the one with the lower product of latency and requests in flight.
    PeakEwma {
        /// A past latency loses its weight over this long.
        decay: Duration,
    },
    /// One after the other.
    RoundRobin,
    /// At random, in proportion to the weights.
    Weighted,
    /// The same for the same key, as far as the set of endpoints stays the same.
    RingHash(HashKey),
}

/// What a request is hashed by; requests without it are spread as by [`Policy::LeastInFlight`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The value of this field (lower-case name).
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

/// Picks one of `n` endpoints, by index.
///
/// `loads` gives what each has in flight, `random` 64 random bits. `exclude` (the endpoint that
/// just failed) is picked only where it is the only one. `None` if there is none at all.
pub fn pick(
    loads: impl Fn(usize) -> usize,
    n: usize,
    random: u64,
    exclude: Option<usize>,
) -> Option<usize> {
    let exclude = exclude.filter(|&excluded| excluded < n && n > 1);
    let candidates = n - usize::from(exclude.is_some());
    let endpoint = |candidate: usize| match exclude {
        Some(excluded) if candidate >= excluded => candidate + 1,
        _ => candidate,
    };
    match candidates {
        0 => None,
        1 => Some(endpoint(0)),
        _ => {
            let first = below(candidates, random >> 32);
            let mut second = below(candidates - 1, random & HALF);
            if second >= first {
                second += 1;
            }
            let (first, second) = (endpoint(first), endpoint(second));
            // The order of the two is random, so that the first may win every tie.
            Some(if loads(second) < loads(first) {
                second
            } else {
                first
            })
        }
    }
}

/// The lower half of the random bits.
const HALF: u64 = u32::MAX as u64;

/// Scales 32 random bits to `0..bound`; the bias is below `bound` in 2^32.
fn below(bound: usize, bits: u64) -> usize {
    let scaled = (bits as u128 * bound as u128) >> 32;
    usize::try_from(scaled).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn idle(_: usize) -> usize {
        0
    }

    /// How often each of `n` endpoints is picked in `draws`.
    fn histogram(
        loads: impl Fn(usize) -> usize,
        n: usize,
        exclude: Option<usize>,
        draws: usize,
    ) -> Vec<usize> {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut counts = vec![0; n];
        for _ in 0..draws {
            counts[pick(&loads, n, rng.u64(..), exclude).expect("there are endpoints")] += 1;
        }
        counts
    }

    #[test]
    fn none_of_none() {
        assert_eq!(pick(idle, 0, 42, None), None);
        assert_eq!(pick(idle, 0, 42, Some(0)), None);
    }

    #[test]
    fn the_only_one_even_if_excluded() {
        assert_eq!(pick(idle, 1, u64::MAX, None), Some(0));
        assert_eq!(pick(idle, 1, u64::MAX, Some(0)), Some(0));
    }

    #[test]
    fn the_less_loaded_of_two_whatever_the_bits() {
        let loads = |index| [3, 2][index];
        for random in [0, 1, HALF, HALF + 1, u64::MAX] {
            assert_eq!(pick(loads, 2, random, None), Some(1));
            assert_eq!(pick(loads, 2, random, Some(1)), Some(0));
            assert_eq!(pick(loads, 2, random, Some(0)), Some(1));
        }
    }

    #[test]
    fn an_index_that_is_not_there_excludes_nothing() {
        assert_eq!(histogram(idle, 3, Some(3), 300).len(), 3);
        assert_eq!(pick(|index| [0, 5][index], 2, 0, Some(2)), Some(0));
    }

    #[test]
    fn the_random_bits_break_ties_evenly() {
        for (n, exclude) in [(2, None), (5, None), (5, Some(2)), (64, None)] {
            let draws = 20_000;
            let counts = histogram(idle, n, exclude, draws);
            let fair = draws / (n - usize::from(exclude.is_some()));
            for (index, count) in counts.into_iter().enumerate() {
                if exclude == Some(index) {
                    assert_eq!(count, 0);
                } else {
                    let off = count.abs_diff(fair);
                    assert!(off * 4 < fair, "{index} of {n}: {count}, fair is {fair}");
                }
            }
        }
    }

    #[test]
    fn the_most_loaded_is_never_picked_and_the_least_loaded_most() {
        // Of n endpoints in order of load, the k-th (from 0) wins against the n - 1 - k above it.
        let counts = histogram(|index| index, 4, None, 12_000);
        assert_eq!(counts[3], 0);
        for (index, expected) in [6_000, 4_000, 2_000].into_iter().enumerate() {
            assert!(
                counts[index].abs_diff(expected) < expected / 10,
                "{counts:?}"
            );
        }
    }

    proptest! {
        /// The pick is one of those offered, and there is another one that is no better.
        #[test]
        fn the_pick_is_allowed_and_beats_somebody(
            loads in proptest::collection::vec(0_usize..4, 1..9),
            random: u64,
            exclude in proptest::option::of(0_usize..10),
        ) {
            let n = loads.len();
            let picked = pick(|index| loads[index], n, random, exclude).expect("one of them");
            prop_assert!(picked < n);
            let mut others = (0..n).filter(|&i| i != picked && Some(i) != exclude);
            if n > 1 {
                prop_assert_ne!(Some(picked), exclude);
            }
            if others.clone().next().is_some() {
                prop_assert!(others.any(|other| loads[picked] <= loads[other]));
            }
        }
    }
}
