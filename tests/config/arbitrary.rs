//! No text makes the reader panic, and nothing it says points outside the text.

use outrigger::config::diagnostic::Diagnostics;
use proptest::prelude::*;

use super::{files, inspect};

fn check(text: &str) {
    let found = inspect("arbitrary.toml", text);
    let diagnostics: &Diagnostics = &found.diagnostics;
    assert_eq!(found.config.is_none(), diagnostics.count().0 > 0);
    for item in diagnostics.items() {
        if let Some(span) = &item.span {
            assert!(text.get(span.clone()).is_some(), "{item:?}");
        }
    }
    diagnostics.render(true);
    diagnostics.to_json();
}

/// Pieces that a file may be made of, valid and not.
fn piece() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ",",
        ".",
        "\"",
        "'''",
        "\"\"\"",
        "\n",
        "\r\n",
        " ",
        "#",
        "upstreams",
        "payments",
        "listeners",
        "routes",
        "defaults",
        "breaker",
        "timeouts",
        "retry",
        "hedge",
        "priority",
        "classes",
        "failover",
        "protocol",
        "tcp",
        "forward",
        "tls",
        "faults",
        "listen",
        "endpoints",
        "upstream",
        "host",
        "window",
        "false",
        "true",
        "1",
        "-1",
        "0.5",
        "1e999",
        "inf",
        "nan",
        "0x7fffffffffffffffff",
        "2026-11-22",
        "\"${\"",
        "\"${A:-}\"",
        "\"$${\"",
        "\"off\"",
        "\"10s\"",
        "\"http://a\"",
        "\"127.0.0.1:0\"",
        "\\u0000",
        "é",
        "\u{feff}",
    ]);
    prop_oneof![8 => word.prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn text(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn nearly_toml(pieces in prop::collection::vec(piece(), 0..40)) {
        check(&pieces.concat());
    }

    #[test]
    fn any_value_of_any_string_key(value in any::<String>()) {
        let quoted = serde_json::to_string(&value).unwrap();
        let keys = [
            "runtime.workers", "admin.listen", "log.level", "discovery.dns.servers",
            "defaults.timeouts.request", "defaults.timeouts.deadline_header",
            "defaults.downstream.max_header_bytes", "defaults.breaker.window",
            "defaults.retry.on", "defaults.retry.idempotency_key_header",
            "defaults.retry.budget.window", "defaults.balance.hash_cookie",
            "defaults.ejection.failure_rate", "defaults.priority.default",
            "defaults.downstream.upgrades", "defaults.downstream.min_body_rate",
            "upstreams.a.tls.ca", "upstreams.a.tls.server_name", "upstreams.a.tls.pins",
            "upstreams.a.forward.allow", "upstreams.a.forward.allow_addresses",
            "upstreams.a.endpoints", "upstreams.a.dns", "upstreams.a.host", "upstreams.a.failover",
        ];
        for value in [quoted.clone(), format!("[{quoted}]")] {
            let fault = ["action", "header", "until"].map(|key| format!("{key} = {value}\n"));
            let text = keys.map(|key| format!("{key} = {value}\n")).concat();
            check(&format!("{text}[[upstreams.a.faults]]\n{}", fault.concat()));
        }
    }

    /// A good file with a hole, or with something doubled, in one place.
    #[test]
    fn nearly_good(file in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), length in 0usize..20, double: bool) {
        let mut all = files("tests/fixtures/good", "toml");
        all.extend(files("tests/fixtures/bad", "toml"));
        let Ok(text) = std::fs::read_to_string(file.get(&all)) else { return Ok(()) };
        let characters: Vec<char> = text.chars().collect();
        let at = cut.index(characters.len());
        let end = (at + length).min(characters.len());
        let tail = if double { at } else { end };
        let text: String = characters[..end.min(if double { end } else { at })].iter().chain(&characters[tail..]).collect();
        check(&text);
    }
}

#[test]
fn a_byte_order_mark_is_no_problem() {
    let found = inspect("bom.toml", "\u{feff}[runtime]\nworkers = 1\nworker = 2");
    let items = found.diagnostics.items();
    assert_eq!(items[0].span, Some(25..31), "{}", found.diagnostics);
}

#[test]
fn depth_and_size_are_harmless() {
    for text in ["[", "{", "[{a=", "a.", "[[", "a={"] {
        check(&text.repeat(20_000));
        check(&format!("a = {}", text.repeat(20_000)));
        check(&format!("upstreams.a.endpoints = {}", text.repeat(20_000)));
    }
    let dotted = format!("{}a = 1", "a.".repeat(20_000));
    check(&dotted);
    let table = format!("[{}a]", "a.".repeat(20_000));
    check(&table);
}
