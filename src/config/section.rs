//! A table of the file, checked against the table of keys: every value has its type and range.
//!
//! Knows keys one at a time; what they mean together is [`super::validate`]'s.

use std::collections::BTreeMap;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Id, Span, did_you_mean, suggest};
use super::model::Endpoint;
use super::raw::{Default, Kind, Table};
use super::tree::{self, Node, Value};
use super::value::{self, Invalid, Scheme};
use crate::net::Address;
use crate::resilience::breaker::Window;

/// A value of the right type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Setting {
    /// `true` or `false`.
    Bool(bool),
    /// An integer; `None` is the word that the key also takes.
    Integer(Option<u64>),
    /// A number; `None` is the word that the key also takes.
    Number(Option<f64>),
    /// A duration, or a time since the Unix epoch; `None` is `"off"`.
    Duration(Option<Duration>),
    /// A breaker's window.
    Window(Window),
    /// One of the key's words.
    Word(&'static str),
    /// A string.
    Text(String),
    /// An address; `None` is `"off"`.
    Address(Option<Address>),
    /// An endpoint.
    Endpoint(Scheme, Endpoint),
    /// An inclusive range of statuses.
    Statuses(u16, u16),
    /// Name and value of a header field.
    Field(String, String),
    /// SHA-256 of a public key.
    Pin([u8; 32]),
    /// An array of any of these.
    List(Vec<Self>),
    /// A table; `None` is `false` in place of one that has no `mode`.
    Section(Option<Section>),
    /// Tables, named or in an array.
    Sections(Vec<Section>),
}

/// A setting and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Located {
    pub(super) setting: Setting,
    pub(super) span: Span,
}

/// The settings of one table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Section {
    /// The last part of `[upstreams.NAME]`; empty elsewhere.
    pub(super) name: String,
    /// The name, the key or the table.
    pub(super) span: Span,
    settings: BTreeMap<&'static str, Located>,
    /// Keys that the file has with a value that is not valid, or that it seems to misspell.
    broken: Vec<&'static str>,
}

impl Section {
    /// Whether the file has the key, valid or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.settings.contains_key(key) || self.broken.contains(&key)
    }

    /// The keys that the file has and that are valid, with their places.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'static str, &Span)> {
        let settings = self.settings.iter();
        settings.map(|(key, located)| (*key, &located.span))
    }

    /// Whether the file tries to set the key, and fails.
    pub(super) fn is_broken(&self, key: &str) -> bool {
        self.broken.contains(&key)
    }

    /// What `false` stands for in place of a table: its `mode` off, if it has one.
    fn switched_off(table: &'static Table, span: &Span) -> Option<Self> {
        let mode = table.key("mode")?;
        let setting = Setting::Word("off");
        let span = span.clone();
        Some(Self {
            name: String::new(),
            span: span.clone(),
            settings: BTreeMap::from([(mode.name, Located { setting, span })]),
            broken: Vec::new(),
        })
    }

    /// The setting of a key, if the file has it and it is valid.
    pub(super) fn get(&self, key: &str) -> Option<&Located> {
        self.settings.get(key)
    }
}

/// Checks a table of the file.
pub(super) fn check(
    entries: &[(tree::Key, Value)],
    table: &'static Table,
    span: Span,
    problems: &mut Vec<Diagnostic>,
) -> Section {
    let section = check_present(entries, table, span, problems);
    for key in table.keys {
        if let Default::Required(example) = key.default
            && !section.has(key.name)
        {
            problems.push(Diagnostic {
                id: Id::MissingKey,
                span: Some(section.span.clone()),
                message: format!("`{}` is missing", key.name),
                help: Some(format!("add `{} = {example}`", key.name)),
            });
        }
    }
    section
}

