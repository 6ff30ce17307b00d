use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Enters and insists on a slot.
fn take(machine: &mut Machine<()>) {
    assert_eq!(machine.enter(()), Entry::Granted);
}

/// Enters and insists on a place in the queue.
fn queue(machine: &mut Machine<()>) -> WaiterId {
    match machine.enter(()) {
        Entry::Queued(id) => id,
        other => panic!("expected a place in the queue, not {other:?}"),
    }
}

fn ids(woken: Vec<(WaiterId, ())>) -> Vec<WaiterId> {
    woken.into_iter().map(|(id, ())| id).collect()
}

#[test]
fn a_bulkhead_of_four_with_two_places_refuses_the_seventh() {
    let mut machine = Machine::new(4, 2);
    for _ in 0..4 {
        take(&mut machine);
    }
    queue(&mut machine);
    queue(&mut machine);
    for _ in 0..4 {
        assert_eq!(machine.enter(()), Entry::Full);
    }
    assert_eq!((machine.in_use(), machine.queued()), (4, 2));
}

#[test]
fn without_a_queue_the_next_is_refused_at_once() {
    let mut machine = Machine::new(1, 0);
    take(&mut machine);
    assert_eq!(machine.enter(()), Entry::Full);
    assert_eq!(machine.leave(), None);
    take(&mut machine);
}

#[test]
fn slots_pass_in_order_of_arrival_and_are_never_free_in_between() {
    let mut machine = Machine::new(1, 3);
    take(&mut machine);
    let first = queue(&mut machine);
    let second = queue(&mut machine);
    assert_eq!(machine.leave(), Some((first, ())));
    assert_eq!(machine.in_use(), 1);
    let third = queue(&mut machine); // a newcomer does not overtake
    assert_eq!(machine.leave(), Some((second, ())));
    assert_eq!(machine.leave(), Some((third, ())));
    assert_eq!(machine.leave(), None);
    assert_eq!((machine.in_use(), machine.queued()), (0, 0));
}

#[test]
fn a_cancelled_waiter_frees_its_place_and_gets_no_slot() {
    let mut machine = Machine::new(1, 2);
    take(&mut machine);
    let first = queue(&mut machine);
    let second = queue(&mut machine);
    assert_eq!(machine.enter(()), Entry::Full);
    assert_eq!(machine.cancel(first), Some(()));
    assert_eq!(machine.cancel(first), None);
    let third = queue(&mut machine);
    assert_eq!(machine.leave(), Some((second, ())));
    assert_eq!(machine.leave(), Some((third, ())));
}

#[test]
fn a_waiter_that_has_its_slot_is_out_of_the_queue() {
    let mut machine = Machine::new(1, 1);
    take(&mut machine);
    let waiter = queue(&mut machine);
    assert!(machine.waiter_mut(waiter).is_some());
    assert_eq!(machine.leave(), Some((waiter, ())));
    assert!(machine.waiter_mut(waiter).is_none());
    assert_eq!(machine.cancel(waiter), None);
    assert_eq!(machine.in_use(), 1);
}

#[test]
fn a_shrunk_limit_drains_before_it_grants() {
    let mut machine = Machine::new(3, 1);
    for _ in 0..3 {
        take(&mut machine);
    }
    let waiter = queue(&mut machine);
    assert!(machine.resize(1, 1).is_empty());
    assert_eq!(machine.in_use(), 3);
    assert_eq!(machine.leave(), None);
    assert_eq!(machine.leave(), None);
    assert_eq!(machine.in_use(), 1);
    assert_eq!(machine.leave(), Some((waiter, ())));
    assert_eq!(machine.in_use(), 1);
}

#[test]
fn a_grown_limit_wakes_as_many_as_fit_oldest_first() {
    let mut machine = Machine::new(1, 3);
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
    let mut machine = Machine::new(1, 2);
    take(&mut machine);
    let first = queue(&mut machine);
    let second = queue(&mut machine);
    assert!(machine.resize(1, 1).is_empty());
    assert_eq!(machine.queued(), 2);
    assert_eq!(machine.enter(()), Entry::Full);
    assert_eq!(machine.leave(), Some((first, ())));
    assert_eq!(machine.enter(()), Entry::Full);
    assert_eq!(machine.leave(), Some((second, ())));
    queue(&mut machine);
}

