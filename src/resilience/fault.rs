//! Injected faults: which requests they hit, and what happens to those.

use std::time::Duration;

/// One fault of a game day.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What happens.
    pub action: Action,
    /// To how many of the requests that match, thousandths of a percent.
    pub share: u32,
    /// Methods that match; empty matches any.
    pub methods: Vec<String>,
    /// Beginning of the path, in whole segments.
    pub path_prefix: Option<String>,
    /// Lower-case name of a field and the value that it must have.
    pub header: Option<(String, String)>,
    /// Whether the breaker, ejection and the adaptive limit learn from it.
    pub counted: bool,
}

/// What an injected fault does to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing happens for this long; then the attempt goes on.
    Delay(Duration),
    /// A local reply with this status, as if it were the upstream's.
    Abort(u16),
    /// As if the upstream broke the connection off before it answered.
    Reset,
    /// The response is broken off after so many bytes of its body.
    Truncate(u64),
    /// The body of the response comes at so many bytes per second.
    SlowBody(u64),
}

impl Action {
    /// The word for the configuration, log and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::Abort(_) => "abort",
            Self::Reset => "reset",
            Self::Truncate(_) => "truncate",
            Self::SlowBody(_) => "slow-body",
        }
    }
}
