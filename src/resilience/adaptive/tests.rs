use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

pub(super) fn gradient2() -> Settings {
    Settings {
        algorithm: Algorithm::Gradient2 {
            long_window: 600,
            tolerance: 1.5,
            queue_size: 4,
            smoothing: 0.2,
        },
        initial: 20,
        min: 10,
        max: 500,
        window: Duration::from_secs(1),
        min_samples: 10,
    }
}

pub(super) fn aimd(timeout: Duration) -> Settings {
    Settings {
        algorithm: Algorithm::Aimd {
            backoff: 0.9,
            timeout,
        },
        ..gradient2()
    }
}

/// A machine and a clock.
struct Bench {
    machine: Machine,
    now: Instant,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let now = crate::time::now();
        Self {
            machine: Machine::new(settings, now),
            now,
        }
    }

    fn sample(&mut self, sample: Sample, after: Duration) -> Option<u32> {
        self.now += after;
        self.machine.sample(sample, self.now)
    }

    /// Fills a window and closes it with its tenth sample, after one second.
    fn window(&mut self, sample: Sample) -> Option<u32> {
        for _ in 0..9 {
            assert_eq!(self.sample(sample, Duration::ZERO), None);
        }
        self.sample(sample, Duration::from_secs(1))
    }

    fn exact(&self) -> f64 {
        self.machine.limit
    }
}

fn answer(rtt: Duration, in_flight: u32) -> Sample {
    Sample {
        rtt: Some(rtt),
        in_flight,
        drop: false,
    }
}

fn dropped(in_flight: u32) -> Sample {
    Sample {
        rtt: None,
        in_flight,
        drop: true,
    }
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
}

#[test]
fn a_window_ends_with_the_first_sample_at_its_end() {
    let mut bench = Bench::new(gradient2());
    for _ in 0..12 {
        assert_eq!(bench.sample(answer(10 * MS, 20), 83 * MS), None);
    }
    // The first sample opened it: 11 × 83 ms have passed, and 87 are left.
    assert_eq!(bench.sample(answer(10 * MS, 20), 86 * MS), None);
    assert_eq!(bench.machine.view().latency, None);
    bench.sample(answer(10 * MS, 20), MS);
    assert_eq!(bench.machine.view().latency, Some(10 * MS));
    close(bench.exact(), 20.8);
    // The next opens anew, however late.
    assert_eq!(bench.sample(answer(10 * MS, 20), 9000 * MS), None);
    close(bench.exact(), 20.8);
}

#[test]
fn a_window_with_too_few_samples_goes_on() {
    let mut bench = Bench::new(gradient2());
    for _ in 0..9 {
        bench.sample(answer(10 * MS, 20), 5000 * MS);
    }
    assert_eq!(bench.machine.view().latency, None);
    bench.sample(answer(20 * MS, 20), Duration::ZERO);
    assert_eq!(bench.machine.view().latency, Some(11 * MS));
}

#[test]
fn what_is_no_sample_is_not_counted() {
    let mut bench = Bench::new(gradient2());
    let none = Sample {
        rtt: None,
        in_flight: 99,
        drop: false,
    };
    for sample in [none, answer(Duration::from_nanos(99_999), 99)] {
        assert_eq!(bench.sample(sample, Duration::from_secs(9)), None);
    }
    assert_eq!(bench.machine.view().samples, 0);
    assert!(bench.machine.window.is_none());
    bench.sample(answer(Duration::from_micros(100), 1), MS);
    let quick = Sample {
        rtt: Some(Duration::from_micros(50)),
        ..dropped(1)
    };
    bench.sample(quick, MS);
    let view = bench.machine.view();
    assert_eq!((view.samples, view.drops), (2, 1), "a quick 503 is a drop");
}

#[test]
fn gradient2_grows_by_the_smoothed_queue_and_shrinks_by_half_at_most() {
    for (latency, expected) in [
        // As usual, and up to 1.5 times as slow: 20 · 0.8 + (20 + 4) · 0.2.
        (10.0, 20.8),
        // Twice as slow as the mean, which it is part of: 1.5 · 11 / 20 = 0.825.
        (20.0, 20.0 * 0.8 + (20.0 * 0.825 + 4.0) * 0.2),
        // Far slower: half, with the queue.
        (10_000.0, 20.0 * 0.8 + (10.0 + 4.0) * 0.2),
    ] {
        let mut bench = Bench::new(gradient2());
        // Nine windows that do not need the limit, then one that does.
        for _ in 0..9 {
            assert_eq!(bench.window(answer(10 * MS, 9)), None);
        }
        bench.window(answer(MS.mul_f64(latency), 10));
        close(bench.exact(), expected);
    }
}

