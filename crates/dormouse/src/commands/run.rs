//! `run` and `resume`: a program on this terminal.

use super::Done;
use crate::bar::Spinner;
use crate::cli;
use crate::size;
use crate::ui;
use dormouse::{Activity, Error, Every, Job, Notice, Outcome, Place, Why, exit, places};
use dormouse_engine::Gap;
use std::os::unix::ffi::OsStringExt;
use std::sync::{Mutex, PoisonError};

pub fn run(args: cli::Run) -> Done {
    let module = super::read_module(&args.program)?;
    let program = args.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = args.args.into_iter().map(OsStringExt::into_vec).collect();
    if let Some(n) = args.chaos {
        let gap = match args.seed {
            Some(seed) => Gap::Random { seed, most: n },
            None => Gap::Every(n),
        };
        let mut job = job(&args.engine, std::env::temp_dir(), args.dir, &program, String::new());
        if let Some(name) = args.invoke {
            job = job.invoke(name);
        }
        let (outcome, report) = job.chaos(&program, module, arguments, gap)?;
        ui::note(&format!(
            "chaos: {} captures, {} passed over, deepest {} frames, {} continuations compiled",
            report.captures, report.passed, report.deepest, report.compiled
        ));
        return Ok(end(outcome, ""));
    }
    let store = args.engine.place.dir()?;
    let hint = args.engine.place.hint();
    let mut job =
        job(&args.engine, store, args.dir, &program, hint.clone()).signals(true).one_shot(true);
    if let Some(name) = args.name {
        job = job.name(name);
    }
    if let Some(name) = args.invoke {
        job = job.invoke(name);
    }
    if !args.resume_if_any {
        return Ok(end(job.run(&program, module, arguments)?, &hint));
    }
    let opening = cli::Opening { identities: args.identities };
    for identities in opening.identities()? {
        job = job.identities(identities);
    }
    Ok(end(job.run_or_resume(&program, module, arguments)?, &hint))
}

pub fn resume(args: cli::Resume) -> Done {
    let store = args.engine.place.dir()?;
    let hint = args.engine.place.hint();
    let mut job = job(&args.engine, store, args.dir, &args.target.job, hint.clone())
        .signals(true)
        .one_shot(true);
    if let Some(module) = &args.module {
        job = job.expect_module(super::read_module(module)?);
    }
    if let Some(name) = args.clone {
        if name == args.target.job {
            return Err(Error::CloneOfItself { job: name });
        }
        job = job.name(name);
    }
    for identities in args.opening.identities()? {
        job = job.identities(identities);
    }
    job = job.recorded_dirs(!args.no_recorded_dirs);
    if let Some(until) = args.until {
        let store = args.opening.store(&args.engine.place)?;
        let shown = super::debug::Shown { json: false, all: false, hint };
        return super::debug::stop(job, &store, &args.target, &until, &shown);
    }
    job = job.lazy(args.lazy);
    if args.dry_run {
        return rehearse(job, &args.target, args.json);
    }
    Ok(end(job.resume(&args.target)?, &hint))
}

/// `resume --dry-run`.
fn rehearse(job: Job, target: &dormouse::Target, json: bool) -> Done {
    let found = match job.rehearse(target) {
        Ok(found) => found,
        Err(e) if json => {
            ui::print_json(&serde_json::json!({
                "can_resume": false,
                "problem": dormouse::one_line(&e.to_string()),
            }));
            return Ok(exit::FAILED);
        }
        Err(e) => return Err(e),
    };
    let name = found.checkpoint.name();
    let files = &found.files;
    if json {
        ui::print_json(&serde_json::json!({
            "can_resume": true,
            "checkpoint": name,
            "memory_bytes": found.memory,
            "directories": files.dirs.iter().map(|(guest, host)| {
                serde_json::json!({ "guest": guest, "host": host.to_string_lossy() })
            }).collect::<Vec<_>>(),
            "files_put_back": files.put_back,
            "files_left_as_they_are": files.stranded,
            "files_written": files.written,
            "files_made": files.made,
            "files_removed": files.removed,
            "files_cut": files.cut.iter().map(|cut| {
                serde_json::json!({ "fd": cut.fd, "path": cut.path, "size": cut.size, "now": cut.now })
            }).collect::<Vec<_>>(),
        }));
        return Ok(0);
    }
    let mut text = format!("{name} can go on here\n  memory   {}\n", size::text(found.memory));
    for (guest, host) in &files.dirs {
        text += &format!("  {guest}   is {}\n", host.display());
    }
    if files.put_back {
        text += "  files the program changed after the checkpoint will be put back\n";
    }
    if files.stranded {
        text += "  files will not be put back: the job went on from an earlier checkpoint since, or elsewhere\n";
    }
    let lists = [
        ("written from the image", &files.written),
        ("made", &files.made),
        ("removed", &files.removed),
    ];
    for (what, list) in lists {
        list.iter().for_each(|path| text += &format!("  {}   will be {what}\n", ui::visible(path)));
    }
    for cut in &files.cut {
        text += &format!(
            "  fd {}, {}: will be cut from {} to {} bytes\n",
            cut.fd, cut.path, cut.now, cut.size
        );
    }
    ui::print(&text);
    Ok(0)
}

