//! Where orders for checkpoints wait until the program stands still, and are answered.
//!
//! ```text
//!   order ──> wanted ──(nothing being written? request)──> collect ──> written ──> answer
//!               ^                                             │
//!               └── more orders meanwhile: one checkpoint for all of them, right after
//! ```
//!
//! The program is stopped only when its state can be written at once: while a write is going on,
//! orders wait and the program runs. Before it is stopped for a checkpoint after which it goes on, what can be copied while
//! it runs is copied: the request comes after those rounds. If the job has hooks (see [`crate::hooks`]) that come before a
//! checkpoint, they come before the rounds, and all orders are refused if one fails.
//!
//! One attempt at a time goes through this; what is ordered meanwhile joins it, or begins the next:
//!
//! | attempt       | orders          | what happens           | then                                        |
//! |---------------|-----------------|------------------------|---------------------------------------------|
//! | None          | none            | an order               | Asked, if hooks come before; else Given     |
//! | Asked         | join            | hooks end well         | Given                                       |
//! |               |                 | hooks fail             | Taken, and all orders are answered: refused |
//! |               |                 | the program ends       | None; hooks are killed                      |
//! | Given, rounds | join            | the program stops      | Taken, with all orders                      |
//! |               |                 | rounds fail            | Taken, and answered; but who stops it stays |
//! |               |                 | the program ends       | None                                        |
//! | Taken         | are the next's  | answered               | None                                        |
//! |               |                 | to be done another way | Given, and all are one                      |
//!
//! Each way back to None has those hooks run that come after a checkpoint, in the same step: what comes before the next one
//! comes after them. (Not where the program ended first and no hook had come before.) A paused program stands where it is, and
//! orders are carried out there.

mod order;
mod pause;
mod sight;

use crate::books::{Books, Entry, Measured};
use crate::hooks::runner::Runner;
use crate::hooks::{Facts, Moment};
use crate::outcome::{Activity, Notice};
use crate::progress::Progress;
use dormouse_engine::Requester;
use dormouse_store::{CheckpointInfo, Meter};
pub use order::Why;
pub(crate) use order::{Answer, Order, Task};
pub(crate) use pause::Changed;
pub(crate) use sight::End;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

pub(crate) type Report = Arc<dyn Fn(Notice) + Send + Sync>;

pub(crate) struct Desk {
    inner: Mutex<Inner>,
    changed: Condvar,
    report: Report,
    /// Begins rounds of copying, if it can.
    rounds: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
    hooks: OnceLock<Runner>,
    books: Books,
}

/// How far a checkpoint is that somebody wants: see the table above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Attempt {
    /// Nobody wants one; or there is no program yet.
    #[default]
    None,
    /// Hooks are asked whether it may be taken.
    Asked,
    /// It may.
    Given(Rounds),
    /// The program has stopped for it: it is copied, written, answered.
    Taken,
}

/// How far copying before a stop is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rounds {
    #[default]
    None,
    Going,
    Done,
}

#[derive(Default)]
struct Inner {
    requester: Option<Requester>,
    wanted: Vec<Order>,
    attempt: Attempt,
    kill: bool,
    /// It is killed because its time was up.
    timed_out: bool,
    /// What became of the lease, if it is another's.
    lost: Option<String>,
    /// Nobody knows whose the lease is: the program is not to go on before that is seen.
    held: bool,
    /// Somebody wants the program to stand still, since then.
    paused: Option<Instant>,
    /// It does so, at a safepoint, and orders are carried out there.
    stands: bool,
    /// When the interval before the next checkpoint began, if there is one.
    ticked: Option<Instant>,
    /// Why no more orders are taken.
    ended: Option<String>,
    /// How the job ended, for those who wait for that.
    end: Option<End>,
    /// The lease has been given back.
    gone: bool,
    saved: u64,
    newest: Option<CheckpointInfo>,
    /// The last one failed, and that was told: a full disk is not told every second.
    told: bool,
}

impl Desk {
    pub fn new(report: Report, books: Books) -> Desk {
        let (inner, changed, rounds, hooks) = Default::default();
        Desk { inner, changed, report, rounds, hooks, books }
    }

