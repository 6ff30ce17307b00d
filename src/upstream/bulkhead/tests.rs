mod classes;

use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Counts how often it was woken, and looks at a bulkhead while it is: that would hang if wakers
/// ran under the lock.
#[derive(Default)]
struct Bell {
    rung: AtomicUsize,
    looks_at: Option<Arc<Bulkhead>>,
}

impl Bell {
    fn rung(&self) -> usize {
        self.rung.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(bulkhead) = &self.looks_at {
            bulkhead.view();
        }
        self.rung.fetch_add(1, Ordering::SeqCst);
    }
}

fn enforcing(limit: usize, max_queued: usize) -> Arc<Bulkhead> {
    Arc::new(Bulkhead::new(Mode::Enforce, limit, max_queued, None))
}

fn slot(bulkhead: &Arc<Bulkhead>) -> Slot {
    slot_in(bulkhead, 0)
}

#[track_caller]
fn slot_in(bulkhead: &Arc<Bulkhead>, class: usize) -> Slot {
    match bulkhead.enter(class) {
        Entry::Slot(slot) => slot,
        other => panic!("expected a slot, not {other:?}"),
    }
}

fn wait(bulkhead: &Arc<Bulkhead>) -> Waiting {
    wait_in(bulkhead, 0)
}

#[track_caller]
fn wait_in(bulkhead: &Arc<Bulkhead>, class: usize) -> Waiting {
    match bulkhead.enter(class) {
        Entry::Wait(waiting) => waiting,
        other => panic!("expected a place in the queue, not {other:?}"),
    }
}

fn poll(waiting: &mut Waiting, bell: &Arc<Bell>) -> Option<Slot> {
    let waker = Waker::from(Arc::clone(bell));
    match Pin::new(waiting).poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(slot) => Some(slot),
        Poll::Pending => None,
    }
}

#[test]
fn guards_cross_threads() {
    fn is_send<T: Send>() {}
    is_send::<Slot>();
    is_send::<Waiting>();
}

#[test]
fn a_freed_slot_wakes_the_oldest_waiter_and_no_newcomer_overtakes() {
    let bulkhead = enforcing(1, 3);
    let bell = |bulkhead: &Arc<Bulkhead>| {
        Arc::new(Bell {
            looks_at: Some(Arc::clone(bulkhead)),
            ..Bell::default()
        })
    };
    let held = slot(&bulkhead);
    let (mut first, mut second) = (wait(&bulkhead), wait(&bulkhead));
    let (one, two) = (bell(&bulkhead), bell(&bulkhead));
    assert!(poll(&mut first, &one).is_none());
    assert!(poll(&mut second, &two).is_none());
    drop(held);
    assert_eq!((one.rung(), two.rung()), (1, 0));
    let mut newcomer = wait(&bulkhead);
    assert_eq!(bulkhead.view(), (1, 2));
    assert!(poll(&mut second, &two).is_none());
    let held = poll(&mut first, &one).expect("the slot was passed on");
    drop(held);
    assert_eq!((one.rung(), two.rung()), (1, 1));
    drop(poll(&mut second, &two).expect("the slot was passed on"));
    drop(poll(&mut newcomer, &one).expect("the slot was passed on"));
    assert_eq!(bulkhead.view(), (0, 0));
}

#[test]
fn a_waiter_granted_before_its_first_poll_is_ready_at_once() {
    let bulkhead = enforcing(1, 1);
    let held = slot(&bulkhead);
    let mut waiting = wait(&bulkhead);
    drop(held);
    assert_eq!(bulkhead.view(), (1, 0));
    let held = poll(&mut waiting, &Arc::default()).expect("the slot was passed on");
    assert!(poll(&mut waiting, &Arc::default()).is_none());
    drop(waiting);
    assert_eq!(bulkhead.view(), (1, 0));
    drop(held);
    assert_eq!(bulkhead.view(), (0, 0));
}

#[test]
fn a_waiter_that_leaves_is_out_of_the_queue_at_once() {
    let bulkhead = enforcing(1, 2);
    let held = slot(&bulkhead);
    let (mut first, mut second) = (wait(&bulkhead), wait(&bulkhead));
    let (one, two) = (Arc::default(), Arc::default());
    assert!(poll(&mut first, &one).is_none());
    assert!(poll(&mut second, &two).is_none());
    drop(first);
    assert_eq!(bulkhead.view(), (1, 1));
    drop(held);
    assert_eq!((one.rung(), two.rung()), (0, 1));
    assert!(poll(&mut second, &two).is_some());
}

