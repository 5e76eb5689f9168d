//! The hooks of a running job: a thread runs them, one after another, and what it finds to do waits here.
//!
//! ```text
//!   post-resume       once, the first
//!   post-checkpoint   at most one waits: of several, one is run for all
//!   pre-checkpoint    at most one waits: the desk asks for the next when the last one's checkpoint has come to its end
//! ```
//!
//! They are run in this order. So a `pre-checkpoint` comes after the `post-checkpoint` of the checkpoint before it: what one
//! does the other undoes, and none of these is ever passed over.
//!
//! After SIGTERM with a known time to SIGKILL ([`Queue::hurry`]), what others wait for is killed after a fifth of
//! that time: first what runs then, and later the `pre-checkpoint`, so that three fifths are left for the checkpoint.

use super::{Cut, Facts, Failure, Hooks, Moment};
use crate::desk::Desk;
use crate::door::Closer;
use crate::outcome::Notice;
use crate::{Error, Result};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The part of `--grace` that a hook may take.
const PART: u32 = 5;
/// How long somebody who wants to end at once waits until a hook is killed.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Ends its thread when dropped.
pub(crate) struct Runner(Arc<Queue>);

impl Runner {
    /// Begins, if there is anything to run.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn begin(hooks: Hooks, desk: &Arc<Desk>, closer: &Arc<Closer>) -> Result<Option<Runner>> {
        if hooks.hooks.is_empty() {
            return Ok(None);
        }
        let moments = hooks.hooks.iter().map(|hook| hook.moment).collect();
        let queue = Arc::new(Queue::new(moments, Arc::downgrade(closer)));
        // The desk has what ends the thread.
        let (desk, theirs) = (Arc::downgrade(desk), queue.clone());
        let work = move || serve(&hooks, &theirs, &desk);
        let spawned = std::thread::Builder::new().name("hooks".into()).spawn(work);
        spawned.map_err(Error::io("start the hooks of", "this job"))?;
        Ok(Some(Runner(queue)))
    }

    #[cfg(test)]
    pub fn by_hand(queue: &Arc<Queue>) -> Runner {
        Runner(queue.clone())
    }
}

impl std::ops::Deref for Runner {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.0
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.0.lock().gone = true;
        self.0.changed.notify_all();
    }
}

fn serve(hooks: &Hooks, queue: &Queue, desk: &Weak<Desk>) {
    while let Some((moment, facts)) = queue.next() {
        let done = hooks.run(moment, &facts, &mut || queue.cut());
        let Some(desk) = desk.upgrade() else { return };
        let warn = |warning| desk.report(Notice::Warning(warning));
        match (moment, done) {
            (Moment::PreCheckpoint, Err(Failure::Hung(why))) if queue.is_hurried() => {
                warn(format!("{why}; the checkpoint is taken without it"));
                desk.hooks_done(Ok(()));
            }
            (Moment::PreCheckpoint, done) => desk.hooks_done(done.map_err(Failure::words)),
            (_, Ok(())) => {}
            (Moment::PostCheckpoint, Err(why)) => {
                warn(format!("{}; this changes nothing for the checkpoint", why.words()));
            }
            (_, Err(why)) => warn(format!("{}; the program goes on", why.words())),
        }
        queue.rest();
    }
}

/// What is to be run, and what runs.
pub(crate) struct Queue {
    moments: Vec<Moment>,
    /// Keeps the job's process until all of it has ended.
    closer: Weak<Closer>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    post_resume: Option<Facts>,
    post: Option<Facts>,
    pre: Option<Facts>,
    running: Option<Running>,
    /// Since when SIGKILL is near, and how long after that it comes.
    hurry: Option<(Instant, Duration)>,
    /// Nothing is run any more.
    abandoned: bool,
    gone: bool,
    closer: Option<Arc<Closer>>,
}

struct Running {
    moment: Moment,
    began: Instant,
    unwanted: bool,
}

impl Queue {
    pub fn new(moments: Vec<Moment>, closer: Weak<Closer>) -> Queue {
        Queue { moments, closer, inner: Mutex::default(), changed: Condvar::new() }
    }

