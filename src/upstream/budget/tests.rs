use std::task::{Context, Waker};
use std::time::Duration;

use super::*;

fn budget(deposit: u32, min_per_second: u32) -> (Arc<Budget>, Instant) {
    let settings = Settings {
        deposit,
        min_per_second,
        window: Duration::from_secs(60),
    };
    let now = crate::time::now();
    (Arc::new(Budget::new(settings, now)), now)
}

#[test]
fn guards_cross_threads() {
    fn is_send<T: Send>() {}
    is_send::<Withdrawal>();
}

#[test]
fn a_withdrawal_goes_back_unless_spent() {
    let (budget, now) = budget(1000, 0);
    budget.deposit(now);
    let withdrawal = budget.withdraw(now).unwrap();
    assert_eq!(budget.view(now).balance, 0);
    assert!(budget.withdraw(now).is_none());
    drop(withdrawal);
    assert_eq!(budget.view(now).balance, 1000);
    budget.withdraw(now).unwrap().spend();
    assert_eq!(budget.view(now).balance, 0);
}

#[test]
fn a_withdrawal_outlives_its_settings_and_its_owner() {
    let (budget, now) = budget(0, 1);
    let withdrawal = budget.withdraw(now).unwrap();
    assert_eq!(budget.view(now).balance, 59_000);
    let settings = Settings {
        deposit: 0,
        min_per_second: 2,
        window: Duration::from_secs(60),
    };
    budget.reconfigure(settings, now);
    assert_eq!(budget.view(now).balance, 120_000);
    drop(withdrawal);
    assert_eq!(budget.view(now).balance, 120_000);

    let withdrawal = budget.withdraw(now).unwrap();
    drop(budget);
    drop(withdrawal);
}

#[test]
fn a_caller_that_leaves_during_the_wait_gives_back() {
    let (budget, now) = budget(0, 1);
    let withdrawal = budget.withdraw(now).unwrap();
    let mut retry = Box::pin(async move {
        std::future::pending::<()>().await;
        withdrawal.spend();
    });
    let polled = retry.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    assert_eq!(budget.view(now).balance, 59_000);
    drop(retry);
    assert_eq!(budget.view(now).balance, 60_000);
}
