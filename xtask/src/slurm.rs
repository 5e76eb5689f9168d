//! `cargo xtask slurm`: a real Slurm stops a job again and again, and the job ends as if nobody had.
//!
//! ```text
//!   sbatch contrib/slurm/dormouse.sbatch lines.wat
//!     ├─ some lines ─ scontrol requeue ────────────────> SIGTERM, checkpoint, 85, back in the queue by Slurm
//!     ├─ some lines ─ another job of a higher priority ─> preempted: the same
//!     ├─ some lines ─ SIGTERM to the script ───────────> as --signal=B:TERM does: back in the queue by the script
//!     └─ its end: the lines of a plain run, once each, and no checkpoints are left
//! ```
//!
//! slurmctld, slurmd and munged of Debian run on this host only for the test, in a folder of their own. It takes half a minute
//! and is part of `cargo xtask test`.

mod cluster;

use crate::setup::{root, warn};
use crate::test;
use anyhow::{Context, Result, bail, ensure};
use cluster::Cluster;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// Prints a line that depends on all it has computed, again and again.
const PROGRAM: &str = include_str!("slurm/lines.wat");

/// Options of `cargo xtask slurm`.
#[derive(clap::Args)]
pub struct Args {
    /// Build nothing: with what was built the last time
    #[arg(long)]
    no_build: bool,
}

/// Builds what is needed, and runs the job.
pub fn run(args: &Args) -> Result<()> {
    if !args.no_build {
        test::build()?;
    }
    if !cluster::installed() {
        bail!("{}", missing());
    }
    let folder = tempfile::tempdir()?;
    through(folder.path(), &Cluster::start(folder.path())?)
}

/// Part of `cargo xtask test`: with what was built, and left out where there is no Slurm to be had, or it does not run.
pub fn quick() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let why = match cluster::installed().then(|| Cluster::start(folder.path())) {
        Some(Ok(cluster)) => return through(folder.path(), &cluster),
        Some(Err(e)) => format!("Slurm does not start here: {e:#}"),
        None => missing(),
    };
    warn(&[&why, "the test with a real Slurm is LEFT OUT."]);
    Ok(())
}

fn missing() -> String {
    let packages = cluster::PACKAGES.join(", ");
    format!("Slurm cannot be had here: it takes root, Linux and Debian's packages {packages}")
}

/// One job, from its beginning to its end.
fn through(folder: &Path, cluster: &Cluster) -> Result<()> {
    let started = Instant::now();
    let work = folder.join("work");
    std::fs::create_dir(&work)?;
    std::fs::write(work.join("lines.wat"), PROGRAM)?;
    let expected = plain(&work)?;
    let tried = job(cluster, &work, &expected);
    if tried.is_err() {
        eprintln!("{}", cluster.last_words());
        for name in ["out", "err"] {
            eprintln!("{name}: {}", read(&work.join(name)));
        }
    }
    tried?;
    println!(
        "slurm: requeued, preempted and signalled, the job ended as it should, in {} s",
        started.elapsed().as_secs()
    );
    Ok(())
}

/// What the program prints if nobody disturbs it.
fn plain(work: &Path) -> Result<String> {
    let mut command = Command::new(root().join("target/release/dormouse"));
    command.args(["run", "--store", "plain", "--cache", "cache", "lines.wat"]).current_dir(work);
    let output = command.output().context("dormouse")?;
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn job(cluster: &Cluster, work: &Path, expected: &str) -> Result<()> {
    let script = root().join("contrib/slurm/dormouse.sbatch");
    let mut sbatch = cluster.command("sbatch");
    sbatch.args(["--parsable", "--partition=low", "--output=out", "--error=err"]).arg(&script);
    sbatch.arg("lines.wat").current_dir(work);
    sbatch.env("DORMOUSE_STORE", work.join("store")).env("DORMOUSE_CACHE", work.join("cache"));
    let id = cluster::output(&mut sbatch)?;
    let id = id.trim();
    let name = format!("slurm-{id}");
    let (out, err) = (work.join("out"), work.join("err"));
    let lines = || read(&out).lines().count();

    for (n, way) in ["requeued", "preempted", "signalled"].into_iter().enumerate() {
        let before = lines();
        wait_for("some lines", || lines() > before + 1)?;
        match way {
            "requeued" => {
                cluster::output(cluster.command("scontrol").args(["requeue", id]))?;
            }
            "preempted" => {
                let mut other = cluster.command("sbatch");
                other.args([
                    "--parsable",
                    "--partition=high",
                    "--output=/dev/null",
                    "--wrap=sleep 1",
                ]);
                cluster::output(other.current_dir(work))?;
            }
            _ => {
                cluster::output(cluster.command("scancel").args(["--batch", "--signal=TERM", id]))?;
            }
        }
        let again = format!("going on from {name}@");
        // What is said of the stop is cut off the file when the job goes on: it was written after the checkpoint.
        wait_for("the job to go on by itself", || read(&err).matches(&again).count() == n + 1)?;
        println!("slurm: {way} after {} lines of {}", lines(), expected.lines().count());
    }
    wait_for("the end of the job", || {
        cluster.state(id).is_ok_and(|state| state.is_empty() || state == "COMPLETED")
    })?;
    ensure!(
        read(&out) == expected,
        "the job printed other lines:\n{}\nnot\n{expected}",
        read(&out)
    );
    let store = work.join("store");
    let mut list = Command::new(root().join("target/release/dormouse"));
    list.args(["list", "--json", "--store"]).arg(&store);
    let listed = cluster::output(&mut list)?;
    ensure!(!listed.contains(&name), "its checkpoints are still there: {listed}");
    Ok(())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !done() {
        ensure!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
