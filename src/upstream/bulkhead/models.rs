//! Every interleaving of a grant with what may cross it.
//!
//! Run with `RUSTFLAGS="--cfg outrigger_loom" cargo test --lib models`. A lost slot or wake-up
//! shows as a deadlock that loom reports.

use std::pin::pin;
use std::task::Wake;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::*;

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn enforcing(limit: usize, max_queued: usize) -> Arc<Bulkhead> {
    Arc::new(Bulkhead::new(Mode::Enforce, limit, max_queued, None))
}

fn slot(bulkhead: &Arc<Bulkhead>) -> Slot {
    match bulkhead.enter(0) {
        Entry::Slot(slot) => slot,
        other => panic!("expected a slot, not {other:?}"),
    }
}

fn wait(bulkhead: &Arc<Bulkhead>) -> Waiting {
    match bulkhead.enter(0) {
        Entry::Wait(waiting) => waiting,
        other => panic!("expected a place in the queue, not {other:?}"),
    }
}

#[test]
fn a_grant_that_crosses_the_first_poll_wakes_the_waiter() {
    loom::model(|| {
        let bulkhead = enforcing(1, 1);
        let held = slot(&bulkhead);
        let waiting = wait(&bulkhead);
        let releasing = thread::spawn(move || drop(held));
        drop(block_on(waiting));
        releasing.join().unwrap();
        assert_eq!(bulkhead.view(), (0, 0));
    });
}

#[test]
fn a_grant_that_crosses_a_departure_goes_to_the_next_waiter() {
    loom::model(|| {
        let bulkhead = enforcing(1, 2);
        let held = slot(&bulkhead);
        let (leaves, stays) = (wait(&bulkhead), wait(&bulkhead));
        let releasing = thread::spawn(move || drop(held));
        let leaving = thread::spawn(move || drop(leaves));
        drop(block_on(stays));
        releasing.join().unwrap();
        leaving.join().unwrap();
        assert_eq!(bulkhead.view(), (0, 0));
    });
}

#[test]
fn a_grant_that_crosses_a_reload_is_made_once() {
    loom::model(|| {
        let bulkhead = enforcing(1, 2);
        let held = slot(&bulkhead);
        let (first, second) = (wait(&bulkhead), wait(&bulkhead));
        let releasing = thread::spawn(move || drop(held));
        let reloaded = Arc::clone(&bulkhead);
        let reloading = thread::spawn(move || reloaded.reconfigure(Mode::Enforce, 2, 2));
        let first = block_on(first);
        let second = block_on(second);
        releasing.join().unwrap();
        reloading.join().unwrap();
        assert_eq!(bulkhead.view(), (2, 0));
        drop((first, second));
        assert_eq!(bulkhead.view(), (0, 0));
    });
}

#[test]
fn racing_newcomers_share_the_slots_exactly() {
    loom::model(|| {
        let bulkhead = enforcing(1, 1);
        let inside = Arc::new(AtomicUsize::new(0));
        let enter = |bulkhead: Arc<Bulkhead>, inside: Arc<AtomicUsize>| {
            let slot = match bulkhead.enter(0) {
                Entry::Slot(slot) => slot,
                Entry::Wait(waiting) => block_on(waiting),
                Entry::Full { .. } => panic!("one slot and one place are enough for two"),
            };
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            inside.fetch_sub(1, Ordering::SeqCst);
            drop(slot);
        };
        let (other, also_inside) = (Arc::clone(&bulkhead), Arc::clone(&inside));
        let entering = thread::spawn(move || enter(other, also_inside));
        enter(Arc::clone(&bulkhead), inside);
        entering.join().unwrap();
        assert_eq!(bulkhead.view(), (0, 0));
    });
}

#[test]
fn a_grant_that_crosses_an_adaptation_is_made_once() {
    loom::model(|| {
        let bulkhead = enforcing(2, 2);
        bulkhead.adapt(Some(1));
        let held = slot(&bulkhead);
        let (first, second) = (wait(&bulkhead), wait(&bulkhead));
        let releasing = thread::spawn(move || drop(held));
        let adapted = Arc::clone(&bulkhead);
        let adapting = thread::spawn(move || adapted.adapt(None));
        let first = block_on(first);
        let second = block_on(second);
        releasing.join().unwrap();
        adapting.join().unwrap();
        assert_eq!((bulkhead.view(), bulkhead.in_flight()), ((2, 0), 2));
        drop((first, second));
        assert_eq!(bulkhead.view(), (0, 0));
    });
}

#[test]
fn a_grant_to_a_class_that_crosses_a_departure_goes_to_the_other() {
    loom::model(|| {
        let class = |name: &str| model::Class {
            name: name.into(),
            share: 50_000,
        };
        let priority = Priority {
            mode: Mode::Enforce,
            header: None,
            classes: vec![class("live"), class("batch")],
            default: 0,
        };
        let bulkhead = Arc::new(Bulkhead::new(Mode::Enforce, 1, 2, Some(&priority)));
        let held = slot(&bulkhead);
        let place = |class| match bulkhead.enter(class) {
            Entry::Wait(waiting) => waiting,
            other => panic!("expected a place in the queue, not {other:?}"),
        };
        let (leaves, stays) = (place(0), place(1));
        let releasing = thread::spawn(move || drop(held));
        let leaving = thread::spawn(move || drop(leaves));
        drop(block_on(stays));
        releasing.join().unwrap();
        leaving.join().unwrap();
        assert_eq!(bulkhead.view(), (0, 0));
        assert!(bulkhead.classes().iter().all(|class| class.in_flight == 0));
    });
}
