//! What is said about bad input: one line, with what to do, and the documented exit status.
#![allow(missing_docs)]

mod harness;

use harness::*;

/// Fails with 125 and this line; `...` stands for anything.
fn refused(p: &Place, args: &[&str], pattern: &str) {
    let ended = p.dormouse(args);
    assert_eq!(ended.code, Some(125), "{args:?}: {}", ended.err);
    let line = ended.error().to_owned();
    let mut rest = line.as_str();
    for (i, part) in pattern.split("...").enumerate() {
        let at = rest.find(part).unwrap_or_else(|| panic!("{args:?}\n  {line}\n  {pattern}"));
        assert!(i > 0 || at == 0, "{args:?}\n  {line}\n  {pattern}");
        rest = &rest[at + part.len()..];
    }
    assert!(rest.is_empty() || pattern.ends_with("..."), "{args:?}\n  {line}\n  {pattern}");
}

#[test]
fn a_cache_that_cannot_be_used_is_told() {
    let p = Place::new();
    let exit = p.guest("exit", EXIT);
    std::fs::write(p.path("file"), "").unwrap();
    let ended = p.dormouse(&["run", "--cache", "file", &exit]);
    assert!(ended.err.contains("warning: compiled code is not kept in file: "), "{}", ended.err);
}

#[test]
fn bad_modules() {
    let p = Place::new();
    let exit = p.guest("exit", EXIT);
    let module = std::fs::read(&exit).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(p.path(name), bytes).unwrap();
    write("text.wasm", b"hello, world");
    write("empty.wasm", b"");
    write("cut.wasm", &module[..module.len() - 3]);
    write("bad.wat", b"(module (func (result i32)");
    write("component.wasm", b"\0asm\x0d\0\x01\0");
    p.guest("invalid", "(module (func (export \"_start\") (drop (i32.const 0))))");
    let mut invalid = std::fs::read(p.path("invalid.wasm")).unwrap();
    let drop = invalid.iter().rposition(|b| *b == 0x1a).unwrap();
    invalid[drop] = 0x01;
    write("invalid.wasm", &invalid);
    p.guest("import", r#"(module (import "env" "magic" (func)) (func (export "_start")))"#);
    p.guest("memory", r#"(module (import "env" "memory" (memory 1)) (func (export "_start")))"#);
    p.guest("library", r#"(module (func (export "run")))"#);
    let odd = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i64))) (func (export "_start")))"#;
    p.guest("odd", odd);
    p.guest("threads", r#"(module (memory 1 1 shared) (func (export "_start")))"#);

    refused(&p, &["run", "none.wasm"], "cannot read the module none.wasm: No such file...");
    refused(&p, &["run", "text.wasm"], "not a WebAssembly module:...give a binary .wasm file...");
    refused(&p, &["run", "empty.wasm"], "not a WebAssembly module:...");
    refused(&p, &["run", "cut.wasm"], "invalid WebAssembly module:...may be damaged or truncated");
    refused(
        &p,
        &["run", "invalid.wasm"],
        "invalid WebAssembly module:...may be damaged or truncated",
    );
    refused(&p, &["run", "bad.wat"], "cannot assemble bad.wat:...");
    refused(&p, &["run", "component.wasm"], "this is a WebAssembly component,...");
    refused(
        &p,
        &["run", "import.wasm"],
        "the module imports `env.magic`, which nobody provides;...",
    );
    refused(&p, &["run", "memory.wasm"], "the module imports the memory `env` `memory`;...");
    refused(&p, &["run", "library.wasm"], "the module has no `_start` function...");
    refused(
        &p,
        &["run", "odd.wasm"],
        "the module imports `wasi_snapshot_preview1.fd_write` with another type...",
    );
    refused(&p, &["run", "threads.wasm"], "the module uses the WebAssembly feature threads...");
    assert_eq!(p.dormouse(&["run", &exit]).code, Some(42));
}

