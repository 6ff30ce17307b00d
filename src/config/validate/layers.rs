//! A setting is looked up in layers: nearest table first, built-in defaults last.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::diagnostic::Span;
use crate::config::section::{Located, Section, Setting};
use crate::resilience::breaker::Window;
use crate::resilience::classify::StatusSet;

/// The same table of several owners, over its defaults.
pub(super) struct Layers<'l> {
    written: Vec<&'l Section>,
    builtin: Option<&'l Section>,
}

impl<'l> Layers<'l> {
    /// The table `key` of each owner, nearest first.
    ///
    /// `false` in place of a table (without a mode) ends the inheritance.
    pub(super) fn new(owners: &[&'l Section], key: &str, builtin: Option<&'l Section>) -> Self {
        let mut written = Vec::new();
        for owner in owners {
            match owner.get(key).map(|located| &located.setting) {
                Some(Setting::Section(Some(section))) => written.push(section),
                Some(Setting::Section(None)) => break,
                _ => {}
            }
        }
        Self { written, builtin }
    }

    /// One table over its defaults.
    pub(super) fn of(section: &'l Section, builtin: Option<&'l Section>) -> Self {
        Self {
            written: vec![section],
            builtin,
        }
    }

    /// Whether the file has the table anywhere.
    pub(super) fn is_written(&self) -> bool {
        !self.written.is_empty()
    }

    /// The layers that stand in the file.
    pub(super) fn sections(&self) -> Vec<&'l Section> {
        self.written.clone()
    }

    /// How far away the key is set; the built-in defaults are farthest.
    pub(super) fn depth(&self, key: &str) -> usize {
        self.written
            .iter()
            .position(|section| section.get(key).is_some())
            .unwrap_or(self.written.len())
    }

    fn find(&self, key: &str) -> Option<&'l Setting> {
        self.written
            .iter()
            .copied()
            .chain(self.builtin)
            .find_map(|section| section.get(key))
            .map(|located| &located.setting)
    }

    /// Where the file sets the key.
    pub(super) fn span(&self, key: &str) -> Option<Span> {
        let located: &Located = self.written.iter().find_map(|section| section.get(key))?;
        Some(located.span.clone())
    }

    /// Where the file sets the nearer of two keys; the first, if both are equally near.
    pub(super) fn nearest(&self, first: &str, second: &str) -> Option<Span> {
        if self.depth(first) <= self.depth(second) {
            self.span(first)
        } else {
            self.span(second)
        }
    }

    pub(super) fn bool(&self, key: &str) -> bool {
        matches!(self.find(key), Some(Setting::Bool(true)))
    }

    pub(super) fn integer(&self, key: &str) -> Option<u64> {
        match self.find(key) {
            Some(Setting::Integer(number)) => *number,
            _ => None,
        }
    }

    /// An integer whose range begins at 0 or 1.
    pub(super) fn count(&self, key: &str) -> usize {
        let number = self.integer(key).unwrap_or_default();
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    /// As [`Self::count`], for 32 bits.
    pub(super) fn count32(&self, key: &str) -> u32 {
        let number = self.integer(key).unwrap_or_default();
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    pub(super) fn number(&self, key: &str) -> f64 {
        match self.find(key) {
            Some(Setting::Number(number)) => *number,
            _ => 0.0,
        }
    }

    /// A number times `unit`, rounded.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the ranges of the table of keys are positive and far below 2^32"
    )]
    pub(super) fn scaled(&self, key: &str, unit: u32) -> u32 {
        (self.number(key) * f64::from(unit)).round() as u32
    }

    /// A duration that may be `"off"`.
    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        match self.find(key) {
            Some(Setting::Duration(duration)) => *duration,
            _ => None,
        }
    }

    /// A duration that may not be `"off"`.
    pub(super) fn time(&self, key: &str) -> Duration {
        self.duration(key).unwrap_or_default()
    }

    pub(super) fn window(&self, key: &str) -> Window {
        match self.find(key) {
            Some(Setting::Window(window)) => *window,
            _ => Window::Seconds(1),
        }
    }

    pub(super) fn word(&self, key: &str) -> &'static str {
        match self.find(key) {
            Some(Setting::Word(word)) => word,
            _ => "",
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.find(key) {
            Some(Setting::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn address(&self, key: &str) -> Option<SocketAddr> {
        match self.find(key) {
            Some(Setting::Address(address)) => *address,
            _ => None,
        }
    }

    pub(super) fn list(&self, key: &str) -> impl Iterator<Item = &'l Setting> {
        self.find(key).into_iter().flat_map(items)
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        self.list(key)
            .filter_map(|setting| match setting {
                Setting::Text(text) => Some(text.clone()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn statuses(&self, key: &str) -> StatusSet {
        StatusSet(
            self.list(key)
                .filter_map(|setting| match setting {
                    Setting::Statuses(first, last) => Some((*first, *last)),
                    _ => None,
                })
                .collect(),
        )
    }
}

/// The items of an array.
pub(super) fn items(setting: &Setting) -> &[Setting] {
    match setting {
        Setting::List(items) => items,
        _ => &[],
    }
}