/// What `run` and `resume` have in common.
fn job(
    engine: &cli::Engine,
    store: std::path::PathBuf,
    dirs: Vec<cli::Dir>,
    what: &str,
    hint: String,
) -> Job {
    let mut job = Job::new(store).on_notice(teller(what.to_owned(), hint));
    if let Some(files) = engine.files {
        job = job.files(files);
    }
    if !engine.no_cache {
        job = job.cache(engine.cache.clone().or_else(places::cache));
    }
    if let Some(size) = engine.cache_size {
        job = job.cache_size(size);
    }
    if let Some(ttl) = lease_ttl() {
        job = job.lease_ttl(ttl);
    }
    job = job.wait_for_lease(!engine.no_wait);
    job = job.deterministic(engine.deterministic).interpret(engine.interpret);
    job = job.tier_up(engine.tier_up);
    if let Some(n) = engine.stop_at {
        job = job.stop_at(n);
    }
    job = job.max_layers(engine.max_layers).deltas(!engine.no_deltas);
    job = job.tracking(engine.tracking).precopy(!engine.no_precopy);
    job = job.encrypt_module(engine.encrypt_module);
    for recipient in &engine.encrypt_to {
        job = job.encrypt_to(recipient);
    }
    if let Some(stack) = engine.stack {
        job = job.stack(stack.0);
    }
    if let Some(every) = engine.every {
        job = job.every(every);
        if engine.mtbf.is_some() && every != Every::Auto {
            ui::warning("--mtbf is for --every auto; it changes nothing here");
        }
    }
    if let Some(mtbf) = engine.mtbf {
        job = job.mtbf(mtbf);
    }
    if let Some(share) = engine.max_overhead {
        job = job.max_overhead(share.0);
    }
    if let Some(file) = &engine.stats {
        job = job.stats(file);
    }
    job = job.retention(engine.keep.change());
    if let Some(grace) = engine.life.grace {
        job = job.grace(grace);
    }
    for hook in &engine.life.on {
        job = job.hook(hook.clone());
    }
    job = job.hook_timeout(engine.life.hook_timeout);
    if let Some(time) = engine.life.stop_after {
        job = job.stop_after(time);
    }
    if let Some(time) = engine.life.timeout {
        job = job.timeout(time);
    }
    for dir in dirs {
        job = job.dir(dir.host, dir.guest);
    }
    environment(job, &engine.env)
}

/// Variables as they were given.
pub fn environment(mut job: Job, variables: &[String]) -> Job {
    for variable in variables {
        match variable.split_once('=') {
            Some((key, value)) => job = job.env(key, value),
            None => match std::env::var_os(variable) {
                Some(value) => job = job.env(variable.as_str(), value.into_vec()),
                None => ui::warning(&format!("--env {variable}: there is no such variable here")),
            },
        }
    }
    job
}

/// `DORMOUSE_LEASE`.
fn lease_ttl() -> Option<std::time::Duration> {
    let text = std::env::var("DORMOUSE_LEASE").ok()?;
    let ttl = humantime::parse_duration(&text).ok();
    if ttl.is_none() {
        ui::warning(&format!(
            "DORMOUSE_LEASE={text}: write a number and a unit, such as 30s; it is not used"
        ));
    }
    ttl
}

