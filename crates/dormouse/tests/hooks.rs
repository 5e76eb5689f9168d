//! Commands before and after checkpoints and resumes (`--on`).
#![allow(missing_docs)]

mod harness;

use harness::*;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// What hooks have written, `cat >>FILE`.
fn told(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All four of them.
const ALL: [&str; 8] = [
    "--on",
    "pre-checkpoint=cat >>told",
    "--on",
    "post-checkpoint=cat >>told",
    "--on",
    "pre-resume=cat >>told",
    "--on",
    "post-resume=cat >>told",
];

#[test]
fn each_is_told_what_happens() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let job = p.start("sim", &[&ALL[..], &["--on", "post-checkpoint=echo hello", &copy]].concat());
    p.ok(&["checkpoint", "sim"]);
    p.ok(&["checkpoint", "--stop", "sim"]);
    let ended = Ended::wait(job);
    assert_eq!((ended.code, ended.out.as_str()), (Some(85), ""), "{}", ended.err);
    assert_eq!(ended.err.matches("hello\n").count(), 2, "{}", ended.err);
    let all = told(&p.path("told"));
    let summary = |all: &[Value]| -> Vec<String> {
        let text = |v: &Value| v.to_string().replace('"', "");
        let one = |v: &Value| {
            format!(
                "{} {} {} {}",
                text(&v["event"]),
                text(&v["reference"]),
                text(&v["why"]),
                v["stop"]
            )
        };
        all.iter().map(one).collect()
    };
    let expected = [
        "pre-checkpoint null asked false",
        "post-checkpoint sim@1 asked false",
        "pre-checkpoint null asked true",
        "post-checkpoint sim@2 asked true",
    ];
    assert_eq!(summary(&all), expected);
    for fact in &all {
        assert_eq!(fact["job"], "sim");
        assert_eq!(fact["store"], p.store().to_str().unwrap());
        assert_eq!(fact["error"], Value::Null);
    }
    let listed = p.json(&["list", "sim", "--json"]);
    assert_eq!(all[1]["checkpoint"], 1);
    assert!(listed.to_string().contains(all[1]["digest"].as_str().unwrap()), "{listed}");
    assert!(all[1]["size"].as_u64().unwrap() > 0 && all[1]["pause_us"].as_u64().unwrap() > 0);

    // They are not remembered: without --on, nothing is run.
    assert_eq!(p.dormouse(&["resume", "sim"]).code, Some(9));
    assert_eq!(told(&p.path("told")).len(), 4);
    assert_eq!(p.dormouse(&[&["resume", "sim"], &ALL[..]].concat()).code, Some(9));
    let resumed = summary(&told(&p.path("told"))[4..]);
    assert_eq!(resumed, ["pre-resume sim@2 null false", "post-resume sim@2 null false"]);
}

#[test]
fn shell_scripts_need_no_json() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let command =
        "post-checkpoint=echo $DORMOUSE_EVENT $DORMOUSE_JOB $DORMOUSE_REFERENCE $DORMOUSE_STORE";
    let mut job = p.start("sim", &["--on", command, &copy]);
    p.ok(&["checkpoint", "sim"]);
    job.stdin.take();
    let ended = Ended::wait(job);
    let said = format!("post-checkpoint sim sim@1 {}\n", p.store().display());
    assert!(ended.err.contains(&said), "{}", ended.err);
}

#[test]
fn a_failure_before_it_cancels_the_checkpoint() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let hooks = ["--on", "pre-checkpoint=test -e may", "--on", "post-checkpoint=cat >>told"];
    let mut job = p.start("sim", &[&hooks[..], &[&copy]].concat());
    for stop in [&[][..], &["--stop"]] {
        let refused = p.dormouse(&[&["checkpoint", "sim"], stop].concat());
        assert_eq!(refused.code, Some(125));
        let why = "job sim took no checkpoint: the pre-checkpoint hook `test -e may` failed (exit status: 1)";
        assert!(refused.error().starts_with(why), "{}", refused.err);
    }
    assert_eq!(p.checkpoints("sim"), 0);
    p.wait_for("both hooks", || told(&p.path("told")).len() == 2);
    for fact in told(&p.path("told")) {
        assert_eq!(fact["checkpoint"], Value::Null);
        assert!(fact["error"].as_str().unwrap().contains("test -e may"), "{fact}");
    }
    // The program goes on as if nothing had been.
    let mut stdin = job.stdin.take().unwrap();
    stdin.write_all(b"on").unwrap();
    assert_eq!(read(job.stdout.as_mut().unwrap(), 2), "on");
    std::fs::write(p.path("may"), "").unwrap();
    p.ok(&["checkpoint", "sim", "--stop"]);
    let ended = Ended::wait(job);
    assert_eq!(ended.code, Some(85));
    assert_eq!(ended.err.matches("the program goes on").count(), 2, "{}", ended.err);
}

