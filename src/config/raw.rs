//! The table of keys: what may be written, of which type, with which default.
//!
//! The one place that declares a key. Reading, unknown-key detection, the built-in defaults, the
//! example file and the manual's reference all follow from it.

mod keys;
mod policies;
mod protocols;

pub use keys::{
    ACCESS_LOG, ADMIN, DEFAULTS, DISCOVERY, DNS, LISTENER, LOG, METRICS, ROOT, ROUTE, RUNTIME,
    UPSTREAM,
};
pub use policies::{
    ADAPTIVE, BACKOFF, BALANCE, BREAKER, BUDGET, BULKHEAD, CLASS, DOWNSTREAM, EJECTION, FALLBACK,
    FAULT, HEDGE, PRIORITY, RATE_LIMIT, RETRY, TIMEOUTS,
};
pub use protocols::{
    DOWNSTREAM_HTTP2, FORWARD, FORWARDING, HTTP2, LISTENER_TLS, MAX_CONNECTION_WINDOW, UPSTREAM_TLS,
};

use std::time::Duration;

use super::section::Setting;
use super::tree::Node;
use super::value::{Invalid, show_duration};

/// A table of the file.
#[derive(Debug)]
pub struct Table {
    /// How messages and the manual call it.
    pub title: &'static str,
    /// What it is for: sentences.
    pub doc: &'static str,
    /// What may stand in it.
    pub keys: &'static [Key],
}

impl Table {
    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds where the file is silent.
    pub default: Default,
    /// What it does: one sentence, or few.
    pub doc: &'static str,
}

