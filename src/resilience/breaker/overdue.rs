//! The running attempts that have no response head yet, by the instant they become overdue.
//!
//! In the ordinary case an attempt enters at the tail of a list and leaves from anywhere, both in
//! constant time and without allocation: all have the same allowance, so the order of dispatch is
//! the order of falling due. Those whose clock was paused, or whose allowance a reload replaced,
//! are in an ordered set instead. Holds attempts of one epoch only.

use std::collections::BTreeSet;
use std::time::Duration;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// Where an attempt is kept: an index, and the sequence number that tells its present tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) slot: u32,
    pub(super) sequence: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// `next` is the next free slot.
    Free,
    /// In the list, due at `due`.
    Waiting,
    /// In the ordered set, due at `due`.
    Resumed,
    /// In neither: its clock stands, `due` is what is left on it.
    Paused,
    /// In the set of overdue ones.
    Overdue,
    /// Was overdue and is no longer: remembered until it ends.
    Counted,
}

#[derive(Clone, Debug)]
struct Slot {
    sequence: u64,
    recorded: u64,
    due: Duration,
    place: Place,
    previous: u32,
    next: u32,
}

/// The running attempts.
#[derive(Clone, Debug)]
pub(super) struct Running {
    slots: Vec<Slot>,
    free: u32,
    first: u32,
    last: u32,
    /// By due time, then by sequence number.
    resumed: BTreeSet<(Duration, u64, u32)>,
    /// By sequence number, that is in order of dispatch.
    overdue: BTreeSet<(u64, u32)>,
}

