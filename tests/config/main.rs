//! The configuration as its users meet it: good files, what is said about bad ones, the example
//! and the manual.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails panics"
)]

mod admission;
mod arbitrary;
mod diagnostics;
mod endpoints;
mod example;
mod manual;
mod model;
mod policies;
mod protocols;

use std::path::{Path, PathBuf};

use outrigger::config::{self, Inspection};

/// The environment of all tests.
fn env(name: &str) -> Option<String> {
    match name {
        "EMPTY" => Some(String::new()),
        "WORKERS" => Some("12".to_owned()),
        "SECRET" => Some("s3cret".to_owned()),
        _ => None,
    }
}

/// Reads a text with the environment of the tests.
fn inspect(name: &str, text: &str) -> Inspection {
    config::inspect_text(name, text, &env)
}

/// The files of a folder of the repository with this extension, sorted.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a file of the repository with what it should hold, or rewrites it.
#[track_caller]
fn check_golden(path: &Path, expected: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is out of date; rewrite it with `BLESS=1 cargo test --test config` and read the \
         difference.\n--- expected\n{expected}\n--- found\n{found}",
        path.display()
    );
}
