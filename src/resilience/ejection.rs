//! Outlier ejection: endpoints that fail are left out for a while.
//!
//! It protects callers from one bad endpoint among good ones, which a breaker for all of them
//! would notice too late or not at all, and the breaker from opening because of it.
//!
//! | event | in service | ejected |
//! |---|---|---|
//! | success | ends the row of failures | dropped |
//! | failure | ejects at `consecutive_failures` in a row | dropped |
//! | end of an interval | ejects at `failure_rate`; forgets one ejection after a whole interval | – |
//! | time is up, or an operator restores it | – | back in service, without a past |
//! | leaves the set | forgotten | what remains is kept until it is over |
//!
//! Every ejection needs an allowance: no more than `max_ejected` of the present endpoints (but one
//! always may), and never the last one. What an attempt says counts only if it was started after
//! its endpoint came into service. Changes that time brings are found at the next call, and happen
//! as of the instant they were due, in that order, before the call itself.
//!
//! Absent: the choice, and what to do where all are ejected ([`crate::upstream`]); active checks.
//! Settings: the `ejection` table.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Verdict, WHOLE};

/// `ejection` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that eject; `None` is `"off"`.
    pub consecutive_failures: Option<u32>,
    /// Share of failures in an interval that ejects, thousandths of a percent; `None` is `"off"`.
    pub failure_rate: Option<u32>,
    /// An endpoint's share counts only from this many outcomes in the interval on.
    pub min_volume: u32,
    /// Shares count only if this many endpoints have them.
    pub min_endpoints: u32,
    /// Length of an interval.
    pub interval: Duration,
    /// The first ejection lasts this long.
    pub eject_for: Duration,
    /// The longest ejection.
    pub eject_for_max: Duration,
    /// An ejection is lengthened by up to this, at random.
    pub jitter: Duration,
    /// Greatest share of endpoints ejected at once, thousandths of a percent.
    pub max_ejected: u32,
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Failures in a row.
    ConsecutiveFailures,
    /// The share of failures in an interval.
    FailureRate,
}

impl Cause {
    /// Its name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::FailureRate => "failure_rate",
        }
    }
}

/// What happened to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<K> {
    /// It is left out.
    Ejected {
        /// Which one.
        key: K,
        /// For how long, since its ejection was due.
        lasts: Duration,
        /// Its end, since the start of the machine.
        until: Duration,
        /// Why.
        cause: Cause,
    },
    /// It is back, its time being up.
    Returned {
        /// Which one.
        key: K,
    },
}

/// Most endpoints remembered that disappeared while ejected; beyond it, those whose ejection ends
/// first are forgotten. More would need a name server that makes addresses up.
const MAX_GONE: usize = 1024;

/// Ejections of the endpoints of one upstream, named by `K`. Instants are durations since its
/// start.
#[derive(Clone, Debug)]
pub struct Machine<K> {
    settings: Settings,
    rng: fastrand::Rng,
    origin: Instant,
    last_seen: Duration,
    /// When the present interval began.
    interval_start: Duration,
    /// Before this, time changes nothing.
    due: Duration,
    present: BTreeMap<K, Endpoint>,
    /// Those that disappeared while ejected.
    gone: BTreeMap<K, Gone>,
    events: Vec<Event<K>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Endpoint {
    /// End of its ejection, while it is ejected.
    until: Option<Duration>,
    /// In service since; while ejected, until then.
    since: Duration,
    /// Failures in a row.
    failures: u32,
    /// Of the present interval.
    outcomes: u32,
    failed: u32,
    /// Ejections remembered.
    memory: u32,
}

#[derive(Clone, Copy, Debug)]
struct Gone {
    until: Duration,
    memory: u32,
}

impl<K: Clone + Ord> Machine<K> {
    /// Makes a machine without endpoints. `now` is the start of its first interval, `seed` that
    /// of the jitter.
    pub fn new(settings: Settings, seed: u64, now: Instant) -> Self {
        let mut machine = Self {
            settings,
            rng: fastrand::Rng::with_seed(seed),
            origin: now,
            last_seen: Duration::ZERO,
            interval_start: Duration::ZERO,
            due: Duration::ZERO,
            present: BTreeMap::new(),
            gone: BTreeMap::new(),
            events: Vec::new(),
        };
        machine.plan();
        machine
    }

