//! Settings from files and the environment, completions and manual pages, through the real binary.
#![allow(missing_docs)]

mod harness;

use harness::*;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where files are read: a place of its own, in the directory `work` of which things are done.
struct Files {
    p: Place,
}

impl Files {
    fn new() -> Files {
        let p = Place::new();
        std::fs::create_dir_all(p.path("work/deep/er")).unwrap();
        std::fs::create_dir_all(p.path("home/.config/dormouse")).unwrap();
        Files { p }
    }

    fn user(&self) -> PathBuf {
        self.p.path("home/.config/dormouse/config.toml")
    }

    fn project(&self) -> PathBuf {
        self.p.path("work/dormouse.toml")
    }

    fn system(&self) -> PathBuf {
        self.p.path("system.toml")
    }

    /// A command that reads them.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.p.command(args);
        for name in ["DORMOUSE_NO_CONFIG", "DORMOUSE_STORE", "DORMOUSE_CACHE"] {
            command.env_remove(name);
        }
        command.current_dir(self.p.path("work/deep"));
        command
    }

    fn dormouse(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().unwrap())
    }

    /// What `config` says of an option of a command: its value, and whose it is.
    fn of(&self, command: &str, key: &str) -> (Value, Value) {
        found(&self.dormouse(&["config", "--json"]), command, key)
    }
}

fn found(config: &Ended, command: &str, key: &str) -> (Value, Value) {
    let json: Value =
        serde_json::from_str(&config.out).unwrap_or_else(|_| panic!("{}", config.err));
    let all = json["settings"].as_array().unwrap().clone();
    let of = |set: &&Value| set["command"] == command && set["key"] == key;
    let set = all.iter().find(of).cloned().unwrap_or_default();
    let from = match set["from"].as_str() {
        Some("file") => json!([set["file"], set["line"]]),
        Some("environment") => set["variable"].clone(),
        _ => set["from"].clone(),
    };
    (set["value"].clone(), from)
}

