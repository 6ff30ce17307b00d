//! Whether what a caller sends on an HTTP/2 connection is lawful, where the RFC has a code of its
//! own for what is not.
//!
//! The HTTP/2 library refuses all of it as well, or at least does no harm by it, but it says
//! PROTOCOL_ERROR of whatever it cannot read. What is judged here is what it would say the wrong
//! thing of, what it drops without a word, and what has to be known for that; everything else is left
//! to it. It protects a caller's author from looking for the wrong mistake, and us from messages that
//! mean something else to us than to the caller.
//!
//! | fault | code | RFC 9113 |
//! |---|---|---|
//! | another frame than SETTINGS comes first | PROTOCOL_ERROR | §3.4 |
//! | a frame is shorter or longer than its kind may be | FRAME_SIZE_ERROR | §4.2, §6 |
//! | something stands within a field block, or more padding than there is room for | PROTOCOL_ERROR | §4.3, §6.2 |
//! | a field block that cannot be decoded | COMPRESSION_ERROR | §4.3 |
//! | DATA or HEADERS on a stream that the caller has ended | STREAM_CLOSED | §5.1 |
//! | an initial window that no window can have | FLOW_CONTROL_ERROR | §6.5.2 |
//! | a pseudo-field in trailers | PROTOCOL_ERROR | §8.1 |
//!
//! A request whose `:path` has a fragment is malformed (§8.3.1); that is for its stream to say.
//!
//! Invariants: work is in proportion to frames and to the octets of field blocks, not to those of
//! bodies; once a fault is found, every later call finds the same one. Knows neither sockets nor
//! what fields say.

use super::fields::{Block, Fields, Undecodable};
use super::parts::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADER, HEADERS, Head, PADDED, PING,
    PRIORITIZED, PRIORITY, Part, Parts, RST_STREAM, SETTINGS, WINDOW_UPDATE, count, take,
};

/// What is wrong, by the error code that says so (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// PROTOCOL_ERROR.
    Protocol,
    /// FLOW_CONTROL_ERROR.
    FlowControl,
    /// STREAM_CLOSED.
    StreamClosed,
    /// FRAME_SIZE_ERROR.
    FrameSize,
    /// COMPRESSION_ERROR.
    Compression,
}

impl Lapse {
    /// Returns the code on the wire.
    pub const fn code(self) -> u32 {
        match self {
            Self::Protocol => 1,
            Self::FlowControl => 3,
            Self::StreamClosed => 5,
            Self::FrameSize => 6,
            Self::Compression => 9,
        }
    }
}

impl From<Undecodable> for Lapse {
    fn from(_: Undecodable) -> Self {
        Self::Compression
    }
}

/// Streams that ended last and are known to have: of one that ended long before, the library says
/// PROTOCOL_ERROR.
const ENDED: usize = 32;

/// Malformed requests that come at once.
const MALFORMED: usize = 64;

const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

/// Reads along with what one caller sends on one connection.
#[derive(Debug)]
pub struct Lawful {
    parts: Parts,
    fields: Fields,
    is_settled: bool,
    payload: Payload,
    /// The stream of the field block that has begun and not ended.
    block: Option<u32>,
    /// The block at hand is one of trailers.
    is_trailers: bool,
    /// The highest stream opened so far.
    highest: u32,
    /// The stream of the latest field block.
    stream: u32,
    /// Streams that the caller has ended, and where the next one goes.
    ended: [u32; ENDED],
    next: usize,
    /// Streams of malformed requests, in the order in which they came.
    malformed: Vec<u32>,
    lapse: Option<Lapse>,
}

/// What the payload at hand is.
#[derive(Clone, Copy, Debug)]
enum Payload {
    /// Nothing that is looked at.
    Any,
    /// Settings, of one of which so many octets are there.
    Settings([u8; 6], usize),
    /// A piece of a field block.
    Block(Fragment),
}

#[derive(Clone, Copy, Debug)]
struct Fragment {
    /// The first octet says how much padding there is.
    is_padded: bool,
    /// Octets of a priority that come before the rest.
    priority: u32,
    /// Octets of padding that come after it.
    padding: u32,
    /// The block ends with it.
    is_last: bool,
}

impl Lawful {
    /// Makes one of a connection of which `skip` octets come before the first frame.
    pub fn new(skip: u32) -> Self {
        Self {
            parts: Parts::new(skip),
            fields: Fields::new(),
            is_settled: false,
            payload: Payload::Any,
            block: None,
            is_trailers: false,
            highest: 0,
            stream: 0,
            ended: [0; ENDED],
            next: 0,
            malformed: Vec::new(),
            lapse: None,
        }
    }

