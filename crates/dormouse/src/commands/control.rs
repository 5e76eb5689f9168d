//! `checkpoint` and `kill`: words to a running job.

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

pub fn kill(args: cli::Kill) -> Done {
    match ask(&args.place.dir()?, &args.job, Request::Kill)? {
        Response::Killed => Ok(0),
        other => Err(strange(args.job, &other)),
    }
}

/// An answer to another question.
fn strange(job: String, response: &Response) -> Error {
    Error::Silent { job, why: format!("it says {response:?}") }
}
