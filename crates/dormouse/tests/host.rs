//! Host functions of an embedder's own: their values, what they see of the memory, and what they remember, through
//! checkpoints, resumes and chaos; and what the command says of such a checkpoint.
#![allow(missing_docs)]

mod harness;

use dormouse::store::Store;
use dormouse::{
    Error, Gap, HostFunctions, HostState, Job, Notice, Outcome, Target,
    Type::{self, F32, F64, I32, I64, V128},
};
use harness::*;
use std::sync::{Arc, Mutex};

/// Counts, and can be told to misbehave.
#[derive(Default)]
struct Counter {
    count: u32,
    name: &'static str,
    /// Forgets all when it is saved: only right for a program that is resumed from there.
    forgets: bool,
    save_fails: bool,
    save_panics: bool,
    restore_fails: bool,
    restored: usize,
}

impl HostState for Counter {
    fn name(&self) -> String {
        self.name.into()
    }

    fn save(&mut self) -> Result<Vec<u8>, String> {
        assert!(!self.save_panics, "a bug of the embedder's");
        if self.save_fails {
            return Err("the counter is being oiled".into());
        }
        let bytes = self.count.to_le_bytes().into();
        if self.forgets {
            self.count = 0xdead;
        }
        Ok(bytes)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.restore_fails {
            return Err("the counter is glued".into());
        }
        self.restored += 1;
        self.count = u32::from_le_bytes(bytes.try_into().map_err(|_| "not a count")?);
        Ok(())
    }
}

/// `counter.next` gives 1, 2, 3, ...
fn counting(counter: &Arc<Mutex<Counter>>) -> HostFunctions {
    let c = counter.clone();
    HostFunctions::new().with("counter", "next", &[], &[I32], move |_, _| {
        let mut c = c.lock().unwrap_or_else(|e| e.into_inner());
        c.count += 1;
        Ok(vec![c.count.into()])
    })
}

fn counter() -> Arc<Mutex<Counter>> {
    Arc::new(Mutex::new(Counter { name: "counter", ..Counter::default() }))
}

/// What it counts, and how often it was restored.
fn seen(c: &Mutex<Counter>) -> (u32, usize) {
    let c = c.lock().unwrap();
    (c.count, c.restored)
}

