//! When a second attempt is started beside one that is late.
//!
//! A hedge cuts the tail of latency: where one attempt in a hundred hangs for reasons of its own, a
//! second one is most likely answered at once. It costs load, so it must start late enough that few
//! requests get that far. A fixed delay is right until the upstream changes; a percentile of recent
//! response times follows it, and says what it costs: at the 95th, one request in twenty starts a
//! hedge. [`Latencies`] keeps what that takes.
//!
//! ```text
//! delay = max(1 ms, response time of rank ceil(n * percentile) among the n of the last 30 s)
//! ```
//!
//! No delay, and so no hedge, before there are [`MIN_SAMPLES`]: the 95th percentile of three
//! response times is the slowest of three. Below 1 ms a hedge would be in flight before the answer
//! that it is to overtake.
//!
//! Response times are counted in buckets, 32 to each doubling from 1 ms to 65.5 s, and the answer is
//! the upper end of the bucket: never too early, and late by less than one part in 32 (3.2 %). All
//! below 1 ms count as 1 ms, all above 65.5 s as 65.5 s. The last 30 s are ten slots of 3 s, the
//! present one and the nine before. Sums over the live slots are kept in a tree, so that a
//! percentile is found in ten steps and is exact at every request: no answer is cached. It takes
//! 23 KB, whatever the traffic.
//!
//! The samples are those of successes: an upstream that fails fast would otherwise look fast. What a
//! hedge overtook has no response time; whether its age when cancelled is counted is up to the
//! caller, who should know that without it the slow ones vanish from the samples, the percentile
//! sinks, and hedges become more frequent than it says, up to what the budget allows.
//!
//! Invariants: the tree is the sum of the live slots; time never runs backwards. Nothing here starts
//! or cancels anything. Settings: the `hedge` table.

use std::time::{Duration, Instant};

/// Fewer response times than this are no basis for a percentile.
pub const MIN_SAMPLES: u32 = 100;

/// The shortest delay that a percentile results in.
pub const FLOOR: Duration = Duration::from_millis(1);

/// Ten of them are the 30 s that are remembered.
const SLOT: Duration = Duration::from_secs(3);
const SLOTS: usize = 10;

/// Buckets to a doubling, as a power of two. In its first doubling a bucket is one tick wide.
const FINE: u32 = 5;
/// Doublings above the floor.
const DOUBLINGS: u32 = 16;
/// One for all up to the floor, and those above it.
const BUCKETS: usize = 1 + ((DOUBLINGS as usize) << FINE);
/// Unit of response times: 1/32 of the floor, 31.25 us.
const TICK_NANOS: u64 = 1_000_000 >> FINE;

/// `hedge` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Attempts beside the first (1-3).
    pub max_hedges: u32,
    /// How long an attempt may be without an answer before the next is started.
    pub delay: Delay,
    /// Whether a hedge may go to an endpoint that this request already uses.
    pub same_endpoint: bool,
}

/// The delay of a hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Always this.
    Fixed(Duration),
    /// This percentile of recent response times, in thousandths (950 is the 95th percentile).
    Percentile(u32),
}

/// The response times of the last 30 s.
#[derive(Debug)]
pub struct Latencies {
    /// Where slot 0 began: at the first sample. `None` before there is one.
    start: Option<Instant>,
    /// Number of the latest slot seen.
    current: u64,
    /// Slot `n` is at `n` modulo their number: samples by bucket.
    slots: Box<[[u32; BUCKETS]]>,
    /// Samples of all live slots.
    live: Tree,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// Makes one without samples.
    pub fn new() -> Self {
        Self {
            start: None,
            current: 0,
            slots: vec![[0; BUCKETS]; SLOTS].into(),
            live: Tree::new(),
        }
    }

    /// Adds the response time of an attempt that succeeded.
    pub fn record(&mut self, took: Duration, now: Instant) {
        self.start.get_or_insert(now);
        self.advance(now);
        let bucket = bucket(took);
        if self.live.total < u32::MAX {
            self.slots[place(self.current)][bucket] += 1;
            self.live.add(bucket, 1);
        }
    }

