//! Configuration: written, valid, explained.
//!
//! A file passes through four stages, and only the last is for others to read: `tree` (TOML with
//! places, environment replaced), `section` (every value of its type, by the table of keys in
//! [`raw`]), `validate` (inheritance and what values mean together), [`model`]. No stage stops at
//! the first problem; a file with one error yields no configuration. Reads one file, the
//! environment and, where asked to, the certificates that the file names; binds, resolves and
//! starts nothing.

pub mod check;
pub mod diagnostic;
pub mod model;
pub mod raw;
mod section;
mod tree;
mod validate;
mod value;

use std::path::Path;
use std::time::Duration;

pub use diagnostic::Diagnostics;
pub use model::Config;

use diagnostic::{Diagnostic, Id, Severity};

/// What became of a file: a configuration unless there is an error, and the warnings with it.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The configuration, if the file has no error.
    pub config: Option<Config>,
    /// All errors and warnings.
    pub diagnostics: Diagnostics,
}

/// Reads the file at `path`; warnings are left aside (see [`inspect`]).
///
/// # Errors
/// Returns all problems of the file if one of them is an error.
pub fn load(path: &Path) -> Result<Config, Diagnostics> {
    let inspection = inspect(path);
    inspection.config.ok_or(inspection.diagnostics)
}

/// Reads `text` as if it were the file `name`, with the environment of the process.
///
/// # Errors
/// Returns all problems of the text if one of them is an error.
pub fn parse(name: &str, text: &str) -> Result<Config, Diagnostics> {
    let inspection = inspect_text(name, text, &environment);
    inspection.config.ok_or(inspection.diagnostics)
}

/// Reads the file at `path` and tells everything about its text.
pub fn inspect(path: &Path) -> Inspection {
    inspect_file(path, Named::Taken)
}

/// As [`inspect`], and looks at the certificates, keys and roots that it names.
pub fn inspect_all(path: &Path) -> Inspection {
    inspect_file(path, Named::Read)
}

/// What becomes of files that the configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// They are taken at their word.
    Taken,
    /// They are read.
    Read,
}

fn inspect_file(path: &Path, named: Named) -> Inspection {
    let name = path.display().to_string();
    let unreadable = |message: String, help: Option<&str>| Inspection {
        config: None,
        diagnostics: Diagnostics::new(
            &name,
            "",
            vec![Diagnostic {
                id: Id::UnreadableFile,
                span: None,
                message,
                help: help.map(str::to_owned),
            }],
        ),
    };
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => inspect_as(&name, &text, &environment, named),
        Ok(Err(error)) => unreadable(
            format!(
                "the file is not UTF-8 after its first {} bytes",
                error.utf8_error().valid_up_to()
            ),
            Some("save it as UTF-8: TOML has no other encoding"),
        ),
        Err(error) => unreadable(format!("cannot read the file: {error}"), None),
    }
}

/// Reads a duration as the configuration writes it (`250ms`), for arguments of the command line.
///
/// # Errors
/// Says what is wrong and what to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    value::duration(text).map_err(|invalid| format!("{}: {}", invalid.message, invalid.help))
}

/// Reads a size in bytes as the configuration writes it (`64KiB`).
///
/// # Errors
/// Says what is wrong and what to write instead.
pub fn size(text: &str) -> Result<u64, String> {
    value::size(text).map_err(|invalid| format!("{}: {}", invalid.message, invalid.help))
}

/// Writes a duration as the configuration does, in the largest unit that fits.
pub fn show_duration(duration: Duration) -> String {
    value::show_duration(duration)
}

/// Reads `text` as if it were the file `name`; `env` looks environment variables up.
pub fn inspect_text(name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Inspection {
    inspect_as(name, text, env, Named::Taken)
}

fn inspect_as(
    name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    named: Named,
) -> Inspection {
    let mut problems = Vec::new();
    let root = tree::parse(text, env, &mut problems);
    let config = root.map(|root| validate::config(&root, named, &mut problems));
    let fatal = problems
        .iter()
        .any(|problem| problem.id.severity() == Severity::Error);
    Inspection {
        config: config.filter(|_| !fatal),
        diagnostics: Diagnostics::new(name, text, problems),
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
