//! docs/resources.md is complete, and each of its rows is shown by a test that there is.
#![allow(missing_docs)]

mod harness;

use dormouse_wasi::CALLS;
use harness::root;
use std::collections::BTreeSet;
use std::fs;

/// What may become of a resource; the page says what the words mean.
const RULES: [&str; 5] = ["restored", "reopened", "refused", "host", "none"];

/// What runs all the programs of guests/wasi.
const PROGRAMS: &str = "dormouse/conformance::stopped_at_every_safepoint";

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

/// A test of a source file.
struct Test {
    name: String,
    runs: Runs,
}

/// Whether a test runs in the suite, by its attributes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Runs {
    Always,
    /// With `--release`; else it is ignored.
    Release,
    OnLinux,
    /// Ignored, or behind another condition.
    NotAlways,
}

impl Runs {
    fn by(attributes: &[String]) -> Runs {
        let of = |attribute: &String| match attribute {
            a if a.starts_with("#[cfg_attr(debug_assertions, ignore") => Runs::Release,
            a if a == "#[cfg(target_os = \"linux\")]" => Runs::OnLinux,
            a if a.starts_with("#[ignore") || a.starts_with("#[cfg") => Runs::NotAlways,
            _ => Runs::Always,
        };
        let conditions: Vec<Runs> =
            attributes.iter().map(of).filter(|r| *r != Runs::Always).collect();
        match conditions[..] {
            [] => Runs::Always,
            [one] => one,
            _ => Runs::NotAlways,
        }
    }
}

/// The tests of a source file: functions with the attribute, wherever it stands among others, and the lines of programs.rs's macro
/// that makes some.
fn tests_of(source: &str) -> Vec<Test> {
    let (mut tests, mut attributes) = (vec![], Vec::<String>::new());
    // A file behind a condition, and an attribute that goes on in the next line.
    let (mut outer, mut open) = (vec![], false);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#![cfg(") {
            outer.push(line.replacen("#!", "#", 1));
        } else if open {
            let attribute = attributes.last_mut().unwrap();
            attribute.push_str(if attribute.ends_with('(') { "" } else { " " });
            attribute.push_str(line);
            open = !line.ends_with(']');
        } else if line.starts_with("#[") {
            attributes.push(line.to_owned());
            open = !line.ends_with(']');
        } else if let Some((_, rest)) =
            line.split_once("fn ").filter(|(before, _)| ["", "pub "].contains(before))
        {
            if attributes.iter().any(|a| a == "#[test]") {
                let name = rest.split(['(', '<']).next().unwrap().to_owned();
                attributes.extend(outer.clone());
                tests.push(Test { name, runs: Runs::by(&attributes) });
            }
            attributes.clear();
        } else if !line.is_empty() && !line.starts_with("//") {
            attributes.clear();
        }
    }
    // The macro's own `fn $name` tells of all of them.
    if let Some(made) = tests.iter().position(|test| test.name == "$name") {
        let runs = tests.remove(made).runs;
        let lines = source.split_once("\ntests! {\n").unwrap().1.lines().take_while(|l| *l != "}");
        let names = lines.filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
        let names = names.map(|(name, _)| name).filter(|name| !name.contains([' ', '/']));
        tests.extend(names.map(|name| Test { name: name.to_owned(), runs }));
    }
    tests
}

/// When a test that the page names is run, or why there is none.
fn found(test: &str) -> Result<Runs, String> {
    if test.ends_with(".c") {
        let there = root().join("guests/wasi").join(test).exists();
        return if there {
            found(PROGRAMS)
        } else {
            Err(format!("there is no guests/wasi/{test}"))
        };
    }
    let parts =
        test.split_once("::").and_then(|(file, function)| Some((file.split_once('/')?, function)));
    let Some(((krate, file), function)) = parts else {
        return Err(format!("{test}: write it as crate/file::function"));
    };
    let path = format!("crates/{krate}/tests/{file}.rs");
    let Ok(source) = fs::read_to_string(root().join(&path)) else {
        return Err(format!("{test}: there is no {path}"));
    };
    match tests_of(&source).iter().find(|test| test.name == function) {
        None => Err(format!("{test}: {path} has no such test")),
        Some(Test { runs: Runs::NotAlways, .. }) => {
            Err(format!("{test}: it is ignored, or behind a condition"))
        }
        Some(test) => Ok(test.runs),
    }
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
        let missing = tests.into_iter().filter_map(|test| found(test).err());
        wrong.extend(missing.map(|why| format!("{what}: {why}")));
    }
    assert!(wrong.is_empty(), "docs/resources.md:\n{}", wrong.join("\n"));
}

/// The page says which of its tests are not run in every build and on every system.
#[test]
fn tests_that_are_not_always_run_are_told() {
    let page = fs::read_to_string(root().join("docs/resources.md")).unwrap();
    let rows = rows();
    let named: BTreeSet<&str> =
        rows.iter().flat_map(|cells| quoted(cells.last().unwrap())).collect();
    for (runs, item) in
        [(Runs::Release, "- with `--release` only: "), (Runs::OnLinux, "- on Linux only: ")]
    {
        let line = page.lines().find_map(|line| line.strip_prefix(item)).unwrap_or_default();
        let told: BTreeSet<&str> = quoted(line).into_iter().collect();
        let test = |name: &&str| {
            if name.ends_with(".c") { PROGRAMS.to_owned() } else { (*name).to_owned() }
        };
        let such: BTreeSet<String> =
            named.iter().filter(|name| found(name) == Ok(runs)).map(test).collect();
        assert_eq!(told, such.iter().map(String::as_str).collect(), "docs/resources.md: {item}");
    }
}

#[test]
fn attributes_say_whether_a_test_runs() {
    let source = "
#[test]
#[should_panic]
/// Told of.
fn between() {}

#[cfg(target_os = \"linux\")]
#[test]
fn linux() {}

#[test]
#[ignore = \"takes long\"]
fn ignored() {}

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = \"takes long\"
)]
fn release() {}

#[cfg(feature = \"fault\")]
#[test]
fn feature() {}

#[cfg(unix)]
const NOTHING: () = ();

#[test]
fn plain() {}

fn none() {}
";
    let is = |source: &str| -> Vec<(String, Runs)> {
        tests_of(source).into_iter().map(|test| (test.name, test.runs)).collect()
    };
    let expected = [
        ("between", Runs::Always),
        ("linux", Runs::OnLinux),
        ("ignored", Runs::NotAlways),
        ("release", Runs::Release),
        ("feature", Runs::NotAlways),
        ("plain", Runs::Always),
    ];
    assert_eq!(is(source), expected.map(|(name, runs)| (name.to_owned(), runs)));
    let behind = is("#![cfg(unix)]\n#[test]\nfn f() {}");
    assert_eq!(behind, [("f".to_owned(), Runs::NotAlways)]);
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
        for test in tests_of(&source) {
            let name = format!("dormouse/{file}::{}", test.name);
            assert!(named.contains(name.as_str()), "docs/resources.md does not name {name}");
        }
    }
}
