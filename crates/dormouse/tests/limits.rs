//! How long a program may run, and how long SIGTERM leaves it: `--stop-after`, `--timeout`, `--grace`.
#![allow(missing_docs)]

mod harness;

use harness::*;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn stopped_after_a_time_it_goes_on_for_as_long() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let line = ["run", "--name", "sim", "--resume-if-any", "--stop-after", "300ms", &spin];
    let mut parts = 0;
    let ended = loop {
        let ended = p.dormouse(&line);
        if ended.code != Some(85) {
            break ended;
        }
        parts += 1;
        assert_eq!(ended.out, "");
        let said = format!("stopped at sim@{parts}; go on with: dormouse resume sim");
        assert!(ended.err.contains(&said), "{}", ended.err);
    };
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
    assert!(parts >= 1, "it takes a second or more");
    let stats = p.json(&["stats", "sim", "--json"]);
    assert_eq!(stats["records"][0]["why"], "limit");
    // Not remembered.
    assert_eq!(p.ok(&["resume", "sim@1"]), expected);
}

#[test]
fn ended_after_a_time() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let job = p.start("sim", &[&copy]);
    p.ok(&["checkpoint", "--stop", "sim"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    let mut command = p.command(&["resume", "sim", "--timeout", "300ms"]);
    let mut job = command.stdin(Stdio::piped()).spawn().unwrap();
    let stdin = job.stdin.take();
    let ended = Ended::wait(job);
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    assert!(ended.err.contains("ended by --timeout, without a checkpoint"), "{}", ended.err);
    drop(stdin);
    assert_eq!(p.dormouse(&["resume", "sim"]).code, Some(9), "it is not remembered");
    let p = Place::new();
    let exit = p.guest("exit", EXIT);
    let ended = p.dormouse(&["run", "--timeout", "1h", "--stop-after", "1h", &exit]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(42), ""), "nobody waits for the time");
}

#[test]
fn late_is_told_and_the_checkpoint_still_comes() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let mut job = p.start("sim", &["--grace", "100ms", &copy]);
    let _open = job.stdin.take();
    // Whoever deletes from the store has this, and nobody saves meanwhile.
    let lock =
        std::fs::OpenOptions::new().write(true).open(p.path("store/.dormouse.lock")).unwrap();
    lock.lock().unwrap();
    signal(&job, "TERM");
    let mut said = BufReader::new(job.stderr.take().unwrap()).lines().map(Result::unwrap);
    let late = "warning: 100ms after SIGTERM no checkpoint is durable yet; it is still being taken";
    assert!(said.any(|line| line.starts_with(late)));
    // Schedulers may say it twice.
    signal(&job, "TERM");
    lock.unlock().unwrap();
    assert!(said.any(|line| line.contains("stopped at sim@1")));
    assert_eq!(job.wait().unwrap().code(), Some(85));
    assert_eq!(p.checkpoints("sim"), 1);
}

#[test]
fn what_fails_is_tried_again_in_that_time() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let twice = "pre-checkpoint=echo >>tries; test $(wc -l <tries) = 3";
    let mut job = p.start("sim", &["--grace", "5s", "--on", twice, &copy]);
    let _open = job.stdin.take();
    signal(&job, "TERM");
    let ended = Ended::wait(job);
    assert_eq!(ended.code, Some(85), "{}", ended.err);
    assert!(!ended.err.contains("after SIGTERM"), "{}", ended.err);
    // Without, it is not; the program goes on.
    std::fs::remove_file(p.path("tries")).unwrap();
    let mut job = p.start("other", &["--on", twice, &copy]);
    signal(&job, "TERM");
    p.wait_for("the hook", || p.path("tries").exists());
    std::thread::sleep(std::time::Duration::from_millis(500));
    job.stdin.take();
    let ended = Ended::wait(job);
    assert_eq!(ended.code, Some(9), "{}", ended.err);
    assert_eq!(ended.err.matches("failed (exit status: 1)").count(), 1, "{}", ended.err);
}

/// Nothing is ended before it is durable.
#[test]
fn the_program_goes_on_if_nothing_helps() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let mut job =
        p.start("sim", &["--grace", "500ms", "--on", "pre-checkpoint=echo >>tries; false", &copy]);
    signal(&job, "TERM");
    p.wait_for("some tries", || std::fs::read(p.path("tries")).is_ok_and(|tries| tries.len() >= 2));
    std::thread::sleep(std::time::Duration::from_secs(1));
    job.stdin.take();
    let ended = Ended::wait(job);
    assert_eq!(ended.code, Some(9), "{}", ended.err);
    let late = "500ms after SIGTERM no checkpoint is durable (the pre-checkpoint hook";
    assert!(ended.err.contains(late), "{}", ended.err);
    assert!(ended.err.contains("failed (exit status: 1)); the program goes on"), "{}", ended.err);
}

#[test]
fn going_on_is_the_default_and_can_be_said() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let mut job = p.start("sim", &[&copy]);
    p.ok(&["checkpoint", "--keep-running", "sim"]);
    p.ok(&["checkpoint", "--leave-running", "sim"]);
    assert_eq!(p.dormouse(&["checkpoint", "--keep-running", "--stop", "sim"]).code, Some(2));
    job.stdin.take();
    assert_eq!(Ended::wait(job).code, Some(9));
}

/// Neither the one before it, nor one after the checkpoint before; one that fails still cancels.
#[test]
fn a_hook_that_hangs_costs_no_checkpoint() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let posts = "post-checkpoint=echo >>posts";
    let hang = ["--grace", "10s", "--on", "pre-checkpoint=echo >>pres; sleep 1000", "--on", posts];
    let mut job = p.start("before", &[&hang[..], &[&copy]].concat());
    let _open = job.stdin.take();
    signal(&job, "TERM");
    let ended = Ended::wait(job);
    assert_eq!((ended.code, p.checkpoints("before")), (Some(85), 1), "{}", ended.err);
    let told = "`echo >>pres; sleep 1000` had not ended within 2s, a fifth of --grace, and was killed; \
                the checkpoint is taken without it";
    assert!(ended.err.contains(told), "{}", ended.err);
    let lines = |name: &str| std::fs::read_to_string(p.path(name)).map_or(0, |text| text.len());
    assert_eq!((lines("pres"), lines("posts")), (1, 1), "{}", ended.err);

    let once = "post-checkpoint=echo >>posts; test -e once || { touch once; sleep 1000; }";
    let hooks = ["--grace", "10s", "--on", "pre-checkpoint=echo >>pres", "--on", once];
    let mut job = p.start("after", &[&hooks[..], &[&copy]].concat());
    let _open = job.stdin.take();
    p.ok(&["checkpoint", "after"]);
    p.wait_for("the hook", || p.path("once").exists());
    signal(&job, "TERM");
    let ended = Ended::wait(job);
    assert_eq!((ended.code, p.checkpoints("after")), (Some(85), 2), "{}", ended.err);
    assert!(ended.err.contains("had not ended within 2s, a fifth of --grace"), "{}", ended.err);
    assert_eq!((lines("pres"), lines("posts")), (3, 3), "{}", ended.err);
}
