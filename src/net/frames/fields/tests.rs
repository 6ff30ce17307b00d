use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Reads blocks, each whole; whether each has a pseudo-field, up to the first that is none.
fn read(blocks: &[&[u8]]) -> Vec<Option<bool>> {
    let mut fields = Fields::new();
    let mut found = Vec::new();
    for block in blocks {
        let ended = fields.feed(block).and_then(|()| fields.end());
        found.push(ended.ok().map(|block| block.has_pseudo));
        if ended.is_err() {
            break;
        }
    }
    found
}

const PLAIN: Option<bool> = Some(false);
const PSEUDO: Option<bool> = Some(true);
const NONE: Option<bool> = None;

/// `x-a: y`, kept.
const KEPT: &[u8] = b"\x40\x03x-a\x01y";

/// What they are, the blocks, and what is read of each.
type Blocks<'a> = (&'a str, &'a [&'a [u8]], &'a [Option<bool>]);

#[test]
fn blocks_are_read() {
    let long = [b"\x40\x03x-b\x7f\xa1\x1f".as_slice(), &[b'z'; 4128]].concat();
    let cases: &[Blocks<'_>] = &[
        ("nothing", &[b""], &[PLAIN]),
        ("static", &[b"\x82\x86\x84"], &[PSEUDO]),
        ("static, no pseudo-field", &[b"\x90"], &[PLAIN]),
        ("the last static one", &[b"\xbd"], &[PLAIN]),
        ("index 0", &[b"\x80"], &[NONE]),
        ("beyond the table", &[b"\xbe"], &[NONE]),
        ("far beyond", &[b"\xff\xff\x7f"], &[NONE]),
        ("a name beyond the table", &[b"\x7f\x10\x01y"], &[NONE]),
        ("kept", &[KEPT, b"\xbe", b"\xbf"], &[PLAIN, PLAIN, NONE]),
        ("a kept name", &[KEPT, b"\x7e\x01z\xbf"], &[PLAIN, PLAIN]),
        ("not kept", &[b"\x00\x03x-a\x01y\xbe"], &[NONE]),
        ("never kept", &[b"\x10\x03x-a\x01y\xbe"], &[NONE]),
        (
            "a literal pseudo-field",
            &[b"\x00\x05:path\x01/"],
            &[PSEUDO],
        ),
        ("a value with a colon", &[b"\x00\x01a\x01:"], &[PLAIN]),
        (
            "a coded one",
            &[b"\x00\x84\xb9\x58\xd3\x3f\x01/"],
            &[PSEUDO],
        ),
        ("a name from there", &[b"\x04\x01/"], &[PSEUDO]),
        (
            "one that was kept",
            &[b"\x44\x01/", b"\xbe", b"\x90"],
            &[PSEUDO, PSEUDO, PLAIN],
        ),
        ("the table's size", &[b"\x20\x3f\xe1\x1f"], &[PLAIN]),
        ("above the limit", &[b"\x3f\xe2\x1f"], &[NONE]),
        ("behind a field", &[b"\x90\x20"], &[NONE]),
        (
            "of nothing",
            &[KEPT, b"\x20\x3f\xe1\x1f", b"\xbe"],
            &[PLAIN, PLAIN, NONE],
        ),
        (
            "one below",
            &[KEPT, b"\x3f\x04", b"\xbe"],
            &[PLAIN, PLAIN, NONE],
        ),
        (
            "as much",
            &[KEPT, b"\x3f\x05", b"\xbe"],
            &[PLAIN, PLAIN, PLAIN],
        ),
        (
            "larger than the table",
            &[KEPT, &long, b"\xbe"],
            &[PLAIN, PLAIN, NONE],
        ),
        ("no end of a number", &[&[0xff; 20]], &[NONE]),
        ("a large number", &[b"\xff\x80\x80\x80\x80\x01"], &[NONE]),
        ("cut in a number", &[b"\xff"], &[NONE]),
        ("cut before a name", &[b"\x00"], &[NONE]),
        ("cut before a value", &[b"\x00\x01a"], &[NONE]),
        ("cut in a value", &[b"\x00\x01a\x02b"], &[NONE]),
        ("empty strings", &[b"\x00\x00\x00"], &[PLAIN]),
        ("coded, of nothing", &[b"\x00\x80\x80"], &[PLAIN]),
        // `aaaaaaaa` takes five whole octets.
        (
            "coded, no padding",
            &[b"\x00\x01a\x85\x18\xc6\x31\x8c\x63"],
            &[PLAIN],
        ),
        (
            "an octet of padding",
            &[b"\x00\x01a\x86\x18\xc6\x31\x8c\x63\xff"],
            &[NONE],
        ),
        ("padding alone", &[b"\x00\x01a\x81\xff"], &[NONE]),
        ("padding of zeros", &[b"\x00\x01a\x81\x18"], &[NONE]),
        (
            "the end of a string",
            &[b"\x00\x01a\x84\xff\xff\xff\xff"],
            &[NONE],
        ),
        ("and more", &[b"\x00\x01a\x85\xff\xff\xff\xfc\x7f"], &[NONE]),
        (
            "the longest code",
            &[b"\x00\x01a\x84\xff\xff\xff\xf3"],
            &[PLAIN],
        ),
        // RFC 7541 C.4 and C.6.3, each with what it refers to.
        (
            "requests of the RFC",
            &[
                b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
                b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
                b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\
                  \xb8\xe8\xb4\xbf",
                b"\xbe\xbf\xc0",
                b"\xc1",
            ],
            &[PSEUDO, PSEUDO, PSEUDO, PSEUDO, NONE],
        ),
    ];
    for (name, blocks, expected) in cases {
        assert_eq!(read(blocks), *expected, "{name}");
    }
}

