//! The program's thread: runs it, and takes checkpoints where it stands still.
//!
//! ```text
//!              rounds of copying, on a thread, before it is stopped
//!   advance ──> Exited, Returned, Trapped, Aborted ────────────> outcome
//!      ^  └───> Stopped ─> copy ─> writer (on its thread)
//!      │           ^        │        the lease is another's: not written ─────> outcome
//!      │           │        │        stop ordered: written here, and durable ──> outcome
//!      │           └────────┤ paused: it stands there until it is told to go on
//!      └────────────────────┴─ go on; also if the copy or the write fails
//! ```
//!
//! It may stop for nothing but to move into better code ([`crate::tier`]).

use crate::desk::{Desk, End, Order, Task, Why};
use crate::door::{Closer, Door};
use crate::hooks::Hooks;
use crate::hooks::runner::Runner;
use crate::limits::Limits;
use crate::outcome::{Activity, Notice, Outcome};
use crate::tier::Tier;
use crate::writer::{Image, Writer, Written};
use crate::{Result, exit, one_line};
use dormouse_engine::{Better, Event, Machine, Run};
use dormouse_store::{CheckpointInfo, Meter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

/// How a job is run.
#[derive(Clone)]
pub(crate) struct Manner {
    /// The process ends with it.
    pub one_shot: bool,
    /// What is run before and after checkpoints.
    pub hooks: Hooks,
    /// What it goes on from.
    pub from: Option<CheckpointInfo>,
    pub limits: Limits,
    /// It is stopped at this safepoint; the machine counts.
    pub stop_at: Option<u32>,
}

/// Runs what `begin` makes to its end, on a thread of its own, while this one keeps the door.
pub(crate) fn drive(
    machine: &Machine,
    begin: impl FnOnce() -> Result<Run> + Send,
    desk: &Arc<Desk>,
    writer: &Arc<Writer>,
    door: &mut Door,
    manner: Manner,
    better: Option<Better>,
) -> Result<Outcome> {
    let closer = Arc::new(door.closer());
    if writer.copying.precopy {
        desk.set_rounds(rounds(desk, writer, &closer));
    }
    if let Some(hooks) = Runner::begin(manner.hooks.clone(), desk, &closer)? {
        desk.set_hooks(hooks);
    }
    let outcome = std::thread::scope(|threads| {
        let program = machine.spawn_on_stack(threads, move || {
            let outcome = begin().and_then(|mut run| {
                writer.watch(&mut run);
                // Where safepoints are counted nobody looks for requests.
                if manner.stop_at.is_none() {
                    desk.attach(run.requester());
                }
                if let Some(n) = manner.stop_at {
                    run.stop_after(n);
                }
                if let Some(from) = manner.from.clone() {
                    desk.gone_on(from);
                }
                manner.limits.begin(desk)?;
                let tier = Tier::begin(better, desk);
                let outcome =
                    advance(&mut run, manner.stop_at, desk, writer, threads, &closer, &tier);
                run.end_pause();
                if manner.one_shot {
                    std::mem::forget(run);
                }
                outcome
            });
            desk.close(&match &outcome {
                Ok(Outcome::Exited(code)) => {
                    format!("the program ended first, with exit status {code}")
                }
                Ok(Outcome::Returned(_)) => "the program returned first".to_owned(),
                Ok(Outcome::Trapped { .. }) => "the program trapped first".to_owned(),
                Ok(Outcome::Aborted { .. }) => "the program made a bad call first".to_owned(),
                Ok(_) => "the program was stopped".to_owned(),
                Err(e) => one_line(&e.to_string()),
            });
            writer.finish();
            // The door is closed when the last writer has ended too.
            drop(closer);
            outcome
        })?;
        door.keep();
        program.join().unwrap_or_else(|panic| {
            desk.close("the job failed");
            std::panic::resume_unwind(panic)
        })
    });
    desk.set_end(end(&outcome));
    door.last_answers();
    outcome
}

/// What those are told who wait for the end.
fn end(outcome: &Result<Outcome>) -> End {
    let checkpoint = match outcome {
        Ok(Outcome::Stopped { checkpoint, .. }) => Some(checkpoint.name()),
        _ => None,
    };
    match outcome {
        Ok(outcome) => End { status: outcome.status(), how: outcome.words(), checkpoint },
        Err(e) => End { status: exit::FAILED, how: one_line(&e.to_string()), checkpoint },
    }
}

/// Begins rounds of copying on a thread of their own, if there is one to be had.
fn rounds(
    desk: &Arc<Desk>,
    writer: &Arc<Writer>,
    closer: &Arc<Closer>,
) -> impl Fn() -> bool + Send + Sync + 'static {
    // The desk must not keep itself, nor the door open.
    let (desk, writer, closer) = (Arc::downgrade(desk), writer.clone(), Arc::downgrade(closer));
    move || {
        let (Some(desk), Some(closer)) = (desk.upgrade(), closer.upgrade()) else {
            return false;
        };
        let writer = writer.clone();
        let image = writer.next_image();
        let copy = move || {
            match catch_unwind(AssertUnwindSafe(|| writer.rounds(image))) {
                Ok(Err(why)) => desk.rounds_failed(&why),
                Ok(Ok(())) => desk.rounds_done(),
                Err(_) => {
                    // A bug in there only costs a longer pause.
                    writer.give_up();
                    desk.rounds_done();
                }
            }
            drop(closer);
        };
        std::thread::Builder::new().name("rounds".into()).spawn(copy).is_ok()
    }
}

