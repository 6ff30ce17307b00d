//! The file as a tree of values with their places: TOML parsed, `${NAME}` replaced.
//!
//! The only user of the `toml` crate. Knows nothing of keys and their meaning.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Id, Span};

/// Looks an environment variable up.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) node: Node,
    pub(super) span: Span,
}

/// What TOML can say.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(Text),
    /// `None`: does not fit 64 bits.
    Integer(Option<i64>),
    Float(f64),
    Bool(bool),
    Datetime,
    Array(Vec<Value>),
    /// In the order of the file.
    Table(Vec<(Key, Value)>),
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) span: Span,
}

/// A string after `${NAME}` was replaced.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) value: String,
    /// What stands in the file, where that is something else: values from the environment are
    /// never shown.
    pub(super) written: Option<String>,
}

impl Text {
    /// The text to quote in a message.
    pub(super) fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.value)
    }
}

impl Node {
    /// What it is, for messages.
    pub(super) const fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Bool(_) => "a boolean",
            Self::Datetime => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// Parses a file; `None` when it is not TOML.
pub(super) fn parse(text: &str, env: Env<'_>, problems: &mut Vec<Diagnostic>) -> Option<Value> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        problems.extend(errors.iter().map(|error| Diagnostic {
            id: Id::Syntax,
            span: error.span(),
            message: error.message().to_owned(),
            help: None,
        }));
        return None;
    }
    let mut builder = Builder {
        text,
        env,
        problems,
    };
    let span = table.span();
    Some(Value {
        node: builder.table(table.get_ref()),
        span,
    })
}

struct Builder<'b> {
    text: &'b str,
    env: Env<'b>,
    problems: &'b mut Vec<Diagnostic>,
}

impl Builder<'_> {
    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Value {
        let span = value.span();
        let node = match value.get_ref() {
            DeValue::String(text) => Node::Text(self.substitute(text, &span)),
            DeValue::Integer(digits) => {
                Node::Integer(i64::from_str_radix(digits.as_str(), digits.radix()).ok())
            }
            // TOML's floats are a subset of what `f64` reads.
            DeValue::Float(digits) => Node::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Node::Bool(*value),
            DeValue::Datetime(_) => Node::Datetime,
            DeValue::Array(items) => {
                Node::Array(items.iter().map(|item| self.value(item)).collect())
            }
            DeValue::Table(table) => self.table(table),
        };
        Value { node, span }
    }

    fn table(&mut self, table: &DeTable<'_>) -> Node {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let key = Key {
                    name: key.get_ref().to_string(),
                    span: key.span(),
                };
                (key, self.value(value))
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        Node::Table(entries)
    }

    /// Replaces `${NAME}` and `${NAME:-default}`; `$${` stands for `${`.
    fn substitute(&mut self, text: &str, span: &Span) -> Text {
        let mut value = String::with_capacity(text.len());
        let mut rest = text;
        let mut nth = 0;
        while let Some((before, after)) = rest.split_once("${") {
            value.push_str(before);
            rest = after;
            if before.ends_with('$') {
                value.push('{');
            } else {
                match self.variable(after) {
                    Ok((found, after)) => {
                        value.push_str(&found);
                        rest = after;
                    }
                    Err((id, message, help)) => {
                        self.problems.push(Diagnostic {
                            id,
                            span: Some(self.place(text, span, nth)),
                            message,
                            help: Some(help),
                        });
                    }
                }
            }
            nth += 1;
        }
        value.push_str(rest);
        Text {
            value,
            written: (nth > 0).then(|| text.to_owned()),
        }
    }

    /// The value of the variable that `text`, which follows a `${`, begins with; and what is left.
    fn variable<'t>(&self, text: &'t str) -> Result<(String, &'t str), (Id, String, String)> {
        let bad = |message: &str| {
            let help = "write `${NAME}` or `${NAME:-default}`, and `$${` for a literal `${`";
            (Id::BadSubstitution, message.to_owned(), help.to_owned())
        };
        let (inside, after) = text
            .split_once('}')
            .ok_or_else(|| bad("`${` without a closing `}`"))?;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty()
            || !name.chars().all(plain)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(bad("`${…}` names no environment variable"));
        }
        // As in a shell, `:-` also replaces an empty value.
        let found = match ((self.env)(name), default) {
            (Some(found), Some(default)) if found.is_empty() => default.to_owned(),
            (Some(found), _) => found,
            (None, Some(default)) => default.to_owned(),
            (None, None) => {
                return Err((
                    Id::UndefinedVariable,
                    format!("environment variable `{name}` is not defined"),
                    format!("define it, or give a default: `${{{name}:-default}}`"),
                ));
            }
        };
        Ok((found, after))
    }

    /// Where the `nth` `${` of a string stands. With escapes in the string the file has other
    /// text than the value, but as many `${`; where not even that holds, the whole string.
    fn place(&self, value: &str, span: &Span, nth: usize) -> Span {
        let source = self.text.get(span.clone()).unwrap_or("");
        if source.matches("${").count() != value.matches("${").count() {
            return span.clone();
        }
        match source.match_indices("${").nth(nth) {
            Some((at, _)) => {
                let tail = source.get(at..).unwrap_or("");
                let length = tail.find('}').map_or(2, |end| end + 1);
                span.start + at..span.start + at + length
            }
            None => span.clone(),
        }
    }
}