#[test]
fn a_fragment_of_a_path_is_found() {
    for (block, expected) in [
        (&b"\x04\x06/#part"[..], true),
        (b"\x04\x05/part", false),
        (b"\x00\x05:path\x01#", true),
        (b"\x00\x05xpath\x01#", false),
        (b"\x01\x06a#test", false),
        // `/#` and `/?`; the second needs no padding.
        (b"\x04\x83\x63\xfe\xbf", true),
        (b"\x04\x82\x63\xfc", false),
        (b"\x00\x84\xb9\x58\xd3\x3f\x83\x63\xfe\xbf", true),
        (b"\x01\x83\x63\xfe\xbf", false),
        // Kept, and of the table.
        (b"\x44\x02/#\xbe", true),
    ] {
        // Octet by octet.
        let mut fields = Fields::new();
        let fed = block.iter().try_for_each(|octet| fields.feed(&[*octet]));
        let found = fed.and_then(|()| fields.end());
        assert_eq!(
            found.map(|block| block.has_fragment),
            Ok(expected),
            "{block:x?}"
        );
    }
    let mut fields = Fields::new();
    for (block, expected) in [
        (&b"\x44\x02/#"[..], true),
        (b"\xbe", true),
        (b"\x84", false),
    ] {
        let found = fields.feed(block).and_then(|()| fields.end());
        assert_eq!(
            found.map(|block| block.has_fragment),
            Ok(expected),
            "{block:x?}"
        );
    }
}

/// A string as a test writes it: the places of its symbols among all codes.
#[derive(Clone, Debug)]
enum Text {
    Plain(Vec<u8>),
    Coded(Vec<u64>),
}

impl Text {
    fn length(&self) -> usize {
        match self {
            Self::Plain(octets) => octets.len(),
            Self::Coded(symbols) => symbols.len(),
        }
    }

    fn write(&self, block: &mut Vec<u8>) {
        match self {
            Self::Plain(octets) => {
                number(block, 0, 7, octets.len());
                block.extend(octets);
            }
            Self::Coded(symbols) => {
                let mut bits: Vec<bool> = symbols.iter().flat_map(|place| code(*place)).collect();
                bits.resize(bits.len().next_multiple_of(8), true);
                number(block, 0x80, 7, bits.len() / 8);
                let octet =
                    |bits: &[bool]| bits.iter().fold(0, |all, bit| all << 1 | u8::from(*bit));
                block.extend(bits.chunks(8).map(octet));
            }
        }
    }
}

/// The code at this place, of all from the shortest on, by the counts of RFC 7541 Appendix B.
fn code(place: u64) -> Vec<bool> {
    let counts = [
        0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15,
        19, 29, 0, 4,
    ];
    let (mut code, mut before) = (0_u64, 0);
    for (length, count) in counts.into_iter().enumerate() {
        code <<= 1;
        if place < before + count {
            let code = code + place - before;
            return (0..length).rev().map(|bit| code >> bit & 1 == 1).collect();
        }
        (code, before) = (code + count, before + count);
    }
    panic!("there are 257 codes");
}

