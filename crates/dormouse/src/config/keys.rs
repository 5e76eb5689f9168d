//! Which options can be set, by whom, and whether a value will do.

use super::Value;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use std::error::Error as _;
use std::ffi::OsString;

/// Options of one call: what is to be done now, or how it is answered. Nobody means them for all calls.
const ONCE: [&str; 21] = [
    "all",
    "chaos",
    "clone",
    "dry-run",
    "force",
    "help",
    "input",
    "json",
    "keep",
    "keep-running",
    "last",
    "module",
    "name",
    "no-config",
    "output",
    "seed",
    "stop",
    "stop-at",
    "until",
    "version",
    "wait",
];

/// What a project's file may set: how a program is run, which is of no consequence but for that program.
const PROJECT: [&str; 18] = [
    "deterministic",
    "every",
    "files",
    "grace",
    "interpret",
    "invoke",
    "lazy",
    "long",
    "max-layers",
    "max-overhead",
    "mtbf",
    "no-deltas",
    "no-precopy",
    "stack",
    "stop-after",
    "tier-up",
    "timeout",
    "tracking",
];

/// Why a project's file cannot set an option, if it cannot.
pub fn refused_in_project(key: &str) -> Option<&'static str> {
    if PROJECT.contains(&key) {
        return None;
    }
    Some(match key {
        "on" => "it has commands run on this host",
        "hook-timeout" => "it decides whether your own hooks come to an end",
        "dir" | "no-recorded-dirs" => "it decides which directories of this host a program gets",
        "env" => "it can hand variables of this host to a program",
        "store" => "it decides what `resume` wakes, and with which directories",
        "cache" | "no-cache" | "cache-size" => "compiled code is run as it lies in the cache",
        "stats" => "it has a file of this host written",
        "identity" => "it has a file of this host read",
        "encrypt-to" | "encrypt-module" => "it decides who can read checkpoints",
        "plain-http" => "it has checkpoints sent for all to read",
        "keep-last" | "keep-hourly" | "keep-daily" | "keep-within" | "max-store" => {
            "it has checkpoints removed"
        }
        "no-wait" | "resume-if-any" => "it decides about a job's other runs",
        _ => "it says more than how a program is run",
    })
}

/// Whether an option can be set in files and by variables.
pub fn can_be_set(arg: &Arg) -> bool {
    !arg.is_hide_set() && arg.get_long().is_some_and(|long| !ONCE.contains(&long))
}

/// Whether it is one that is there, but cannot be set.
pub fn is_for_once(command: &Command, key: &str) -> bool {
    ONCE.contains(&key) && command.get_subcommands().any(|sub| option(sub, key).is_some())
}

pub fn option<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(key))
}

/// The option that takes this one back.
pub fn taken_back(key: &str) -> String {
    key.strip_prefix("no-").map_or_else(|| format!("no-{key}"), str::to_owned)
}

/// All options that can be set, each with the first command that has it.
pub fn all(command: &Command) -> Vec<(String, &Command, &Arg)> {
    let mut all: Vec<(String, &Command, &Arg)> = vec![];
    for subcommand in command.get_subcommands() {
        for arg in subcommand.get_arguments().filter(|arg| can_be_set(arg)) {
            let key = arg.get_long().unwrap_or_default();
            if all.iter().all(|(known, ..)| known != key) {
                all.push((key.to_owned(), subcommand, arg));
            }
        }
    }
    all
}

/// Whether an option takes such a value: asks its own parser.
///
/// # Errors
/// What it says.
pub fn check(command: &Command, key: &str, value: &Value) -> Result<(), String> {
    let values = match value {
        Value::Switch(_) => return Ok(()),
        Value::One(value) => std::slice::from_ref(value),
        Value::Many(values) => values,
    };
    for value in values {
        let mut word = OsString::from(format!("--{key}="));
        word.push(value);
        let parsed = command.clone().no_binary_name(true).try_get_matches_from([word]);
        // Only this option is given: that another is missing says nothing of it.
        if let Err(e) = parsed
            && matches!(
                e.kind(),
                ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::InvalidUtf8
            )
        {
            return Err(words(&e));
        }
    }
    Ok(())
}

/// What an option, typed so, needs besides: of each of these one. Clap does not tell, but it complains.
pub fn required(command: &Command, words: Vec<OsString>) -> Vec<Vec<String>> {
    let without = |words: Vec<OsString>| {
        let parsed = command.clone().no_binary_name(true).try_get_matches_from(words);
        parsed.err().map_or(vec![], |e| missing(&e))
    };
    if words.is_empty() {
        return vec![];
    }
    let anyhow = without(vec![]);
    let own = without(words).into_iter().filter(|usage| !anyhow.contains(usage));
    // `--name <JOB>`, or `<--wasm <FILE>|--coredump <FILE>>`.
    own.map(|usage| {
        let words = usage.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        words.filter_map(|word| word.strip_prefix("--")).map(str::to_owned).collect()
    })
    .collect()
}

/// What clap misses, as its help has it.
pub fn missing(e: &clap::Error) -> Vec<String> {
    match (e.kind(), e.get(ContextKind::InvalidArg)) {
        (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(all))) => all.clone(),
        _ => vec![],
    }
}

fn words(e: &clap::Error) -> String {
    if let Some(source) = e.source() {
        return dormouse::one_line(&source.to_string());
    }
    match e.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(all)) if !all.is_empty() => {
            format!("write one of: {}", all.join(", "))
        }
        _ => "that is not such a value".to_owned(),
    }
}

/// What is meant by something that is nearly that.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let off = known.map(|known| (strsim::damerau_levenshtein(word, known), known));
    let near = off.filter(|(off, _)| *off <= (word.len() / 3).max(1));
    near.min_by_key(|(off, _)| *off).map(|(_, known)| known.to_owned())
}

/// What an option wants to be given in a file.
pub fn wants(arg: &Arg) -> &'static str {
    match arg.get_action() {
        ArgAction::SetTrue => "true or false",
        ArgAction::Append => "an array of strings",
        _ => "a string",
    }
}
