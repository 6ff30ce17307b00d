//! `outrigger check`: every problem of a file at once.

use std::io::{self, IsTerminal};
use std::path::Path;

use super::{Format, NO, OK, print};
use crate::config::check;

/// Prints what is wrong with `file` and returns the exit code.
pub(super) fn check(file: &Path, format: Format) -> u8 {
    let coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let format = match format {
        Format::Text => check::Format::Text,
        Format::Json => check::Format::Json,
    };
    let report = check::run(file, format, coloured);
    print(&report.text);
    if report.valid { OK } else { NO }
}
