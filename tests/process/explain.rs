//! What `outrigger explain` says and how it ends.

use serde_json::Value;

use crate::support::daemon::{file, run};

const CONFIG: &str = r#"
[upstreams.payments]
listen = "127.0.0.1:9001"
endpoints = ["http://payments-a:8080", "http://payments-b:8080"]
[upstreams.search]
endpoints = ["http://search:8080"]
[[listeners]]
name = "shared"
address = "127.0.0.1:8080"
routes = [
  { name = "v2", host = "search.local", path_prefix = "/v2", methods = ["GET"], upstream = "search", timeouts = { request = "800ms" } },
  { name = "rest", host = "search.local", path_prefix = "/v1", upstream = "search" },
]
"#;

const ALL: &str = r#"
[upstreams.search]
endpoints = ["http://10.0.0.1:8080", "http://10.0.0.2:8080"]
listen = "127.0.0.1:9001"
failover = "archive"
rate_limit = { rate = 50, burst = 10, max_wait = "200ms" }
priority = { header = "x-class", classes = { live = { share = 0.5 }, batch = { share = 0.1 } } }
adaptive = { mode = "observe" }
balance = { policy = "ring_hash", hash_header = "x-user" }
ejection = { mode = "observe" }
hedge = { delay_percentile = 0.95 }
retry = { budget = { ratio = 0.01 } }
faults = [{ action = "abort", status = 503, share = 0.25, until = "2099-12-31T12:00:00Z" }]
fallback = { status = 204 }
[upstreams.archive]
endpoints = ["http://10.0.0.3:8080"]
timeouts = { first_byte = "1s" }
retry = { retries = 2, backoff = { base = "100ms", jitter = "none" } }
listen = "127.0.0.1:9002"
"#;

