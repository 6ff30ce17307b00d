//! A setting is looked up in layers: nearest table first, built-in defaults last.

use std::time::Duration;

use crate::config::diagnostic::Span;
use crate::config::section::{Located, Section, Setting};
use crate::net::Address;
use crate::resilience::breaker::Window;
use crate::resilience::classify::StatusSet;

/// The same table of several owners, over its defaults.
pub(super) struct Layers<'l> {
    /// The tables in the file, nearest first, each with the place of its owner among all owners.
    written: Vec<(usize, &'l Section)>,
    builtin: Option<&'l Section>,
}

impl<'l> Layers<'l> {
    /// The table `key` of each owner, nearest first.
    ///
    /// `false` in place of a table (without a mode) ends the inheritance.
    pub(super) fn new(owners: &[&'l Section], key: &str, builtin: Option<&'l Section>) -> Self {
        let owners = owners.iter().copied().enumerate();
        Self::collect(owners, key, builtin)
    }

    /// The table `key` inside this one.
    pub(super) fn below(&self, key: &str, builtin: Option<&'l Section>) -> Self {
        Self::collect(self.written.iter().copied(), key, builtin)
    }

    fn collect(
        owners: impl Iterator<Item = (usize, &'l Section)>,
        key: &str,
        builtin: Option<&'l Section>,
    ) -> Self {
        let mut written = Vec::new();
        for (depth, owner) in owners {
            match owner.get(key).map(|located| &located.setting) {
                Some(Setting::Section(Some(section))) => written.push((depth, section)),
                Some(Setting::Section(None)) => break,
                _ => {}
            }
        }
        Self { written, builtin }
    }

    /// One table over its defaults.
    pub(super) fn of(section: &'l Section, builtin: Option<&'l Section>) -> Self {
        Self {
            written: vec![(0, section)],
            builtin,
        }
    }

    /// Whether the file has the table anywhere.
    pub(super) fn is_written(&self) -> bool {
        !self.written.is_empty()
    }

    /// The nearest table in the file, and how far away its owner is.
    pub(super) fn first(&self) -> Option<(usize, &'l Section)> {
        self.written.first().copied()
    }

    /// How far away the owner is that sets the key; the built-in defaults are farthest.
    pub(super) fn depth(&self, key: &str) -> usize {
        self.written
            .iter()
            .find(|(_, section)| section.get(key).is_some())
            .map_or(usize::MAX, |(depth, _)| *depth)
    }

    /// The tables in the file, nearest first, each with how far away its owner is.
    pub(super) fn tables(&self) -> impl Iterator<Item = (usize, &'l Section)> {
        self.written.iter().copied()
    }

    /// Whether the key has its built-in default, written or not.
    pub(super) fn is_default(&self, key: &str) -> bool {
        let builtin = self.builtin.and_then(|section| section.get(key));
        self.find(key) == builtin.map(|located| &located.setting)
    }

    /// Whether the file tries to set the key anywhere, and fails.
    pub(super) fn is_broken(&self, key: &str) -> bool {
        self.written
            .iter()
            .any(|(_, section)| section.is_broken(key))
    }

    fn find(&self, key: &str) -> Option<&'l Setting> {
        self.written
            .iter()
            .map(|(_, section)| *section)
            .chain(self.builtin)
            .find_map(|section| section.get(key))
            .map(|located| &located.setting)
    }

    /// Where the file sets the key.
    pub(super) fn span(&self, key: &str) -> Option<Span> {
        let located: &Located = self
            .written
            .iter()
            .find_map(|(_, section)| section.get(key))?;
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
            Some(Setting::Number(Some(number))) => *number,
            _ => 0.0,
        }
    }

    /// A number times `unit`, rounded.
    pub(super) fn scaled(&self, key: &str, unit: u32) -> u32 {
        scale(self.number(key), unit)
    }

    /// As [`Self::scaled`], of a number that may be `"off"`.
    pub(super) fn scaled_or_off(&self, key: &str, unit: u32) -> Option<u32> {
        match self.find(key) {
            Some(Setting::Number(number)) => number.map(|number| scale(number, unit)),
            _ => None,
        }
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

    /// A string that may be empty for none.
    pub(super) fn text_if_any(&self, key: &str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    pub(super) fn field(&self, key: &str) -> Option<(String, String)> {
        match self.find(key) {
            Some(Setting::Field(name, value)) => Some((name.clone(), value.clone())),
            _ => None,
        }
    }

    /// The tables under a key, of the nearest owner that has any.
    pub(super) fn sections(&self, key: &str) -> &'l [Section] {
        match self.find(key) {
            Some(Setting::Sections(sections)) => sections,
            _ => &[],
        }
    }

    pub(super) fn address(&self, key: &str) -> Option<Address> {
        match self.find(key) {
            Some(Setting::Address(address)) => address.clone(),
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

    /// Integers whose range fits `T`.
    pub(super) fn integers<T: TryFrom<u64>>(&self, key: &str) -> Vec<T> {
        self.list(key)
            .filter_map(|setting| match setting {
                Setting::Integer(Some(number)) => T::try_from(*number).ok(),
                _ => None,
            })
            .collect()
    }

    /// Whether a list has the word.
    pub(super) fn has_word(&self, key: &str, word: &str) -> bool {
        self.list(key)
            .any(|setting| matches!(setting, Setting::Word(found) if *found == word))
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

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the ranges of the table of keys are positive and far below 2^32"
)]
fn scale(number: f64, unit: u32) -> u32 {
    (number * f64::from(unit)).round() as u32
}

/// The items of an array.
pub(super) fn items(setting: &Setting) -> &[Setting] {
    match setting {
        Setting::List(items) => items,
        _ => &[],
    }
}
