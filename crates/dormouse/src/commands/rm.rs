//! `rm`: checkpoints by name.

use super::{Done, gc};
use crate::bar::Spinner;
use crate::{cli, ui};
use dormouse::{Error, running, stats, travel};
use dormouse_store::{Care, Store, StoreError};
use std::collections::BTreeSet;

pub fn rm(args: cli::Rm) -> Done {
    let dir = args.listing.place.dir()?;
    let store = Store::open(&dir)?;
    let mut names = Vec::new();
    let mut jobs = BTreeSet::new();
    for target in args.target {
        let listed = store.list(&target.job)?;
        match target.number {
            Some(number) => names.push((target.job.clone(), number)),
            None if listed.is_empty() => return Err(StoreError::NoJob { job: target.job }.into()),
            None if !args.all => {
                return Err(Error::RemoveAll { job: target.job, count: listed.len() });
            }
            None => names.extend(listed.into_iter().map(|c| (c.job, c.number))),
        }
        jobs.insert(target.job);
    }
    for job in jobs.iter().filter(|_| !args.force && !args.dry_run) {
        if running::is_running(&dir, job) {
            let pid = running::holder(&dir, job).map(|holder| holder.pid);
            return Err(Error::RemoveRunning { job: job.clone(), pid });
        }
    }
    let care = gc::care(args.dry_run);
    let spinner = Spinner::start("removing checkpoints");
    let report = store.remove(&names, care)?;
    drop(spinner);
    if care == Care::Thorough {
        if let Err(e) = travel::forget(&store) {
            ui::warning(&e.to_string());
        }
        for job in jobs {
            // What its files were at its checkpoints is of no use without them.
            if store.list(&job)?.is_empty() && !running::is_running(&dir, &job) {
                let undo = dir.join("undo").join(&job);
                match std::fs::remove_dir_all(&undo) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        ui::warning(&format!("cannot delete {}: {e}", undo.display()));
                    }
                    _ => {}
                }
                // Nor is what they cost.
                if let Err(e) = stats::forget(&dir, &job) {
                    ui::warning(&e.to_string());
                }
            }
        }
    }
    Ok(gc::tell(&report, care, args.listing.json))
}
