//! A limit of concurrency that follows the latency of the upstream.
//!
//! A fixed limit fits the day it was measured. This one grows while answers come about as fast as
//! they usually do and shrinks when they come slower, so that what an upstream cannot serve in good
//! time waits or is refused here rather than in the upstream's queues, where it makes everything
//! slower.
//!
//! | event | does |
//! |---|---|
//! | sample | joins the window; the window's first sample at or after its end closes it, if there are enough |
//! | window closes | moves the limit once, by the ratio of latencies (Gradient2) or by a step (AIMD) |
//! | drop in the window | lowers the limit by a factor, whatever the latency |
//!
//! Invariants: the limit is finite, within its bounds and at least 1; it moves once a window, so at
//! most once in [`Settings::window`]. Only samples move time: an idle machine keeps its limit. It
//! probes nothing: no request is refused in order to learn what the latency would be without it.
//!
//! It does not count requests in flight, nor admit them: that is [`super::bulkhead`], which takes
//! the lesser of this limit and its own. Settings: the `adaptive` table.
//!
//! Gradient2 and the shape of AIMD are those of Netflix's concurrency-limits; what a drop does to
//! Gradient2 is ours (there, it does nothing).

use std::time::{Duration, Instant};

/// Quicker answers are no samples: they come from a cache or an error page, or are an artefact.
const LEAST_RTT: Duration = Duration::from_micros(100);

/// So many updates make the first baseline, by their mean (concurrency-limits: 10).
const WARM_UP: u32 = 10;

/// A baseline more than so many times the present latency is out of date (concurrency-limits: 2).
const STALE_RATIO: f64 = 2.0;

/// What is left of such a baseline after each update (concurrency-limits: 0.95).
const STALE_DECAY: f64 = 0.95;

/// The latency may have halved at the worst: one update lowers the limit no further than by this
/// gradient (concurrency-limits: 0.5).
const LEAST_GRADIENT: f64 = 0.5;

/// What a drop leaves of the limit of Gradient2 (the default back-off of AIMD).
const DROP_FACTOR: f64 = 0.9;

/// `adaptive` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How the limit follows.
    pub algorithm: Algorithm,
    /// The limit at the start.
    pub initial: u32,
    /// The least limit.
    pub min: u32,
    /// The greatest limit; `max_requests` bounds it as well.
    pub max: u32,
    /// Samples are gathered at least this long before the limit moves.
    pub window: Duration,
    /// And at least this many.
    pub min_samples: u32,
}

/// How the limit follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Algorithm {
    /// By the ratio of the long-term latency to the present one.
    Gradient2 {
        /// Updates over which the long-term latency is averaged.
        long_window: u32,
        /// The present latency may be this many times the long-term one.
        tolerance: f64,
        /// What the limit may grow by, and so what may queue at the upstream.
        queue_size: u32,
        /// How much of a new limit is taken over, 0-1.
        smoothing: f64,
    },
    /// Up by one, down by a factor.
    Aimd {
        /// The factor, 0.5-1.
        backoff: f64,
        /// A longer response time counts as a drop.
        timeout: Duration,
    },
}

/// What an attempt tells about the upstream's load. Failures and abandoned attempts tell nothing:
/// quick failures would look like low latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Time to the answer; `None` where none came. Of a drop it is not looked at.
    pub rtt: Option<Duration>,
    /// Slots in use when the attempt was dispatched, its own included.
    pub in_flight: u32,
    /// The upstream was too busy: it said so (429, 503), or did not answer in time.
    pub drop: bool,
}

/// What the machine looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The limit.
    pub limit: u32,
    /// The least that it may become.
    pub min: u32,
    /// Long-term response time, once known (Gradient2 only).
    pub baseline: Option<Duration>,
    /// Mean response time of the last window that had one.
    pub latency: Option<Duration>,
    /// Samples taken since the start.
    pub samples: u64,
    /// How many of them were drops.
    pub drops: u64,
}

/// Follows the latency with a limit. Knows no clock and admits nobody.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    limit: f64,
    baseline: Baseline,
    latency: Option<Duration>,
    window: Option<Window>,
    samples: u64,
    drops: u64,
    last_seen: Instant,
}

/// Samples that will move the limit together.
#[derive(Clone, Debug)]
struct Window {
    since: Instant,
    samples: u32,
    /// Those that were no drops, and the sum of their response times.
    answers: u32,
    total: Duration,
    /// The most in flight.
    in_flight: u32,
    drop: bool,
}

/// The long-term latency of Gradient2, in seconds.
#[derive(Clone, Debug, Default)]
struct Baseline {
    seconds: f64,
    updates: u32,
}

