//! A bounded map that forgets what nobody has asked for.
//!
//! What is in use is never forgotten. Invariant: there are at most `max` entries. Pure: `now` is an
//! argument. A look-up costs one hash; only where a full map has to make room is all of it walked.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Says whether somebody is using it at this moment.
pub trait InUse {
    /// Whether it is in use.
    fn in_use(&self) -> bool;
}

/// The table has one hold; whoever has another was given it by the table, under its lock.
impl<T> InUse for Arc<T> {
    fn in_use(&self) -> bool {
        Self::strong_count(self) > 1
    }
}

/// The map.
#[derive(Debug)]
pub struct Table<K, V> {
    max: usize,
    idle_timeout: Duration,
    entries: HashMap<K, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// When it was asked for last, or seen in use.
    used: Instant,
}

/// Every entry is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<K: Eq + Hash + Clone, V: InUse + Clone> Table<K, V> {
    /// Makes an empty map of at most `max` entries, each of which goes after `idle_timeout`.
    pub fn new(max: usize, idle_timeout: Duration) -> Self {
        Self {
            max,
            idle_timeout,
            entries: HashMap::new(),
        }
    }

    /// What is kept under `key`.
    pub fn get(&mut self, key: &K, now: Instant) -> Option<V> {
        let entry = self.entries.get_mut(key)?;
        entry.used = entry.used.max(now);
        Some(entry.value.clone())
    }

    /// Whether one more would find room now.
    pub fn has_room(&self) -> bool {
        self.entries.len() < self.max || self.entries.values().any(|entry| !entry.value.in_use())
    }

    /// Keeps `value`; gives what had to go for it: what was idle longest, and of what `spares` names
    /// only where nothing else is idle.
    ///
    /// # Errors
    ///
    /// [`Full`], and nothing has changed.
    pub fn insert(
        &mut self,
        key: K,
        value: V,
        now: Instant,
        spares: impl Fn(&V) -> bool,
    ) -> Result<Option<V>, Full> {
        let mut evicted = None;
        if self.entries.len() >= self.max {
            let idle = self.entries.iter();
            let idle = idle.filter(|(_, entry)| !entry.value.in_use());
            let oldest = idle.min_by_key(|(_, entry)| (spares(&entry.value), entry.used));
            let oldest = oldest.map(|(key, _)| key.clone()).ok_or(Full)?;
            evicted = self.entries.remove(&oldest).map(|entry| entry.value);
        }
        self.entries.insert(key, Entry { value, used: now });
        Ok(evicted)
    }

    /// Forgets what was not in use for `idle_timeout`, and gives it.
    pub fn expire(&mut self, now: Instant) -> Vec<V> {
        let mut expired = Vec::new();
        let idle_timeout = self.idle_timeout;
        self.entries.retain(|_, entry| {
            if entry.value.in_use() {
                entry.used = entry.used.max(now);
            }
            let stays = now.saturating_duration_since(entry.used) < idle_timeout;
            if !stays {
                expired.push(entry.value.clone());
            }
            stays
        });
        expired
    }

    /// What is kept, with the time since it was asked for last; `None` while it is in use.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = (&K, &V, Option<Duration>)> {
        self.entries.iter().map(move |(key, entry)| {
            let idle = now.saturating_duration_since(entry.used);
            let idle = (!entry.value.in_use()).then_some(idle);
            (key, &entry.value, idle)
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}
