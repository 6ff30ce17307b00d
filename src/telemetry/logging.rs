//! The process log: `tracing` to standard error, as JSON lines or as text for people.
//!
//! The access log is not part of it: that one goes to standard output.

use std::fmt;
use std::panic::PanicHookInfo;

use tracing::{Subscriber, error};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};

use crate::config::model::{Log, LogFormat};

/// Environment variable whose filter takes the place of `[log] level`.
pub const FILTER_VARIABLE: &str = "OUTRIGGER_LOG";

/// Why the log cannot be set up.
#[derive(Debug, PartialEq, Eq)]
pub enum LogError {
    /// The filter is not one.
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The process has a log already.
    Twice,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter { filter, problem } => {
                write!(f, "`{filter}` is not a log filter: {problem}")
            }
            Self::Twice => f.write_str("the log is set up already"),
        }
    }
}

impl std::error::Error for LogError {}

/// Sets up the log of the process, and sends panics to it.
///
/// A filter in the variable `OUTRIGGER_LOG` takes the place of the configured one.
pub fn init(log: &Log) -> Result<(), LogError> {
    let given = std::env::var(FILTER_VARIABLE).ok();
    let filter = given.filter(|filter| !filter.is_empty());
    let filter = filter.as_deref().unwrap_or(&log.level);
    let subscriber = subscriber(filter, log.format, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Says whether `filter` is one, for the check of a configuration.
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| LogError::Filter {
            filter: filter.to_owned(),
            problem: error.to_string(),
        })
}

/// Builds the log without installing it.
pub(crate) fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(writer);
    let layer = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    };
    Ok(tracing_subscriber::registry()
        .with(parse(filter)?)
        .with(layer))
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let detail = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let location = info.location().map(ToString::to_string);
    let thread = std::thread::current();
    error!(
        detail,
        location,
        thread = thread.name().unwrap_or("unnamed"),
        "panicked"
    );
}

#[cfg(test)]
mod tests;