/// What holds where the file is silent.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// This value, as TOML.
    Value(&'static str),
    /// Something that follows from other values, in words; and an example, as TOML.
    Derived(&'static str, &'static str),
    /// Nothing: the key must be given; and an example, as TOML.
    Required(&'static str),
    /// Nothing: a table.
    Table,
}

/// What a key takes.
#[derive(Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// An integer in a range, or a word.
    Integer {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
        /// `"off"` or `"auto"`, where the key takes it.
        word: Option<&'static str>,
    },
    /// A number in a range, or a word.
    Number {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
        /// `"off"`, where the key takes it.
        word: Option<&'static str>,
    },
    /// A duration with its unit.
    Duration {
        /// Whether zero makes sense.
        zero: bool,
        /// Whether `"off"` does.
        off: bool,
    },
    /// A duration with its unit, in a range.
    Between(Duration, Duration),
    /// A size with its unit, in a range of bytes, or a word.
    Size {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
        /// `"off"`, where the key takes it.
        word: Option<&'static str>,
    },
    /// A number of calls, or a duration.
    Window,
    /// A status, or a range of statuses, or one of these words.
    Status(&'static [&'static str]),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A string of some form.
    Text(Form),
    /// An array.
    List(&'static Self),
    /// A table.
    Table(&'static Table),
    /// A table that acts with its defaults where it is not written, or `false`.
    Switch(&'static Table),
    /// A table that acts only where it is written, or `false`.
    Optional(&'static Table),
    /// Tables by name.
    Named(&'static Table),
    /// An array of tables.
    Tables(&'static Table),
}

/// A form of strings.
#[derive(Debug)]
pub struct Form {
    /// What it is called.
    pub name: &'static str,
    pub(super) parse: fn(&str) -> Result<Setting, Invalid>,
}

impl Kind {
    /// What the key takes, for messages and the manual.
    pub fn form(&self) -> String {
        let or = |form: String, word: &Option<&str>| match word {
            Some(word) => format!("{form}, or `\"{word}\"`"),
            None => form,
        };
        match self {
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Integer { min, max, word } => or(format!("an integer from {min} to {max}"), word),
            Self::Number { min, max, word } => or(format!("a number from {min} to {max}"), word),
            Self::Duration { zero, off } => or(
                "a duration".to_owned(),
                &off.then_some("off").or_else(|| zero.then_some("0s")),
            ),
            Self::Between(min, max) => format!(
                "a duration from `\"{}\"` to `\"{}\"`",
                show_duration(*min),
                show_duration(*max)
            ),
            Self::Size { min, max, word } => or(
                format!("a size from {} to {}", show_size(*min), show_size(*max)),
                word,
            ),
            Self::Window => {
                "whole seconds from `\"1s\"` to `\"1h\"`, or a number of calls from 1 to 100000"
                    .to_owned()
            }
            Self::Status(words) => {
                let status = "a status or a range of statuses such as `\"500-599\"`";
                match words {
                    [] => status.to_owned(),
                    words => format!("{status}, or {}", any_of(words)),
                }
            }
            Self::Word(words) => any_of(words),
            Self::Text(form) => form.name.to_owned(),
            Self::List(item) => format!("an array, each item {}", item.form()),
            Self::Table(_) | Self::Named(_) => "a table".to_owned(),
            Self::Switch(_) | Self::Optional(_) => "a table or `false`".to_owned(),
            Self::Tables(_) => "an array of tables".to_owned(),
        }
    }

    /// The table that begins at this key.
    pub const fn below(&self) -> Option<&'static Table> {
        match self {
            Self::Table(table)
            | Self::Switch(table)
            | Self::Optional(table)
            | Self::Named(table)
            | Self::Tables(table) => Some(table),
            _ => None,
        }
    }

    /// The single table that a key written one level too high may belong to.
    pub(super) const fn policy(&self) -> Option<&'static Table> {
        match self {
            Self::Table(table) | Self::Switch(table) | Self::Optional(table) => Some(table),
            _ => None,
        }
    }

    /// What to write instead of a value of the wrong type.
    pub(super) fn wrong_type_help(&self, key: &str, node: &Node) -> Option<String> {
        match (self, node) {
            (Self::Tables(_), Node::Table(_)) => Some(format!("write `[[{key}]]`")),
            (Self::Named(_), Node::Array(_)) => Some(format!("write `[{key}.NAME]`")),
            (Self::Switch(_), Node::Bool(true)) => {
                Some("leave the key away: it is on unless switched off".to_owned())
            }
            (Self::Optional(_), Node::Bool(true)) => Some(format!(
                "write what it is to do in a table `{key} = {{ .. }}`"
            )),
            (Self::List(_), Node::Text(text)) => Some(format!("write `[\"{}\"]`", text.shown())),
            (Self::List(_), Node::Integer(Some(number))) => Some(format!("write `[{number}]`")),
            (Self::Integer { .. } | Self::Number { .. } | Self::Bool, Node::Text(text)) => self
                .retyped(text.shown())
                .map(|_| format!("write it without quotes: `{}`", text.shown())),
            (Self::Text(_), Node::Datetime) => Some("write it in quotes".to_owned()),
            (Self::Text(form), Node::Integer(Some(number))) => {
                match (form.parse)(&number.to_string()) {
                    Ok(_) => Some(format!("write `\"{number}\"`")),
                    Err(invalid) => Some(invalid.help),
                }
            }
            _ => None,
        }
    }

    /// The string as a number or boolean, where the key takes one.
    pub(super) fn retyped(&self, text: &str) -> Option<Node> {
        let integer = || text.parse().ok().map(|number| Node::Integer(Some(number)));
        match self {
            Self::Integer { .. } | Self::Window | Self::Status(_) => integer(),
            Self::Number { .. } => integer().or_else(|| text.parse().ok().map(Node::Float)),
            Self::Bool => text.parse().ok().map(Node::Bool),
            _ => None,
        }
    }
}

/// In the largest unit that fits.
fn show_size(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{} {unit}", bytes / size);
        }
    }
    format!("{bytes} B")
}

fn any_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

const fn key(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
    }
}

/// A key that is a table.
const fn group(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    key(name, kind, Default::Table, doc)
}

const fn form(name: &'static str, parse: fn(&str) -> Result<Setting, Invalid>) -> Kind {
    Kind::Text(Form { name, parse })
}

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer {
        min,
        max,
        word: None,
    }
}

const fn integer_or(word: &'static str, min: u64, max: u64) -> Kind {
    Kind::Integer {
        min,
        max,
        word: Some(word),
    }
}

const fn number(min: f64, max: f64) -> Kind {
    Kind::Number {
        min,
        max,
        word: None,
    }
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size {
        min,
        max,
        word: None,
    }
}

const fn size_or(word: &'static str, min: u64, max: u64) -> Kind {
    Kind::Size {
        min,
        max,
        word: Some(word),
    }
}

const RATIO: Kind = number(0.0, 1.0);

const DURATION: Kind = Kind::Duration {
    zero: false,
    off: false,
};

const DURATION_OR_ZERO: Kind = Kind::Duration {
    zero: true,
    off: false,
};

const DURATION_OR_OFF: Kind = Kind::Duration {
    zero: false,
    off: true,
};