/// Adds ten numbers, with a checkpoint after five if that is wanted; ends with the sum. 0 + 1 + .. + 10 is 55.
fn sum(checkpoint: bool) -> Arc<[u8]> {
    let ask = if checkpoint { "(drop (call $checkpoint))" } else { "" };
    let text = format!(
        r#"(module
          (import "counter" "next" (func $next (result i32)))
          (import "dormouse" "checkpoint" (func $checkpoint (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (func $add (param $n i32) (param $to i32) (result i32)
            (loop $l
              (local.set $to (i32.add (local.get $to) (call $next)))
              (local.set $n (i32.sub (local.get $n) (i32.const 1)))
              (br_if $l (local.get $n)))
            (local.get $to))
          (func (export "_start") (local $sum i32)
            (local.set $sum (call $add (i32.const 5) (i32.const 0)))
            {ask}
            (call $exit (call $add (i32.const 5) (local.get $sum)))))"#
    );
    wat::parse_str(text).unwrap().into()
}

fn at(name: &str) -> Target {
    name.parse().unwrap()
}

/// Runs `sum` in the place's store, as job `sum`; what was told of checkpoints that failed.
fn run(p: &Place, host: HostFunctions) -> (Outcome, Vec<String>) {
    let failed = Arc::new(Mutex::new(vec![]));
    let told = failed.clone();
    let outcome = Job::new(p.store())
        .name("sum")
        .host(host)
        .on_notice(move |notice| {
            if let Notice::Failed { message, .. } = notice {
                told.lock().unwrap().push(message);
            }
        })
        .run("sum", sum(true), vec![]);
    let failed = failed.lock().unwrap().clone();
    (outcome.unwrap(), failed)
}

#[test]
fn what_they_remember_is_restored() {
    let p = Place::new();
    let c = counter();
    assert_eq!(run(&p, counting(&c).state(c.clone())), (Outcome::Exited(55), vec![]));
    let state = Store::open(&p.store()).unwrap().load("sum", None).unwrap().state;
    assert_eq!((state.host.len(), &*state.host[0].name), (1, "counter"));
    assert_eq!(state.host[0].bytes, [5, 0, 0, 0]);

    let c = counter();
    c.lock().unwrap().count = 1000;
    let host = counting(&c).state(c.clone());
    assert_eq!(
        Job::new(p.store()).host(host.clone()).resume(&at("sum@1")).unwrap(),
        Outcome::Exited(55)
    );
    assert_eq!(seen(&c), (10, 1));
    // Trying changes nothing.
    Job::new(p.store()).host(host).rehearse(&at("sum@1")).unwrap();
    assert_eq!(seen(&c), (10, 1));
    // A clone has its own.
    let c = counter();
    let clone = Job::new(p.store()).name("other").host(counting(&c).state(c.clone()));
    assert_eq!(clone.resume(&at("sum@1")).unwrap(), Outcome::Exited(55));
}

#[test]
fn chaos_goes_through_save_and_restore() {
    let module = sum(false);
    let p = Place::new();
    for forgets in [true, false] {
        let c = counter();
        c.lock().unwrap().forgets = forgets;
        let host = counting(&c).state(c.clone());
        let job = Job::new(p.store()).host(host);
        let (outcome, report) = job.chaos("sum", module.clone(), vec![], Gap::Every(1)).unwrap();
        assert_eq!(outcome, Outcome::Exited(55));
        assert!(report.captures >= 8 && report.passed == 0, "{report:?}");
        assert_eq!(c.lock().unwrap().restored as u64, report.captures);
    }
}

#[test]
fn better_code_comes_without_a_save() {
    let c = counter();
    c.lock().unwrap().save_panics = true;
    let p = Place::new();
    let job = Job::new(p.store()).tier_up(true).host(counting(&c).state(c.clone()));
    assert_eq!(job.run("sum", sum(false), vec![]).unwrap(), Outcome::Exited(55));
}

#[test]
fn a_save_that_fails_fails_the_checkpoint_only() {
    for panics in [false, true] {
        let p = Place::new();
        let c = counter();
        c.lock().unwrap().save_fails = true;
        c.lock().unwrap().save_panics = panics;
        let (outcome, failed) = run(&p, counting(&c).state(c.clone()));
        assert_eq!(outcome, Outcome::Exited(55));
        let why = if panics { "it panicked" } else { "the counter is being oiled" };
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(
            failed[0].contains("host functions `counter`") && failed[0].contains(why),
            "{failed:?}"
        );
        assert!(Store::open(&p.store()).unwrap().list("sum").unwrap().is_empty());
    }
}

#[test]
fn what_is_missing_is_refused_by_name() {
    let p = Place::new();
    let c = counter();
    run(&p, counting(&c).state(c.clone()));
    let refused = |host: HostFunctions| {
        let error = Job::new(p.store()).host(host.clone()).resume(&at("sum")).unwrap_err();
        let tried = Job::new(p.store()).host(host).rehearse(&at("sum")).unwrap_err();
        assert_eq!(error.to_string(), tried.to_string());
        error
    };
    // The function.
    let error = refused(HostFunctions::new());
    assert!(
        matches!(&error, Error::NeedsHost { names, .. } if names == "`counter.next`"),
        "{error}"
    );
    // What it remembers, or under this name.
    let c = counter();
    c.lock().unwrap().name = "another";
    for host in [counting(&c), counting(&c).state(c.clone())] {
        let error = refused(host);
        assert!(error.to_string().contains("the state of host functions `counter`"), "{error}");
    }
    // Another type.
    let other = HostFunctions::new().with("counter", "next", &[I32], &[I32], |_, _| Ok(vec![]));
    assert!(refused(other).to_string().contains("`counter.next` with another type"));

    // The command has none of them, whether its code is compiled or comes from its cache.
    for _ in 0..2 {
        let e = p.dormouse(&["resume", "sum"]);
        assert_eq!(e.code, Some(125), "{}", e.err);
        assert!(e.err.contains("sum@1 needs the host functions `counter.next`"), "{}", e.err);
    }
    let text = p.ok(&["inspect", "sum"]);
    assert!(text.contains("needs       host function counter.next\n"), "{text}");
    assert!(text.contains("            host state counter, 4 B\n"), "{text}");
    let json = p.json(&["inspect", "--json", "sum"]);
    assert_eq!(json["host_functions"], serde_json::json!(["counter.next"]));
    assert_eq!(json["host_states"], serde_json::json!([{"name": "counter", "bytes": 4}]));
    assert_eq!(p.ok(&["verify"]), "1 of 1 checkpoints are good\n");
}

#[test]
fn a_restore_that_fails_leaves_the_files_alone() {
    let p = Place::new();
    let module: Arc<[u8]> = wat::parse_str(
        r#"(module
          (import "counter" "next" (func $next (result i32)))
          (import "dormouse" "checkpoint" (func $checkpoint (result i32)))
          (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 16) "\20\00\00\00\01\00\00\00")
          (data (i32.const 32) "xlog")
          (func $x (if (call $write (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 8)) (then unreachable)))
          (func (export "_start")
            (if (call $open (i32.const 3) (i32.const 0) (i32.const 33) (i32.const 3) (i32.const 1)
              (i64.const 0x40) (i64.const 0) (i32.const 1) (i32.const 0)) (then unreachable))
            (drop (call $next))
            (call $x) (drop (call $checkpoint)) (call $x)))"#,
    )
    .unwrap()
    .into();
    std::fs::create_dir(p.path("d")).unwrap();
    let c = counter();
    let job =
        Job::new(p.store()).name("log").dir(p.path("d"), "/").host(counting(&c).state(c.clone()));
    assert_eq!(job.run("log", module, vec![]).unwrap(), Outcome::Exited(0));
    let log = || std::fs::read_to_string(p.path("d/log")).unwrap();
    assert_eq!(log(), "xx");
    c.lock().unwrap().restore_fails = true;
    let host = counting(&c).state(c.clone());
    let error = Job::new(p.store()).host(host.clone()).resume(&at("log@1")).unwrap_err();
    assert!(
        error.to_string().contains("`counter` cannot be restored: the counter is glued"),
        "{error}"
    );
    assert_eq!((log().as_str(), seen(&c)), ("xx", (1, 0)), "nothing was run, nothing cut back");
    c.lock().unwrap().restore_fails = false;
    std::fs::write(p.path("d/log"), "xxyy").unwrap();
    Job::new(p.store()).host(host).resume(&at("log@1")).unwrap();
    assert_eq!(log(), "xx");
}

