//! `outrigger check`: says everything about a file.

use std::path::Path;

use super::inspect_all;

/// How the result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: a JSON array, empty if all is well.
    Json,
}

/// What to print, and whether the file may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What to print, with its last newline.
    pub text: String,
    /// Whether there is no error; warnings are allowed.
    pub valid: bool,
}

/// Checks the file at `path`; `coloured` asks for terminal colours in the text form.
pub fn run(path: &Path, format: Format, coloured: bool) -> Report {
    let inspection = inspect_all(path);
    let diagnostics = inspection.diagnostics;
    let valid = inspection.config.is_some();
    if format == Format::Json {
        return Report {
            text: diagnostics.to_json(),
            valid,
        };
    }
    let (errors, warnings) = diagnostics.count();
    let mut text = diagnostics.render(coloured);
    let file = path.display();
    text.push_str(&match inspection.config {
        Some(config) => {
            let mut line = format!(
                "{file}: good: {}, {}",
                count(config.listeners.len(), "listener"),
                count(config.upstreams.len(), "upstream")
            );
            if warnings > 0 {
                line.push_str(&format!(", {}", count(warnings, "warning")));
            }
            line
        }
        None => format!(
            "{file}: bad: {}, {}",
            count(errors, "error"),
            count(warnings, "warning")
        ),
    });
    text.push('\n');
    Report { text, valid }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
