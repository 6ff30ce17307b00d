//! The machine beside the same rules told naively.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Time goes from one thing that is due to the next, never further.
struct Model {
    settings: Settings,
    rng: fastrand::Rng,
    border: Duration,
    present: BTreeMap<u32, Naive>,
    gone: BTreeMap<u32, Naive>,
    events: Vec<Event<u32>>,
}

#[derive(Clone, Debug, Default)]
struct Naive {
    until: Option<Duration>,
    since: Duration,
    row: u32,
    outcomes: Vec<bool>,
    memory: u32,
}

impl Model {
    fn advance(&mut self, now: Duration) {
        loop {
            let back = self
                .present
                .iter()
                .filter_map(|(key, e)| Some((e.until?, *key)))
                .min()
                .filter(|(until, _)| *until <= now.min(self.border));
            if let Some((until, key)) = back {
                let endpoint = self.present.get_mut(&key).unwrap();
                endpoint.until = None;
                endpoint.since = until;
                self.events.push(Event::Returned { key });
            } else if self.border <= now {
                self.end_interval();
            } else {
                return;
            }
        }
    }

    fn end_interval(&mut self) {
        let border = self.border;
        let min_volume = usize::try_from(self.settings.min_volume).unwrap();
        let mut heard: Vec<(u32, f64)> = Vec::new();
        for (key, e) in &mut self.present {
            let outcomes = std::mem::take(&mut e.outcomes);
            if e.until.is_none() && outcomes.len() >= min_volume {
                let failed = outcomes.iter().filter(|failed| **failed).count();
                heard.push((*key, failed as f64 / outcomes.len() as f64));
            }
        }
        if let Some(rate) = self.settings.failure_rate
            && heard.len() >= usize::try_from(self.settings.min_endpoints).unwrap()
        {
            heard.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            for (key, share) in heard {
                if share * 100_000.0 >= f64::from(rate) - 1e-6 {
                    self.eject(key, Cause::FailureRate, border);
                }
            }
        }
        for e in self.present.values_mut() {
            if e.until.is_none() && e.since + self.settings.interval <= border {
                e.memory = e.memory.saturating_sub(1);
            }
        }
        self.border += self.settings.interval;
    }

    fn eject(&mut self, key: u32, cause: Cause, at: Duration) {
        let n = self.present.len();
        let ejected = self.present.values().filter(|e| e.until.is_some()).count();
        let share = n * usize::try_from(self.settings.max_ejected).unwrap() / 100_000;
        if ejected + 1 > share.max(1) || ejected + 1 == n {
            return;
        }
        let jitter = u64::try_from(self.settings.jitter.as_nanos()).unwrap();
        let jitter = Duration::from_nanos(self.rng.u64(0..=jitter));
        let Settings {
            eject_for,
            eject_for_max,
            ..
        } = self.settings;
        let endpoint = self.present.get_mut(&key).unwrap();
        let lasts = (eject_for * (endpoint.memory + 1)).min(eject_for_max) + jitter;
        let mut memory = endpoint.memory + 1;
        while memory > 0 && eject_for * memory >= eject_for_max {
            memory -= 1;
        }
        let until = at + lasts;
        *endpoint = Naive {
            until: Some(until),
            since: until,
            memory,
            ..Naive::default()
        };
        self.events.push(Event::Ejected {
            key,
            lasts,
            until,
            cause,
        });
    }

    fn set(&mut self, keys: &[u32], now: Duration) {
        let mut old = std::mem::take(&mut self.present);
        self.gone.retain(|_, e| e.until > Some(now));
        for key in keys {
            let fresh = Naive {
                since: now,
                ..Naive::default()
            };
            let known = old.remove(key).or_else(|| self.gone.remove(key));
            self.present.insert(*key, known.unwrap_or(fresh));
        }
        old.retain(|_, e| e.until.is_some());
        self.gone.append(&mut old);
    }