    /// Takes over a new set of endpoints. Those that were there keep all, those that disappeared
    /// while ejected and are back before the end of it keep their ejection, all others are new.
    pub fn set(&mut self, endpoints: &[K], now: Instant) {
        let now = self.advance(now);
        let mut old = std::mem::take(&mut self.present);
        self.gone.retain(|_, gone| gone.until > now);
        for key in endpoints {
            let kept = old.remove(key).or_else(|| {
                let Gone { until, memory } = self.gone.remove(key)?;
                Some(Endpoint {
                    until: Some(until),
                    since: until,
                    memory,
                    ..Endpoint::default()
                })
            });
            let endpoint = kept.unwrap_or_else(|| Endpoint {
                since: now,
                ..Endpoint::default()
            });
            self.present.entry(key.clone()).or_insert(endpoint);
        }
        for (key, endpoint) in old {
            if let Some(until) = endpoint.until {
                let memory = endpoint.memory;
                self.gone.insert(key, Gone { until, memory });
            }
        }
        while self.gone.len() > MAX_GONE {
            let first = self.gone.iter().min_by_key(|(_, gone)| gone.until);
            let Some(key) = first.map(|(key, _)| key.clone()) else {
                break;
            };
            self.gone.remove(&key);
        }
        self.plan();
        self.check_invariants();
    }

    /// Takes what an attempt says that was `started` then. Nothing, if its endpoint came (back)
    /// into service later than that, is ejected or is not there any more.
    pub fn record(&mut self, key: K, started: Instant, verdict: Verdict, now: Instant) {
        let now = self.advance(now);
        let failed = match verdict {
            Verdict::Success => false,
            Verdict::Failure => true,
            Verdict::Ignored | Verdict::Abandoned => return,
        };
        let started = started.saturating_duration_since(self.origin);
        let Some(endpoint) = self.present.get_mut(&key) else {
            return;
        };
        if endpoint.until.is_some() || started < endpoint.since {
            return;
        }
        endpoint.outcomes = endpoint.outcomes.saturating_add(1);
        if failed {
            endpoint.failed = endpoint.failed.saturating_add(1);
            endpoint.failures = endpoint.failures.saturating_add(1);
        } else {
            endpoint.failures = 0;
        }
        let limit = self.settings.consecutive_failures;
        // Without an allowance the row is kept: the next failure asks again.
        if limit.is_some_and(|limit| failed && endpoint.failures >= limit) {
            self.eject(key, Cause::ConsecutiveFailures, now);
        }
        self.check_invariants();
    }

    /// Lets happen what was due up to `now`.
    pub fn pass(&mut self, now: Instant) {
        self.advance(now);
    }

    /// Ends the ejection of an endpoint, also of one that disappeared; says whether there was one.
    /// It is back in service at once and without a past, but its ejections are remembered.
    pub fn restore(&mut self, key: &K, now: Instant) -> bool {
        let now = self.advance(now);
        let gone = self.gone.remove(key).is_some_and(|gone| gone.until > now);
        match self.present.get_mut(key) {
            Some(endpoint) if endpoint.until.is_some() => {
                endpoint.until = None;
                endpoint.since = now;
                true
            }
            _ => gone,
        }
    }

    /// End of the ejection of a present endpoint, as of the last call; `None` if it is in service.
    pub fn ejected_until(&self, key: &K) -> Option<Duration> {
        self.present.get(key)?.until
    }

    /// When the present interval ends, as of the last call.
    pub const fn interval_end(&self) -> Duration {
        self.interval_start.saturating_add(self.interval())
    }

    /// What happened since this was last asked, in its order.
    pub fn events(&mut self) -> Vec<Event<K>> {
        std::mem::take(&mut self.events)
    }

    fn advance(&mut self, now: Instant) -> Duration {
        let now = now.saturating_duration_since(self.origin);
        let now = now.max(self.last_seen);
        self.last_seen = now;
        if now >= self.due {
            let end = self.interval_end();
            if end <= now {
                self.readmit(end);
                self.judge(end);
                self.forget(end);
                // Nothing was recorded in the intervals since: what is left of them is to forget.
                let whole = intervals(now.saturating_sub(end), self.interval());
                let last = end.saturating_add(times(self.interval(), whole));
                self.readmit(last);
                self.forget(last);
            }
            self.readmit(now);
            self.plan();
            self.check_invariants();
        }
        now
    }

    /// Finds out when time changes something next.
    fn plan(&mut self) {
        let ends = self.present.values().filter_map(|e| e.until);
        self.due = ends.fold(self.interval_end(), Duration::min);
    }

    /// Ends the ejections that are over at `now`.
    fn readmit(&mut self, now: Duration) {
        let mut back: Vec<_> = self
            .present
            .iter()
            .filter_map(|(key, endpoint)| Some((endpoint.until?, key.clone())))
            .filter(|(until, _)| *until <= now)
            .collect();
        back.sort_unstable();
        for (until, key) in back {
            if let Some(endpoint) = self.present.get_mut(&key) {
                endpoint.until = None;
                endpoint.since = until;
                self.events.push(Event::Returned { key });
            }
        }
    }

