//! Classes and their shares.

use super::*;

const LIVE: usize = 0;
const BATCH: usize = 1;
const REST: usize = 2;

/// Half for live, a fifth for batch, nothing for the rest.
const SHARES: [u32; 3] = [50_000, 20_000, 0];

fn machine(limit: usize, max_queued: usize) -> Machine<()> {
    Machine::new(limit, max_queued, &SHARES)
}

fn fill(machine: &mut Machine<()>, class: usize, slots: usize) {
    for _ in 0..slots {
        assert_eq!(machine.enter(class, ()), Entry::Granted);
    }
}

fn reserved(machine: &Machine<()>) -> Vec<usize> {
    machine.classes().map(|class| class.reserved).collect()
}

fn granted(machine: &mut Machine<()>, class: usize) -> WaiterId {
    machine.leave(class).expect("somebody waits").0
}

#[test]
fn reserves_are_rounded_down_and_good_for_one() {
    let table = [
        (10, [5, 2, 0]),
        (9, [4, 1, 0]),
        (4, [2, 1, 0]),
        (1, [1, 1, 0]),
        (usize::MAX, [usize::MAX / 2, usize::MAX / 5, 0]),
    ];
    for (limit, expected) in table {
        let mut machine = machine(limit, 0);
        assert_eq!(reserved(&machine), expected, "{limit}");
        machine.resize(100, 0);
        assert_eq!(reserved(&machine), [50, 20, 0]);
    }
}

#[test]
fn shares_beyond_the_whole_are_the_whole() {
    let machine: Machine<()> = Machine::new(8, 8, &[u32::MAX, WHOLE]);
    assert_eq!(reserved(&machine), [8, 8]);
}

#[test]
fn the_last_place_is_reserved_for_one_class_only() {
    // Two small shares, one place: the first has it, and need not leave it to the second.
    let mut machine: Machine<()> = Machine::new(1, 1, &[1000, 1000]);
    fill(&mut machine, 0, 1);
    assert_eq!(machine.enter(1, ()), Entry::Full);
    assert!(matches!(machine.enter(0, ()), Entry::Queued(_)));
    // Two places, one of them for the half: the other is all that the quarters can have.
    let mut machine: Machine<()> = Machine::new(1, 2, &[50_000, 25_000, 25_000]);
    fill(&mut machine, 0, 1);
    assert_eq!(machine.enter(2, ()), Entry::Full);
    assert!(matches!(machine.enter(1, ()), Entry::Queued(_)));
}

#[test]
fn any_class_takes_a_free_slot_while_nobody_waits() {
    let mut machine = machine(10, 10);
    fill(&mut machine, BATCH, 10);
    assert_eq!(machine.in_use(), 10);
}

#[test]
fn a_freed_slot_goes_to_the_class_furthest_below_its_reserve() {
    let mut machine = machine(10, 20);
    fill(&mut machine, BATCH, 10);
    let batch = queue_in(&mut machine, BATCH);
    let rest = queue_in(&mut machine, REST);
    let live: Vec<_> = (0..6).map(|_| queue_in(&mut machine, LIVE)).collect();
    // Live has come last and is entitled to five: it gets them one after the other.
    for expected in live.iter().take(5) {
        assert_eq!(granted(&mut machine, BATCH), *expected);
    }
    // Nobody is below its reserve any more: now by age.
    assert_eq!(granted(&mut machine, BATCH), batch);
    assert_eq!(granted(&mut machine, BATCH), rest);
    assert_eq!(granted(&mut machine, BATCH), live[5]);
}

#[test]
fn equally_far_below_the_older_waiter_goes_first() {
    for order in [[LIVE, BATCH], [BATCH, LIVE]] {
        let mut machine = Machine::new(4, 20, &[25_000, 25_000, 0]);
        fill(&mut machine, REST, 4);
        let first = queue_in(&mut machine, order[0]);
        let second = queue_in(&mut machine, order[1]);
        assert_eq!(granted(&mut machine, REST), first);
        assert_eq!(granted(&mut machine, REST), second);
    }
}

#[test]
fn the_greater_gap_wins_over_age() {
    let mut machine = machine(10, 20);
    fill(&mut machine, LIVE, 4);
    fill(&mut machine, REST, 6);
    let live = queue_in(&mut machine, LIVE); // one below its reserve
    let batch = queue_in(&mut machine, BATCH); // two below
    assert_eq!(granted(&mut machine, REST), batch);
    let batch = queue_in(&mut machine, BATCH); // one below, and younger
    assert_eq!(granted(&mut machine, REST), live);
    assert_eq!(granted(&mut machine, REST), batch);
}

#[test]
fn within_a_class_the_order_is_that_of_arrival() {
    let mut machine = machine(10, 20);
    fill(&mut machine, BATCH, 10);
    let live: Vec<_> = (0..3).map(|_| queue_in(&mut machine, LIVE)).collect();
    assert_eq!(machine.cancel(live[0]), Some(()));
    assert_eq!(granted(&mut machine, BATCH), live[1]);
    assert_eq!(granted(&mut machine, BATCH), live[2]);
}