#[test]
fn bad_stores_and_names() {
    let p = Place::new();
    let exit = p.guest("exit", EXIT);
    refused(&p, &["list"], "there is no store at...");
    refused(&p, &["resume", "sim"], "there is no store at...");
    refused(
        &p,
        &["run", "--store", &exit, &exit],
        "...exit.wasm is not a dormouse store and not empty;...",
    );
    refused(&p, &["run", "--store", ".", &exit], ". is not a dormouse store and not empty;...");
    refused(&p, &["list", "--store", "."], ". is not a dormouse store and not empty;...");
    refused(&p, &["run", "--name", "a/b", &exit], "\"a/b\" cannot be the name of a job;...");
    refused(
        &p,
        &["run", "--dir", "nowhere", &exit],
        "cannot open directory...nowhere for the guest's \"nowhere\"...name another with --dir...",
    );
    assert_eq!(p.dormouse(&["run", &exit]).code, Some(42));
    refused(&p, &["resume", "sim"], "the store has no checkpoint of job sim;...");
    refused(&p, &["list", "sim"], "the store has no checkpoint of job sim;...");
    refused(&p, &["inspect", "sim@2"], "the store has no checkpoint of job sim;...");
    refused(&p, &["checkpoint", "sim"], "job sim is not running;...");
    refused(&p, &["kill", "sim"], "job sim is not running;...");

    let copy = p.guest("copy", COPY);
    let job = p.start("sim", &[&copy]);
    p.ok(&["checkpoint", "--stop", "sim"]);
    Ended::wait(job);
    refused(
        &p,
        &["resume", "sim@2"],
        "the store has no checkpoint sim@2;...`dormouse list sim` shows...",
    );
    refused(&p, &["inspect", "sim@2"], "the store has no checkpoint sim@2;...");
    refused(&p, &["resume", "sim", "--dir", ".::/x"], "the program has no directory \"/x\"...");
    refused(
        &p,
        &["resume", "sim", "--module", &exit],
        "the checkpoint is of another module (SHA-256...give the module it was taken from",
    );
    let same = p.dormouse(&["resume", "sim", "--module", &copy]);
    assert_eq!(same.code, Some(9), "{}", same.err);
    refused(&p, &["resume", "sim", "--clone", "a b"], "\"a b\" cannot be the name of a job;...");
}

#[test]
fn bad_usage() {
    let p = Place::new();
    let exit = p.guest("exit", EXIT);
    for (args, hint) in [
        (vec!["run"], "PROGRAM"),
        (vec!["dance"], "unrecognized subcommand"),
        (vec!["run", "--every", "5", &exit], "such as 500ms, 30s, 5m or 1h"),
        (vec!["run", "--every", "0s", &exit], "at least 1ms"),
        (vec!["run", "--stack", "big", &exit], "such as 64M"),
        (vec!["run", "--dir", "::x", &exit], "HOST::GUEST"),
        (vec!["run", "--chaos", "0", &exit], "--chaos"),
        (vec!["run", "--seed", "1", &exit], "--chaos"),
        (vec!["run", "--chaos", "1", "--every", "1s", &exit], "cannot be used with"),
        (vec!["run", "--chaos", "1", "--tier-up", &exit], "cannot be used with"),
        (vec!["run", "--stop-at", "1", "--tier-up", &exit], "cannot be used with"),
        (vec!["resume", "--lazy", "--tier-up", "job"], "cannot be used with"),
        (vec!["run", "--identity", "keys", &exit], "--resume-if-any"),
        (vec!["run", "--stop-at", "1", "--timeout", "1h", &exit], "'--timeout <DURATION>'"),
        (
            vec!["resume", "--stop-at", "1", "--stop-after", "1h", "job"],
            "'--stop-after <DURATION>'",
        ),
        (vec!["resume", "sim@x"], "JOB@N"),
        (vec!["resume", "@1"], "JOB@N"),
        (vec!["debug", "job", "--until", "safepoint"], "write safepoint=K, with a number"),
        (vec!["debug", "job", "--until", ""], "write trap, safepoint=K, or the name of a function"),
        (vec!["debug", "job", "--max-copy", "much"], "--max-copy"),
        (vec!["resume", "--dry-run", "--until", "trap", "job"], "cannot be used with"),
    ] {
        let ended = p.dormouse(&args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(hint), "{args:?}: {}", ended.err);
    }
    assert!(p.ok(&["help"]).contains("85     checkpointed and stopped"));
}

