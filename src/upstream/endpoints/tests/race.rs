//! An ejection and a new set at the same time.

use std::sync::Barrier;
use std::thread;

use super::*;

#[test]
fn an_ejection_finds_the_endpoint_that_replaces_another_meanwhile() {
    let found = equal(&[1, 2, 3]);
    // Another `host` makes another endpoint of the same address.
    let replaced: Vec<_> = found
        .iter()
        .map(|found| Found {
            host: HeaderValue::from_static("other"),
            ..found.clone()
        })
        .collect();
    for _ in 0..300 {
        let bench = Bench::new(&config(), &found);
        for _ in 0..4 {
            bench.learn(&bench.pick_but(&[2, 3], s(1)), Failure, ms(1), s(1));
        }
        let fifth = bench.pick_but(&[2, 3], s(1));
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                bench.set(&replaced, s(1));
            });
            start.wait();
            bench.learn(&fifth, Failure, ms(1), s(1));
        });
        assert_eq!(bench.ejected(s(1)), [address(1)]);
    }
}