/// Exit code, standard output and standard error.
fn explain(config: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let file = file(config);
    let path = file.path().display().to_string();
    let mut all = vec!["explain", path.as_str()];
    all.extend(arguments);
    let output = run(&all);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn explained(config: &str, arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.extend(["--format", "json"]);
    let (code, json, complaint) = explain(config, &all);
    assert_eq!(code, Some(0), "{json}{complaint}");
    serde_json::from_str(&json).expect("JSON")
}

#[test]
fn a_request_is_explained_for_people() {
    let (code, text, complaint) = explain(CONFIG, &["GET", "http://127.0.0.1:9001/pay?a=b"]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{text}");
    for expected in [
        "GET /pay with host 127.0.0.1\n",
        "listener   payments at 127.0.0.1:9001\n",
        "endpoints  http://payments-a:8080, http://payments-b:8080\n",
        "bulkhead   enforce  max_requests 64",
        "the response head takes at most 10 s",
        "64 requests in flight carry 640/s at 100 ms",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    // The defaults work: there is nothing to warn of.
    assert!(!text.contains("warning["), "{text}");
    let queue = text.lines().find(|line| line.starts_with("  queue  "));
    let queue = queue.expect("a row of the drawing");
    assert!(queue.contains("100 ms |="), "{queue}");
}

#[test]
fn a_request_is_explained_for_programs() {
    let url = "http://search.local/v2/x";
    let json = explained(CONFIG, &["GET", url]);
    let one = &json["explanations"][0];
    assert_eq!(one["listener"]["name"], "shared");
    assert_eq!(one["route"], "v2");
    assert_eq!(one["upstream"], "search");
    assert_eq!(one["timeline"]["deadline_ms"], 800.0);
    assert_eq!(one["timeline"]["head_ms"], 800.0);
    let segments = one["timeline"]["segments"].as_array().expect("segments");
    assert_eq!(segments[0]["what"], "queue");
    assert_eq!(segments[1]["cut"], true);
    let never = segments.iter().find(|segment| segment["attempt"] == 2);
    assert_eq!(never.expect("a second attempt")["starts"], false);
    let lints = one["lints"].as_array().expect("lints").iter();
    let lints: Vec<_> = lints.filter_map(|lint| lint["id"].as_str()).collect();
    assert_eq!(lints, ["retries-do-not-fit", "slow-call-never-reached"]);
}

#[test]
fn the_host_and_the_listener_may_be_given_apart() {
    for arguments in [
        &[
            "GET",
            "http://127.0.0.1:8080/v1",
            "--header",
            "Host: search.local",
        ][..],
        &[
            "GET",
            "/v1",
            "--listener",
            "shared",
            "--header",
            "host: search.local:80",
        ],
        &["POST", "http://search.local/v1"],
    ] {
        let json = explained(CONFIG, arguments);
        assert_eq!(json["explanations"][0]["route"], "rest", "{arguments:?}");
    }
}

#[test]
fn where_no_route_matches_the_nearest_comes_first() {
    let (code, text, _) = explain(CONFIG, &["POST", "http://search.local/v2"]);
    assert_eq!(code, Some(1), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains("no route matches"), "{text}");
    assert_eq!(lines[1], "  shared/v2  method POST is not one of GET");
    let arguments = ["GET", "http://payments-b:8080/", "--format", "json"];
    let (code, text, _) = explain(CONFIG, &arguments);
    assert_eq!(code, Some(1), "{text}");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let listeners = &json["not_found"]["listeners"];
    assert_eq!(
        *listeners,
        serde_json::json!(["payments at http://127.0.0.1:9001"])
    );
}

#[test]
fn wrong_usage_and_bad_files_end_as_elsewhere() {
    for arguments in [
        &["GET"][..],
        &["get", "/"],
        &["GET", "localhost:9001"],
        &["GET", "/"],
        &["GET", "/", "--listener", "none"],
        &["GET", "/", "--header", "x"],
    ] {
        let (code, text, complaint) = explain(CONFIG, arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {text}");
        assert!(!complaint.is_empty(), "{arguments:?}");
    }
    let (code, text, _) = explain("upstream = 1", &["GET", "/"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("error[unknown-key]"), "{text}");
    let (code, text, _) = explain("upstream = 1", &["GET", "/", "--format", "json"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(serde_json::from_str::<Value>(&text).is_ok_and(|json| json.is_array()));
}

#[test]
fn every_policy_is_told_with_its_mode_and_keys() {
    let arguments = [
        "GET",
        "http://127.0.0.1:9001/",
        "--header",
        "x-class: batch",
    ];
    let json = explained(ALL, &arguments);
    let one = &json["explanations"][0];
    let policies = one["policies"].as_array().expect("policies");
    let policy = |name: &str| {
        let found = policies.iter().find(|policy| policy["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is missing in {policies:?}"))
    };
    for (name, mode, key, value) in [
        ("rate_limit", Some("enforce"), "burst", "10"),
        ("priority", Some("enforce"), "class", "batch"),
        ("bulkhead", Some("enforce"), "max_requests", "64"),
        ("adaptive", Some("observe"), "algorithm", "gradient2"),
        ("breaker", Some("enforce"), "slow_call", "2500ms"),
        ("budget", None, "ratio", "0.01"),
        ("hedge", Some("enforce"), "delay_percentile", "0.95"),
        ("balance", None, "hash_header", "x-user"),
        ("ejection", Some("observe"), "consecutive_failures", "5"),
        ("failover", None, "to", "archive"),
        ("fallback", None, "status", "204"),
        ("fault", None, "share", "0.25"),
    ] {
        assert_eq!(policy(name)["mode"].as_str(), mode, "{name}");
        assert_eq!(policy(name)["settings"][key], value, "{name}");
    }
    let segments = one["timeline"]["segments"].as_array().expect("segments");
    let whats: Vec<_> = segments
        .iter()
        .filter_map(|each| each["what"].as_str())
        .collect();
    assert_eq!(
        whats,
        [
            "rate_limit",
            "queue",
            "attempt",
            "connect",
            "slow_call",
            "hedge",
            "failover"
        ]
    );
    assert_eq!(segments[6]["to"], "archive");
    let lints = &one["lints"];
    assert_eq!(lints[0]["id"], "hedge-exhausts-budget", "{lints}");
    assert!(lints[1].is_null(), "{lints}");
}

#[test]
fn the_timeline_follows_the_keys() {
    let json = explained(ALL, &["GET", "http://127.0.0.1:9002/"]);
    let timeline = &json["explanations"][0]["timeline"];
    // The queue, three attempts of a second, back-offs of 100 and 200 ms.
    assert_eq!(timeline["without_deadline_ms"], 100.0 + 3000.0 + 300.0);
    let json = explained(
        ALL,
        &[
            "POST",
            "http://127.0.0.1:9002/",
            "--header",
            "grpc-timeout: 2S",
        ],
    );
    let timeline = &json["explanations"][0]["timeline"];
    assert_eq!(timeline["deadline_ms"], 2000.0);
    assert_eq!(timeline["head_ms"], 2000.0);
}
