//! What checkpoints cost, and how often they are taken, through the real binary.
#![allow(missing_docs)]

mod harness;

use harness::*;
use serde_json::Value;
use std::io::Write;

fn records(p: &Place, job: &str) -> Vec<Value> {
    p.json(&["stats", job, "--json"])["records"].as_array().unwrap().clone()
}

fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("{field} in {value}"))
}

fn shown(p: &Place, job: &str) -> Value {
    let jobs = p.json(&["ps", "--json"]);
    jobs.as_array().unwrap().iter().find(|j| j["job"] == job).unwrap().clone()
}

#[test]
fn each_checkpoint_has_a_record() {
    let p = Place::new();
    let bulky = p.guest("bulky", &bulky());
    std::fs::write(p.path("mine.jsonl"), "what was there\n").unwrap();
    let job = p.start("sim", &["--stats", "mine.jsonl", &bulky]);
    // What it fills its memory with takes a while.
    p.wait_for("a megabyte", || {
        p.ok(&["checkpoint", "sim"]);
        number(&records(&p, "sim")[0], "pages") >= 256.0
            || records(&p, "sim").iter().map(|r| number(r, "pages")).sum::<f64>() >= 256.0
    });
    // Who was answered finds the record of it: also while it runs.
    let before = records(&p, "sim").len();
    p.ok(&["checkpoint", "sim"]);
    let all = records(&p, "sim");
    assert_eq!(all.len(), before + 1);
    for (at, record) in all.iter().enumerate() {
        assert_eq!((&record["v"], &record["job"]), (&1.into(), &"sim".into()));
        assert_eq!((&record["number"], &record["why"]), (&(at + 1).into(), &"asked".into()));
        assert_eq!((&record["error"], &record["interval"]), (&Value::Null, &Value::Null));
        assert_eq!(number(record, "bytes"), number(record, "pages") * 4096.0);
        assert!(number(record, "pause") > 0.0 && number(record, "stored") > 0.0, "{record}");
        assert!(number(record, "write") > 0.0, "{record}");
        assert!(number(record, "latency") >= number(record, "write"), "{record}");
        assert!(number(record, "cost") >= number(record, "pause"), "{record}");
        assert!((0.0..=1.0).contains(&number(record, "overhead")), "{record}");
        assert!(!record["tracking"].as_str().unwrap().is_empty(), "{record}");
    }
    let sum = |field| all.iter().map(|r| number(r, field)).sum::<f64>();
    assert!(sum("stored") > 1e6, "what it filled its memory with cannot be compressed");
    let last = all.last().unwrap();
    assert!(
        number(last, "pages") < 16.0 && number(last, "stored") < 1e5,
        "only what changed: {last}"
    );

    p.ok(&["checkpoint", "--stop", "sim"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    let report = p.json(&["stats", "sim", "--json"]);
    let summary = &report["summary"];
    assert_eq!(summary["checkpoints"], before + 2);
    assert_eq!(
        number(summary, "bytes"),
        sum("bytes") + number(&report["records"][before + 1], "bytes")
    );
    assert!(number(summary, "pause_p50") <= number(summary, "pause_p99"));
    assert!(number(summary, "pause_p99") <= number(summary, "pause_max"));
    assert_eq!(
        p.json(&["stats", "sim", "--json", "--last", "1"])["records"].as_array().unwrap().len(),
        1
    );

    let table = p.ok(&["stats", "sim"]);
    assert!(table.starts_with("N  "), "{table}");
    assert!(table.contains(&format!("{} checkpoints of sim: pause p50 ", before + 2)), "{table}");
    assert_eq!(table.lines().count(), before + 2 + 3);
    assert!(table.lines().last().unwrap().starts_with("changed pages are found by "), "{table}");
    assert!(table.lines().take(before + 3).all(|line| line.chars().count() <= 100), "{table}");

    // The file that was named has the same lines, after what was there.
    let own = std::fs::read_to_string(p.path("store/stats/sim.jsonl")).unwrap();
    let mine = std::fs::read_to_string(p.path("mine.jsonl")).unwrap();
    assert_eq!(mine, format!("what was there\n{own}"));

    // A resumed job's follow.
    let job = p.command(&["resume", "sim"]).spawn().unwrap();
    p.wait_answering("sim");
    p.ok(&["checkpoint", "sim"]);
    p.ok(&["kill", "sim"]);
    Ended::wait(job);
    assert_eq!(records(&p, "sim").last().unwrap()["number"], before + 3);
}

#[test]
fn what_fails_and_what_is_damaged() {
    let p = Place::new();
    std::fs::create_dir(p.path("out")).unwrap();
    let demo = p.guest("demo", include_str!("../src/demo.wat"));
    let job = p.start("lost", &["--dir", "out", &demo]);
    p.wait_for("the file", || p.path("out/progress.txt").exists());
    p.ok(&["checkpoint", "lost"]);
    std::fs::remove_file(p.path("out/progress.txt")).unwrap();
    assert_eq!(p.dormouse(&["checkpoint", "lost"]).code, Some(125));
    let failed = records(&p, "lost").remove(1);
    assert_eq!((&failed["number"], &failed["stored"]), (&Value::Null, &0.into()));
    assert!(failed["error"].as_str().unwrap().contains("was deleted"), "{failed}");
    let text = p.ok(&["stats", "lost"]);
    assert!(
        text.contains("\nfailed") && text.contains("1 checkpoint (1 failed) of lost"),
        "{text}"
    );
    assert!(text.lines().last().unwrap().contains("was deleted"), "{text}");
    p.ok(&["kill", "lost"]);
    Ended::wait(job);

    let path = p.path("store/stats/lost.jsonl");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"v\":1,\"jo").unwrap();
    let told = p.dormouse(&["stats", "lost"]);
    assert_eq!(told.code, Some(0));
    assert!(
        told.err.starts_with("warning: 1 line of the job's statistics cannot be read"),
        "{}",
        told.err
    );
    assert_eq!(p.json(&["stats", "lost", "--json"])["skipped"], 1);
    let job = p.command(&["resume", "lost@1", "--files", "none"]).spawn().unwrap();
    let _ = Ended::wait(job);

    for (args, said) in [
        (["stats", "nobody"], "there are no statistics of job nobody: "),
        (["stats", "../lost"], "\"../lost\" cannot be the name of a job;"),
    ] {
        let ended = p.dormouse(&args);
        assert_eq!(ended.code, Some(125));
        assert!(ended.error().starts_with(said), "{}", ended.err);
    }
    let exit = p.guest("exit", EXIT);
    let ended = p.dormouse(&["run", "--stats", "nowhere/x", &exit]);
    assert_eq!(ended.code, Some(125));
    assert!(
        ended.error().starts_with("cannot write the statistics (--stats) to nowhere/x: "),
        "{}",
        ended.err
    );
}

#[test]
fn statistics_go_with_the_job() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let stop = |job: &str| {
        let child = p.start(job, &[&copy]);
        p.ok(&["checkpoint", "--stop", job]);
        assert_eq!(Ended::wait(child).code, Some(85));
    };
    stop("one");
    stop("two");
    let file = |job: &str| p.path(&format!("store/stats/{job}.jsonl"));
    p.ok(&["rm", "one@1", "--dry-run"]);
    p.ok(&["gc"]);
    assert!(file("one").exists() && file("two").exists());
    p.ok(&["rm", "one", "--all"]);
    assert!(!file("one").exists() && file("two").exists());
    // Of a job that is no more, but for these.
    std::fs::copy(file("two"), file("gone")).unwrap();
    p.ok(&["gc", "--dry-run"]);
    assert!(file("gone").exists());
    let running = p.start("three", &[&copy]);
    p.ok(&["checkpoint", "three"]);
    p.ok(&["rm", "three@1", "--force"]);
    p.ok(&["gc"]);
    assert!(!file("gone").exists() && file("two").exists());
    assert!(file("three").exists(), "it has no checkpoint left, but runs");
    drop(running);
}

