//! Problems of a configuration file, and how they are shown.
//!
//! All problems of a file are collected and shown together, each with a stable id, the place, and
//! what to do about it. Values that came from the environment are never part of a message.

use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::json;

/// A byte range of the file.
pub type Span = Range<usize>;

/// Declares the kinds of problems: name, severity, stable word, meaning.
macro_rules! ids {
    ($($name:ident, $severity:ident, $word:literal: $meaning:literal;)*) => {
        /// What kind of problem it is; its word is stable, so that scripts may rely on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Id {
            $(#[doc = $meaning] $name,)*
        }

        impl Id {
            /// Every id.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// How bad it is.
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }

            /// What it means, for the manual.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }
        }
    };
}

ids! {
    UnreadableFile, Error, "unreadable-file": "The file cannot be read, or is not UTF-8.";
    Syntax, Error, "syntax": "The text is not TOML.";
    UnknownKey, Error, "unknown-key": "A key that is not known here.";
    MissingKey, Error, "missing-key": "A required key is absent.";
    ConflictingKeys, Error, "conflicting-keys": "Keys that exclude each other.";
    WrongType, Error, "wrong-type": "A value of another type than the key takes.";
    OutOfRange, Error, "out-of-range": "A number outside its range.";
    UnknownWord, Error, "unknown-word": "A string that is none of the words the key takes.";
    BadDuration, Error, "bad-duration": "A string that is no duration, or a duration that makes no sense here.";
    BadSize, Error, "bad-size": "A string that is no size.";
    BadAddress, Error, "bad-address": "A string that is no `address:port` or `unix:/path`.";
    BadEndpoint, Error, "bad-endpoint": "A string that names no endpoint.";
    BadName, Error, "bad-name": "A name that cannot be a label.";
    BadHost, Error, "bad-host": "A host, or host pattern, that cannot match.";
    BadPath, Error, "bad-path": "A path prefix that cannot match.";
    BadMethod, Error, "bad-method": "A method that is no upper-case token.";
    BadHeader, Error, "bad-header": "A header field name that cannot be used.";
    BadUpgrade, Error, "bad-upgrade": "A protocol that no connection can be upgraded to.";
    BadFile, Error, "bad-file": "A string that names no file.";
    UnusableFile, Error, "unusable-file": "A certificate, key or root that is not there or cannot be used.";
    BadPin, Error, "bad-pin": "A string that is no pin of a public key.";
    BadTarget, Error, "bad-target": "A pattern of targets, or a network, that cannot match.";
    BadStatus, Error, "bad-status": "A status, or range of statuses, that HTTP does not have.";
    BadTime, Error, "bad-time": "A string that is no point in time.";
    BadLogLevel, Error, "bad-log-level": "A log filter that cannot be read.";
    BadSubstitution, Error, "bad-substitution": "A `${…}` that cannot be read.";
    UndefinedVariable, Error, "undefined-variable": "An environment variable that is not defined.";
    AdminNotLoopback, Error, "admin-not-loopback": "The admin listener would be reachable from outside.";
    DuplicateAddress, Error, "duplicate-address": "Two sockets on one address.";
    DuplicateName, Error, "duplicate-name": "Two listeners, or two routes of a listener, with one name.";
    UnknownUpstream, Error, "unknown-upstream": "A route or `failover` to an upstream that is not defined.";
    UnknownClass, Error, "unknown-class": "A class of requests that is not defined.";
    FailoverLoop, Error, "failover-loop": "Upstreams that stand in for each other.";
    UnreachableRoute, Error, "unreachable-route": "A route that an earlier one hides.";
    ListenerWithoutRoutes, Error, "listener-without-routes": "A listener that cannot answer anything.";
    NoListener, Error, "no-listener": "A file that listens nowhere.";
    ConflictingValues, Error, "conflicting-values": "Values that contradict each other.";
    SlowCallTooLong, Warning, "slow-call-too-long": "The slow threshold can never be reached.";
    UnusedUpstream, Warning, "unused-upstream": "An upstream that nothing leads to.";
    UnusedKey, Warning, "unused-key": "A key that does nothing beside the others.";
    FaultOver, Warning, "fault-over": "A fault whose time is past.";
    SuspiciousHost, Warning, "suspicious-host": "A literal host that looks like a misspelt word.";
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is not usable.
    Error,
    /// It is usable, but probably not what was meant.
    Warning,
}

