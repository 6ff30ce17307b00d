//! The machine beside the same rules told naively: everybody is listed, everything is counted anew.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Enter(usize),
    EnterNow(usize),
    EnterAnyway(usize),
    Leave(Index),
    Cancel(Index),
    Resize(usize, usize),
    Order(Order),
    AdmitAll,
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<Index>;
    prop_oneof![
        12 => (0_usize..4).prop_map(Op::Enter),
        1 => (0_usize..4).prop_map(Op::EnterNow),
        1 => (0_usize..4).prop_map(Op::EnterAnyway),
        8 => index().prop_map(Op::Leave),
        3 => index().prop_map(Op::Cancel),
        1 => (0_usize..9, 0_usize..9).prop_map(|(limit, queue)| Op::Resize(limit, queue)),
        1 => prop_oneof![Just(Order::Shares), Just(Order::Arrival)].prop_map(Op::Order),
        1 => Just(Op::AdmitAll),
    ]
}

struct Model {
    shares: Vec<u32>,
    order: Order,
    limit: usize,
    max_queued: usize,
    /// The class of each that is in flight.
    in_flight: Vec<usize>,
    /// In order of arrival.
    queue: Vec<WaiterId>,
    would_reorder: u64,
}

impl Model {
    fn known(&self, class: usize) -> usize {
        if class < self.shares.len() { class } else { 0 }
    }

    fn share_of(&self, class: usize, whole: usize) -> usize {
        whole * self.shares[class] as usize / 100_000
    }

    fn in_use(&self, class: usize) -> usize {
        self.in_flight.iter().filter(|&&c| c == class).count()
    }

    fn queued(&self, class: usize) -> usize {
        self.queue.iter().filter(|id| id.class == class).count()
    }

    fn reserved(&self, class: usize) -> usize {
        let least = usize::from(self.shares[class] > 0);
        self.share_of(class, self.limit).max(least)
    }

    fn places(&self) -> Vec<usize> {
        let classes = 0..self.shares.len();
        let mut places: Vec<_> = classes.map(|c| self.share_of(c, self.max_queued)).collect();
        for class in 0..places.len() {
            let left = places.iter().sum::<usize>() < self.max_queued;
            if places[class] == 0 && self.shares[class] > 0 && left {
                places[class] = 1;
            }
        }
        places
    }

    fn has_place(&self, class: usize) -> bool {
        let mut taken = self.queue.len();
        if self.order == Order::Shares {
            for (other, places) in self.places().into_iter().enumerate() {
                if other != class && places > self.queued(other) {
                    taken += places - self.queued(other);
                }
            }
        }
        taken < self.max_queued
    }

    /// Where in the queue the one stands whose turn it is by the shares.
    fn by_shares(&self) -> usize {
        let gap = |at: usize| {
            let class = self.queue[at].class;
            self.reserved(class) as i64 - self.in_use(class) as i64
        };
        let mut best = 0;
        for at in 1..self.queue.len() {
            if gap(at) > 0 && gap(at) > gap(best) {
                best = at;
            }
        }
        best
    }

    fn promoted(&mut self) -> Vec<WaiterId> {
        let mut woken = Vec::new();
        while self.in_flight.len() < self.limit && !self.queue.is_empty() {
            let by_shares = self.by_shares();
            let at = match self.order {
                Order::Shares => by_shares,
                Order::Arrival => {
                    self.would_reorder += u64::from(by_shares != 0);
                    0
                }
            };
            let id = self.queue.remove(at);
            self.in_flight.push(id.class);
            woken.push(id);
        }
        woken
    }
}

fn shares() -> impl Strategy<Value = Vec<u32>> {
    // Up to four classes, together at most the whole.
    vec(0_u32..=25_000, 0..=4)
}

proptest! {
    #[test]
    fn the_machine_does_what_the_naive_model_does(
        limit in 0_usize..9,
        max_queued in 0_usize..9,
        shares in shares(),
        ops in vec(op(), 0..200),
    ) {
        let mut machine = Machine::new(limit, max_queued, &shares);
        let shares = if shares.is_empty() { vec![0] } else { shares };
        let mut model = Model {
            shares,
            order: Order::Shares,
            limit,
            max_queued,
            in_flight: Vec::new(),
            queue: Vec::new(),
            would_reorder: 0,
        };
        let mut issued: Vec<WaiterId> = Vec::new();
        for op in ops {
            match op {
                Op::Enter(class) => {
                    let free = model.in_flight.len() < model.limit && model.queue.is_empty();
                    let known = model.known(class);
                    match machine.enter(class, ()) {
                        Entry::Granted => {
                            prop_assert!(free);
                            model.in_flight.push(known);
                        }
                        Entry::Queued(id) => {
                            prop_assert!(!free && model.has_place(known));
                            prop_assert_eq!(id.class(), known);
                            prop_assert!(issued.last().is_none_or(|&last| last < id));
                            issued.push(id);
                            model.queue.push(id);
                        }
                        Entry::Full => prop_assert!(!free && !model.has_place(known)),
                    }
                }
                Op::EnterNow(class) => {
                    let free = model.in_flight.len() < model.limit && model.queue.is_empty();
                    prop_assert_eq!(machine.enter_now(class), free);
                    if free {
                        model.in_flight.push(model.known(class));
                    }
                }
                Op::EnterAnyway(class) => {
                    let beyond = (model.in_flight.len() + 1).saturating_sub(model.limit);
                    let expected = match beyond {
                        0 => Would::Grant,
                        n if n <= model.max_queued => Would::Queue,
                        _ => Would::Refuse,
                    };
                    prop_assert_eq!(machine.enter_anyway(class), expected);
                    model.in_flight.push(model.known(class));
                }
                Op::Leave(index) if !model.in_flight.is_empty() => {
                    let class = model.in_flight.swap_remove(index.index(model.in_flight.len()));
                    let woken = machine.leave(class);
                    let expected = model.promoted();
                    prop_assert!(expected.len() <= 1);
                    prop_assert_eq!(woken.map(|(id, ())| id), expected.first().copied());
                }
                Op::Cancel(index) if !issued.is_empty() => {
                    let id = *index.get(&issued);
                    let place = model.queue.iter().position(|&queued| queued == id);
                    prop_assert_eq!(machine.waiter_mut(id).is_some(), place.is_some());
                    prop_assert_eq!(machine.cancel(id).is_some(), place.is_some());
                    place.map(|place| model.queue.remove(place));
                }
                Op::Leave(_) | Op::Cancel(_) => {}
                Op::Resize(limit, max_queued) => {
                    model.limit = limit;
                    model.max_queued = max_queued;
                    let woken = ids(machine.resize(limit, max_queued));
                    prop_assert_eq!(woken, model.promoted());
                }
                Op::Order(order) => {
                    machine.set_order(order);
                    model.order = order;
                }
                Op::AdmitAll => {
                    let mut admitted = ids(machine.admit_all());
                    admitted.sort_unstable();
                    prop_assert_eq!(&admitted, &model.queue);
                    model.in_flight.extend(model.queue.drain(..).map(WaiterId::class));
                }
            }
            prop_assert_eq!(machine.in_use(), model.in_flight.len());
            prop_assert_eq!(machine.queued(), model.queue.len());
            prop_assert_eq!(machine.limit(), model.limit);
            prop_assert_eq!(machine.would_reorder(), model.would_reorder);
            for (class, standing) in machine.classes().enumerate() {
                let expected = Standing {
                    reserved: model.reserved(class),
                    in_use: model.in_use(class),
                    queued: model.queued(class),
                };
                prop_assert_eq!(standing, expected);
            }
        }
    }
}
