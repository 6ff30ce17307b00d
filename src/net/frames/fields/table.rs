//! The tables of names that indices refer to (RFC 7541 §2.3): of the entries, only their lengths.

use std::collections::VecDeque;

use super::Undecodable;

/// What a peer may keep (§4.2): we never tell one of another size.
const MOST: u32 = 4096;

/// What an entry counts beside its octets (§4.1).
const ENTRY: u32 = 32;

/// The names of Appendix A.
pub(super) const STATIC: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) length: u32,
    pub(super) is_pseudo: bool,
}

impl Name {
    /// Whether it is `:path`: no other pseudo-field has a name as short.
    pub(super) const fn is_path(self) -> bool {
        self.is_pseudo && self.length == 5
    }
}

/// What is known of a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    /// It is a `:path` with a fragment.
    pub(super) has_fragment: bool,
    size: u32,
}

/// The dynamic table, behind the static one.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: u32,
    most: u32,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            most: MOST,
        }
    }
}

impl Table {
    /// The field at this index.
    pub(super) fn get(&self, index: u32) -> Result<Entry, Undecodable> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let index = index.checked_sub(1).ok_or(Undecodable)?;
        if let Some(name) = STATIC.get(index) {
            let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
            let is_pseudo = name.starts_with(':');
            return Ok(Entry {
                name: Name { length, is_pseudo },
                has_fragment: false,
                size: 0,
            });
        }
        let entry = self.entries.get(index - STATIC.len());
        entry.copied().ok_or(Undecodable)
    }

    /// Keeps a field with a value as long as this, at the expense of the oldest ones.
    pub(super) fn keep(&mut self, name: Name, value: u32, has_fragment: bool) {
        let size = name.length.saturating_add(value).saturating_add(ENTRY);
        self.shrink(self.most.saturating_sub(size));
        if size <= self.most {
            self.size += size;
            self.entries.push_front(Entry {
                name,
                has_fragment,
                size,
            });
        }
    }

    /// Changes how much is kept.
    pub(super) fn resize(&mut self, most: u32) -> Result<(), Undecodable> {
        if most > MOST {
            return Err(Undecodable);
        }
        self.most = most;
        self.shrink(most);
        Ok(())
    }

    /// How much is kept, counted anew.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> usize {
        let sizes = self.entries.iter().map(|entry| entry.size);
        usize::try_from(sizes.sum::<u32>()).unwrap()
    }

    /// Forgets the oldest ones until this is all there is.
    fn shrink(&mut self, most: u32) {
        while self.size > most
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}
