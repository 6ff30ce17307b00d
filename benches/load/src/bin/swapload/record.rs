//! What was seen: latencies, failures, certificates.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// All of it.
pub(crate) struct Record {
    /// What calls are counted under, beside their kind, by when they were due.
    pub(crate) phase: String,
    /// Calls made.
    pub(crate) made: u64,
    /// Connections of HTTP/1.1 that were opened to be kept, and those that the edge ended.
    pub(crate) kept: u64,
    /// See there.
    pub(crate) closed: u64,
    /// New connections whose caller offered an earlier session, and those that took it up.
    pub(crate) offered: u64,
    /// See there.
    pub(crate) resumed: u64,
    /// What the edge showed to callers.
    pub(crate) listener: Shown,
    /// What the edge showed to the upstream.
    pub(crate) upstream: Shown,
    latencies: BTreeMap<String, Vec<Duration>>,
    failed: u64,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self {
            phase: "before".to_owned(),
            made: 0,
            kept: 0,
            closed: 0,
            offered: 0,
            resumed: 0,
            listener: Shown::new("listener"),
            upstream: Shown::new("upstream"),
            latencies: BTreeMap::new(),
            failed: 0,
        }
    }

    /// A duration under this name.
    pub(crate) fn took(&mut self, name: &str, duration: Duration) {
        match self.latencies.get_mut(name) {
            Some(durations) => durations.push(duration),
            None => drop(self.latencies.insert(name.to_owned(), vec![duration])),
        }
    }

    /// A call that was not answered well.
    pub(crate) fn failed(&mut self, kind: &str, problem: &str) {
        self.failed += 1;
        println!(
            "{{\"failed\": {:?}, \"problem\": {:?}}}",
            kind,
            plain(problem)
        );
    }

    /// Says all that was counted; durations as calls, p50, p99 and the longest in milliseconds.
    pub(crate) fn print(&mut self) {
        let mut text = String::new();
        for (name, durations) in &mut self.latencies {
            durations.sort_unstable();
            let at = |share: f64| {
                let rank = (durations.len() as f64 * share).ceil() as usize;
                let found = durations.get(rank.clamp(1, durations.len()) - 1);
                found.map_or(0.0, |duration| duration.as_secs_f64() * 1e3)
            };
            let comma = if text.is_empty() { "" } else { ", " };
            let (count, p50, p99, most) = (durations.len(), at(0.5), at(0.99), at(1.0));
            let _ = write!(
                text,
                "{comma}{name:?}: [{count}, {p50:.3}, {p99:.3}, {most:.3}]"
            );
        }
        println!(
            "{{\"made\": {}, \"errors\": {}, \"kept\": {}, \"closed\": {}, \"offered\": {}, \
             \"resumed\": {}, \"handshakes\": [{}, {}], \
             \"back\": [{}, {}], \"took\": {{{text}}}}}",
            self.made,
            self.failed,
            self.kept,
            self.closed,
            self.offered,
            self.resumed,
            self.listener.handshakes,
            self.upstream.handshakes,
            self.listener.back,
            self.upstream.back,
        );
    }
}

/// The certificates that one side showed, in the order of their first sight.
pub(crate) struct Shown {
    side: &'static str,
    /// With the end of the first handshake that had it.
    certificates: Vec<(Vec<u8>, Instant)>,
    handshakes: u64,
    /// Handshakes that began when a newer certificate had been seen.
    back: u64,
}

impl Shown {
    fn new(side: &'static str) -> Self {
        Self {
            side,
            certificates: Vec::new(),
            handshakes: 0,
            back: 0,
        }
    }

    /// A handshake that began then had this certificate.
    pub(crate) fn saw(&mut self, began: Instant, certificate: &[u8]) {
        self.handshakes += 1;
        let mut known = self.certificates.iter();
        let Some(index) = known.position(|(known, _)| known == certificate) else {
            self.certificates
                .push((certificate.to_vec(), Instant::now()));
            let hex: String = certificate.iter().map(|b| format!("{b:02x}")).collect();
            println!("{{\"shown\": {:?}, \"certificate\": \"{hex}\"}}", self.side);
            return;
        };
        let mut newer = self.certificates.iter().skip(index + 1);
        self.back += u64::from(newer.any(|(_, since)| *since < began));
    }
}

/// What a JSON string may have as it is.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|char| char.is_ascii() && !char.is_ascii_control())
        .collect()
}
