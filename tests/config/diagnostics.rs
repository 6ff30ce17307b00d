//! What is said about bad files.

use std::collections::BTreeSet;
use std::path::Path;

use outrigger::config::check::{self, Format};
use outrigger::config::diagnostic::Id;
use outrigger::config::{self, Inspection};

use super::{check_golden, env, files, inspect, root};

const BAD: &str = "tests/fixtures/bad";

/// Reads a fixture under its name in the repository, so that the expected text holds anywhere.
fn read(path: &Path) -> Inspection {
    if path.ends_with("tls-files.toml") {
        return config::inspect_all(path.strip_prefix(root()).unwrap());
    }
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            inspect(&name, &text)
        }
        Err(_) => config::inspect(path.strip_prefix(root()).unwrap()),
    }
}

#[test]
fn bad_files_are_explained() {
    for path in files(BAD, "toml") {
        let found = read(&path);
        assert!(!found.diagnostics.is_empty(), "{}", path.display());
        assert_eq!(
            found.config.is_some(),
            path.ends_with("warnings.toml") || path.ends_with("unused-keys.toml"),
            "{}",
            path.display()
        );
        check_golden(
            &path.with_extension("txt"),
            &found.diagnostics.render(false),
        );
    }
}

#[test]
fn good_files_are_good() {
    for path in files("tests/fixtures/good", "toml") {
        let found = read(&path);
        assert!(
            found.config.is_some() && found.diagnostics.is_empty(),
            "{}",
            found.diagnostics
        );
    }
}

#[test]
fn every_kind_of_problem_has_a_fixture() {
    let found: BTreeSet<Id> = files(BAD, "toml")
        .iter()
        .flat_map(|path| read(path).diagnostics.items().to_vec())
        .map(|item| item.id)
        .collect();
    let missing: Vec<_> = Id::ALL.iter().filter(|id| !found.contains(id)).collect();
    assert!(missing.is_empty(), "no file in {BAD} shows {missing:?}");
    let words: BTreeSet<_> = Id::ALL.iter().map(|id| id.as_str()).collect();
    assert_eq!(words.len(), Id::ALL.len());
}

#[test]
fn every_problem_says_what_to_do() {
    for path in files(BAD, "toml") {
        for item in read(&path).diagnostics.items() {
            let exempt = [Id::Syntax, Id::WrongType].contains(&item.id);
            assert!(
                item.help.is_some() || exempt,
                "{}: {item:?}",
                path.display()
            );
        }
    }
}

#[test]
fn both_forms_name_the_same_places() {
    for path in files(BAD, "toml") {
        let diagnostics = read(&path).diagnostics;
        let json: serde_json::Value = serde_json::from_str(&diagnostics.to_json()).unwrap();
        let objects = json.as_array().unwrap();
        let places: Vec<_> = objects
            .iter()
            .filter(|object| !object["line"].is_null())
            .map(|object| format!("{}:{}", object["line"], object["column"]))
            .collect();
        let text = diagnostics.render(false);
        let shown: Vec<_> = text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("--> "))
            .filter_map(|place| place.split_once(".toml:"))
            .map(|(_, place)| place.to_owned())
            .collect();
        assert_eq!(places, shown, "{}", path.display());
        assert_eq!(objects.len(), diagnostics.items().len());
    }
}

#[test]
fn json_is_stable() {
    let path = root().join(BAD).join("unknown-keys.toml");
    let json = read(&path).diagnostics.to_json();
    check_golden(&path.with_extension("json"), &json);
}

#[test]
fn the_environment_is_never_shown() {
    let secret = env("SECRET").unwrap();
    for path in files(BAD, "toml") {
        let diagnostics = read(&path).diagnostics;
        assert!(
            !diagnostics.to_json().contains(&secret),
            "{}",
            path.display()
        );
        assert!(
            !diagnostics.render(true).contains(&secret),
            "{}",
            path.display()
        );
    }
}

#[test]
fn check_sums_up() {
    let file = |name: &str| root().join("tests/fixtures").join(name);
    let report = |name: &str, format| check::run(&file(name), format, false);
    let last = |name: &str| {
        let report = report(name, Format::Text);
        let line = report.text.lines().last().unwrap().to_owned();
        (line.split_once(": ").unwrap().1.to_owned(), report.valid)
    };
    assert_eq!(
        last("good/minimal.toml"),
        ("good: 1 listener, 1 upstream".to_owned(), true)
    );
    assert_eq!(
        last("bad/warnings.toml"),
        ("good: 1 listener, 2 upstreams, 6 warnings".to_owned(), true)
    );
    assert_eq!(
        last("bad/nothing.toml"),
        ("bad: 1 error, 0 warnings".to_owned(), false)
    );
    assert_eq!(
        last("no such file"),
        ("bad: 1 error, 0 warnings".to_owned(), false)
    );
    assert_eq!(report("good/minimal.toml", Format::Json).text, "[]\n");
    assert!(!report("bad/nothing.toml", Format::Json).valid);
}
