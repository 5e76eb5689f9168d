//! A program that is run again from a checkpoint, once or twice, until it is where it is to stop.
//!
//! ```text
//!   trap          run to the trap, counting; files back; run that far, save, one step more: it must be the same trap
//!   safepoint=K   run that far, save
//!   FUNCTION      run at full speed until it is entered, save
//! ```

use super::Came;
use crate::carrying::carried;
use crate::job::Job;
use crate::outcome::{Notice, Outcome};
use crate::travel::{Scene, Stop, Where, origin};
use crate::upkeep::Standing;
use crate::writer::Writer;
use crate::{Error, Files, Result, annotations};
use dormouse_engine::{Code, Event, Run};
use dormouse_memory::PAGE_SIZE;
use dormouse_store::{Care, Checkpoint, CheckpointInfo, Guard, MemoryPages, NewCheckpoint};
use dormouse_wasi::{Mark, RestoreOptions, Stdio, StdioConfig, Tape, Wasi};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Safepoints that are counted at once: the word for it has 32 bits.
const AT_ONCE: u32 = 1 << 30;

/// A function's entry.
pub(super) struct Entry {
    pub func: u32,
    pub name: String,
    pub times: u32,
}

/// A program that is run again, once or twice, on its thread.
pub(super) struct Replay<'a> {
    pub job: &'a Job,
    pub code: &'a Arc<Code>,
    pub checkpoint: &'a Arc<Checkpoint>,
    pub writer: &'a Arc<Writer>,
    pub scene: Scene,
}