/// As [`check`], without a look at what is missing.
fn check_present(
    entries: &[(tree::Key, Value)],
    table: &'static Table,
    span: Span,
    problems: &mut Vec<Diagnostic>,
) -> Section {
    let mut settings = BTreeMap::new();
    let mut broken = Vec::new();
    for (written, value) in entries {
        let Some(key) = table.key(&written.name) else {
            problems.push(unknown_key(written, table));
            broken.extend(did_you_mean(
                &written.name,
                table.keys.iter().map(|key| key.name),
            ));
            continue;
        };
        if let Some(setting) = check_value(written, value, &key.kind, problems) {
            let span = match &setting {
                // The span of a table written in several parts covers only one of them.
                Setting::Section(_) | Setting::Sections(_) => written.span.clone(),
                _ => value.span.clone(),
            };
            settings.insert(key.name, Located { setting, span });
        } else {
            broken.push(key.name);
        }
    }
    Section {
        name: String::new(),
        span,
        settings,
        broken,
    }
}

/// The defaults of a table's keys, as if the file had them.
pub(super) fn defaults(table: &'static Table, problems: &mut Vec<Diagnostic>) -> Section {
    let text: String = table
        .keys
        .iter()
        .filter_map(|key| match key.default {
            Default::Value(value) => Some(format!("{} = {value}\n", key.name)),
            _ => None,
        })
        .collect();
    let entries = match tree::parse(&text, &|_| None, problems).map(|value| value.node) {
        Some(Node::Table(entries)) => entries,
        _ => Vec::new(),
    };
    let mut section = check_present(&entries, table, 0..0, problems);
    for located in section.settings.values_mut() {
        located.span = 0..0;
    }
    section
}

fn unknown_key(written: &tree::Key, table: &'static Table) -> Diagnostic {
    let names = || table.keys.iter().map(|key| key.name);
    // A key of a sub-table, written one level too high.
    let below = table.keys.iter().find(|key| {
        key.kind
            .policy()
            .is_some_and(|below| below.key(&written.name).is_some())
    });
    let help = match (did_you_mean(&written.name, names()), below) {
        (None, Some(key)) => format!("`{}` belongs in the table `{}`", written.name, key.name),
        _ => suggest(&written.name, names()),
    };
    Diagnostic {
        id: Id::UnknownKey,
        span: Some(written.span.clone()),
        message: format!("unknown key `{}` in {}", written.name, table.title),
        help: Some(help),
    }
}

fn check_value(
    key: &tree::Key,
    value: &Value,
    kind: &'static Kind,
    problems: &mut Vec<Diagnostic>,
) -> Option<Setting> {
    match (kind, &value.node) {
        (
            Kind::Table(table) | Kind::Switch(table) | Kind::Optional(table),
            Node::Table(entries),
        ) => Some(Setting::Section(Some(check(
            entries,
            table,
            key.span.clone(),
            problems,
        )))),
        (Kind::Switch(table) | Kind::Optional(table), Node::Bool(false)) => {
            Some(Setting::Section(Section::switched_off(table, &value.span)))
        }
        (Kind::Named(table), Node::Table(entries)) => {
            let valid: Vec<_> = entries
                .iter()
                .filter_map(|(name, value)| named(name, value, table, problems))
                .collect();
            (entries.is_empty() || !valid.is_empty()).then_some(Setting::Sections(valid))
        }
        (Kind::Tables(table), Node::Array(items)) => Some(Setting::Sections(
            items
                .iter()
                .filter_map(|item| match &item.node {
                    Node::Table(entries) => {
                        Some(check(entries, table, item.span.clone(), problems))
                    }
                    node => {
                        problems.push(wrong_type(&key.name, item, node, "a table", None));
                        None
                    }
                })
                .collect(),
        )),
        (Kind::List(kind), Node::Array(items)) => {
            let valid: Vec<_> = items
                .iter()
                .filter_map(|item| check_value(key, item, kind, problems))
                .collect();
            (valid.len() == items.len()).then_some(Setting::List(valid))
        }
        (_, Node::Broken) => None,
        (kind, node) => match scalar(kind, node) {
            Some(Ok(setting)) => Some(setting),
            Some(Err(invalid)) => {
                // What to write instead may quote the value, and the environment is not shown.
                let help = environment_help(node, kind).unwrap_or(invalid.help);
                problems.push(Diagnostic {
                    id: invalid.id,
                    span: Some(value.span.clone()),
                    message: format!("`{}`: {}", key.name, invalid.message),
                    help: Some(help),
                });
                None
            }
            None => {
                let form = kind.form();
                let help =
                    environment_help(node, kind).or_else(|| kind.wrong_type_help(&key.name, node));
                problems.push(wrong_type(&key.name, value, node, &form, help));
                None
            }
        },
    }
}

