use proptest::prelude::*;

use super::*;

const DECAY: Duration = Duration::from_secs(10);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// In milliseconds, rounded.
#[expect(clippy::cast_possible_truncation, reason = "small")]
fn read(ewma: Ewma, now: Duration) -> Option<i64> {
    ewma.read(now, DECAY)
        .map(|micros| (micros / 1e3).round() as i64)
}

#[test]
fn without_samples_it_reads_as_nothing() {
    assert_eq!(read(Ewma::default(), ms(7)), None);
    assert_eq!(Ewma::from_bits(0), Ewma::default());
    assert_eq!(Ewma::default().to_bits(), 0);
}

#[test]
fn the_first_sample_and_a_peak_count_in_full() {
    let ewma = Ewma::default().observe(ms(10), ms(5), DECAY);
    assert_eq!(read(ewma, ms(5)), Some(10));
    let ewma = ewma.observe(ms(200), ms(6), DECAY);
    assert_eq!(read(ewma, ms(6)), Some(200));
}

#[test]
fn lower_samples_count_by_the_time_since_the_last() {
    let ewma = Ewma::default().observe(ms(1000), ms(0), DECAY);
    // 1 - 1/e of the way after one decay time.
    let later = ewma.observe(ms(100), ms(10_000), DECAY);
    assert_eq!(read(later, ms(10_000)), Some(431));
    assert_eq!(read(ewma.observe(ms(100), ms(0), DECAY), ms(0)), Some(1000));
}

#[test]
fn many_samples_in_a_millisecond_come_to_the_same_as_one() {
    let mut ewma = Ewma::default().observe(ms(1000), ms(0), DECAY);
    for micros in (0..10_000_000).step_by(100) {
        ewma = ewma.observe(ms(100), Duration::from_micros(micros), DECAY);
    }
    let read = read(ewma, ms(10_000)).unwrap();
    assert!((430..=433).contains(&read), "{read}");
}

#[test]
fn it_decays_when_read() {
    let ewma = Ewma::default().observe(ms(1000), ms(500), DECAY);
    assert_eq!(read(ewma, ms(10_500)), Some(368));
    assert_eq!(read(ewma, ms(200_500)), Some(0));
}

#[test]
fn a_failure_never_lowers_it() {
    let ewma = Ewma::default().observe(ms(1000), ms(0), DECAY);
    let failed = ewma.observe_failure(ms(1), ms(10_000), DECAY);
    assert_eq!(read(failed, ms(10_000)), Some(1000));
    let slow = ewma.observe_failure(ms(3000), ms(10_000), DECAY);
    assert_eq!(read(slow, ms(10_000)), Some(3000));
    let first = Ewma::default().observe_failure(ms(2), ms(0), DECAY);
    assert_eq!(read(first, ms(0)), Some(2));
}

#[test]
fn a_thread_that_lags_behind_does_not_age_it() {
    let ewma = Ewma::default().observe(ms(100), ms(5_000), DECAY);
    assert_eq!(read(ewma, ms(4_999)), Some(100));
    let lagging = ewma.observe(ms(10), ms(4_000), DECAY);
    assert_eq!(lagging, ewma);
}

#[test]
fn the_stamp_may_wrap() {
    let near = Duration::from_millis(u64::from(u32::MAX));
    let ewma = Ewma::default().observe(ms(1000), near, DECAY);
    assert_eq!(read(ewma, near + ms(10_000)), Some(368));
}

#[test]
fn up_to_half_the_range_of_the_stamp_is_a_gap_and_more_is_another_thread_ahead() {
    let ewma = Ewma::default().observe(ms(1000), ms(0), DECAY);
    let half = u32::MAX / 2;
    assert_eq!(ewma.gap(ms(u64::from(half))), half);
    assert_eq!(ewma.gap(ms(u64::from(half) + 1)), 0);
}

proptest! {
    #[test]
    fn it_stays_between_the_samples_and_survives_packing(
        samples in proptest::collection::vec((0_u64..10_000_000, 0_u64..60_000), 1..50),
    ) {
        let (mut ewma, mut now) = (Ewma::default(), Duration::ZERO);
        let (mut least, mut most) = (Duration::MAX, Duration::ZERO);
        for (sample, gap) in samples {
            let sample = Duration::from_micros(sample);
            (least, most) = (least.min(sample), most.max(sample));
            now += ms(gap);
            ewma = ewma.observe(sample, now, DECAY);
            prop_assert_eq!(Ewma::from_bits(ewma.to_bits()), ewma);
            let read = ewma.read(now, DECAY).expect("there is a sample");
            prop_assert!(read >= least.as_secs_f64() * 1e6 * 0.999_999);
            prop_assert!(read <= most.as_secs_f64() * 1e6 * 1.000_001 + 0.001);
            let later = ewma.read(now + ms(1), DECAY).expect("there is a sample");
            prop_assert!(later < read);
        }
    }
}