    /// Reads what the caller sent.
    ///
    /// # Errors
    ///
    /// The caller is at fault: the connection is to be closed, with this code. What stands before
    /// the frame at fault is lawful: so many of the octets.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), (Lapse, usize)> {
        if let Some(lapse) = self.lapse {
            return Err((lapse, 0));
        }
        let all = bytes.len();
        let mut before = 0;
        while let Some(part) = self.parts.next(&mut bytes) {
            let judged = match part {
                Part::Head(head) => {
                    before = (all - bytes.len()).saturating_sub(HEADER);
                    self.begin(head)
                }
                Part::Payload(piece, left) => self.read(piece, left),
            };
            if let Err(lapse) = judged {
                self.lapse = Some(lapse);
                return Err((lapse, before));
            }
        }
        Ok(())
    }

    /// The fault that was found, if one was.
    pub const fn lapse(&self) -> Option<Lapse> {
        self.lapse
    }

    /// Whether the request on this stream is malformed. Asked once of each stream, in their order.
    pub fn take_malformed(&mut self, stream: u32) -> bool {
        let is_malformed = self.malformed.contains(&stream);
        self.malformed.retain(|later| *later > stream);
        is_malformed
    }

    /// Judges a frame by its header.
    fn begin(&mut self, head: Head) -> Result<(), Lapse> {
        let Head { kind, stream, .. } = head;
        self.payload = Payload::Any;
        if !self.is_settled && (kind != SETTINGS || head.has(ACK)) {
            return Err(Lapse::Protocol);
        }
        self.is_settled = true;
        let is_continued = kind == CONTINUATION && self.block == Some(stream);
        if !is_continued && (kind == CONTINUATION || self.block.is_some()) {
            return Err(Lapse::Protocol);
        }
        if !is_of_size(head) {
            return Err(Lapse::FrameSize);
        }
        match kind {
            DATA => self.carry(head)?,
            HEADERS => {
                self.is_trailers = stream <= self.highest;
                self.highest = self.highest.max(stream);
                self.carry(head)?;
                self.fragment(head);
            }
            CONTINUATION => self.fragment(head),
            SETTINGS if stream == 0 => self.payload = Payload::Settings([0; 6], 0),
            _ => {}
        }
        Ok(())
    }

    /// A frame that carries a part of a message.
    fn carry(&mut self, head: Head) -> Result<(), Lapse> {
        if head.stream > 0 && self.ended.contains(&head.stream) {
            return Err(Lapse::StreamClosed);
        }
        if head.has(END_STREAM)
            && let Some(slot) = self.ended.get_mut(self.next)
        {
            *slot = head.stream;
            self.next = (self.next + 1) % ENDED;
        }
        Ok(())
    }

    /// A frame that carries a part of a field block.
    fn fragment(&mut self, head: Head) {
        let is_first = head.kind == HEADERS;
        let is_last = head.has(END_HEADERS);
        self.stream = head.stream;
        self.block = (!is_last).then_some(head.stream);
        self.payload = Payload::Block(Fragment {
            is_padded: is_first && head.has(PADDED),
            priority: if is_first && head.has(PRIORITIZED) {
                5
            } else {
                0
            },
            padding: 0,
            is_last,
        });
    }

    /// Reads a piece of a payload of which so much is left behind it.
    fn read(&mut self, mut piece: &[u8], left: u32) -> Result<(), Lapse> {
        match &mut self.payload {
            Payload::Any => Ok(()),
            Payload::Settings(setting, have) => {
                for octet in piece {
                    if let Some(slot) = setting.get_mut(*have) {
                        *slot = *octet;
                    }
                    *have = (*have + 1) % setting.len();
                    let [i1, i0, v3, _, _, _] = *setting;
                    if *have == 0 && [i1, i0] == INITIAL_WINDOW_SIZE && v3 > 0x7f {
                        return Err(Lapse::FlowControl);
                    }
                }
                Ok(())
            }
            Payload::Block(fragment) => {
                if fragment.is_padded
                    && let [padding] = take(&mut piece, 1)
                {
                    fragment.is_padded = false;
                    fragment.padding = u32::from(*padding);
                    let behind = left.saturating_add(count(piece));
                    if fragment.padding + fragment.priority > behind {
                        return Err(Lapse::Protocol);
                    }
                }
                let skipped = take(&mut piece, fragment.priority);
                fragment.priority -= count(skipped);
                let padding = fragment.padding.saturating_sub(left);
                let fields = count(piece).saturating_sub(padding);
                self.fields.feed(take(&mut piece, fields))?;
                if left > 0 || !fragment.is_last {
                    return Ok(());
                }
                let block = self.fields.end()?;
                self.decoded(block)
            }
        }
    }

    /// Judges a field block that has come to its end.
    fn decoded(&mut self, block: Block) -> Result<(), Lapse> {
        if self.is_trailers && block.has_pseudo {
            return Err(Lapse::Protocol);
        }
        if block.has_fragment {
            if self.malformed.len() >= MALFORMED {
                return Err(Lapse::Protocol);
            }
            self.malformed.push(self.stream);
        }
        Ok(())
    }
}

/// Whether the frame is as long as one of its kind may be. More than any frame may have is left to
/// the library.
const fn is_of_size(head: Head) -> bool {
    let length = head.length;
    let padded = if head.has(PADDED) { 1 } else { 0 };
    let prioritized = if head.has(PRIORITIZED) { 5 } else { 0 };
    match head.kind {
        DATA => length >= padded,
        HEADERS => length >= padded + prioritized,
        PRIORITY => length == 5,
        RST_STREAM | WINDOW_UPDATE => length == 4,
        SETTINGS if head.has(ACK) => length == 0,
        SETTINGS => length.is_multiple_of(6),
        PING => length == 8,
        GOAWAY => length >= 8,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
