//! What the load has measured: counts of the last second, latencies of the last seconds, and
//! of the whole run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::moody::Mood;

/// The table shows the latencies of this long.
const WINDOW: Duration = Duration::from_secs(5);
/// At most so many latencies are kept for it: the newest.
const WINDOW_SAMPLES: usize = 20_000;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The upstream answered below 500.
    Ok,
    /// The breaker was open: the proxy refused at once.
    BreakerOpen,
    /// Another 503 of the proxy: no slot came free in time.
    LocalReply,
    /// Everything else: 5xx of the upstream, a timeout, no answer.
    Failed,
}

/// Counts of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls begun.
    pub begun: u64,
    /// Ended [`End::Ok`].
    pub ok: u64,
    /// Ended [`End::BreakerOpen`] or [`End::LocalReply`].
    pub local: u64,
    /// Ended [`End::Failed`].
    pub failed: u64,
    /// Not begun, because too many were running.
    pub skipped: u64,
}

/// What was measured on one upstream.
#[derive(Debug, Default)]
pub struct Meter {
    since_look: Tally,
    total: Tally,
    window: VecDeque<(Instant, Duration)>,
    ok_in_peace: Histogram,
    ok_in_trouble: Histogram,
    refused: Histogram,
}

impl Meter {
    /// Notes that a call is about to be sent.
    pub fn begin(&mut self) {
        self.since_look.begun += 1;
        self.total.begun += 1;
    }

    /// Notes that a call was left out.
    pub fn skip(&mut self) {
        self.since_look.skipped += 1;
        self.total.skipped += 1;
    }

    /// Notes that a call ended at `now` after `took`, and what mood the moody upstream was in.
    pub fn end(&mut self, now: Instant, end: End, took: Duration, mood: Mood) {
        for tally in [&mut self.since_look, &mut self.total] {
            match end {
                End::Ok => tally.ok += 1,
                End::BreakerOpen | End::LocalReply => tally.local += 1,
                End::Failed => tally.failed += 1,
            }
        }
        match (end, mood) {
            (End::Ok, Mood::Ok) => self.ok_in_peace.record(took),
            (End::Ok, _) => self.ok_in_trouble.record(took),
            (End::BreakerOpen, _) => self.refused.record(took),
            (End::LocalReply | End::Failed, _) => {}
        }
        if self.window.len() == WINDOW_SAMPLES {
            self.window.pop_front();
        }
        self.window.push_back((now, took));
    }

    /// The counts since the last call of this function.
    pub fn take(&mut self) -> Tally {
        std::mem::take(&mut self.since_look)
    }

    /// The counts since the start.
    pub fn total(&self) -> Tally {
        self.total
    }

    /// p50 and p99 of what ended in the last five seconds; `None` if nothing did.
    pub fn recent(&mut self, now: Instant) -> Option<(Duration, Duration)> {
        while let Some((at, _)) = self.window.front() {
            if now.saturating_duration_since(*at) <= WINDOW {
                break;
            }
            self.window.pop_front();
        }
        let mut sorted: Vec<Duration> = self.window.iter().map(|(_, took)| *took).collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.checked_sub(1)?).copied()
        };
        Some((at(50)?, at(99)?))
    }

    /// Answers of the upstream while the moody one was well.
    pub fn ok_in_peace(&self) -> &Histogram {
        &self.ok_in_peace
    }

    /// Answers of the upstream while the moody one was not.
    pub fn ok_in_trouble(&self) -> &Histogram {
        &self.ok_in_trouble
    }

    /// Refusals of the open breaker.
    pub fn refused(&self) -> &Histogram {
        &self.refused
    }
}

/// Latencies of a whole run, exact to 2 % in a fixed space.
#[derive(Debug)]
pub struct Histogram {
    /// Upper limits, each 2 % above the one before, from 0.1 ms to a minute.
    limits: Vec<Duration>,
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        let next = |limit: &Duration| Some(*limit * 51 / 50);
        let limits: Vec<Duration> = std::iter::successors(Some(Duration::from_micros(100)), next)
            .take_while(|limit| *limit < Duration::from_secs(60))
            .collect();
        let counts = vec![0; limits.len() + 1];
        Self { limits, counts }
    }
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&mut self, took: Duration) {
        let bucket = self.limits.partition_point(|limit| *limit < took);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
    }

    /// The upper limit of the bucket that holds the given percentile; `None` if it is empty.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let total: u64 = self.counts.iter().sum();
        let rank = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        self.limits
            .get(bucket)
            .or_else(|| self.limits.last())
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn recent_is_the_nearest_rank_of_the_last_seconds() {
        let mut meter = Meter::default();
        let start = crate::time::now();
        assert_eq!(meter.recent(start), None);
        meter.end(start, End::Ok, ms(9_999), Mood::Ok);
        assert_eq!(meter.recent(start), Some((ms(9_999), ms(9_999))));
        let later = start + Duration::from_secs(4);
        for took in (1..=100).rev() {
            meter.end(later, End::Ok, ms(took), Mood::Ok);
        }
        assert_eq!(meter.recent(later), Some((ms(51), ms(100))));
        let later = start + Duration::from_secs(6);
        assert_eq!(meter.recent(later), Some((ms(50), ms(99))));
        let later = start + Duration::from_secs(60);
        assert_eq!(meter.recent(later), None);
    }

    #[test]
    fn counts_are_taken_once() {
        let mut meter = Meter::default();
        let now = crate::time::now();
        for end in [End::Ok, End::BreakerOpen, End::LocalReply, End::Failed] {
            meter.begin();
            meter.end(now, end, ms(1), Mood::Hang);
        }
        meter.skip();
        let expected = Tally {
            begun: 4,
            ok: 1,
            local: 2,
            failed: 1,
            skipped: 1,
        };
        assert_eq!(meter.take(), expected);
        assert_eq!(meter.take(), Tally::default());
        assert_eq!(meter.total(), expected);
        assert_eq!(meter.ok_in_peace().percentile(99), None);
        assert!(meter.ok_in_trouble().percentile(99).is_some());
    }

    #[test]
    fn a_histogram_is_exact_to_two_percent() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50), None);
        for took in 1..=1_000 {
            histogram.record(ms(took));
        }
        for (percent, exact) in [(1, 10), (50, 500), (99, 990), (100, 1_000)] {
            let found = histogram.percentile(percent).unwrap();
            assert!(found >= ms(exact), "{percent}: {found:?}");
            assert!(found <= ms(exact) * 51 / 50, "{percent}: {found:?}");
        }
        histogram.record(Duration::from_secs(3_600));
        assert!(histogram.percentile(100).unwrap() > Duration::from_secs(58));
    }
}