#[test]
fn a_slot_granted_to_waiters_that_leave_goes_to_the_one_that_stays() {
    let bulkhead = enforcing(1, 3);
    let held = slot(&bulkhead);
    let (first, second, mut third) = (wait(&bulkhead), wait(&bulkhead), wait(&bulkhead));
    let bell = Arc::default();
    assert!(poll(&mut third, &bell).is_none());
    drop(held); // granted to the first
    drop(first); // passed on to the second
    assert_eq!((bulkhead.view(), bell.rung()), ((1, 1), 0));
    drop(second); // passed on to the third
    assert_eq!((bulkhead.view(), bell.rung()), ((1, 0), 1));
    drop(third);
    assert_eq!(bulkhead.view(), (0, 0));
}

#[test]
fn only_the_latest_waker_is_woken() {
    let bulkhead = enforcing(1, 1);
    let held = slot(&bulkhead);
    let mut waiting = wait(&bulkhead);
    let (old, new) = (Arc::default(), Arc::default());
    assert!(poll(&mut waiting, &old).is_none());
    assert!(poll(&mut waiting, &new).is_none());
    drop(held);
    assert_eq!((old.rung(), new.rung()), (0, 1));
}

#[test]
fn a_refusal_leaves_nothing_behind() {
    let bulkhead = enforcing(1, 0);
    let held = slot(&bulkhead);
    for _ in 0..10 {
        assert!(matches!(bulkhead.enter(0), Entry::Full { .. }));
    }
    assert_eq!(bulkhead.view(), (1, 0));
    assert_eq!(bulkhead.would_have(), WouldHave::default());
    drop(held);
    assert_eq!(bulkhead.view(), (0, 0));
}

#[test]
fn observing_lets_everybody_through_and_counts() {
    let bulkhead = Arc::new(Bulkhead::new(Mode::Observe, 2, 1, None));
    let held: Vec<Slot> = (0..5).map(|_| slot(&bulkhead)).collect();
    assert_eq!(bulkhead.view(), (5, 0));
    assert_eq!(
        bulkhead.would_have(),
        WouldHave {
            queued: 1,
            refused: 2
        }
    );
    drop(held);
    assert_eq!(bulkhead.view(), (0, 0));
}

#[test]
fn off_only_counts_those_in_flight() {
    let bulkhead = Arc::new(Bulkhead::new(Mode::Off, 1, 0, None));
    let held = [slot(&bulkhead), slot(&bulkhead)];
    assert_eq!(bulkhead.view(), (2, 0));
    assert_eq!(bulkhead.would_have(), WouldHave::default());
    drop(held);
    assert_eq!(bulkhead.view(), (0, 0));
}

#[test]
fn a_reload_that_raises_the_limit_wakes_waiters() {
    let bulkhead = enforcing(1, 2);
    let held = slot(&bulkhead);
    let (mut first, mut second) = (wait(&bulkhead), wait(&bulkhead));
    let (one, two) = (Arc::default(), Arc::default());
    assert!(poll(&mut first, &one).is_none());
    assert!(poll(&mut second, &two).is_none());
    bulkhead.reconfigure(Mode::Enforce, 2, 2);
    assert_eq!((one.rung(), two.rung()), (1, 0));
    assert_eq!(bulkhead.view(), (2, 1));
    drop((held, first, second));
    assert_eq!(bulkhead.view(), (0, 0));
}

#[test]
fn a_reload_that_lowers_the_limit_drains_to_it() {
    let bulkhead = enforcing(2, 1);
    let (a, b) = (slot(&bulkhead), slot(&bulkhead));
    let mut waiting = wait(&bulkhead);
    let bell = Arc::default();
    assert!(poll(&mut waiting, &bell).is_none());
    bulkhead.reconfigure(Mode::Enforce, 1, 1);
    drop(a);
    assert_eq!((bulkhead.view(), bell.rung()), ((1, 1), 0));
    drop(b);
    assert_eq!((bulkhead.view(), bell.rung()), ((1, 0), 1));
    assert!(poll(&mut waiting, &bell).is_some());
}

