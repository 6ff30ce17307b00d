//! Latency of an endpoint, as its peaks say: up at once, down slowly.
//!
//! A mean notices an endpoint that has become slow only after many slow answers. Here one slow
//! answer counts at once, and is forgotten over the decay time; an endpoint that is left alone
//! becomes attractive again by itself, as its latency decays whenever it is read (the "peak EWMA"
//! of Finagle). The average is by time, not by number of samples.

use std::time::Duration;

/// A moving average. It fits 64 bits, for an atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ewma {
    /// Microseconds; 0 before the first sample. A float, as steps may be far below a microsecond.
    micros: f32,
    /// When it was last moved, milliseconds, modulo 2^32.
    at: u32,
}

impl Ewma {
    /// Unpacks what [`Self::to_bits`] packed; 0 is an average without samples.
    pub const fn from_bits(bits: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = bits.to_be_bytes();
        Self {
            micros: f32::from_bits(u32::from_be_bytes([a, b, c, d])),
            at: u32::from_be_bytes([e, f, g, h]),
        }
    }

    /// Packs it for an atomic.
    pub const fn to_bits(self) -> u64 {
        ((self.micros.to_bits() as u64) << 32) | self.at as u64
    }

    /// Takes a sample at `now`, which counts from any fixed instant.
    #[must_use]
    pub fn observe(self, sample: Duration, now: Duration, decay: Duration) -> Self {
        let sample = micros(sample);
        let gap = self.gap(now);
        let at = self.at.wrapping_add(gap);
        if self.micros == 0.0 {
            let at = millis(now);
            return Self { micros: sample, at };
        }
        // A peak has nothing above it to keep some of.
        let sample = f64::from(sample);
        let above = f64::from(self.micros).max(sample) - sample;
        let micros = narrow(sample + above * kept(gap, decay));
        Self { micros, at }
    }

    /// Takes a sample that must not lower the average: how long a failure took says nothing about
    /// how fast an answer would come, and fast errors must not attract requests.
    #[must_use]
    pub fn observe_failure(self, sample: Duration, now: Duration, decay: Duration) -> Self {
        let floor = Duration::from_secs_f32(self.micros / 1e6);
        self.observe(sample.max(floor), now, decay)
    }

    /// Microseconds, decayed toward 0 since the last sample; `None` before the first.
    pub fn read(self, now: Duration, decay: Duration) -> Option<f64> {
        (self.micros != 0.0).then(|| f64::from(self.micros) * kept(self.gap(now), decay))
    }

    /// Milliseconds since the average was moved. Another thread may have been ahead: 0 then.
    fn gap(self, now: Duration) -> u32 {
        let gap = millis(now).wrapping_sub(self.at);
        if gap > u32::MAX / 2 { 0 } else { gap }
    }
}

/// How much of the past is left after `gap` milliseconds.
fn kept(gap: u32, decay: Duration) -> f64 {
    let decay = decay.as_secs_f64().max(1e-3);
    (-f64::from(gap) / 1e3 / decay).exp()
}

/// At least a nanosecond, as 0 means that there is no sample.
fn micros(duration: Duration) -> f32 {
    narrow(duration.as_secs_f64() * 1e6).max(1e-3)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "7 digits of a latency are enough"
)]
const fn narrow(micros: f64) -> f32 {
    micros as f32
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "differences modulo 2^32 are meant"
)]
const fn millis(time: Duration) -> u32 {
    time.as_millis() as u32
}

#[cfg(test)]
mod tests;
