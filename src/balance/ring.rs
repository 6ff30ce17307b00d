//! A consistent hash ring: the same key goes to the same endpoint, and a change of the set moves
//! few keys.
//!
//! Each endpoint has many points on a circle of 64 bits; a key belongs to the endpoint whose point
//! follows it. An endpoint that is added takes keys from all others, one that leaves gives its keys
//! to all others, about one n-th of the keys each time (Karger et al., "Consistent Hashing and
//! Random Trees", 1997). Points depend on names and weights alone, so that all processes that know
//! the same endpoints agree. Built when the set changes, read without a lock.

use super::hash::{hash, nth};

/// Points of an endpoint of mean weight: the shares of n equal endpoints then deviate by some 8 %
/// (1 / √160).
const POINTS: u64 = 160;

/// Most points in all (a megabyte); from 410 endpoints on, each has fewer. Never fewer than one.
const MAX_POINTS: u64 = 65_536;

/// The ring of one set of endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    /// In the order of the circle: the point, and the index of its endpoint.
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// Places endpoints, by name and weight, in the order of their indices. Each has points in
    /// proportion to its weight.
    pub fn new<N: AsRef<[u8]>>(endpoints: &[(N, u32)]) -> Self {
        let n = u64::try_from(endpoints.len()).unwrap_or(u64::MAX);
        let total: u64 = endpoints.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let each = POINTS.min(MAX_POINTS / n.max(1)).max(1);
        let mut points = Vec::new();
        for (index, (name, weight)) in (0_u32..).zip(endpoints) {
            let name = name.as_ref();
            let start = hash(name);
            let own = (each * n * u64::from(*weight)).checked_div(total);
            for replica in 0..own.unwrap_or(each).max(1) {
                points.push((nth(start, replica), name, index));
            }
        }
        // Equal points would be a wonder, but go by name and not by index even then.
        points.sort_unstable();
        let points = points.into_iter().map(|(point, _, index)| (point, index));
        Self {
            points: points.collect(),
        }
    }

    /// The endpoint of a key, by the key's [`super::hash()`]: the first one along the ring that is
    /// `available`.
    pub fn find(&self, key: u64, available: impl Fn(usize) -> bool) -> Option<usize> {
        let next = self.points.partition_point(|(point, _)| *point < key);
        let (before, after) = self.points.split_at(next);
        let along = after.iter().chain(before);
        along
            .filter_map(|(_, index)| usize::try_from(*index).ok())
            .find(|&index| available(index))
    }
}

#[cfg(test)]
mod tests;