fn write(path: PathBuf, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn the_nearer_wins() {
    let f = Files::new();
    assert_eq!(f.of("run", "every"), (Value::Null, Value::Null));
    assert_eq!(f.of("run", "max-layers"), (json!("8"), json!("default")));
    write(f.system(), "every = \"1h\"\nmtbf = \"2h\"\nstack = \"1M\"\nmax-layers = 2\n");
    assert_eq!(f.of("run", "every"), (json!("1h"), json!([f.system(), 1])));
    assert_eq!(f.of("run", "max-layers"), (json!("2"), json!([f.system(), 4])));
    write(f.user(), "every = \"2h\"\n[run]\nmtbf = \"3h\"\nstack = \"2M\"\n");
    assert_eq!(f.of("run", "every"), (json!("2h"), json!([f.user(), 1])));
    assert_eq!(f.of("run", "mtbf"), (json!("3h"), json!([f.user(), 3])));
    assert_eq!(f.of("resume", "mtbf"), (json!("2h"), json!([f.system(), 2])));
    write(f.project(), "every = \"3h\"\n[run]\nevery = \"4h\"\n");
    assert_eq!(f.of("run", "every"), (json!("4h"), json!([f.project(), 3])));
    assert_eq!(f.of("resume", "every"), (json!("3h"), json!([f.project(), 1])));
    write(f.p.path("work/deep/er/dormouse.toml"), "every = \"5h\"");
    assert_eq!(f.of("run", "every").0, "4h", "that one is further down");
    let mut command = f.command(&["config", "--json"]);
    command.current_dir(f.p.path("work/deep/er"));
    let nearest = Ended::of(command.output().unwrap());
    assert_eq!(found(&nearest, "run", "every").0, "5h");

    let mut command = f.command(&["config", "--json"]);
    command.env("DORMOUSE_EVERY", "6h").env("DORMOUSE_TIER_UP", "yes");
    let set = Ended::of(command.output().unwrap());
    assert_eq!(found(&set, "run", "every"), (json!("6h"), json!("DORMOUSE_EVERY")));
    assert_eq!(found(&set, "resume", "tier-up"), (json!(true), json!("DORMOUSE_TIER_UP")));

    let table = f.dormouse(&["config"]).out;
    let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    let user = f.user();
    assert!(lines.contains(&vec!["run.mtbf", "3h", &format!("{}:3", user.display())]), "{table}");
    assert!(lines.contains(&vec!["max-layers", "2", &format!("{}:4", f.system().display())]));
    for ignored in [&["config", "--no-config", "--json"][..], &["--no-config", "config", "--json"]]
    {
        assert_eq!(found(&f.dormouse(ignored), "run", "every").0, Value::Null);
    }
    let mut command = f.command(&["config", "--json"]);
    let ignored = Ended::of(command.env("DORMOUSE_NO_CONFIG", "1").output().unwrap());
    assert_eq!(found(&ignored, "run", "every").0, Value::Null);
}

/// What is in a file acts, and what is typed wins.
#[test]
fn it_is_as_if_it_had_been_typed() {
    let f = Files::new();
    let copy = f.p.guest("copy", COPY);
    write(
        f.user(),
        "store = \"~/ckpt\"\ncache = \"cached\"\nevery = \"1h\"\n[run]\nmax-store = \"1G\"\n",
    );
    write(f.project(), "every = \"2h\"\n");
    let every = |options: &[&str], variable: Option<&str>| {
        let mut command = f.command(&["run", "--name", "job"]);
        if let Some(every) = variable {
            command.env("DORMOUSE_EVERY", every);
        }
        let mut job = command.args(options).arg(&copy).stdin(Stdio::piped()).spawn().unwrap();
        let mut every = Value::Null;
        f.p.wait_for("the job to answer", || {
            let ps = f.dormouse(&["ps", "--json"]);
            let rows: Value = serde_json::from_str(&ps.out).unwrap_or_default();
            every = rows[0]["every"].clone();
            rows[0]["answers"] == true
        });
        drop(job.stdin.take());
        assert_eq!(Ended::wait(job).code, Some(9));
        every
    };
    assert_eq!(every(&[], None), "2h");
    assert_eq!(every(&[], Some("3h")), "3h");
    assert_eq!(every(&["--every", "4h"], Some("3h")), "4h");
    assert_eq!(every(&["--every", "never"], Some("3h")), Value::Null);
    assert_eq!(every(&["--no-every"], Some("3h")), Value::Null, "taken back");
    assert_eq!(
        every(&["--no-config", "--store", f.p.path("home/ckpt").to_str().unwrap()], None),
        Value::Null
    );
    assert!(f.p.path("home/ckpt/run").is_dir(), "a path may begin with ~");
    assert!(f.p.path("home/.config/dormouse/cached").is_dir(), "a path is the file's");

    let cached = || std::fs::remove_dir_all(f.p.path("home/.config/dormouse/cached"));
    cached().unwrap();
    assert_eq!(f.dormouse(&["run", "--no-cache", &copy]).code, Some(9));
    cached().unwrap_err();
    // What is typed drops what it excludes: --chaos goes with neither --every nor --store.
    assert_eq!(f.dormouse(&["run", "--chaos", "1", &copy]).code, Some(9));
    // After `--` all is the program's.
    assert_eq!(f.dormouse(&["run", &copy, "--", "--no-config", "--every", "x"]).code, Some(9));
}

#[test]
fn repeated_options_are_replaced_as_a_whole() {
    let f = Files::new();
    write(f.system(), "[run]\nenv = [\"A=1\", \"B=2\"]\ndir = [\"data::/data\", \"/tmp\"]\n");
    let own = format!("{}::/data", f.p.path("data").display());
    assert_eq!(f.of("run", "env").0, json!(["A=1", "B=2"]));
    assert_eq!(f.of("run", "dir").0, json!([own, "/tmp::/tmp"]));
    write(f.user(), "env = [\"C=3\"]\n");
    assert_eq!(f.of("run", "env"), (json!(["C=3"]), json!([f.user(), 1])));
    let mut command = f.command(&["config", "--json"]);
    let set = Ended::of(command.env("DORMOUSE_ENV", "D=4\nE=5").output().unwrap());
    assert_eq!(found(&set, "run", "env").0, json!(["D=4", "E=5"]));
    write(f.user(), "env = []\n");
    assert_eq!(f.of("run", "env").0, json!([]));

    // Seen by the program.
    write(f.system(), "");
    write(f.user(), "[run]\nenv = [\"A=1\"]\n");
    let show = f.p.guest("show", SHOW_ENVIRONMENT);
    assert_eq!(f.dormouse(&["run", &show]).out, "A=1\0");
    assert_eq!(f.dormouse(&["run", "--env", "B=2", &show]).out, "B=2\0");
    assert_eq!(f.dormouse(&["run", "--no-env", &show]).out, "");
}

/// Prints its environment, each variable ended by a NUL.
const SHOW_ENVIRONMENT: &str = r#"(module
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 64) (i32.const 4)))
    (drop (call $env (i32.const 1024) (i32.const 8192)))
    (i32.store (i32.const 0) (i32.const 8192))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))))"#;

