//! The wall between modules, and other rules that no compiler checks.
//!
//! One crate has no walls inside: these scans are them. They read the source as text, without its
//! comments and its tests, look for words and report file and line. A rule that has to be broken
//! gets a line with a reason in [`EXCEPTIONS`]; an exception that nothing needs any more fails.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use outrigger::config;
use outrigger::config::raw::{self, Key, Table};

/// Words that stand only where they belong. Paths are prefixes, from the top of the repository.
struct Rule {
    name: &'static str,
    /// Where the rule holds.
    within: &'static [&'static str],
    /// Where, in there, the words may stand.
    except: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        name: "pure-policies",
        within: &["src/resilience", "src/balance"],
        except: &[],
        words: &[
            "hyper",
            "http::",
            "tokio",
            "tracing",
            "prometheus",
            "::now()",
            "async ",
            ".await",
        ],
        why: "policies are pure: `now` and randomness are arguments, decisions are values",
    },
    Rule {
        name: "serde-at-the-edge",
        within: &["src"],
        except: &[
            "src/config/raw",
            "src/admin/",
            "src/telemetry/access_log.rs",
        ],
        words: &["serde"],
        why: "serialisable types stand at the boundary only",
    },
    Rule {
        name: "toml-in-one-place",
        within: &["src"],
        except: &["src/config/"],
        words: &["toml::"],
        why: "the configuration is read by `config` alone",
    },
    Rule {
        name: "prometheus-behind-handles",
        within: &["src"],
        except: &["src/telemetry/"],
        words: &["prometheus::"],
        why: "others hold typed handles, resolved when an upstream is built",
    },
    Rule {
        name: "hyper-client",
        within: &["src"],
        except: &["src/pool/", "src/client"],
        words: &["hyper::client"],
        why: "the pool owns the client's sockets",
    },
    Rule {
        name: "hyper-server",
        within: &["src"],
        except: &["src/listener/", "src/admin/", "src/demo"],
        words: &["hyper::server"],
        why: "the listeners own the server's sockets",
    },
    Rule {
        name: "hyper-stops-at-the-edges",
        within: &["src/proxy/", "src/upstream/"],
        except: &[],
        words: &["hyper::", "hyper_util"],
        why: "either side's codec can be replaced: between them go heads, bodies and outcomes",
    },
    Rule {
        name: "rustls-in-one-place",
        within: &["src"],
        except: &["src/tls/"],
        words: &["rustls", "tokio_rustls", "webpki_roots", "x509_parser"],
        why: "whom to trust, and what a failure is called, is decided once",
    },
    Rule {
        name: "no-pooled-client",
        within: &["src"],
        except: &[],
        words: &["client::legacy", "tower::", "tower_"],
        why: "no hidden retries, no order of policies out of sight",
    },
    Rule {
        name: "supervised-spawn",
        within: &["src"],
        except: &["src/lifecycle/tasks.rs"],
        words: &[
            "tokio::spawn",
            "task::spawn(",
            "task::spawn;",
            "task::spawn_local",
        ],
        why: "a task that nobody supervises fails in silence",
    },
    Rule {
        name: "one-clock",
        within: &["src"],
        except: &["src/time/"],
        words: &["Instant::now", "SystemTime", "UNIX_EPOCH"],
        why: "tests pause time in one place",
    },
    Rule {
        name: "one-randomness",
        within: &["src"],
        except: &["src/rng.rs", "src/resilience/"],
        words: &["fastrand", "rand::"],
        why: "a run can be seeded and replayed",
    },
    Rule {
        name: "downwards-only",
        within: &["src"],
        except: &["src/main.rs", "src/cli", "src/app", "src/demo"],
        words: &["crate::cli", "crate::app", "crate::demo"],
        why: "main → cli → app → everything else, and never back",
    },
    Rule {
        name: "written-config-stays-in-config",
        within: &["src"],
        except: &["src/config/"],
        words: &["config::raw", "config::tree"],
        why: "everybody else reads the validated model",
    },
    Rule {
        name: "expect-not-allow",
        within: &["src", "benches"],
        except: &[],
        words: &["#[allow(", "#![allow("],
        why: "an `#[expect(.., reason)]` tells when it is not needed any more",
    },
];

