//! Jobs that are checkpointed, stopped, killed and resumed, through the real binary.
#![allow(missing_docs)]

mod harness;

use harness::*;
use std::io::Write;
use std::process::Stdio;

#[test]
fn checkpoint_goes_on_and_resume_repeats() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let job = p.start("sim", &[&spin]);
    let saved = p.json(&["checkpoint", "sim", "--json"]);
    assert_eq!(saved["name"], "sim@1");
    assert!(p.ok(&["checkpoint", "sim"]).starts_with("sim@2 "));
    let ended = Ended::wait(job);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), expected.as_str()), "{}", ended.err);
    assert!(ended.err.contains("sim@1 is durable; `dormouse resume sim`"), "{}", ended.err);
    for target in ["sim", "sim@1", "sim@2"] {
        assert_eq!(p.ok(&["resume", target]), expected);
    }
}

/// What a program never wrote takes no memory when it is copied.
#[cfg(target_os = "linux")]
#[test]
fn a_large_memory_of_zeros_takes_no_room() {
    let p = Place::new();
    let before =
        "(drop (memory.grow (i32.const 32000))) (i32.store8 (i32.const 2000000000) (i32.const 1))";
    let sparse = p.guest("sparse", &spin_with("(i64.const 600000000)", before));
    let mut job = p.start("sim", &[&sparse]);
    p.ok(&["checkpoint", "sim"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", job.id())).unwrap();
    let most = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 1_000_000, "{kilobytes} kB");
    job.kill().unwrap();
    job.wait().unwrap();
}

#[test]
fn stop_then_resume_at_once() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let mut job = p.start("sim", &["--every", "50ms", &spin]);
    for n in 1..4 {
        p.ok(&["checkpoint", "--stop", "sim"]);
        // No waiting here: who was answered may resume.
        let mut command = p.command(&["resume", "sim"]);
        let next = command.spawn().unwrap();
        let ended = Ended::wait(std::mem::replace(&mut job, next));
        assert_eq!((ended.code, ended.out.as_str()), (Some(85), ""), "{n}: {}", ended.err);
        assert!(ended.err.contains("go on with: dormouse resume sim"), "{}", ended.err);
        p.wait_answering("sim");
        let every = p.json(&["ps", "--json"])[0]["every"].clone();
        assert_eq!(every, "50ms", "the interval is remembered");
    }
    let ended = Ended::wait(job);
    assert_eq!((ended.code, ended.out), (Some(0), expected), "{}", ended.err);
}

/// The sign of the NaN that a program computes, as a letter: that of 0/0, once it has read a byte or stdin's end.
const NAN: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $zero f64)
    (i64.store (i32.const 0) (i64.const 0x100000020))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (local.set $zero (f64.convert_i32_u (i32.load8_u (i32.const 40))))
    (i32.store8 (i32.const 16)
      (select (i32.const 110) (i32.const 112)
        (i64.lt_s (i64.reinterpret_f64 (f64.div (local.get $zero) (local.get $zero))) (i64.const 0))))
    (i64.store (i32.const 0) (i64.const 0x100000010))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[test]