fn advance<'scope>(
    run: &mut Run,
    mut stop_at: Option<u32>,
    desk: &'scope Desk,
    writer: &'scope Writer,
    threads: &'scope Scope<'scope, '_>,
    closer: &Arc<Closer>,
    tier: &Tier,
) -> Result<Outcome> {
    loop {
        if let Some(why) = desk.lost() {
            return Ok(Outcome::LeaseLost { why });
        }
        let stayed = desk.stays();
        let event = if stayed {
            // Whoever measures what was done to it need not wait until it goes on.
            run.end_pause();
            Event::Stopped
        } else {
            run.advance()?
        };
        let asks = event == Event::Stopped && !stayed && run.asks_for_checkpoint();
        let mut refused = false;
        match (stop_at, &event) {
            (None, _) => {}
            (Some(_), Event::Stopped) if asks => {}
            (Some(_), Event::Stopped) if run.is_disabled() => {
                // The first one from there that may be captured.
                run.stop_after(1);
                continue;
            }
            (Some(_), Event::Stopped) => {
                refused = !desk.order_here(Why::Asked, true);
                // If that fails, the program goes on to its end.
                stop_at = None;
            }
            (Some(n), _) => desk.report(Notice::Warning(format!(
                "the program ended after {} safepoints, before the one to stop at",
                n.saturating_sub(run.left())
            ))),
        }
        match event {
            Event::Exited(code) => return Ok(Outcome::Exited(code)),
            Event::Returned(values) => return Ok(Outcome::Returned(values)),
            Event::Trapped(trap) => return Ok(Outcome::trapped(run.code(), &trap)),
            Event::Aborted(trap) => return Ok(Outcome::aborted(run.code(), &trap)),
            Event::Stopped => {}
        }
        if asks && !desk.order_here(Why::Program, false) {
            run.answer_checkpoint(false);
            refused = true;
        }
        if refused {
            continue;
        }
        let orders = match desk.collect(!run.is_disabled()) {
            Task::Nothing => {
                // Not while somebody waits for a checkpoint: what was copied for it would be copied again, all while the
                // program stands.
                if tier.move_up(run) {
                    writer.moves(run);
                    desk.reattach(run.requester());
                }
                continue;
            }
            Task::Kill if desk.is_timed_out() => return Ok(Outcome::TimedOut),
            Task::Kill => return Ok(Outcome::Killed),
            Task::Checkpoint(orders) => orders,
        };
        if desk.stays() {
            run.begin_pause();
        }
        // An image of it is a mark in its files' undo log already.
        if let Err(why) = writer.may_write(desk) {
            writer.give_up();
            desk.answer(orders, Err(why));
            run.answer_checkpoint(false);
            continue;
        }
        let stop = orders.iter().find(|o| o.stop).map(|o| o.why);
        let Some(why) = stop else {
            let copied = writer.copy(run);
            // What becomes of the copy is told to whoever runs the job.
            run.answer_checkpoint(copied.is_ok());
            match copied {
                Ok(image) => write_aside(threads, desk, writer, image, orders, closer.clone()),
                Err(why) => desk.answer(orders, Err(one_line(&why))),
            }
            continue;
        };
        let (measured, written) = match writer.borrow(run) {
            Ok(image) => {
                let measured = image.measured.clone();
                let _shown = desk.progress_of(Activity::Writing, measured.meter().clone());
                (Some(measured), writer.write(image, desk))
            }
            Err(why) => (None, Written::Done(Err(one_line(&why)))),
        };
        run.answer_checkpoint(!matches!(written, Written::Done(Err(_))));
        let Written::Done(answer) = written else {
            desk.again(orders, measured.as_ref());
            continue;
        };
        desk.done(orders, answer.clone(), measured.as_ref());
        if let Ok(checkpoint) = answer {
            // Who squashes keeps others from removing anything.
            writer.finish();
            writer.tidy(&checkpoint, desk);
            return Ok(Outcome::Stopped { checkpoint, why });
        }
    }
}

/// Makes an image durable while the program goes on. The desk orders no other before this one is
/// answered, so one such thread writes at a time; others may still be removing what is too old, or squashing.
fn write_aside<'scope>(
    threads: &'scope Scope<'scope, '_>,
    desk: &'scope Desk,
    writer: &'scope Writer,
    image: Image<'static>,
    orders: Vec<Order>,
    closer: Arc<Closer>,
) {
    // Shared, so that the orders can be answered if there is no thread.
    let orders = Arc::new(Mutex::new(orders));
    let take = |orders: &Mutex<Vec<Order>>| {
        std::mem::take(&mut *orders.lock().unwrap_or_else(PoisonError::into_inner))
    };
    let theirs = orders.clone();
    let work = move || {
        let measured = image.measured.clone();
        let written = writer.write(image, desk);
        let after = Meter::default();
        let working = after.work();
        match written {
            Written::Done(answer) => {
                desk.done(take(&theirs), answer.clone(), Some(&measured));
                if let Ok(checkpoint) = answer {
                    writer.tidy(&checkpoint, desk);
                }
            }
            Written::Again => desk.again(take(&theirs), Some(&measured)),
        }
        writer.squash();
        drop(working);
        desk.books().tidied(after.time());
        drop(closer);
    };
    let spawned = std::thread::Builder::new().name("writer".into()).spawn_scoped(threads, work);
    if let Err(e) = spawned {
        desk.answer(take(&orders), Err(format!("no thread to write it: {e}")));
    }
}
