use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::time;
use crate::upstream::forward::{Full, InUse, Table};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u8),
    Leave(usize),
    Wait(u64),
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8).prop_map(Step::Ask),
        3 => (0..8_usize).prop_map(Step::Leave),
        2 => (0..40_u64).prop_map(Step::Wait),
        2 => Just(Step::Expire),
    ]
}

/// What is known of one key by whoever keeps count.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    key: u8,
    used: Instant,
}

/// Every third one goes only where no other can.
fn is_spared(key: &u8) -> bool {
    key.is_multiple_of(3)
}

proptest! {
    #[test]
    fn it_does_what_a_list_would(max in 1..4_usize, steps in prop::collection::vec(step(), 1..80)) {
        let idle_timeout = s(30);
        let mut table: Table<u8, Arc<u8>> = Table::new(max, idle_timeout);
        let mut list: Vec<Known> = Vec::new();
        let mut held: Vec<Arc<u8>> = Vec::new();
        let mut now = time::now();
        for step in steps {
            let in_use = |held: &[Arc<u8>], key: u8| held.iter().any(|value| **value == key);
            match step {
                Step::Wait(seconds) => now += s(seconds),
                Step::Leave(_) if held.is_empty() => {}
                Step::Leave(at) => drop(held.swap_remove(at % held.len())),
                Step::Ask(key) => match table.get(&key, now) {
                    Some(value) => {
                        prop_assert_eq!(*value, key);
                        let known = list.iter_mut().find(|known| known.key == key);
                        known.expect("it is in the list").used = now;
                        held.push(value);
                    }
                    None => {
                        prop_assert!(list.iter().all(|known| known.key != key));
                        let idle = list.iter().filter(|known| !in_use(&held, known.key));
                        let oldest = idle.map(|known| (is_spared(&known.key), known.used)).min();
                        let expected = list.len() < max || oldest.is_some();
                        prop_assert_eq!(table.has_room(), expected);
                        let value = Arc::new(key);
                        match table.insert(key, Arc::clone(&value), now, |known| is_spared(known)) {
                            Err(Full) => prop_assert!(!expected),
                            Ok(evicted) => {
                                prop_assert!(expected);
                                prop_assert_eq!(evicted.is_some(), list.len() >= max);
                                if let Some(gone) = evicted {
                                    let at = list.iter().position(|known| known.key == *gone);
                                    let gone = list.remove(at.expect("it was in the list"));
                                    prop_assert_eq!(Some((is_spared(&gone.key), gone.used)), oldest);
                                }
                                list.push(Known { key, used: now });
                                held.push(value);
                            }
                        }
                    }
                },
                Step::Expire => {
                    for known in &mut list {
                        if in_use(&held, known.key) {
                            known.used = now;
                        }
                    }
                    let mut gone: Vec<u8> = table.expire(now).iter().map(|gone| **gone).collect();
                    gone.sort_unstable();
                    let is_over = |known: &Known| now - known.used >= idle_timeout;
                    let over = list.iter().filter(|known| is_over(known));
                    let mut expected: Vec<u8> = over.map(|known| known.key).collect();
                    expected.sort_unstable();
                    prop_assert_eq!(gone, expected);
                    list.retain(|known| !is_over(known));
                }
            }
            prop_assert!(table.count() <= max);
            prop_assert_eq!(table.count(), list.len());
            for (key, value, idle) in table.iter(now) {
                prop_assert_eq!(idle.is_none(), value.in_use());
                prop_assert_eq!(value.in_use(), in_use(&held, *key));
            }
        }
    }
}