fn deterministic_is_remembered() {
    let p = Place::new();
    let nan = p.guest("nan", NAN);
    let plain = p.ok(&["run", &nan]);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(plain, "n", "the NaN of this CPU is negative: the option is seen to act");
    }
    assert_eq!(p.ok(&["run", "--deterministic", &nan]), "p");
    let job = p.start("same", &["--deterministic", &nan]);
    p.ok(&["checkpoint", "--stop", "same"]);
    for _ in 0..2 {
        let mut again = p.command(&["resume", "same"]).stdin(Stdio::piped()).spawn().unwrap();
        p.wait_answering("same");
        p.ok(&["checkpoint", "same"]);
        again.kill().unwrap();
        again.wait().unwrap();
    }
    assert_eq!(Ended::wait(job).code, Some(85));
    assert_eq!(p.ok(&["resume", "same"]), "p", "remembered through two resumes");
    // A job that began without it goes on with it when told so.
    let job = p.start("other", &[&nan]);
    p.ok(&["checkpoint", "--stop", "other"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    assert_eq!(p.ok(&["resume", "other"]), plain);
    assert_eq!(p.ok(&["resume", "other", "--deterministic"]), "p");
}

#[test]
fn killed_jobs_are_resumed() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let mut job = p.start("sim", &["--every", "20ms", &spin]);
    p.wait_for("two checkpoints", || p.checkpoints("sim") >= 2);
    job.kill().unwrap();
    job.wait().unwrap();
    assert!(p.path("store/run/sim.lock").exists(), "a killed process cleans nothing");
    assert_eq!(p.json(&["ps", "--json"]), serde_json::json!([]));
    assert_eq!(
        std::fs::read_dir(p.path("store/run")).unwrap().count(),
        0,
        "`ps` removes leftovers"
    );
    let error = p.dormouse(&["checkpoint", "sim"]);
    assert!(error.error().starts_with("job sim is not running;"), "{}", error.err);
    assert_eq!(p.ok(&["resume", "sim", "--every", "never"]), expected);
    assert!(p.ok(&["verify"]).contains("checkpoints are good"));
}

#[test]
fn signals() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);

    let job = p.start("usr1", &[&spin]);
    signal(&job, "USR1");
    let ended = Ended::wait(job);
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
    assert_eq!(p.checkpoints("usr1"), 1);

    for (name, code) in [("TERM", 85), ("INT", 130)] {
        let job = p.start(name, &[&spin]);
        signal(&job, name);
        let ended = Ended::wait(job);
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{}", ended.err);
        let line = format!("go on with: dormouse resume {name}");
        assert!(ended.err.contains(&line), "{}", ended.err);
        assert_eq!(p.ok(&["resume", name]), expected);
    }
}

#[test]
fn what_cannot_be_carried_is_told_and_ctrl_c_twice_stops() {
    let p = Place::new();
    std::fs::create_dir(p.path("out")).unwrap();
    let demo = p.guest("demo", include_str!("../src/demo.wat"));
    let job = p.start("lost", &["--dir", "out", &demo]);
    p.wait_for("the file", || p.path("out/progress.txt").exists());
    std::fs::remove_file(p.path("out/progress.txt")).unwrap();
    let refused = p.dormouse(&["checkpoint", "lost"]);
    assert_eq!(refused.code, Some(125));
    let why =
        "job lost took no checkpoint: fd 4 is open on \"out/progress.txt\", which was deleted;";
    assert!(refused.error().starts_with(why), "{}", refused.err);
    let json = p.dormouse(&["checkpoint", "lost", "--stop", "--json"]);
    assert!(json.out.contains("\"ok\": \"no\""), "{}", json.out);

    signal(&job, "INT");
    // The two must not become one.
    std::thread::sleep(std::time::Duration::from_millis(300));
    signal(&job, "INT");
    let ended = Ended::wait(job);
    assert_eq!((ended.code, ended.out.as_str()), (Some(130), ""), "{}", ended.err);
    assert!(ended.err.contains("Ctrl-C again stops it without a checkpoint"), "{}", ended.err);
    assert!(
        ended.err.contains("stopped without a checkpoint; older ones are whole"),
        "{}",
        ended.err
    );
}

