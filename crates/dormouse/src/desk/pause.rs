//! A program that is told to stand still, until it is told to go on.
//!
//! ```text
//!   pause ──> request ──> safepoint: stands ──> unpause ──> goes on
//!                            │      ^
//!                            └──────┘ orders are carried out where it stands
//! ```

use super::Desk;
use std::time::Instant;

/// Whether it is another way now than it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Yes,
    No,
}

impl Desk {
    /// Has the program stand still until [`Desk::unpause`], whoever else comes and goes. Comes back when it does so.
    ///
    /// # Errors
    /// If it ends before that.
    pub fn pause(&self) -> Result<Changed, String> {
        let mut inner = self.lock();
        if inner.paused.is_none() {
            inner.paused = Some(Instant::now());
            self.request(&mut inner);
        } else if inner.stands && inner.ended.is_none() {
            return Ok(Changed::No);
        }
        while inner.paused.is_some() && !inner.stands && inner.ended.is_none() {
            inner = self.changed.wait(inner).unwrap_or_else(|e| e.into_inner());
        }
        match &inner.ended {
            Some(ended) => Err(ended.clone()),
            None if inner.paused.is_none() => Err("it was told to go on meanwhile".to_owned()),
            None => Ok(Changed::Yes),
        }
    }

    /// Lets a paused program go on.
    ///
    /// # Errors
    /// If it has ended.
    pub fn unpause(&self) -> Result<Changed, String> {
        let mut inner = self.lock();
        if let Some(ended) = &inner.ended {
            return Err(ended.clone());
        }
        let was = inner.paused.take();
        drop(inner);
        self.changed.notify_all();
        Ok(if was.is_some() { Changed::Yes } else { Changed::No })
    }

    /// Whether the program stays where it stands: it is paused. If not, it goes on now.
    pub fn stays(&self) -> bool {
        let mut inner = self.lock();
        inner.stands &= inner.paused.is_some();
        inner.stands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::Books;
    use crate::desk::{Task, Why};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn it_stands_where_it_may_be_captured() {
        let desk = Desk::new(Arc::new(|_| {}), Books::default());
        std::thread::scope(|threads| {
            let pauses = threads.spawn(|| desk.pause());
            while desk.lock().paused.is_none() {
                std::thread::yield_now();
            }
            assert!(matches!(desk.collect(false), Task::Nothing), "not in a section");
            assert!(!desk.stays() && !pauses.is_finished());
            let program = threads.spawn(|| desk.collect(true));
            assert_eq!(pauses.join().unwrap(), Ok(Changed::Yes));
            assert!(desk.stays() && !program.is_finished());
            assert_eq!(desk.pause(), Ok(Changed::No));
            desk.order_if_idle(Why::Timer);
            std::thread::sleep(Duration::from_millis(20));
            assert!(!program.is_finished(), "the timer's are not taken");
            assert_eq!(desk.unpause(), Ok(Changed::Yes));
            assert!(matches!(program.join().unwrap(), Task::Nothing));
            assert!(!desk.stays());
            assert_eq!(desk.unpause(), Ok(Changed::No));
        });
        desk.close("the program ended first");
        assert_eq!(desk.pause(), Err("the program ended first".to_owned()));
    }
}