impl Replay<'_> {
    pub fn until_trap(self) -> Result<Came> {
        let tape = Tape::default();
        let (mut run, mark) = self.begin(&tape, false)?;
        let (safepoints, event) = go(&mut run, u64::MAX)?;
        let trapped = self.outcome(&event);
        drop(run);
        if !matches!(event, Event::Trapped(_) | Event::Aborted(_)) {
            return Ok(Err(format!("it {}", trapped.words())));
        }
        self.scene.back(mark)?;
        tape.rewind();
        // Where the stack is at its end, there is no room for saving it, nor is it as deep when it was built up again.
        let exhausted = is_exhausted(&trapped);
        let safepoints = if exhausted { safepoints.saturating_sub(SPARE) } else { safepoints };
        let info = self.checkpoint.info.clone();
        self.job.tell(Notice::RunsAgain { checkpoint: info, back: true });
        let (mut run, _) = self.begin(&tape, true)?;
        let other =
            |how: String| Error::OtherWay { from: self.checkpoint.info.name(), safepoints, how };
        let (reached, event) = go(&mut run, safepoints)?;
        if event != Event::Stopped {
            let words = self.outcome(&event).words();
            return Err(other(format!("{words} after {reached}")));
        }
        let at = Where::Safepoint(safepoints);
        let saved = self.save(&mut run, &at);
        let (saved, mark) = saved.map_err(|e| Error::NotSaved {
            from: self.checkpoint.info.name(),
            safepoints,
            why: e.to_string().replace("; the program goes on", ""),
        })?;
        let (_, event) = go(&mut run, if exhausted { u64::MAX } else { 1 })?;
        let again = self.outcome(&event);
        drop(run);
        self.scene.back(mark)?;
        if again != trapped && !(exhausted && is_exhausted(&again)) {
            let how = match event {
                Event::Stopped => "came to another safepoint".to_owned(),
                _ => again.words(),
            };
            self.writer.store.remove(&[(saved.job.clone(), saved.number)], Care::Thorough)?;
            return Err(other(how));
        }
        Ok(Ok(self.stop(saved, at, Some(again))))
    }

    pub fn until_safepoint(self, n: u64) -> Result<Came> {
        let tape = Tape::default();
        let (mut run, _) = self.begin(&tape, true)?;
        let (mut reached, mut event) = go(&mut run, n)?;
        // The first one from there that may be captured.
        while event == Event::Stopped && run.is_disabled() {
            let (more, next) = go(&mut run, 1)?;
            reached += more;
            event = next;
        }
        if event != Event::Stopped {
            let words = self.outcome(&event).words();
            return Ok(Err(format!("after {reached} it {words}")));
        }
        if self.job.again.back && tape.was_asked() {
            self.job.tell(Notice::Warning(format!(
                "the program asked for times or random numbers since {}, and got others than before: this is a step \
                 back in another run",
                self.checkpoint.info.name()
            )));
        }
        let at = Where::Safepoint(reached);
        let (saved, _) = self.save(&mut run, &at)?;
        drop(run);
        Ok(Ok(self.stop(saved, at, None)))
    }

    pub fn until_entry(self, entry: Entry, limit: Option<Duration>) -> Result<Came> {
        let (mut run, _) = self.begin(&Tape::default(), true)?;
        run.stop_at_entry(entry.times)?;
        let (ended, end) = mpsc::channel::<()>();
        if let Some(limit) = limit {
            let requester = run.requester();
            let wait = move || {
                if end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                    requester.request_end();
                }
            };
            let spawned = std::thread::Builder::new().name("limit".into()).spawn(wait);
            spawned.map_err(Error::io("start the clock of", "this run"))?;
        }
        let event = loop {
            let event = run.advance()?;
            if event == Event::Stopped && run.asks_for_checkpoint() && !run.has_entered() {
                run.answer_checkpoint(true);
                continue;
            }
            break event;
        };
        drop(ended);
        match event {
            Event::Stopped if run.has_entered() => {}
            Event::Stopped => {
                let limit = humantime::format_duration(Duration::from_secs(
                    limit.map_or(0, |l| l.as_secs()),
                ));
                return Ok(Err(format!("it did not come there within {limit}")));
            }
            event => return Ok(Err(format!("it {}", self.outcome(&event).words()))),
        }
        let Entry { func, name, times } = entry;
        let at = Where::Entry { func, name, times };
        let (saved, _) = self.save(&mut run, &at)?;
        drop(run);
        Ok(Ok(self.stop(saved, at, None)))
    }

    /// The program as it was at the checkpoint; and where its files can go back to.
    fn begin(&self, tape: &Tape, last: bool) -> Result<(Run, Option<Mark>)> {
        let Replay { job, checkpoint, .. } = self;
        let copied = job.files == Some(Files::Copy);
        let options = RestoreOptions {
            dirs: self.scene.dirs.clone(),
            recorded_dirs: false,
            env: job.env.clone(),
            stdio: job.streams(last)?,
            check_files: job.undoes(),
            // The streams are not the job's.
            clone: true,
            undo: Some(self.scene.log()),
            carry: false,
            carried: Some(*checkpoint).filter(|_| copied).and_then(carried),
            mark: None,
            unnoticed: false,
        };
        let state = &checkpoint.state;
        let fill =
            |index, into: &mut [u8]| checkpoint.read_memory(index, into).map_err(|e| e.to_string());
        let wasi = || Ok(Wasi::restore(&state.wasi, options)?);
        let mut run = Run::resume_with(self.code.clone(), state, wasi, fill)?;
        run.wasi().use_tape(tape.clone());
        let mark = run.mark_files()?;
        Ok((run, mark))
    }

    /// Saves the program where it stands.
    fn save(&self, run: &mut Run, at: &Where) -> Result<(CheckpointInfo, Option<Mark>)> {
        let state = run.state()?;
        let mark = run.mark_files()?;
        run.unsynced()?.sync()?;
        let info = &self.checkpoint.info;
        let from = match (at, origin(info)) {
            (Where::Safepoint(n), Some((root, Some(m)))) => format!("{root}+{}", m + n),
            (Where::Safepoint(n), _) => format!("{}+{n}", info.name()),
            (Where::Entry { .. }, _) => info.name(),
        };
        let mut remember = self.writer.annotations.clone();
        remember.insert(annotations::STOP.to_owned(), from);
        remember.insert(annotations::COPIES.to_owned(), self.scene.name());
        let unsaved = Unsaved::take(run)?;
        let memories = run.memories()?;
        let pages: Vec<_> =
            memories.iter().map(|(i, bytes)| MemoryPages::whole(*i, bytes)).collect();
        let keeper = &self.writer.keeper;
        let may_write = || match keeper.check() {
            Ok(Standing::Ours) => Ok(()),
            Ok(Standing::Lost(why)) => {
                Err(format!("the lease of {} was lost: {why}", keeper.job()))
            }
            Err(e) => Err(format!("the lease of {} cannot be read: {e}", keeper.job())),
        };
        let new = NewCheckpoint {
            annotations: remember,
            guard: Some(Guard(&may_write)),
            ..NewCheckpoint::new(&self.writer.module, &state, &pages)
        };
        let save = || Ok(self.writer.store.save(&self.writer.job, new)?);
        let saved = self.scene.finish(save);
        unsaved.put_back(run)?;
        Ok((saved?, mark))
    }

    fn stop(self, checkpoint: CheckpointInfo, at: Where, next: Option<Outcome>) -> Stop {
        self.scene.keep();
        let from = self.checkpoint.info.clone();
        Stop { checkpoint, from, at, next, tried: vec![] }
    }

    fn outcome(&self, event: &Event) -> Outcome {
        match event {
            Event::Exited(code) => Outcome::Exited(*code),
            Event::Returned(values) => Outcome::Returned(values.clone()),
            Event::Trapped(trap) => Outcome::trapped(self.code, trap),
            Event::Aborted(trap) => Outcome::aborted(self.code, trap),
            Event::Stopped => Outcome::Killed,
        }
    }
}