#[test]
fn a_reload_that_stops_enforcing_lets_all_waiters_in() {
    for mode in [Mode::Observe, Mode::Off] {
        let bulkhead = enforcing(1, 2);
        let held = slot(&bulkhead);
        let (mut first, mut second) = (wait(&bulkhead), wait(&bulkhead));
        bulkhead.reconfigure(mode, 1, 2);
        assert_eq!(bulkhead.view(), (3, 0));
        let slots = (
            poll(&mut first, &Arc::default()).expect("let in"),
            poll(&mut second, &Arc::default()).expect("let in"),
        );
        // Enforcing again: the limit holds for newcomers until the crowd has drained.
        bulkhead.reconfigure(Mode::Enforce, 1, 2);
        let mut waiting = wait(&bulkhead);
        drop(slots);
        assert!(poll(&mut waiting, &Arc::default()).is_none());
        drop(held);
        assert!(poll(&mut waiting, &Arc::default()).is_some());
    }
}

#[test]
fn a_slot_at_once_or_none_and_nothing_is_counted() {
    let bulkhead = enforcing(1, 1);
    let held = bulkhead.enter_now(0).expect("one is free");
    assert!(bulkhead.enter_now(0).is_none());
    let waiting = wait(&bulkhead);
    drop(held);
    // It was passed on, not put back.
    assert!(bulkhead.enter_now(0).is_none());
    drop(waiting);
    assert!(bulkhead.enter_now(0).is_some());
    assert_eq!(bulkhead.in_flight(), 0);
    for mode in [Mode::Observe, Mode::Off] {
        let bulkhead = Arc::new(Bulkhead::new(mode, 1, 0, None));
        let held = [bulkhead.enter_now(0), bulkhead.enter_now(0)];
        assert!(held.iter().all(Option::is_some));
        assert_eq!(bulkhead.in_flight(), 2);
        assert_eq!(bulkhead.would_have(), WouldHave::default());
    }
}

#[test]
fn the_smaller_limit_is_in_force() {
    let bulkhead = enforcing(8, 1);
    for (adaptive, effective) in [
        (Some(3), 3),
        (Some(8), 8),
        (Some(9), 8),
        (Some(0), 1),
        (None, 8),
    ] {
        bulkhead.adapt(adaptive);
        assert_eq!(bulkhead.effective_limit(), effective, "{adaptive:?}");
    }
    bulkhead.adapt(Some(5));
    bulkhead.reconfigure(Mode::Enforce, 4, 1);
    assert_eq!(bulkhead.effective_limit(), 4);
    bulkhead.reconfigure(Mode::Enforce, 9, 1);
    assert_eq!(bulkhead.effective_limit(), 5);
}

#[test]
fn a_lower_limit_drains_and_a_higher_one_wakes() {
    let bulkhead = enforcing(4, 4);
    let mut held = vec![slot(&bulkhead), slot(&bulkhead), slot(&bulkhead)];
    bulkhead.adapt(Some(2));
    assert_eq!(bulkhead.view(), (3, 0));
    let (mut first, mut second) = (wait(&bulkhead), wait(&bulkhead));
    let (one, two) = (Arc::default(), Arc::default());
    assert!(poll(&mut first, &one).is_none());
    assert!(poll(&mut second, &two).is_none());
    held.pop();
    assert_eq!(bulkhead.view(), (2, 2));
    bulkhead.adapt(Some(3));
    assert_eq!((one.rung(), two.rung()), (1, 0));
    bulkhead.adapt(Some(3));
    bulkhead.adapt(None);
    assert_eq!((one.rung(), two.rung()), (1, 1));
    assert_eq!(bulkhead.view(), (4, 0));
    drop((held, first, second));
    assert_eq!(bulkhead.view(), (0, 0));
}

#[test]
fn a_refusal_says_which_limit_it_was() {
    let refused = |bulkhead: &Arc<Bulkhead>| match bulkhead.enter(0) {
        Entry::Full { adaptive } => adaptive,
        other => panic!("expected a refusal, not {other:?}"),
    };
    let bulkhead = enforcing(2, 0);
    bulkhead.adapt(Some(1));
    let first = slot(&bulkhead);
    assert!(refused(&bulkhead));
    bulkhead.adapt(None);
    let second = slot(&bulkhead);
    assert!(!refused(&bulkhead));
    // With both slots taken it is not the adaptive limit's doing alone.
    bulkhead.adapt(Some(1));
    assert!(!refused(&bulkhead));
    drop(second);
    assert!(refused(&bulkhead));
    drop(first);
}

