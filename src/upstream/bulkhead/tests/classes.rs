//! Classes of requests.

use super::*;

const LIVE: usize = 0;
const BATCH: usize = 1;

/// Half for `live`, a fifth for `batch`, nothing for `rest`.
pub(super) fn priority(mode: Mode) -> Priority {
    let class = |(name, share): (&str, u32)| model::Class {
        name: name.into(),
        share,
    };
    Priority {
        mode,
        header: None,
        classes: [("live", 50_000), ("batch", 20_000), ("rest", 0)]
            .map(class)
            .into(),
        default: 2,
    }
}

fn shared(mode: Mode, max_requests: usize, max_queued: usize) -> Arc<Bulkhead> {
    let priority = priority(mode);
    let bulkhead = Bulkhead::new(Mode::Enforce, max_requests, max_queued, Some(&priority));
    Arc::new(bulkhead)
}

/// Reserved, in flight, queued and rejected, by class.
fn classes(bulkhead: &Bulkhead) -> Vec<(usize, usize, usize, u64)> {
    let row = |class: ClassView| {
        (
            class.reserved,
            class.in_flight,
            class.queued,
            class.rejected,
        )
    };
    bulkhead.classes().into_iter().map(row).collect()
}

#[test]
fn a_flood_of_one_class_yields_to_another() {
    let bulkhead = shared(Mode::Enforce, 4, 10);
    let mut held: Vec<_> = (0..4).map(|_| slot_in(&bulkhead, BATCH)).collect();
    let mut flood: Vec<_> = (0..5).map(|_| wait_in(&bulkhead, BATCH)).collect();
    assert!(matches!(
        bulkhead.enter(BATCH),
        Entry::Full { adaptive: false }
    ));
    let mut live = [wait_in(&bulkhead, LIVE), wait_in(&bulkhead, LIVE)];
    assert_eq!(
        classes(&bulkhead),
        [(2, 0, 2, 0), (1, 4, 5, 1), (0, 0, 0, 0)]
    );
    held.truncate(2);
    assert_eq!(
        classes(&bulkhead),
        [(2, 2, 0, 0), (1, 2, 5, 1), (0, 0, 0, 0)]
    );
    let bell = Arc::default();
    // A slot is given back to the class that it was taken in.
    let live = live
        .each_mut()
        .map(|live| poll(live, &bell).expect("it has its slot"));
    assert!(poll(&mut flood[0], &bell).is_none());
    drop(live);
    assert_eq!(
        classes(&bulkhead),
        [(2, 0, 0, 0), (1, 4, 3, 1), (0, 0, 0, 0)]
    );
    drop((held, flood));
    assert_eq!(bulkhead.view(), (0, 0));
}

#[test]
fn shares_are_of_the_limit_in_force() {
    let bulkhead = shared(Mode::Enforce, 100, 0);
    let reserved = |bulkhead: &Bulkhead| -> Vec<usize> {
        let classes = bulkhead.classes();
        classes.into_iter().map(|class| class.reserved).collect()
    };
    assert_eq!(reserved(&bulkhead), [50, 20, 0]);
    bulkhead.adapt(Some(10));
    assert_eq!(reserved(&bulkhead), [5, 2, 0]);
    bulkhead.adapt(None);
    assert_eq!(reserved(&bulkhead), [50, 20, 0]);
}

#[test]
fn observed_classes_change_nothing_and_are_counted() {
    let bulkhead = shared(Mode::Observe, 2, 2);
    let [first, second] = [slot_in(&bulkhead, BATCH), slot_in(&bulkhead, BATCH)];
    let mut batch = wait_in(&bulkhead, BATCH);
    let mut live = wait_in(&bulkhead, LIVE);
    drop(first);
    assert!(poll(&mut live, &Arc::default()).is_none());
    assert_eq!(bulkhead.would_reorder(), 1);
    drop(poll(&mut batch, &Arc::default()).expect("it has come first"));
    drop(poll(&mut live, &Arc::default()).expect("it was passed on"));
    assert_eq!(bulkhead.would_reorder(), 1);
    drop(second);
    assert_eq!(
        classes(&bulkhead),
        [(1, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0)]
    );
}

#[test]
fn classes_that_are_off_are_not_there() {
    let bulkhead = shared(Mode::Off, 1, 2);
    let held = slot_in(&bulkhead, BATCH);
    let mut batch = wait_in(&bulkhead, BATCH);
    let live = wait_in(&bulkhead, LIVE);
    drop(held);
    assert!(poll(&mut batch, &Arc::default()).is_some());
    assert!(bulkhead.classes().is_empty());
    assert_eq!(bulkhead.would_reorder(), 0);
    drop(live);
}

#[test]
fn an_unknown_class_is_the_first() {
    let bulkhead = shared(Mode::Enforce, 1, 0);
    let held = slot_in(&bulkhead, 7);
    assert!(matches!(bulkhead.enter(99), Entry::Full { .. }));
    assert_eq!(
        classes(&bulkhead),
        [(1, 1, 0, 1), (1, 0, 0, 0), (0, 0, 0, 0)]
    );
    drop(held);
    assert_eq!(bulkhead.view(), (0, 0));
}