/// Whoever comes to have more to remember can go on from older checkpoints.
#[test]
fn a_state_that_the_checkpoint_does_not_have_is_left_alone() {
    let p = Place::new();
    let c = counter();
    run(&p, counting(&c));
    let state = Store::open(&p.store()).unwrap().load("sum", None).unwrap().state;
    assert!(state.host.is_empty());
    assert_eq!(state.encode()[8], 1, "who knows no host functions can read it");
    let c = counter();
    c.lock().unwrap().count = 5;
    let host = counting(&c).state(c.clone());
    assert_eq!(Job::new(p.store()).host(host).resume(&at("sum@1")).unwrap(), Outcome::Exited(55));
    assert_eq!(c.lock().unwrap().restored, 0);
}

fn trap(outcome: Outcome) -> String {
    match outcome {
        Outcome::Trapped { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn memory_has_bounds() {
    let host = || {
        HostFunctions::new()
            .with("m", "copy", &[I64, I64, I64], &[I64], |caller, args| {
                let [to, from, len] = [args[0], args[1], args[2]].map(u64::try_from);
                let bytes = caller.bytes(from?, len.clone()?)?.to_vec();
                caller.bytes_mut(to?, len?)?.copy_from_slice(&bytes);
                Ok(vec![caller.memory_len().into()])
            })
            .with("m", "fail", &[], &[], |_, _| Err("it is raining".into()))
    };
    let run = |call: &str| {
        let text = format!(
            r#"(module
              (import "m" "copy" (func $copy (param i64 i64 i64) (result i64)))
              (import "m" "fail" (func $fail))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1)
              (data (i32.const 65535) "*")
              (func (export "_start") {call} (call $exit (i32.load8_u (i32.const 7)))))"#
        );
        let p = Place::new();
        Job::new(p.store())
            .host(host())
            .run("m", wat::parse_str(text).unwrap().into(), vec![])
            .unwrap()
    };
    let copy = |to: &str, from: &str, len: &str| {
        run(&format!(
            "(call $copy (i64.const {to}) (i64.const {from}) (i64.const {len})) (if (i64.ne (i64.const 65536)) (then unreachable))"
        ))
    };
    assert_eq!(copy("7", "65535", "1"), Outcome::Exited(u32::from(b'*')));
    assert_eq!(copy("7", "65536", "0"), Outcome::Exited(0));
    for (to, from, len) in [
        ("7", "65535", "2"),
        ("7", "65537", "0"),
        ("7", "-1", "2"),
        ("65535", "0", "2"),
        ("0", "1", "-1"),
    ] {
        let message = trap(copy(to, from, len));
        assert!(message.contains("are not all in the memory, which has 65536"), "{message}");
    }
    assert!(trap(run("(call $fail)")).contains("it is raining"));
}

#[test]
fn all_numbers_come_and_go() {
    let types = [I32, I64, F32, F64, V128];
    let back = HostFunctions::new().with("n", "back", &types, &types, |_, args| Ok(args.to_vec()));
    let module: Arc<[u8]> = wat::parse_str(
        r#"(module
          (import "n" "back" (func $back (param i32 i64 f32 f64 v128) (result i32 i64 f32 f64 v128)))
          (func (export "f") (param i32 i64 f32 f64 v128) (result i32 i64 f32 f64 v128)
            (call $back (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4))))"#,
    )
    .unwrap()
    .into();
    let p = Place::new();
    let args = ["-1", "9000000000", "1.5", "-inf", "77"].map(|a| a.as_bytes().to_vec()).to_vec();
    let outcome =
        Job::new(p.store()).host(back).invoke("f").run("f", module.clone(), args.clone()).unwrap();
    let Outcome::Returned(values) = outcome else { panic!("{outcome:?}") };
    let text: Vec<String> = values.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["-1", "9000000000", "1.5", "-inf", "77"]);

    let wrong = |results: &'static [Type], give: fn() -> Vec<dormouse::Passed>| {
        let host = HostFunctions::new().with("n", "back", &types, results, move |_, _| Ok(give()));
        Job::new(p.store()).host(host).invoke("f").run("f", module.clone(), args.clone())
    };
    let all: &'static [Type] = &[I32, I64, F32, F64, V128];
    assert!(trap(wrong(all, Vec::new).unwrap()).contains("another number of results"));
    assert!(trap(wrong(all, || vec![1.into(); 5]).unwrap()).contains("a result of another type"));
    assert!(wrong(&[], Vec::new).unwrap_err().to_string().contains("`n.back` with another type"));
}

#[test]
fn names_that_cannot_be() {
    let p = Place::new();
    let refused = |host: HostFunctions| {
        Job::new(p.store()).host(host).run("sum", sum(true), vec![]).unwrap_err().to_string()
    };
    let named = |name: &'static str| {
        let c = counter();
        c.lock().unwrap().name = name;
        c
    };
    for (module, name) in [("wasi_snapshot_preview1", "proc_exit"), ("dormouse", "anything")] {
        let host = counting(&counter()).with(module, name, &[I32], &[], |_, _| Ok(vec![]));
        assert!(
            refused(host).contains(&format!("`{module}.{name}` is a function of Dormouse's own"))
        );
    }
    let c = counter();
    let two = counting(&c).state(c).state(named("counter"));
    assert!(refused(two).contains("two states are called `counter`"));
    for name in ["", &*"n".repeat(257).leak()] {
        assert!(refused(counting(&counter()).state(named(name))).contains("bytes, not 1 to 256"));
    }
}