    /// Whether there are any of this moment.
    pub fn has(&self, moment: Moment) -> bool {
        self.moments.contains(&moment)
    }

    /// Has those of a moment run; whether there are any.
    pub fn order(&self, moment: Moment, facts: Facts) -> bool {
        self.put(&mut self.lock(), moment, facts)
    }

    fn put(&self, inner: &mut Inner, moment: Moment, facts: Facts) -> bool {
        if !self.has(moment) || inner.abandoned {
            return false;
        }
        if inner.closer.is_none() {
            inner.closer = self.closer.upgrade();
        }
        match moment {
            Moment::PreCheckpoint => inner.pre = Some(facts),
            Moment::PostCheckpoint => {
                inner.post = Some(match inner.post.take() {
                    Some(before) => before.or_newer(facts),
                    None => facts,
                });
            }
            _ => inner.post_resume = Some(facts),
        }
        self.changed.notify_all();
        true
    }

    /// The program has ended: those before the checkpoint that was wanted are not run, or killed; then those after it come,
    /// and are told this.
    pub fn withdraw(&self, facts: Facts) {
        let mut inner = self.lock();
        if inner.pre.take().is_none() {
            if let Some(running) = &mut inner.running
                && running.moment == Moment::PreCheckpoint
            {
                running.unwanted = true;
            }
            self.put(&mut inner, Moment::PostCheckpoint, facts);
        }
        inner.let_go();
    }

    /// The job's process will be killed so long from now; or no more.
    pub fn hurry(&self, grace: Option<Duration>) {
        self.lock().hurry = grace.map(|grace| (Instant::now(), grace));
    }

    fn is_hurried(&self) -> bool {
        self.lock().hurry.is_some()
    }

    /// This process ends at once: kills what runs, and has nothing more run.
    pub fn abandon(&self) {
        let mut inner = self.lock();
        inner.abandoned = true;
        (inner.post_resume, inner.post, inner.pre) = (None, None, None);
        let ended =
            self.changed.wait_timeout_while(inner, AT_ONCE, |inner| inner.running.is_some());
        drop(ended);
    }

    /// What is to be run next, once there is something; then [`Queue::rest`].
    fn next(&self) -> Option<(Moment, Facts)> {
        let mut inner = self.lock();
        while !inner.gone {
            if let Some(next) = inner.take() {
                return Some(next);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    #[cfg(test)]
    pub fn next_if_any(&self) -> Option<Moment> {
        self.lock().take().map(|(moment, _)| moment)
    }

    /// It has ended, and what follows from that is done.
    pub fn rest(&self) {
        let mut inner = self.lock();
        inner.running = None;
        inner.let_go();
        drop(inner);
        self.changed.notify_all();
    }

    /// Why what runs is to be killed, if it is.
    fn cut(&self) -> Option<Cut> {
        let inner = self.lock();
        let running = inner.running.as_ref()?;
        if running.unwanted || inner.abandoned {
            return Some(Cut::Unwanted);
        }
        let (since, grace) = inner.hurry?;
        let waited_for =
            running.moment == Moment::PreCheckpoint || inner.pre.is_some() || inner.post.is_some();
        let most = grace / PART;
        let over = running.began.max(since).elapsed() >= most;
        (waited_for && over).then_some(Cut::Hurry(most))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take(&mut self) -> Option<(Moment, Facts)> {
        let next = [
            (Moment::PostResume, &mut self.post_resume),
            (Moment::PostCheckpoint, &mut self.post),
            (Moment::PreCheckpoint, &mut self.pre),
        ];
        let (moment, facts) =
            next.into_iter().find_map(|(moment, facts)| Some((moment, facts.take()?)))?;
        self.running = Some(Running { moment, began: Instant::now(), unwanted: false });
        Some((moment, facts))
    }

    /// The job may end if nothing is left to do.
    fn let_go(&mut self) {
        if self.running.is_none()
            && self.post.is_none()
            && self.post_resume.is_none()
            && self.pre.is_none()
        {
            self.closer = None;
        }
    }
}
