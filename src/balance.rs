//! The choice of an endpoint: of two taken at random, the one with less in flight.
//!
//! Two random choices come close to the best of all at the price of two reads, and callers that
//! decide at the same moment do not all flock to the same endpoint (Mitzenmacher, "The Power of
//! Two Choices in Randomized Load Balancing", 2001). The choice is pure: loads and random bits
//! come in as arguments, nothing is remembered or allocated.

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
