//! How many symbols a Huffman code has, and whether it is one (RFC 7541 §5.2, Appendix B).
//!
//! The code is canonical: codes of the same length follow each other, and longer ones follow
//! shorter ones. How long a code is can be told from where the shorter ones end, without knowing
//! what it stands for.

/// The code of a colon, of seven bits: what the name of a pseudo-field begins with.
pub(super) const COLON: u8 = 0x5c;

/// The code of `#`, and how many bits it has.
const HASH: (u32, u64) = (12, 0xffa);

/// For each length of a code, how many codes have it.
const CODES: [(u32, u64); 21] = [
    (5, 10),
    (6, 26),
    (7, 32),
    (8, 6),
    (10, 5),
    (11, 3),
    (12, 2),
    (13, 6),
    (14, 2),
    (15, 3),
    (19, 3),
    (20, 8),
    (21, 13),
    (22, 26),
    (23, 29),
    (24, 12),
    (25, 4),
    (26, 15),
    (27, 19),
    (28, 29),
    (30, 4),
];

/// For each length of a code, where codes of that length end, in the highest bits of 64; the last
/// end is that of all.
const ENDS: [(u32, u64); 21] = {
    let mut ends = CODES;
    let (mut at, mut end) = (0, 0_u64);
    while at < ends.len() {
        let (length, codes) = ends[at];
        end = end.wrapping_add(codes << (64 - length));
        ends[at] = (length, end.wrapping_sub(1));
        at += 1;
    }
    ends
};

/// A string in the middle of its code.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Huffman {
    /// Bits that have come and are no whole code yet, the first one highest.
    bits: u64,
    have: u32,
    /// A `#` was among the symbols.
    pub(super) has_hash: bool,
}

impl Huffman {
    /// Reads octets; how many symbols have ended in them. `None` where the end of a string stands
    /// among them, which nobody sends.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<u32> {
        let mut symbols = 0;
        for octet in bytes {
            self.bits |= u64::from(*octet) << (56 - self.have);
            self.have += 8;
            // What has not come counts as zeros, which makes no code longer than it is.
            while let Some((length, _)) = ENDS.iter().find(|(_, last)| self.bits <= *last)
                && *length <= self.have
            {
                if *length == 30 && self.bits >> 34 == 0x3fff_ffff {
                    return None;
                }
                self.has_hash |= *length == HASH.0 && self.bits >> (64 - HASH.0) == HASH.1;
                self.bits <<= length;
                self.have -= length;
                symbols += 1;
            }
        }
        Some(symbols)
    }

    /// Whether the string may end here: behind less than an octet of ones.
    pub(super) const fn is_padded(&self) -> bool {
        self.have < 8 && self.bits == !(u64::MAX >> self.have)
    }
}
