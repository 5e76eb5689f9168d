//! A job that runs: its lease, its door, its timer, and the program.

use crate::books::Books;
use crate::control::About;
use crate::desk::{Desk, Report};
use crate::door::Door;
use crate::drive::Manner;
use crate::hooks::resume::Early;
use crate::lease::Lease;
use crate::outcome::{Notice, Outcome};
use crate::writer::Writer;
use crate::{Error, Result, annotations, drive, timer};
use dormouse_engine::{Better, Code, Machine, Run};
use std::sync::Arc;

/// A job about to begin.
pub(crate) struct Live {
    pub machine: Machine,
    pub code: Arc<Code>,
    /// What `code` is only to begin with.
    pub better: Option<Better>,
    pub lease: Lease,
    pub writer: Arc<Writer>,
    pub books: Books,
    pub signals: bool,
    /// What signals did before the door was open.
    pub early: Option<Early>,
    /// How long after SIGTERM the process may be killed.
    pub grace: Option<std::time::Duration>,
    pub manner: Manner,
    pub report: Report,
}

/// Runs a job with everything that can give it orders.
pub(crate) fn live(
    live: Live,
    begin: impl FnOnce(Arc<Code>) -> Result<Run> + Send,
) -> Result<Outcome> {
    let Live {
        machine,
        code,
        better,
        mut lease,
        writer,
        books,
        signals,
        early,
        grace,
        manner,
        report,
    } = live;
    // It was not kept while the module was compiled.
    lease.confirm()?;
    let desk = Arc::new(Desk::new(report, books));
    let about = About {
        job: writer.job.clone(),
        writer: writer.clone(),
        every: writer.annotations.get(annotations::EVERY).cloned(),
        holder: lease.holder.clone(),
    };
    let mut door = Door::open(&lease, about, desk.clone(), signals, grace)?;
    drop(early);
    if desk.books().interval().is_some() && manner.stop_at.is_none() {
        let (desk, code) = (desk.clone(), code.clone());
        let ticks = move || {
            // Analysed now, a module that came from the cache need not be while the program stands.
            let _ = code.program();
            timer::tick(&desk);
        };
        let spawned = std::thread::Builder::new().name("timer".into()).spawn(ticks);
        spawned.map_err(Error::io("start the timer of", "this job"))?;
    }
    desk.report(Notice::Begins { job: writer.job.clone() });
    let outcome = drive::drive(&machine, || begin(code), &desk, &writer, &mut door, manner, better);
    drop(door);
    if let (Some(why), Ok(Outcome::Exited(_) | Outcome::Returned(_))) =
        (lease.give_back(), &outcome)
    {
        desk.report(Notice::Warning(format!(
            "job {} came to its end without its lease ({why}): there may have been two copies of it",
            writer.job
        )));
    }
    desk.set_gone();
    outcome
}
