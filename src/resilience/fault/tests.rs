use proptest::prelude::*;

use super::*;

fn settings() -> Settings {
    Settings {
        action: Action::Reset,
        share: WHOLE,
        methods: Vec::new(),
        path_prefix: None,
        header: None,
        counted: false,
    }
}

/// Whether a `GET` of `path` is meant, whose one field is `x-game-day: 1`.
fn meant(settings: &Settings, path: &str) -> bool {
    settings.matches("GET", path, |name| {
        (name == "x-game-day").then_some(b"1".as_slice())
    })
}

#[test]
fn what_is_not_set_matches_any() {
    for path in ["/", "/v2", "*", ""] {
        assert!(meant(&settings(), path), "{path}");
    }
}

#[test]
fn methods_match_exactly() {
    for (methods, fits) in [
        (["GET", "HEAD"], true),
        (["POST", "GET"], true),
        (["POST", "HEAD"], false),
        (["get", "GETS"], false),
    ] {
        let methods = methods.map(str::to_owned).to_vec();
        let settings = Settings {
            methods,
            ..settings()
        };
        assert_eq!(meant(&settings, "/"), fits, "{settings:?}");
    }
}

#[test]
fn a_prefix_matches_whole_segments() {
    let settings = Settings {
        path_prefix: Some("/v2".into()),
        ..settings()
    };
    for (path, fits) in [
        ("/v2", true),
        ("/v2/", true),
        ("/v2/x", true),
        ("/v20", false),
        ("/", false),
        ("/x/v2", false),
        ("*", false),
    ] {
        assert_eq!(meant(&settings, path), fits, "{path}");
    }
}

#[test]
fn a_field_matches_by_its_bytes() {
    for (name, value, fits) in [
        ("x-game-day", "1", true),
        ("x-game-day", "", false),
        ("x-game-day", "11", false),
        ("x-game", "1", false),
    ] {
        let settings = Settings {
            header: Some((name.into(), value.into())),
            ..settings()
        };
        assert_eq!(meant(&settings, "/"), fits, "{name}: {value}");
    }
    let upper = Settings {
        header: Some(("x-a".into(), "Yes".into())),
        ..settings()
    };
    let fits = |bytes: &'static [u8]| upper.matches("GET", "/", |_| Some(bytes));
    assert!(fits(b"Yes") && !fits(b"yes") && !fits(b"Yes\xff"));
}

#[test]
fn all_conditions_have_to_fit() {
    let all = Settings {
        methods: vec!["GET".into()],
        path_prefix: Some("/v2".into()),
        header: Some(("x-game-day".into(), "1".into())),
        ..settings()
    };
    assert!(meant(&all, "/v2/x"));
    assert!(!meant(&all, "/v1"));
    let post = Settings {
        methods: vec!["POST".into()],
        ..all.clone()
    };
    assert!(!meant(&post, "/v2"));
    let other = Settings {
        header: Some(("x-game-day".into(), "2".into())),
        ..all
    };
    assert!(!meant(&other, "/v2"));
}

#[test]
fn the_whole_hits_always_and_nothing_never() {
    let share = |share| Settings {
        share,
        ..settings()
    };
    for random in [0, 1, u64::MAX / 2, u64::MAX] {
        assert!(share(WHOLE).hit(random) && share(u32::MAX).hit(random));
        assert!(!share(0).hit(random));
    }
    // A half, to the last bit.
    assert!(share(WHOLE / 2).hit(u64::MAX / 2));
    assert!(!share(WHOLE / 2).hit(u64::MAX / 2 + 1));
    // The least share there is.
    assert!(share(1).hit(u64::MAX / u64::from(WHOLE)));
    assert!(!share(1).hit(u64::MAX / u64::from(WHOLE) + 1));
}

#[test]
fn words_are_those_of_the_configuration() {
    for (action, word) in [
        (Action::Delay(Duration::ZERO), "delay"),
        (Action::Abort(503), "abort"),
        (Action::Reset, "reset"),
        (Action::Truncate(0), "truncate"),
        (Action::SlowBody(1), "slow-body"),
    ] {
        assert_eq!(action.as_str(), word);
    }
}

proptest! {
    #[test]
    fn the_share_is_hit(share in 0..=WHOLE, seed: u64) {
        const DRAWS: u32 = 2000;
        let settings = Settings { share, ..settings() };
        let mut rng = fastrand::Rng::with_seed(seed);
        let hits = (0..DRAWS).filter(|_| settings.hit(rng.u64(..))).count();
        let hits = f64::from(u32::try_from(hits).expect("at most the draws"));
        let expected = f64::from(share) / f64::from(WHOLE) * f64::from(DRAWS);
        // Six standard deviations of a coin.
        let tolerance = 6.0 * (f64::from(DRAWS) * 0.25).sqrt();
        prop_assert!((hits - expected).abs() < tolerance, "{hits}, not about {expected}");
    }
}
