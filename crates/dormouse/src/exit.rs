//! Exit statuses of the command line.
//!
//! ```text
//!   0..=125   the program's own (`run`, `resume`)
//!   1         the program made a bad call, as stock wasmtime has it;
//!             `check`: it cannot be checkpointed; `diff`: they differ; `verify`: something is damaged; `gc`, `rm`: damage keeps
//!             files from being deleted; `demo`: it went wrong
//!   2         wrong usage
//!   85        checkpointed and stopped by SIGTERM, by `checkpoint --stop`, or after `--stop-after`
//!   124       ended after `--timeout`
//!   125       Dormouse itself failed
//!   130       stopped by Ctrl-C
//!   134       the program trapped
//!   137       ended by `dormouse kill`, or because another has the job's lease
//! ```

/// The program made a call that ends it: an address outside of its memory, an exit status there is none of. Stock
/// wasmtime says the same with the same status.
pub const ABORTED: u8 = 1;
/// A check found something: a module that cannot be checkpointed, a damaged store, a difference.
pub const FOUND: u8 = 1;
/// Wrong usage: words or settings that mean nothing.
pub const USAGE: u8 = 2;
/// Checkpointed, then stopped on purpose: what HTCondor and Slurm take as "put me back in the queue".
pub const CHECKPOINTED: u8 = 85;
/// Its time was up, as with `timeout`.
pub const TIMED_OUT: u8 = 124;
/// Dormouse itself failed, as with `env`, `timeout` and containers: no program means it by itself.
pub const FAILED: u8 = 125;
/// Ctrl-C: 128 + SIGINT.
pub const INTERRUPTED: u8 = 130;
/// The program trapped: 128 + SIGABRT, as stock wasmtime has it.
pub const TRAPPED: u8 = 134;
/// Ended without a checkpoint: 128 + SIGKILL.
pub const KILLED: u8 = 137;

/// For `dormouse help`.
pub const HELP: &str = "\
Exit status:
  0-125  the program's own (run, resume)
  1      run, resume: the program made a bad call, or means it;
         check: the module cannot be checkpointed; verify: the store is damaged;
         diff: the checkpoints differ;
         gc, rm: damage keeps files from being deleted; demo: the results differ
  2      wrong usage
  85     checkpointed and stopped, by SIGTERM, `checkpoint --stop` or --stop-after
  124    ended by --timeout
  125    dormouse itself failed; the last line on stderr says why, and what to do
  130    stopped by Ctrl-C
  134    the program trapped
  137    ended by `dormouse kill`, or because another host took the job over

Signals to a running job:
  SIGTERM  checkpoint, then stop    SIGUSR1  checkpoint, go on
  Ctrl-C   checkpoint, then stop; a second one stops at once";
