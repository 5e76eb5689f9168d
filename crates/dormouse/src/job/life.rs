//! What happens around a job: when it is stopped, and what is run before and after checkpoints. Nothing of it is remembered.

use super::Job;
use crate::drive::Manner;
use crate::hooks::{self, Hook, Hooks};
use crate::limits::Limits;
use std::time::Duration;

/// As it was said.
pub(super) struct Life {
    pub grace: Option<Duration>,
    hooks: Vec<Hook>,
    hook_timeout: Duration,
    limits: Limits,
}

impl Default for Life {
    fn default() -> Life {
        Life { grace: None, hooks: vec![], hook_timeout: hooks::TIMEOUT, limits: Limits::default() }
    }
}

impl Job {
    /// How long after SIGTERM the process may be killed: a checkpoint that fails is tried again in that time, and
    /// [`crate::Notice::Late`] tells if none is durable after it. By default nothing is known of that.
    pub fn grace(mut self, grace: Duration) -> Job {
        self.life.grace = Some(grace);
        self
    }

    /// Runs a command at some moments of the job's life; those of the same moment in the order they were given. Not
    /// remembered.
    pub fn hook(mut self, hook: Hook) -> Job {
        self.life.hooks.push(hook);
        self
    }

    /// After how long a hook is killed, and has failed; by default a minute.
    pub fn hook_timeout(mut self, timeout: Duration) -> Job {
        self.life.hook_timeout = timeout;
        self
    }

    /// Stops the program with a checkpoint when it has run for so long, from where it begins or goes on.
    pub fn stop_after(mut self, time: Duration) -> Job {
        self.life.limits.stop_after = Some(time);
        self
    }

    /// Ends the program without a checkpoint when it has run for so long, from where it begins or goes on.
    pub fn timeout(mut self, time: Duration) -> Job {
        self.life.limits.timeout = Some(time);
        self
    }

    /// How it is driven.
    pub(super) fn manner(&self, name: &str) -> Manner {
        Manner {
            one_shot: self.one_shot,
            stop_at: self.stop_at,
            hooks: self.hooks_of(name),
            limits: self.life.limits,
            from: None,
        }
    }

    pub(super) fn hooks_of(&self, name: &str) -> Hooks {
        let (hooks, timeout) = (self.life.hooks.clone(), self.life.hook_timeout);
        Hooks { hooks, timeout, job: name.to_owned(), store: self.store.clone() }
    }
}
