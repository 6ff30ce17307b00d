//! The attempt clock.

use super::*;

#[test]
fn it_runs_until_it_is_stopped() {
    let start = crate::time::now();
    let mut clock = AttemptClock::start(start);
    assert_eq!(clock.elapsed(start), Duration::ZERO);
    assert_eq!(clock.elapsed(start + ms(30)), ms(30));
    clock.stop(start + ms(40));
    assert_eq!(clock.elapsed(start + ms(90)), ms(40));
    // For good: neither a pause nor its end is one any more.
    assert!(!clock.pause(start + ms(50)));
    assert!(!clock.resume(start + ms(60)));
    assert_eq!(clock.elapsed(start + ms(90)), ms(40));
}

#[test]
fn it_stands_while_the_upload_is_awaited() {
    let start = crate::time::now();
    let mut clock = AttemptClock::start(start);
    assert!(!clock.resume(start + ms(5)), "it runs");
    assert!(clock.pause(start + ms(10)));
    assert!(!clock.pause(start + ms(20)), "it stands since the first");
    assert_eq!(clock.elapsed(start + ms(25)), ms(10));
    assert!(clock.resume(start + ms(30)));
    assert!(!clock.resume(start + ms(35)));
    assert_eq!(clock.elapsed(start + ms(35)), ms(15));
    // The second pause adds to the first.
    assert!(clock.pause(start + ms(40)));
    assert!(clock.resume(start + ms(100)));
    assert_eq!(clock.elapsed(start + ms(101)), ms(21));
}

#[test]
fn stopped_while_it_stands_it_has_run_until_then() {
    let start = crate::time::now();
    let mut clock = AttemptClock::start(start);
    clock.pause(start + ms(10));
    clock.stop(start + ms(30));
    assert!(!clock.resume(start + ms(40)));
    assert_eq!(clock.elapsed(start + ms(50)), ms(10));
}