#[test]
fn a_failure_after_it_is_only_told() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let mut job = p.start("sim", &["--on", "post-checkpoint=exit 3", &copy]);
    assert!(p.ok(&["checkpoint", "sim"]).starts_with("sim@1"));
    job.stdin.take();
    let ended = Ended::wait(job);
    assert_eq!(ended.code, Some(9), "{}", ended.err);
    let warning = "warning: the post-checkpoint hook `exit 3` failed (exit status: 3);";
    assert!(ended.err.contains(warning), "{}", ended.err);
    let ended = p.dormouse(&["resume", "sim", "--on", "post-resume=exit 4"]);
    assert_eq!(ended.code, Some(9), "{}", ended.err);
    assert!(
        ended.err.contains("`exit 4` failed (exit status: 4); the program goes on"),
        "{}",
        ended.err
    );
}

#[test]
fn a_failure_before_it_cancels_the_resume() {
    let p = Place::new();
    std::fs::create_dir(p.path("out")).unwrap();
    let demo = p.guest("demo", include_str!("../src/demo.wat"));
    let job = p.start("sim", &["--dir", "out", &demo]);
    p.wait_for("the file", || p.path("out/progress.txt").exists());
    p.ok(&["checkpoint", "sim"]);
    assert_eq!(Ended::wait(job).code, Some(0));
    let whole = std::fs::read(p.path("out/progress.txt")).unwrap();
    let refused =
        p.dormouse(&["resume", "sim", "--on", "pre-resume=false", "--on", "post-resume=touch no"]);
    assert_eq!(refused.code, Some(125));
    let why = "sim@1 is not resumed: the pre-resume hook `false` failed (exit status: 1); nothing was changed";
    assert_eq!(refused.error(), why);
    assert_eq!(std::fs::read(p.path("out/progress.txt")).unwrap(), whole, "files are as they were");
    assert!(!p.path("no").exists());
    assert_eq!(p.json(&["ps", "--json"]), serde_json::json!([]));
    // `run --resume-if-any` is a resume like any other.
    let line = [
        "run",
        "--resume-if-any",
        "--name",
        "sim",
        "--dir",
        "out",
        "--on",
        "pre-resume=false",
        &demo,
    ];
    assert_eq!(p.dormouse(&line).error(), why);
}

#[test]
fn one_that_hangs_is_killed() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let hang = ["--on", "pre-checkpoint=sleep 1000", "--hook-timeout", "300ms"];
    let mut job = p.start("sim", &[&hang[..], &[&copy]].concat());
    let refused = p.dormouse(&["checkpoint", "sim"]);
    assert!(
        refused.error().contains("had not ended after 300ms and was killed; --hook-timeout"),
        "{}",
        refused.err
    );
    job.stdin.take();
    assert_eq!(Ended::wait(job).code, Some(9));
}

/// While the hook waits for it, the program copies what it reads.
#[test]
fn the_program_runs_meanwhile() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let wait = "until test -e go; do sleep 0.05; done";
    for event in ["pre-checkpoint", "post-checkpoint"] {
        let hook = format!("{event}=touch waits; {wait}; rm -f go waits");
        let mut job = p.start(event, &["--on", &hook, &copy]);
        let asked = p.command(&["checkpoint", event]).spawn().unwrap();
        p.wait_for("the hook", || p.path("waits").exists());
        let mut stdin = job.stdin.take().unwrap();
        stdin.write_all(b"meanwhile").unwrap();
        assert_eq!(read(job.stdout.as_mut().unwrap(), 9), "meanwhile");
        if event == "pre-checkpoint" {
            // Who asks meanwhile gets the same one; who kills the program does not wait.
            let second = p.command(&["checkpoint", event]).spawn().unwrap();
            std::fs::write(p.path("go"), "").unwrap();
            for asked in [asked, second] {
                assert_eq!(Ended::wait(asked).code, Some(0));
            }
            drop(stdin);
            assert_eq!(Ended::wait(job).code, Some(9));
        } else {
            // It is durable, and the answer does not wait; the end of the job does.
            assert_eq!(Ended::wait(asked).code, Some(0));
            drop(stdin);
            assert!(p.path("waits").exists());
            std::fs::write(p.path("go"), "").unwrap();
            assert_eq!(Ended::wait(job).code, Some(9));
            assert!(!p.path("waits").exists());
        }
    }
    let hook = format!("pre-checkpoint=touch waits; {wait}");
    let mut command = p.command(&["run", "--name", "killed", "--on", &hook, &copy]);
    let job = command.stdin(Stdio::piped()).spawn().unwrap();
    p.wait_answering("killed");
    let asked = p.command(&["checkpoint", "killed"]).spawn().unwrap();
    p.wait_for("the hook", || p.path("waits").exists());
    p.ok(&["kill", "killed"]);
    assert_eq!(Ended::wait(asked).code, Some(125));
    std::fs::write(p.path("go"), "").unwrap();
    assert_eq!(Ended::wait(job).code, Some(137));
}

