//! A budget for what an HTTP/2 peer makes us do without asking for anything.
//!
//! It protects the worker from peers that spend its time on frames which carry no part of a
//! message (RFC 9113 §10.5): floods of SETTINGS, PING, PRIORITY, WINDOW_UPDATE, unknown and empty
//! frames, rapid reset (CVE-2023-44487), CONTINUATION without end (CERT VU#421644), and
//! windows opened by an octet at a time. It reads frame headers (§4.1) off the bytes as they come
//! in, whatever pieces they come in, and skips payloads without a copy. Whether frames are *right*
//! is for others to judge ([`lawful`], and the HTTP/2 library behind it); the meter only judges how
//! many there are.
//!
//! | frame | costs | of |
//! |---|---|---|
//! | SETTINGS, PING, PRIORITY, WINDOW_UPDATE, GOAWAY, PUSH_PROMISE, unknown | 1, and 1 for each whole 64 octets of payload | control |
//! | DATA without content (padding is none) and without END_STREAM | 1 | control |
//! | HEADERS on a stream seen before (trailers, interim responses), stray CONTINUATION | 1 | control |
//! | RST_STREAM | 1 | resets |
//! | HEADERS that opens a stream, DATA with content or END_STREAM | nothing | |
//!
//! | event | earns |
//! |---|---|
//! | a second | `control_per_second`, `resets_per_second` |
//! | a stream opened | 4 of control, half of resets |
//! | a piece of a body sent to the peer | 1 of control for each KiB, and an eighth for each of its first 16 octets |
//!
//! What is earned fits what lawful clients do: WINDOW_UPDATE for stream and connection for each
//! frame they got, a PING with each burst of data to measure bandwidth (gRPC), a PRIORITY and a
//! WINDOW_UPDATE for each new stream (browsers, curl), up to half of all requests cancelled. A peer
//! that opens its window by one octet at a time pays 1 and earns an eighth.
//!
//! Invariants: nothing is allocated; work is in proportion to the frames begun in a slice, not to
//! its length; once a flood is found, every later call finds the same one. Knows neither sockets nor
//! HPACK. What we send may be told from another thread than the one that reads: [`Earnings`]. Where
//! its settings are: [`FrameLimits`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parts::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Head, PADDED, PING, PRIORITY, Part,
    Parts, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

mod fields;
pub mod lawful;
mod parts;

/// What a peer may do on one HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Control frames in a second, beside those that are earned. 200: keep-alive PINGs and SETTINGS
    /// are fewer than one, and at 2 µs a frame a connection can burn no more than 0.4 ms a second.
    pub control_per_second: u32,
    /// Control frames at once. 2000: WINDOW_UPDATEs lag behind the data that earned them, by two for
    /// each 16 KiB frame of a window of up to 16 MiB.
    pub control_burst: u32,
    /// Streams reset in a second, beside the half of all that are opened. 500: when a busy upstream
    /// stalls, its callers lose patience with all of their requests, until the breaker opens.
    pub resets_per_second: u32,
    /// Streams reset at once. 1000: a caller that shuts down cancels all that it has.
    pub resets_burst: u32,
    /// CONTINUATION frames in one header block. 8: twice as many as the largest block needs.
    pub continuations: u32,
    /// Octets of one header block, compressed. 64 KiB: as much as a request head may have unpacked.
    pub header_block_bytes: u32,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            control_per_second: 200,
            control_burst: 2000,
            resets_per_second: 500,
            resets_burst: 1000,
            continuations: 8,
            header_block_bytes: 64 << 10,
        }
    }
}

impl FrameLimits {
    /// Where heads of so many octets, unpacked, are taken: never fewer than that may be packed.
    #[must_use]
    pub fn of_heads(octets: usize) -> Self {
        let limits = Self::default();
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        let header_block_bytes = limits.header_block_bytes.max(octets);
        Self {
            continuations: limits.continuations.max(header_block_bytes / FRAME * 2),
            header_block_bytes,
            ..limits
        }
    }
}

/// What a peer sends too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flood {
    /// SETTINGS frames, or acknowledgements of settings.
    Settings,
    /// PING frames, or answers to them.
    Ping,
    /// PRIORITY frames.
    Priority,
    /// WINDOW_UPDATE frames, for what was sent in the windows.
    WindowUpdate,
    /// DATA frames without content that end nothing.
    EmptyData,
    /// HEADERS frames on streams that had theirs.
    Headers,
    /// Frames of other types, or where they have no business.
    Other,
    /// RST_STREAM frames.
    Resets,
    /// CONTINUATION frames in one header block.
    Continuations,
    /// Octets in one header block.
    HeaderBlock,
    /// What makes us reset or refuse streams, or work for the least of data; it is the HTTP/2
    /// library that counts these.
    Errors,
}

