//! HPACK (RFC 7541): written as literals that no table remembers, read in whatever form it comes.

use std::collections::VecDeque;

/// A name and its value, as bytes: nothing is taken for granted about either.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// Writes a block of literals without indexing and without Huffman codes (§6.2.2).
pub(crate) fn encode<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// An integer with a prefix of seven bits, the flag before it unset (§5.1).
fn integer(block: &mut Vec<u8>, number: usize) {
    let Some(mut rest) = number.checked_sub(127) else {
        return block.push(u8::try_from(number).expect("less than 127"));
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("less than 128") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("less than 128"));
}

/// Reads blocks, and keeps the table that they fill.
pub(crate) struct Decoder {
    table: VecDeque<Field>,
    /// Bytes that the table may take (§4.1).
    limit: usize,
    /// The most that this side allows.
    most: usize,
    codes: Codes,
}

type Decoded<T> = Result<T, String>;

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            table: VecDeque::new(),
            limit: 4096,
            most: 4096,
            codes: Codes::new(),
        }
    }

    /// Allows no more bytes than this for the table; what is there may stay until the peer says so.
    pub(crate) fn allow(&mut self, most: usize) {
        self.most = most;
    }

    /// Bytes that the table may take now.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The fields of one whole block.
    pub(crate) fn decode(&mut self, mut block: &[u8]) -> Decoded<Vec<Field>> {
        let mut fields = Vec::new();
        while let Some(first) = block.first().copied() {
            let field = match first {
                0x80.. => {
                    let index = take_integer(&mut block, 7)?;
                    self.at(index)?
                }
                0x40..=0x7f => {
                    let field = self.literal(&mut block, 6)?;
                    self.remember(field.clone());
                    field
                }
                0x20..=0x3f => {
                    if !fields.is_empty() {
                        return Err("a table size within a block".to_owned());
                    }
                    self.limit = take_integer(&mut block, 5)?;
                    if self.limit > self.most {
                        return Err(format!("a table of {} bytes", self.limit));
                    }
                    self.evict();
                    continue;
                }
                _ => self.literal(&mut block, 4)?,
            };
            fields.push(field);
        }
        Ok(fields)
    }

    fn literal(&self, block: &mut &[u8], prefix: u32) -> Decoded<Field> {
        let name = match take_integer(block, prefix)? {
            0 => self.string(block)?,
            index => self.at(index)?.0,
        };
        Ok((name, self.string(block)?))
    }

    fn string(&self, block: &mut &[u8]) -> Decoded<Vec<u8>> {
        let is_coded = block.first().ok_or("a block ends in a string")? & 0x80 != 0;
        let length = take_integer(block, 7)?;
        let (text, rest) = block.split_at_checked(length).ok_or("a string is cut")?;
        *block = rest;
        if is_coded {
            self.codes.decode(text)
        } else {
            Ok(text.to_vec())
        }
    }

    fn at(&self, index: usize) -> Decoded<Field> {
        let dynamic = index.checked_sub(STATIC.len() + 1);
        let missing = || format!("no field at {index}");
        match dynamic {
            Some(dynamic) => self.table.get(dynamic).cloned().ok_or_else(missing),
            None => {
                let found = index.checked_sub(1).and_then(|index| STATIC.get(index));
                let (name, value) = found.ok_or_else(missing)?;
                Ok((name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            }
        }
    }

    fn remember(&mut self, field: Field) {
        self.table.push_front(field);
        self.evict();
    }

    fn evict(&mut self) {
        let size = |field: &Field| field.0.len() + field.1.len() + 32;
        while self.table.iter().map(size).sum::<usize>() > self.limit {
            self.table.pop_back();
        }
    }
}

fn take_integer(block: &mut &[u8], prefix: u32) -> Decoded<usize> {
    let mut next = || {
        let (first, rest) = block.split_first().ok_or("a block ends in a number")?;
        *block = rest;
        Ok::<_, &str>(usize::from(*first))
    };
    let full = (1 << prefix) - 1;
    let mut number = next()? & full;
    if number < full {
        return Ok(number);
    }
    for shift in (0..28).step_by(7) {
        let more = next()?;
        number += (more & 127) << shift;
        if more < 128 {
            return Ok(number);
        }
    }
    Err("a number without end".to_owned())
}

/// The Huffman code (§5.2, appendix B). It is canonical: the lengths say it all.
struct Codes {
    /// Of each length: its first code, and where its symbols begin.
    firsts: Vec<(u32, usize)>,
    /// In the order of their codes.
    symbols: Vec<usize>,
}

impl Codes {
    fn new() -> Self {
        let mut symbols: Vec<usize> = (0..LENGTHS.len()).collect();
        symbols.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
        let mut firsts = Vec::new();
        let (mut code, mut seen) = (0, 0);
        for length in 0..=30 {
            code <<= 1;
            firsts.push((code, seen));
            let count = LENGTHS.iter().filter(|found| **found == length).count();
            code += u32::try_from(count).expect("at most 257");
            seen += count;
        }
        Self { firsts, symbols }
    }

    fn decode(&self, coded: &[u8]) -> Decoded<Vec<u8>> {
        let mut text = Vec::new();
        let (mut code, mut length) = (0, 0);
        for bit in coded
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        {
            code = code << 1 | u32::from(bit);
            length += 1;
            let (first, begin) = *self.firsts.get(length).ok_or("no symbol has this code")?;
            let end = self
                .firsts
                .get(length + 1)
                .map_or(self.symbols.len(), |next| next.1);
            let at = begin + usize::try_from(code - first.min(code)).expect("30 bits");
            if code >= first && at < end {
                let symbol =
                    u8::try_from(self.symbols[at]).map_err(|_| "the end within a string")?;
                text.push(symbol);
                (code, length) = (0, 0);
            }
        }
        // The padding is the beginning of the longest code: ones, fewer than eight (§5.2).
        if length > 7 || code != (1 << length) - 1 {
            return Err("padding that is none".to_owned());
        }
        Ok(text)
    }
}

/// How many bits the code of each byte has, and at last that of the end.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The fields that both sides know (appendix A).
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