#[test]
fn mistakes_are_told_with_file_and_line() {
    let f = Files::new();
    for (text, line, said) in [
        ("\nevry = \"1m\"", 2, "unknown key evry; did you mean \"every\"?"),
        ("[run]\nmax-layer = 3", 2, "unknown key max-layer in [run]; did you mean \"max-layers\"?"),
        ("[gc]\nevery = \"1m\"", 2, "every in [gc]: that command has no such option"),
        ("[rum]\n", 1, "there is no command for the table [rum]; did you mean [run]?"),
        ("[run.every]\n", 1, "every: write a string, not a table"),
        ("force = true", 1, "force cannot be set in a file: it is for one call only"),
        ("[rm]\nall = true", 2, "all in [rm] cannot be set in a file: it is for one call only"),
        ("\n\nevery = \"5\"", 3, "every: write a number and a unit, such as 500ms, 30s, 5m or 1h;"),
        ("every = 5", 1, "every: write a number and a unit"),
        ("every = true", 1, "every: write a string, not true or false"),
        ("tier-up = \"yes\"", 1, "tier-up: write true or false, not a string"),
        ("env = \"A=1\"", 1, "env: write an array of strings, not a string"),
        ("env = [1.5]", 1, "env: write an array of strings, not"),
        ("on = [\"noon=true\"]", 1, "on: "),
        ("dir = [\"::x\"]", 1, "dir: write HOST::GUEST"),
        ("store = 5", 1, "store: write a string, not a number"),
        ("files = \"all\"", 1, "files: write one of: copy, check, none"),
        ("stack = \"big\"", 1, "stack: write a number of bytes"),
        ("cache = \"c\"\nno-cache = true", 2, ""),
        ("every = \"1m\"\nevery = \"2m\"", 2, "duplicate key"),
        ("every = \"1m", 1, ""),
        ("every", 1, ""),
    ] {
        write(f.user(), text);
        let ended = f.dormouse(&["ps"]);
        let conflict = text.starts_with("cache");
        let ended = if conflict { f.dormouse(&["run", "x.wasm"]) } else { ended };
        assert_eq!(ended.code, Some(2), "{text}: {}", ended.err);
        let told = ended.error().to_owned();
        let place = format!("{}:", f.user().display());
        assert!(told.starts_with(&place), "{text}: {told}");
        if !conflict {
            let at = format!("{place}{line}: {said}");
            assert!(told.starts_with(&at), "{text}:\n{told}\n{at}");
        } else {
            assert!(told.contains("cannot be set with"), "{told}");
        }
        // What is needed to find out works all the same; `config` says it too.
        assert_eq!(f.dormouse(&["help"]).code, Some(0));
        assert_eq!(f.dormouse(&["completions", "bash"]).code, Some(0));
        assert_eq!(f.dormouse(&["ps", "--no-config"]).code, Some(0));
        assert_eq!(f.dormouse(&["config"]).code, Some(2));
    }
    std::fs::remove_file(f.user()).unwrap();
    std::fs::create_dir(f.user()).unwrap();
    assert!(f.dormouse(&["ps"]).error().ends_with("it is not a file"));
    std::fs::remove_dir(f.user()).unwrap();
    std::fs::write(f.user(), b"every = \"\xff\"").unwrap();
    assert!(f.dormouse(&["ps"]).error().starts_with("cannot read "));

    std::fs::remove_file(f.user()).unwrap();
    let with = |name: &str, value: &str, args: &[&str]| {
        Ended::of(f.command(args).env(name, value).output().unwrap())
    };
    for (name, value, said) in [
        ("DORMOUSE_EVERY", "5", "DORMOUSE_EVERY=5: write a number and a unit"),
        ("DORMOUSE_TIER_UP", "maybe", "DORMOUSE_TIER_UP=maybe: write true or false"),
        ("DORMOUSE_CACHE_SIZE", "x", "DORMOUSE_CACHE_SIZE=x: write a number of bytes"),
    ] {
        let ended = with(name, value, &["ps"]);
        assert_eq!((ended.code, ended.error().starts_with(said)), (Some(2), true), "{}", ended.err);
    }
    let strange = with("DORMOUSE_EVRY", "5s", &["config"]);
    assert_eq!(strange.code, Some(0));
    assert!(strange.err.contains("did you mean DORMOUSE_EVERY?"), "{}", strange.err);
}

