use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;
use crate::telemetry::metrics::Metrics;

/// A sink that a test reads and can hold up.
#[derive(Clone, Default)]
struct Sink {
    written: Arc<Mutex<Vec<u8>>>,
    gate: Arc<Mutex<()>>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        drop(self.gate.lock().unwrap());
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn lines(&self) -> Vec<Value> {
        let written = self.written.lock().unwrap();
        written
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).expect("one JSON object a line"))
            .collect()
    }
}

fn settings(mode: AccessLogMode, sample_ratio: f64) -> model::AccessLog {
    model::AccessLog { mode, sample_ratio }
}

fn log_to(sink: &Sink, settings: &model::AccessLog) -> AccessLog {
    let metrics = Metrics::new(1).unwrap();
    AccessLog::new(settings, sink.clone(), metrics.access_log()).unwrap()
}

fn log(mode: AccessLogMode, sample_ratio: f64) -> AccessLog {
    log_to(&Sink::default(), &settings(mode, sample_ratio))
}

const ENDPOINT: Address = Address::Ip(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080)));

fn entry() -> Entry<'static> {
    Entry {
        time: Duration::from_millis(1_792_000_000_123),
        listener: "edge",
        route: Some("v2"),
        upstream: Some("search"),
        host: None,
        method: "GET",
        path: "/v2/find",
        status: 200,
        reason: None,
        endpoint: Some(&ENDPOINT),
        attempts: 2,
        served_by: Some("search-b"),
        hedged: true,
        fault: Some("delay"),
        request_id: Some("5f0c"),
        queue: None,
        connect: Some(Duration::from_micros(1_234)),
        first_byte: Some(Duration::from_nanos(2_500_499)),
        total: Duration::from_micros(3_000),
        bytes_in: 0,
        bytes_out: 42,
        aborted: false,
    }
}

#[test]
fn a_line_holds_every_field_in_its_unit() {
    let sink = Sink::default();
    let log = log_to(&sink, &settings(AccessLogMode::All, 0.0));
    log.write(&entry());
    log.close();
    let lines = sink.lines();
    assert_eq!(
        lines,
        [serde_json::json!({
            "time": "2026-10-14T17:46:40.123Z",
            "listener": "edge",
            "route": "v2",
            "upstream": "search",
            "host": null,
            "method": "GET",
            "path": "/v2/find",
            "status": 200,
            "reason": null,
            "endpoint": "127.0.0.1:8080",
            "attempts": 2,
            "served_by": "search-b",
            "hedged": true,
            "fault": "delay",
            "request_id": "5f0c",
            "queue_ms": null,
            "connect_ms": 1.234,
            "first_byte_ms": 2.5,
            "total_ms": 3.0,
            "bytes_in": 0,
            "bytes_out": 42,
            "aborted": false,
        })]
    );
}

#[test]
fn what_a_client_sends_cannot_break_a_line_or_leak_its_query() {
    let sink = Sink::default();
    let log = log_to(&sink, &settings(AccessLogMode::All, 0.0));
    log.write(&Entry {
        path: "/a\"b\\\n\u{1}é?token=secret",
        request_id: Some("\"},{\""),
        reason: Some(Reason::BreakerOpen),
        ..entry()
    });
    let long = format!("/{}?secret", "é".repeat(MAX_PATH));
    log.write(&Entry {
        path: &long,
        ..entry()
    });
    log.close();
    let lines = sink.lines();
    assert_eq!(lines[0]["path"], "/a\"b\\\n\u{1}é");
    assert_eq!(lines[0]["request_id"], "\"},{\"");
    assert_eq!(lines[0]["reason"], "breaker_open");
    let logged = lines[1]["path"].as_str().unwrap();
    assert!(logged.len() <= MAX_PATH + 1 && logged.len() > MAX_PATH - 2);
    assert!(!String::from_utf8_lossy(&sink.written.lock().unwrap()).contains("secret"));
}

#[test]
fn modes_choose_what_is_written() {
    // (mode, plain, slow, failed)
    for (mode, plain, slow, failed) in [
        (AccessLogMode::Off, false, false, false),
        (AccessLogMode::Errors, false, true, true),
        (AccessLogMode::Sampled, false, true, true),
        (AccessLogMode::All, true, true, true),
    ] {
        let log = log(mode, 0.0);
        assert_eq!(log.wants(false, false), plain, "{mode:?}");
        assert_eq!(log.wants(false, true), slow, "{mode:?}");
        assert_eq!(log.wants(true, false), failed, "{mode:?}");
    }
}

#[test]
fn the_sample_is_a_share_of_the_successes() {
    crate::rng::seed(7);
    let wanted = |ratio| {
        let log = log(AccessLogMode::Sampled, ratio);
        (0..10_000).filter(|_| log.wants(false, false)).count()
    };
    assert_eq!(wanted(0.0), 0);
    assert_eq!(wanted(1.0), 10_000);
    let tenth = wanted(0.1);
    assert!((850..=1150).contains(&tenth), "{tenth} of 10000");
}

#[test]
fn off_starts_no_writer() {
    let log = log(AccessLogMode::Off, 1.0);
    assert!(log.writer.is_none());
    log.write(&entry());
    log.close();
}

#[test]
fn a_stuck_sink_drops_lines_and_counts_them() {
    let sink = Sink::default();
    let metrics = Metrics::new(1).unwrap().access_log();
    let log = AccessLog::new(
        &settings(AccessLogMode::All, 0.0),
        sink.clone(),
        metrics.clone(),
    )
    .unwrap();
    let offered = 3 * QUEUE as u64;
    let held = sink.gate.lock().unwrap();
    for _ in 0..offered {
        log.write(&entry());
    }
    drop(held);
    log.close();
    let (kept, dropped) = (metrics.lines.get(), metrics.dropped.get());
    assert_eq!(kept + dropped, offered);
    // The queue, and what the writer's buffer took before it had to wait.
    assert!(kept >= QUEUE as u64, "{kept} kept");
    assert!(dropped > 0, "{dropped} dropped");
    assert_eq!(sink.lines().len() as u64, kept);
}

#[test]
fn lines_after_the_close_are_dropped() {
    let sink = Sink::default();
    let log = log_to(&sink, &settings(AccessLogMode::All, 0.0));
    log.write(&entry());
    log.close();
    log.write(&entry());
    log.close();
    assert_eq!(sink.lines().len(), 1);
    assert_eq!(log.metrics.dropped.get(), 1);
}

#[test]
fn times_are_formatted_as_rfc_3339() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399, "2000-02-28T23:59:59.000Z"),
        (951_782_400, "2000-02-29T00:00:00.000Z"),
        (951_868_800, "2000-03-01T00:00:00.000Z"),
        (1_709_164_800, "2024-02-29T00:00:00.000Z"),
        (1_735_689_599, "2024-12-31T23:59:59.000Z"),
        (1_735_689_600, "2025-01-01T00:00:00.000Z"),
        (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        (253_402_300_799, "9999-12-31T23:59:59.000Z"),
    ] {
        assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
    }
    assert_eq!(
        rfc3339(Duration::from_micros(1_999)),
        "1970-01-01T00:00:00.001Z"
    );
}

#[test]
fn dates_follow_each_other() {
    let length = |year: u64, month: u64| match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let mut date = (1970, 1, 1);
    for day in 0..150_000 {
        assert_eq!(civil_date(day), date);
        let (year, month, day_of_month) = date;
        date = if day_of_month < length(year, month) {
            (year, month, day_of_month + 1)
        } else if month < 12 {
            (year, month + 1, 1)
        } else {
            (year + 1, 1, 1)
        };
    }
}