/// Tells on stderr what happens to the job.
pub fn teller(what: String, hint: String) -> impl Fn(Notice) + Send + Sync {
    let spinner = Mutex::new(None);
    let spin = move |s| *spinner.lock().unwrap_or_else(PoisonError::into_inner) = s;
    move |notice| match notice {
        Notice::Loading => {
            spin(Some(Spinner::start(format!("compiling {what} (kept for the next time)"))));
        }
        Notice::Progress { what: doing, meter } => {
            let doing = match doing {
                Activity::Checking => format!("checking the checkpoint of {what}"),
                Activity::Writing => "writing the checkpoint".to_owned(),
                _ => "reading the program's memory".to_owned(),
            };
            spin(Some(Spinner::counting(doing, meter)));
        }
        Notice::GoesOn { checkpoint } => {
            let (name, created) = (checkpoint.name(), &checkpoint.created);
            ui::note(&format!("going on from {name} of {created}"));
        }
        Notice::RunsAgain { checkpoint, back } => {
            let how = if back { "again, to stop there" } else { "again" };
            spin(Some(Spinner::start(format!("running {} {how}", checkpoint.name()))));
        }
        Notice::ProgressEnds | Notice::Begins { .. } => spin(None),
        Notice::Saved { checkpoint, why, first } => {
            let name = checkpoint.name();
            match why {
                Why::Term | Why::Interrupt | Why::Limit => {}
                _ if first => ui::note(&format!(
                    "{name} is durable; `dormouse resume {}{hint}` goes on from the newest checkpoint",
                    checkpoint.job
                )),
                Why::Usr1 => ui::note(&format!("{name} is durable")),
                Why::Timer | Why::Asked | Why::Program => {}
            }
        }
        Notice::Failed { message, why } => {
            let advice = match why {
                Why::Interrupt => {
                    "; the program goes on; Ctrl-C again stops it without a checkpoint"
                }
                _ => "; the program goes on",
            };
            let message = message.strip_suffix("; the program goes on").unwrap_or(&message);
            ui::warning(&format!("no checkpoint: {message}{advice}"));
        }
        Notice::Late { grace, failed } => {
            let grace = humantime::format_duration(grace);
            let now = match failed {
                Some(why) => format!("({why}); the program goes on"),
                None => "yet; it is still being taken".to_owned(),
            };
            ui::warning(&format!(
                "{grace} after SIGTERM no checkpoint is durable {now}; older ones are whole if this process is killed"
            ));
        }
        Notice::Stopping => {
            ui::note("taking a checkpoint, then stopping; Ctrl-C again stops at once")
        }
        Notice::StopNow => {
            spin(None);
            ui::note("stopped without a checkpoint; older ones are whole");
            std::process::exit(exit::INTERRUPTED.into());
        }
        Notice::Interrupted { signal } => {
            spin(None);
            std::process::exit(128 + signal);
        }
        Notice::Unreadable { message } => {
            ui::error(&format!(
                "{message}; the program, which had gone on before all was read, was ended (resume without --lazy reads first)"
            ));
            std::process::exit(exit::FAILED.into());
        }
        Notice::Waiting { job, by, at_most, lease } => ui::note(&format!(
            "the lease of job {job} names {by}; watching for up to {} whether it is renewed (if that process is dead \
             for sure, remove {})",
            humantime::format_duration(at_most),
            lease.display()
        )),
        Notice::Warning(message) => ui::warning(&message),
        _ => {}
    }
}

/// Says how it ended; the exit status.
fn end(outcome: Outcome, hint: &str) -> u8 {
    match &outcome {
        Outcome::Exited(_) => {}
        Outcome::Returned(values) => {
            ui::print(&values.iter().map(|v| format!("{v}\n")).collect::<String>());
        }
        Outcome::Trapped { message, places } => failed("the program trapped", message, places),
        Outcome::Aborted { message, places } => {
            failed("the program made a bad call", message, places);
        }
        Outcome::Stopped { checkpoint, .. } => {
            let job = &checkpoint.job;
            let name = checkpoint.name();
            ui::note(&format!("stopped at {name}; go on with: dormouse resume {job}{hint}"));
        }
        Outcome::Killed => ui::note("ended without a checkpoint"),
        Outcome::TimedOut => {
            ui::note("ended by --timeout, without a checkpoint; older ones are whole");
        }
        Outcome::LeaseLost { why } => ui::error(&format!(
            "the lease was lost: {why}; so this copy was ended without a checkpoint; older ones are whole, \
             and `dormouse ps` shows who runs the job"
        )),
    }
    outcome.status()
}

/// The cause first, then where it happened, innermost function first: names and offsets of the module
/// that was given.
fn failed(how: &str, message: &str, places: &[Place]) {
    ui::error(&format!("{how}: {}", dormouse::one_line(message)));
    for line in self::places(places) {
        ui::detail(&line);
    }
}

/// One line each, innermost function first.
pub fn places(places: &[Place]) -> Vec<String> {
    let mut lines = vec![];
    for run in places.chunk_by(|a, b| a == b) {
        let place = &run[0];
        let inlined = place.lines.len().saturating_sub(1);
        for line in &place.lines[..inlined] {
            let function = line.function.as_deref().unwrap_or("a function");
            lines.push(format!("in {function} ({line}), inlined in"));
        }
        match run.len() {
            1 => lines.push(format!("in {place}")),
            n => lines.push(format!("in {place} ({n} times)")),
        }
    }
    lines
}
