//! `push` and `pull`: checkpoints to and from OCI registries.

use super::Done;
use crate::bar::Bar;
use crate::{cli, size, ui};
use dormouse::look::Summary;
use dormouse_registry::Options;
use dormouse_store::Store;

pub fn push(args: cli::Push) -> Done {
    let store = Store::open(&args.listing.place.dir()?)?;
    let bar = Bar::start(format!("pushing {}", args.target.job));
    let progress = |done, total| bar.set(done, total);
    let options = Options { plain_http: args.plain_http, progress: Some(&progress) };
    let (job, number) = (&args.target.job, args.target.number);
    let done = dormouse_registry::push(&store, job, number, &args.to, &options);
    drop(bar);
    let done = done?;
    for damage in &done.warnings {
        ui::warning(&damage.to_string());
    }
    let checkpoint = &done.checkpoint;
    if args.listing.json {
        ui::print_json(&serde_json::json!({
            "checkpoint": Summary::of(checkpoint),
            "reference": done.reference.to_string(),
            "digest": checkpoint.digest,
            "blobs": done.blobs,
            "sent": done.sent,
            "sent_bytes": done.sent_bytes,
            "replaced": done.replaced,
        }));
        return Ok(0);
    }
    if let Some(before) = &done.replaced {
        ui::note(&format!("{} was {before} until now", done.reference));
    }
    ui::print(&format!(
        "{} is {}   {} of {} blobs sent, {}\n",
        done.reference,
        checkpoint.name(),
        done.sent,
        done.blobs,
        size::text(done.sent_bytes)
    ));
    Ok(0)
}

pub fn pull(args: cli::Pull) -> Done {
    let dir = args.listing.place.dir()?;
    let store = Store::create_or_open(&dir)?;
    let bar = Bar::start(format!("pulling {}", args.from));
    let progress = |done, total| bar.set(done, total);
    let options = Options { plain_http: args.plain_http, progress: Some(&progress) };
    let done = dormouse_registry::pull(&store, &args.from, args.name.as_deref(), &options);
    drop(bar);
    let done = done?;
    let checkpoint = &done.checkpoint;
    if args.listing.json {
        ui::print_json(&serde_json::json!({
            "checkpoint": Summary::of(checkpoint),
            "reference": args.from.to_string(),
            "digest": done.digest,
            "fetched": done.fetched,
            "fetched_bytes": done.fetched_bytes,
            "already": done.already,
        }));
        return Ok(0);
    }
    let name = checkpoint.name();
    if done.already {
        ui::print(&format!("{name} is here already\n"));
        return Ok(0);
    }
    let (blobs, bytes) = (done.fetched, size::text(done.fetched_bytes));
    ui::print(&format!("{name}   {blobs} blobs fetched, {bytes}\n"));
    ui::note(&format!("`dormouse resume {name}{}` goes on from it", args.listing.place.hint()));
    Ok(0)
}
