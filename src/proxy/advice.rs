//! What an upstream says about trying again.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use crate::resilience::retry::Advice;

/// Reads `retry-after` (RFC 9110 §10.2.3), a date being relative to the response's own `date`; for
/// gRPC `grpc-retry-pushback-ms` (gRPC retry design A6), of which all but a number of milliseconds
/// forbids a retry. A `retry-after` that is neither seconds nor a date is no advice.
pub fn advice(headers: &HeaderMap, is_grpc: bool) -> Advice {
    if is_grpc && let Some(pushback) = headers.get("grpc-retry-pushback-ms") {
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let millis = pushback.to_str().ok().filter(digits);
        let millis = millis.and_then(|text| text.parse().ok());
        return millis.map_or(Advice::Forbidden, |millis| {
            Advice::After(Duration::from_millis(millis))
        });
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(after) = text(RETRY_AFTER) else {
        return Advice::None;
    };
    if !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than 64 bits hold are a way to say never.
        let seconds = after.parse().map(Duration::from_secs);
        return seconds.map_or(Advice::Forbidden, Advice::After);
    }
    let date = |text| httpdate::parse_http_date(text).ok();
    match (date(after), text(DATE).and_then(date)) {
        (Some(at), Some(from)) => Advice::After(at.duration_since(from).unwrap_or_default()),
        _ => Advice::None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(fields: &[(&'static str, &'static str)], is_grpc: bool) -> Advice {
        let fields = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        advice(&fields.collect(), is_grpc)
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let after = |seconds| Advice::After(Duration::from_secs(seconds));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (fields, expected) in [
            (&[] as &[_], Advice::None),
            (&[("retry-after", "3")], after(3)),
            (&[("retry-after", "-3")], Advice::None),
            (&[("retry-after", "+3")], Advice::None),
            (&[("retry-after", "")], Advice::None),
            (
                &[("retry-after", "99999999999999999999")],
                Advice::Forbidden,
            ),
            (&[("retry-after", "soon")], Advice::None),
            (
                &[date, ("retry-after", "Sun, 06 Nov 1994 08:49:39 GMT")],
                after(2),
            ),
            (
                &[date, ("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT")],
                after(0),
            ),
            (
                &[("retry-after", "Sun, 06 Nov 1994 08:49:39 GMT")],
                Advice::None,
            ),
        ] {
            assert_eq!(read(fields, false), expected, "{fields:?}");
        }
    }

    #[test]
    fn pushback_is_read_of_grpc_alone_and_nonsense_forbids() {
        let millis = |millis| Advice::After(Duration::from_millis(millis));
        for (value, expected) in [
            ("0", millis(0)),
            ("150", millis(150)),
            ("-1", Advice::Forbidden),
            ("", Advice::Forbidden),
            ("+5", Advice::Forbidden),
            ("soon", Advice::Forbidden),
        ] {
            let fields = [("grpc-retry-pushback-ms", value), ("retry-after", "9")];
            assert_eq!(read(&fields, true), expected, "{value}");
            assert_eq!(read(&fields, false), Advice::After(Duration::from_secs(9)));
        }
    }
}
