//! The access log: one JSON line per request, written by a thread of its own.
//!
//! The request path asks [`AccessLog::wants`] first and builds an [`Entry`] only on a yes. A line
//! goes through a bounded queue; when the sink is slow and the queue is full it is dropped and
//! counted, so that a stuck reader of our standard output costs bounded memory and no request.
//! Queries are never written: they may hold secrets. Neither are header values, but the request id.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::metrics::AccessLogMetrics;
use crate::config::model::{self, AccessLogMode};
use crate::net::Address;
use crate::net::target::Target;
use crate::proxy::error::Reason;

/// Lines that may wait for the writer.
const QUEUE: usize = 4096;

/// Longer paths are cut, so that a full queue is some megabytes whatever clients send.
const MAX_PATH: usize = 1024;

/// A sink that is stuck delays the end of the process by no more than this.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What is known about a request at its end.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When its head was received, since the Unix epoch.
    pub time: Duration,
    /// Name of the listener.
    pub listener: &'a str,
    /// Name of the route, if one matched.
    pub route: Option<&'a str>,
    /// Name of the upstream, if a route matched.
    pub upstream: Option<&'a str>,
    /// The host that the caller named, where callers do.
    pub host: Option<&'a Target>,
    /// Its method.
    pub method: &'a str,
    /// Its target; everything from `?` on is left out.
    pub path: &'a str,
    /// The status sent.
    pub status: u16,
    /// Why there was a local reply or an abort.
    pub reason: Option<Reason>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<&'a Address>,
    /// Attempts made.
    pub attempts: u32,
    /// Name of the upstream that answered in place of `upstream`, if one did.
    pub served_by: Option<&'a str>,
    /// Whether the answer is that of a hedge.
    pub hedged: bool,
    /// What was done to an attempt on purpose: the word of a fault's action.
    pub fault: Option<&'a str>,
    /// Its id.
    pub request_id: Option<&'a str>,
    /// Wait for a slot, if it had to wait.
    pub queue: Option<Duration>,
    /// Dial to usable connection, if one was opened.
    pub connect: Option<Duration>,
    /// Dispatch of the last attempt to the response head.
    pub first_byte: Option<Duration>,
    /// Request head received to end of the response body.
    pub total: Duration,
    /// Bytes of the request body that were forwarded.
    pub bytes_in: u64,
    /// Bytes of the response body that were sent.
    pub bytes_out: u64,
    /// Whether the response was broken off after its head.
    pub aborted: bool,
}

/// Decides which requests are written and hands their lines to the writer.
#[derive(Debug)]
pub struct AccessLog {
    mode: AccessLogMode,
    /// A random `u64` at or below this is in the sample; `None` samples nothing.
    sample_up_to: Option<u64>,
    writer: Option<Writer>,
    metrics: AccessLogMetrics,
}

#[derive(Debug)]
struct Writer {
    queue: SyncSender<Message>,
    /// The writer drops its end when it is done.
    done: std::sync::Mutex<Receiver<()>>,
}

enum Message {
    Line(Vec<u8>),
    Close,
}

impl AccessLog {
    /// Starts the writer unless the log is off. `sink` is buffered here; it is flushed when the
    /// queue runs empty.
    pub fn new(
        settings: &model::AccessLog,
        sink: impl Write + Send + 'static,
        metrics: AccessLogMetrics,
    ) -> io::Result<Self> {
        let writer = match settings.mode {
            AccessLogMode::Off => None,
            _ => Some(Writer::start(sink, metrics.clone())?),
        };
        Ok(Self {
            mode: settings.mode,
            sample_up_to: sample_up_to(settings.sample_ratio),
            writer,
            metrics,
        })
    }

    /// Says whether any request may be written.
    pub fn is_on(&self) -> bool {
        self.mode != AccessLogMode::Off
    }

    /// Says whether the line of a request is to be written; `failed` means 5xx, local reply or
    /// abort. Draws a random number for fast successes in `sampled` mode, so ask once.
    pub fn wants(&self, failed: bool, slow: bool) -> bool {
        match self.mode {
            AccessLogMode::Off => false,
            AccessLogMode::All => true,
            AccessLogMode::Errors => failed || slow,
            AccessLogMode::Sampled => {
                failed
                    || slow
                    || self
                        .sample_up_to
                        .is_some_and(|bound| crate::rng::u64() <= bound)
            }
        }
    }

    /// Queues the line of a request, or drops and counts it. Never blocks.
    pub fn write(&self, entry: &Entry<'_>) {
        let Some(writer) = &self.writer else { return };
        match writer.queue.try_send(Message::Line(line(entry))) {
            Ok(()) => self.metrics.lines.inc(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.dropped.inc();
            }
        }
    }

    /// Writes what is queued, flushes and ends the writer; lines that come later are dropped.
    ///
    /// Blocks until that is done, or for two seconds if the sink takes nothing.
    pub fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close();
        }
    }
}

