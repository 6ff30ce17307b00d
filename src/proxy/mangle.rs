//! An injected fault on a response body: broken off, or slow.

use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::time::Alarm;

/// What is done to a body.
pub(super) enum Mangle {
    /// Broken off after so many more bytes.
    Truncate {
        /// Bytes that still pass.
        left: u64,
        /// There was more.
        over: bool,
    },
    /// Let through at so many bytes per second.
    Slow {
        rate: u64,
        /// When the next bytes may pass, once some have.
        next: Option<Instant>,
        /// What came and may not pass yet.
        held: Bytes,
    },
}

/// A body that was to be broken off here.
pub(super) struct Cut;

impl Mangle {
    pub(super) const fn truncate(left: u64) -> Self {
        Self::Truncate { left, over: false }
    }

    pub(super) const fn slow(rate: u64) -> Self {
        Self::Slow {
            rate,
            next: None,
            held: Bytes::new(),
        }
    }

    /// Whether nothing of what came is held back.
    pub(super) const fn is_empty(&self) -> bool {
        match self {
            Self::Truncate { over, .. } => !*over,
            Self::Slow { held, .. } => held.is_empty(),
        }
    }

    /// Takes what came from the upstream, and gives what passes of it at once.
    pub(super) fn take(&mut self, mut data: Bytes) -> Bytes {
        match self {
            Self::Truncate { left, over } => {
                let keep = usize::try_from(*left).unwrap_or(usize::MAX);
                *over |= data.len() > keep;
                data.truncate(keep);
                *left -= data.len() as u64;
                data
            }
            Self::Slow { held, .. } => {
                *held = data;
                Bytes::new()
            }
        }
    }

    /// The next bytes of what is held back, when it is their time.
    pub(super) fn poll_held(&mut self, alarm: &Alarm, now: Instant) -> Poll<Result<Bytes, Cut>> {
        let Self::Slow { rate, next, held } = self else {
            return Poll::Ready(Err(Cut));
        };
        let at = *next.get_or_insert(now);
        if at > now {
            alarm.want(at);
            return Poll::Pending;
        }
        // A tenth of a second's worth at a time.
        let size = usize::try_from((*rate / 10).max(1)).unwrap_or(usize::MAX);
        let part = held.split_to(size.min(held.len()));
        let nanos = (part.len() as u64).saturating_mul(1_000_000_000) / (*rate).max(1);
        *next = now.checked_add(Duration::from_nanos(nanos));
        Poll::Ready(Ok(part))
    }
}