    /// Judges the shares of the interval that ends: the worst first, as the allowance may not do
    /// for all.
    fn judge(&mut self, end: Duration) {
        let Settings {
            failure_rate,
            min_volume,
            min_endpoints,
            ..
        } = self.settings;
        let heard = |endpoint: &Endpoint| {
            endpoint.until.is_none() && endpoint.outcomes >= min_volume.max(1)
        };
        let judged: Vec<_> = self
            .present
            .iter()
            .filter(|(_, endpoint)| heard(endpoint))
            .map(|(key, endpoint)| (key.clone(), endpoint.failed, endpoint.outcomes))
            .collect();
        for endpoint in self.present.values_mut() {
            (endpoint.failed, endpoint.outcomes) = (0, 0);
        }
        let enough = usize::try_from(min_endpoints).is_ok_and(|min| judged.len() >= min);
        let Some(rate) = failure_rate.filter(|_| enough) else {
            return;
        };
        // The share in parts of 2^32 orders all that differ within an interval of this century.
        let mut bad: Vec<_> = judged
            .into_iter()
            .filter(|(_, failed, outcomes)| {
                u64::from(*failed) * u64::from(WHOLE) >= u64::from(rate) * u64::from(*outcomes)
            })
            .map(|(key, failed, outcomes)| {
                let share = (u64::from(failed) << 32).checked_div(u64::from(outcomes));
                (Reverse(share), key)
            })
            .collect();
        bad.sort_unstable();
        for (_, key) in bad {
            self.eject(key, Cause::FailureRate, end);
        }
    }

    /// Forgets an ejection for each whole interval in service up to `end`, which is the end of
    /// one, and begins the next.
    fn forget(&mut self, end: Duration) {
        let (start, interval) = (self.interval_start, self.interval());
        let all = intervals(end.saturating_sub(start), interval);
        for endpoint in self.present.values_mut() {
            // Counted from the ends of intervals, so that the one begun does not count; of those
            // that are ejected none does.
            let late = endpoint.since.saturating_sub(start);
            let missed = late.as_nanos().div_ceil(interval.as_nanos().max(1));
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            endpoint.memory = endpoint.memory.saturating_sub(all.saturating_sub(missed));
        }
        self.interval_start = end;
    }

    /// Ejects an endpoint in service, if that is allowed.
    fn eject(&mut self, key: K, cause: Cause, at: Duration) {
        if !self.allowed() {
            return;
        }
        let Settings {
            eject_for,
            eject_for_max,
            jitter,
            ..
        } = self.settings;
        let Some(endpoint) = self.present.get_mut(&key) else {
            return;
        };
        let jitter = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(self.rng.u64(0..=jitter));
        let lengthened = times(eject_for, endpoint.memory.saturating_add(1));
        let lasts = lengthened.min(eject_for_max).saturating_add(jitter);
        let until = at.saturating_add(lasts);
        // No more are remembered than lengthen the next one, or a bad week would cost a good day.
        let most = eject_for_max
            .as_nanos()
            .div_ceil(eject_for.as_nanos().max(1));
        let most = u32::try_from(most).unwrap_or(u32::MAX).saturating_sub(1);
        *endpoint = Endpoint {
            until: Some(until),
            since: until,
            memory: endpoint.memory.saturating_add(1).min(most),
            ..Endpoint::default()
        };
        self.due = self.due.min(until);
        self.events.push(Event::Ejected {
            key,
            lasts,
            until,
            cause,
        });
    }

    /// Whether one more may be ejected.
    fn allowed(&self) -> bool {
        let n = self.present.len();
        let ejected = self.present.values().filter(|e| e.until.is_some()).count();
        let share = u128::from(self.settings.max_ejected) * (n as u128) / u128::from(WHOLE);
        let most = usize::try_from(share.max(1)).unwrap_or(usize::MAX);
        ejected < most && ejected + 1 < n
    }

    /// An interval of no length would never end.
    const fn interval(&self) -> Duration {
        if self.settings.interval.is_zero() {
            Duration::from_nanos(1)
        } else {
            self.settings.interval
        }
    }

    fn check_invariants(&self) {
        debug_assert!(self.gone.len() <= MAX_GONE);
        debug_assert!(self.present.values().all(|endpoint| {
            let silent = endpoint.failures == 0 && endpoint.outcomes == 0;
            endpoint.failed <= endpoint.outcomes && (endpoint.until.is_none() || silent)
        }));
        debug_assert!(self.present.keys().all(|key| !self.gone.contains_key(key)));
    }
}

/// Whole intervals in `time`.
fn intervals(time: Duration, interval: Duration) -> u32 {
    let whole = time.as_nanos().checked_div(interval.as_nanos());
    u32::try_from(whole.unwrap_or_default()).unwrap_or(u32::MAX)
}

fn times(duration: Duration, n: u32) -> Duration {
    duration.saturating_mul(n)
}

#[cfg(test)]
mod tests;