    fn record(&mut self, key: u32, started: Duration, failed: bool, now: Duration) {
        let Some(e) = self.present.get_mut(&key) else {
            return;
        };
        if e.until.is_some() || started < e.since {
            return;
        }
        e.outcomes.push(failed);
        e.row = if failed { e.row + 1 } else { 0 };
        let reached = self
            .settings
            .consecutive_failures
            .is_some_and(|n| e.row >= n);
        if failed && reached {
            self.eject(key, Cause::ConsecutiveFailures, now);
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Record(u32, u64, bool, u32),
    Set(u8),
    Restore(u32),
    Pass,
}

fn op() -> impl Strategy<Value = (u64, Op)> {
    let op = prop_oneof![
        8 => (0_u32..6, 0_u64..20, any::<bool>(), 1_u32..6)
            .prop_map(|(key, age, failed, times)| Op::Record(key, age, failed, times)),
        2 => any::<u8>().prop_map(Op::Set),
        1 => (0_u32..6).prop_map(Op::Restore),
        1 => Just(Op::Pass),
    ];
    (prop_oneof![0_u64..4, 0_u64..80], op)
}

fn any_settings() -> impl Strategy<Value = Settings> {
    (
        proptest::option::of(1_u32..5),
        proptest::option::of(1_u32..=100_000),
        1_u32..6,
        1_u32..4,
        prop_oneof![Just(0_u64), Just(3)],
        0_u32..=100_000,
    )
        .prop_map(
            |(row, rate, min_volume, min_endpoints, jitter, max_ejected)| Settings {
                consecutive_failures: row,
                failure_rate: rate,
                min_volume,
                min_endpoints,
                interval: ms(10),
                eject_for: ms(7),
                eject_for_max: ms(33),
                jitter: ms(jitter),
                max_ejected,
            },
        )
}

proptest! {
    #[test]
    fn the_machine_does_what_the_naive_model_does(
        settings in any_settings(),
        ops in vec(op(), 0..150),
    ) {
        let origin = crate::time::now();
        let mut machine = Machine::new(settings.clone(), 5, origin);
        let mut model = Model {
            border: settings.interval,
            settings,
            rng: fastrand::Rng::with_seed(5),
            present: BTreeMap::new(),
            gone: BTreeMap::new(),
            events: Vec::new(),
        };
        machine.set(&[0, 1, 2, 3], origin);
        model.set(&[0, 1, 2, 3], Duration::ZERO);
        let mut now = Duration::ZERO;
        for (gap, op) in ops {
            now += ms(gap);
            model.advance(now);
            match op {
                Op::Record(key, age, failed, times) => {
                    let started = now.saturating_sub(ms(age));
                    let verdict = if failed { Failure } else { Success };
                    for _ in 0..times {
                        machine.record(key, origin + started, verdict, origin + now);
                        model.record(key, started, failed, now);
                    }
                }
                Op::Set(bits) => {
                    let keys: Vec<_> = (0..6).filter(|key| bits & (1 << key) != 0).collect();
                    machine.set(&keys, origin + now);
                    model.set(&keys, now);
                }
                Op::Restore(key) => {
                    let known = model.gone.remove(&key).is_some_and(|e| e.until > Some(now));
                    let ejected = match model.present.get_mut(&key) {
                        Some(e) if e.until.is_some() => {
                            (e.until, e.since) = (None, now);
                            true
                        }
                        _ => known,
                    };
                    prop_assert_eq!(machine.restore(&key, origin + now), ejected);
                }
                Op::Pass => machine.pass(origin + now),
            }
            prop_assert_eq!(machine.events(), std::mem::take(&mut model.events));
            prop_assert_eq!(machine.interval_end(), model.border);
            for key in 0..6 {
                let endpoint = model.present.get(&key);
                prop_assert_eq!(machine.ejected_until(&key), endpoint.and_then(|e| e.until));
                let memory = machine.present.get(&key).map(|e| e.memory);
                prop_assert_eq!(memory, endpoint.map(|e| e.memory));
            }
        }
    }
}