#[test]
fn blocked_in_a_read() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let mut job = p.start("copy", &[&copy]);
    let mut stdin = job.stdin.take().unwrap();
    stdin.write_all(b"before ").unwrap();
    assert_eq!(read(job.stdout.as_mut().unwrap(), 7), "before ");
    p.ok(&["checkpoint", "copy"]);
    stdin.write_all(b"between ").unwrap();
    assert_eq!(read(job.stdout.as_mut().unwrap(), 8), "between ");
    p.ok(&["checkpoint", "copy", "--stop"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    drop(stdin);

    let report = p.json(&["inspect", "copy", "--json"]);
    assert_eq!(report["frames"][0]["name"], "wasi_snapshot_preview1.fd_read");
    let mut resumed = p.command(&["resume", "copy"]).stdin(Stdio::piped()).spawn().unwrap();
    resumed.stdin.take().unwrap().write_all(b"after").unwrap();
    let ended = Ended::wait(resumed);
    assert_eq!((ended.code, ended.out.as_str()), (Some(9), "after"), "{}", ended.err);
}

#[test]
fn asleep_in_a_wait() {
    // A busy machine may need longer to stop it than it sleeps; then it is to sleep for longer.
    for time in [1_500_000_000u64, 6_000_000_000, 24_000_000_000, 96_000_000_000] {
        let p = Place::new();
        let sleep = p.guest("sleep", &SLEEP.replace("1500000000", &time.to_string()));
        let mut job = p.command(&["run", "--name", "job", &sleep]).spawn().unwrap();
        p.wait_for("it to answer, or to end", || {
            p.dormouse(&["checkpoint", "job"]).code == Some(0) || job.try_wait().unwrap().is_some()
        });
        let stopped = stop_in(&p, "poll_oneoff");
        let ended = Ended::wait(job);
        if !stopped {
            assert_eq!((ended.code, ended.out.as_str()), (Some(0), "awake\n"), "{}", ended.err);
            continue;
        }
        assert_eq!((ended.code, ended.out.as_str()), (Some(85), ""), "{}", ended.err);
        let left = p.json(&["inspect", "job", "--json"])["wasi"]["waiting"]["left_ns"].as_u64();
        assert!((1..time).contains(&left.unwrap()), "{left:?}");
        assert_eq!(p.ok(&["resume", "job"]), "awake\n");
        return;
    }
    panic!("it was never stopped while it slept");
}

#[test]
fn one_live_copy_unless_cloned() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let mut job = p.start("only", &[&copy]);
    p.ok(&["checkpoint", "only"]);
    for args in
        [vec!["run", "--name", "only", &copy], vec!["resume", "only"], vec!["resume", "only@1"]]
    {
        let refused = p.dormouse(&args);
        assert_eq!(refused.code, Some(125));
        let expected = format!("job only is running already (process {});", job.id());
        assert!(refused.error().starts_with(&expected), "{}", refused.err);
    }
    let rehearsed = p.dormouse(&["resume", "only", "--dry-run"]);
    assert!(rehearsed.error().starts_with("job only is running already"), "{}", rehearsed.err);
    let clone = p.dormouse(&["resume", "only", "--clone", "other"]);
    assert_eq!((clone.code, clone.out.as_str()), (Some(9), ""), "{}", clone.err);
    assert!(p.dormouse(&["resume", "only", "--clone", "only"]).error().contains("another name"));

    assert_eq!(p.dormouse(&["kill", "only"]).code, Some(0));
    drop(job.stdin.take());
    assert_eq!(Ended::wait(job).code, Some(137));
}