fn number(block: &mut Vec<u8>, flags: u8, prefix: u32, value: usize) {
    let most = (1 << prefix) - 1;
    if value < most {
        return block.push(flags | u8::try_from(value).unwrap());
    }
    block.push(flags | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest > 127 {
        block.push(0x80 | u8::try_from(rest % 128).unwrap());
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

#[derive(Clone, Debug)]
enum Field {
    /// One of the table, by its place in what there is of that.
    Indexed(prop::sample::Index),
    /// How it is kept, and its name from the table or as it is.
    Literal(u8, Result<prop::sample::Index, Text>, Text),
}

fn any_text() -> impl Strategy<Value = Text> {
    prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(Text::Plain),
        vec(any::<u8>(), 300..700).prop_map(Text::Plain),
        vec(0_u64..256, 0..40).prop_map(Text::Coded),
    ]
}

fn any_field() -> impl Strategy<Value = Field> {
    let index = any::<prop::sample::Index>;
    let kind = prop::sample::select(vec![0x40_u8, 0x40, 0x00, 0x10]);
    let name = prop_oneof![index().prop_map(Ok), any_text().prop_map(Err)];
    prop_oneof![
        index().prop_map(Field::Indexed),
        (kind, name, any_text()).prop_map(|(kind, name, value)| Field::Literal(kind, name, value)),
    ]
}

/// A peer that keeps what it may, entry by entry.
struct Naive {
    /// Lengths of names and values, the oldest first.
    kept: Vec<(usize, usize)>,
    most: usize,
}

impl Naive {
    fn fit(&mut self) {
        while self.size() > self.most {
            self.kept.remove(0);
        }
    }

    fn size(&self) -> usize {
        self.kept
            .iter()
            .map(|(name, value)| name + value + 32)
            .sum()
    }

    /// Writes a block and does what it says.
    fn block(&mut self, size: Option<usize>, fields: &[Field]) -> Vec<u8> {
        let mut block = Vec::new();
        if let Some(size) = size {
            number(&mut block, 0x20, 5, size);
            self.most = size;
            self.fit();
        }
        for field in fields {
            let there = 61 + self.kept.len();
            match field {
                Field::Indexed(index) => number(&mut block, 0x80, 7, 1 + index.index(there)),
                Field::Literal(kind, name, value) => {
                    let prefix = if *kind == 0x40 { 6 } else { 4 };
                    let length = match name {
                        Ok(index) => {
                            let index = index.index(there);
                            number(&mut block, *kind, prefix, 1 + index);
                            self.length(index)
                        }
                        Err(name) => {
                            number(&mut block, *kind, prefix, 0);
                            name.write(&mut block);
                            name.length()
                        }
                    };
                    value.write(&mut block);
                    if *kind == 0x40 {
                        self.kept.push((length, value.length()));
                        self.fit();
                    }
                }
            }
        }
        block
    }

    fn length(&self, index: usize) -> usize {
        let dynamic = index.checked_sub(61).map(|back| self.kept.len() - 1 - back);
        match dynamic {
            Some(place) => self.kept[place].0,
            None => table::STATIC[index].len(),
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_lawful_peer_writes_is_read_and_nothing_behind_the_table(
        blocks in vec((prop::option::of(0_usize..=4096), vec(any_field(), 0..12)), 1..12),
        cuts in vec(1_usize..60, 1..40),
    ) {
        let mut naive = Naive { kept: Vec::new(), most: 4096 };
        let mut fields = Fields::new();
        let mut cuts = cuts.iter().cycle();
        for (size, written) in blocks {
            let block = naive.block(size, &written);
            let mut rest = &block[..];
            while !rest.is_empty() {
                let (piece, left) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                prop_assert_eq!(fields.feed(piece), Ok(()));
                rest = left;
            }
            prop_assert!(fields.end().is_ok());
            prop_assert_eq!(fields.table.sizes(), naive.size());
        }
        let mut last = Vec::new();
        number(&mut last, 0x80, 7, 61 + naive.kept.len());
        prop_assert_eq!(fields.feed(&last), Ok(()));
        let mut behind = Vec::new();
        number(&mut behind, 0x80, 7, 62 + naive.kept.len());
        prop_assert_eq!(fields.feed(&behind), Err(Undecodable));
    }

    #[test]
    fn any_bytes_are_read_in_any_pieces(
        bytes in vec(any::<u8>(), 0..400),
        cut in 0_usize..400,
    ) {
        let mut whole = Fields::new();
        let expected = whole.feed(&bytes).and_then(|()| whole.end());
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let mut cut = Fields::new();
        let found = cut.feed(first).and_then(|()| cut.feed(second)).and_then(|()| cut.end());
        prop_assert_eq!(found, expected);
    }
}
