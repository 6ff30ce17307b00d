mod classes;
mod random;

use super::*;

/// Enters and insists on a slot.
#[track_caller]
fn take(machine: &mut Machine<()>) {
    assert_eq!(machine.enter(0, ()), Entry::Granted);
}

/// Enters and insists on a place in the queue.
#[track_caller]
fn queue(machine: &mut Machine<()>) -> WaiterId {
    queue_in(machine, 0)
}

/// As [`queue`], in a class.
#[track_caller]
fn queue_in(machine: &mut Machine<()>, class: usize) -> WaiterId {
    match machine.enter(class, ()) {
        Entry::Queued(id) => id,
        other => panic!("expected a place in the queue, not {other:?}"),
    }
}

fn ids(woken: Vec<(WaiterId, ())>) -> Vec<WaiterId> {
    woken.into_iter().map(|(id, ())| id).collect()
}

#[test]
fn a_bulkhead_of_four_with_two_places_refuses_the_seventh() {
    let mut machine = Machine::new(4, 2, &[]);
    for _ in 0..4 {
        take(&mut machine);
    }
    queue(&mut machine);
    queue(&mut machine);
    for _ in 0..4 {
        assert_eq!(machine.enter(0, ()), Entry::Full);
    }
    assert_eq!((machine.in_use(), machine.queued()), (4, 2));
}

#[test]
fn without_a_queue_the_next_is_refused_at_once() {
    let mut machine = Machine::new(1, 0, &[]);
    take(&mut machine);
    assert_eq!(machine.enter(0, ()), Entry::Full);
    assert_eq!(machine.leave(0), None);
    take(&mut machine);
}

#[test]
fn slots_pass_in_order_of_arrival_and_are_never_free_in_between() {
    let mut machine = Machine::new(1, 3, &[]);
    take(&mut machine);
    let first = queue(&mut machine);
    let second = queue(&mut machine);
    assert_eq!(machine.leave(0), Some((first, ())));
    assert_eq!(machine.in_use(), 1);
    let third = queue(&mut machine); // a newcomer does not overtake
    assert_eq!(machine.leave(0), Some((second, ())));
    assert_eq!(machine.leave(0), Some((third, ())));
    assert_eq!(machine.leave(0), None);
    assert_eq!((machine.in_use(), machine.queued()), (0, 0));
}

#[test]
fn a_cancelled_waiter_frees_its_place_and_gets_no_slot() {
    let mut machine = Machine::new(1, 2, &[]);
    take(&mut machine);
    let first = queue(&mut machine);
    let second = queue(&mut machine);
    assert_eq!(machine.enter(0, ()), Entry::Full);
    assert_eq!(machine.cancel(first), Some(()));
    assert_eq!(machine.cancel(first), None);
    let third = queue(&mut machine);
    assert_eq!(machine.leave(0), Some((second, ())));
    assert_eq!(machine.leave(0), Some((third, ())));
}

#[test]
fn a_waiter_that_has_its_slot_is_out_of_the_queue() {
    let mut machine = Machine::new(1, 1, &[]);
    take(&mut machine);
    let waiter = queue(&mut machine);
    assert!(machine.waiter_mut(waiter).is_some());
    assert_eq!(machine.leave(0), Some((waiter, ())));
    assert!(machine.waiter_mut(waiter).is_none());
    assert_eq!(machine.cancel(waiter), None);
    assert_eq!(machine.in_use(), 1);
}

#[test]
fn a_shrunk_limit_drains_before_it_grants() {
    let mut machine = Machine::new(3, 1, &[]);
    for _ in 0..3 {
        take(&mut machine);
    }
    let waiter = queue(&mut machine);
    assert!(machine.resize(1, 1).is_empty());
    assert_eq!(machine.in_use(), 3);
    assert_eq!(machine.leave(0), None);
    assert_eq!(machine.leave(0), None);
    assert_eq!(machine.in_use(), 1);
    assert_eq!(machine.leave(0), Some((waiter, ())));
    assert_eq!(machine.in_use(), 1);
}

#[test]
fn a_grown_limit_wakes_as_many_as_fit_oldest_first() {
    let mut machine = Machine::new(1, 3, &[]);
    take(&mut machine);
    let first = queue(&mut machine);
    let second = queue(&mut machine);
    let third = queue(&mut machine);
    assert_eq!(ids(machine.resize(3, 3)), [first, second]);
    assert_eq!((machine.in_use(), machine.queued()), (3, 1));
    assert_eq!(ids(machine.resize(9, 3)), [third]);
    take(&mut machine);
}

#[test]
fn a_shorter_queue_throws_nobody_out() {
    let mut machine = Machine::new(1, 2, &[]);
    take(&mut machine);
    let first = queue(&mut machine);
    let second = queue(&mut machine);
    assert!(machine.resize(1, 1).is_empty());
    assert_eq!(machine.queued(), 2);
    assert_eq!(machine.enter(0, ()), Entry::Full);
    assert_eq!(machine.leave(0), Some((first, ())));
    assert_eq!(machine.enter(0, ()), Entry::Full);
    assert_eq!(machine.leave(0), Some((second, ())));
    queue(&mut machine);
}

#[test]
fn those_let_through_are_judged_by_the_bounds() {
    let mut machine: Machine<()> = Machine::new(2, 1, &[]);
    let judged: Vec<Would> = (0..5).map(|_| machine.enter_anyway(0)).collect();
    assert_eq!(
        judged,
        [
            Would::Grant,
            Would::Grant,
            Would::Queue,
            Would::Refuse,
            Would::Refuse
        ]
    );
    assert_eq!(machine.in_use(), 5);
    for _ in 0..3 {
        assert_eq!(machine.leave(0), None);
    }
    assert_eq!(machine.enter_anyway(0), Would::Queue);
}

#[test]
fn one_leave_too_many_is_harmless() {
    let mut machine: Machine<()> = Machine::new(1, 1, &[]);
    assert_eq!(machine.leave(0), None);
    assert_eq!(machine.in_use(), 0);
    take(&mut machine);
}

#[test]
fn entering_now_neither_queues_nor_overtakes() {
    let mut machine = Machine::new(1, 2, &[]);
    assert!(machine.enter_now(0));
    assert!(!machine.enter_now(0));
    assert_eq!((machine.in_use(), machine.queued()), (1, 0));
    let waiter = queue(&mut machine);
    assert!(!machine.enter_now(0));
    assert_eq!(machine.leave(0), Some((waiter, ())));
    assert!(!machine.enter_now(0));
    assert_eq!(machine.leave(0), None);
    assert!(machine.enter_now(0));
}

#[test]
fn all_are_admitted_whatever_the_limit() {
    let mut machine = Machine::new(1, 3, &[]);
    take(&mut machine);
    let waiters = [queue(&mut machine), queue(&mut machine)];
    assert_eq!(ids(machine.admit_all()), waiters);
    assert_eq!((machine.in_use(), machine.queued()), (3, 0));
    assert_eq!(machine.cancel(waiters[0]), None);
    assert_eq!(
        machine.enter(0, ()),
        Entry::Queued(WaiterId {
            arrival: 2,
            class: 0
        })
    );
    assert_eq!(machine.leave(0), None);
}
