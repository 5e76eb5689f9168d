//! Old checkpoints, through the real binary: rules of running jobs, `gc`, `rm`, and what `list` and
//! `verify` say.
#![allow(missing_docs)]

mod harness;

use harness::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
#[cfg(feature = "fault")]
use std::process::Stdio;

fn numbers(p: &Place, job: &str) -> Vec<u64> {
    let listed = p.dormouse(&["list", job, "--json"]);
    let found: Value = serde_json::from_str(&listed.out).unwrap_or_default();
    let rows = found.as_array().cloned().unwrap_or_default();
    rows.iter().map(|c| c["number"].as_u64().unwrap()).collect()
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            match entry.unwrap().path() {
                path if path.is_dir() => dirs.push(path),
                path => drop(all.insert(path.clone(), std::fs::read(path).unwrap())),
            }
        }
    }
    all
}

/// A job that was stopped, with this many checkpoints.
fn stopped(p: &Place, job: &str, checkpoints: usize) -> String {
    let spin = p.guest("spin", &spin());
    let child = p.start(job, &["--dir", ".", &spin]);
    for _ in 1..checkpoints {
        p.ok(&["checkpoint", job]);
    }
    p.ok(&["checkpoint", "--stop", job]);
    assert_eq!(Ended::wait(child).code, Some(85));
    assert_eq!(p.checkpoints(job), checkpoints);
    spin
}

fn blob(p: &Place, digest: &Value) -> PathBuf {
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    p.store().join("blobs/sha256").join(hex)
}

fn manifest(p: &Place, job: &str, number: u64) -> PathBuf {
    let listed = p.json(&["list", job, "--json"]);
    let mut rows = listed.as_array().unwrap().iter();
    blob(p, &rows.find(|c| c["number"] == number).unwrap()["digest"])
}

