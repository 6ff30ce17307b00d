//! The better of two taken at random.
//!
//! Two random choices come close to the best of all at the price of two reads, and callers that
//! decide at the same moment do not all flock to the same endpoint (Mitzenmacher, "The Power of
//! Two Choices in Randomized Load Balancing", 2001).

use super::Loads;

/// Of two drawn in proportion to their shares, the first, unless the second would not be fuller
/// with one attempt more than the first is now; how full is attempts in flight by share.
///
/// With equal shares that is the one with less in flight, ties going to the first, which is a
/// random one. With unequal ones, a comparison of `(in_flight + 1) / share` would do as well under
/// load, but leave idle endpoints of small weight without any request.
pub(super) fn least_in_flight(loads: &impl Loads, random: u64) -> Option<usize> {
    let (first, second) = pair(loads, |index| loads.share(index), random)?;
    let full = |index, more: u64| {
        let in_flight = u64::try_from(loads.in_flight(index)).unwrap_or(u64::MAX);
        in_flight.saturating_add(more)
    };
    let share = |index| {
        if loads.even() {
            1
        } else {
            u64::from(loads.share(index))
        }
    };
    let moves = second.is_some_and(|second| {
        full(second, 1).saturating_mul(share(first)) <= full(first, 0).saturating_mul(share(second))
    });
    if moves { second } else { Some(first) }
}

/// Of two drawn at random, the one where `latency * (in_flight + 1) / share` is lower. Shares are
/// part of the cost, as an idle but slow endpoint is to be avoided and not to be used in turn.
pub(super) fn peak_ewma(loads: &impl Loads, random: u64) -> Option<usize> {
    let (first, second) = pair(loads, |index| loads.share(index).min(1), random)?;
    let cost = |index| {
        let share = if loads.even() { 1 } else { loads.share(index) };
        let in_flight = loads.in_flight(index);
        let cost = match loads.latency(index) {
            Some(latency) => latency * (count(in_flight) + 1.0),
            // Nothing is known of it: one request finds out (for nothing), the others wait for its
            // news.
            None => UNKNOWN * count(in_flight),
        };
        cost / f64::from(share.max(1))
    };
    match second {
        Some(second) if cost(second) < cost(first) => Some(second),
        _ => Some(first),
    }
}

/// Cost of an endpoint without history and with an attempt in flight: above that of any with
/// history (an hour's latency, a thousand in flight, the greatest share beside the least: 4e18).
const UNKNOWN: f64 = 1e24;

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn count(in_flight: usize) -> f64 {
    in_flight as f64
}

/// Two different ones at random, in proportion to `share`; only one where there is no other.
fn pair(
    loads: &impl Loads,
    share: impl Fn(usize) -> u32,
    random: u64,
) -> Option<(usize, Option<usize>)> {
    let n = loads.count();
    let (high, low) = (random >> 32, random & HALF);
    if loads.even() {
        if n < 2 {
            return (n == 1).then_some((0, None));
        }
        let first = below(n, high);
        let second = below(n - 1, low);
        return Some((first, Some(second + usize::from(second >= first))));
    }
    let first = one(n, &share, high)?;
    let others = |index: usize| if index == first { 0 } else { share(index) };
    Some((first, one(n, others, low)))
}

/// One of `0..n` in proportion to `share`, by 32 random bits; `None` where nobody has any.
///
/// Shares may change between the two looks at them: then it is the last one that still has some.
pub(super) fn one(n: usize, share: impl Fn(usize) -> u32, bits: u64) -> Option<usize> {
    let share = |index| u64::from(share(index));
    let total: u64 = (0..n).map(share).sum();
    let mut left = scale(total, bits);
    let mut last = None;
    for index in 0..n {
        let share = share(index);
        if share > 0 {
            last = Some(index);
        }
        if left < share {
            return last;
        }
        left -= share;
    }
    last
}

/// The lower half of the random bits.
const HALF: u64 = u32::MAX as u64;

/// Scales 32 random bits to `0..bound`; the bias is below `bound` in 2^32.
pub(super) fn below(bound: usize, bits: u64) -> usize {
    let bound = u64::try_from(bound).unwrap_or(u64::MAX);
    usize::try_from(scale(bound, bits)).unwrap_or_default()
}

fn scale(bound: u64, bits: u64) -> u64 {
    u64::try_from((u128::from(bits) * u128::from(bound)) >> 32).unwrap_or_default()
}
