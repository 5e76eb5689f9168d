//! The program's thread: runs it, and takes checkpoints where it stands still.
//!
//! ```text
//!   advance ──> Exited, Trapped ───────────────────────────────> outcome
//!      ^  └───> Stopped ─> copy ─> writer (on its thread)
//!      │                    │        stop ordered: written here, and durable ──> outcome
//!      └────────────────────┴─ go on; also if the copy or the write fails
//! ```

use crate::desk::{Desk, Order, Task};
use crate::job::Outcome;
use crate::writer::{Image, Writer};
use crate::{Error, Result, one_line};
use dormouse_engine::{Event, Machine, Run};
use std::sync::mpsc::{Sender, channel};

/// Runs what `begin` makes to its end.
pub(crate) fn drive(
    machine: &Machine,
    begin: impl FnOnce() -> Result<Run> + Send,
    desk: &Desk,
    writer: &Writer,
) -> Result<Outcome> {
    let (images, work) = channel();
    std::thread::scope(|threads| {
        std::thread::Builder::new()
            .name("writer".into())
            .spawn_scoped(threads, move || writer.work(work, desk))
            .map_err(Error::io("start the writer of", "this job"))?;
        let outcome = machine.on_stack(move || {
            let mut run = begin()?;
            desk.attach(run.requester());
            let outcome = advance(&mut run, desk, writer, &images);
            desk.close(&match &outcome {
                Ok(Outcome::Exited(code)) => {
                    format!("the program ended first, with exit status {code}")
                }
                Ok(Outcome::Trapped(_)) => "the program trapped first".to_owned(),
                Ok(_) => "the program was stopped".to_owned(),
                Err(e) => one_line(&e.to_string()),
            });
            outcome
            // `images` ends here, so the writer finishes what it has and ends too.
        });
        outcome?
    })
}

fn advance(
    run: &mut Run,
    desk: &Desk,
    writer: &Writer,
    images: &Sender<(Image, Vec<Order>)>,
) -> Result<Outcome> {
    loop {
        match run.advance()? {
            Event::Exited(code) => return Ok(Outcome::Exited(code)),
            Event::Trapped(message) => return Ok(Outcome::Trapped(message)),
            Event::Stopped => {}
        }
        let orders = match desk.collect() {
            Task::Nothing => continue,
            Task::Kill => return Ok(Outcome::Killed),
            Task::Checkpoint(orders) => orders,
        };
        let stop = orders.iter().find(|o| o.stop).map(|o| o.why);
        let image = match Image::of(run) {
            Ok(image) => image,
            Err(why) => {
                desk.answer(orders, Err(one_line(&why)));
                continue;
            }
        };
        let Some(why) = stop else {
            if let Err(unsent) = images.send((image, orders)) {
                desk.answer(unsent.0.1, Err("the writer is gone".to_owned()));
            }
            continue;
        };
        let answer = writer.write(&image);
        drop(image);
        desk.answer(orders, answer.clone());
        if let Ok(checkpoint) = answer {
            return Ok(Outcome::Stopped { checkpoint, why });
        }
    }
}
