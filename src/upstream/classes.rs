//! Which class a request belongs to, by the field that names it.

use http::{HeaderMap, HeaderName};

use crate::config::model;

/// The classes of an upstream, by name.
#[derive(Debug)]
pub struct Classes {
    header: Option<HeaderName>,
    names: Vec<Box<[u8]>>,
    default: usize,
}

impl Classes {
    /// Prepares the look-up.
    pub fn new(priority: &model::Priority) -> Self {
        let name = |class: &model::Class| class.name.as_bytes().into();
        Self {
            header: priority
                .header
                .as_deref()
                .and_then(|name| name.parse().ok()),
            names: priority.classes.iter().map(name).collect(),
            default: priority.default,
        }
    }

    /// The class that a request names, else the default one: by index.
    pub fn of(&self, headers: &HeaderMap) -> usize {
        let named = self.header.as_ref().and_then(|name| headers.get(name));
        let index = named.and_then(|value| {
            let value = value.as_bytes();
            self.names.iter().position(|name| **name == *value)
        });
        index.unwrap_or(self.default)
    }
}
