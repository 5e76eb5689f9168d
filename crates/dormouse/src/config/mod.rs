//! Settings that come from files and the environment, and so need not be typed.
//!
//! ```text
//!   /etc/dormouse/config.toml          every = "5m"           [run] max-layers = 4
//!   ~/.config/dormouse/config.toml       │ a later one            │
//!   ./dormouse.toml, or of a parent      │ wins                   │
//!   DORMOUSE_EVERY=5m                    v                        v
//!   dormouse run ─────────────> run --max-layers=4 --every=5m ── prog.wasm
//!                                     └ parsed once more, as if they had been typed
//! ```
//!
//! There is no second list of what can be set: keys are the long options that clap knows, and values are read by the parsers
//! of those. What was typed wins over all, and drops what conflicts with it. What needs an option that is not there is left out.

mod file;
mod keys;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
pub use file::{Level, Looked};
pub use keys::can_be_set;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Commands that need no settings, and must work where they are bad.
const WITHOUT: [&str; 4] = ["config", "completions", "man", "help"];
/// Variables that are no option's.
const VARIABLES: [&str; 5] = [
    "DORMOUSE_FAULT",
    "DORMOUSE_LEASE",
    "DORMOUSE_LOG",
    "DORMOUSE_NO_CONFIG",
    "DORMOUSE_SYSTEM_CONFIG",
];

/// What an option is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Switch(bool),
    One(OsString),
    Many(Vec<OsString>),
}

/// Who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File { path: PathBuf, line: usize },
    Variable(String),
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => f.write_str(name),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// One option, set.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its long name.
    pub key: String,
    pub value: Value,
    pub from: Origin,
}

/// What one file, or the environment, says.
#[derive(Default)]
struct Source {
    /// For all commands that have such an option.
    top: Vec<Setting>,
    /// For one.
    tables: Vec<(String, Vec<Setting>)>,
}

/// All that may hold settings, the strongest first.
pub struct Sources {
    sources: Vec<Source>,
    /// Which files there could be.
    pub files: Vec<Looked>,
}

impl Sources {
    /// Reads the environment and, unless that is not wanted, files.
    ///
    /// # Errors
    /// Whatever is wrong with a file, in one line.
    pub fn read(command: &Command, files: bool) -> Result<Sources, String> {
        let mut sources = vec![environment(command)?];
        let found = if files { file::all(command)? } else { vec![] };
        let mut looked = vec![];
        for (file, source) in found {
            looked.push(file);
            sources.extend(source);
        }
        Ok(Sources { sources, files: looked })
    }

    /// What holds for a command, where this was typed.
    ///
    /// # Errors
    /// If two settings of one file exclude each other.
    pub fn of(
        &self,
        command: &Command,
        typed: Option<&ArgMatches>,
    ) -> Result<Vec<Setting>, String> {
        let is_typed = |id: &str| {
            typed.is_some_and(|t| matches!(t.try_contains_id(id), Ok(true)))
                && typed.and_then(|t| t.value_source(id)) == Some(ValueSource::CommandLine)
        };
        let mut held: Vec<(usize, Setting)> = vec![];
        for (rank, source) in self.sources.iter().enumerate() {
            let table = source.tables.iter().filter(|(name, _)| name == command.get_name());
            for setting in table.flat_map(|(_, own)| own).chain(&source.top) {
                let Some(arg) = keys::option(command, &setting.key) else { continue };
                let taken_back = keys::taken_back(&setting.key);
                let taken_back = keys::option(command, &taken_back);
                if is_typed(arg.get_id().as_str())
                    || taken_back.is_some_and(|arg| is_typed(arg.get_id().as_str()))
                    || held.iter().any(|(_, s)| s.key == setting.key)
                {
                    continue;
                }
                if setting.value == Value::Switch(false) {
                    held.push((rank, setting.clone()));
                    continue;
                }
                let excludes = |other: &Arg| {
                    let of = |a, b: &Arg| {
                        command.get_arg_conflicts_with(a).iter().any(|c| c.get_id() == b.get_id())
                    };
                    of(arg, other) || of(other, arg)
                };
                if command.get_arguments().any(|a| is_typed(a.get_id().as_str()) && excludes(a)) {
                    continue;
                }
                let other = held.iter().find(|(_, s)| {
                    s.value != Value::Switch(false)
                        && keys::option(command, &s.key).is_some_and(&excludes)
                });
                match other {
                    Some((same, other)) if *same == rank => {
                        return Err(format!(
                            "{}: {} cannot be set with {} ({}); remove one of them",
                            setting.from, setting.key, other.key, other.from
                        ));
                    }
                    Some(_) => {}
                    None => held.push((rank, setting.clone())),
                }
            }
        }
        let mut held: Vec<Setting> = held.into_iter().map(|(_, setting)| setting).collect();
        // Without a call, whatever an option needs could yet be typed.
        if typed.is_some() {
            let typed = command.get_arguments().filter(|arg| is_typed(arg.get_id().as_str()));
            let typed: Vec<&str> = typed.filter_map(Arg::get_long).collect();
            leave_out_what_lacks(command, &typed, &mut held);
        }
        Ok(held)
    }
}

/// Removes what needs options that are neither typed nor set: nobody asked for it in this call. For what is typed, clap says so.
fn leave_out_what_lacks(command: &Command, typed: &[&str], held: &mut Vec<Setting>) {
    loop {
        let acts = |key: &str| held.iter().any(|s| s.key == key && !as_typed(s).is_empty());
        let is_met = |one_of: &Vec<String>| {
            one_of.iter().any(|key| typed.contains(&key.as_str()) || acts(key))
        };
        let lacks = |s: &Setting| !keys::required(command, as_typed(s)).iter().all(is_met);
        let Some(at) = held.iter().position(lacks) else { return };
        held.remove(at);
    }
}

