//! The sliding window of recorded calls, by seconds or by number.
//!
//! Decides nothing: it answers how many calls it holds, and how many of them failed or were slow.
//! Time enters as the number of the second, which never goes back.

use super::{WHOLE, Window};

/// How many calls, and how many of them failed, were slow, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) slow: u64,
}

impl Tally {
    const fn of(failed: bool, slow: bool) -> Self {
        Self {
            calls: 1,
            failed: failed as u64,
            slow: slow as u64,
        }
    }

    pub(super) const fn add(&mut self, failed: bool, slow: bool) {
        self.calls += 1;
        self.failed += failed as u64;
        self.slow += slow as u64;
    }

    const fn remove(&mut self, other: Self) {
        self.calls -= other.calls;
        self.failed -= other.failed;
        self.slow -= other.slow;
    }
}

/// Whether `part` of `whole` is at least `rate` thousandths of a percent: exact, nothing is rounded.
pub(super) fn reaches(part: u64, whole: u64, rate: u32) -> bool {
    u64::from(WHOLE) * part >= u64::from(rate) * whole
}

/// The calls of the last seconds, or the last so many calls.
#[derive(Clone, Debug)]
pub(super) enum Sliding {
    /// One bucket a second; second `s` is in bucket `s` modulo their number.
    Seconds {
        buckets: Box<[Tally]>,
        current: u64,
        total: Tally,
    },
    /// A ring; `oldest` is the place to write next once it is full.
    Calls {
        ring: Vec<(bool, bool)>,
        size: usize,
        oldest: usize,
        total: Tally,
    },
}

impl Sliding {
    pub(super) fn new(window: Window, second: u64) -> Self {
        match window {
            Window::Seconds(size) => Self::Seconds {
                buckets: vec![Tally::default(); size.max(1) as usize].into(),
                current: second,
                total: Tally::default(),
            },
            Window::Calls(size) => Self::Calls {
                ring: Vec::new(),
                size: size.max(1) as usize,
                oldest: 0,
                total: Tally::default(),
            },
        }
    }

    /// Forgets all calls and keeps the memory.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Seconds { buckets, total, .. } => {
                buckets.fill(Tally::default());
                *total = Tally::default();
            }
            Self::Calls {
                ring,
                oldest,
                total,
                ..
            } => {
                ring.clear();
                *oldest = 0;
                *total = Tally::default();
            }
        }
    }

    /// Adds a call recorded in this second.
    pub(super) fn add(&mut self, failed: bool, slow: bool, second: u64) {
        self.age(second);
        match self {
            Self::Seconds {
                buckets,
                current,
                total,
            } => {
                let index = bucket(*current, buckets.len());
                buckets[index].add(failed, slow);
                total.add(failed, slow);
            }
            Self::Calls {
                ring,
                size,
                oldest,
                total,
            } => {
                if ring.len() < *size {
                    ring.push((failed, slow));
                } else {
                    let (old_failed, old_slow) =
                        std::mem::replace(&mut ring[*oldest], (failed, slow));
                    total.remove(Tally::of(old_failed, old_slow));
                    *oldest = (*oldest + 1) % *size;
                }
                total.add(failed, slow);
            }
        }
    }

    /// What the window holds as of this second.
    pub(super) fn total(&mut self, second: u64) -> Tally {
        self.age(second);
        match self {
            Self::Seconds { total, .. } | Self::Calls { total, .. } => *total,
        }
    }

    /// Empties the buckets that fell out: at most all of them, however long the gap.
    fn age(&mut self, second: u64) {
        let Self::Seconds {
            buckets,
            current,
            total,
        } = self
        else {
            return;
        };
        let gap = second.saturating_sub(*current);
        for step in 1..=gap.min(buckets.len() as u64) {
            let index = bucket(*current + step, buckets.len());
            total.remove(std::mem::take(&mut buckets[index]));
        }
        *current += gap;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a remainder of `buckets` fits its type"
)]
const fn bucket(second: u64, buckets: usize) -> usize {
    (second % buckets as u64) as usize
}