#[test]
fn the_baseline_is_a_mean_at_first_and_slow_afterwards() {
    let mut bench = Bench::new(gradient2());
    for latency in 11..=20 {
        bench.window(answer(latency * MS, 1));
    }
    close(bench.machine.baseline.seconds, 0.0155);
    bench.window(answer(30 * MS, 1));
    let expected = 0.0155 + (0.030 - 0.0155) * 2.0 / 601.0;
    close(bench.machine.baseline.seconds, expected);
    assert!(bench.machine.view().baseline.is_some());
}

#[test]
fn a_baseline_that_is_out_of_date_decays_after_its_use() {
    let mut bench = Bench::new(gradient2());
    for _ in 0..10 {
        bench.window(answer(100 * MS, 1));
    }
    bench.window(answer(50 * MS, 20));
    let used = 0.1 - 0.05 * 2.0 / 601.0;
    close(bench.machine.baseline.seconds, used);
    bench.window(answer(40 * MS, 20));
    let used = used - (used - 0.04) * 2.0 / 601.0;
    close(bench.machine.baseline.seconds, used * 0.95);
}

#[test]
fn a_baseline_of_just_twice_the_latency_is_kept() {
    // Powers of two, so that mean and ratio are exact.
    let mut bench = Bench::new(gradient2());
    assert_eq!(bench.machine.view().baseline, None);
    bench.window(answer(750 * MS, 1));
    bench.window(answer(250 * MS, 1));
    assert_eq!(bench.machine.view().baseline, Some(500 * MS));
}

#[test]
fn a_drop_lowers_the_limit_whatever_else_is_in_its_window() {
    let mut bench = Bench::new(gradient2());
    for _ in 0..9 {
        bench.sample(answer(10 * MS, 1), Duration::ZERO);
    }
    // Needed or not: 1 in flight is less than half of the limit.
    assert_eq!(bench.sample(dropped(1), Duration::from_secs(1)), Some(18));
    let view = bench.machine.view();
    assert_eq!((view.samples, view.drops), (10, 1));
    assert_eq!(view.latency, Some(10 * MS));
    // Drops alone say nothing about the latency.
    assert_eq!(bench.window(dropped(1)), Some(16));
    assert_eq!(bench.machine.view().latency, Some(10 * MS));
    assert_eq!(bench.machine.baseline.updates, 1);
    for _ in 0..20 {
        bench.window(dropped(1));
    }
    assert_eq!(bench.machine.limit(), 10, "not below the least");
}

#[test]
fn a_limit_that_is_not_needed_does_not_grow() {
    for settings in [gradient2(), aimd(5000 * MS)] {
        let mut bench = Bench::new(settings);
        assert_eq!(bench.window(answer(10 * MS, 9)), None);
        close(bench.exact(), 20.0);
        bench.window(answer(10 * MS, 10));
        assert!(bench.exact() > 20.0);
    }
}

#[test]
fn aimd_goes_up_by_one_and_down_by_its_factor() {
    let mut bench = Bench::new(aimd(50 * MS));
    assert_eq!(bench.window(answer(50 * MS, 20)), Some(21));
    assert_eq!(bench.window(answer(51 * MS, 20)), Some(18));
    assert_eq!(bench.window(dropped(1)), Some(16));
    assert_eq!(bench.machine.view().baseline, None);
    for _ in 0..9 {
        bench.window(dropped(1));
    }
    assert_eq!(bench.machine.limit(), 10);
    let mut bench = Bench::new(Settings {
        max: 21,
        ..aimd(50 * MS)
    });
    assert_eq!(bench.window(answer(MS, 99)), Some(21));
    assert_eq!(bench.window(answer(MS, 99)), None);
}

