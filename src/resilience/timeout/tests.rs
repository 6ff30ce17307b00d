use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const NS: Duration = Duration::from_nanos(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Some instant to count from: no test asks what it is.
fn zero() -> Instant {
    crate::time::now()
}

#[test]
fn the_deadline_is_the_earliest_of_all_and_knows_whose_it_is() {
    let start = zero();
    // request, total, client; expected: deadline, the client's?
    let table = [
        (None, None, None, None, false),
        (Some(10), None, None, Some(10), false),
        (None, None, Some(7), Some(7), true),
        (Some(10), None, Some(7), Some(7), true),
        (Some(10), None, Some(11), Some(10), false),
        (Some(10), None, Some(10), Some(10), false),
        (Some(10), Some(5), None, Some(5), false),
        (Some(10), Some(5), Some(7), Some(5), false),
        (Some(10), Some(5), Some(4), Some(4), true),
        (None, Some(5), Some(5), Some(5), false),
        (Some(10), Some(30), Some(0), Some(0), true),
        (Some(0), None, Some(0), Some(0), false),
    ];
    for (request, total, client, at, from_client) in table {
        let deadline = Deadline::new(start, request.map(ms), total.map(ms), client.map(ms));
        let expected = Deadline {
            at: at.map(|at| start + ms(at)),
            from_client,
            total_at: total.map(|total| start + ms(total)),
        };
        assert_eq!(deadline, expected, "{request:?} {total:?} {client:?}");
    }
}

#[test]
fn waits_that_no_clock_can_reach_are_no_limit() {
    let start = zero();
    let never = Some(Duration::MAX);
    let deadline = Deadline::new(start, never, never, never);
    assert_eq!(deadline, Deadline::new(start, None, None, None));
    assert_eq!(deadline.bound(None), None);
    assert_eq!(deadline.remaining(start), None);
    let finite = Deadline::new(start, Some(MS), None, never);
    assert!(!finite.from_client);
}

#[test]
fn expiry_is_inclusive() {
    let start = zero();
    let deadline = Deadline::new(start, Some(ms(10)), None, None);
    let end = start + ms(10);
    assert_eq!(deadline.past(end - NS), None);
    assert_eq!(deadline.past(end), Some(Limit::Deadline));
    assert_eq!(deadline.remaining(end - NS), Some(NS));
    assert_eq!(deadline.remaining(end), Some(Duration::ZERO));
    assert_eq!(deadline.remaining(end + MS), Some(Duration::ZERO));
    let due = deadline.bound(None).expect("there is a limit");
    assert!(!due.is_over(end - NS));
    assert!(due.is_over(end));
}

#[test]
fn a_zero_from_the_caller_is_past_at_once() {
    let start = zero();
    let deadline = Deadline::new(start, Some(ms(10)), None, Some(Duration::ZERO));
    assert_eq!(deadline.past(start), Some(Limit::ClientDeadline));
}

#[test]
fn a_wait_ends_at_the_earlier_and_a_tie_is_its_own() {
    let start = zero();
    let at = |millis| Some(start + ms(millis));
    let due = |millis, limit| {
        Some(Due {
            at: start + ms(millis),
            limit,
        })
    };
    let none = Deadline::new(start, None, None, None);
    let ours = Deadline::new(start, Some(ms(10)), None, Some(ms(20)));
    let theirs = Deadline::new(start, Some(ms(20)), None, Some(ms(10)));
    let table = [
        (none, None, None),
        (none, at(5), due(5, Limit::Own)),
        (ours, None, due(10, Limit::Deadline)),
        (ours, at(9), due(9, Limit::Own)),
        (ours, at(10), due(10, Limit::Own)),
        (ours, at(11), due(10, Limit::Deadline)),
        (theirs, None, due(10, Limit::ClientDeadline)),
        (theirs, at(9), due(9, Limit::Own)),
        (theirs, at(10), due(10, Limit::Own)),
        (theirs, at(11), due(10, Limit::ClientDeadline)),
    ];
    for (deadline, own, expected) in table {
        assert_eq!(deadline.bound(own), expected, "{deadline:?} {own:?}");
    }
}

#[test]
fn grpc_timeouts_are_read_exactly_or_ignored() {
    let table: [(&[u8], Option<Duration>); 24] = [
        (b"1n", Some(NS)),
        (b"1u", Some(Duration::from_micros(1))),
        (b"250m", Some(ms(250))),
        (b"5S", Some(Duration::from_secs(5))),
        (b"2M", Some(Duration::from_secs(120))),
        (b"3H", Some(Duration::from_secs(3 * 3_600))),
        (b"0S", Some(Duration::ZERO)),
        (b"00000001S", Some(Duration::from_secs(1))),
        (b"99999999n", Some(Duration::from_nanos(99_999_999))),
        (b"99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
        (b"", None),
        (b"S", None),
        (b"5", None),
        (b"5s", None),
        (b"5h", None),
        (b"5N", None),
        (b"5SS", None),
        (b" 5S", None),
        (b"5 S", None),
        (b"+5S", None),
        (b"-5S", None),
        (b"1.5S", None),
        (b"100000000n", None),
        (b"\xd9\xa3S", None),
    ];
    for (text, expected) in table {
        assert_eq!(parse_grpc_timeout(text), expected, "{text:?}");
    }
}

#[test]
fn grpc_timeouts_are_written_in_the_finest_unit_that_fits() {
    let table = [
        (Duration::ZERO, None),
        (NS, Some("1n")),
        (Duration::from_nanos(99_999_999), Some("99999999n")),
        (Duration::from_nanos(100_000_999), Some("100000u")),
        (Duration::from_secs(5), Some("5000000u")),
        (Duration::from_nanos(99_999_999_999), Some("99999999u")),
        (Duration::from_secs(100), Some("100000m")),
        (Duration::from_secs(100_000), Some("100000S")),
        (Duration::from_secs(100_000_059), Some("1666667M")),
        (Duration::from_secs(60 * 100_000_059), Some("1666667H")),
        (Duration::from_secs(3_600 * 99_999_999), Some("99999999H")),
        (Duration::from_secs(3_600 * 100_000_000), Some("99999999H")),
        (Duration::MAX, Some("99999999H")),
    ];
    for (remaining, expected) in table {
        assert_eq!(
            format_grpc_timeout(remaining).as_deref(),
            expected,
            "{remaining:?}"
        );
    }
}

#[test]
fn milliseconds_are_read_exactly_or_ignored() {
    let table: [(&[u8], Option<Duration>); 12] = [
        (b"0", Some(Duration::ZERO)),
        (b"000", Some(Duration::ZERO)),
        (b"1500", Some(ms(1_500))),
        (b"18446744073709551615", Some(ms(u64::MAX))),
        (b"18446744073709551616", None),
        (b"", None),
        (b"+1", None),
        (b"-1", None),
        (b"1.0", None),
        (b"1 ", None),
        (b"0x10", None),
        (b"1ms", None),
    ];
    for (text, expected) in table {
        assert_eq!(parse_millis(text), expected, "{text:?}");
    }
}

#[test]
fn milliseconds_are_rounded_down_and_less_than_one_is_nothing() {
    assert_eq!(format_millis(Duration::ZERO), None);
    assert_eq!(format_millis(MS - NS), None);
    assert_eq!(format_millis(MS).as_deref(), Some("1"));
    assert_eq!(format_millis(ms(1_500) - NS).as_deref(), Some("1499"));
    let longest = format_millis(Duration::MAX).expect("time remains");
    assert_eq!(longest, "18446744073709551615999");
}

/// Durations of every scale, not only the long ones.
fn duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0_u32..64).prop_map(|(bits, shift)| Duration::from_nanos(bits >> shift))
}

proptest! {
    #[test]
    fn what_is_handed_on_is_never_more_and_less_by_under_one_unit(remaining in duration()) {
        if let Some(text) = format_grpc_timeout(remaining) {
            prop_assert!(text.len() <= 9, "{}", text);
            let read = parse_grpc_timeout(text.as_bytes()).expect("own writing is legible");
            let unit = text.as_bytes()[text.len() - 1];
            let (_, nanos) = GRPC_UNITS.into_iter().find(|(name, _)| *name == unit).unwrap();
            prop_assert!(read <= remaining);
            prop_assert!(remaining - read < Duration::from_nanos(nanos));
            prop_assert!(!read.is_zero());
        } else {
            prop_assert!(remaining.is_zero());
        }
        if let Some(text) = format_millis(remaining) {
            let read = parse_millis(text.as_bytes()).expect("own writing is legible");
            prop_assert!(read <= remaining);
            prop_assert!(remaining - read < MS);
            prop_assert!(!read.is_zero());
        } else {
            prop_assert!(remaining < MS);
        }
    }

    #[test]
    fn any_bytes_are_read_or_ignored(text in any::<Vec<u8>>()) {
        let _ = parse_grpc_timeout(&text);
        let _ = parse_millis(&text);
    }
}