#[test]
fn those_let_through_are_judged_by_the_bounds() {
    let mut machine: Machine<()> = Machine::new(2, 1);
    let judged: Vec<Would> = (0..5).map(|_| machine.enter_anyway()).collect();
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
        assert_eq!(machine.leave(), None);
    }
    assert_eq!(machine.enter_anyway(), Would::Queue);
}

#[test]
fn one_leave_too_many_is_harmless() {
    let mut machine: Machine<()> = Machine::new(1, 1);
    assert_eq!(machine.leave(), None);
    assert_eq!(machine.in_use(), 0);
    take(&mut machine);
}

#[derive(Clone, Debug)]
enum Op {
    Enter,
    EnterAnyway,
    Leave,
    Cancel(prop::sample::Index),
    Resize(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Enter),
        1 => Just(Op::EnterAnyway),
        4 => Just(Op::Leave),
        2 => any::<prop::sample::Index>().prop_map(Op::Cancel),
        1 => (0_usize..5, 0_usize..5).prop_map(|(limit, queue)| Op::Resize(limit, queue)),
    ]
}

/// The same rules told naively: everybody is listed.
#[derive(Default)]
struct Model {
    limit: usize,
    max_queued: usize,
    in_use: usize,
    queue: VecDeque<WaiterId>,
}

impl Model {
    fn promoted(&mut self) -> Vec<WaiterId> {
        let mut woken = Vec::new();
        while self.in_use < self.limit {
            let Some(id) = self.queue.pop_front() else {
                break;
            };
            self.in_use += 1;
            woken.push(id);
        }
        woken
    }
}

proptest! {
    #[test]
    fn the_machine_does_what_the_naive_model_does(
        limit in 0_usize..5,
        max_queued in 0_usize..5,
        ops in vec(op(), 0..200),
    ) {
        let mut machine = Machine::new(limit, max_queued);
        let mut model = Model { limit, max_queued, ..Model::default() };
        let mut issued = Vec::new();
        for op in ops {
            match op {
                Op::Enter => match machine.enter(()) {
                    Entry::Granted => {
                        prop_assert!(model.in_use < model.limit && model.queue.is_empty());
                        model.in_use += 1;
                    }
                    Entry::Queued(id) => {
                        prop_assert!(model.in_use >= model.limit);
                        prop_assert!(model.queue.len() < model.max_queued);
                        prop_assert!(issued.last().is_none_or(|&last| last < id));
                        issued.push(id);
                        model.queue.push_back(id);
                    }
                    Entry::Full => {
                        prop_assert!(model.in_use >= model.limit);
                        prop_assert!(model.queue.len() >= model.max_queued);
                    }
                },
                Op::EnterAnyway => {
                    let beyond = (model.in_use + 1).saturating_sub(model.limit);
                    let expected = match beyond {
                        0 => Would::Grant,
                        n if n <= model.max_queued => Would::Queue,
                        _ => Would::Refuse,
                    };
                    prop_assert_eq!(machine.enter_anyway(), expected);
                    model.in_use += 1;
                }
                Op::Leave if model.in_use > 0 => {
                    let woken = machine.leave();
                    model.in_use -= 1;
                    let expected = model.promoted();
                    prop_assert!(expected.len() <= 1);
                    prop_assert_eq!(woken.map(|(id, ())| id), expected.first().copied());
                }
                Op::Leave => {}
                Op::Cancel(index) => {
                    if !issued.is_empty() {
                        let id = *index.get(&issued);
                        let place = model.queue.iter().position(|&queued| queued == id);
                        prop_assert_eq!(machine.waiter_mut(id).is_some(), place.is_some());
                        prop_assert_eq!(machine.cancel(id).is_some(), place.is_some());
                        place.map(|place| model.queue.remove(place));
                    }
                }
                Op::Resize(limit, max_queued) => {
                    model.limit = limit;
                    model.max_queued = max_queued;
                    let woken = ids(machine.resize(limit, max_queued));
                    prop_assert_eq!(woken, model.promoted());
                }
            }
            prop_assert_eq!(machine.in_use(), model.in_use);
            prop_assert_eq!(machine.queued(), model.queue.len());
        }
    }
}
