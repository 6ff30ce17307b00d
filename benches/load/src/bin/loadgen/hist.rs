//! Latencies by bucket: exact below 128 ns, within 0.8 % above.

/// Buckets per power of two.
const FINE: usize = 128;

/// A histogram of nanoseconds.
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; 64 * FINE],
            count: 0,
            sum: 0,
            max: 0,
        }
    }

    pub(crate) fn add(&mut self, nanos: u64) {
        self.buckets[index(nanos)] += 1;
        self.count += 1;
        self.sum += u128::from(nanos);
        self.max = self.max.max(nanos);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Microseconds below which this share (0-1) lies.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return lowest(index) as f64 / 1e3;
            }
        }
        0.0
    }

    pub(crate) fn mean(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64 / 1e3
    }

    pub(crate) fn max(&self) -> f64 {
        self.max as f64 / 1e3
    }
}

fn index(nanos: u64) -> usize {
    if nanos < FINE as u64 {
        return nanos as usize;
    }
    let power = 63 - nanos.leading_zeros() as usize;
    (power - 6) * FINE + (nanos >> (power - 7)) as usize % FINE
}

/// The least value in a bucket.
fn lowest(index: usize) -> u64 {
    match index / FINE {
        0 => index as u64,
        power => ((FINE + index % FINE) as u64) << (power - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_lowest_value_and_the_next_one_follows() {
        for bucket in 0..57 * FINE {
            assert_eq!(index(lowest(bucket)), bucket);
            assert_eq!(index(lowest(bucket + 1) - 1), bucket);
        }
    }

    #[test]
    fn quantiles_are_within_a_hundredth() {
        let mut histogram = Histogram::new();
        (1..=10_000).for_each(|micros| histogram.add(micros * 1_000));
        for (share, expected) in [(0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let found = histogram.quantile(share);
            assert!((expected - found).abs() / expected < 0.01, "{found}");
        }
    }
}
