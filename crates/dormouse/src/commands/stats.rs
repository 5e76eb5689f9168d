//! `stats`: what a job's checkpoints cost.

use super::Done;
use crate::{cli, size, ui};
use dormouse::stats::{self, Record, Records, Summary};
use dormouse_store::Store;

pub fn stats(args: cli::Stats) -> Done {
    let store = Store::open(&args.listing.place.dir()?)?;
    let Records { mut records, skipped } = stats::read(&store, &args.job)?;
    if let Some(last) = args.last {
        records.drain(..records.len().saturating_sub(last));
    }
    let summary = Summary::of(&records);
    if args.listing.json {
        ui::print_json(&serde_json::json!({
            "job": args.job,
            "records": records,
            "summary": summary,
            "skipped": skipped,
        }));
        return Ok(0);
    }
    ui::print(&(table(&records) + &sentence(&args.job, &summary)));
    let tracking = records.iter().rev().map(|r| r.tracking.as_str()).find(|t| !t.is_empty());
    if let Some(tracking) = tracking {
        ui::print(&format!("changed pages are found by {}\n", ui::visible(tracking)));
    }
    let failed = records.iter().rev().find_map(|r| Some((&r.when, r.error.as_ref()?)));
    if let Some((when, error)) = failed {
        let when = ui::local_time(when);
        ui::print(&format!("the last that failed, at {when}: {}\n", ui::visible(error)));
    }
    if skipped > 0 {
        let lines = ui::count(skipped, "line");
        ui::warning(&format!(
            "{lines} of the job's statistics cannot be read (damaged, or of a newer dormouse)"
        ));
    }
    Ok(0)
}

/// At most 100 columns wide, also for a million checkpoints of petabytes.
fn table(records: &[Record]) -> String {
    let heading =
        ["N", "WHEN", "WHY", "PAUSE", "ROUNDS", "PAGES", "BYTES", "STORED", "WRITE", "OVERHEAD"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(records.iter().map(|r| {
        vec![
            r.number.map_or("failed".to_owned(), |n| n.to_string()),
            // The year is this one, or last.
            ui::local_time(&r.when).get(5..).unwrap_or_default().to_owned(),
            r.why.clone(),
            ui::micros(r.pause),
            r.rounds.to_string(),
            r.pages.to_string(),
            size::short(r.bytes),
            size::short(r.stored),
            ui::micros(r.write),
            ui::percent(r.overhead),
        ]
    }));
    ui::dense_table(&rows)
}

fn sentence(job: &str, summary: &Summary) -> String {
    let failed = match summary.failed {
        0 => String::new(),
        n => format!(" ({n} failed)"),
    };
    format!(
        "{}{failed} of {job}: pause p50 {}, p99 {}, max {}; {} became {} in the store; overhead so far {}\n",
        ui::count(summary.checkpoints, "checkpoint"),
        ui::micros(summary.pause_p50),
        ui::micros(summary.pause_p99),
        ui::micros(summary.pause_max),
        size::text(summary.bytes),
        size::text(summary.stored),
        ui::percent(summary.overhead),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits() {
        let record = |number, pause, bytes, overhead| Record {
            number,
            when: "2026-11-21T05:16:41.123Z".into(),
            why: "program".into(),
            pause,
            rounds: 99,
            pages: 1 << 20,
            bytes,
            stored: bytes,
            write: pause,
            overhead,
            ..Record::default()
        };
        let records = [
            record(Some(123_456), 999_949, 1023 << 20, 0.999_96),
            record(None, 4120, 1023, 0.0),
            record(Some(7), 99_999_000_000, 9 << 50, 1.0),
        ];
        let table = table(&records);
        assert_eq!(table.lines().count(), 4);
        for line in table.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn in_words() {
        let durable = |pause| Record {
            number: Some(1),
            pause,
            bytes: 1 << 20,
            stored: 1 << 10,
            overhead: 0.0031,
            ..Record::default()
        };
        let records = [durable(1500), Record::default(), durable(2_500_000)];
        assert_eq!(
            sentence("sim", &Summary::of(&records)),
            "2 checkpoints (1 failed) of sim: pause p50 1.50 ms, p99 2.50 s, max 2.50 s; 2.0 MiB became \
             2.0 KiB in the store; overhead so far 0.31%\n"
        );
    }
}
