//! Points in time (RFC 3339).

use std::time::Duration;

use super::Invalid;
use crate::config::diagnostic::Id;
use crate::config::section::Setting;

/// Reads `"2026-12-31T12:00:00Z"`, or the same with an offset such as `+02:00`, as a time since
/// the Unix epoch.
pub(in crate::config) fn moment(text: &str) -> Result<Setting, Invalid> {
    let since_epoch = read(text).map(|time| Setting::Duration(Some(time)));
    since_epoch.ok_or_else(|| {
        Invalid::new(
            Id::BadTime,
            "not a time",
            "write day, time and zone, such as `\"2026-12-31T12:00:00Z\"` or `\"2026-12-31T14:00:00+02:00\"`",
        )
    })
}

fn read(text: &str) -> Option<Duration> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at_checked(zone)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let sound = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !sound || fraction.is_some_and(|digits| !is_number(digits)) {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    let seconds = seconds.checked_sub(offset(zone)?)?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// What a zone is ahead of UTC, seconds.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, zone) = match zone.strip_prefix('-') {
        Some(zone) => (-1, zone),
        None => (1, zone.strip_prefix('+')?),
    };
    let [hours, minutes] = numbers(zone, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

/// Numbers of these many digits with `between` between.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut found = [0; N];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !is_number(part) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the first of 1970.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Leap years before a year, counted as if the calendar had always been this one.
    let leap_years = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    (year - 1970) * 365 + leap_years(year) - leap_years(1970) + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        // As `date -u -d TIME +%s` has them.
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-12-31T12:00:00Z", 1_798_718_400),
            ("2026-12-31t12:00:00.999z", 1_798_718_400),
            ("2026-12-31 14:30:00+02:30", 1_798_718_400),
            ("2026-12-31T07:00:00-05:00", 1_798_718_400),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:60Z", 253_402_300_800),
        ] {
            assert_eq!(read(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn other_text_is_no_time() {
        for text in [
            "",
            "T",
            "2026-12-31",
            "12:00:00Z",
            "2026-12-31T12:00:00",
            "2026-12-31T12:00Z",
            "2026-12-31T12:00:00.Z",
            "2026-12-31T12:00:00Zz",
            "2026-12-31T12:00:00+2:00",
            "2026-12-31T12:00:00+24:00",
            "2026-12-31T24:00:00Z",
            "2026-12-31T12:60:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2100-02-29T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "2026-04-00T12:00:00Z",
            "26-12-31T12:00:00Z",
            "+026-12-31T12:00:00Z",
            "2026-12-31-01T12:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "２026-12-31T12:00:00Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