/// A setting is no reason for a command to fail that nobody asked anything of it.
#[test]
fn what_needs_another_option_waits_for_it() {
    let f = Files::new();
    let copy = f.p.guest("copy", COPY);
    let run = |name: &str, value: &str, options: &[&str]| {
        let mut command = f.command(&["run"]);
        command.env(name, value).args(options).arg(&copy);
        Ended::of(command.output().unwrap())
    };
    for (key, value, variable) in [
        ("identity", "[\"key\"]", "key"),
        ("resume-if-any", "true", "1"),
        ("encrypt-module", "true", "yes"),
    ] {
        let name = format!("DORMOUSE_{}", key.to_uppercase().replace('-', "_"));
        let ended = run(&name, variable, &[]);
        assert_eq!(ended.code, Some(9), "{name}: {}", ended.err);
        for table in ["", "[run]\n"] {
            write(f.user(), &format!("{table}{key} = {value}\n"));
            let ended = f.dormouse(&["run", &copy]);
            assert_eq!(ended.code, Some(9), "{table}{key}: {}", ended.err);
        }
        assert_eq!(f.of("run", key).1, json!([f.user(), 2]), "it holds where it can");
        std::fs::remove_file(f.user()).unwrap();
    }
    // Typed, it is a mistake as ever.
    for typed in [&["--encrypt-module"][..], &["--identity", "key"], &["--resume-if-any"]] {
        let ended = run("DORMOUSE_EVERY", "1h", typed);
        assert_eq!(ended.code, Some(2), "{typed:?}: {}", ended.err);
    }
    // One that is set needs another that is set, and that one a name. The job has a checkpoint, and goes on.
    write(f.user(), "resume-if-any = true\nidentity = [\"key\"]\n");
    assert_eq!(f.dormouse(&["run", &copy]).code, Some(9));
    write(f.user(), "resume-if-any = true\n");
    let job = f.command(&["run", "--name", "job", &copy]).stdin(Stdio::piped()).spawn().unwrap();
    f.p.wait_for("a checkpoint", || f.dormouse(&["checkpoint", "job", "--stop"]).code == Some(0));
    assert_eq!(Ended::wait(job).code, Some(85));
    let again = f.dormouse(&["run", "--name", "job", &copy]);
    assert_eq!(again.code, Some(9));
    assert!(!again.err.contains("checkpoints of an earlier run"), "{}", again.err);
    assert!(again.err.contains("job@1"), "{}", again.err);
    let anew = f.dormouse(&["run", "--name", "job", "--no-resume-if-any", &copy]);
    assert!(anew.err.contains("checkpoints of an earlier run"), "{}", anew.err);
}

/// What is documented of it: each command that opens checkpoints does so with it.
#[cfg(feature = "encryption")]
#[test]
fn an_identity_in_a_variable_opens_what_is_encrypted() {
    use age::secrecy::ExposeSecret;
    let f = Files::new();
    let copy = f.p.guest("copy", COPY);
    let identity = age::x25519::Identity::generate();
    write(f.p.path("key"), identity.to_string().expose_secret());
    let recipient = identity.to_public().to_string();
    write(f.user(), "encrypt-module = true\nresume-if-any = true\n");
    let line = ["run", "--name", "job", "--encrypt-to", &recipient, &copy];
    let job = f.command(&line).stdin(Stdio::piped()).spawn().unwrap();
    f.p.wait_for("a checkpoint", || f.dormouse(&["checkpoint", "job", "--stop"]).code == Some(0));
    assert_eq!(Ended::wait(job).code, Some(85));
    for (args, code) in [
        (&["inspect", "job"][..], 0),
        (&["verify"], 0),
        (&["resume", "job", "--dry-run"], 0),
        (&line, 9),
        (&["resume", "job@1"], 9),
    ] {
        let without = f.dormouse(args);
        assert!((without.out.clone() + &without.err).contains("encrypted"), "{args:?}");
        let with = f.command(args).env("DORMOUSE_IDENTITY", f.p.path("key")).output().unwrap();
        let with = Ended::of(with);
        assert_eq!(with.code, Some(code), "{args:?}: {}", with.err);
        assert!(!(with.out + &with.err).contains("of them are encrypted"), "{args:?}");
    }
    let mut plain = f.command(&["run", &copy]);
    let plain = Ended::of(plain.env("DORMOUSE_IDENTITY", "/not/there").output().unwrap());
    assert_eq!(plain.code, Some(9), "{}", plain.err);
}