#[test]
fn at_intervals_and_where_it_is_told_to_stop() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let count = ["--on", "pre-checkpoint=echo >>pre", "--on", "post-checkpoint=echo >>post"];
    let job = p.start("sim", &[&count[..], &["--every", "50ms", &spin]].concat());
    p.wait_for("three checkpoints", || p.checkpoints("sim") >= 3);
    let ended = Ended::wait(job);
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
    let lines = |name: &str| std::fs::read_to_string(p.path(name)).unwrap().len();
    assert_eq!(lines("pre"), lines("post"));
    // The program may have ended while the last one's was run.
    let taken = p.checkpoints("sim");
    assert!((taken..=taken + 1).contains(&lines("post")));

    let stopped =
        p.dormouse(&[&["run", "--name", "at", "--stop-at", "1000"], &ALL[..], &[&spin]].concat());
    assert_eq!(stopped.code, Some(85), "{}", stopped.err);
    assert_eq!(told(&p.path("told")).len(), 2);
    let refused =
        ["run", "--name", "no", "--stop-at", "1000", "--on", "pre-checkpoint=false", &spin];
    let ended = p.dormouse(&refused);
    assert_eq!((ended.code, ended.out), (Some(0), expected), "{}", ended.err);
    assert!(ended.err.contains("`false` failed"), "{}", ended.err);
}

#[test]
fn what_is_no_hook_is_said() {
    let p = Place::new();
    for bad in ["pre-checkpoint", "pre-checkpoint=", "before=x"] {
        let refused = p.dormouse(&["run", "--on", bad, "x.wasm"]);
        assert_eq!(refused.code, Some(2));
        assert!(refused.err.contains("write pre-checkpoint=COMMAND, "), "{}", refused.err);
    }
}

/// Exits with what `checkpoint` answers, without its sign.
const ASKS: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "dormouse" "checkpoint" (func $checkpoint (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.sub (i32.const 0) (call $checkpoint)))))"#;

#[test]
fn of_a_program_that_asks_by_itself() {
    let p = Place::new();
    let asks = p.guest("asks", ASKS);
    let taken = p.dormouse(&[&["run", "--name", "sim"], &ALL[..], &[&asks]].concat());
    assert_eq!(taken.code, Some(0), "{}", taken.err);
    let all = told(&p.path("told"));
    assert_eq!((&all[0]["event"], &all[0]["why"]), (&"pre-checkpoint".into(), &"program".into()));
    assert_eq!((&all[1]["reference"], &all[1]["why"]), (&"sim@1".into(), &"program".into()));
    assert_eq!(all.len(), 2);
    let refused = p.dormouse(&["run", "--name", "no", "--on", "pre-checkpoint=false", &asks]);
    assert_eq!(refused.code, Some(2), "the negative answer is its status: {}", refused.err);
    assert!(refused.err.contains("`false` failed (exit status: 1)"), "{}", refused.err);
    assert_eq!(p.checkpoints("no"), 0);
}

/// Three checkpoints come while the first one's hook runs: one run is for all of them.
#[test]
fn those_after_checkpoints_do_not_pile_up() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let slow = "post-checkpoint=cat >>told; until test -e go; do sleep 0.05; done";
    let mut job = p.start("sim", &["--on", slow, &copy]);
    p.ok(&["checkpoint", "sim"]);
    p.wait_for("the hook", || told(&p.path("told")).len() == 1);
    for _ in 0..3 {
        p.ok(&["checkpoint", "sim"]);
    }
    job.stdin.take();
    std::fs::write(p.path("go"), "").unwrap();
    assert_eq!(Ended::wait(job).code, Some(9));
    let all = told(&p.path("told"));
    let seen: Vec<_> = all.iter().map(|v| (&v["reference"], &v["passed_over"])).collect();
    assert_eq!(seen, [(&"sim@1".into(), &0.into()), (&"sim@4".into(), &2.into())]);
}