fn environment_help(node: &Node, kind: &Kind) -> Option<String> {
    match node {
        Node::Text(text) if text.written.is_some() => Some(format!(
            "with the environment replaced, it must be {}",
            kind.form()
        )),
        _ => None,
    }
}

fn named(
    name: &tree::Key,
    value: &Value,
    table: &'static Table,
    problems: &mut Vec<Diagnostic>,
) -> Option<Section> {
    if let Err(invalid) = value::name(&name.name) {
        problems.push(Diagnostic {
            id: invalid.id,
            span: Some(name.span.clone()),
            message: invalid.message,
            help: Some(invalid.help),
        });
    }
    let Node::Table(entries) = &value.node else {
        problems.push(wrong_type(&name.name, value, &value.node, "a table", None));
        return None;
    };
    let mut section = check(entries, table, name.span.clone(), problems);
    section.name.clone_from(&name.name);
    Some(section)
}

fn wrong_type(
    key: &str,
    value: &Value,
    node: &Node,
    expected: &str,
    help: Option<String>,
) -> Diagnostic {
    Diagnostic {
        id: Id::WrongType,
        span: Some(value.span.clone()),
        message: format!("`{key}` takes {expected}, not {}", node.describe()),
        help,
    }
}

/// Reads a value that is no table and no array; `None` is a value of the wrong type.
fn scalar(kind: &'static Kind, node: &Node) -> Option<Result<Setting, Invalid>> {
    let substituted;
    let node = match node {
        // What comes from the environment is always a string: read it as TOML would have it.
        Node::Text(text) if text.written.is_some() => {
            substituted = kind.retyped(&text.value).unwrap_or_else(|| node.clone());
            &substituted
        }
        node => node,
    };
    Some(match (kind, node) {
        (Kind::Bool, Node::Bool(value)) => Ok(Setting::Bool(*value)),
        (Kind::Integer { min, max, .. }, Node::Integer(number)) => number
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| (*min..=*max).contains(number))
            .map(|number| Setting::Integer(Some(number)))
            .ok_or_else(|| out_of_range(kind)),
        (
            Kind::Integer {
                word: Some(word), ..
            },
            Node::Text(text),
        ) if text.value == *word => Ok(Setting::Integer(None)),
        (Kind::Number { .. }, Node::Integer(number)) => {
            // Six digits are exact, and no range is wider.
            let number = number.and_then(|number| i32::try_from(number).ok());
            number_in_range(kind, number.map_or(f64::NAN, f64::from))
        }
        (Kind::Number { .. }, Node::Float(number)) => number_in_range(kind, *number),
        (
            Kind::Number {
                word: Some(word), ..
            },
            Node::Text(text),
        ) if text.value == *word => Ok(Setting::Number(None)),
        (Kind::Duration { off: true, .. }, Node::Text(text)) if text.value == "off" => {
            Ok(Setting::Duration(None))
        }
        (Kind::Duration { zero, .. }, Node::Text(text)) => match value::duration(&text.value) {
            Ok(duration) if duration.is_zero() && !zero => Err(zero_duration(kind)),
            Ok(duration) => Ok(Setting::Duration(Some(duration))),
            Err(invalid) => Err(invalid),
        },
        (Kind::Between(min, max), Node::Text(text)) => match value::duration(&text.value) {
            Ok(duration) if (*min..=*max).contains(&duration) => {
                Ok(Setting::Duration(Some(duration)))
            }
            Ok(_) => Err(out_of_range(kind)),
            Err(invalid) => Err(invalid),
        },
        (Kind::Duration { .. } | Kind::Between(..), Node::Integer(number)) => {
            let number = number.unwrap_or_default();
            Err(Invalid::new(
                Id::BadDuration,
                "a duration needs a unit",
                format!("write `\"{number}s\"` for seconds"),
            ))
        }
        (
            Kind::Size {
                word: Some(word), ..
            },
            Node::Text(text),
        ) if text.value == *word => Ok(Setting::Integer(None)),
        (Kind::Size { min, max, .. }, Node::Text(text)) => match value::size(&text.value) {
            Ok(size) if (*min..=*max).contains(&size) => Ok(Setting::Integer(Some(size))),
            Ok(_) => Err(out_of_range(kind)),
            Err(invalid) => Err(invalid),
        },
        (Kind::Size { .. }, Node::Integer(number)) => Err(value::bare_size(
            number
                .and_then(|number| u64::try_from(number).ok())
                .unwrap_or_default(),
        )),
        (Kind::Window, Node::Integer(number)) => number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|calls| (1..=100_000).contains(calls))
            .map(|calls| Setting::Window(Window::Calls(calls)))
            .ok_or_else(|| out_of_range(kind)),
        (Kind::Window, Node::Text(text)) => value::duration(&text.value).and_then(|duration| {
            u32::try_from(duration.as_secs())
                .ok()
                .filter(|seconds| (1..=3600).contains(seconds) && duration.subsec_nanos() == 0)
                .map(|seconds| Setting::Window(Window::Seconds(seconds)))
                .ok_or_else(|| out_of_range(kind))
        }),
        (Kind::Status(_), Node::Integer(number)) => {
            value::statuses(&number.unwrap_or_default().to_string())
        }
        (Kind::Status(words), Node::Text(text)) => match word(words, &text.value) {
            Some(word) => Ok(word),
            None if words.is_empty() || text.value.starts_with(|c: char| c.is_ascii_digit()) => {
                value::statuses(&text.value)
            }
            None => Err(unknown_word(words, text)),
        },
        (Kind::Word(words), Node::Text(text)) => {
            word(words, &text.value).ok_or_else(|| unknown_word(words, text))
        }
        (Kind::Text(form), Node::Text(text)) => (form.parse)(&text.value),
        _ => return None,
    })
}