#[test]
fn a_reload_moves_the_bounds_at_once_and_keeps_what_was_learnt() {
    let mut bench = Bench::new(gradient2());
    bench.window(answer(10 * MS, 20));
    let bounded = |min, max| Settings {
        min,
        max,
        initial: 77,
        ..gradient2()
    };
    bench.machine.reconfigure(bounded(10, 500), bench.now);
    close(bench.exact(), 20.8);
    assert_eq!(bench.machine.view().baseline, Some(10 * MS));
    bench.machine.reconfigure(bounded(30, 500), bench.now);
    assert_eq!(bench.machine.limit(), 30);
    bench.machine.reconfigure(bounded(5, 12), bench.now);
    assert_eq!(bench.machine.limit(), 12);
    bench.machine.reconfigure(aimd(50 * MS), bench.now);
    assert_eq!(bench.machine.limit(), 12);
    assert_eq!(bench.machine.view().baseline, None);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut bench = Bench::new(gradient2());
    let early = bench.now;
    bench.now += Duration::from_secs(9);
    bench.sample(answer(10 * MS, 20), Duration::ZERO);
    bench.now = early;
    assert_eq!(bench.window(answer(10 * MS, 20)), None);
    assert_eq!(bench.machine.view().latency, None);
    let mut bench = Bench::new(gradient2());
    let later = bench.now + Duration::from_secs(9);
    bench.machine.reconfigure(gradient2(), later);
    bench.window(answer(10 * MS, 20));
    assert_eq!(bench.machine.view().latency, None, "nor behind a reload");
}

/// The specification told naively: every sample of the window is listed, the baseline's first
/// updates as well.
struct Model {
    settings: Settings,
    limit: f64,
    first: Vec<f64>,
    long: f64,
    window: Vec<(Duration, Sample)>,
}

impl Model {
    fn sample(&mut self, sample: Sample, now: Duration) {
        if !sample.drop && sample.rtt.is_none_or(|rtt| rtt < MS / 10) {
            return;
        }
        self.window.push((now, sample));
        let due = self.window[0].0 + self.settings.window;
        if now < due || self.window.len() < self.settings.min_samples as usize {
            return;
        }
        let window = std::mem::take(&mut self.window);
        let rtts: Vec<Duration> = window
            .iter()
            .filter(|(_, sample)| !sample.drop)
            .filter_map(|(_, sample)| sample.rtt)
            .collect();
        let count = u32::try_from(rtts.len()).expect("a few samples");
        let short = rtts.iter().sum::<Duration>().checked_div(count);
        let short = short.map(|short| short.as_secs_f64());
        let in_flight = window.iter().map(|(_, sample)| sample.in_flight).max();
        let in_flight = f64::from(in_flight.unwrap_or(0));
        let drop = window.iter().any(|(_, sample)| sample.drop);
        let (min, max) = (f64::from(self.settings.min), f64::from(self.settings.max));
        match self.settings.algorithm {
            Algorithm::Gradient2 {
                long_window,
                tolerance,
                queue_size,
                smoothing,
            } => {
                let mut used = 0.0;
                if let Some(short) = short {
                    if self.first.len() < 10 {
                        let before = self.first.iter().sum::<f64>();
                        self.first.push(short);
                        let count = u32::try_from(self.first.len()).expect("at most ten");
                        self.long = (before + short) / f64::from(count);
                    } else {
                        self.long += (short - self.long) * 2.0 / (f64::from(long_window) + 1.0);
                    }
                    used = self.long;
                    if self.long / short > 2.0 {
                        self.long *= 0.95;
                        // What the mean forgets is forgotten by each of its parts.
                        for part in &mut self.first {
                            *part *= 0.95;
                        }
                    }
                }
                if drop {
                    self.limit = (self.limit * 0.9).max(min);
                } else if let Some(short) = short
                    && in_flight >= self.limit / 2.0
                {
                    let g = (tolerance * used / short).clamp(0.5, 1.0);
                    let new = self.limit * g + f64::from(queue_size);
                    let moved = self.limit * (1.0 - smoothing) + new * smoothing;
                    self.limit = moved.clamp(min, max);
                }
            }
            Algorithm::Aimd { backoff, timeout } => {
                let slow = short.is_some_and(|short| short > timeout.as_secs_f64());
                if drop || slow {
                    self.limit = (self.limit * backoff).floor().clamp(min, max);
                } else if 2.0 * in_flight >= self.limit {
                    self.limit = (self.limit + 1.0).clamp(min, max);
                }
            }
        }
    }
}

fn hostile_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        Just(Duration::from_nanos(1)),
        any::<u64>().prop_map(Duration::from_nanos),
        any::<u64>().prop_map(Duration::from_secs),
    ]
}

fn hostile_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        any::<f64>(),
        -2.0..2.0,
    ]
}

