//! `config`: what is set, and by whom.
//!
//! ```text
//! KEY          VALUE                     FROM
//! cache        /home/u/.cache/dormouse   default
//! every        30s                       DORMOUSE_EVERY
//! run.dir      /data::/data              /home/u/.config/dormouse/config.toml:7
//! ```
//!
//! What is the same for all commands that have the option has one line.

use super::Done;
use crate::cli::{self, Cli};
use crate::config::{self, Level, Origin, Setting, Sources, Value};
use crate::ui;
use clap::{ArgAction, Command};
use dormouse::{exit, places};
use serde_json::json;
use std::collections::BTreeMap;

pub fn config(args: cli::Config) -> Done {
    let command = Cli::complete();
    let files = !args.no_files && config::files_wanted();
    let found = Sources::read(&command, files).and_then(|sources| {
        let all = in_effect(&command, &sources)?;
        Ok((sources, all))
    });
    let (sources, all) = match found {
        Ok(found) => found,
        Err(why) => {
            ui::error(&why);
            return Ok(exit::USAGE);
        }
    };
    for (name, meant) in config::strange_variables(&command) {
        let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
        ui::warning(&format!("{name} is set, but means nothing{meant}"));
    }
    if args.json {
        let settings: Vec<_> = all.iter().map(|(command, set)| as_json(command, set)).collect();
        ui::print_json(&json!({ "files": sources.files, "settings": settings }));
        return Ok(0);
    }
    for file in &sources.files {
        let level = match file.level {
            Level::Project => "project",
            Level::User => "user",
            Level::System => "system",
        };
        let read = match (&file.left_out, file.read) {
            (Some(why), _) => format!(" (not read: {why})"),
            (None, true) => String::new(),
            (None, false) => " (not there)".to_owned(),
        };
        ui::print(&format!("{level:9}{}{read}\n", file.path.display()));
    }
    if !sources.files.is_empty() {
        ui::print("\n");
    }
    ui::print(&ui::table(&table(&command, &all)));
    Ok(0)
}

/// What each command would be given.
fn in_effect(command: &Command, sources: &Sources) -> Result<Vec<(String, Setting)>, String> {
    let mut all = vec![];
    for subcommand in command.get_subcommands() {
        let name = subcommand.get_name().to_owned();
        let mut settings = sources.of(subcommand, None)?;
        for arg in subcommand.get_arguments().filter(|arg| config::can_be_set(arg)) {
            let key = arg.get_long().unwrap_or_default();
            if settings.iter().any(|set| set.key == key) {
                continue;
            }
            let place = match key {
                "store" => places::store().ok(),
                "cache" => places::cache(),
                _ => None,
            };
            let default = arg.get_default_values().first().map(|value| value.to_os_string());
            let default = default.filter(|_| !matches!(arg.get_action(), ArgAction::SetTrue));
            if let Some(value) = default.or(place.map(Into::into)) {
                let (key, value) = (key.to_owned(), Value::One(value));
                settings.push(Setting { key, value, from: Origin::Default });
            }
        }
        all.extend(settings.into_iter().map(|set| (name.clone(), set)));
    }
    Ok(all)
}

fn table(command: &Command, all: &[(String, Setting)]) -> Vec<Vec<String>> {
    let mut keys: BTreeMap<&str, Vec<&(String, Setting)>> = BTreeMap::new();
    for row in all {
        keys.entry(&row.1.key).or_default().push(row);
    }
    let mut table = vec![["KEY", "VALUE", "FROM"].map(str::to_owned).to_vec()];
    let cells = |key: String, set: &Setting| vec![key, text(&set.value), set.from.to_string()];
    for (key, rows) in keys {
        let first = &rows[0].1;
        let has = |sub: &&Command| sub.get_arguments().any(|arg| arg.get_long() == Some(key));
        if rows.len() == command.get_subcommands().filter(has).count()
            && rows.iter().all(|(_, set)| set.value == first.value && set.from == first.from)
        {
            table.push(cells(key.to_owned(), first));
            continue;
        }
        table.extend(rows.iter().map(|(command, set)| cells(format!("{command}.{key}"), set)));
    }
    table
}

fn text(value: &Value) -> String {
    match value {
        Value::Switch(on) => on.to_string(),
        Value::One(value) => value.to_string_lossy().into_owned(),
        Value::Many(values) => {
            let values = values.iter().map(|value| ui::quoted(&value.to_string_lossy()));
            values.collect::<Vec<_>>().join(" ")
        }
    }
}

fn as_json(command: &str, set: &Setting) -> serde_json::Value {
    let value = match &set.value {
        Value::Switch(on) => json!(on),
        Value::One(value) => json!(value.to_string_lossy()),
        Value::Many(values) => {
            json!(values.iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>())
        }
    };
    let (from, file, line, variable) = match &set.from {
        Origin::File { path, line } => ("file", Some(path), Some(line), None),
        Origin::Variable(name) => ("environment", None, None, Some(name)),
        Origin::Default => ("default", None, None, None),
    };
    json!({
        "command": command, "key": set.key, "value": value,
        "from": from, "file": file, "line": line, "variable": variable,
    })
}