#[test]
fn a_flood_leaves_the_places_of_other_classes() {
    let mut machine = machine(1, 10);
    fill(&mut machine, BATCH, 1);
    // Five places are kept for live, and two for batch itself: it gets five.
    for _ in 0..5 {
        queue_in(&mut machine, BATCH);
    }
    assert_eq!(machine.enter(BATCH, ()), Entry::Full);
    assert_eq!(machine.enter(REST, ()), Entry::Full);
    let live: Vec<_> = (0..5).map(|_| queue_in(&mut machine, LIVE)).collect();
    assert_eq!(machine.enter(LIVE, ()), Entry::Full);
    // A place that live leaves is kept for live.
    assert!(machine.cancel(live[4]).is_some());
    assert_eq!(machine.enter(BATCH, ()), Entry::Full);
    queue_in(&mut machine, LIVE);
}

#[test]
fn one_place_is_kept_for_a_small_share_while_there_are_any() {
    // Too short for all three: the first two have a place each.
    let shares = [10_000, 10_000, 10_000];
    let mut machine = Machine::new(1, 2, &shares);
    fill(&mut machine, 2, 1);
    assert_eq!(machine.enter(2, ()), Entry::Full);
    queue_in(&mut machine, 1);
    queue_in(&mut machine, 0);
    assert_eq!(machine.enter(0, ()), Entry::Full);

    let mut machine = Machine::new(1, 1, &shares);
    fill(&mut machine, 2, 1);
    assert_eq!(machine.enter(1, ()), Entry::Full);
    queue_in(&mut machine, 0);
}

#[test]
fn a_class_that_there_is_not_is_the_first() {
    let mut machine = machine(2, 10);
    fill(&mut machine, 17, 1);
    machine.enter_anyway(usize::MAX);
    let waiter = queue_in(&mut machine, 3);
    assert_eq!(waiter.class(), LIVE);
    assert_eq!(granted(&mut machine, 99), waiter);
    let in_use: Vec<_> = machine.classes().map(|class| class.in_use).collect();
    assert_eq!(in_use, [2, 0, 0]);
}

#[test]
fn a_leave_of_the_wrong_class_frees_nothing() {
    let mut machine = machine(1, 10);
    fill(&mut machine, LIVE, 1);
    queue_in(&mut machine, LIVE);
    assert_eq!(machine.leave(BATCH), None);
    assert_eq!((machine.in_use(), machine.queued()), (1, 1));
}

#[test]
fn a_grown_limit_is_shared_out() {
    let mut machine = machine(4, 20);
    fill(&mut machine, BATCH, 4);
    let rest = queue_in(&mut machine, REST);
    let live: Vec<_> = (0..3).map(|_| queue_in(&mut machine, LIVE)).collect();
    // Of eight, four are reserved for live; the fourth of the new ones is free to all.
    let expected = [live[0], live[1], live[2], rest];
    assert_eq!(ids(machine.resize(8, 20)), expected);
}

#[test]
fn a_shrunk_limit_drains_by_the_new_reserves() {
    let mut machine = machine(10, 20);
    fill(&mut machine, LIVE, 3);
    fill(&mut machine, REST, 7);
    let rest = queue_in(&mut machine, REST);
    let live = queue_in(&mut machine, LIVE);
    assert!(machine.resize(4, 20).is_empty());
    for _ in 0..6 {
        assert_eq!(machine.leave(REST), None);
    }
    // Of four, live is entitled to two and has three: by age.
    assert_eq!(granted(&mut machine, LIVE), rest);
    assert_eq!(granted(&mut machine, LIVE), live);
}

#[test]
fn merely_observed_shares_change_no_order_and_are_counted() {
    let mut machine = machine(4, 3);
    machine.set_order(Order::Arrival);
    fill(&mut machine, BATCH, 4);
    let batch = queue_in(&mut machine, BATCH);
    let rest = queue_in(&mut machine, REST);
    // The place would have been kept for live as well, were the queue not full without that.
    let live = queue_in(&mut machine, LIVE);
    assert_eq!(machine.enter(LIVE, ()), Entry::Full);
    assert_eq!(granted(&mut machine, BATCH), batch);
    assert_eq!(machine.would_reorder(), 1);
    assert_eq!(granted(&mut machine, BATCH), rest);
    assert_eq!(machine.would_reorder(), 2);
    assert_eq!(granted(&mut machine, BATCH), live);
    assert_eq!(machine.would_reorder(), 2);
    machine.set_order(Order::Shares);
    let batch = queue_in(&mut machine, BATCH);
    let live = queue_in(&mut machine, LIVE);
    assert_eq!(granted(&mut machine, BATCH), live);
    assert_eq!(granted(&mut machine, REST), batch);
    assert_eq!(machine.would_reorder(), 2);
}
