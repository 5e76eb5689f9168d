//! The files of `contrib/`: what the real schedulers would do with them is played here. (`cargo xtask slurm` has a real one.)
#![allow(missing_docs)]

mod harness;

use harness::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn contrib(name: &str) -> PathBuf {
    root().join("contrib").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(contrib(name)).unwrap()
}

/// Whether a program can be had here.
fn have(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("WARNING: {program} is not installed; what needs it is left out");
    }
    there
}

/// A `PATH` with the real binary in it, and what stands for other programs.
fn path(p: &Place, others: &[(&str, &str)]) -> String {
    let bin = p.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dormouse"), bin.join("dormouse"));
    for (name, script) in others {
        let file = bin.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn scripts_are_portable() {
    for name in ["slurm/dormouse.sbatch", "cloud/spot-watch.sh"] {
        let checked = Ended::of(Command::new("sh").arg("-n").arg(contrib(name)).output().unwrap());
        assert_eq!((checked.code, checked.err.as_str()), (Some(0), ""));
        if have("shellcheck") {
            let checked =
                Ended::of(Command::new("shellcheck").arg(contrib(name)).output().unwrap());
            assert_eq!(checked.code, Some(0), "{}", checked.out);
        }
    }
}

/// Every command line in there is one that the real binary takes: all that is wrong is that there is no module.
#[test]
fn their_options_are_ours() {
    let p = Place::new();
    let submit = text("htcondor/dormouse.sub");
    let condor = submit.lines().find_map(|l| l.strip_prefix("arguments    = ")).unwrap();
    let unit = text("systemd/dormouse@.service");
    let systemd =
        unit.lines().find_map(|l| l.strip_prefix("ExecStart=/usr/bin/dormouse ")).unwrap();
    let systemd = systemd.replace("%i", "heat").replace("$ARGS", "/srv/heat.wasm --steps 1000000");
    let job = text("kubernetes/job.yaml");
    let command = job.split_once("command:\n").unwrap().1.split_once("          env:").unwrap().0;
    let words = command.lines().map(|l| l.trim().trim_start_matches("- ").trim_matches('"'));
    let kubernetes = words.skip(1).collect::<Vec<_>>().join(" ");
    for line in [condor, &systemd, &kubernetes] {
        assert!(line.starts_with("run --resume-if-any --name"), "{line}");
        let ended = p.dormouse(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(ended.code, Some(125), "{line}: {}", ended.err);
        assert!(ended.error().contains("read the module"), "{}", ended.err);
    }
    // The time that they give is a little longer than the one that Dormouse is told of.
    assert!(condor.contains("--grace 50s") && submit.contains("job_max_vacate_time    = 60"));
    assert!(submit.contains("checkpoint_exit_code        = 85"));
    assert!(systemd.contains("--grace 80s") && unit.contains("TimeoutStopSec=90s"));
    assert!(kubernetes.contains("--grace=80s") && job.contains("GracePeriodSeconds: 90"));
}

#[test]
fn systemd_takes_the_unit() {
    if !have("systemd-analyze") {
        return;
    }
    let p = Place::new();
    let unit = text("systemd/dormouse@.service");
    let unit = unit.replace("/usr/bin/dormouse", env!("CARGO_BIN_EXE_dormouse"));
    std::fs::write(p.path("dormouse@heat.service"), unit).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(p.path("dormouse@heat.service"));
    let verified = Ended::of(verify.output().unwrap());
    let about_it: Vec<&str> = verified.err.lines().filter(|l| l.contains("dormouse")).collect();
    assert_eq!(about_it, [""; 0], "{}", verified.err);
}

/// A program that has ended well leaves a mark, which keeps the unit from running it at the next boot.
#[test]
fn systemd_runs_nothing_that_has_ended() {
    let p = Place::new();
    let unit = text("systemd/dormouse@.service");
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert_eq!(setting("StateDirectory="), "dormouse");
    let done = setting("ConditionPathExists=!/var/lib/dormouse/").replace("%i", "heat");
    let command = setting("ExecStopPost=/bin/sh -c ").replace("%i", "heat").replace("$$", "$");
    let command = command.strip_prefix('\'').unwrap().strip_suffix('\'').unwrap().to_owned();
    for (code, status, ended) in [
        ("exited", "85", false),
        ("exited", "125", false),
        ("exited", "134", false),
        ("killed", "KILL", false),
        ("exited", "0", true),
    ] {
        let mut sh = Command::new("sh");
        sh.args(["-c", &command]).env("EXIT_CODE", code).env("EXIT_STATUS", status);
        assert!(sh.env("STATE_DIRECTORY", p.dir.path()).status().unwrap().success());
        assert_eq!(p.path(&done).exists(), ended, "{code} {status}");
    }
}

/// The script under Slurm: what it is sent, and what it asks for.
fn sbatch(p: &Place, program: &str, state: &str) -> Command {
    let path = path(
        p,
        &[("squeue", &format!("echo {state}")), ("scontrol", "echo \"$@\" >>scontrol.said")],
    );
    let mut command = Command::new("sh");
    command.arg(contrib("slurm/dormouse.sbatch")).arg(program).current_dir(p.dir.path());
    command.env("PATH", path).env("SLURM_JOB_ID", "7");
    command.env("DORMOUSE_STORE", p.store()).env("DORMOUSE_CACHE", p.path("cache"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn slurm() {
    let p = Place::new();
    let spin = p.guest("spin", &spin_with("(i64.const 2400000000)", ""));
    let expected = p.ok(&["run", &spin]);
    let said = || std::fs::read_to_string(p.path("scontrol.said")).unwrap_or_default();
    // Its time is up: it asks for the queue itself. Slurm ends it: Slurm knows.
    for (state, asked) in [("RUNNING", "requeue 7\n"), ("COMPLETING", "")] {
        let job = sbatch(&p, &spin, state).spawn().unwrap();
        p.wait_answering("slurm-7");
        signal(&job, "TERM");
        let ended = Ended::wait(job);
        assert_eq!((ended.code, ended.out.as_str()), (Some(85), ""), "{}", ended.err);
        assert_eq!(said(), asked);
        let _ = std::fs::remove_file(p.path("scontrol.said"));
    }
    assert_eq!(p.checkpoints("slurm-7"), 2);
    let ended = Ended::of(sbatch(&p, &spin, "RUNNING").output().unwrap());
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
    assert!(ended.err.contains("going on from slurm-7@2"), "{}", ended.err);
    assert_eq!((said().as_str(), p.checkpoints("slurm-7")), ("", 0));
    // A failure is passed on.
    let trap = p.guest("trap", TRAP);
    assert_eq!(Ended::of(sbatch(&p, &trap, "RUNNING").output().unwrap()).code, Some(134));
}

/// A metadata service: says `before` of `path` until the flag is up, then `after`; what is empty is not found.
fn metadata(
    path: &'static str,
    before: &'static str,
    after: &'static str,
) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let flag = Arc::new(AtomicBool::new(false));
    let noticed = flag.clone();
    let answer = move |mut stream: TcpStream| {
        let mut request = Vec::new();
        let mut part = [0; 1024];
        while !request.windows(4).any(|w| w == b"\r\n\r\n") {
            match stream.read(&mut part) {
                Ok(n) if n > 0 => request.extend(&part[..n]),
                _ => return,
            }
        }
        let request = String::from_utf8(request).unwrap().to_lowercase();
        let body = match request.split(' ').nth(1).unwrap() {
            "/latest/api/token" if request.starts_with("put ") => "secret",
            "/metadata/instance/compute/name?api-version=2021-02-01&format=text" => "heat_3",
            asked if asked == path.to_lowercase() => {
                // As the real ones have it: who does not say these is not answered.
                let known = [
                    "x-aws-ec2-metadata-token: secret",
                    "metadata-flavor: google",
                    "metadata: true",
                ];
                assert!(known.iter().any(|header| request.contains(header)), "{request}");
                if noticed.load(Ordering::SeqCst) { after } else { before }
            }
            _ => "",
        };
        let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    };
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    (address, flag)
}

fn watch(p: &Place, cloud: &str, address: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(contrib("cloud/spot-watch.sh")).arg(cloud).current_dir(p.dir.path());
    command.env("PATH", path(p, &[])).env("METADATA", address).env("SECONDS_BETWEEN", "0.1");
    command
        .env("AFTER", "cp -r \"$DORMOUSE_STORE\" carried")
        .env("http_proxy", "http://127.0.0.1:1");
    command.env("DORMOUSE_STORE", p.store()).env("DORMOUSE_CACHE", p.path("cache"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn spot_machines() {
    if !have("curl") {
        return;
    }
    let clouds = [
        (
            "aws",
            "/latest/meta-data/spot/instance-action",
            "",
            r#"{"action": "terminate", "time": "2026-11-22T08:22:00Z"}"#,
        ),
        ("gcp", "/computeMetadata/v1/instance/preempted", "FALSE", "TRUE"),
        (
            "azure",
            "/metadata/scheduledevents?api-version=2020-07-01",
            r#"{"DocumentIncarnation":1,"Events":[{"EventType":"Reboot","Resources":["heat_3"]},
                {"EventId":"1","EventType":"Preempt","Resources":["heat_4","heat_33"]}]}"#,
            r#"{"DocumentIncarnation":2,"Events":[{"EventId":"1","EventType":"Preempt","ResourceType":"VirtualMachine",
                "Resources":["heat_4", "heat_3"]}]}"#,
        ),
    ];
    for (cloud, path, before, after) in clouds {
        let p = Place::new();
        let copy = p.guest("copy", COPY);
        let jobs = ["a", "b"].map(|job| p.start(job, &[&copy]));
        let (address, flag) = metadata(path, before, after);
        let mut watching = watch(&p, cloud, &address).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert!(watching.try_wait().unwrap().is_none(), "{cloud}: there is no notice yet");
        assert_eq!((p.checkpoints("a"), p.checkpoints("b")), (0, 0));
        flag.store(true, Ordering::SeqCst);
        let ended = Ended::wait(watching);
        assert_eq!(ended.code, Some(0), "{cloud}: {}", ended.err);
        for job in jobs {
            assert_eq!(Ended::wait(job).code, Some(85), "{cloud}");
        }
        let carried = p.path("carried");
        assert_eq!(
            p.dormouse(&["resume", "b", "--store", carried.to_str().unwrap()]).code,
            Some(9)
        );
    }
    // Where nobody answers, that is said, and said once.
    let p = Place::new();
    for cloud in ["aws", "gcp", "azure"] {
        let mut command = watch(&p, cloud, "http://127.0.0.1:1");
        let slow = path(&p, &[("sleep", "echo >>slept; exec /bin/sleep 0.1")]);
        let mut watching = command.env("PATH", slow).spawn().unwrap();
        let slept = || std::fs::read_to_string(p.path("slept")).map_or(0, |text| text.len());
        p.wait_for("three rounds", || slept() >= 3);
        watching.kill().unwrap();
        let said = Ended::wait(watching).err;
        assert!(said.contains(&format!("as the metadata service of {cloud} does")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        std::fs::remove_file(p.path("slept")).unwrap();
    }
    assert_eq!(Ended::of(watch(&p, "elsewhere", "").output().unwrap()).code, Some(2));
}

#[test]
fn they_are_in_the_documentation() {
    let page = std::fs::read_to_string(root().join("docs/schedulers.md")).unwrap();
    let folder =
        |dir: &Path| std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect::<Vec<_>>();
    let dirs = folder(&root().join("contrib")).into_iter().filter(|path| path.is_dir());
    for file in dirs.flat_map(|dir| folder(&dir)) {
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap();
        assert!(page.contains(name), "{name}");
    }
}
