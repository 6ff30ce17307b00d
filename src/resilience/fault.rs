//! Injected faults: which requests they hit, and what happens to those.
//!
//! A game day shows whether callers bear a slow or broken upstream before a real one does. What is
//! decided here is whether one fault hits one attempt; doing it is the business of the request
//! path, and how long a fault lives that of [`crate::upstream::fault`]: every fault ends.
//!
//! Settings: `faults` of an upstream, and the operations of the admin listener.

use std::time::Duration;

use super::WHOLE;

/// An upstream has so many faults at once at the most: each costs every attempt a comparison.
pub const MOST: usize = 16;

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

impl Settings {
    /// Whether an attempt is one of those meant: by its method, its path (without query) and the
    /// first value of its fields, of which `field` is asked by lower-case name. What is not set
    /// matches any.
    pub fn matches<'a>(
        &self,
        method: &str,
        path: &str,
        field: impl FnOnce(&str) -> Option<&'a [u8]>,
    ) -> bool {
        let method_fits = self.methods.is_empty() || self.methods.iter().any(|m| m == method);
        let path_fits = || match self.path_prefix.as_deref() {
            None => true,
            Some(prefix) => path
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        let field_fits = || match &self.header {
            None => true,
            Some((name, value)) => field(name) == Some(value.as_bytes()),
        };
        method_fits && path_fits() && field_fits()
    }

    /// Whether it hits one of those meant, by 64 random bits: in [`Settings::share`] of all cases.
    pub fn hit(&self, random: u64) -> bool {
        let scaled = (u128::from(random) * u128::from(WHOLE)) >> 64;
        scaled < u128::from(self.share)
    }
}

#[cfg(test)]
mod tests;