impl Job {
    /// The standard streams of a run; the last one may be seen.
    fn streams(&self, last: bool) -> Result<StdioConfig> {
        let mut streams = StdioConfig::null();
        if let Some(path) = &self.again.input {
            let file = File::open(path).map_err(Error::io("open the input", path))?;
            streams.stdin = Stdio::Fd(file.into());
        }
        if self.again.output && last {
            let stderr = || {
                let fd = std::io::stderr().as_fd().try_clone_to_owned();
                fd.map(Stdio::Fd).map_err(Error::io("write to", "standard error"))
            };
            (streams.stdout, streams.stderr) = (stderr()?, stderr()?);
        }
        Ok(streams)
    }
}

/// What a program said need not be kept, while its memory is saved with zeros there.
struct Unsaved(Vec<(u32, usize, Vec<u8>)>);

impl Unsaved {
    fn take(run: &mut Run) -> Result<Unsaved> {
        let mut taken = vec![];
        let Some((index, exclusions)) = run.exclusions() else { return Ok(Unsaved(taken)) };
        let bytes = run.memory_mut(index)?;
        for pages in exclusions.pages() {
            let end = (pages.end as usize).saturating_mul(PAGE_SIZE).min(bytes.len());
            let start = (pages.start as usize).saturating_mul(PAGE_SIZE).min(end);
            taken.push((index, start, bytes[start..end].to_vec()));
            bytes[start..end].fill(0);
        }
        Ok(Unsaved(taken))
    }

    fn put_back(self, run: &mut Run) -> Result<()> {
        for (index, start, bytes) in self.0 {
            run.memory_mut(index)?[start..start + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}

/// So many safepoints before a stack is exhausted there is room for saving it.
const SPARE: u64 = 256;

fn is_exhausted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Trapped { message, .. } if message.contains("stack exhausted"))
}

/// Goes on for so many safepoints, or until the program ends; how many it passed.
fn go(run: &mut Run, safepoints: u64) -> Result<(u64, Event)> {
    go_by(run, safepoints, AT_ONCE)
}

fn go_by(run: &mut Run, safepoints: u64, at_once: u32) -> Result<(u64, Event)> {
    let mut passed = 0;
    if safepoints == 0 {
        return Ok((0, Event::Stopped));
    }
    loop {
        let step = (safepoints - passed).min(at_once.into()) as u32;
        run.stop_after(step);
        let event = run.advance()?;
        passed += u64::from(step.saturating_sub(run.left()));
        if event != Event::Stopped {
            return Ok((passed, event));
        }
        if run.asks_for_checkpoint() {
            run.answer_checkpoint(true);
        } else if passed >= safepoints {
            return Ok((passed, event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_engine::{Entries, Machine, Options};
    use dormouse_wasi::WasiConfig;

    /// However many are counted at once, it stands at the same place, and traps after as many.
    #[test]
    fn counted_in_parts() {
        let module: Arc<[u8]> = wat::parse_str(
            r#"(module (func $f (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
                (func (export "_start") (local i32) (local.set 0 (i32.const 100))
                    (loop (drop (call $f (local.get 0)))
                        (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br 0))))"#,
        )
        .unwrap()
        .into();
        let entries = Entries { all: true, ..Entries::default() };
        let options = Options { counted: true, every_loop: true, entries, ..Options::default() };
        let code = Arc::new(Machine::new(options).unwrap().load(module).unwrap());
        let run = |safepoints, at_once| {
            let config = WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() };
            let mut run = Run::start(code.clone(), Wasi::new(config).unwrap()).unwrap();
            let (passed, event) = go_by(&mut run, safepoints, at_once).unwrap();
            let stopped = event == Event::Stopped;
            (passed, stopped.then(|| run.state().unwrap().frames))
        };
        let all = || {
            // _start, and 101 times the loop and the function.
            assert_eq!(run(u64::MAX, AT_ONCE), (203, None));
            assert_eq!(run(u64::MAX, 7), (203, None));
            for n in [1, 6, 7, 8, 100, 203] {
                let (passed, frames) = run(n, AT_ONCE);
                assert_eq!((passed, frames.is_some()), (n, true));
                for at_once in [1, 2, 7] {
                    assert!(run(n, at_once) == (n, frames.clone()), "{n} by {at_once}");
                }
            }
        };
        code.machine().on_stack(all).unwrap();
    }
}