/// Whether a process, whose number is in a file, is no more.
fn has_ended(pid: &Path) -> bool {
    let pid = std::fs::read_to_string(pid).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn one_before_a_checkpoint_does_not_outlive_the_program() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let slow = "pre-checkpoint=echo $$ >now; mv now pid; sleep 1000 & wait";
    let hooks = ["--on", slow, "--on", "post-checkpoint=cat >>told"];
    for way in ["ends", "is killed"] {
        let mut job = p.start("sim", &[&hooks[..], &[&copy]].concat());
        let asked = p.command(&["checkpoint", "sim"]).spawn().unwrap();
        p.wait_for("the hook", || p.path("pid").exists());
        if way == "ends" {
            drop(job.stdin.take())
        } else {
            p.ok(&["kill", "sim"]);
        }
        let ended = Ended::wait(job);
        assert_eq!(ended.code, Some(if way == "ends" { 9 } else { 137 }), "{way}: {}", ended.err);
        assert_eq!(Ended::wait(asked).code, Some(125));
        assert!(has_ended(&p.path("pid")), "{way}");
        let all = told(&p.path("told"));
        assert_eq!(all.len(), 1, "{way}: {all:?}");
        let why = if way == "ends" { "ended first, with exit status 9" } else { "was stopped" };
        assert!(all[0]["error"].as_str().unwrap().contains(why), "{all:?}");
        std::fs::remove_file(p.path("pid")).unwrap();
        std::fs::remove_file(p.path("told")).unwrap();
    }
    // Who wants it to stop now is not kept waiting by another hook.
    let job = p.start("now", &[&hooks[..], &[&copy]].concat());
    signal(&job, "INT");
    p.wait_for("the hook", || p.path("pid").exists());
    signal(&job, "INT");
    assert_eq!(Ended::wait(job).code, Some(130));
    assert!(has_ended(&p.path("pid")));
    assert!(!p.path("told").exists());
}

/// The lease is kept, and whoever wants this to end is heard: nothing has happened then.
#[test]
fn a_long_one_before_a_resume() {
    let p = Place::new();
    std::fs::create_dir(p.path("out")).unwrap();
    let demo = p.guest("demo", include_str!("../src/demo.wat"));
    let job = p.start("sim", &["--dir", "out", &demo]);
    p.wait_for("the file", || p.path("out/progress.txt").exists());
    p.ok(&["checkpoint", "sim"]);
    assert_eq!(Ended::wait(job).code, Some(0));
    let whole = std::fs::read(p.path("out/progress.txt")).unwrap();
    let slow = "pre-resume=echo $$ >now; mv now pid; sleep 1000 & wait";
    for (name, code) in [("TERM", 85), ("INT", 130)] {
        let line = ["resume", "sim", "--on", slow, "--on", "post-resume=touch no"];
        let resumed = p.command(&line).env("DORMOUSE_LEASE", "300ms").spawn().unwrap();
        p.wait_for("the hook", || p.path("pid").exists());
        p.wait_for("renewals", || {
            let lease = std::fs::read(p.path("store/run/sim.lock")).unwrap_or_default();
            let lease: Value = serde_json::from_slice(&lease).unwrap_or_default();
            lease["renewed"].as_u64() > Some(3)
        });
        // There is no program that could take a checkpoint.
        signal(&resumed, "USR1");
        signal(&resumed, name);
        let ended = Ended::wait(resumed);
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        let said = "dormouse: stopped at sim@1; go on with: dormouse resume sim\n";
        assert_eq!(ended.err, said);
        assert!(has_ended(&p.path("pid")) && !p.path("no").exists());
        std::fs::remove_file(p.path("pid")).unwrap();
        assert_eq!(std::fs::read(p.path("out/progress.txt")).unwrap(), whole);
        assert_eq!(std::fs::read_dir(p.path("store/run")).unwrap().count(), 0, "no lease is left");
    }
    // If another takes the job over meanwhile, it is that one's.
    let mut resumed = p.command(&["resume", "sim", "--on", slow]);
    let resumed = resumed.env("DORMOUSE_LEASE", "300ms").spawn().unwrap();
    p.wait_for("the hook", || p.path("pid").exists());
    std::fs::remove_file(p.path("store/run/sim.lock")).unwrap();
    let ended = Ended::wait(resumed);
    assert_eq!(ended.code, Some(125), "{}", ended.err);
    assert!(ended.error().starts_with("job sim lost its lease before it began"), "{}", ended.err);
    assert!(has_ended(&p.path("pid")));
}
