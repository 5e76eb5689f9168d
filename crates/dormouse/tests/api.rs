//! docs/api.md names every command and every option, and says which call of the library does the same.
#![allow(missing_docs)]

mod harness;

use harness::*;
use std::collections::BTreeSet;

#[test]
fn every_command_and_option_is_in_the_table() {
    let p = Place::new();
    let page = std::fs::read_to_string(root().join("docs/api.md")).unwrap();
    let table = page.split("## Each command as a call").nth(1).unwrap();
    // Words, so that `--keep` is not found in `--keep-last`.
    let known: BTreeSet<&str> =
        table.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).collect();
    let help = p.ok(&["help"]);
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    // What it says of a command goes on in lines that begin further right.
    let named =
        commands.lines().filter_map(|l| l.strip_prefix("  ").filter(|l| !l.starts_with(' ')));
    let commands: Vec<&str> = named.filter_map(|l| l.split_whitespace().next()).collect();
    assert!(commands.len() >= 15, "{commands:?}");
    for command in commands.into_iter().filter(|c| *c != "help") {
        assert!(known.contains(command), "docs/api.md does not say how to `{command}`");
        let help = p.ok(&[command, "--help"]);
        let options = help.lines().filter_map(|line| {
            let line = line.trim_start();
            let line = line
                .split_once(", --")
                .map_or(line, |(_, long)| &line[line.len() - long.len() - 2..]);
            line.starts_with("--").then(|| line.split([' ', '=', '[']).next().unwrap())
        });
        for option in options.filter(|o| *o != "--help") {
            assert!(known.contains(option), "docs/api.md does not have `{command} {option}`");
        }
    }
}