/// (rule, file, why it may).
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "serde-at-the-edge",
        "src/config/diagnostic.rs",
        "`check --format json` is for tools",
    ),
    (
        "serde-at-the-edge",
        "src/explain/json.rs",
        "`explain --format json` is for tools",
    ),
    (
        "serde-at-the-edge",
        "src/proxy/reply.rs",
        "the body of a local reply is JSON on the wire",
    ),
];

/// Files over the cap: (file, why it is better whole).
const LONG_FILES: &[(&str, &str)] = &[];

/// Lines a source file may have, its tests included; the aim is 150 to 300.
const MAX_LINES: usize = 800;

#[test]
fn words_stand_where_they_belong() {
    let sources = sources(&["src", "benches"]);
    let tests = test_modules(&sources);
    let mut used = BTreeSet::new();
    let mut broken = String::new();
    for rule in RULES {
        for (path, text) in &sources {
            let applies = rule.within.iter().any(|prefix| path.starts_with(prefix))
                && !rule.except.iter().any(|prefix| path.starts_with(prefix));
            if !applies || is_test(path, &tests) {
                continue;
            }
            for (number, line) in code(text) {
                let Some(word) = rule.words.iter().find(|word| stands_in(word, line)) else {
                    continue;
                };
                let exception = EXCEPTIONS
                    .iter()
                    .position(|(name, file, _)| *name == rule.name && file == path);
                if let Some(index) = exception {
                    used.insert(index);
                } else {
                    let (name, why) = (rule.name, rule.why);
                    writeln!(broken, "{path}:{number}: `{word}` breaks {name}: {why}").unwrap();
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
    for (index, (name, file, _)) in EXCEPTIONS.iter().enumerate() {
        assert!(
            used.contains(&index),
            "{file} needs no exception from {name}"
        );
    }
}

#[test]
fn the_scan_finds_what_it_looks_for() {
    let text = "//! hyper::client\nuse hyper::client; // tokio\nlet s = \"// x\"; tokio::spawn(f);\n\
                #[cfg(test)]\nmod tests {\n    fn f() { SystemTime::now() }\n}\nfn g() {}\n";
    let found = code(text);
    assert_eq!(found[0], (2, "use hyper::client; "));
    assert!(stands_in("tokio::spawn", found[1].1));
    assert_eq!(found[2], (8, "fn g() {}"));
    assert_eq!(found.len(), 3);
    assert!(!stands_in("rand::", "fastrand::u64"));
    assert!(stands_in("fastrand", "use fastrand::Rng"));
}

#[test]
fn files_are_short_documented_and_finished() {
    let mut broken = String::new();
    let sources = sources(&["src", "benches", "tests"]);
    let tests = test_modules(&sources);
    for (path, text) in &sources {
        let lines = text.lines().count();
        let allowed = LONG_FILES.iter().any(|(file, _)| file == path);
        if path.starts_with("src/") && (lines > MAX_LINES) != allowed {
            writeln!(broken, "{path}: {lines} lines, the cap is {MAX_LINES}").unwrap();
        }
        if path.starts_with("src/") && !is_test(path, &tests) && !text.starts_with("//!") {
            writeln!(broken, "{path}: does not open with `//!`").unwrap();
        }
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            if path == "tests/tidy.rs" {
                continue;
            }
            for word in ["TODO", "FIXME", "XXX"] {
                // `TODO(#12)` names an issue, `TODO(0007)` a decision.
                if line.contains(word) && !line.contains(&format!("{word}(")) {
                    writeln!(broken, "{path}:{number}: `{word}` without a number").unwrap();
                }
            }
            if line.trim() == "#[ignore]" {
                writeln!(broken, "{path}:{number}: `#[ignore]` without a reason").unwrap();
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

/// `expect`, `cfg_attr(.., expect)` and `ignore` say why, each within its own attribute.
#[test]
fn expectations_have_reasons() {
    let mut broken = String::new();
    for (path, text) in sources(&["src", "benches", "tests"]) {
        if path == "tests/tidy.rs" {
            continue;
        }
        for (at, _) in text.match_indices("expect(") {
            let before = text[..at].trim_end();
            if before.ends_with("#[") || before.ends_with("#![") {
                let attribute = text[at..].split(")]").next().unwrap_or_default();
                if !attribute.contains("reason") {
                    let number = text[..at].lines().count();
                    writeln!(broken, "{path}:{number}: an expectation without a reason").unwrap();
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

#[test]
fn nothing_names_a_machine() {
    // Put together here, so that this file passes its own test.
    let machine = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    // Typographic quotes, odd spaces, marks that no editor shows.
    let marks = [
        '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{a0}', '\u{200b}', '\u{200d}',
        '\u{202f}', '\u{feff}',
    ];
    let mut broken = String::new();
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            for word in machine {
                if line.contains(word) {
                    writeln!(broken, "{path}:{number}: a path of one machine, `{word}`").unwrap();
                }
            }
            if let Some(mark) = line.chars().find(|c| marks.contains(c)) {
                let mark = mark.escape_unicode();
                writeln!(broken, "{path}:{number}: {mark}: use the plain sign").unwrap();
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

#[test]
fn docs_name_only_what_exists() {
    let mut broken = String::new();
    let life = read("docs/life-of-a-request.md");
    let mut named = 0;
    for name in code_spans(&life).filter(|name| name.ends_with(".rs")) {
        named += 1;
        if !top().join("src").join(name).exists() && !top().join(name).exists() {
            writeln!(broken, "docs/life-of-a-request.md: `{name}` does not exist").unwrap();
        }
    }
    assert!(named >= 8, "the life of a request names {named} files");

    for (path, text) in texts()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".md"))
    {
        for link in links(&text) {
            let file = link.split('#').next().unwrap_or_default();
            let here = top().join(&path).parent().unwrap().join(file);
            if !file.is_empty() && !file.contains("://") && !here.exists() {
                writeln!(broken, "{path}: the link to {link} leads nowhere").unwrap();
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

#[test]
fn decisions_are_numbered_linked_and_whole() {
    let architecture = read("docs/architecture.md");
    let decisions: Vec<_> = texts()
        .into_iter()
        .filter(|(path, _)| path.starts_with("docs/decisions/"))
        .collect();
    assert!(!decisions.is_empty());
    for (index, (path, text)) in decisions.iter().enumerate() {
        let number = format!("{:04}", index + 1);
        let name = path.trim_start_matches("docs/");
        assert!(
            name.starts_with(&format!("decisions/{number}-")),
            "{path}: number {number} is next"
        );
        assert!(
            text.starts_with(&format!("# {number} ")),
            "{path}: opens with `# {number} `"
        );
        assert!(
            architecture.contains(&format!("]({name})")),
            "{path}: no link in architecture.md"
        );
        for part in [
            "Context",
            "Options",
            "Choice",
            "Consequences",
            "What would change our mind",
        ] {
            assert!(
                text.contains(&format!("\n## {part}\n")),
                "{path}: no `{part}`"
            );
        }
    }
}

/// Prose breaks after a sentence, so that a diff shows the sentence that changed.
#[test]
fn markdown_has_one_sentence_a_line() {
    let mut broken = String::new();
    for (path, text) in texts()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".md"))
    {
        let mut fenced = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            fenced ^= line.starts_with("```");
            if fenced || line.starts_with(['|', '#']) {
                continue;
            }
            let two = [". ", "? ", "! "].iter().any(|end| {
                line.match_indices(end).any(|(at, _)| {
                    let next = line[at + 2..].chars().next();
                    let numbered = line[..at].chars().all(|c| c.is_ascii_digit());
                    !numbered && next.is_some_and(char::is_uppercase)
                })
            });
            if two {
                writeln!(broken, "{path}:{}: more than one sentence", number + 1).unwrap();
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

#[test]
fn every_dependency_is_explained() {
    let explained = read("docs/dependencies.md");
    let explained: BTreeSet<_> = explained
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let manifest = read("Cargo.toml");
    let mut direct = BTreeSet::new();
    let mut section = "";
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if section.ends_with("dependencies")
            && let Some((name, _)) = line.split_once('=')
        {
            direct.insert(name.trim());
        }
    }
    assert_eq!(
        direct, explained,
        "Cargo.toml on the left, docs/dependencies.md on the right"
    );
}

#[test]
fn deploy_names_only_metrics_that_exist() {
    let names = read("src/telemetry/names.rs");
    let mut broken = String::new();
    for (path, text) in texts() {
        if !path.starts_with("deploy/prometheus/") && !path.starts_with("deploy/grafana/") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for name in metric_names(line) {
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| name.strip_suffix(suffix))
                    .unwrap_or(name);
                let known = [name, family]
                    .iter()
                    .any(|name| names.contains(&format!("\"{name}\"")));
                if !known {
                    writeln!(broken, "{path}:{}: no metric `{name}`", number + 1).unwrap();
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

/// Every configuration that we show or ship is taken without a word.
#[test]
fn shipped_configurations_are_valid() {
    let mut configurations = BTreeMap::new();
    for (path, text) in texts() {
        if path.starts_with("deploy/") && path.ends_with(".toml") {
            configurations.insert(path, text);
        } else if path.starts_with("deploy/") && path.ends_with(".yaml") {
            for (index, inner) in block_scalars(&text, ".toml: |").into_iter().enumerate() {
                configurations.insert(format!("{path} #{index}"), inner);
            }
        } else if path == "README.md" {
            for (index, inner) in fences(&text, "```toml").into_iter().enumerate() {
                configurations.insert(format!("{path} #{index}"), inner);
            }
        }
    }
    assert!(configurations.len() >= 4, "{:?}", configurations.keys());
    for (name, text) in &configurations {
        let inspection = config::inspect_text(name, text, &|_| None);
        assert!(
            inspection.diagnostics.is_empty(),
            "{}",
            inspection.diagnostics
        );
        assert!(inspection.config.is_some(), "{name}");
    }
}

/// Keys that no test of the binary sets: (key, why not).
const UNSET_KEYS: &[(&str, &str)] = &[];

/// Every key does something, and a test sets it in a configuration of the real binary: whether
/// that test looks at what the key does, its reader has to say.
#[test]
fn every_key_is_set_in_a_test_of_the_binary() {
    let mut tests = sources(&["tests/process"]);
    // What is only explained there does nothing.
    tests.remove("tests/process/explain.rs");
    let mut keys = BTreeMap::new();
    collect_keys(&raw::ROOT, &mut keys);
    assert!(keys.len() > 60, "{:?}", keys.keys());
    let mut broken = String::new();
    for (name, key) in keys {
        let excepted = UNSET_KEYS.iter().any(|(key, _)| *key == name);
        if tests.values().any(|text| sets(text, key)) == excepted {
            writeln!(broken, "`{name}`: set where excepted, or nowhere").unwrap();
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

fn collect_keys(table: &'static Table, keys: &mut BTreeMap<&'static str, &'static Key>) {
    for key in table.keys {
        keys.insert(key.name, key);
        if let Some(below) = key.kind.below() {
            collect_keys(below, keys);
        }
    }
}

/// Whether `text` holds `key = ..`, or `[key]` and the like where the key is a table.
fn sets(text: &str, key: &Key) -> bool {
    text.match_indices(key.name).any(|(at, name)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let word = |c: char| c.is_alphanumeric() || c == '_';
        // A line break of a Rust string may stand before it; a variable is no key.
        let starts = before.ends_with("\\n") || !before.ends_with(word);
        let starts = starts && !before.ends_with("let ") && !before.ends_with("mut ");
        let table = key.kind.below().is_some() && after.starts_with([']', '.']);
        starts && (after.starts_with(" = ") || (table && before.ends_with(['[', '.'])))
    })
}

#[test]
fn a_key_is_told_from_a_word() {
    let key = |name| raw::BREAKER.key(name).unwrap();
    assert!(sets("\"{ open_for = 1 }\"", key("open_for")));
    assert!(sets("x\\nopen_for = 1", key("open_for")));
    assert!(!sets("reopen_for = 1, open_for_max = 2", key("open_for")));
    assert!(!sets("// open_for is 1", key("open_for")));
    assert!(!sets("let open_for = 1;", key("open_for")));
    let table = raw::UPSTREAM.key("breaker").unwrap();
    assert!(sets("[upstreams.a]\nbreaker = {}", table));
    assert!(sets("[defaults.breaker]", table));
    assert!(!sets("mod breaker;\nuse breaker::x; a[breaker", table));
}

/// The top of the repository.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every `.rs` file under `folders` with its text, by its path from the top.
fn sources(folders: &[&str]) -> BTreeMap<String, String> {
    let mut all = texts();
    all.retain(|path, _| {
        path.ends_with(".rs")
            && folders
                .iter()
                .any(|folder| path.starts_with(&format!("{folder}/")))
    });
    all
}

/// Every text file of the repository with its text, by its path from the top.
fn texts() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(top().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let name = path.to_str().unwrap().to_owned();
            if entry.file_type().unwrap().is_dir() {
                // What tools have written, and what fuzzing has found.
                let made = [
                    ".git",
                    "target",
                    "vendor",
                    "mutants.out",
                    "tests/fuzz/corpus",
                ];
                if !made.iter().any(|folder| path.ends_with(folder)) {
                    folders.push(path);
                }
            } else if name != "Cargo.lock"
                && let Ok(text) = std::fs::read_to_string(entry.path())
            {
                found.insert(name, text);
            }
        }
    }
    found
}

/// Paths without `.rs` of modules that are declared under `#[cfg(test)]`.
fn test_modules(sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources {
        let folder = path.trim_end_matches(".rs").trim_end_matches("/mod");
        for (_, item) in test_items(text) {
            // `mod tests;` or `pub(crate) mod capture;`.
            let declaration = item.lines().next().unwrap_or_default().strip_suffix(';');
            let words = declaration.unwrap_or_default().split_whitespace();
            if let [.., "mod", name] = words.collect::<Vec<_>>().as_slice() {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found
}

/// Where a `#[cfg(test)]` begins, and what stands behind it and its fellow attributes.
fn test_items(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("#[cfg(test)]").map(|(at, _)| {
        let mut rest = &text[at..];
        while rest.starts_with("#[") {
            rest = rest
                .split_once(']')
                .map_or("", |(_, rest)| rest.trim_start());
        }
        (at, rest)
    })
}

/// Whether the whole file is test code.
fn is_test(path: &str, tests: &[String]) -> bool {
    tests.iter().any(|test| {
        path.strip_prefix(test.as_str())
            .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

/// The lines of code with their numbers: no comments, no inline test modules.
fn code(text: &str) -> Vec<(usize, &str)> {
    let mut modules = test_items(text)
        .filter(|(_, rest)| {
            let opening = rest.lines().next().unwrap_or_default();
            opening.starts_with("mod ") && opening.ends_with('{')
        })
        .map(|(at, _)| text[..at].lines().count())
        .peekable();
    let mut found = Vec::new();
    let mut skipping = false;
    for (index, line) in text.lines().enumerate() {
        skipping |= modules.next_if(|first| *first <= index).is_some();
        if skipping {
            // The brace that closes the module stands alone: rustfmt sees to it.
            skipping = line != "}";
            continue;
        }
        let line = without_comment(line);
        if !line.trim().is_empty() {
            found.push((index + 1, line));
        }
    }
    found
}

/// The line up to a `//` that stands outside of quotes.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut escaped, mut slash) = (false, false, false);
    for (at, c) in line.char_indices() {
        if c == '/' && slash && !quoted {
            return &line[..at - 1];
        }
        slash = c == '/' && !quoted;
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = c == '\\' && !escaped;
    }
    line
}

/// Whether `word` stands in `line` and is not the tail of a longer name.
fn stands_in(word: &str, line: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !word.starts_with(name) || !line[..at].chars().next_back().is_some_and(name))
}

/// What stands between backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Targets of Markdown links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
}

fn metric_names(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("outrigger_").map(|(at, _)| {
        let rest = &line[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

/// YAML block scalars behind a line that ends in `key`, their indentation taken off.
fn block_scalars(text: &str, key: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if line.ends_with(key) {
            let inner: Vec<_> = lines[index + 1..]
                .iter()
                .take_while(|inner| inner.trim().is_empty() || indent(inner) > indent(line))
                .map(|inner| inner.trim_start())
                .collect();
            found.push(inner.join("\n"));
        }
    }
    found
}

/// The insides of fenced blocks that open with `opening`.
fn fences(text: &str, opening: &str) -> Vec<String> {
    text.split(&format!("{opening}\n"))
        .skip(1)
        .filter_map(|rest| Some(rest.split("```").next()?.to_owned()))
        .collect()
}