    /// The response time that so many thousandths of the samples do not exceed, rounded up to the
    /// end of its bucket; `None` while there are fewer than [`MIN_SAMPLES`].
    pub fn percentile(&mut self, thousandths: u32, now: Instant) -> Option<Duration> {
        self.advance(now);
        let total = self.live.total;
        if total < MIN_SAMPLES {
            return None;
        }
        let rank = (u64::from(total) * u64::from(thousandths.min(1000))).div_ceil(1000);
        let rank = u32::try_from(rank).unwrap_or(total).max(1);
        Some(upper_end(self.live.find(rank)))
    }

    /// Empties the slots that expired: at most all of them, however long the gap.
    fn advance(&mut self, now: Instant) {
        let Some(start) = self.start else {
            return;
        };
        let passed = now.saturating_duration_since(start);
        let present = (passed.as_secs() / SLOT.as_secs()).max(self.current);
        let gap = present - self.current;
        for step in 1..=gap.min(SLOTS as u64) {
            let expired = &mut self.slots[place(self.current + step)];
            for (bucket, count) in expired.iter_mut().enumerate().filter(|(_, n)| **n != 0) {
                self.live.remove(bucket, std::mem::take(count));
            }
            self.check_invariants();
        }
        self.current = present;
    }

    fn check_invariants(&self) {
        debug_assert_eq!(
            u64::from(self.live.total),
            self.slots
                .iter()
                .flatten()
                .map(|&n| u64::from(n))
                .sum::<u64>(),
            "the tree is the sum of the slots"
        );
    }
}

/// Counts by bucket, of which partial sums are kept: node `n` (from 1) holds the sum of as many
/// buckets up to the `n`-th as the lowest set bit of `n` says. A Fenwick tree.
#[derive(Debug)]
struct Tree {
    nodes: Box<[u32]>,
    total: u32,
}

impl Tree {
    fn new() -> Self {
        Self {
            nodes: vec![0; BUCKETS + 1].into(),
            total: 0,
        }
    }

    fn add(&mut self, bucket: usize, count: u32) {
        self.total = self.total.wrapping_add(count);
        let mut node = bucket + 1;
        while let Some(sum) = self.nodes.get_mut(node) {
            *sum = sum.wrapping_add(count);
            node += node & node.wrapping_neg();
        }
    }

    fn remove(&mut self, bucket: usize, count: u32) {
        self.add(bucket, count.wrapping_neg());
    }

    /// The bucket of the sample that has this rank (from 1 to `total`) in ascending order.
    fn find(&self, rank: u32) -> usize {
        let (mut before, mut left) = (0, rank);
        let mut step = 1 << BUCKETS.ilog2();
        while step > 0 {
            match self.nodes.get(before + step) {
                Some(&sum) if sum < left => {
                    before += step;
                    left -= sum;
                }
                _ => {}
            }
            step /= 2;
        }
        before
    }
}

/// Bucket 0 ends at the floor; those above take their upper end in and not their lower one.
fn bucket(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let ticks = nanos.div_ceil(TICK_NANOS).saturating_sub(1);
    let Some(doubling) = ticks.checked_ilog2().and_then(|log| log.checked_sub(FINE)) else {
        return 0;
    };
    let within = (ticks >> doubling) & ((1 << FINE) - 1);
    let bucket = 1 + (u64::from(doubling) << FINE) + within;
    usize::try_from(bucket)
        .unwrap_or(usize::MAX)
        .min(BUCKETS - 1)
}

/// The greatest response time that a bucket takes in.
fn upper_end(bucket: usize) -> Duration {
    let Some(above) = bucket.checked_sub(1) else {
        return FLOOR;
    };
    let fine = 1_u64 << FINE;
    let (doubling, within) = (above as u64 / fine, above as u64 % fine);
    Duration::from_nanos(((fine + within + 1) << doubling) * TICK_NANOS)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a remainder of `SLOTS` fits its type"
)]
const fn place(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests;
