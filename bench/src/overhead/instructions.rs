//! Instructions executed, with safepoints and without: a figure that no other load on the machine disturbs.
//!
//! ```text
//!   for each guest and variant:
//!   valgrind --tool=callgrind --instr-atstart=no  dormouse-bench counted VARIANT GUEST
//!        compile, instantiate                not counted
//!        START   _start of the guest   STOP  counted, with what WASI does for it
//! ```
//!
//! Valgrind shows a processor without AVX-512, so that the code may differ a little from what runs without it.

use super::valgrind;
use super::variant::{Machines, Variant};
use crate::guest::{self, Guest};
use anyhow::{Context, Result, bail, ensure};
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs some guests, or all, at their small scale.
pub fn run(names: &[&str]) -> Result<()> {
    let valgrind = Command::new("valgrind").arg("--version").output();
    ensure!(
        valgrind.is_ok_and(|v| v.status.success()),
        "no valgrind here: apt-get install valgrind"
    );
    let mut text = String::new();
    let mut say = |line: String| {
        println!("{line}");
        text += &line;
        text.push('\n');
    };
    say("| program | plain, instructions | with safepoints | ratio |".into());
    say("|---|---|---|---|".into());
    let mut logs = vec![];
    // Valgrind would compile the large ones for a quarter of an hour.
    let few = |g: &Guest| !names.is_empty() || !["python", "catalogue"].contains(&g.kind.as_str());
    for g in guest::chosen(names)?.into_iter().filter(few) {
        let count = |v| count(&g, v).with_context(|| format!("{}, {v:?}", g.name));
        let (plain, ours) = (count(Variant::Plain)?, count(Variant::Safepoints)?);
        let ratio = ours as f64 / plain as f64;
        say(format!("| {} | {plain} | {ours} | {ratio:.4} |", g.name));
        logs.push(ratio.ln());
    }
    let geomean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
    say(format!("| **geomean of {}** | | | **{geomean:.4}** |", logs.len()));
    let folder = guest::root().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("instructions.md"), text)?;
    Ok(())
}

/// In a process of its own.
fn count(g: &Guest, variant: Variant) -> Result<u64> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--instr-atstart=no", "-q"]);
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(std::env::current_exe()?).args(["counted", variant.name(), &g.name]);
    let done = command.stdin(Stdio::null()).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = std::fs::read_to_string(&out).context("valgrind has written nothing")?;
    let total = text.lines().find_map(|l| l.strip_prefix("totals: "));
    let total = total.context("valgrind has counted nothing")?;
    Ok(total.trim().parse()?)
}

/// What runs in that process.
pub fn counted(variant: &str, name: &str) -> Result<()> {
    valgrind::enter()?;
    let [g] = &guest::chosen(&[name])?[..] else { bail!("several guests are called {name}") };
    let cache = cache()?;
    let machines = Machines::new(Some(cache.clone()))?;
    let ready = match Variant::named(variant)? {
        Variant::Plain => machines.open_plain(g, &cache.join(name))?,
        other => machines.compile(other, g)?.context("there is no such variant")?,
    };
    std::thread::sleep(Duration::from_millis(100)); // until the compiler's threads sleep, which would be counted too
    ready.run(g, &g.small.args, valgrind::start, valgrind::stop)?;
    Ok(())
}

/// Where compiled code is kept: another place for each build of this program, for what the transform makes of a module may
/// differ from build to build.
fn cache() -> Result<PathBuf> {
    let all = guest::root().join("target/bench-cache");
    let mut hash = DefaultHasher::new();
    hash.write(&std::fs::read(std::env::current_exe()?)?);
    let name = format!("valgrind-{:016x}", hash.finish());
    std::fs::create_dir_all(&all)?;
    for other in std::fs::read_dir(&all)? {
        let other = other?;
        if other.file_name() != name.as_str() {
            std::fs::remove_dir_all(other.path())?;
        }
    }
    Ok(all.join(name))
}