#[test]
fn an_empty_variable_is_none() {
    let f = Files::new();
    write(f.user(), "store = \"here\"\nevery = \"1h\"\ntier-up = true\n");
    let mut command = f.command(&["config", "--json"]);
    for name in ["STORE", "EVERY", "TIER_UP", "ENV", "NO_CONFIG", "MAX_LAYERS", "IDENTITY"] {
        command.env(format!("DORMOUSE_{name}"), "");
    }
    let set = Ended::of(command.output().unwrap());
    assert_eq!(set.code, Some(0), "{}", set.err);
    for (line, key) in [(1, "store"), (2, "every"), (3, "tier-up")] {
        assert_eq!(found(&set, "run", key).1, json!([f.user(), line]));
    }
    assert_eq!(found(&set, "run", "max-layers").1, "default");
    assert_eq!(found(&set, "run", "env").0, Value::Null);
    std::fs::remove_file(f.user()).unwrap();
    let mut command = f.command(&["ps"]);
    assert_eq!(command.env("DORMOUSE_STORE", "").output().unwrap().status.code(), Some(0));
}

/// A directory from elsewhere brings its own file.
#[test]
fn a_projects_file_says_only_how_a_program_is_run() {
    let f = Files::new();
    for (text, why) in [
        ("on = [\"post-resume=touch /tmp/x\"]", "it has commands run on this host"),
        ("hook-timeout = \"1ms\"", "it decides whether your own hooks come to an end"),
        ("dir = [\"/\"]", "it decides which directories of this host a program gets"),
        ("[resume]\nno-recorded-dirs = false", "it decides which directories"),
        ("env = [\"AWS_SECRET_ACCESS_KEY\"]", "it can hand variables of this host to a program"),
        ("store = \"store\"", "it decides what `resume` wakes"),
        ("cache = \"cache\"", "compiled code is run as it lies in the cache"),
        ("stats = \"/home/u/.profile\"", "it has a file of this host written"),
        ("identity = [\"key\"]", "it has a file of this host read"),
        ("encrypt-to = [\"age1x\"]", "it decides who can read checkpoints"),
        ("keep-last = 1", "it has checkpoints removed"),
        ("[gc]\nmax-store = \"1K\"", "it has checkpoints removed"),
        ("plain-http = true", "it has checkpoints sent for all to read"),
        ("no-wait = true", "it decides about a job's other runs"),
    ] {
        write(f.project(), text);
        let ended = f.dormouse(&["ps"]);
        assert_eq!(ended.code, Some(2), "{text}: {}", ended.err);
        let told = ended.error();
        assert!(told.contains("cannot be set in a project's file") && told.contains(why), "{told}");
        assert!(told.starts_with(f.project().to_str().unwrap()), "{told}");
        // The same is good in a file of one's own, or at least known there.
        std::fs::remove_file(f.project()).unwrap();
        write(f.user(), text);
        let own = f.dormouse(&["config"]);
        assert!(own.code == Some(0) || !own.err.contains("project"), "{text}: {}", own.err);
        std::fs::remove_file(f.user()).unwrap();
    }
    // All that can be set is either refused or in the list of docs/config.md.
    let docs = std::fs::read_to_string(root().join("docs/config.md")).unwrap();
    let taken = docs.split("## A project's file").nth(1).unwrap();
    let taken = taken.split("| refused |").next().unwrap();
    let run = f.p.ok(&["run", "--help"]) + &f.p.ok(&["resume", "--help"]);
    let mut options: Vec<&str> = run
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.is_empty())
        .collect();
    options.sort();
    options.dedup();
    assert!(options.len() > 30, "{options:?}");
    for option in options {
        for value in ["\"1m\"", "true", "\"1%\"", "\"1M\"", "1", "\"none\"", "[\"x\"]", "\"auto\""]
        {
            write(f.project(), &format!("{option} = {value}"));
            let ended = f.dormouse(&["ps"]);
            if ended.code == Some(0) {
                assert!(taken.contains(&format!("`{option}`")), "{option} is taken from a project");
            }
        }
    }
}

