//! Takes bytes apart into frames (RFC 9113 §4.1), in whatever pieces they come.
//!
//! Nothing is copied but frame headers, and nothing is judged. After the header of a frame its
//! payload comes, in one piece at least; the last one has nothing behind it.

/// Octets of a frame header.
pub(super) const HEADER: usize = 9;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Of SETTINGS and PING.
pub(super) const ACK: u8 = 0x1;
/// Of DATA and HEADERS.
pub(super) const END_STREAM: u8 = 0x1;
/// Of HEADERS and CONTINUATION.
pub(super) const END_HEADERS: u8 = 0x4;
/// Of DATA and HEADERS.
pub(super) const PADDED: u8 = 0x8;
/// Of HEADERS: a priority comes before the block.
pub(super) const PRIORITIZED: u8 = 0x20;

/// What a frame header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Octets of payload.
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A frame begins.
    Head(Head),
    /// A piece of its payload, and how much of that is left behind it.
    Payload(&'a [u8], u32),
}

/// Where in the frames the next octet stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before the first frame, by so many octets.
    Before(u32),
    /// In a frame header of which so many octets are there.
    Header([u8; HEADER], usize),
    /// In a payload of which so much is left.
    Payload(u32),
}

/// Reads what one peer sends on one connection.
#[derive(Debug)]
pub(super) struct Parts(Place);

impl Parts {
    /// `skip` octets come before the first frame.
    pub(super) const fn new(skip: u32) -> Self {
        Self(Place::Before(skip))
    }

    /// Whether a payload has begun and not ended.
    pub(super) const fn is_in_payload(&self) -> bool {
        matches!(self.0, Place::Payload(1..))
    }

    /// Takes the next part off `bytes`; `None` once nothing is left of them.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Part<'a>> {
        loop {
            match &mut self.0 {
                Place::Before(0) => self.0 = Place::Header([0; HEADER], 0),
                Place::Before(left) => {
                    *left -= count(take(bytes, *left));
                    if *left > 0 {
                        return None;
                    }
                }
                Place::Header(header, have) => {
                    let slots = header.iter_mut().skip(*have);
                    let here = slots.zip(*bytes).map(|(slot, octet)| *slot = *octet);
                    let here = here.count();
                    *have += here;
                    *bytes = bytes.get(here..).unwrap_or_default();
                    if *have < HEADER {
                        return None;
                    }
                    let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = *header;
                    let length = u32::from_be_bytes([0, l2, l1, l0]);
                    self.0 = Place::Payload(length);
                    return Some(Part::Head(Head {
                        length,
                        kind,
                        flags,
                        stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]),
                    }));
                }
                Place::Payload(left) => {
                    if *left > 0 && bytes.is_empty() {
                        return None;
                    }
                    let piece = take(bytes, *left);
                    let left = *left - count(piece);
                    self.0 = match left {
                        0 => Place::Header([0; HEADER], 0),
                        _ => Place::Payload(left),
                    };
                    return Some(Part::Payload(piece, left));
                }
            }
        }
    }
}

/// Takes so many octets from the front, or what there is.
pub(super) fn take<'a>(bytes: &mut &'a [u8], octets: u32) -> &'a [u8] {
    let octets = usize::try_from(octets).unwrap_or(usize::MAX);
    let (taken, rest) = bytes.split_at_checked(octets).unwrap_or((*bytes, &[]));
    *bytes = rest;
    taken
}

/// How many octets these are.
pub(super) fn count(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
