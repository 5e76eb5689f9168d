//! `gc`: old checkpoints by rules, and what no checkpoint needs.

use super::Done;
use crate::bar::Spinner;
use crate::{cli, size, ui};
use dormouse::{Retention, exit, running, stats, travel};
use dormouse_store::{Care, GcReport, Store};

pub fn gc(args: cli::Gc) -> Done {
    let store = Store::open(&args.listing.place.dir()?)?;
    let mut rules = Retention::default();
    args.keep.change()(&mut rules);
    let care = care(args.dry_run);
    let spinner = Spinner::start("looking for what nothing needs");
    let report = if rules.is_empty() {
        store.collect(care)?
    } else {
        let jobs = match args.job.is_empty() {
            true => store.jobs()?.into_iter().map(|job| job.job).collect(),
            false => args.job,
        };
        store.retain(&jobs, &rules, care)?
    };
    if care == Care::Thorough {
        if let Err(e) = travel::forget(&store) {
            ui::warning(&e.to_string());
        }
        for job in stats::jobs(store.dir()) {
            // What checkpoints cost of a job that is no more.
            let none = store.list(&job).is_ok_and(|listed| listed.is_empty());
            if none
                && !running::is_running(store.dir(), &job)
                && let Err(e) = stats::forget(store.dir(), &job)
            {
                ui::warning(&e.to_string());
            }
        }
    }
    drop(spinner);
    Ok(tell(&report, care, args.listing.json))
}

pub fn care(dry_run: bool) -> Care {
    if dry_run { Care::DryRun } else { Care::Thorough }
}

/// Says what went, or would go; the exit status.
pub fn tell(report: &GcReport, care: Care, json: bool) -> u8 {
    let dry = care == Care::DryRun;
    let status = if report.held_up.is_empty() { 0 } else { exit::FOUND };
    if json {
        ui::print_json(&serde_json::json!({
            "dry_run": dry,
            "removed": report.removed.iter().map(|c| c.name()).collect::<Vec<_>>(),
            "deleted": report.deleted,
            "freed_bytes": report.bytes,
            "held_up_by": report.held_up.iter().map(|d| d.to_string()).collect::<Vec<_>>(),
            "over_quota": report.over.iter().map(|over| serde_json::json!({
                "job": over.job,
                "bytes": over.bytes,
                "limit": over.limit,
            })).collect::<Vec<_>>(),
        }));
        return status;
    }
    let verb = if dry { "would remove" } else { "removed" };
    let mut text: String =
        report.removed.iter().map(|c| format!("{verb} {}\n", c.name())).collect();
    text += &format!(
        "{}{}, {}: {}\n",
        if dry { "would free " } else { "freed " },
        size::text(report.bytes),
        ui::count(report.deleted.len(), "file"),
        match report.removed.len() {
            0 => "no checkpoint goes".to_owned(),
            n if dry => format!("{} would go", ui::count(n, "checkpoint")),
            n => format!("{} gone", ui::count(n, "checkpoint")),
        },
    );
    ui::print(&text);
    for over in &report.over {
        ui::warning(&format!(
            "job {} takes {}, more than {}, though only what is never removed is left",
            over.job,
            size::text(over.bytes),
            size::text(over.limit),
        ));
    }
    for damage in &report.held_up {
        let advice = match &damage.checkpoint {
            Some(name) => format!("`dormouse rm {name}` removes it"),
            None if damage.path.as_os_str() == "index.json" && dry => {
                "it will be mended, and the next `dormouse gc` deletes".to_owned()
            }
            None if damage.path.as_os_str() == "index.json" => {
                "it is mended now: look at `dormouse list`, then run `dormouse gc` again".to_owned()
            }
            None => "remove or restore it with the tool it came from".to_owned(),
        };
        ui::warning(&format!(
            "no file is deleted while nobody knows what is needed: {damage}; {advice}"
        ));
    }
    status
}
