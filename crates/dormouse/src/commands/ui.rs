//! `ui`: a page about a store, until Ctrl-C.

use super::Done;
use crate::web::{Page, Subject};
use crate::{cli, ui};
use dormouse::Error;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::process::{Command, Stdio};

pub fn ui(args: cli::Ui) -> Done {
    // What is wrong with the identities is told now.
    args.opening.identities()?;
    let (dir, hint) = (args.place.dir()?, args.place.hint());
    let (identities, no_config) = (args.opening.identities.clone(), args.no_config);
    let (place, opening) = (args.place, args.opening);
    let open = Box::new(move || opening.store(&place));
    let page = Page::listen(Subject { dir, hint, identities, no_config, open }, args.port)?;
    let failed = |action, what: &str| {
        let path = what.into();
        move |source| Error::Io { action, path, source }
    };
    let ends = [SIGINT, SIGTERM].into_iter().chain((!outlives_the_terminal()).then_some(SIGHUP));
    let signals = Signals::new(ends);
    let mut signals = signals.map_err(failed("wait for", "signals"))?;
    let address = page.address();
    ui::print(&format!("{address}\n"));
    ui::note(
        "whoever has this address can read the store and control its jobs; Ctrl-C ends the page, jobs go on",
    );
    let _door = if args.no_open { None } else { open_browser(&address) };
    let server = std::thread::Builder::new().spawn(move || page.serve());
    server.map_err(failed("start", "a thread"))?;
    // Whichever it was: the page has ended.
    let _ = signals.forever().next();
    Ok(0)
}

/// Whether it was started with `nohup`: then it is not to hear of the end of the terminal.
fn outlives_the_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (SIGHUP - 1) & 1 == 1)
}

/// Has the desktop's browser open it, if there is a desktop. The address has the token, and everybody on this host can see with which
/// words a process was started: so these name a file that only we can read, which leads there. It is gone at the end.
fn open_browser(address: &str) -> Option<tempfile::NamedTempFile> {
    let there = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let opener = match () {
        () if cfg!(target_os = "macos") => "open",
        () if there("DISPLAY") || there("WAYLAND_DISPLAY") => "xdg-open",
        () => return None,
    };
    let lead = || {
        let mut file = tempfile::Builder::new().prefix("dormouse-").suffix(".html").tempfile()?;
        write!(
            file,
            "<!doctype html><title>dormouse</title><meta http-equiv=\"refresh\" content=\"0; url={address}\">"
        )?;
        let mut command = Command::new(opener);
        command.arg(file.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        std::thread::Builder::new().spawn(move || child.wait())?;
        Ok::<_, std::io::Error>(file)
    };
    match lead() {
        Ok(file) => Some(file),
        Err(e) => {
            ui::warning(&format!(
                "cannot open a browser ({opener}: {e}); open the address yourself"
            ));
            None
        }
    }
}
