//! The files: where they are, and what is in them.
//!
//! ```text
//!   every = "5m"            top level: for every command that has --every
//!   store = "ckpt"          a path: relative to the file's directory
//!   [run]                   for this command; stronger than what is above
//!   dir = ["data::/data"]   an option that may be repeated
//!   keep-last = 3           numbers need no quotes
//! ```

use super::{Origin, Setting, Source, Value, keys, variable};
use clap::builder::ValueHint;
use clap::{Arg, ArgAction, Command};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// More than anybody has to say.
const MAX_FILE: u64 = 1 << 20;
/// In the project's directory, or one above it.
const PROJECT: &str = "dormouse.toml";

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Project,
    User,
    System,
}

/// A file that could be there.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Looked {
    pub level: Level,
    pub path: PathBuf,
    /// It is there, and was read.
    pub read: bool,
    /// Why it is there and was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// All files, the strongest first.
///
/// # Errors
/// The first that cannot be read, or says what it cannot.
pub(super) fn all(command: &Command) -> Result<Vec<(Looked, Option<Source>)>, String> {
    let project = project().map(|path| (Level::Project, path));
    let user = user().map(|path| (Level::User, path));
    let places = project.into_iter().chain(user).chain([(Level::System, system())]);
    places.map(|(level, path)| one(command, level, path)).collect()
}

/// The nearest, from the current directory up.
fn project() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|dir| dir.join(PROJECT)).find(|path| path.exists())
}

fn user() -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let dir = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(dir.join("dormouse/config.toml"))
}

fn system() -> PathBuf {
    variable("DORMOUSE_SYSTEM_CONFIG").map_or("/etc/dormouse/config.toml".into(), PathBuf::from)
}

fn one(command: &Command, level: Level, path: PathBuf) -> Result<(Looked, Option<Source>), String> {
    let failed = |why: &dyn std::fmt::Display| format!("cannot read {}: {why}", path.display());
    let mut looked = Looked { level, path: path.clone(), read: false, left_out: None };
    let file = match find(level, &path).map_err(|e| failed(&e))? {
        Found::Nothing => return Ok((looked, None)),
        // Anybody can put it into a directory above, such as /tmp.
        Found::Strange(why) if level == Level::Project => {
            looked.left_out = Some(why.to_owned());
            return Ok((looked, None));
        }
        Found::Strange(why) => return Err(failed(&why)),
        Found::File(file) => file,
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|e| failed(&e))?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(&"it is larger than 1 MiB"));
    }
    looked.read = true;
    let reader = Reader { command, level, path: &path, text: &text };
    Ok((looked, Some(reader.read()?)))
}

