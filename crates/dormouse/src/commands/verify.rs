//! `verify`: whether everything in the store is whole.

use super::Done;
use crate::bar::Spinner;
use crate::{cli, size, ui};
use dormouse::{Meter, exit};

pub fn verify(args: cli::Verify) -> Done {
    let store = args.opening.store(&args.listing.place)?;
    let report = {
        let meter = Meter::default();
        let _spinner = Spinner::counting("reading every checkpoint", meter.clone());
        // What cannot be measured is damaged, and told below.
        meter.expect(store.sizes().map_or(0, |sizes| sizes.total));
        let _work = meter.work();
        store.verify()?
    };
    let found = if report.damages.is_empty() { 0 } else { exit::FOUND };
    if args.listing.json {
        ui::print_json(&serde_json::json!({
            "checkpoints": report.checkpoints,
            "good": report.good,
            "damages": report.damages.iter().map(|d| serde_json::json!({
                "checkpoint": d.checkpoint,
                "what": d.what,
                "path": d.path,
                "how": d.kind.to_string(),
            })).collect::<Vec<_>>(),
            "unopened": report.unopened,
            "unreferenced": report.unreferenced,
            "unreferenced_bytes": report.unreferenced_bytes,
        }));
        return Ok(found);
    }
    for damage in &report.damages {
        ui::print(&format!("{damage}\n"));
    }
    ui::print(&format!("{} of {} checkpoints are good\n", report.good, report.checkpoints));
    if report.unopened > 0 {
        let n = report.unopened;
        ui::print(&format!(
            "{n} of them are encrypted: only digests were checked; --identity FILE checks all\n"
        ));
    }
    if !report.unreferenced.is_empty() {
        ui::print(&format!(
            "{}, {}, that nothing needs (left by saves or pulls cut short; harmless)\n`dormouse gc{}` deletes what nothing needs\n",
            ui::count(report.unreferenced.len(), "file"),
            size::text(report.unreferenced_bytes),
            args.listing.place.hint()
        ));
    }
    if found != 0 {
        ui::warning("`dormouse resume JOB` goes on from the newest checkpoint that is good");
    }
    Ok(found)
}