fn hostile_settings() -> impl Strategy<Value = Settings> {
    let algorithm = prop_oneof![
        (any::<u32>(), hostile_float(), any::<u32>(), hostile_float()).prop_map(
            |(long_window, tolerance, queue_size, smoothing)| Algorithm::Gradient2 {
                long_window,
                tolerance,
                queue_size,
                smoothing,
            }
        ),
        (hostile_float(), hostile_duration())
            .prop_map(|(backoff, timeout)| Algorithm::Aimd { backoff, timeout }),
    ];
    let bound = || prop_oneof![Just(0), 0_u32..50, Just(u32::MAX), any::<u32>()];
    let samples = prop_oneof![0_u32..4, any::<u32>()];
    (
        algorithm,
        bound(),
        bound(),
        bound(),
        hostile_duration(),
        samples,
    )
        .prop_map(
            |(algorithm, initial, min, max, window, min_samples)| Settings {
                algorithm,
                initial,
                min,
                max,
                window,
                min_samples,
            },
        )
}

fn sane_settings() -> impl Strategy<Value = Settings> {
    (any::<bool>(), 0.5..1.0_f64, 1_u64..60, 1_u32..6).prop_map(|(gradient, part, ms, few)| {
        let base = if gradient {
            Settings {
                algorithm: Algorithm::Gradient2 {
                    long_window: ms.try_into().unwrap_or(1),
                    tolerance: 1.0 + part,
                    queue_size: few,
                    smoothing: part,
                },
                ..gradient2()
            }
        } else {
            Settings {
                algorithm: Algorithm::Aimd {
                    backoff: part,
                    timeout: Duration::from_millis(ms),
                },
                ..gradient2()
            }
        };
        Settings {
            window: Duration::from_millis(ms),
            min_samples: few,
            min: 4,
            max: 60,
            ..base
        }
    })
}

proptest! {
    #[test]
    fn the_machine_does_what_the_specification_says(
        settings in sane_settings(),
        // Gap in ms, response time in µs, in flight, one in eight a drop.
        samples in vec((0_u64..20, 0_u64..100_000, 0_u32..60, 0_u8..8), 0..400),
    ) {
        let start = crate::time::now();
        let mut machine = Machine::new(settings.clone(), start);
        let mut model = Model {
            limit: f64::from(settings.initial),
            settings,
            first: Vec::new(),
            long: 0.0,
            window: Vec::new(),
        };
        let mut now = Duration::ZERO;
        for (gap, rtt, in_flight, kind) in samples {
            now += Duration::from_millis(gap);
            let sample = Sample {
                rtt: (kind != 1).then(|| Duration::from_micros(rtt)),
                in_flight,
                drop: kind == 0,
            };
            let before = machine.limit();
            let answer = machine.sample(sample, start + now);
            prop_assert_eq!(answer, Some(machine.limit()).filter(|limit| *limit != before));
            model.sample(sample, now);
            let difference = (machine.limit - model.limit).abs();
            prop_assert!(difference < 1e-6, "{} and {}", machine.limit, model.limit);
            if model.long > 0.0 {
                let off = (machine.baseline.seconds / model.long - 1.0).abs();
                prop_assert!(off < 1e-9, "{} and {}", machine.baseline.seconds, model.long);
            }
            // From here on together: a rounding error must not decide what is floored.
            model.limit = machine.limit;
            model.long = machine.baseline.seconds.max(0.0);
        }
    }

    #[test]
    fn the_limit_is_always_a_number_within_its_bounds(
        settings in hostile_settings(),
        reloaded in hostile_settings(),
        samples in vec((hostile_duration(), hostile_duration(), any::<u32>(), 0_u8..3), 0..200),
    ) {
        let start = crate::time::now();
        let mut machine = Machine::new(settings.clone(), start);
        let mut bounds = settings;
        for (index, (at, rtt, in_flight, kind)) in samples.into_iter().enumerate() {
            if index == 50 {
                bounds = reloaded.clone();
                machine.reconfigure(reloaded.clone(), start);
            }
            let now = start.checked_add(at).unwrap_or(start);
            let rtt = (kind != 1).then_some(rtt);
            machine.sample(Sample { rtt, in_flight, drop: kind == 0 }, now);
            prop_assert!(machine.limit.is_finite());
            let limit = machine.limit();
            prop_assert!(limit >= 1 && limit <= bounds.max.max(1));
            prop_assert!(limit >= bounds.min.min(bounds.max));
            machine.view();
        }
    }
}