#[derive(Clone, Debug)]
enum Op {
    Enter(usize),
    EnterNow(usize),
    Adapt(Option<usize>),
    Poll(prop::sample::Index),
    DropSlot(prop::sample::Index),
    DropWaiting(prop::sample::Index),
    Reconfigure(Mode, usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    let mode =
        prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::Observe), 1 => Just(Mode::Off)];
    prop_oneof![
        6 => (0_usize..4).prop_map(Op::Enter),
        1 => (0_usize..4).prop_map(Op::EnterNow),
        1 => prop::option::of(0_usize..5).prop_map(Op::Adapt),
        4 => index().prop_map(Op::Poll),
        4 => index().prop_map(Op::DropSlot),
        2 => index().prop_map(Op::DropWaiting),
        1 => (mode, 1_usize..4, 0_usize..4).prop_map(|(mode, limit, queue)| {
            Op::Reconfigure(mode, limit, queue)
        }),
    ]
}

proptest! {
    /// Whatever happens, slots in use are those held plus those granted and not noticed yet, and
    /// when all guards are gone nothing is in use.
    #[test]
    fn no_slot_is_lost_or_made_up(ops in vec(op(), 0..200)) {
        let priority = classes::priority(Mode::Enforce);
        let bulkhead = Arc::new(Bulkhead::new(Mode::Enforce, 2, 3, Some(&priority)));
        let mut slots: Vec<Slot> = Vec::new();
        let mut waiting: Vec<(Waiting, Arc<Bell>)> = Vec::new();
        for op in ops {
            match op {
                Op::Enter(class) => match bulkhead.enter(class) {
                    Entry::Slot(slot) => slots.push(slot),
                    Entry::Wait(new) => waiting.push((new, Arc::default())),
                    Entry::Full { .. } => {}
                },
                Op::EnterNow(class) => slots.extend(bulkhead.enter_now(class)),
                Op::Adapt(limit) => bulkhead.adapt(limit),
                Op::Poll(index) if !waiting.is_empty() => {
                    let index = index.index(waiting.len());
                    let (place, bell) = &mut waiting[index];
                    let woken = bell.rung() > 0;
                    match poll(place, bell) {
                        Some(slot) => {
                            slots.push(slot);
                            drop(waiting.remove(index));
                        }
                        None => prop_assert!(!woken, "woken without a slot"),
                    }
                }
                Op::DropSlot(index) if !slots.is_empty() => {
                    drop(slots.swap_remove(index.index(slots.len())));
                }
                Op::DropWaiting(index) if !waiting.is_empty() => {
                    drop(waiting.remove(index.index(waiting.len())));
                }
                Op::Poll(_) | Op::DropSlot(_) | Op::DropWaiting(_) => {}
                Op::Reconfigure(mode, limit, max_queued) => {
                    bulkhead.reconfigure(mode, limit, max_queued);
                }
            }
            let (in_use, queued) = bulkhead.view();
            prop_assert_eq!(in_use + queued, slots.len() + waiting.len());
            prop_assert!(in_use >= slots.len());
        }
        drop(slots);
        bulkhead.adapt(None);
        // Those left get their slots in turn: there is no slot that nobody passes on.
        while !waiting.is_empty() {
            let mut ready = waiting.iter_mut().enumerate();
            let slot = ready.find_map(|(at, (place, bell))| Some((at, poll(place, bell)?)));
            let (at, slot) = slot.expect("somebody has a slot");
            drop(waiting.swap_remove(at));
            drop(slot);
        }
        prop_assert_eq!(bulkhead.view(), (0, 0));
    }
}

/// Wakes a thread that parks.
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

#[test]
fn threads_never_exceed_the_limit_and_all_get_their_turn() {
    const THREADS: usize = 4;
    const LIMIT: usize = 2;
    let bulkhead = enforcing(LIMIT, THREADS);
    let inside = AtomicUsize::new(0);
    let start = Barrier::new(THREADS);
    let work = |waiting: Slot| {
        assert!(inside.fetch_add(1, Ordering::SeqCst) < LIMIT);
        thread::yield_now();
        inside.fetch_sub(1, Ordering::SeqCst);
        drop(waiting);
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (bulkhead, start, work) = (&bulkhead, &start, &work);
            scope.spawn(move || {
                start.wait();
                for turn in 0..500 {
                    match bulkhead.enter(0) {
                        Entry::Slot(slot) => work(slot),
                        // Some leave the queue instead of waiting.
                        Entry::Wait(waiting) if (turn + thread) % 5 == 0 => drop(waiting),
                        Entry::Wait(waiting) => work(block_on(waiting)),
                        Entry::Full { .. } => panic!("the queue has room for every thread"),
                    }
                }
            });
        }
    });
    assert_eq!(bulkhead.view(), (0, 0));
}