impl Writer {
    fn start(sink: impl Write + Send + 'static, metrics: AccessLogMetrics) -> io::Result<Self> {
        let (queue, lines) = mpsc::sync_channel(QUEUE);
        let (finished, done) = mpsc::channel();
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                run(&lines, BufWriter::with_capacity(64 * 1024, sink), &metrics);
                // In this order: once `close` has returned, a line finds the queue closed.
                drop(lines);
                drop(finished);
            })?;
        Ok(Self {
            queue,
            done: std::sync::Mutex::new(done),
        })
    }

    fn close(&self) {
        let done = self
            .done
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Room for the message comes only while the sink moves, so a full queue is retried.
        let started = crate::time::now();
        let mut message = Message::Close;
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            let waited = crate::time::now().saturating_duration_since(started);
            if waited >= CLOSE_WITHIN {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
            message = back;
        }
        // Nothing is ever sent: this ends with the writer's end, or by time.
        _ = done.recv_timeout(CLOSE_WITHIN);
    }
}

fn run(lines: &Receiver<Message>, mut sink: impl Write, metrics: &AccessLogMetrics) {
    // Lines in the sink's buffer: lost with it if it cannot be flushed.
    let mut held = 0;
    loop {
        let message = match lines.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                flush(&mut sink, &mut held, metrics);
                match lines.recv() {
                    Ok(message) => message,
                    Err(_) => break,
                }
            }
        };
        match message {
            Message::Line(line) => {
                held += 1;
                if sink.write_all(&line).is_err() {
                    metrics.dropped.inc_by(std::mem::take(&mut held));
                }
            }
            Message::Close => break,
        }
    }
    flush(&mut sink, &mut held, metrics);
}

/// Empties the sink's buffer. A sink that fails loses what it held; the next line tries again.
fn flush(sink: &mut impl Write, held: &mut u64, metrics: &AccessLogMetrics) {
    let lines = std::mem::take(held);
    if sink.flush().is_err() {
        metrics.dropped.inc_by(lines);
    }
}

/// The line's fields, in order. All are always present; what is not known is `null`.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    listener: &'a str,
    route: Option<&'a str>,
    upstream: Option<&'a str>,
    #[serde(serialize_with = "text")]
    host: Option<&'a Target>,
    method: &'a str,
    path: &'a str,
    status: u16,
    reason: Option<&'a str>,
    #[serde(serialize_with = "text")]
    endpoint: Option<&'a Address>,
    attempts: u32,
    served_by: Option<&'a str>,
    hedged: bool,
    fault: Option<&'a str>,
    request_id: Option<&'a str>,
    queue_ms: Option<f64>,
    connect_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    total_ms: f64,
    bytes_in: u64,
    bytes_out: u64,
    aborted: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn text<T: Display, S: Serializer>(value: &Option<&T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn line(entry: &Entry<'_>) -> Vec<u8> {
    let line = Line {
        time: rfc3339(entry.time),
        listener: entry.listener,
        route: entry.route,
        upstream: entry.upstream,
        host: entry.host,
        method: entry.method,
        path: loggable(entry.path),
        status: entry.status,
        reason: entry.reason.map(Reason::as_str),
        endpoint: entry.endpoint,
        attempts: entry.attempts,
        served_by: entry.served_by,
        hedged: entry.hedged,
        fault: entry.fault,
        request_id: entry.request_id,
        queue_ms: entry.queue.map(millis),
        connect_ms: entry.connect.map(millis),
        first_byte_ms: entry.first_byte.map(millis),
        total_ms: millis(entry.total),
        bytes_in: entry.bytes_in,
        bytes_out: entry.bytes_out,
        aborted: entry.aborted,
    };
    let mut bytes = Vec::with_capacity(512);
    // Cannot fail: no map with keys of another type than text, no writer that fails.
    _ = serde_json::to_writer(&mut bytes, &line);
    bytes.push(b'\n');
    bytes
}

fn loggable(path: &str) -> &str {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    match path.char_indices().find(|(at, _)| *at >= MAX_PATH) {
        Some((at, _)) => path.get(..at).unwrap_or(path),
        None => path,
    }
}

/// Milliseconds with microsecond precision.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn sample_up_to(ratio: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "saturates at both ends, which is what is meant"
    )]
    let bound = (ratio * u64::MAX as f64) as u64;
    (bound > 0).then_some(bound)
}

/// Formats time since the Unix epoch as RFC 3339 in UTC with milliseconds.
pub fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let millis = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The Gregorian date of a day since 1970-01-01.
///
/// Years are counted from March, so that the leap day is a year's last; eras of 400 years repeat
/// exactly (146097 days).
fn civil_date(days: u64) -> (u64, u64, u64) {
    // 719468 days lie between 0000-03-01 and 1970-01-01.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 30.6 days on average: 31, 30, 31, 30, 31 repeats every 153 days.
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let (month, next_year) = if march_month < 10 {
        (march_month + 3, 0)
    } else {
        (march_month - 9, 1)
    };
    (era * 400 + year_of_era + next_year, month, day)
}

#[cfg(test)]
mod tests;