/// What there is where a file could be.
enum Found {
    Nothing,
    /// Not one that is read, and why.
    Strange(&'static str),
    File(File),
}

fn find(level: Level, path: &Path) -> std::io::Result<Found> {
    let own = rustix::process::geteuid().as_raw();
    let foreign = |meta: &Metadata| level == Level::Project && meta.uid() != own && meta.uid() != 0;
    let of_another = Found::Strange("it belongs to another user");
    let nothing = |e: &Error| matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    let link = match std::fs::symlink_metadata(path) {
        Err(e) if nothing(&e) => return Ok(Found::Nothing),
        meta => meta?,
    };
    // Also a link, whatever it leads to.
    if foreign(&link) {
        return Ok(of_another);
    }
    // What was no link does not become one by now; and a pipe is not waited for.
    let follow = if link.is_symlink() { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | follow;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(e) => {
            return match std::fs::metadata(path) {
                Ok(meta) if foreign(&meta) => Ok(of_another),
                Ok(meta) if !meta.is_file() => Ok(Found::Strange("it is not a file")),
                Err(e) if nothing(&e) => Ok(Found::Nothing),
                _ => Err(e.into()),
            };
        }
    };
    let meta = file.metadata()?;
    Ok(match meta.is_file() {
        _ if foreign(&meta) => of_another,
        true => Found::File(file),
        false => Found::Strange("it is not a file"),
    })
}

struct Reader<'a> {
    command: &'a Command,
    level: Level,
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn read(&self) -> Result<Source, String> {
        let table = DeTable::parse(self.text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start);
            self.bad(at, &dormouse::one_line(e.message()))
        })?;
        let mut source = Source::default();
        for (key, value) in table.get_ref() {
            let name: &str = key.get_ref();
            let at = key.span().start;
            let subcommand = self.command.find_subcommand(name).filter(|s| !s.is_hide_set());
            match (value.get_ref(), subcommand) {
                (DeValue::Table(own), Some(subcommand)) => {
                    let settings = own
                        .iter()
                        .map(|(key, value)| {
                            let found = keys::option(subcommand, key.get_ref());
                            let found = found.filter(|arg| keys::can_be_set(arg));
                            self.setting(Some(name), key, value, found.map(|arg| (subcommand, arg)))
                        })
                        .collect::<Result<Vec<_>, _>>()?;
                    source.tables.push((name.to_owned(), settings));
                }
                (DeValue::Table(_), None) => {
                    let names = self.command.get_subcommands().filter(|s| !s.is_hide_set());
                    let meant = keys::nearest(name, names.map(Command::get_name));
                    let why = format!("there is no command for the table [{name}]");
                    return Err(self.bad(at, &format!("{why}{}", did_you_mean(meant, '[', ']'))));
                }
                _ => {
                    let all = keys::all(self.command);
                    let found = all.iter().find(|(known, ..)| known == name);
                    let found = found.map(|(_, subcommand, arg)| (*subcommand, *arg));
                    source.top.push(self.setting(None, key, value, found)?);
                }
            }
        }
        Ok(source)
    }

    fn setting(
        &self,
        table: Option<&str>,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        found: Option<(&Command, &Arg)>,
    ) -> Result<Setting, String> {
        let name: &str = key.get_ref();
        let at = key.span().start;
        let Some((subcommand, arg)) = found else {
            return Err(self.bad(at, &self.unknown(table, name)));
        };
        if self.level == Level::Project
            && let Some(why) = keys::refused_in_project(name)
        {
            return Err(self.bad(
                at,
                &format!(
                    "{name} cannot be set in a project's file, which comes with the directory: {why}; \
                     set it in your own file, or on the command line"
                ),
            ));
        }
        let bad = |why: String| self.bad(at, &format!("{name}: {why}"));
        let value = self.value(arg, value.get_ref()).map_err(bad)?;
        keys::check(subcommand, name, &value).map_err(bad)?;
        let from = Origin::File { path: self.path.to_owned(), line: self.line(at) };
        Ok(Setting { key: name.to_owned(), value, from })
    }

    fn unknown(&self, table: Option<&str>, name: &str) -> String {
        let place = table.map_or(String::new(), |table| format!(" in [{table}]"));
        if keys::is_for_once(self.command, name) {
            return format!("{name}{place} cannot be set in a file: it is for one call only");
        }
        let of = |table| self.command.find_subcommand(table);
        let mut known: Vec<&str> = match table.and_then(of) {
            Some(subcommand) => {
                let args = subcommand.get_arguments().filter(|arg| keys::can_be_set(arg));
                args.filter_map(Arg::get_long).collect()
            }
            None => vec![],
        };
        let all = keys::all(self.command);
        if table.is_none() {
            known = all.iter().map(|(key, ..)| key.as_str()).collect();
        } else if all.iter().any(|(key, ..)| key == name) {
            return format!("{name}{place}: that command has no such option");
        }
        let meant = keys::nearest(name, known.into_iter());
        format!("unknown key {name}{place}{}", did_you_mean(meant, '"', '"'))
    }

    /// As the option wants it, with paths as they are seen from anywhere.
    fn value(&self, arg: &Arg, value: &DeValue<'_>) -> Result<Value, String> {
        let is_path = arg.get_value_hint() != ValueHint::Unknown;
        let one = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Some(self.placed(arg, text)),
            DeValue::Integer(number) if !is_path => Some(number.as_str().replace('_', "").into()),
            _ => None,
        };
        let read = match (arg.get_action(), value) {
            (ArgAction::SetTrue, DeValue::Boolean(on)) => Some(Value::Switch(*on)),
            (ArgAction::SetTrue, _) => None,
            (ArgAction::Append, DeValue::Array(all)) => {
                all.iter().map(|value| one(value.get_ref())).collect::<Option<_>>().map(Value::Many)
            }
            (ArgAction::Append, _) => None,
            (_, value) => one(value).map(Value::One),
        };
        read.ok_or_else(|| format!("write {}, not {}", keys::wants(arg), kind(value)))
    }

    /// Paths are the file's, not those of the directory that somebody happens to be in.
    fn placed(&self, arg: &Arg, text: &str) -> OsString {
        let dir = self.path.parent().unwrap_or(Path::new(""));
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let path = |text: &str| match text.strip_prefix("~/").zip(variable("HOME")) {
            Some((rest, home)) => Path::new(&home).join(rest),
            None => dir.join(text),
        };
        match arg.get_value_hint() {
            ValueHint::Unknown => text.into(),
            // HOST::GUEST, or one for both.
            ValueHint::DirPath => {
                let (host, guest) = text.split_once("::").unwrap_or((text, text));
                if host.is_empty() || guest.is_empty() {
                    return text.into();
                }
                let mut pair = path(host).into_os_string();
                pair.push(format!("::{guest}"));
                pair
            }
            _ if text.is_empty() => text.into(),
            _ => path(text).into_os_string(),
        }
    }

    fn bad(&self, at: usize, why: &str) -> String {
        format!("{}:{}: {why}", self.path.display(), self.line(at))
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        before.iter().filter(|b| **b == b'\n').count() + 1
    }
}

fn did_you_mean(meant: Option<String>, open: char, close: char) -> String {
    meant.map_or_else(
        || "; keys are the long options, as `dormouse COMMAND --help` has them".to_owned(),
        |meant| format!("; did you mean {open}{meant}{close}?"),
    )
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array, or one of other things",
        DeValue::Table(_) => "a table",
    }
}
