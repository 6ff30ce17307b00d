//! Every interleaving of a refund, a withdrawal and a reload.
//!
//! Run with `RUSTFLAGS="--cfg outrigger_loom" cargo test --lib models`. Slots are 6 s long, so that
//! no execution sees one expire.

use std::time::Duration;

use loom::thread;

use super::*;

fn settings(min_per_second: u32) -> Settings {
    Settings {
        deposit: 1000,
        min_per_second,
        window: Duration::from_secs(60),
    }
}

/// A budget that holds this many retries.
fn holding(retries: usize) -> (Arc<Budget>, Instant) {
    let now = crate::time::now();
    let budget = Arc::new(Budget::new(settings(0), now));
    for _ in 0..retries {
        budget.deposit(now);
    }
    (budget, now)
}

#[test]
fn racing_retries_share_the_balance_exactly() {
    loom::model(|| {
        let (budget, now) = holding(1);
        let other = Arc::clone(&budget);
        let withdrawing = thread::spawn(move || other.withdraw(now));
        let own = budget.withdraw(now);
        let others = withdrawing.join().unwrap();
        assert!(own.is_some() != others.is_some());
        drop((own, others));
        assert_eq!(budget.view(now).balance, 1000);
    });
}

#[test]
fn a_refund_that_crosses_a_deposit_and_a_withdrawal_is_made_once() {
    loom::model(|| {
        let (budget, now) = holding(1);
        let abandoned = budget.withdraw(now).unwrap();
        let leaving = thread::spawn(move || drop(abandoned));
        let other = Arc::clone(&budget);
        let depositing = thread::spawn(move || other.deposit(now));
        let spent = budget.withdraw(now).map(Withdrawal::spend).is_some();
        leaving.join().unwrap();
        depositing.join().unwrap();
        let expected = if spent { 1000 } else { 2000 };
        assert_eq!(budget.view(now).balance, expected);
    });
}

#[test]
fn a_refund_that_crosses_a_reload_never_reaches_the_new_budget() {
    loom::model(|| {
        let (budget, now) = holding(1);
        let abandoned = budget.withdraw(now).unwrap();
        let leaving = thread::spawn(move || drop(abandoned));
        budget.reconfigure(settings(1), now);
        leaving.join().unwrap();
        assert_eq!(budget.view(now).balance, 60_000);
    });
}
