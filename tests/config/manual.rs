//! `docs/configuration.md`: its reference is written from the table of keys.

use std::fmt::Write;

use outrigger::config::diagnostic::Id;
use outrigger::config::raw::{self, Default, Table};

use super::{check_golden, inspect, root};

const MARK: &str = "<!-- Everything below is written by `BLESS=1 cargo test --test config`. -->\n";

#[test]
fn the_reference_is_in_step_with_the_keys() {
    let path = root().join("docs/configuration.md");
    let found = std::fs::read_to_string(&path).unwrap();
    let (introduction, _) = found.split_once(MARK).expect("the mark is gone");
    check_golden(&path, &format!("{introduction}{MARK}{}", reference()));
}

#[test]
fn examples_in_the_manual_are_valid() {
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let examples: Vec<_> = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .collect();
    assert!(!examples.is_empty());
    for (example, _) in examples {
        let found = inspect("docs/configuration.md", example);
        assert!(found.diagnostics.is_empty(), "{}", found.diagnostics);
    }
}

fn reference() -> String {
    let mut tables = Vec::new();
    collect(&raw::ROOT, &mut tables);
    let mut text = String::from("\n## Reference\n");
    for table in tables {
        write_table(&mut text, table);
    }
    text.push_str("\n## Kinds of problems\n\nWhat `outrigger check` may report.\n");
    text.push_str("\n| id | severity | |\n| --- | --- | --- |\n");
    for id in Id::ALL {
        let (word, severity) = (id.as_str(), id.severity().as_str());
        writeln!(text, "| `{word}` | {severity} | {} |", id.meaning()).unwrap();
    }
    text
}

fn collect(table: &'static Table, tables: &mut Vec<&'static Table>) {
    if !tables.iter().any(|seen| std::ptr::eq(*seen, table)) {
        tables.push(table);
        for below in table.keys.iter().filter_map(|key| key.kind.below()) {
            collect(below, tables);
        }
    }
}

fn write_table(text: &mut String, table: &Table) {
    write!(text, "\n### {}\n\n", table.title).unwrap();
    for line in table.doc.lines() {
        writeln!(text, "{line}").unwrap();
    }
    text.push_str("\n| key | takes | default | |\n| --- | --- | --- | --- |\n");
    for key in table.keys {
        let default = match key.default {
            Default::Value(value) => format!("`{value}`"),
            Default::Derived(rule, _) => rule.to_owned(),
            Default::Required(_) => "required".to_owned(),
            Default::Table => String::new(),
        };
        let takes = match key.kind.below() {
            Some(below) => format!(
                "{}: [{}](#{})",
                key.kind.form(),
                below.title,
                anchor(below.title)
            ),
            None => key.kind.form(),
        };
        let row = format!("| `{}` | {takes} | {default} | {} |", key.name, key.doc);
        writeln!(text, "{row}").unwrap();
    }
}

/// How a heading is linked to.
fn anchor(title: &str) -> String {
    title
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c),
            _ => None,
        })
        .collect()
}
