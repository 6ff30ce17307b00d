//! The only source of randomness, so that a run can be seeded and replayed.

use std::cell::RefCell;

thread_local! {
    static RNG: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::new());
}

/// Makes every later draw on this thread a function of `seed`.
pub fn seed(seed: u64) {
    RNG.with(|rng| rng.borrow_mut().seed(seed));
}

/// Draws 64 random bits. Not for secrets.
pub fn u64() -> u64 {
    RNG.with(|rng| rng.borrow_mut().u64(..))
}

/// Draws uniformly from `0..bound`; 0 where `bound` is 0.
pub fn below(bound: usize) -> usize {
    if bound < 2 {
        0
    } else {
        RNG.with(|rng| rng.borrow_mut().usize(..bound))
    }
}
