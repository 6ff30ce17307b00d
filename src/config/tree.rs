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
    /// A string with a `${…}` that could not be replaced, which is reported already.
    Broken,
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
            Self::Text(_) | Self::Broken => "a string",
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
        syntax(text, &errors, problems);
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

/// Reports what the parser found: the first of each line, the others mostly follow from it.
fn syntax(text: &str, errors: &[toml::de::Error], problems: &mut Vec<Diagnostic>) {
    let mut last_line = None;
    for error in errors {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        if last_line.replace(line_start) == Some(line_start) {
            continue;
        }
        let line = text.get(line_start..).and_then(|rest| rest.lines().next());
        let value = line
            .and_then(|line| line.split_once('='))
            .map(|(_, value)| value.trim_start());
        let bare = value.is_some_and(|value| value.starts_with(|c: char| c.is_alphanumeric()));
        problems.push(Diagnostic {
            id: Id::Syntax,
            span: error.span(),
            message: error.message().to_owned(),
            help: bare.then(|| "strings, durations and addresses stand in quotes".to_owned()),
        });
    }
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
            DeValue::String(text) => self
                .substitute(text, &span)
                .map_or(Node::Broken, Node::Text),
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
    fn substitute(&mut self, text: &str, span: &Span) -> Option<Text> {
        let known = self.problems.len();
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
                        let mut place = self.place(text, span, nth);
                        if id == Id::BadSubstitution {
                            place.end = place.start + "${".len();
                        }
                        self.problems.push(Diagnostic {
                            id,
                            span: Some(place),
                            message,
                            help: Some(help),
                        });
                    }
                }
            }
            nth += 1;
        }
        value.push_str(rest);
        let written = (nth > 0).then(|| text.to_owned());
        (self.problems.len() == known).then_some(Text { value, written })
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
