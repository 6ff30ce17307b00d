use super::*;

fn parse(path: &str, query: &str, now: Instant) -> Result<Command, String> {
    Command::parse(
        target(path, "breaker").expect("the path of an operation"),
        query,
        now,
    )
}

#[test]
fn only_paths_of_operations_are_taken() {
    for path in [
        "/",
        "/upstreams",
        "/upstreams/search",
        "/upstreams/search/breaker",
        "/upstreams//breaker/open",
        "/upstreams/search/breaker/open/more",
        "/upstreams/search/pool/open",
        "/upstreams/search/breakers/open",
    ] {
        assert_eq!(target(path, "breaker"), None, "{path}");
    }
}

#[test]
fn every_action_has_its_operation_and_time() {
    let now = crate::time::now();
    let (half, five) = (Duration::from_secs(30), DEFAULT_FOR);
    for (action, query, operation, lasts) in [
        (
            "open",
            "for=30s",
            Operation::ForcedOpen { until: now + half },
            Some(half),
        ),
        (
            "open",
            "",
            Operation::ForcedOpen { until: now + five },
            Some(five),
        ),
        (
            "close",
            "for=30s",
            Operation::Disabled { until: now + half },
            Some(half),
        ),
        (
            "observe",
            "for=30s",
            Operation::MetricsOnly { until: now + half },
            Some(half),
        ),
        ("auto", "", Operation::Reset, None),
        ("trip", "", Operation::Trip, None),
        ("probe", "", Operation::Probe, None),
    ] {
        let command = parse(&format!("/upstreams/search/breaker/{action}"), query, now).unwrap();
        assert_eq!(command.upstream, "search");
        assert_eq!(command.action, action);
        assert_eq!(command.operation, operation);
        assert_eq!(command.lasts, lasts);
        assert_eq!((command.route, command.reason), (None, None));
    }
}

#[test]
fn parameters_are_decoded() {
    let query = "reason=too+slow%0Aagain&route=edge%2Fv2&for=24h";
    let command = parse(
        "/upstreams/s%C3%A9arch/breaker/open",
        query,
        crate::time::now(),
    )
    .unwrap();
    assert_eq!(command.upstream, "séarch");
    assert_eq!(command.route.as_deref(), Some("edge/v2"));
    assert_eq!(command.reason.as_deref(), Some("too slow again"));
    assert_eq!(command.lasts, Some(MAX_FOR));
}

#[test]
fn a_long_reason_is_cut() {
    let query = format!("reason={}", "x".repeat(5000));
    let command = parse("/upstreams/s/breaker/auto", &query, crate::time::now()).unwrap();
    assert_eq!(command.reason.unwrap().len(), MAX_REASON);
}

#[test]
fn what_is_wrong_is_said() {
    for (action, query, problem) in [
        ("shut", "", "unknown operation `shut`"),
        (
            "open",
            "for=0s",
            "`for=0s`: an override lasts for some time",
        ),
        ("open", "for=30", "`for=30`: "),
        ("open", "for=-1s", "`for=-1s`: "),
        (
            "open",
            "for=99999999999999999999s",
            "`for=99999999999999999999s`: ",
        ),
        (
            "open",
            "for=18446744073709551615h",
            "`for=18446744073709551615h`: ",
        ),
        ("open", "for=1441m", "at most 24h"),
        ("open", "form=30s", "unknown parameter `form`"),
        ("open", "reason=%zz", "not percent-encoded"),
        ("open", "reason=%f", "not percent-encoded"),
        ("open", "reason=%ff", "not UTF-8"),
        ("trip", "for=30s", "`trip` is done at once"),
    ] {
        let path = format!("/upstreams/search/breaker/{action}");
        let answer = parse(&path, query, crate::time::now()).unwrap_err();
        assert!(answer.contains(problem), "{action}?{query}: {answer}");
    }
}