#[test]
fn the_interval_is_chosen_and_changes() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    // Failures every other second, and once in a hundred years.
    let mut often =
        p.start("often", &["--every", "auto", "--mtbf", "2s", "--max-overhead", "none", &copy]);
    let mut seldom = p.start(
        "seldom",
        &["--every", "auto", "--mtbf", "36500days", "--max-overhead", "none", &copy],
    );
    let interval = |job: &str| number(&shown(&p, job), "interval_ms");
    assert_eq!(shown(&p, "seldom")["every"], "auto");
    // For a cost of 100 ms, which is assumed: sqrt(2 * 0.1 * 3,153,600,000) seconds, nearly.
    let first = interval("seldom");
    assert!((first / 25_114_000.0 - 1.0).abs() < 0.001, "{first}");
    assert_eq!(interval("often"), 1000.0, "never more often than that");
    p.ok(&["checkpoint", "seldom"]);
    let cost = number(&records(&p, "seldom")[0], "cost");
    let second = interval("seldom");
    // It grows as the square root of what one cost, in microseconds.
    assert!(
        (second / first / (cost / 100_000.0).sqrt() - 1.0).abs() < 0.01,
        "{first} {second} {cost}"
    );
    let recorded = number(&records(&p, "seldom")[0], "interval") / 1000.0;
    assert!((recorded - second).abs() <= 1.0, "{recorded} {second}");
    let listed = &p.json(&["list", "seldom", "--json"])[0];
    assert_eq!((number(listed, "interval_ms") - second).abs() as u64, 0);
    assert_eq!(listed["pause_us"], records(&p, "seldom")[0]["pause"]);
    let text = p.ok(&["list", "seldom"]);
    assert!(text.contains("PAUSE") && text.contains("auto ("), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let text = p.ok(&["ps", "--long"]);
    assert!(text.contains("auto (") && text.contains("OVERHEAD") && text.contains('%'), "{text}");

    p.wait_for("three checkpoints", || p.checkpoints("often") >= 3);
    assert_eq!(p.checkpoints("seldom"), 1, "the one that was asked for");
    for child in [&mut often, &mut seldom] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_share_of_the_time_is_not_exceeded() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let mut free = p.start("free", &["--every", "20ms", &copy]);
    let mut bounded = p.start("bounded", &["--every", "20ms", "--max-overhead", "0.1%", &copy]);
    // It is in the store a little before it is in the books.
    p.wait_for("a first one", || number(&shown(&p, "bounded"), "checkpoints") >= 1.0);
    let every = shown(&p, "bounded");
    assert_eq!(every["every"], "20ms");
    assert!(number(&every, "interval_ms") > 20.0, "{every}");
    assert!(p.ok(&["ps", "--long"]).contains("20ms ("));
    let (before, since) = (p.checkpoints("bounded"), p.checkpoints("free"));
    p.wait_for("thirty more", || p.checkpoints("free") >= since + 30);
    let after = p.checkpoints("bounded");
    assert!(after - before <= 10, "{before} {after}");
    for child in [&mut free, &mut bounded] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn how_often_is_remembered() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let first = ["--every", "auto", "--mtbf", "2h", "--max-overhead", "5%", copy.as_str()];
    let job = p.start("sim", &first);
    p.ok(&["checkpoint", "--stop", "sim"]);
    Ended::wait(job);
    let resumed = |more: &[&str]| {
        let mut command = p.command(&["resume", "sim"]);
        let job = command.args(more).stdin(std::process::Stdio::piped()).spawn().unwrap();
        p.wait_answering("sim");
        let status = shown(&p, "sim");
        p.ok(&["checkpoint", "--stop", "sim"]);
        Ended::wait(job);
        let newest = p.json(&["list", "sim", "--json"]).as_array().unwrap().last().unwrap().clone();
        let said = |key: &str| newest["annotations"][format!("io.dormouse.{key}")].clone();
        (status, [said("every"), said("mtbf"), said("max-overhead")])
    };
    for _ in 0..2 {
        let (status, said) = resumed(&[]);
        assert_eq!(said, ["auto", "2h", "5%"]);
        assert_eq!(status["every"], "auto");
        // sqrt(2 * 0.1 * 7200), less the checkpoint, and what Daly adds.
        assert!((number(&status, "interval_ms") / 37_880.0 - 1.0).abs() < 0.001, "{status}");
    }
    let (status, said) = resumed(&["--every", "never"]);
    assert_eq!((&status["every"], &status["interval_ms"]), (&Value::Null, &Value::Null));
    assert_eq!(said, [Value::Null, "2h".into(), "5%".into()]);
    let (_, said) = resumed(&["--every", "auto", "--max-overhead", "none"]);
    assert_eq!(said, ["auto", "2h", "none"]);
    let ended = p.dormouse(&["run", "--every", "5m", "--mtbf", "1h", &p.guest("exit", EXIT)]);
    assert!(ended.err.contains("--mtbf is for --every auto"), "{}", ended.err);
}

#[test]
fn bad_usage_is_told() {
    let p = Place::new();
    let exit = p.guest("exit", EXIT);
    for (option, value, hint) in [
        ("--every", "often", "`auto`"),
        ("--mtbf", "7", "such as 30m, 6h or 7days"),
        ("--mtbf", "10ms", "at least 1s"),
        ("--max-overhead", "1", "such as 1% or 0.5%, or `none`"),
        ("--max-overhead", "0%", "more than 0%"),
        ("--max-overhead", "300%", "at most 100%"),
    ] {
        let ended = p.dormouse(&["run", option, value, &exit]);
        assert_eq!(ended.code, Some(2));
        assert!(ended.err.contains(hint), "{option} {value}: {}", ended.err);
    }
}