impl Flood {
    /// Every one, in the order of the enum.
    pub const ALL: [Self; 11] = [
        Self::Settings,
        Self::Ping,
        Self::Priority,
        Self::WindowUpdate,
        Self::EmptyData,
        Self::Headers,
        Self::Other,
        Self::Resets,
        Self::Continuations,
        Self::HeaderBlock,
        Self::Errors,
    ];

    /// Names it for logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Ping => "ping",
            Self::Priority => "priority",
            Self::WindowUpdate => "window_update",
            Self::EmptyData => "empty_data",
            Self::Headers => "headers",
            Self::Other => "other_frames",
            Self::Resets => "resets",
            Self::Continuations => "continuations",
            Self::HeaderBlock => "header_block",
            Self::Errors => "errors",
        }
    }
}

/// Reads along with what one peer sends on one connection.
#[derive(Debug)]
pub struct FrameMeter {
    limits: FrameLimits,
    control: Bucket,
    resets: Bucket,
    /// The latest instant seen.
    last: Instant,
    parts: Parts,
    /// The length of a DATA frame of which the octet that tells its padding has not come.
    padded: Option<u32>,
    /// The header block that is not at its end yet.
    block: Option<Block>,
    /// Header blocks begun.
    blocks: u64,
    /// Whether the frame at hand is of a header block.
    is_head: bool,
    /// The highest stream opened so far.
    highest: u32,
    frames: usize,
    flood: Option<Flood>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    continuations: u32,
    bytes: u32,
}

/// The least payload that frames may have at most, and what most peers cut blocks to (§4.2).
const FRAME: u32 = 16 << 10;

/// What a stream that is opened earns: a PING, a PRIORITY, and WINDOW_UPDATEs for both windows.
const STREAM_EARNS: u64 = 4 * TOKEN;
/// Content as short as this is paid for in full; gRPC's shortest messages are about that long.
const SHORT: u64 = 16;
/// Octets of payload that a control frame may carry without costing more: ten settings.
const FREE_PAYLOAD: u64 = 64;

impl FrameMeter {
    /// Makes one with full budgets. `skip` octets come before the first frame: 24 is the preface of
    /// a client (RFC 9113 §3.4), 0 where that was read already or the peer is a server.
    pub fn new(limits: FrameLimits, skip: u32, now: Instant) -> Self {
        Self {
            control: Bucket::new(limits.control_per_second, limits.control_burst),
            resets: Bucket::new(limits.resets_per_second, limits.resets_burst),
            limits,
            last: now,
            parts: Parts::new(skip),
            padded: None,
            block: None,
            blocks: 0,
            is_head: false,
            highest: 0,
            frames: 0,
            flood: None,
        }
    }

    /// Reads what the peer sent.
    ///
    /// # Errors
    ///
    /// The peer floods us: the connection is to be closed, with ENHANCE_YOUR_CALM. Nothing after
    /// the frame that was one too many has been read.
    pub fn feed(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        if let Some(flood) = self.flood {
            return Err(flood);
        }
        let passed = now.saturating_duration_since(self.last);
        self.last = self.last.max(now);
        self.control.refill(passed);
        self.resets.refill(passed);
        while let Some(part) = self.parts.next(&mut bytes) {
            let result = match part {
                Part::Head(head) => self.begin(head),
                Part::Payload(piece, _) => self.unpad(piece),
            };
            if let Err(flood) = result {
                self.flood = Some(flood);
                return result;
            }
        }
        Ok(())
    }

    /// How many frames have begun.
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// The flood that was found, if one was.
    pub const fn flood(&self) -> Option<Flood> {
        self.flood
    }

    /// Which header block, of all in their order, the peer has begun and not ended, if one.
    pub fn unended_head(&self) -> Option<u64> {
        let in_frame = self.is_head && self.parts.is_in_payload();
        (in_frame || self.block.is_some()).then_some(self.blocks)
    }

    /// Tells of a piece of a body of so many octets that goes to the peer: it may have to be
    /// answered by WINDOW_UPDATE and PING.
    pub fn sent(&mut self, data_bytes: usize) {
        self.control.earn(earned(data_bytes));
    }

    /// Tells that a stream is opened by us, on a connection to an upstream: its answers may be cut
    /// short, and have several HEADERS. Streams that the peer opens are seen.
    pub fn opened(&mut self) {
        self.collect(1, 0);
    }

    /// Takes what was earned elsewhere since the last time.
    pub fn settle(&mut self, earnings: &Earnings) {
        let streams = earnings.streams.swap(0, Relaxed);
        let control = earnings.control.swap(0, Relaxed);
        self.collect(streams, control);
    }