/// Whoever may write into a directory above cannot stop commands in those below.
#[test]
fn what_is_no_file_of_ours_is_left_out() {
    let f = Files::new();
    let every = "every = \"7h\"\n";
    let is_left_out = |what: &str, why: &str| {
        let ended = f.dormouse(&["ps"]);
        assert_eq!(ended.code, Some(0), "{what}: {}", ended.err);
        let told = f.dormouse(&["config"]).out;
        let line = format!("project  {} (not read: {why})\n", f.project().display());
        assert!(told.starts_with(&line), "{what}: {told}");
        assert_eq!(f.of("run", "every").0, Value::Null, "{what}");
    };
    std::fs::create_dir(f.project()).unwrap();
    is_left_out("a directory", "it is not a file");
    std::fs::remove_dir(f.project()).unwrap();
    assert!(Command::new("mkfifo").arg(f.project()).status().unwrap().success());
    is_left_out("a pipe", "it is not a file");
    std::fs::remove_file(f.project()).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(f.project()).unwrap();
    is_left_out("a socket", "it is not a file");
    drop(socket);
    std::fs::remove_file(f.project()).unwrap();
    write(f.p.path("elsewhere"), every);
    std::os::unix::fs::symlink(f.p.path("elsewhere"), f.project()).unwrap();
    assert_eq!(f.of("run", "every").0, "7h", "a link of one's own is followed");

    // Only root can make what is another's.
    let nobody = Some(65534);
    if std::os::unix::fs::lchown(f.project(), nobody, None).is_err() {
        return;
    }
    is_left_out("another's link", "it belongs to another user");
    std::os::unix::fs::lchown(f.project(), Some(0), None).unwrap();
    std::os::unix::fs::chown(f.p.path("elsewhere"), nobody, None).unwrap();
    is_left_out("a link to another's", "it belongs to another user");
    std::fs::remove_file(f.project()).unwrap();
    write(f.project(), every);
    std::os::unix::fs::chown(f.project(), nobody, None).unwrap();
    is_left_out("another's file", "it belongs to another user");
    std::fs::remove_file(f.project()).unwrap();
    std::fs::create_dir(f.project()).unwrap();
    std::os::unix::fs::chown(f.project(), nobody, None).unwrap();
    is_left_out("another's directory", "it belongs to another user");
}

#[test]
fn bash_completes() {
    let p = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(p.ok(&["completions", shell]).contains("checkpoint"), "{shell}");
    }
    std::fs::write(p.path("script"), p.ok(&["completions", "bash"])).unwrap();
    let complete = |words: &[&str]| {
        let last = words.len() - 1;
        let quoted: Vec<String> = words.iter().map(|w| format!("'{w}'")).collect();
        let line = format!(
            ". ./script; COMP_WORDS=({}); COMP_CWORD={last}; _dormouse dormouse '{}' '{}'; \
             echo \"${{COMPREPLY[*]}}\"",
            quoted.join(" "),
            words[last],
            words[last - 1]
        );
        let mut bash = Command::new("bash");
        let out = bash.args(["--norc", "-c", &line]).current_dir(p.dir.path()).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let mut found: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        found.sort();
        found
    };
    assert_eq!(complete(&["dormouse", "unp"]), ["unpause"]);
    assert_eq!(complete(&["dormouse", "run", "--max-o"]), ["--max-overhead"]);
    assert_eq!(complete(&["dormouse", "run", "--files", "ch"]), ["check"]);
    assert_eq!(complete(&["dormouse", "run", "--no-ev"]), [""; 0], "hidden ones are not shown");
}

#[test]
fn each_command_has_a_manual_page() {
    let p = Place::new();
    p.ok(&["man", "pages"]);
    let help = p.ok(&["help"]);
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let commands: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|l| !l.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.contains(&"run") && commands.contains(&"unpause"), "{commands:?}");
    let mut expected: Vec<String> = commands.iter().map(|c| format!("dormouse-{c}.1")).collect();
    expected.push("dormouse.1".to_owned());
    expected.sort();
    let mut pages: Vec<String> = std::fs::read_dir(p.path("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    assert_eq!(pages, expected);
    let groff = Command::new("groff").arg("--version").output().is_ok();
    for page in pages {
        let path = p.path("pages").join(&page);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\n.TH ") || text.starts_with(".TH "), "{page}");
        if groff {
            let out = Command::new("groff")
                .args(["-man", "-Tascii", "-P-cbou", "-ww"])
                .arg(&path)
                .output();
            let out = out.unwrap();
            let shown = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(out.status.success() && out.stderr.is_empty(), "{page}: {:?}", out.stderr);
            assert!(shown.contains("SYNOPSIS"), "{page}: {shown}");
        }
    }
    let refused = p.dormouse(&["man", "pages/dormouse.1"]);
    assert_eq!(refused.code, Some(125));
    assert!(refused.error().starts_with("cannot write manual pages to pages/dormouse.1: "));
}