#[test]
fn a_running_job_keeps_to_its_rules_and_remembers_them() {
    let p = Place::new();
    // Long enough for all that is done to it.
    let spin = p.guest("spin", &spin_with("(i64.const 2400000000)", ""));
    let expected = p.ok(&["run", &spin]);
    let newest = |p: &Place| numbers(p, "sim").last().copied().unwrap_or(0);

    let job = p.start("sim", &["--every", "30ms", "--keep-last", "2", &spin]);
    p.wait_for("five checkpoints", || newest(&p) >= 5);
    // One may be durable, and not looked after yet.
    assert!(numbers(&p, "sim").len() <= 3);
    p.ok(&["checkpoint", "--stop", "sim"]);
    let ended = Ended::wait(job);
    assert_eq!(ended.code, Some(85), "{}", ended.err);
    assert!(!ended.err.contains("warning"), "{}", ended.err);
    let last = newest(&p);
    assert_eq!(numbers(&p, "sim"), [last - 1, last]);
    assert_eq!(p.ok(&["verify"]), "2 of 2 checkpoints are good\n", "nothing is left over");

    let job = p.command(&["resume", "sim", "--every", "30ms"]).spawn().unwrap();
    p.wait_for("three more", || newest(&p) >= last + 3);
    p.ok(&["checkpoint", "--stop", "sim"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    assert_eq!(numbers(&p, "sim").len(), 2, "the rule is remembered");

    let args = ["resume", "sim", "--keep-last", "none", "--every", "30ms"];
    let job = p.command(&args).spawn().unwrap();
    p.wait_for("two more", || numbers(&p, "sim").len() >= 4);
    p.ok(&["checkpoint", "--stop", "sim"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    assert!(numbers(&p, "sim").len() >= 5, "and can be taken back");
    assert_eq!(p.ok(&["resume", "sim", "--every", "never"]), expected);
}

#[test]
fn a_quota_that_cannot_be_kept_is_told_once() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let job = p.start("sim", &["--max-store", "1K", &spin]);
    for n in 1..=4 {
        p.ok(&["checkpoint", "sim"]);
        p.wait_for("the older ones to go", || numbers(&p, "sim") == [n]);
    }
    let ended = Ended::wait(job);
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
    assert_eq!(ended.err.matches("more than the 1024 of --max-store").count(), 1, "{}", ended.err);
    assert_eq!(p.ok(&["resume", "sim"]), expected);
}

#[test]
fn what_keeps_space_from_being_freed_is_told_once() {
    let p = Place::new();
    let spin = stopped(&p, "other", 2);
    flip_a_bit(&manifest(&p, "other", 1));
    let expected = p.ok(&["run", &spin]);
    let job = p.start("sim", &["--keep-last", "1", &spin]);
    for n in 1..=4 {
        p.ok(&["checkpoint", "sim"]);
        p.wait_for("the older ones to go", || numbers(&p, "sim") == [n]);
    }
    let ended = Ended::wait(job);
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
    assert_eq!(ended.err.matches("warning: ").count(), 1, "{}", ended.err);
    assert!(ended.err.contains("no space is freed as long as"), "{}", ended.err);
    assert!(ended.err.contains("checkpoint other@1: manifest"), "{}", ended.err);
}

/// Others are saving all the time: it is put off.
#[test]
fn a_store_that_is_busy_is_no_trouble() {
    let p = Place::new();
    stopped(&p, "other", 1);
    let copy = p.guest("copy", COPY);
    let mut job = p.start("sim", &["--keep-last", "1", &copy]);
    let saving = std::fs::File::open(p.store().join(".dormouse.lock")).unwrap();
    saving.lock_shared().unwrap();
    for _ in 0..3 {
        p.ok(&["checkpoint", "sim"]);
    }
    assert_eq!(numbers(&p, "sim"), [1, 2, 3]);
    saving.unlock().unwrap();
    p.ok(&["checkpoint", "sim"]);
    p.wait_for("the older ones to go", || numbers(&p, "sim") == [4]);
    drop(job.stdin.take());
    let ended = Ended::wait(job);
    assert_eq!(ended.code, Some(9));
    assert!(!ended.err.contains("warning"), "{}", ended.err);
}

/// The disk is full, or a file cannot be deleted, at each step of a save and a removal.
#[cfg(feature = "fault")]
#[test]
fn a_removal_that_fails_harms_nothing() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let mut told = 0;
    for step in 1..60 {
        let _ = std::fs::remove_dir_all(p.store());
        let job = p.start("sim", &[&copy]);
        p.ok(&["checkpoint", "sim"]);
        p.ok(&["checkpoint", "--stop", "sim"]);
        assert_eq!(Ended::wait(job).code, Some(85));
        let mut command = p.command(&["resume", "sim", "--keep-last", "1"]);
        command.env("DORMOUSE_FAULT", format!("enospc@{step}")).stdin(Stdio::piped());
        let mut job = command.spawn().unwrap();
        p.wait_answering("sim");
        let saved = p.dormouse(&["checkpoint", "sim"]).code == Some(0);
        drop(job.stdin.take());
        let ended = Ended::wait(job);
        assert_eq!(ended.code, Some(9), "{step}: {}", ended.err);
        let failed = ended.err.contains("warning: old checkpoints were not removed: cannot ");
        assert!(saved || !failed, "{step}: {}", ended.err);
        told += usize::from(failed);
        p.ok(&["verify"]);
        assert_eq!(p.dormouse(&["resume", "sim"]).code, Some(9));
        p.ok(&["gc", "--keep-last", "1"]);
        assert_eq!(p.ok(&["verify"]), "1 of 1 checkpoints are good\n");
    }
    assert!(told > 5, "{told}");
}

#[test]
fn the_newest_good_one_stays() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    stopped(&p, "sim", 4);
    let json: Value =
        serde_json::from_slice(&std::fs::read(manifest(&p, "sim", 4)).unwrap()).unwrap();
    flip_a_bit(&blob(&p, &json["config"]["digest"]));
    let out = p.ok(&["gc", "--keep-last", "1", "sim"]);
    assert!(out.starts_with("removed sim@1\nremoved sim@2\nfreed "), "{out}");
    assert_eq!(numbers(&p, "sim"), [3, 4]);
    assert_eq!(p.ok(&["resume", "sim"]), expected);
}

#[test]
fn damage_holds_up_and_is_told() {
    let p = Place::new();
    stopped(&p, "sim", 3);
    flip_a_bit(&manifest(&p, "sim", 2));
    let gc = p.dormouse(&["rm", "sim@1"]);
    assert_eq!(
        (gc.code, gc.out.as_str()),
        (Some(1), "removed sim@1\nfreed 0 B, 0 files: 1 checkpoint gone\n")
    );
    let expected =
        "warning: no file is deleted while nobody knows what is needed: checkpoint sim@2: manifest";
    assert!(gc.err.starts_with(expected), "{}", gc.err);
    assert!(gc.err.ends_with("`dormouse rm sim@2` removes it\n"), "{}", gc.err);
    assert!(p.ok(&["list", "sim"]).contains("damaged"));
    let out = p.ok(&["rm", "sim@2"]);
    assert!(out.starts_with("removed sim@2\nfreed "), "{out}");
    assert_eq!(p.ok(&["verify"]), "1 of 1 checkpoints are good\n");

    let list = p.store().join("index.json");
    flip_a_bit(&list);
    for (args, advice) in [
        (vec!["gc", "--dry-run"], "it will be mended"),
        (vec!["gc"], "it is mended now: look at `dormouse list`, then run `dormouse gc` again"),
    ] {
        let gc = p.dormouse(&args);
        assert_eq!(gc.code, Some(1), "{}", gc.err);
        assert!(gc.err.contains("index (index.json)") && gc.err.contains(advice), "{}", gc.err);
    }
    assert_eq!(p.ok(&["gc"]), "freed 0 B, 0 files: no checkpoint goes\n");
}

#[test]
fn removing_by_name() {
    let p = Place::new();
    let spin = stopped(&p, "sim", 3);
    stopped(&p, "other", 1);
    let refused = |args: &[&str], expected: &str| {
        let ended = p.dormouse(args);
        assert_eq!(ended.code, Some(125), "{}", ended.err);
        assert!(ended.error().starts_with(expected), "{}", ended.err);
    };
    refused(&["rm", "sim"], "sim means all of the job's 3 checkpoints; add --all to remove them,");
    refused(&["rm", "none", "--all"], "the store has no checkpoint of job none;");
    refused(&["rm", "sim@1", "sim@9"], "the store has no checkpoint sim@9;");
    assert_eq!(numbers(&p, "sim"), [1, 2, 3]);
    p.ok(&["rm", "sim@2"]);
    assert_eq!(numbers(&p, "sim"), [1, 3]);

    let job = p.start("busy", &[&spin]);
    p.ok(&["checkpoint", "busy"]);
    let why = format!("job busy is running (process {}); end it first, with", job.id());
    refused(&["rm", "busy", "--all"], &why);
    refused(&["rm", "sim@1", "busy@1"], &why);
    p.ok(&["rm", "busy", "--all", "--force"]);
    assert_eq!(p.checkpoints("busy"), 0);
    assert_eq!(p.json(&["checkpoint", "busy", "--json"])["name"], "busy@2", "numbers go on");
    p.ok(&["kill", "busy"]);
    assert_eq!(Ended::wait(job).code, Some(137));

    assert!(p.store().join("undo/sim").exists());
    let out = p.json(&["rm", "sim", "other@1", "busy", "--all", "--json"]);
    assert_eq!(out["removed"], serde_json::json!(["busy@2", "other@1", "sim@1", "sim@3"]));
    assert!(!p.store().join("undo/sim").exists());
    assert_eq!(std::fs::read_dir(p.store().join("blobs/sha256")).unwrap().count(), 0);
    let again = p.start("sim", &[&spin]);
    assert_eq!(p.json(&["checkpoint", "--stop", "sim", "--json"])["name"], "sim@4");
    Ended::wait(again);
}

#[test]
fn a_dry_run_changes_nothing() {
    let p = Place::new();
    stopped(&p, "sim", 3);
    std::fs::write(p.store().join("blobs/sha256/.tmp-1-1"), "left").unwrap();
    let before = files(&p.store());
    let foreseen = p.json(&["gc", "--keep-last", "1", "--dry-run", "--json"]);
    let text = p.ok(&["gc", "--keep-last", "1", "--dry-run"]);
    assert!(text.starts_with("would remove sim@1\nwould remove sim@2\nwould free "), "{text}");
    p.ok(&["rm", "--dry-run", "sim", "--all"]);
    assert!(files(&p.store()) == before);
    let mut done = p.json(&["gc", "--keep-last", "1", "--json"]);
    assert_eq!((&done["dry_run"], &foreseen["dry_run"]), (&false.into(), &true.into()));
    done["dry_run"] = true.into();
    assert_eq!(done, foreseen);
    assert_eq!(numbers(&p, "sim"), [3]);
}

#[test]
fn sizes_add_up() {
    let p = Place::new();
    stopped(&p, "sim", 3);
    std::fs::write(p.store().join("blobs/sha256").join("ab".repeat(32)), [0; 3000]).unwrap();
    let all = p.json(&["list", "--json"]);
    assert_eq!(all["store"]["checkpoints"], 3);
    assert_eq!(all["store"]["unreferenced"], 3000);
    assert_eq!(all["store"]["total"], all["jobs"][0]["total"]);
    let rows = p.json(&["list", "sim", "--json"]);
    for row in rows.as_array().unwrap() {
        let bytes = |key: &str| row[key].as_u64().unwrap();
        assert_eq!(bytes("own") + bytes("shared"), bytes("total"));
        assert!(bytes("own") > 0 && bytes("shared") >= bytes("module_size"), "{row}");
    }
    let text = p.ok(&["list"]);
    assert!(text.contains("3 checkpoints of 1 job take "), "{text}");
    assert!(text.ends_with("2.9 KiB that nothing needs; `dormouse gc` deletes it\n"), "{text}");
    let text = format!("{}{}", p.ok(&["list", "sim"]), text);
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    let verify = p.ok(&["verify"]);
    let expected = "1 file, 2.9 KiB, that nothing needs (left by saves or pulls cut short; harmless)\n\
                    `dormouse gc` deletes";
    assert!(verify.contains(expected), "{verify}");
    assert_eq!(p.json(&["verify", "--json"])["unreferenced_bytes"], 3000);
    assert_eq!(p.ok(&["gc"]), "freed 2.9 KiB, 1 file: no checkpoint goes\n");
}

#[test]
fn bad_rules() {
    let p = Place::new();
    for (args, hint) in [
        (vec!["gc", "--keep-last", "0"], "a number from 1, or `none`"),
        (vec!["gc", "--keep-hourly", "many"], "a number from 1, or `none`"),
        (vec!["gc", "--keep-within", "2"], "such as 12h, 2d or 1w, or `none`"),
        (vec!["gc", "--keep-within=-2d"], "such as 12h, 2d or 1w, or `none`"),
        (vec!["gc", "--keep-within", "2months"], "such as 12h, 2d or 1w, or `none`"),
        (vec!["gc", "--max-store", "lots"], "K, M, G or T, such as 64M, or `none`"),
        (vec!["gc", "sim"], "--keep-last"),
        (vec!["rm"], "TARGET"),
        (vec!["rm", "sim@0"], "JOB@N"),
    ] {
        let ended = p.dormouse(&args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(hint), "{args:?}: {}", ended.err);
    }
}
