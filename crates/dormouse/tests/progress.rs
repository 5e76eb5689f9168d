//! How far something is that takes long: what is told of it, and what is shown on a terminal.
#![allow(missing_docs)]

mod harness;

use dormouse::{Activity, Job, Meter, Notice, Outcome, Target};
use harness::*;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

type Told = Arc<Mutex<Vec<(Activity, Meter, bool)>>>;

/// Notes what was begun, and whether its end was told.
fn noting(job: Job, told: &Told) -> Job {
    let told = told.clone();
    job.on_notice(move |notice| match notice {
        Notice::Progress { what, meter } => told.lock().unwrap().push((what, meter, false)),
        Notice::ProgressEnds => told.lock().unwrap().last_mut().unwrap().2 = true,
        _ => {}
    })
}

#[test]
fn writing_checking_and_reading_are_told_and_counted() {
    let p = Place::new();
    let module: Arc<[u8]> = wat::parse_str(bulky()).unwrap().into();
    let told = Told::default();
    let job = || noting(Job::new(p.store()).name("sim"), &told);
    // It has filled a megabyte by then.
    let stopped = job().stop_at(140_000).run("bulky.wasm", module, vec![]).unwrap();
    assert!(matches!(stopped, Outcome::Stopped { .. }), "{stopped:?}");
    let from: Target = "sim".parse().unwrap();
    let stopped = job().stop_at(1).resume(&from).unwrap();
    assert!(matches!(stopped, Outcome::Stopped { .. }), "{stopped:?}");

    let told = told.lock().unwrap();
    let what: Vec<Activity> = told.iter().map(|(what, ..)| *what).collect();
    use Activity::{Checking, Reading, Writing};
    assert_eq!(what, [Writing, Checking, Reading, Writing]);
    for (what, meter, ended) in told.iter() {
        assert!(ended, "{what:?}");
        assert_eq!(meter.done(), meter.total(), "{what:?}");
    }
    let total = |at: usize| told[at].1.total();
    for (at, what) in what.iter().enumerate().take(3) {
        assert!(total(at) >= 1 << 20, "{what:?}: {}", total(at));
    }
    assert!(total(3) < 1 << 20, "only what changed: {}", total(3));
    assert!(told[0].1.stored() > 1 << 20, "what it was filled with cannot be compressed");
}

/// What a command shows on a terminal, as it comes.
struct Shown {
    text: Arc<Mutex<String>>,
    child: std::process::Child,
}

impl Shown {
    /// `script` runs it on a terminal of its own.
    fn by(mut command: Command) -> Shown {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let text = Arc::new(Mutex::new(String::new()));
        let into = text.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Shown { text, child }
    }

    fn has(&self, part: &str) -> bool {
        self.text.lock().unwrap().contains(part)
    }
}

#[test]
fn a_terminal_shows_that_it_is_waited_for_and_nothing_else_does() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("left out: there is no `script` (of util-linux), which makes a terminal");
        return;
    }
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let job = p.start("sim", &[&copy]);
    // It answers when it is woken up.
    signal(&job, "STOP");
    let asked = p.command(&["checkpoint", "sim"]).spawn().unwrap();
    let dormouse = env!("CARGO_BIN_EXE_dormouse");
    let mut command = p.command(&[]);
    let line = format!("'{dormouse}' checkpoint sim");
    let script = std::mem::replace(&mut command, Command::new("script"));
    command.args(["-qec", &line, "/dev/null"]).current_dir(p.dir.path());
    command.envs(script.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.env("TERM", "xterm");
    let mut shown = Shown::by(command);
    p.wait_for("the spinner", || shown.has("waiting for sim to take a checkpoint, "));
    signal(&job, "CONT");
    p.wait_for("its name", || shown.has("sim@"));
    assert!(shown.child.wait().unwrap().success());
    let asked = Ended::wait(asked);
    assert_eq!((asked.code, asked.err.as_str()), (Some(0), ""));
    p.ok(&["kill", "sim"]);
    Ended::wait(job);
}