    fn collect(&mut self, streams: u64, control: u64) {
        let of_streams = streams.saturating_mul(STREAM_EARNS);
        self.control.earn(control.saturating_add(of_streams));
        self.resets.earn(streams.saturating_mul(TOKEN / 2));
    }

    /// Looks how much of a DATA frame is padding.
    fn unpad(&mut self, piece: &[u8]) -> Result<(), Flood> {
        match (self.padded.take(), piece.first()) {
            (Some(length), Some(padding)) if u32::from(*padding) + 1 >= length => {
                self.charge(Flood::EmptyData, 0)
            }
            _ => Ok(()),
        }
    }

    /// Judges a frame by its header.
    fn begin(&mut self, head: Head) -> Result<(), Flood> {
        let Head {
            length,
            kind,
            flags,
            stream,
        } = head;
        self.frames = self.frames.wrapping_add(1);
        self.is_head = matches!(kind, HEADERS | CONTINUATION);
        let block = self.block.take();
        match kind {
            DATA if head.has(END_STREAM) => Ok(()),
            DATA if length == 0 => self.charge(Flood::EmptyData, 0),
            DATA => {
                self.padded = head.has(PADDED).then_some(length);
                Ok(())
            }
            HEADERS => {
                self.blocks = self.blocks.saturating_add(1);
                if stream > self.highest {
                    self.highest = stream;
                    self.opened();
                } else {
                    self.charge(Flood::Headers, 0)?;
                }
                self.extend(None, flags, length)
            }
            CONTINUATION if block.is_some() => self.extend(block, flags, length),
            RST_STREAM => self.resets.spend(TOKEN).ok_or(Flood::Resets),
            SETTINGS => self.charge(Flood::Settings, length),
            PING => self.charge(Flood::Ping, length),
            PRIORITY => self.charge(Flood::Priority, length),
            WINDOW_UPDATE => self.charge(Flood::WindowUpdate, length),
            _ => self.charge(Flood::Other, length),
        }
    }

    /// Begins a header block, or goes on with one.
    fn extend(&mut self, block: Option<Block>, flags: u8, length: u32) -> Result<(), Flood> {
        let block = match block {
            None => Block {
                continuations: 0,
                bytes: length,
            },
            Some(block) => Block {
                continuations: block.continuations.saturating_add(1),
                bytes: block.bytes.saturating_add(length),
            },
        };
        if block.continuations > self.limits.continuations {
            return Err(Flood::Continuations);
        }
        if block.bytes > self.limits.header_block_bytes {
            return Err(Flood::HeaderBlock);
        }
        self.block = (flags & END_HEADERS == 0).then_some(block);
        Ok(())
    }

    fn charge(&mut self, flood: Flood, payload: u32) -> Result<(), Flood> {
        let tokens = 1 + u64::from(payload) / FREE_PAYLOAD;
        self.control.spend(tokens * TOKEN).ok_or(flood)
    }
}

/// What a peer has earned by what other threads do on its connection, until the meter takes it.
#[derive(Debug, Default)]
pub struct Earnings {
    streams: AtomicU64,
    control: AtomicU64,
}

impl Earnings {
    /// As [`FrameMeter::opened`].
    pub fn opened(&self) {
        self.streams.fetch_add(1, Relaxed);
    }

    /// As [`FrameMeter::sent`].
    pub fn sent(&self, data_bytes: usize) {
        self.control.fetch_add(earned(data_bytes), Relaxed);
    }
}

/// What a piece of a body of so many octets earns whom it is sent to, in parts of a token.
fn earned(data_bytes: usize) -> u64 {
    let bytes = u64::try_from(data_bytes).unwrap_or(u64::MAX);
    let short = bytes.min(SHORT).saturating_mul(TOKEN / 8);
    short.saturating_add(bytes.saturating_mul(TOKEN / 1024))
}

/// Parts in a token, so that a nanosecond fills in exactly the rate.
const TOKEN: u64 = 1_000_000_000;

/// A token bucket in whole parts; a burst of 32 bits fits.
#[derive(Debug)]
struct Bucket {
    level: u64,
    full: u64,
    /// Parts that flow in with each nanosecond.
    rate: u64,
}

impl Bucket {
    fn new(per_second: u32, burst: u32) -> Self {
        let full = u64::from(burst) * TOKEN;
        Self {
            level: full,
            full,
            rate: u64::from(per_second),
        }
    }

    fn refill(&mut self, passed: Duration) {
        let nanos = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        self.earn(nanos.saturating_mul(self.rate));
    }

    fn earn(&mut self, parts: u64) {
        self.level = self.level.saturating_add(parts).min(self.full);
    }

    /// Takes so much if it is there.
    fn spend(&mut self, parts: u64) -> Option<()> {
        self.level = self.level.checked_sub(parts)?;
        Some(())
    }
}

#[cfg(test)]
mod tests;
