//! `debug`, and `resume --until`: a program run again, stopped, and looked at.

use super::{Done, run, stack};
use crate::{cli, ui};
use dormouse::look::{self, Frame};
use dormouse::store::Store;
use dormouse::{Job, Outcome, Stop, Target, Until, Where, places};
use serde::Serialize;
use std::fmt::Write as _;

/// What is printed of a stop.
#[derive(Serialize)]
struct Report<'a> {
    checkpoint: String,
    from: String,
    tried: &'a [String],
    until: String,
    /// After `from`; none at the entry of a function.
    safepoints: Option<u64>,
    /// Of the function at whose entry it stands.
    func: Option<u32>,
    times: Option<u32>,
    /// What comes next.
    trap: Option<Trap<'a>>,
    /// Innermost first.
    frames: Vec<Frame>,
}

#[derive(Serialize)]
struct Trap<'a> {
    message: &'a str,
    /// Innermost first.
    places: Vec<String>,
}

pub fn debug(args: cli::Debug) -> Done {
    let hint = args.listing.place.hint();
    let mut job = Job::new(args.listing.place.dir()?)
        .on_notice(run::teller(args.target.job.clone(), hint.clone()))
        .max_copy(args.max_copy)
        .show_output(args.output)
        .recorded_dirs(!args.no_recorded_dirs)
        .signals(true)
        .interpret(args.interpret);
    if !args.no_cache {
        job = job.cache(args.cache.clone().or_else(places::cache));
    }
    if let Some(name) = args.name {
        job = job.name(name);
    }
    if let Some(input) = args.input {
        job = job.input(input);
    }
    for dir in args.dir {
        job = job.dir(dir.host, dir.guest);
    }
    job = run::environment(job, &args.env);
    for identities in args.opening.identities()? {
        job = job.identities(identities);
    }
    let store = args.opening.store(&args.listing.place)?;
    let shown = Shown { json: args.listing.json, all: args.all, hint };
    stop(job, &store, &args.target, &args.until, &shown)
}

/// How a stop is shown.
pub struct Shown {
    pub json: bool,
    pub all: bool,
    pub hint: String,
}

/// Runs it, and shows where it stands.
pub fn stop(job: Job, store: &Store, target: &Target, until: &Until, shown: &Shown) -> Done {
    let stop = job.until(target, until)?;
    let info = &stop.checkpoint;
    let checkpoint = store.load(&info.job, Some(info.number))?;
    let frames = look::stack(&checkpoint);
    if shown.json {
        ui::print_json(&report(&stop, until, frames));
    } else {
        ui::print_styled(&text(&stop, &frames, shown));
    }
    Ok(0)
}

fn report<'a>(stop: &'a Stop, until: &Until, frames: Vec<Frame>) -> Report<'a> {
    let (safepoints, func, times) = match stop.at {
        Where::Safepoint(n) => (Some(n), None, None),
        Where::Entry { func, times, .. } => (None, Some(func), Some(times)),
        _ => (None, None, None),
    };
    let trap = match &stop.next {
        Some(Outcome::Trapped { message, places } | Outcome::Aborted { message, places }) => {
            Some(Trap { message, places: places.iter().map(ToString::to_string).collect() })
        }
        _ => None,
    };
    Report {
        checkpoint: stop.checkpoint.name(),
        from: stop.from.name(),
        tried: &stop.tried,
        until: until.to_string(),
        safepoints,
        func,
        times,
        trap,
        frames,
    }
}

fn text(stop: &Stop, frames: &[Frame], shown: &Shown) -> String {
    let (name, from) = (stop.checkpoint.name(), stop.from.name());
    let mut out = match &stop.at {
        Where::Safepoint(n) => {
            let last = match &stop.next {
                None => "",
                Some(Outcome::Trapped { message, .. }) if message.contains("stack exhausted") => {
                    ", shortly before its stack is at its end"
                }
                Some(_) => ", the last before it traps",
            };
            format!("{name} stands {} after {from}{last}\n", ui::count(*n as usize, "safepoint"))
        }
        Where::Entry { name: function, times, .. } => {
            let entry = match times {
                1 => "first entry".to_owned(),
                n => format!("{} entry", ordinal(*n)),
            };
            format!("{name} stands at the {entry} of {} after {from}\n", ui::visible(function))
        }
        _ => format!("{name} stands after {from}\n"),
    };
    if let [newest, ..] = &stop.tried[..] {
        let more = match stop.tried.len() {
            1 => String::new(),
            n => format!(", and {} before it", ui::count(n - 1, "checkpoint")),
        };
        let _ = writeln!(out, "(it does not come there from {newest}{more})");
    }
    match &stop.next {
        Some(Outcome::Trapped { message, places }) => {
            trap(&mut out, "then it traps", message, places);
        }
        Some(Outcome::Aborted { message, places }) => {
            trap(&mut out, "then it makes a bad call", message, places);
        }
        _ => {}
    }
    let _ = writeln!(out, "\n{}, innermost first", ui::count(frames.len(), "frame"));
    out += &stack::text(frames, shown.all, false);
    let hint = &shown.hint;
    let _ = write!(out, "\nmore of it, and on from it:\n  dormouse inspect {name}{hint}\n");
    let _ = writeln!(out, "  dormouse debug {name} --until safepoint=1{hint}");
    if matches!(stop.at, Where::Safepoint(1..)) {
        let _ = writeln!(out, "  dormouse debug {name} --until safepoint=-1{hint}");
    }
    out
}

/// `2nd`, `11th`.
fn ordinal(n: u32) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

fn trap(out: &mut String, what: &str, message: &str, places: &[dormouse::Place]) {
    let _ = writeln!(out, "{what}: {}", ui::visible(&dormouse::one_line(message)));
    for line in run::places(places) {
        let _ = writeln!(out, "  {}", ui::visible(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::ordinal;

    #[test]
    fn ordinals() {
        let all = [2, 3, 4, 11, 12, 13, 21, 22, 101, 111].map(ordinal);
        let expected =
            ["2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th"];
        assert_eq!(all, expected);
    }
}