#[test]
fn ends() {
    let p = Place::new();
    assert_eq!(p.dormouse(&["run", &p.guest("exit", EXIT)]).code, Some(42));
    let trap = p.dormouse(&["run", &p.guest("trap", TRAP)]);
    assert_eq!(trap.code, Some(134));
    let first = trap.err.lines().next().unwrap();
    assert!(first.starts_with("error: the program trapped: "), "{}", trap.err);
    assert!(first.contains("integer divide by zero"), "{}", trap.err);
    let places: Vec<&str> = trap.err.lines().skip(1).map(str::trim).collect();
    assert_eq!(places, ["in divide at 0x3b", "in _start at 0x41"], "{}", trap.err);
}

#[test]
fn arguments_and_environment() {
    // Prints its arguments and environment, each ended by a NUL.
    let show = r#"(module
      (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_n (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_n (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start")
        (drop (call $args_n (i32.const 64) (i32.const 4)))
        (drop (call $env_n (i32.const 64) (i32.const 12)))
        (drop (call $args (i32.const 1024) (i32.const 8192)))
        (drop (call $env (i32.const 1024) (i32.const 16384)))
        (i32.store (i32.const 0) (i32.const 8192))
        (i32.store (i32.const 8) (i32.const 16384))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 64)))))"#;
    let p = Place::new();
    let show = p.guest("show", show);
    let out = p.ok(&["run", "--env", "A=1", "--env", "B=x=y", &show, "--", "-x", "a b", "--name"]);
    assert_eq!(out, "show.wasm\0-x\0a b\0--name\0A=1\0B=x=y\0");
    assert_eq!(p.ok(&["run", &show, "plain", "--dir"]), "show.wasm\0plain\0--dir\0");
}

#[test]
fn reports() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let check = p.json(&["check", &copy, "--json"]);
    assert_eq!(check["can_be_checkpointed"], true);
    assert_eq!(check["functions"], 1);
    assert_eq!(check["imports"][0], "wasi_snapshot_preview1.fd_read");
    assert!(p.ok(&["check", &copy]).contains("can be checkpointed"));

    p.guest("gc", "(module (type (struct (field i32))) (func (export \"_start\") (drop (struct.new_default 0))))");
    refused(&p, &["run", "gc.wasm"], "the module uses the WebAssembly feature gc...");
    p.guest("kept", KEPT_EXCEPTION);
    assert!(p.ok(&["check", "kept.wasm"]).contains("can be checkpointed"));
    let check = p.dormouse(&["check", "gc.wasm"]);
    assert_eq!(check.code, Some(1));
    assert!(check.out.contains("cannot be run and checkpointed"), "{}", check.out);
    assert!(check.out.contains("gc"), "{}", check.out);
    p.guest("import", r#"(module (import "env" "magic" (func)) (func (export "_start")))"#);
    let check = p.dormouse(&["check", "import.wasm", "--json"]);
    assert_eq!(check.code, Some(1));
    assert!(check.out.contains("`env.magic`"), "{}", check.out);

    assert_eq!(p.json(&["ps", "--json"]), serde_json::json!([]));
    let job = p.start("sim", &[&copy]);
    let ps = p.ok(&["ps", "--long"]);
    assert!(ps.starts_with("JOB ") && ps.contains("copy.wasm"), "{ps}");
    p.ok(&["checkpoint", "--stop", "sim"]);
    Ended::wait(job);
    let list = p.json(&["list", "--json"]);
    assert_eq!(
        (&list["jobs"][0]["job"], &list["jobs"][0]["running"]),
        (&"sim".into(), &false.into())
    );
    assert!(p.ok(&["list"]).contains("sim@1"));
    assert!(p.ok(&["list", "sim"]).contains("sim@1"));
    let report = p.json(&["inspect", "sim@1", "--json"]);
    assert_eq!(report["name"], "sim@1");
    assert_eq!(report["memories"][0]["bytes"], 65536);
    assert_eq!(report["frames"].as_array().unwrap().len(), 2);
    assert_eq!(report["frames"][1]["name"], "_start");
    assert_eq!(report["wasi"]["args"][0], "copy.wasm");
    let text = p.ok(&["inspect", "sim"]);
    for part in
        ["checkpoint  sim@1", "open files  0 stdin", "#0      wasi_snapshot_preview1.fd_read"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A caught exception is kept while a loop runs.
const KEPT_EXCEPTION: &str = r#"(module (tag $e) (func (export "_start")
    (block $h (result exnref) (try_table (catch_all_ref $h) (throw $e)) (unreachable))
    (block (loop (br_if 0 (i32.const 0))))
    (throw_ref)))"#;
