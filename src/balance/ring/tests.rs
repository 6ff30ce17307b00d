use super::*;

fn names(range: std::ops::Range<u32>) -> Vec<(String, u32)> {
    range.map(|n| (format!("10.0.0.{n}:8080"), 1)).collect()
}

fn keys() -> impl Iterator<Item = u64> {
    (0..20_000).map(|n| hash(format!("customer-{n}").as_bytes()))
}

fn everybody(_: usize) -> bool {
    true
}

/// How many keys each endpoint has.
fn counts(ring: &Ring, n: usize) -> Vec<usize> {
    let mut counts = vec![0; n];
    for key in keys() {
        counts[ring.find(key, everybody).unwrap()] += 1;
    }
    counts
}

#[test]
fn nobody_on_an_empty_ring() {
    assert_eq!(Ring::default().find(7, everybody), None);
    assert_eq!(Ring::new::<&str>(&[]).find(7, everybody), None);
}

#[test]
fn nobody_where_nobody_is_available() {
    let ring = Ring::new(&names(0..3));
    assert_eq!(ring.find(u64::MAX, |_| false), None);
    assert_eq!(ring.find(u64::MAX, |index| index == 2), Some(2));
}

#[test]
fn a_key_belongs_to_the_point_at_or_after_it_and_the_circle_is_closed() {
    let ring = Ring {
        points: Box::new([(10, 0), (20, 1), (30, 2)]),
    };
    for (key, index) in [(0, 0), (10, 0), (11, 1), (20, 1), (30, 2), (31, 0)] {
        assert_eq!(ring.find(key, everybody), Some(index), "{key}");
    }
    // The walk goes on along the ring, around its end.
    assert_eq!(ring.find(11, |index| index != 1), Some(2));
    assert_eq!(ring.find(31, |index| index == 2), Some(2));
}

#[test]
fn equal_endpoints_have_about_equal_numbers_of_keys() {
    for n in [2, 3, 10] {
        let fair = 20_000 / usize::try_from(n).unwrap();
        for count in counts(&Ring::new(&names(0..n)), usize::try_from(n).unwrap()) {
            let off = count.abs_diff(fair);
            assert!(off * 4 < fair, "{count}, fair is {fair}");
        }
    }
}

#[test]
fn keys_are_in_proportion_to_weights() {
    let mut endpoints = names(0..3);
    endpoints[2].1 = 2;
    let counts = counts(&Ring::new(&endpoints), 3);
    for (count, fair) in counts.into_iter().zip([5_000, 5_000, 10_000]) {
        assert!(count.abs_diff(fair) * 4 < fair, "{count}, fair is {fair}");
    }
}

#[test]
fn an_endpoint_that_is_added_takes_its_share_and_moves_nothing_else() {
    let (before, after) = (Ring::new(&names(0..10)), Ring::new(&names(0..11)));
    let mut moved = 0;
    for key in keys() {
        let (old, new) = (before.find(key, everybody), after.find(key, everybody));
        if old != new {
            assert_eq!(new, Some(10), "only to the new one");
            moved += 1;
        }
    }
    let fair = 20_000 / 11;
    assert!(moved * 3 < fair * 4 && moved * 4 > fair * 3, "{moved}");
}

#[test]
fn an_endpoint_that_leaves_gives_its_keys_to_the_one_that_an_ejection_would_give_them_to() {
    let (before, after) = (Ring::new(&names(0..10)), Ring::new(&names(0..9)));
    for key in keys() {
        let without = before.find(key, |index| index != 9);
        assert_eq!(after.find(key, everybody), without);
        let old = before.find(key, everybody);
        assert!(old == Some(9) || old == without);
    }
}

#[test]
fn the_order_of_the_set_does_not_matter() {
    let forth = names(0..7);
    let mut back = forth.clone();
    back.reverse();
    let (ring, turned) = (Ring::new(&forth), Ring::new(&back));
    for key in keys() {
        let turned = turned.find(key, everybody).unwrap();
        assert_eq!(ring.find(key, everybody), Some(6 - turned));
    }
}

#[test]
fn the_ring_is_bounded_and_has_room_for_everybody() {
    let ring = Ring::new(&names(0..3));
    assert_eq!(ring.points.len(), 480);
    let ring = Ring::new(&names(0..1_000));
    assert_eq!(ring.points.len(), 65_000);
    let mut endpoints = names(0..3);
    endpoints[0].1 = 1_000;
    let ring = Ring::new(&endpoints);
    assert_eq!(ring.points.len(), 479 + 1 + 1);
    assert_eq!(ring.points.iter().filter(|(_, i)| *i == 1).count(), 1);
}

#[test]
fn the_ring_is_the_same_in_every_version() {
    // Another value here would send the keys of a running fleet elsewhere.
    let ring = Ring::new(&names(0..5));
    let found: Vec<_> = (0..12)
        .filter_map(|n| ring.find(hash(format!("key-{n}").as_bytes()), everybody))
        .collect();
    assert_eq!(found, [0, 2, 2, 2, 2, 3, 0, 4, 4, 2, 0, 3]);
}
