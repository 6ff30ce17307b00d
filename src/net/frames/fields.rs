//! Reads along with the field blocks of one peer (RFC 7541), to tell whether they can be decoded.
//!
//! What the fields say is not looked at, but for what the HTTP/2 library behind it drops without a
//! word ([`Block`]): of the dynamic table only lengths are kept, and of a Huffman code only how many
//! symbols it has. The library decodes the same blocks; it has one code for whatever it finds wrong.
//!
//! Invariants: work is in proportion to the octets; the table keeps what the RFC lets a peer keep
//! and no more, whatever comes.

use super::parts::{count, take};
use huffman::Huffman;
use table::{Name, Table};

mod huffman;
mod table;

/// No number may have more bits than this beside those of its first octet. No length or index that
/// makes sense has, and none beyond it can overflow what it is counted in.
const LONGEST: u32 = 28;

/// The block cannot be decoded: neither can any block after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undecodable;

/// What is known of a block that can be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// A pseudo-field is in it.
    pub(super) has_pseudo: bool,
    /// Its `:path` has a fragment.
    pub(super) has_fragment: bool,
}

#[derive(Debug)]
pub(super) struct Fields {
    table: Table,
    at: At,
    literal: Literal,
    /// A field of the block has begun: the table's size is not changed any more.
    is_begun: bool,
    block: Block,
}

/// Where the next octet stands.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Before a field, or behind the last.
    Field,
    /// In a number: what it is, what there is of it, and by how much the next octet is shifted.
    Number(Number, u32, u32),
    /// Before the length of a string.
    Length,
    /// In a string of which so much is left, as it is.
    Plain(u32),
    /// The same, in a Huffman code.
    Coded(u32, Huffman),
}

/// What a number is.
#[derive(Clone, Copy, Debug)]
enum Number {
    /// The index of a field.
    Field,
    /// The index of a name, 0 where that comes as a string.
    Name,
    /// The size of the table.
    Size,
    /// The length of a string, and whether that is a Huffman code.
    Length(bool),
}

/// The literal field at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Literal {
    /// It is to be kept in the table.
    is_kept: bool,
    /// Its name, once that is known.
    name: Option<Name>,
    /// The string at hand begins as the name of a pseudo-field does.
    is_pseudo: bool,
    /// A `#` is in it.
    has_hash: bool,
    /// Octets of the string at hand, decoded.
    length: u32,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self {
            table: Table::default(),
            at: At::Field,
            literal: Literal::default(),
            is_begun: false,
            block: Block::default(),
        }
    }

    /// Reads a piece of a block.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Undecodable> {
        while let Some((first, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Field => {
                    bytes = rest;
                    self.begin(*first)?;
                }
                At::Number(number, value, shift) => {
                    bytes = rest;
                    *value += u32::from(first & 0x7f) << *shift;
                    *shift += 7;
                    if first & 0x80 == 0 {
                        let (number, value) = (*number, *value);
                        self.counted(number, value)?;
                    } else if *shift >= LONGEST {
                        return Err(Undecodable);
                    }
                }
                At::Length => {
                    bytes = rest;
                    self.literal.length = 0;
                    self.literal.has_hash = false;
                    self.number(Number::Length(first & 0x80 != 0), *first, 0x7f)?;
                }
                At::Plain(left) => {
                    let piece = take(&mut bytes, *left);
                    *left -= count(piece);
                    let is_over = *left == 0;
                    self.literal.read(count(piece), *first == b':');
                    self.literal.has_hash |= self.literal.is_path() && piece.contains(&b'#');
                    if is_over {
                        self.string_ends();
                    }
                }
                At::Coded(left, code) => {
                    let piece = take(&mut bytes, *left);
                    *left -= count(piece);
                    let symbols = code.feed(piece).ok_or(Undecodable)?;
                    let is_over = *left == 0;
                    if is_over && !code.is_padded() {
                        return Err(Undecodable);
                    }
                    self.literal.has_hash |= code.has_hash;
                    self.literal.read(symbols, *first >> 1 == huffman::COLON);
                    if is_over {
                        self.string_ends();
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the block.
    pub(super) fn end(&mut self) -> Result<Block, Undecodable> {
        self.is_begun = false;
        match self.at {
            At::Field => Ok(std::mem::take(&mut self.block)),
            _ => Err(Undecodable),
        }
    }

    fn begin(&mut self, first: u8) -> Result<(), Undecodable> {
        let is_size = first & 0xe0 == 0x20;
        if is_size && self.is_begun {
            return Err(Undecodable);
        }
        self.is_begun |= !is_size;
        self.literal = Literal {
            is_kept: first & 0xc0 == 0x40,
            ..Literal::default()
        };
        match first {
            0x80.. => self.number(Number::Field, first, 0x7f),
            0x40.. => self.number(Number::Name, first, 0x3f),
            0x20.. => self.number(Number::Size, first, 0x1f),
            _ => self.number(Number::Name, first, 0x0f),
        }
    }

    /// Begins a number in the bits of `mask`.
    fn number(&mut self, number: Number, first: u8, mask: u8) -> Result<(), Undecodable> {
        let value = u32::from(first & mask);
        if first & mask < mask {
            return self.counted(number, value);
        }
        self.at = At::Number(number, value, 0);
        Ok(())
    }

    fn counted(&mut self, number: Number, value: u32) -> Result<(), Undecodable> {
        self.at = match number {
            Number::Field => {
                let field = self.table.get(value)?;
                self.block.has_pseudo |= field.name.is_pseudo;
                self.block.has_fragment |= field.has_fragment;
                At::Field
            }
            Number::Name => {
                if value > 0 {
                    self.named(self.table.get(value)?.name);
                }
                At::Length
            }
            Number::Size => {
                self.table.resize(value)?;
                At::Field
            }
            Number::Length(_) if value == 0 => {
                self.string_ends();
                return Ok(());
            }
            Number::Length(false) => At::Plain(value),
            Number::Length(true) => At::Coded(value, Huffman::default()),
        };
        Ok(())
    }

    fn named(&mut self, name: Name) {
        self.block.has_pseudo |= name.is_pseudo;
        self.literal.name = Some(name);
    }

    fn string_ends(&mut self) {
        let Literal {
            is_kept,
            name,
            is_pseudo,
            has_hash,
            length,
        } = self.literal;
        self.at = match name {
            None => {
                self.named(Name { length, is_pseudo });
                At::Length
            }
            Some(name) => {
                let has_fragment = name.is_path() && has_hash;
                self.block.has_fragment |= has_fragment;
                if is_kept {
                    self.table.keep(name, length, has_fragment);
                }
                At::Field
            }
        };
    }
}

impl Literal {
    /// Reads a piece of a string of so many symbols; it begins with a colon or not.
    fn read(&mut self, symbols: u32, colon: bool) {
        if self.length == 0 {
            self.is_pseudo = colon;
        }
        self.length = self.length.saturating_add(symbols);
    }

    /// Whether the string at hand is the value of a `:path`.
    fn is_path(&self) -> bool {
        self.name.is_some_and(Name::is_path)
    }
}

#[cfg(test)]
mod tests;