impl Severity {
    /// The word for people and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of problem.
    pub id: Id,
    /// Where; `None` is the file as a whole.
    pub span: Option<Span>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// All problems of one file, in the order of their places, with the text that they point into.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    file: String,
    text: String,
    items: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Collects the problems of `file`; each is kept once and its place cut to fit `text`.
    pub(super) fn new(file: &str, text: &str, found: Vec<Diagnostic>) -> Self {
        let mut items: Vec<Diagnostic> = Vec::with_capacity(found.len());
        for mut item in found {
            item.span = item.span.map(|span| fit(text, &span));
            if !items.contains(&item) {
                items.push(item);
            }
        }
        items.sort_by_key(|item| item.span.as_ref().map_or(usize::MAX, |span| span.start));
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            items,
        }
    }

    /// The problems, in the order of their places.
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// Whether there is no problem at all, not even a warning.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many errors and how many warnings there are.
    pub fn count(&self) -> (usize, usize) {
        let errors = self
            .items
            .iter()
            .filter(|item| item.id.severity() == Severity::Error)
            .count();
        (errors, self.items.len() - errors)
    }

    /// Shows the problems to people: place, line, caret, help; one block each.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        for item in &self.items {
            out.push_str(&renderer.render(&[self.group(item)]));
            out.push_str("\n\n");
        }
        out
    }

    fn group<'a>(&'a self, item: &'a Diagnostic) -> Group<'a> {
        let level = match item.id.severity() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&item.message).id(item.id.as_str());
        let group = match &item.span {
            Some(span) => title.element(
                Snippet::source(&self.text)
                    .path(&self.file)
                    .annotation(AnnotationKind::Primary.span(span.clone())),
            ),
            None => title.element(Origin::path(&self.file)),
        };
        match &item.help {
            Some(help) => group.element(Level::HELP.message(help)),
            None => group,
        }
    }

    /// Shows the problems to programs: a JSON array of objects; lines and columns count from 1,
    /// columns in characters, and the end is exclusive. Without a place all four are null.
    pub fn to_json(&self) -> String {
        let items: Vec<_> = self
            .items
            .iter()
            .map(|item| {
                let place = item.span.as_ref().map(|span| {
                    (
                        position(&self.text, span.start),
                        position(&self.text, span.end),
                    )
                });
                json!({
                    "file": self.file,
                    "line": place.map(|(start, _)| start.0),
                    "column": place.map(|(start, _)| start.1),
                    "end_line": place.map(|(_, end)| end.0),
                    "end_column": place.map(|(_, end)| end.1),
                    "id": item.id.as_str(),
                    "severity": item.id.severity().as_str(),
                    "message": item.message,
                    "help": item.help,
                })
            })
            .collect();
        format!("{:#}\n", serde_json::Value::Array(items))
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// Cuts a span to the text and to whole characters.
fn fit(text: &str, span: &Span) -> Span {
    let start = floor(text, span.start);
    start..floor(text, span.end).max(start)
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Line and column of a byte offset, both from 1, the column in characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
    (line, column)
}

/// What the author may have meant, for a help line.
pub(super) fn did_you_mean<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase();
    let allowed = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|word| {
            (
                strsim::damerau_levenshtein(&written, &word.to_lowercase()),
                word,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// A help line for a word that is not among the known ones.
pub(super) fn suggest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match did_you_mean(written, known.clone()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => {
            let words: Vec<_> = known.into_iter().map(|word| format!("`{word}`")).collect();
            match words.as_slice() {
                [word] => format!("expected {word}"),
                words => format!("expected one of {}", words.join(", ")),
            }
        }
    }
}