impl Running {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            first: NONE,
            last: NONE,
            resumed: BTreeSet::new(),
            overdue: BTreeSet::new(),
        }
    }

    /// Forgets all and keeps the slots' memory.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.free = NONE;
        self.first = NONE;
        self.last = NONE;
        self.resumed.clear();
        self.overdue.clear();
    }

    /// Adds an attempt that is due no sooner than those in the list. `recorded` is how many
    /// outcomes had been recorded at its dispatch.
    pub(super) fn insert(&mut self, sequence: u64, recorded: u64, due: Duration) -> Key {
        let slot = Slot {
            sequence,
            recorded,
            due,
            place: Place::Waiting,
            previous: self.last,
            next: NONE,
        };
        let index = if self.free == NONE {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        } else {
            let index = self.free;
            self.free = self.slots[index as usize].next;
            self.slots[index as usize] = slot;
            index
        };
        if self.last == NONE {
            self.first = index;
        } else {
            self.slots[self.last as usize].next = index;
        }
        self.last = index;
        Key {
            slot: index,
            sequence,
        }
    }

    /// When the next attempt becomes overdue.
    pub(super) fn first_due(&self) -> Option<Duration> {
        let listed = self.slots.get(self.first as usize).map(|slot| slot.due);
        let resumed = self.resumed.first().map(|(due, ..)| *due);
        match (listed, resumed) {
            (Some(listed), Some(resumed)) => Some(listed.min(resumed)),
            (listed, resumed) => listed.or(resumed),
        }
    }

    /// Makes the attempt that is due first (of several, the one dispatched first) an overdue one.
    pub(super) fn fall_due(&mut self) {
        let listed = self.slots.get(self.first as usize);
        let listed = listed.map(|slot| (slot.due, slot.sequence, self.first));
        let resumed = self.resumed.first().copied();
        let Some((.., index)) = listed.into_iter().chain(resumed).min() else {
            return;
        };
        self.take_out(index);
        let slot = &mut self.slots[index as usize];
        slot.place = Place::Overdue;
        self.overdue.insert((slot.sequence, index));
    }

    /// How many are overdue.
    pub(super) fn overdue(&self) -> u64 {
        self.overdue.len() as u64
    }

    /// Outcomes that had been recorded when the oldest overdue attempt was dispatched.
    pub(super) fn recorded_before_oldest(&self) -> Option<u64> {
        self.overdue
            .first()
            .map(|(_, index)| self.slots[*index as usize].recorded)
    }

    /// Stops the clock of an attempt that is not overdue yet.
    pub(super) fn pause(&mut self, key: Key, now: Duration) {
        let Some(place) = self.place(key) else { return };
        if matches!(place, Place::Waiting | Place::Resumed) {
            self.take_out(key.slot);
            let slot = &mut self.slots[key.slot as usize];
            slot.place = Place::Paused;
            slot.due = slot.due.saturating_sub(now);
        }
    }

    /// Lets a stopped clock run on.
    pub(super) fn resume(&mut self, key: Key, now: Duration) {
        if self.place(key) == Some(Place::Paused) {
            let slot = &mut self.slots[key.slot as usize];
            slot.place = Place::Resumed;
            slot.due = slot.due.saturating_add(now);
            self.resumed.insert((slot.due, slot.sequence, key.slot));
        }
    }

    /// The attempt has its response head: it is not overdue from here on. Where `remember` is set,
    /// [`Self::end`] will still say that it was.
    pub(super) fn answered(&mut self, key: Key, remember: bool) {
        match self.place(key) {
            None | Some(Place::Counted) => {}
            Some(Place::Overdue) if remember => {
                self.take_out(key.slot);
                self.slots[key.slot as usize].place = Place::Counted;
            }
            Some(_) => self.release(key.slot),
        }
    }

    /// The attempt ended. Says whether it was ever overdue, as far as that was remembered.
    pub(super) fn end(&mut self, key: Key) -> bool {
        let Some(place) = self.place(key) else {
            return false;
        };
        self.release(key.slot);
        matches!(place, Place::Overdue | Place::Counted)
    }

    /// Later attempts have another allowance: those present keep theirs.
    pub(super) fn allowance_changed(&mut self) {
        while self.first != NONE {
            let index = self.first;
            self.take_out(index);
            let slot = &mut self.slots[index as usize];
            slot.place = Place::Resumed;
            self.resumed.insert((slot.due, slot.sequence, index));
        }
    }

    /// Nothing is overdue any more: as if every attempt had its response head.
    pub(super) fn all_answered(&mut self, remember: bool) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.place != Place::Free {
                let key = Key {
                    slot: u32::try_from(index).unwrap_or(NONE),
                    sequence: slot.sequence,
                };
                self.answered(key, remember);
            }
        }
    }

    /// Where the attempt is, unless its slot has another tenant by now.
    fn place(&self, key: Key) -> Option<Place> {
        self.slots
            .get(key.slot as usize)
            .filter(|slot| slot.sequence == key.sequence && slot.place != Place::Free)
            .map(|slot| slot.place)
    }

    fn release(&mut self, index: u32) {
        self.take_out(index);
        let slot = &mut self.slots[index as usize];
        slot.place = Place::Free;
        slot.next = self.free;
        self.free = index;
    }

    /// Takes a slot out of the list or the set that it is in.
    fn take_out(&mut self, index: u32) {
        let Slot {
            sequence,
            due,
            place,
            previous,
            next,
            ..
        } = self.slots[index as usize];
        match place {
            Place::Waiting => {
                match previous {
                    NONE => self.first = next,
                    previous => self.slots[previous as usize].next = next,
                }
                match next {
                    NONE => self.last = previous,
                    next => self.slots[next as usize].previous = previous,
                }
            }
            Place::Resumed => {
                self.resumed.remove(&(due, sequence, index));
            }
            Place::Overdue => {
                self.overdue.remove(&(sequence, index));
            }
            Place::Free | Place::Paused | Place::Counted => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again() {
        let mut running = Running::new();
        for sequence in 0..100 {
            let first = running.insert(2 * sequence, 0, Duration::ZERO);
            running.insert(2 * sequence + 1, 0, Duration::ZERO);
            running.end(first);
            running.insert(2 * sequence + 1000, 0, Duration::ZERO);
            assert_eq!(running.slots.len(), 2);
            running.clear();
        }
    }
}