#[test]
fn a_failed_write_harms_nothing() {
    let p = Place::new();
    let bulky = p.guest("bulky", &bulky());
    let expected = p.ok(&["run", &bulky]);
    let job = p.start("big", &[&bulky]);
    p.wait_answering("big");
    // It fills its memory.
    std::thread::sleep(std::time::Duration::from_millis(200));
    p.ok(&["checkpoint", "big", "--stop"]);
    assert_eq!(Ended::wait(job).code, Some(85));

    // No file may become larger than this, so the memory cannot be written.
    let dormouse = env!("CARGO_BIN_EXE_dormouse");
    let script = format!(
        "trap '' XFSZ; ulimit -f 200; exec {dormouse} run --name other --every 300ms {bulky}"
    );
    let settings = p.command(&[]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", &script]).current_dir(p.dir.path()).stdin(Stdio::null());
    limited.envs(settings.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let ended = Ended::of(limited.output().unwrap());
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
    assert!(ended.err.contains("warning: no checkpoint: "), "{}", ended.err);
    assert!(ended.err.contains("the program goes on"), "{}", ended.err);
    p.ok(&["verify"]);
    assert_eq!(p.ok(&["resume", "big@1"]), expected);
}

/// All that the first checkpoint has is not written again, by the process that wrote it or by one that goes on from it;
/// and every checkpoint can be resumed.
#[test]
fn only_what_changed_is_written() {
    let p = Place::new();
    let bulky = p.guest("bulky", &bulky());
    let expected = p.ok(&["run", &bulky]);
    let size = || {
        let blobs = std::fs::read_dir(p.store().join("blobs/sha256")).unwrap();
        blobs.map(|e| e.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let mut job = p.start("big", &["--max-layers", "2", &bulky]);
    p.wait_answering("big");
    // It fills its memory.
    std::thread::sleep(std::time::Duration::from_millis(200));
    p.ok(&["checkpoint", "big"]);
    let first = size();
    assert!(first > 1 << 20, "{first}");
    for n in 2..8 {
        let stop: &[&str] = if n % 3 == 0 { &["--stop"] } else { &[] };
        p.ok(&[&["checkpoint", "big"], stop].concat());
        if n % 3 == 0 {
            assert_eq!(Ended::wait(job).code, Some(85));
            job = p.command(&["resume", "big"]).spawn().unwrap();
            p.wait_answering("big");
        }
    }
    job.kill().unwrap();
    job.wait().unwrap();
    assert!(
        size() < first + first / 4,
        "{} bytes after one checkpoint, {} after seven",
        first,
        size()
    );
    p.ok(&["verify"]);
    for n in [1, 2, 4, 7] {
        assert_eq!(p.ok(&["resume", &format!("big@{n}")]), expected);
    }
}

/// Written by a process that has no secret, read with the identity only; a resumed job's checkpoints are sealed in the same way.
#[cfg(feature = "encryption")]
#[test]
fn sealed_checkpoints() {
    use age::secrecy::ExposeSecret;
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let identity = age::x25519::Identity::generate();
    let keys = p.dir.path().join("key.txt");
    std::fs::write(&keys, identity.to_string().expose_secret()).unwrap();
    let keys = keys.to_str().unwrap();
    let recipient = identity.to_public().to_string();
    let job = p.start("sim", &["--encrypt-to", &recipient, "--encrypt-module", &spin]);
    p.ok(&["checkpoint", "sim"]);
    p.ok(&["checkpoint", "sim", "--stop"]);
    assert_eq!(Ended::wait(job).code, Some(85));

    let refused = p.dormouse(&["resume", "sim"]);
    assert_eq!(refused.code, Some(125));
    assert!(
        refused.error().starts_with("checkpoint sim@2: state is encrypted; give an identity"),
        "{}",
        refused.err
    );
    assert!(p.dormouse(&["inspect", "sim"]).error().contains("--identity FILE"));
    assert!(p.ok(&["verify"]).contains("2 of them are encrypted"));
    assert_eq!(p.ok(&["verify", "--identity", keys]), "2 of 2 checkpoints are good\n");
    p.ok(&["inspect", "sim", "--identity", keys]);
    p.ok(&["resume", "sim@1", "--identity", keys, "--dry-run"]);

    let mut resumed = p.command(&["resume", "sim"]);
    let resumed = resumed.env("DORMOUSE_IDENTITY", keys).spawn().unwrap();
    p.wait_answering("sim");
    p.ok(&["checkpoint", "sim"]);
    assert_eq!(Ended::wait(resumed).out, expected);
    assert!(p.dormouse(&["resume", "sim@3"]).error().contains("sim@3: state is encrypted"));
    assert_eq!(p.ok(&["resume", "sim@3", "--identity", keys]), expected);
    let bad = p.dormouse(&["run", "--encrypt-to", "age1x", &spin]);
    assert!(bad.error().contains("\"age1x\" is not a recipient"), "{}", bad.err);
}

/// What a checkpoint would build on is gone, while the program runs: the next one has everything.
#[test]
fn without_its_parent() {
    let p = Place::new();
    let bulky = p.guest("bulky", &bulky());
    let expected = p.ok(&["run", &bulky]);
    let job = p.start("big", &[&bulky]);
    p.wait_answering("big");
    // It fills its memory.
    std::thread::sleep(std::time::Duration::from_millis(200));
    p.ok(&["checkpoint", "big"]);
    for blob in std::fs::read_dir(p.store().join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        if std::fs::read(&path).unwrap().starts_with(b"DMPAGES") {
            std::fs::remove_file(path).unwrap();
        }
    }
    p.ok(&["checkpoint", "big"]);
    p.ok(&["checkpoint", "big", "--stop"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    // All three: the memory has not changed much since, so what was gone is there again.
    for n in 1..4 {
        assert_eq!(p.ok(&["resume", &format!("big@{n}")]), expected);
    }
}

#[cfg(feature = "fault")]
#[test]
fn a_full_disk_harms_nothing() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let job = p.start("sim", &[&spin]);
    p.ok(&["checkpoint", "sim", "--stop"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    for step in 1..40 {
        let mut command = p.command(&["resume", "sim@1", "--every", "100ms"]);
        command.env("DORMOUSE_FAULT", format!("enospc@{step}"));
        let ended = Ended::of(command.output().unwrap());
        assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{step}: {}", ended.err);
        p.ok(&["verify"]);
    }
}

#[test]
fn damage_is_told_and_passed_over() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let job = p.start("sim", &[&spin]);
    p.ok(&["checkpoint", "sim"]);
    p.ok(&["checkpoint", "sim", "--stop"]);
    Ended::wait(job);
    let newest = p.json(&["list", "sim", "--json"])[1]["digest"].as_str().unwrap().to_owned();
    flip_a_bit(&p.store().join("blobs/sha256").join(newest.strip_prefix("sha256:").unwrap()));

    let resumed = p.dormouse(&["resume", "sim"]);
    assert_eq!((resumed.code, &resumed.out), (Some(0), &expected), "{}", resumed.err);
    assert!(resumed.err.contains("warning: checkpoint sim@2: manifest"), "{}", resumed.err);
    assert!(
        resumed.err.contains("going on from sim@1, the newest that is good"),
        "{}",
        resumed.err
    );
    let refused = p.dormouse(&["resume", "sim@2"]);
    assert_eq!(refused.code, Some(125));
    assert!(refused.error().contains("sim@2: manifest"), "{}", refused.err);
    assert_eq!(p.dormouse(&["verify"]).code, Some(1));
}

#[test]
fn a_checkpoint_whose_files_are_gone_is_told() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let job = p.start("sim", &["--dir", ".", &spin]);
    p.ok(&["checkpoint", "sim"]);
    p.ok(&["checkpoint", "sim", "--stop"]);
    Ended::wait(job);
    let warning = "warning: the files are not put back to what they were at sim@2: the job went on from an earlier";
    for (from, told) in [("sim@2", false), ("sim@1", false), ("sim@2", true), ("sim@2", false)] {
        let resumed = p.dormouse(&["resume", from]);
        assert_eq!((resumed.code, &resumed.out), (Some(0), &expected), "{}", resumed.err);
        assert_eq!(resumed.err.contains(warning), told, "{from}: {}", resumed.err);
    }
}

#[test]
fn files_and_directories_move() {
    let p = Place::new();
    for dir in ["here", "there"] {
        std::fs::create_dir(p.path(dir)).unwrap();
    }
    let demo = include_str!("../src/demo.wat").replace("i32.const 12000", "i32.const 400");
    let demo = p.guest("demo", &demo);
    let expected = p.ok(&["run", "--dir", "here::/out", &demo]);
    let whole = std::fs::read_to_string(p.path("here/progress.txt")).unwrap();
    let job = p.start("files", &["--dir", "here::/out", &demo]);
    p.ok(&["checkpoint", "files", "--stop"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    std::fs::rename(p.path("here/progress.txt"), p.path("there/progress.txt")).unwrap();

    let missing = p.dormouse(&["resume", "files"]);
    assert_eq!(missing.code, Some(125));
    assert!(missing.error().contains("cannot open \"/out/progress.txt\""), "{}", missing.err);
    let rehearsed = p.dormouse(&["resume", "files", "--dry-run"]);
    assert_eq!((rehearsed.code, rehearsed.error()), (Some(125), missing.error()));
    let problem = p.dormouse(&["resume", "files", "--dry-run", "--json"]);
    assert_eq!((problem.code, problem.err.as_str()), (Some(125), ""));
    assert!(problem.out.contains("\"can_resume\": false"), "{}", problem.out);
    let unknown = p.dormouse(&["resume", "files", "--dir", "there::/elsewhere"]);
    assert!(unknown.error().contains("/elsewhere"), "{}", unknown.err);
    for dirs in [&["--no-recorded-dirs"][..], &["--no-recorded-dirs", "--dir", "there::/elsewhere"]]
    {
        let refused = p.dormouse(&[&["resume", "files"], dirs].concat());
        assert_eq!(refused.code, Some(125), "{}", refused.err);
        assert!(refused.error().contains("/out"), "{}", refused.err);
    }
    let given =
        ["resume", "files", "--no-recorded-dirs", "--dir", "there::/out", "--clone", "given"];
    assert_eq!(p.ok(&given), expected);
    assert_eq!(std::fs::read_to_string(p.path("there/progress.txt")).unwrap(), whole);
    assert_eq!(p.ok(&["resume", "files", "--dir", "there::/out"]), expected);
    assert_eq!(std::fs::read_to_string(p.path("there/progress.txt")).unwrap(), whole);
}

#[test]
fn a_rehearsal_changes_nothing() {
    let p = Place::new();
    std::fs::create_dir(p.path("out")).unwrap();
    let demo = include_str!("../src/demo.wat").replace("i32.const 12000", "i32.const 400");
    let demo = p.guest("demo", &demo);
    let job = p.start("files", &["--dir", "out::/out", &demo]);
    p.ok(&["checkpoint", "files", "--stop"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    let file = p.path("out/progress.txt");
    let then = std::fs::read(&file).unwrap();
    let rehearse = ["resume", "files", "--dry-run"];
    let here = std::fs::canonicalize(p.path("out")).unwrap();
    let all_well =
        format!("files@1 can go on here\n  memory   1.0 MiB\n  /out   is {}\n", here.display());
    assert_eq!(p.ok(&rehearse), all_well);

    // Somebody wrote more: that would be cut off, but not now.
    let longer = [&then[..], b"more"].concat();
    std::fs::write(&file, &longer).unwrap();
    let size = then.len();
    let cut = format!("  fd 4, /out/progress.txt: will be cut from {} to {size} bytes\n", size + 4);
    assert_eq!(p.ok(&rehearse), all_well.clone() + &cut);
    assert_eq!(std::fs::read(&file).unwrap(), longer);
    let json = p.json(&["resume", "files", "--dry-run", "--json"]);
    assert_eq!(json["files_cut"][0]["size"], size);

    // What the program itself does later is in the log.
    p.ok(&["resume", "files"]);
    let done = std::fs::read(&file).unwrap();
    let back = "  files the program changed after the checkpoint will be put back\n";
    assert_eq!(p.ok(&rehearse), all_well + back);
    assert_eq!(std::fs::read(&file).unwrap(), done);
    assert_eq!(p.json(&["ps", "--json"]).as_array().unwrap().len(), 0);
}

#[test]
fn chaos_changes_nothing() {
    let p = Place::new();
    let spin = p.guest("spin", &spin_with("(i64.const 300)", ""));
    let expected = p.ok(&["run", &spin]);
    for chaos in [vec!["--chaos", "1"], vec!["--chaos", "50", "--seed", "7"]] {
        let ended = p.dormouse(&[&["run"], &chaos[..], &[&spin]].concat());
        assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
        assert!(ended.err.contains("chaos: "), "{}", ended.err);
    }
}

#[test]
fn the_demo_arrives() {
    let p = Place::new();
    let told = p.ok(&["demo"]);
    assert!(told.contains("Killed with SIGKILL"), "{told}");
    assert!(told.contains("The same checksum"), "{told}");
}
