//! `config.example.toml`: every key with its default, written from the table of keys.

use outrigger::config::raw::{self, Default, Kind, Table};

use super::{check_golden, inspect, root};

const HEAD: &str = "\
# Every key of Outrigger's configuration, with its default.
#
# A line that begins with `# key =` shows an example of a key that has no default.
# Durations take one unit of us, ms, s, m and h; sizes one of B, KiB, MiB and GiB.
# `${NAME}` and `${NAME:-default}` in a string read the environment; `$${` stands for `${`.
# `outrigger check FILE` explains whatever is wrong with a file.
# An upstream needs no more than the two lines `listen` and `endpoints`.
";

/// Writes the file.
fn write() -> String {
    let mut example = Example(HEAD.to_owned());
    for key in raw::ROOT.keys {
        match key.kind {
            Kind::Named(_) => example.upstreams(),
            Kind::Tables(_) => example.listeners(),
            _ => example.table(key.name, &key.kind, false),
        }
    }
    example.0
}

struct Example(String);

impl Example {
    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn comment(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&format!("# {line}"));
        }
    }

    fn header(&mut self, header: &str, doc: &str) {
        self.line("");
        self.line("");
        self.comment(doc);
        self.line(header);
    }

    /// A table with all below it; `off` makes comments of them.
    fn table(&mut self, path: &str, kind: &'static Kind, off: bool) {
        let Some(table) = kind.below() else { return };
        // What acts wherever its table stands cannot stand here with its defaults.
        let off = off || matches!(kind, Kind::Optional(_));
        let path = match kind {
            Kind::Named(_) => &format!("{path}.live"),
            _ => path,
        };
        if table.keys.iter().any(|key| key.kind.below().is_none()) {
            let header = format!("[{path}]");
            self.header(&if off { format!("# {header}") } else { header }, table.doc);
        }
        self.keys(table, &[], off);
        for key in table.keys {
            self.table(&format!("{path}.{}", key.name), &key.kind, off);
        }
    }

    /// The keys of a table that are no tables; `given` replaces what they are set to.
    fn keys(&mut self, table: &'static Table, given: &[(&str, &str)], off: bool) {
        for key in table.keys.iter().filter(|key| key.kind.below().is_none()) {
            self.line("");
            self.comment(key.doc);
            let given = given.iter().find(|(name, _)| *name == key.name);
            let (value, set) = match (given, key.default) {
                (Some((_, value)), _) => (*value, true),
                (None, Default::Value(value) | Default::Required(value)) => (value, true),
                (None, Default::Derived(rule, value)) => {
                    if rule != "none" {
                        self.comment(&format!("Without it: {rule}."));
                    }
                    (value, false)
                }
                (None, Default::Table) => unreachable!("tables were left out"),
            };
            let line = format!("{} = {value}", key.name);
            self.line(&if set && !off {
                line
            } else {
                format!("# {line}")
            });
        }
    }

    fn overrides(&mut self, table: &'static Table) {
        self.line("");
        self.comment(
            "These tables take the keys that they have in `[defaults]`, and override them here:",
        );
        for key in table.keys {
            if let Some(below) = key.kind.below()
                && !matches!(key.kind, Kind::Tables(_))
            {
                let first = &below.keys[0];
                let Default::Value(value) = first.default else {
                    continue;
                };
                self.comment(&format!("{}.{} = {value}", key.name, first.name));
            }
        }
    }

    fn upstreams(&mut self) {
        self.header("[upstreams.payments]", raw::UPSTREAM.doc);
        let endpoints = r#"["http://payments-a:8080", "http://payments-b:8080"]"#;
        let given = [("listen", r#""127.0.0.1:9001""#), ("endpoints", endpoints)];
        self.keys(&raw::UPSTREAM, &given, false);
        self.overrides(&raw::UPSTREAM);
        self.header("# [[upstreams.payments.faults]]", raw::FAULT.doc);
        self.keys(&raw::FAULT, &[], true);
        self.header("[upstreams.search]", "Another one, found by its name.");
        self.line(r#"dns = "search.internal:8080""#);
        self.header("# [upstreams.search.tls]", raw::UPSTREAM_TLS.doc);
        self.keys(&raw::UPSTREAM_TLS, &[], true);
        self.header(
            "# [upstreams.outside]",
            "Another one, whose hosts are named by callers.",
        );
        self.line(r#"# listen = "127.0.0.1:9003""#);
        self.header("# [upstreams.outside.forward]", raw::FORWARD.doc);
        self.keys(&raw::FORWARD, &[], true);
    }

    fn listeners(&mut self) {
        self.header("[[listeners]]", raw::LISTENER.doc);
        self.keys(&raw::LISTENER, &[("name", r#""shared""#)], false);
        self.overrides(&raw::LISTENER);
        self.header("# [listeners.tls]", raw::LISTENER_TLS.doc);
        self.keys(&raw::LISTENER_TLS, &[], true);
        self.header("[[listeners.routes]]", raw::ROUTE.doc);
        let given = [
            ("name", r#""search-v2""#),
            ("host", r#""search.local""#),
            ("path_prefix", r#""/v2""#),
            ("methods", r#"["GET", "HEAD"]"#),
        ];
        self.keys(&raw::ROUTE, &given, false);
        self.overrides(&raw::ROUTE);
        self.header(
            "[[listeners.routes]]",
            "Whatever matched no route above goes here.",
        );
        self.line(r#"upstream = "payments""#);
    }
}

#[test]
fn the_example_is_in_step_with_the_keys() {
    check_golden(&root().join("config.example.toml"), &write());
}

#[test]
fn the_example_is_nothing_but_defaults() {
    let bare = r#"
        [upstreams.payments]
        listen = "127.0.0.1:9001"
        endpoints = ["http://payments-a:8080", "http://payments-b:8080"]
        [upstreams.search]
        dns = "search.internal:8080"
        [[listeners]]
        name = "shared"
        address = "127.0.0.1:8080"
        routes = [
            { name = "search-v2", host = "search.local", path_prefix = "/v2", methods = ["GET", "HEAD"], upstream = "search" },
            { upstream = "payments" },
        ]
    "#;
    let bare = inspect("bare.toml", bare);
    let example = inspect("config.example.toml", &write());
    assert!(example.diagnostics.is_empty(), "{}", example.diagnostics);
    assert!(bare.diagnostics.is_empty(), "{}", bare.diagnostics);
    assert_eq!(bare.config, example.config);
}

#[test]
fn what_the_example_only_shows_is_valid_too() {
    // Keys that exclude others of their table.
    let either = [
        ("[upstreams.payments]", "dns"),
        ("[defaults.hedge]", "delay"),
        ("[[upstreams.payments.faults]]", "status"),
        ("[[upstreams.payments.faults]]", "after"),
        ("[[upstreams.payments.faults]]", "rate"),
    ];
    let mut header = String::new();
    let mut text = String::new();
    for line in write().lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c);
        let key = bare.split_once(" = ").map_or("", |(key, _)| key);
        let is_key = !key.is_empty() && key.chars().all(plain);
        let is_header = bare.starts_with('[') && bare.ends_with(']');
        if is_header {
            bare.clone_into(&mut header);
        }
        let excluded = either.contains(&(header.as_str(), key));
        text.push_str(if (is_key && !excluded) || is_header {
            bare
        } else {
            line
        });
        text.push('\n');
    }
    // A table has either retries or hedges.
    let text = text.replace("\nretries = 1\n", "\nretries = 0\n");
    for shown in [
        "slow_call =",
        "[defaults.fallback]",
        "[defaults.hedge]",
        "until =",
        "[upstreams.search.tls]",
        "[upstreams.outside]",
        "[listeners.tls]",
    ] {
        assert!(text.contains(&format!("\n{shown}")), "{shown}");
    }
    let found = inspect("uncommented.toml", &text);
    assert!(found.diagnostics.is_empty(), "{}", found.diagnostics);
}
