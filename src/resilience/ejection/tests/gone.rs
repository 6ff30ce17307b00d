//! Endpoints that disappear and come back.

use super::*;

#[test]
fn an_endpoint_that_disappears_keeps_what_remains_of_its_ejection() {
    let mut bench = Bench::new(settings(), 3);
    bench.eject(1, s(1));
    for refresh in 0..10_u64 {
        // Rotating answers: now with it, now without.
        let answer: &[u32] = if refresh % 2 == 0 {
            &[0, 2, 3]
        } else {
            &[1, 2, 3]
        };
        bench.set(answer, s(2 + refresh));
        let expected: &[u32] = if refresh % 2 == 0 { &[] } else { &[1] };
        assert_eq!(bench.ejected(s(2 + refresh)), expected);
    }
    assert_eq!(bench.ejected(s(30)), [1]);
    assert!(bench.ejected(s(31)).is_empty());
    assert_eq!(bench.memory(1, s(31)), 1);
}

#[test]
fn an_endpoint_that_is_back_after_its_ejection_is_new() {
    let mut bench = Bench::new(settings(), 3);
    bench.eject(1, s(1));
    bench.set(&[0, 2], s(2));
    bench.set(&[0, 1, 2], s(31));
    assert!(bench.ejected(s(31)).is_empty());
    assert_eq!(bench.memory(1, s(31)), 0);
    assert!(bench.machine.gone.is_empty());
    // And what is said of its former life is no matter.
    for _ in 0..9 {
        bench.record_since(1, s(1), Failure, s(32));
    }
    assert!(bench.ejected(s(32)).is_empty());
}

#[test]
fn an_endpoint_that_disappears_in_service_is_forgotten() {
    let mut bench = Bench::new(settings(), 3);
    bench.record(1, Failure, 4, s(1));
    bench.set(&[0, 2], s(2));
    bench.record(1, Failure, 4, s(2));
    bench.set(&[0, 1, 2], s(3));
    bench.record(1, Failure, 4, s(3));
    assert!(bench.ejected(s(3)).is_empty());
    bench.set(&[2, 1, 1, 0], s(4)); // those that stay keep their count
    bench.record(1, Failure, 1, s(4));
    assert_eq!(bench.ejected(s(4)), [1]);
}

#[test]
fn no_more_than_so_many_are_remembered() {
    let most = u32::try_from(MAX_GONE).unwrap();
    let mut bench = Bench::new(settings(), 0);
    for n in 0..most + 10 {
        let at = ms(u64::from(n));
        bench.set(&[2 * n, 2 * n + 1], at);
        bench.eject(2 * n, at);
    }
    bench.set(&[], s(3));
    assert_eq!(bench.machine.gone.len(), MAX_GONE);
    assert!(
        !bench.machine.gone.contains_key(&18),
        "it would be back first"
    );
    assert!(bench.machine.gone.contains_key(&20));
}