    pub fn books(&self) -> &Books {
        &self.books
    }

    /// Says how far something is, until that is dropped.
    pub fn progress_of(&self, what: Activity, meter: Meter) -> Progress<'_> {
        Progress::counted(&self.report, what, meter)
    }

    /// Says something to whoever runs the job.
    pub fn report(&self, notice: Notice) {
        (self.report)(notice);
    }

    /// What begins rounds of copying, and has [`Desk::rounds_done`] called at their end.
    pub fn set_rounds(&self, begin: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.rounds.set(Box::new(begin));
    }

    /// What runs the job's hooks, and has [`Desk::hooks_done`] called after those that come before a checkpoint.
    pub fn set_hooks(&self, hooks: Runner) {
        let _ = self.hooks.set(hooks);
    }

    /// The hooks that come before a checkpoint have ended: it may be taken, or not.
    pub fn hooks_done(&self, done: Result<(), String>) {
        let mut inner = self.lock();
        if inner.attempt != Attempt::Asked {
            // The program has ended.
            return;
        }
        let Err(why) = done else {
            inner.attempt = Attempt::Given(Rounds::None);
            self.request(&mut inner);
            drop(inner);
            return self.changed.notify_all();
        };
        inner.attempt = Attempt::Taken;
        let refused = std::mem::take(&mut inner.wanted);
        drop(inner);
        self.answer(refused, Err(why));
    }

    /// SIGKILL comes so long from now, as far as is known: hooks must not take that time. Or it does not come any more.
    pub fn hurry(&self, grace: Option<Duration>) {
        if let Some(hooks) = self.hooks.get() {
            hooks.hurry(grace);
        }
    }

    /// This process is about to end: no hook outlives it.
    pub fn abandon_hooks(&self) {
        if let Some(hooks) = self.hooks.get() {
            hooks.abandon();
        }
    }

    /// Has the hooks run that come after the program has gone on.
    pub fn gone_on(&self, from: CheckpointInfo) {
        if let Some(hooks) = self.hooks.get() {
            let facts = Facts { checkpoint: Some(from), ..Facts::default() };
            hooks.order(Moment::PostResume, facts);
        }
    }

    /// What could be copied while the program runs is copied.
    pub fn rounds_done(&self) {
        let mut inner = self.lock();
        if inner.attempt == Attempt::Given(Rounds::Going) {
            inner.attempt = Attempt::Given(Rounds::Done);
            self.request(&mut inner);
        }
    }

    /// There cannot be a checkpoint after which the program goes on: it is not stopped for one. Who wants to stop it may.
    pub fn rounds_failed(&self, why: &str) {
        let mut inner = self.lock();
        if inner.attempt != Attempt::Given(Rounds::Going) {
            return;
        }
        let (stop, go_on): (Vec<_>, Vec<_>) =
            std::mem::take(&mut inner.wanted).into_iter().partition(|o| o.stop);
        let ends = stop.is_empty();
        inner.attempt = if ends { Attempt::Taken } else { Attempt::Given(Rounds::None) };
        inner.wanted = stop;
        self.request(&mut inner);
        drop(inner);
        if !go_on.is_empty() {
            self.tell(go_on, Err(why.to_owned()), None, ends);
        }
    }

    /// The program is there and can be stopped.
    pub fn attach(&self, requester: Requester) {
        self.books.begin();
        let mut inner = self.lock();
        inner.requester = Some(requester);
        self.request(&mut inner);
    }

    /// The program has moved: this stops it from now on.
    pub fn reattach(&self, requester: Requester) {
        let mut inner = self.lock();
        if let Some(attached) = &mut inner.requester {
            *attached = requester;
            self.request(&mut inner);
        }
    }

    /// Has the program stop at its next safepoint if nobody orders anything; whether it still runs.
    pub fn stop_for_a_moment(&self) -> bool {
        let inner = self.lock();
        let Some(requester) = &inner.requester else { return false };
        if inner.wanted.is_empty() {
            requester.request();
        }
        true
    }

    /// Orders a checkpoint; the answer comes when it is durable, or has failed.
    pub fn order(&self, why: Why, stop: bool) -> Receiver<Answer> {
        let (reply, answer) = channel();
        let mut inner = self.lock();
        if let Some(ended) = &inner.ended {
            let _ = reply.send(Err(ended.clone()));
        } else {
            inner.wanted.push(Order { why, stop, at: Instant::now(), reply: Some(reply) });
            self.request(&mut inner);
        }
        answer
    }

    /// Orders one unless one is wanted or being written already, or the program is paused: then it does not change.
    pub fn order_if_idle(&self, why: Why) {
        let mut inner = self.lock();
        let idle =
            inner.wanted.is_empty() && inner.attempt == Attempt::None && inner.paused.is_none();
        if inner.ended.is_none() && idle {
            inner.wanted.push(Order { why, stop: false, at: Instant::now(), reply: None });
            self.request(&mut inner);
        }
    }

    /// The program has stopped because it wants a checkpoint: orders it. Comes back when none is being written any more, so
    /// that it is taken where the program stands; and hooks that come before it have ended. Whether it may be taken.
    pub fn order_here(&self, why: Why, stop: bool) -> bool {
        let mut inner = self.lock();
        while inner.attempt == Attempt::Taken && inner.lost.is_none() && !inner.kill {
            inner = self.changed.wait(inner).unwrap_or_else(|e| e.into_inner());
        }
        inner.wanted.push(Order { why, stop, at: Instant::now(), reply: None });
        self.may_take(&mut inner);
        while inner.attempt == Attempt::Asked && inner.lost.is_none() && !inner.kill {
            inner = self.changed.wait(inner).unwrap_or_else(|e| e.into_inner());
        }
        matches!(inner.attempt, Attempt::Given(_)) || inner.kill || inner.lost.is_some()
    }

    /// Orders the end of the program.
    pub fn kill(&self) {
        let mut inner = self.lock();
        inner.kill = true;
        self.request(&mut inner);
        drop(inner);
        self.changed.notify_all();
    }

    /// Orders the end of the program: its time is up.
    pub fn time_out(&self) {
        self.lock().timed_out = true;
        self.kill();
    }

    /// Whether it is ended because its time was up.
    pub fn is_timed_out(&self) -> bool {
        self.lock().timed_out
    }

    /// Orders the end of the program: the lease is another's.
    pub fn lose(&self, why: String) {
        let mut inner = self.lock();
        inner.lost.get_or_insert(why);
        self.request(&mut inner);
        drop(inner);
        self.changed.notify_all();
    }

    /// What became of the lease, if it is another's.
    pub fn lost(&self) -> Option<String> {
        self.lock().lost.clone()
    }

    /// Has the program stand still until [`Desk::release`].
    pub fn hold(&self) {
        let mut inner = self.lock();
        inner.held = true;
        self.request(&mut inner);
    }

    /// Lets it go on.
    pub fn release(&self) {
        if std::mem::take(&mut self.lock().held) {
            self.changed.notify_all();
        }
    }

    /// The program stands still: what for? Comes back when there is something to do with it, or it may go on. If it stands
    /// where it must not be captured, orders wait, and it is not paused there.
    pub fn collect(&self, may_capture: bool) -> Task {
        let mut inner = self.lock();
        loop {
            let ends = inner.lost.is_some() || inner.kill;
            let stays = inner.paused.is_some() && may_capture && !inner.held;
            if stays && !inner.stands {
                inner.stands = true;
                self.changed.notify_all();
            }
            if ends || !(inner.held || stays && !self.is_ready(&mut inner)) {
                break;
            }
            inner = self.changed.wait(inner).unwrap_or_else(|e| e.into_inner());
        }
        if inner.lost.is_some() {
            // Looked at before the program would go on.
            Task::Nothing
        } else if inner.kill {
            Task::Kill
        } else if !self.may_take(&mut inner) {
            Task::Nothing
        } else if !may_capture {
            // It stopped for something else, which may have been all that was asked of it.
            self.request(&mut inner);
            Task::Nothing
        } else {
            inner.attempt = Attempt::Taken;
            Task::Checkpoint(std::mem::take(&mut inner.wanted))
        }
    }

    /// Answers collected orders that came to nothing before there was a copy.
    pub fn answer(&self, orders: Vec<Order>, answer: Answer) {
        self.done(orders, answer, None);
    }

    /// Answers collected orders, and requests a stop for those that came meanwhile. What the copy took is entered in the
    /// books first: who is answered may look.
    pub fn done(&self, orders: Vec<Order>, answer: Answer, measured: Option<&Measured>) {
        self.tell(orders, answer, measured, true);
    }

    /// Answers orders. If the attempt `ends` with them, hooks that come after it are run.
    fn tell(&self, orders: Vec<Order>, answer: Answer, measured: Option<&Measured>, ends: bool) {
        let first_why = orders.iter().map(|o| o.why).find(|w| *w != Why::Timer);
        let why = first_why.unwrap_or(Why::Timer);
        let ordered = orders.iter().map(|o| o.at).min();
        let in_place = orders.iter().any(|o| o.stop);
        let entry = Entry { why, ordered, in_place, measured, answer: &answer };
        if let Some(warning) = self.books.enter(entry) {
            self.report(Notice::Warning(warning));
        }
        let notice = {
            let mut inner = self.lock();
            if ends {
                inner.attempt = Attempt::None;
                self.after(Facts {
                    checkpoint: answer.as_ref().ok().cloned(),
                    why: Some(why),
                    stop: in_place,
                    pause: measured.and_then(|_| self.books.standing().pause),
                    error: answer.as_ref().err().cloned(),
                    ..Facts::default()
                });
            }
            let notice = match &answer {
                Ok(info) => {
                    inner.saved += 1;
                    inner.newest = Some(info.clone());
                    inner.told = false;
                    Some(Notice::Saved { checkpoint: info.clone(), why, first: inner.saved == 1 })
                }
                // That is told at the end, which is near.
                Err(_) if inner.lost.is_some() => None,
                Err(_) if matches!(why, Why::Timer | Why::Program) && inner.told => None,
                Err(message) => {
                    inner.told = true;
                    Some(Notice::Failed { message: message.clone(), why })
                }
            };
            self.request(&mut inner);
            notice
        };
        self.changed.notify_all();
        // Told first: who is answered may end this process.
        if let Some(notice) = notice {
            self.report(notice);
        }
        for reply in orders.into_iter().filter_map(|o| o.reply) {
            let _ = reply.send(answer.clone());
        }
    }

    /// The orders could not be carried out, but can be in another way: they are collected again.
    pub fn again(&self, mut orders: Vec<Order>, wasted: Option<&Measured>) {
        if let Some(wasted) = wasted {
            self.books.wasted(wasted);
        }
        let mut inner = self.lock();
        if inner.ended.is_none() {
            // What was wanted meanwhile is now the same checkpoint.
            inner.attempt = Attempt::Given(Rounds::None);
            orders.append(&mut inner.wanted);
            inner.wanted = orders;
            self.request(&mut inner);
            drop(inner);
            self.changed.notify_all();
        } else {
            drop(inner);
            self.answer(orders, Err("the program ended first".to_owned()));
        }
    }

    /// No more orders; those that wait are answered.
    pub fn close(&self, ended: &str) {
        let mut inner = self.lock();
        inner.ended.get_or_insert_with(|| ended.to_owned());
        inner.requester = None;
        let facts = Facts { error: Some(ended.to_owned()), ..inner.facts() };
        match inner.attempt {
            Attempt::Asked => {
                inner.attempt = Attempt::None;
                if let Some(hooks) = self.hooks.get() {
                    hooks.withdraw(facts);
                }
            }
            Attempt::Given(_) => {
                inner.attempt = Attempt::None;
                if self.hooks.get().is_some_and(|hooks| hooks.has(Moment::PreCheckpoint)) {
                    self.after(facts);
                }
            }
            // Who writes it answers.
            Attempt::None | Attempt::Taken => {}
        }
        for reply in std::mem::take(&mut inner.wanted).into_iter().filter_map(|o| o.reply) {
            let _ = reply.send(Err(ended.to_owned()));
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// The lease has been given back: the job may be resumed.
    pub fn set_gone(&self) {
        self.lock().gone = true;
        self.changed.notify_all();
    }

    /// Waits until the lease has been given back.
    pub fn wait_gone(&self) {
        let mut inner = self.lock();
        while !inner.gone {
            inner = self.changed.wait(inner).unwrap_or_else(|e| e.into_inner());
        }
    }

    /// Waits until the interval has passed since then, which may change meanwhile, and the program is not paused; whether the
    /// job still takes orders.
    pub fn wait_due(&self, since: Instant) -> bool {
        let mut inner = self.lock();
        inner.ticked = Some(since);
        while inner.ended.is_none() {
            let left = self.left(since);
            let due = left.is_zero();
            inner = if due && inner.paused.is_none() {
                return true;
            } else if due {
                self.changed.wait(inner).unwrap_or_else(|e| e.into_inner())
            } else {
                self.changed.wait_timeout(inner, left).unwrap_or_else(|e| e.into_inner()).0
            };
        }
        false
    }

    /// What is left of the interval that began then.
    fn left(&self, since: Instant) -> Duration {
        self.books.interval().unwrap_or(Duration::MAX).saturating_sub(since.elapsed())
    }

    /// Waits so long, or until the job takes no more orders; whether it still does.
    pub fn wait_running(&self, time: Duration) -> bool {
        let began = Instant::now();
        let mut inner = self.lock();
        while inner.ended.is_none() {
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() {
                return true;
            }
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(|e| e.into_inner()).0;
        }
        false
    }

    /// Has the program stopped if there is something to stop it for; or has copying begun that comes before.
    fn request(&self, inner: &mut Inner) {
        let Some(requester) = inner.requester.clone() else { return };
        if inner.kill || inner.held || inner.lost.is_some() {
            return requester.request_end();
        }
        if inner.paused.is_some() {
            return match inner.stands {
                // It looks for itself.
                true => self.changed.notify_all(),
                // What is wanted is done there.
                false => requester.request(),
            };
        }
        if !self.may_take(inner) {
            return;
        }
        let goes_on = inner.wanted.iter().all(|order| !order.stop);
        match inner.attempt {
            Attempt::Given(Rounds::None)
                if goes_on && self.rounds.get().is_some_and(|begin| begin()) =>
            {
                inner.attempt = Attempt::Given(Rounds::Going);
            }
            Attempt::Given(Rounds::Going) if goes_on => {}
            _ => requester.request(),
        }
    }

    /// Whether a program that stands still can be captured for those who want that.
    fn is_ready(&self, inner: &mut Inner) -> bool {
        // Rounds that were begun before it was paused end soon; who wants to stop it does not wait for them.
        let rounds = inner.attempt == Attempt::Given(Rounds::Going)
            && inner.wanted.iter().all(|order| !order.stop);
        !rounds && self.may_take(inner)
    }

    /// Whether a checkpoint is wanted, and hooks let it be taken; asks them, if that was not done.
    fn may_take(&self, inner: &mut Inner) -> bool {
        if inner.attempt == Attempt::None && !inner.wanted.is_empty() {
            let asked = |hooks: &Runner| hooks.order(Moment::PreCheckpoint, inner.facts());
            inner.attempt = match self.hooks.get().is_some_and(asked) {
                true => Attempt::Asked,
                false => Attempt::Given(Rounds::None),
            };
        }
        matches!(inner.attempt, Attempt::Given(_))
    }

    /// Has the hooks run that come after a checkpoint.
    fn after(&self, facts: Facts) {
        if let Some(hooks) = self.hooks.get() {
            hooks.order(Moment::PostCheckpoint, facts);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Inner {
    /// What hooks are told of the checkpoint that is wanted.
    fn facts(&self) -> Facts {
        let why = self.wanted.iter().map(|order| order.why).find(|why| *why != Why::Timer);
        let stop = self.wanted.iter().any(|order| order.stop);
        Facts { why: Some(why.unwrap_or(Why::Timer)), stop, ..Facts::default() }
    }
}

#[cfg(test)]
mod tests;