/// What was typed, with what is set besides.
pub struct Completed {
    pub words: Vec<OsString>,
    /// What was added.
    pub added: Vec<Setting>,
}

/// Puts what is set before the options that were typed.
///
/// # Errors
/// Whatever is wrong with a file or a variable, in one line.
pub fn complete(command: &Command, mut words: Vec<OsString>) -> Result<Completed, String> {
    let (typed, lacks) = match command.clone().try_get_matches_from(&words) {
        Ok(typed) => (typed, vec![]),
        // Whatever else is wrong is told when all is parsed.
        Err(e) => match command.clone().ignore_errors(true).try_get_matches_from(&words) {
            Ok(typed) => (typed, lacking(&e)),
            // Help, or the version.
            Err(e) => e.exit(),
        },
    };
    let mut added = vec![];
    let own = typed.subcommand().filter(|(name, _)| !WITHOUT.contains(name));
    if let Some((name, own)) = own
        && let Some(subcommand) = command.find_subcommand(name)
        && let Some(at) = words.iter().skip(1).position(|word| word == name)
    {
        let files = !own.get_flag("no_config") && files_wanted();
        added = Sources::read(command, files)?.of(subcommand, Some(own))?;
        // What excludes that which lacks would make clap do without it.
        let is_set = |lack: &String| added.iter().any(|set| lack == &format!("--{}", set.key));
        if !lacks.iter().all(is_set) {
            added.clear();
        }
        let at = at + 2;
        words.splice(at..at, added.iter().flat_map(as_typed).collect::<Vec<_>>());
    }
    Ok(Completed { words, added })
}

/// The options that must be there besides those that were typed, and are not.
fn lacking(e: &clap::Error) -> Vec<String> {
    let first = |arg: &String| arg.split([' ', '=']).next().map(str::to_owned);
    keys::missing(e).iter().filter_map(first).collect()
}

/// Whether `DORMOUSE_NO_CONFIG` does not keep files from being read.
pub fn files_wanted() -> bool {
    let no = variable("DORMOUSE_NO_CONFIG");
    no.is_none_or(|no| no == "0" || no == "false")
}

/// The same command, in which each option that can be set can be taken back.
pub fn with_opposites(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |sub| {
            let opposites: Vec<String> = sub
                .get_arguments()
                .filter_map(|arg| arg.get_long().filter(|_| keys::can_be_set(arg)))
                .map(keys::taken_back)
                .collect();
            opposites.into_iter().fold(sub, |sub, long| {
                if keys::option(&sub, &long).is_some() {
                    return sub;
                }
                let id = format!("opposite {long}");
                sub.arg(Arg::new(id).long(long).action(ArgAction::SetTrue).hide(true))
            })
        })
    })
}

fn as_typed(setting: &Setting) -> Vec<OsString> {
    let option = |value: &OsStr| {
        let mut word = OsString::from(format!("--{}=", setting.key));
        word.push(value);
        word
    };
    match &setting.value {
        Value::Switch(false) => vec![],
        Value::Switch(true) => vec![format!("--{}", setting.key).into()],
        Value::One(value) => vec![option(value)],
        Value::Many(values) => values.iter().map(|value| option(value)).collect(),
    }
}

/// Each `--some-option` is `DORMOUSE_SOME_OPTION`.
fn environment(command: &Command) -> Result<Source, String> {
    let mut source = Source::default();
    for (key, subcommand, arg) in keys::all(command) {
        let name = variable_of(&key);
        let Some(text) = variable(&name) else { continue };
        let bad = |why: String| format!("{name}={}: {why}", text.to_string_lossy());
        let value = match arg.get_action() {
            ArgAction::SetTrue => Value::Switch(switch(&text).map_err(bad)?),
            ArgAction::Append => {
                let values = text.as_bytes().split(|b| *b == b'\n').filter(|v| !v.is_empty());
                Value::Many(values.map(|v| OsString::from_vec(v.to_vec())).collect())
            }
            _ => Value::One(text.clone()),
        };
        keys::check(subcommand, &key, &value).map_err(bad)?;
        source.top.push(Setting { key, value, from: Origin::Variable(name) });
    }
    Ok(source)
}

fn variable_of(key: &str) -> String {
    format!("DORMOUSE_{}", key.to_ascii_uppercase().replace('-', "_"))
}

/// Variables that look like ours and are nobody's, each with the one that may be meant.
pub fn strange_variables(command: &Command) -> Vec<(String, Option<String>)> {
    let known: Vec<String> = keys::all(command)
        .iter()
        .map(|(key, ..)| variable_of(key))
        .chain(VARIABLES.map(str::to_owned))
        .collect();
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut strange: Vec<String> =
        set.filter(|name| name.starts_with("DORMOUSE_") && !known.contains(name)).collect();
    strange.sort();
    strange
        .into_iter()
        .map(|name| {
            let meant = keys::nearest(&name, known.iter().map(String::as_str));
            (name, meant)
        })
        .collect()
}

/// One that is set, and to something.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn switch(text: &OsStr) -> Result<bool, String> {
    match text.to_str() {
        Some("1" | "true" | "yes" | "on") => Ok(true),
        Some("0" | "false" | "no" | "off") => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}
