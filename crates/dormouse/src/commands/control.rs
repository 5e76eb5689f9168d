//! `checkpoint`, `kill`, `pause`, `unpause` and `wait`: words to a running job.

use super::Done;
use crate::bar::Spinner;
use crate::{cli, size, ui};
use dormouse::Error;
use dormouse::control::{Request, Response, ask};

pub fn checkpoint(args: cli::Checkpoint) -> Done {
    let _ = (args.wait, args.keep_running);
    let request = Request::Checkpoint { stop: args.stop };
    let dir = args.place.dir()?;
    let spinner = Spinner::start(format!("waiting for {} to take a checkpoint", args.job));
    let response = ask(&dir, &args.job, request);
    drop(spinner);
    let response = response?;
    if args.json {
        ui::print_json(&response);
    }
    match response {
        Response::Checkpoint { name, size, .. } => {
            if !args.json {
                ui::print(&format!("{name}   {}\n", size::text(size)));
            }
            Ok(0)
        }
        Response::No { error } => Err(Error::NoCheckpoint { job: args.job, why: error }),
        other => Err(strange(args.job, &other)),
    }
}

pub fn kill(args: cli::Named) -> Done {
    match ask(&args.place.dir()?, &args.job, Request::Kill)? {
        Response::Killed => Ok(0),
        other => Err(strange(args.job, &other)),
    }
}

pub fn pause(args: cli::Named) -> Done {
    let job = args.job;
    let spinner = Spinner::start(format!("waiting for {job} to stand still"));
    let response = ask(&args.place.dir()?, &job, Request::Pause);
    drop(spinner);
    match response? {
        Response::Paused { already: false } => {}
        Response::Paused { already: true } => ui::note(&format!("job {job} was paused already")),
        Response::No { error: why } => {
            return Err(Error::Refused { job, what: "stand still", why });
        }
        other => return Err(strange(job, &other)),
    }
    Ok(0)
}

pub fn unpause(args: cli::Named) -> Done {
    let job = args.job;
    match ask(&args.place.dir()?, &job, Request::Unpause)? {
        Response::Unpaused { already: false } => {}
        Response::Unpaused { already: true } => ui::note(&format!("job {job} was not paused")),
        Response::No { error: why } => return Err(Error::Refused { job, what: "go on", why }),
        other => return Err(strange(job, &other)),
    }
    Ok(0)
}

pub fn wait(args: cli::Wait) -> Done {
    let job = args.job;
    let spinner = Spinner::start(format!("waiting for {job} to end"));
    let response = ask(&args.listing.place.dir()?, &job, Request::Wait);
    drop(spinner);
    let response = response?;
    let Response::Ended { status, how, .. } = &response else {
        return Err(strange(job, &response));
    };
    match args.listing.json {
        true => ui::print_json(&response),
        false => ui::note(&format!("job {job} {how}")),
    }
    Ok(*status)
}

/// An answer to another question.
fn strange(job: String, response: &Response) -> Error {
    Error::Silent { job, why: format!("it says {response:?}") }
}