fn word(words: &[&'static str], text: &str) -> Option<Setting> {
    let word = words.iter().find(|word| **word == text)?;
    Some(Setting::Word(word))
}

fn unknown_word(words: &[&'static str], text: &tree::Text) -> Invalid {
    Invalid::new(
        Id::UnknownWord,
        "unknown word",
        suggest(text.shown(), words.iter().copied()),
    )
}

fn number_in_range(kind: &Kind, number: f64) -> Result<Setting, Invalid> {
    match kind {
        Kind::Number { min, max, .. } if (*min..=*max).contains(&number) => {
            Ok(Setting::Number(Some(number)))
        }
        Kind::Number { max: 1.0, .. } if (1.0..=100.0).contains(&number) => Err(Invalid::new(
            Id::OutOfRange,
            "out of range",
            format!("shares go up to 1: {number} % is `{}`", number / 100.0),
        )),
        _ => Err(out_of_range(kind)),
    }
}

fn out_of_range(kind: &Kind) -> Invalid {
    Invalid::new(
        Id::OutOfRange,
        "out of range",
        format!("takes {}", kind.form()),
    )
}

fn zero_duration(kind: &Kind) -> Invalid {
    let help = match kind {
        Kind::Duration { off: true, .. } => "write `\"off\"` to switch it off",
        _ => "the shortest is `\"1us\"`",
    };
    Invalid::new(Id::BadDuration, "zero makes no sense here", help)
}
