//! What checkpoints cost a program that has a large heap and writes to it: how long it stands still, how much less it gets
//! done, and how soon it runs again.
//!
//! All with the real binary on a program of ours ([`guest`]), whose heap and rate of writing are chosen.

mod guest;
mod job;

use crate::median;
use anyhow::{Result, ensure};
use guest::Shape;
use job::{Job, Place};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const HEAPS: [u64; 3] = [64 * MIB, 1024 * MIB, 3072 * MIB];
/// In thousandths of a percent of the pages, a second.
const RATES: [u64; 3] = [100, 1000, 10_000];

/// A heap of 1 GiB of which 1 % of the pages is written in a second, at random.
const USUAL: Shape =
    Shape { heap: 1024 * MIB, rate: 1000, random: true, window: 1000, units: None, excluded: 0 };

pub fn run(words: &[&str]) -> Result<()> {
    match words {
        [] => {
            pauses(15, 100)?;
            slowdown(8)?;
            ablation(3)?;
            resume(5)
        }
        ["pauses"] => pauses(15, 100),
        ["pauses", few, many] => pauses(few.parse()?, many.parse()?),
        ["usual", count] => {
            heading();
            pauses_of(USUAL, count.parse()?)
        }
        ["one", mib, rate, how, count] => {
            let random = *how == "random";
            heading();
            pauses_of(
                Shape { heap: mib.parse::<u64>()? * MIB, rate: rate.parse()?, random, ..USUAL },
                count.parse()?,
            )
        }
        ["slowdown"] => slowdown(8),
        ["slowdown", pairs] => slowdown(pairs.parse()?),
        ["ablation"] => ablation(3),
        ["ablation", rounds] => ablation(rounds.parse()?),
        ["resume"] => resume(5),
        ["resume", rounds] => resume(rounds.parse()?),
        _ => anyhow::bail!(
            "usage: dormouse-bench checkpoint [pauses [EACH USUAL] | usual COUNT | one MIB RATE random|order COUNT | slowdown [PAIRS] | ablation [ROUNDS] | resume [ROUNDS]]"
        ),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ if bytes < 1024 * MIB => format!("{} MiB", bytes / MIB),
        _ => format!("{:.1} GiB", bytes as f64 / (1024 * MIB) as f64),
    }
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// How long it stands still, at a checkpoint a second.
fn pauses(each: usize, usual: usize) -> Result<()> {
    println!(
        "pauses: a checkpoint a second; the first, of the whole heap, is in a column of its own\n"
    );
    heading();
    for heap in HEAPS {
        for rate in RATES {
            for random in [true, false] {
                let shape = Shape { heap, rate, random, ..USUAL };
                let is_usual = heap == USUAL.heap && rate == USUAL.rate && random;
                pauses_of(shape, if is_usual { usual } else { each })?;
            }
        }
    }
    println!();
    Ok(())
}

fn heading() {
    println!(
        "| heap | pages written a second | which | n | first ms | p50 ms | p99 ms | longest ms | rounds | pages | stored | durable after ms | cost ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
}

fn pauses_of(shape: Shape, count: usize) -> Result<()> {
    let place = Place::new()?;
    let mut job = Job::start(&place, "pauses", shape, &["--keep-last", "3"])?;
    job.ready()?;
    // What is compiled for the places it stops at is kept: that is not what is measured.
    for _ in 0..2 {
        job.checkpoint()?;
    }
    for _ in 0..count {
        job.rest(Duration::from_secs(1))?;
        job.checkpoint()?;
    }
    let records = job.records()?;
    job.kill()?;
    let (first, rest) = (&records[0], &records[2..]);
    let of = |what: fn(&dormouse::stats::Record) -> f64| rest.iter().map(what).collect::<Vec<_>>();
    let pause = of(|r| r.pause as f64 / 1e3);
    println!(
        "| {} | {} % | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} | {} | {:.0} | {:.0} |",
        size(shape.heap),
        shape.rate as f64 / 1e3,
        if shape.random { "random" } else { "in order" },
        rest.len(),
        first.pause as f64 / 1e3,
        percentile(&pause, 50),
        percentile(&pause, 99),
        percentile(&pause, 100),
        median(of(|r| r.rounds.into())),
        median(of(|r| r.pages as f64)),
        size(median(of(|r| r.stored as f64)) as u64),
        median(of(|r| r.latency as f64 / 1e3)),
        median(of(|r| r.cost as f64 / 1e3)),
    );
    Ok(())
}

/// How much less it gets done: windows with and without checkpoints, in turn, in one process.
fn slowdown(pairs: usize) -> Result<()> {
    println!(
        "slowdown: units of work in windows with checkpoints / in the windows before and after, one process,"
    );
    println!(
        "{} heap, {} % of the pages written a second, at random\n",
        size(USUAL.heap),
        USUAL.rate as f64 / 1e3
    );
    println!("| every | window | pairs | slowdown: median | least | most |");
    println!("|---|---|---|---|---|---|");
    for (every, window) in [(1, 5), (10, 10)] {
        let place = Place::new()?;
        let shape = Shape { window: window * 1000, ..USUAL };
        let mut job = Job::start(&place, "slowdown", shape, &["--keep-last", "3"])?;
        job.ready()?;
        job.checkpoint()?;
        job.window()?;
        let mut windows = vec![];
        for n in 0..2 * pairs + 1 {
            if n % 2 == 1 {
                for _ in 0..window / every {
                    job.checkpoint_every(Duration::from_secs(every))?;
                }
            }
            windows.push(job.window()? as f64);
        }
        job.kill()?;
        let slower = |at: usize| {
            let without = (windows[at - 1] + windows[at + 1]) / 2.0;
            (without / windows[at] - 1.0) * 100.0
        };
        let slowdowns: Vec<f64> = (1..windows.len() - 1).step_by(2).map(slower).collect();
        println!(
            "| {every} s | {window} s | {pairs} | {:.2} % | {:.2} % | {:.2} % |",
            median(slowdowns.clone()),
            percentile(&slowdowns, 1),
            percentile(&slowdowns, 100)
        );
    }
    println!();
    Ok(())
}

/// What each of libckpt's ideas brings: the same work, with a checkpoint every 2 seconds.
fn ablation(rounds: usize) -> Result<()> {
    const WAYS: [(&str, &[&str], u64); 5] = [
        ("none", &["--every", "never"], 0),
        (
            "full",
            &["--every", "2s", "--max-layers", "0", "--no-precopy", "--tracking", "compare"],
            0,
        ),
        ("incremental", &["--every", "2s", "--no-precopy", "--tracking", "compare"], 0),
        ("+ pre-copy", &["--every", "2s"], 0),
        ("+ exclusion", &["--every", "2s"], 75),
    ];
    println!(
        "ablation: the same work with a checkpoint every 2 s, {} heap, {} % of the pages written a",
        size(USUAL.heap),
        USUAL.rate as f64 / 1e3
    );
    println!(
        "second, at random; with exclusion, three quarters of the heap need not be kept. Median of {rounds} runs in turn.\n"
    );
    // As much as takes some 20 seconds here.
    let shape = Shape { units: Some(job::units_in(Duration::from_secs(20))?), ..USUAL };
    let mut runs = vec![vec![]; WAYS.len()];
    for _ in 0..rounds {
        for (way, (_, args, excluded)) in WAYS.iter().enumerate() {
            let place = Place::new()?;
            let shape = Shape { excluded: *excluded, ..shape };
            let args = [*args, &["--keep-last", "3"]].concat();
            let job = Job::start(&place, "ablation", shape, &args)?;
            runs[way].push(job.run_to_end()?);
        }
    }
    println!(
        "| checkpoints | running time s | number | average size | overhead s | a checkpoint s | overhead % | pause p50 ms |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let time = |way: usize| median(runs[way].iter().map(|r| r.0).collect());
    let base = time(0);
    for (way, (name, ..)) in WAYS.iter().enumerate() {
        let records: Vec<_> = runs[way].iter().flat_map(|r| &r.1).collect();
        let number = records.len() as f64 / rounds as f64;
        let stored =
            records.iter().map(|r| r.stored as f64).sum::<f64>() / records.len().max(1) as f64;
        let pauses: Vec<f64> = records.iter().map(|r| r.pause as f64 / 1e3).collect();
        let over = time(way) - base;
        match way {
            0 => println!("| {name} | {base:.1} | | | | | | |"),
            _ => println!(
                "| {name} | {:.1} | {number:.1} | {} | {over:.2} | {:.2} | {:.1} | {:.2} |",
                time(way),
                size(stored as u64),
                over / number,
                over / base * 100.0,
                percentile(&pauses, 50)
            ),
        }
    }
    println!();
    Ok(())
}

/// How soon a resumed program runs, and runs as fast as before.
fn resume(rounds: usize) -> Result<()> {
    println!(
        "resume: from the start of the process; the program loads from anywhere in its heap. Median of {rounds},"
    );
    println!("the image in the page cache.\n");
    println!("| heap | stored | how | first instruction ms | full speed after ms |");
    println!("|---|---|---|---|---|");
    let mut first = vec![];
    for heap in [MIB, 64 * MIB, 1024 * MIB] {
        let place = Place::new()?;
        let shape = Shape { heap, rate: 0, window: 20, ..USUAL };
        let mut job = Job::start(&place, "resume", shape, &[])?;
        job.ready()?;
        job.checkpoint()?;
        let full_speed = median((0..100).map(|_| Ok(job.window()? as f64)).collect::<Result<_>>()?);
        job.stop()?;
        // It must see that it slept.
        std::thread::sleep(Duration::from_millis(200));
        for how in [&[][..], &["--lazy"]] {
            let (mut begins, mut speeds) = (vec![], vec![]);
            for round in 0..=rounds {
                let clone = format!("clone{round}{}", how.len());
                let mut again =
                    Job::resume(&place, "resume", &[how, &["--clone", &clone]].concat())?;
                let (begun, fast) = again.awake(full_speed)?;
                again.kill()?;
                // The first finds what it needs compiled from now on.
                if round > 0 {
                    begins.push(begun.as_secs_f64() * 1e3);
                    speeds.push(fast.as_secs_f64() * 1e3);
                }
            }
            let begun = median(begins);
            first.push(begun);
            println!(
                "| {} | {} | {} | {begun:.0} | {:.0} |",
                size(heap),
                size(place.stored()?),
                if how.is_empty() { "read first" } else { "--lazy" },
                median(speeds)
            );
        }
    }
    ensure!(first.len() == 6);
    println!(
        "\nlazily, 1 GiB begins {:.0} ms after 1 MiB (target: at most 50)\n",
        first[5] - first[1]
    );
    Ok(())
}
