//! `outrigger explain`: what becomes of a request, without sending one.

use super::{Explain, Format, NO, OK, USAGE, check, complain, print};
use crate::explain::{self, Lost, Request, json, text};
use crate::{config, time};

/// Prints what becomes of a request and returns the exit code.
pub(super) fn explain(arguments: Explain) -> u8 {
    let Explain {
        file,
        method,
        url,
        headers,
        listener,
        format,
    } = arguments;
    let request = match Request::new(&method, &url, &headers, listener) {
        Ok(request) => request,
        Err(problem) => {
            complain(&problem);
            return USAGE;
        }
    };
    let inspection = config::inspect(&file);
    let Some(config) = inspection.config else {
        return check::check(&file, format);
    };
    if !inspection.diagnostics.is_empty() {
        complain("the file has warnings: see `outrigger check`");
    }
    match explain::explain(&config, &request, time::unix_now()) {
        Ok(found) => {
            print(&match format {
                Format::Text => text::write(&request, &found),
                Format::Json => json::write(&request, &found),
            });
            OK
        }
        Err(Lost::Unclear(problem)) => {
            complain(&problem);
            USAGE
        }
        Err(lost) => {
            print(&match format {
                Format::Text => text::write_lost(&request, &lost),
                Format::Json => json::write_lost(&request, &lost),
            });
            NO
        }
    }
}