impl Machine {
    /// Starts at the initial limit, with no samples.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let mut machine = Self {
            limit: f64::from(settings.initial),
            baseline: Baseline::default(),
            latency: None,
            window: None,
            samples: 0,
            drops: 0,
            last_seen: now,
            settings,
        };
        machine.set(machine.limit);
        machine
    }

    /// Takes a sample, and returns the limit if that changed it.
    pub fn sample(&mut self, sample: Sample, now: Instant) -> Option<u32> {
        let now = self.advance(now);
        if !sample.drop && sample.rtt.is_none_or(|rtt| rtt < LEAST_RTT) {
            return None;
        }
        self.samples += 1;
        self.drops += u64::from(sample.drop);
        let window = self.window.get_or_insert_with(|| Window::begin(now));
        window.add(sample);
        let over = now.saturating_duration_since(window.since) >= self.settings.window;
        if !over || window.samples < self.settings.min_samples {
            return None;
        }
        let before = self.limit();
        if let Some(window) = self.window.take() {
            self.update(&window);
        }
        Some(self.limit()).filter(|limit| *limit != before)
    }

    /// The limit, whole: at least 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between two positive `u32`; the fraction is cut on purpose"
    )]
    pub const fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// What it looks like.
    pub fn view(&self) -> View {
        View {
            limit: self.limit(),
            min: self.settings.min,
            baseline: self.baseline.get(),
            latency: self.latency,
            samples: self.samples,
            drops: self.drops,
        }
    }

    /// Takes over new settings: the bounds at once, the rest from the next sample on. Limit and
    /// samples are kept, and so is the baseline unless the algorithm has none.
    pub fn reconfigure(&mut self, settings: Settings, now: Instant) {
        self.advance(now);
        self.settings = settings;
        if matches!(self.settings.algorithm, Algorithm::Aimd { .. }) {
            self.baseline = Baseline::default();
        }
        self.set(self.limit);
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.last_seen = self.last_seen.max(now);
        self.last_seen
    }

    /// Moves the limit by what a window says.
    fn update(&mut self, window: &Window) {
        let latency = window.total.checked_div(window.answers);
        self.latency = latency.or(self.latency);
        let in_flight = f64::from(window.in_flight);
        let moved = match self.settings.algorithm {
            Algorithm::Gradient2 {
                long_window,
                tolerance,
                queue_size,
                smoothing,
            } => {
                let gradient = latency.map(|latency| {
                    let ratio = self.baseline.update(latency.as_secs_f64(), long_window);
                    (tolerance * ratio).clamp(LEAST_GRADIENT, 1.0)
                });
                match gradient {
                    _ if window.drop => self.limit * DROP_FACTOR,
                    // The limit is not what holds the requests back: nothing says that more of
                    // them would be answered as quickly.
                    Some(gradient) if in_flight >= self.limit / 2.0 => {
                        let target = self.limit * gradient + f64::from(queue_size);
                        self.limit * (1.0 - smoothing) + target * smoothing
                    }
                    _ => self.limit,
                }
            }
            Algorithm::Aimd { backoff, timeout } => {
                if window.drop || latency.is_some_and(|latency| latency > timeout) {
                    (self.limit * backoff).floor()
                } else if 2.0 * in_flight >= self.limit {
                    self.limit + 1.0
                } else {
                    self.limit
                }
            }
        };
        self.set(moved);
    }

    /// Keeps a limit within its bounds, and above zero: with nothing in flight there would be no
    /// sample to raise it again.
    fn set(&mut self, limit: f64) {
        if limit.is_finite() {
            self.limit = limit;
        }
        let (min, max) = (self.settings.min.max(1), self.settings.max.max(1));
        self.limit = self.limit.max(f64::from(min)).min(f64::from(max));
    }
}

impl Window {
    const fn begin(since: Instant) -> Self {
        Self {
            since,
            samples: 0,
            answers: 0,
            total: Duration::ZERO,
            in_flight: 0,
            drop: false,
        }
    }

    fn add(&mut self, sample: Sample) {
        self.samples = self.samples.saturating_add(1);
        self.in_flight = self.in_flight.max(sample.in_flight);
        match sample.rtt {
            _ if sample.drop => self.drop = true,
            Some(rtt) => {
                self.answers = self.answers.saturating_add(1);
                self.total = self.total.saturating_add(rtt);
            }
            None => {}
        }
    }
}

impl Baseline {
    /// Takes the latency of a window in, and returns how many times it the baseline is.
    fn update(&mut self, latency: f64, long_window: u32) -> f64 {
        self.updates = self.updates.saturating_add(1);
        let weight = if self.updates <= WARM_UP {
            1.0 / f64::from(self.updates)
        } else {
            2.0 / (f64::from(long_window) + 1.0)
        };
        self.seconds += (latency - self.seconds) * weight;
        let ratio = self.seconds / latency;
        if ratio > STALE_RATIO {
            self.seconds *= STALE_DECAY;
        }
        ratio
    }

    fn get(&self) -> Option<Duration> {
        (self.updates > 0)
            .then(|| Duration::try_from_secs_f64(self.seconds).ok())
            .flatten()
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
