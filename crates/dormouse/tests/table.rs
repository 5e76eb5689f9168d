//! docs/resources.md is complete, and each of its rows is shown by a test that there is.
#![allow(missing_docs)]

mod harness;

use dormouse_wasi::CALLS;
use harness::root;
use std::collections::BTreeSet;
use std::fs;

/// What may become of a resource; the page says what the words mean.
const RULES: [&str; 5] = ["restored", "reopened", "refused", "host", "none"];

/// The cells of each row, without the heads of the tables and the list of words.
fn rows() -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/resources.md")).unwrap();
    let tables = page.split_once("\n## ").expect("tables stand under headings").1;
    let lines: Vec<&str> = tables.lines().collect();
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|---"));
    let row = |(at, line): (usize, &&str)| {
        let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
        (!is_head(at)).then(|| inner.split('|').map(|cell| cell.trim().to_owned()).collect())
    };
    let rows: Vec<Vec<String>> = lines.iter().enumerate().filter_map(row).collect();
    let bars =
        (0..lines.len()).filter(|&at| lines[at].starts_with('|') && !lines[at].starts_with("|---"));
    let heads = bars.clone().filter(|&at| is_head(at)).count();
    assert_eq!(rows.len(), bars.count() - heads, "each line of a table is `| a cell | ... |`");
    rows
}

/// What stands between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Why there is no such test.
fn missing(test: &str) -> Option<String> {
    if let Some(program) = test.strip_suffix(".c") {
        let there = root().join("guests/wasi").join(test).exists();
        return (!there).then(|| format!("there is no guests/wasi/{program}.c"));
    }
    let parts =
        test.split_once("::").and_then(|(file, function)| Some((file.split_once('/')?, function)));
    let Some(((krate, file), function)) = parts else {
        return Some(format!("{test}: write it as crate/file::function"));
    };
    let path = format!("crates/{krate}/tests/{file}.rs");
    let Ok(source) = fs::read_to_string(root().join(&path)) else {
        return Some(format!("{test}: there is no {path}"));
    };
    // A function with the attribute, or a line of programs.rs's macro that makes some.
    let written = source.match_indices(&format!("fn {function}(")).any(|(at, _)| {
        let before = source[..at].lines().rev().skip_while(|line| line.trim().is_empty());
        before.map(str::trim).take_while(|line| line.starts_with('#')).any(|line| line == "#[test]")
    });
    let made =
        source.contains("macro_rules! tests") && source.contains(&format!("\n    {function}: "));
    (!written && !made).then(|| format!("{test}: {path} has no such test"))
}

#[test]
fn each_row_has_a_rule_and_tests() {
    let mut wrong = vec![];
    let rows = rows();
    assert!(rows.len() > 100, "{} rows", rows.len());
    for cells in &rows {
        let (Some(what), Some(rule), Some(tests)) = (cells.first(), cells.get(1), cells.last())
        else {
            continue;
        };
        if !RULES.contains(&rule.as_str()) {
            wrong.push(format!("{what}: {rule:?} is none of {RULES:?}"));
        }
        let tests = quoted(tests);
        if tests.is_empty() || cells.len() < 4 {
            wrong.push(format!("{what}: no tests"));
        }
        wrong.extend(tests.into_iter().filter_map(missing).map(|why| format!("{what}: {why}")));
    }
    assert!(wrong.is_empty(), "docs/resources.md:\n{}", wrong.join("\n"));
}

#[test]
fn each_call_has_a_row() {
    let rows = rows();
    let name =
        |cells: &Vec<String>| Some(cells.first()?.strip_prefix('`')?.strip_suffix('`')?.to_owned());
    let named: Vec<String> = rows.iter().filter_map(name).collect();
    let calls: Vec<&str> = CALLS.iter().map(|call| call.name).collect();
    assert_eq!(named, calls, "the calls of docs/resources.md, and those of crates/wasi");
    for call in CALLS {
        let row = rows.iter().find(|cells| name(cells).as_deref() == Some(call.name)).unwrap();
        assert_eq!(
            row.get(3).map(String::as_str),
            Some(if call.blocking { "yes" } else { "no" }),
            "{}: waits",
            call.name
        );
        let tests = row.last().unwrap();
        assert!(
            quoted(tests).contains(&format!("{}.c", call.name).as_str()),
            "{}: its program",
            call.name
        );
        let stopped = "dormouse/blocked::stopped_in_every_call_that_can_wait";
        assert_eq!(quoted(tests).contains(&stopped), call.blocking, "{}: stopped in it", call.name);
    }
}

/// A test file whose tests nobody can find from the page is not part of it by mistake.
#[test]
fn the_tests_of_resources_are_all_named() {
    let rows = rows();
    let named: BTreeSet<&str> =
        rows.iter().flat_map(|cells| quoted(cells.last().unwrap())).collect();
    for file in ["resources", "blocked", "terminal"] {
        let source =
            fs::read_to_string(root().join(format!("crates/dormouse/tests/{file}.rs"))).unwrap();
        let tests =
            source.split("#[test]\nfn ").skip(1).map(|rest| rest.split('(').next().unwrap());
        for test in tests {
            let name = format!("dormouse/{file}::{test}");
            assert!(named.contains(name.as_str()), "docs/resources.md does not name {name}");
        }
    }
}
