use super::*;
use crate::resilience::WHOLE;
use crate::time;

const SECOND: Duration = Duration::from_secs(1);

fn settings(action: Action) -> Settings {
    Settings {
        action,
        share: WHOLE,
        methods: Vec::new(),
        path_prefix: None,
        header: None,
        counted: false,
    }
}

/// Picks for a `GET` of `path`, with a draw that hits whatever has a share.
fn pick(faults: &Faults, path: &str, now: Instant) -> Option<Hit> {
    faults.pick("GET", path, |_| None, || 0, now)
}

#[test]
fn without_faults_the_lock_is_not_even_taken() {
    let now = time::now();
    let faults = Faults::new(&[], now, Duration::ZERO);
    let held = lock(&faults.active);
    assert_eq!(pick(&faults, "/", now), None);
    drop(held);
    let id = faults
        .add(settings(Action::Reset), now + SECOND, now)
        .unwrap();
    assert!(faults.remove(id, now));
    let held = lock(&faults.active);
    assert_eq!(pick(&faults, "/", now), None);
    drop(held);
    faults
        .add(settings(Action::Reset), now + SECOND, now)
        .unwrap();
    faults.clear();
    let _held = lock(&faults.active);
    assert_eq!(pick(&faults, "/", now), None);
}

#[test]
fn the_first_that_matches_and_hits_is_done() {
    let now = time::now();
    let faults = Faults::default();
    let until = now + SECOND;
    let narrow = Settings {
        path_prefix: Some("/v2".into()),
        counted: true,
        ..settings(Action::Abort(503))
    };
    let rare = Settings {
        share: WHOLE / 10,
        ..settings(Action::Reset)
    };
    let narrow = faults.add(narrow, until, now).unwrap();
    let rare = faults.add(rare, until, now).unwrap();
    let last = faults
        .add(settings(Action::Truncate(9)), until, now)
        .unwrap();
    assert_eq!(
        pick(&faults, "/v2/x", now),
        Some(Hit {
            id: narrow,
            action: Action::Abort(503),
            counted: true
        })
    );
    let hit = pick(&faults, "/v1", now).unwrap();
    assert_eq!((hit.id, hit.counted), (rare, false));
    let missed = faults.pick("GET", "/v1", |_| None, || u64::MAX, now);
    assert_eq!(missed.unwrap().id, last);
    let hits: Vec<_> = faults.view(now).iter().map(|f| (f.id, f.hits)).collect();
    assert_eq!(hits, [(narrow, 1), (rare, 1), (last, 1)]);
}

#[test]
fn each_fault_that_matches_has_a_draw_of_its_own() {
    let now = time::now();
    let faults = Faults::default();
    let never = |prefix: Option<&str>| Settings {
        share: 1,
        path_prefix: prefix.map(str::to_owned),
        ..settings(Action::Reset)
    };
    for prefix in [None, Some("/other"), None] {
        faults.add(never(prefix), now + SECOND, now).unwrap();
    }
    let mut draws = 0;
    let draw = || {
        draws += 1;
        u64::MAX
    };
    assert_eq!(faults.pick("GET", "/", |_| None, draw, now), None);
    assert_eq!(draws, 2);
}

#[test]
fn a_fault_is_over_at_its_end_whoever_looks() {
    let now = time::now();
    let end = now + SECOND;
    let just_before = end.checked_sub(Duration::from_nanos(1)).unwrap();
    let faults = Faults::default();
    let id = faults.add(settings(Action::Reset), end, now).unwrap();
    assert_eq!(pick(&faults, "/", just_before).unwrap().id, id);
    assert_eq!(
        faults.view(just_before)[0].remaining,
        Duration::from_nanos(1)
    );
    assert_eq!(pick(&faults, "/", end), None);
    assert!(!faults.any.load(Relaxed), "and costs nothing any more");

    let id = faults.add(settings(Action::Reset), end, now).unwrap();
    assert!(faults.view(end).is_empty());
    assert!(!faults.remove(id, end));
    faults.add(settings(Action::Reset), now, now).unwrap();
    assert!(faults.view(now).is_empty(), "one that ends before it began");
}

#[test]
fn there_is_room_for_so_many_and_again_when_one_is_over() {
    let now = time::now();
    let faults = Faults::default();
    faults
        .add(settings(Action::Reset), now + SECOND, now)
        .unwrap();
    let add = |now| faults.add(settings(Action::Reset), now + 9 * SECOND, now);
    for _ in 1..MOST {
        add(now).unwrap();
    }
    assert_eq!(add(now), Err(Full));
    add(now + SECOND).unwrap();
    assert_eq!(add(now + SECOND), Err(Full));
    assert_eq!(faults.view(now + SECOND).len(), MOST);
}

#[test]
fn one_fault_is_ended_by_its_number() {
    let now = time::now();
    let (faults, other) = (Faults::default(), Faults::default());
    let until = now + SECOND;
    let delay = settings(Action::Delay(SECOND));
    let first = faults.add(delay.clone(), until, now).unwrap();
    let second = faults.add(settings(Action::Reset), until, now).unwrap();
    let elsewhere = other.add(delay, until, now).unwrap();
    assert!(first != second && elsewhere != second && elsewhere != first);
    assert!(!faults.remove(elsewhere, now));
    assert!(faults.remove(first, now));
    assert!(!faults.remove(first, now));
    assert_eq!(pick(&faults, "/", now).unwrap().id, second);
    assert_eq!(pick(&other, "/", now).unwrap().id, elsewhere);
}

#[test]
fn those_of_the_configuration_begin_at_once_and_past_ones_never() {
    let now = time::now();
    let today = Duration::from_secs(1_800_000_000);
    let fault = |action, until| model::Fault {
        settings: settings(action),
        until,
    };
    let configured = [
        fault(Action::Reset, today - SECOND),
        fault(Action::Abort(500), today),
        fault(Action::Truncate(1), today + 5 * SECOND),
        fault(Action::SlowBody(1), Duration::MAX),
    ];
    let faults = Faults::new(&configured, now, today);
    let view = faults.view(now);
    let found: Vec<_> = view
        .iter()
        .map(|f| (f.settings.action, f.remaining))
        .collect();
    assert_eq!(found.first(), Some(&(Action::Truncate(1), 5 * SECOND)));
    assert!(
        found.len() <= 2,
        "a time that no clock will see may be left out: {found:?}"
    );
}
