//! From saved objects to live ones: what must hold for the files that are found.
//!
//! Restoring has two parts. First everything is opened and checked, which changes nothing on the host; only when all
//! of it holds is output cut back that was written after the checkpoint.

use crate::carry::Changes;
use crate::clocks::Monotonic;
use crate::describe::guest_path;
use crate::directed::Directed;
use crate::dirs::Listing;
use crate::errors::{WasiError, doing};
use crate::fds::{Descriptor, FdTable, Host, Inodes, OpenDir, OpenFile, Place, Preopen, identity};
use crate::os::{self, Signal, StreamKind};
use crate::rewind::{rewind, way_back};
use crate::sleep::{mtime, open_preopen};
use crate::state::{Contents, Saved, SavedFd, SavedFile, SavedPreopen, SavedStream};
use crate::stdio::{StdioConfig, Stream};
use crate::{Carried, Cut, Rehearsal, RestoreOptions, What};
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, Metadata, OpenOptions};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

impl Host {
    pub fn restore(mut saved: Saved, opts: RestoreOptions) -> Result<Host, WasiError> {
        let (check_files, undo, mark) = (opts.check_files, opts.undo.clone(), opts.mark);
        let (fds, end, streams) = (std::mem::take(&mut saved.fds), saved.end, saved.streams);
        let theirs = theirs(&opts);
        let (clone, carry) = (opts.clone, opts.carry);
        let carried = opts.carried.clone().map(|carried| carried.that_matter(&fds));
        let mut host = Host::awake(saved, opts)?;
        if let (Some(path), Some(mark), true) = (&undo, mark, check_files) {
            host.stranded = !rewind(path, mark, &host.preopens)? && carried.is_none();
        }
        if let Some(carried) = &carried {
            let mut plan = host.plan(carried)?;
            host.may_recreate(&mut plan, &carried.items, &theirs)?;
            host.recreate(&plan, carried)?;
            host.recreated = plan.counts();
        }
        let cuts = host.reopen(fds, end, check_files)?;
        host.may_cut(&cuts, theirs)?;
        for Cut { fd, size, .. } in cuts {
            if let Ok(file) = host.fds.file(fd) {
                let what = doing(format!(
                    "cutting fd {fd}, {:?}, back to {size} bytes",
                    host.path_of(&file.place)
                ));
                file.change(size, u64::MAX, |file| file.set_len(size)).map_err(what)?;
            }
        }
        restore_streams(&mut host.stdio, &streams, check_files && !clone);
        host.keep_undo(undo, mark.filter(|_| check_files))?;
        let items = carried.map_or_else(Vec::new, |carried| carried.items);
        host.changes = carry.then(|| Changes::of(&items));
        Ok(host)
    }

    /// What [`Host::restore`] would do; changes nothing.
    pub fn rehearse(mut saved: Saved, opts: RestoreOptions) -> Result<Rehearsal, WasiError> {
        let (check_files, undo, mark) = (opts.check_files, opts.undo.clone(), opts.mark);
        let (fds, end) = (std::mem::take(&mut saved.fds), saved.end);
        let theirs = theirs(&opts);
        let carried = opts.carried.clone().map(|carried| carried.that_matter(&fds));
        if let Some(carried) = &carried
            && let Some(rehearsal) = in_nothing(&saved, &opts, carried)
        {
            return Ok(rehearsal);
        }
        let mut host = Host::awake(saved, opts)?;
        let dirs = host.preopens.iter().map(|p| (p.guest.clone(), p.host.clone())).collect();
        let mut rehearsal = Rehearsal { dirs, ..Rehearsal::default() };
        if let (Some(path), Some(mark), true) = (&undo, mark, check_files) {
            (rehearsal.stranded, rehearsal.put_back) = way_back(path, mark, &host.preopens)?;
            rehearsal.stranded &= carried.is_none();
        }
        // Files that will be put back cannot be compared before they are.
        if !rehearsal.put_back
            && let Some(carried) = &carried
        {
            let mut plan = host.plan(carried)?;
            host.may_recreate(&mut plan, &carried.items, &theirs)?;
            [rehearsal.written, rehearsal.made, rehearsal.removed] =
                host.in_words(&plan, &carried.items);
        }
        let as_they_must_be = rehearsal.written.is_empty() && rehearsal.made.is_empty();
        if !rehearsal.put_back && as_they_must_be {
            rehearsal.cut = host.reopen(fds, end, check_files)?;
            host.may_cut(&rehearsal.cut, theirs)?;
        }
        Ok(rehearsal)
    }

    /// Refuses to cut files of directories that are `theirs`.
    fn may_cut(&mut self, cuts: &[Cut], theirs: impl Fn(&str) -> bool) -> Result<(), WasiError> {
        for Cut { fd, path, size, now } in cuts {
            let Ok(file) = self.fds.file(*fd) else { continue };
            let preopen = self.preopens.get(file.place.preopen);
            if preopen.is_some_and(|p| theirs(&p.guest)) {
                let (fd, path, then, now) = (*fd, path.clone(), *size, *now);
                return Err(WasiError::NotOurs { fd, path, then, now });
            }
        }
        Ok(())
    }

    /// All but what has to do with files.
    fn awake(saved: Saved, opts: RestoreOptions) -> Result<Host, WasiError> {
        let directed = Directed::restored(saved.directed, &opts);
        let preopens = preopens(saved.preopens, &opts)?;
        let mut env = saved.env;
        for (key, value) in opts.env {
            match env.iter_mut().find(|(old, _)| *old == key) {
                Some((_, old)) => *old = value,
                None => env.push((key, value)),
            }
        }
        let signal = Signal::new().map_err(doing("making an event descriptor"))?;
        Ok(Host {
            args: saved.args,
            env,
            preopens,
            stdio: opts.stdio.into_streams(),
            fds: FdTable::default(),
            clock: Monotonic::standing_at(saved.monotonic),
            inodes: Inodes::default(),
            pending: saved.pending,
            directed,
            signal: Arc::new(signal),
            undo: None,
            changes: None,
            digests: opts.check_files.then(Arc::default),
            stranded: false,
            tape: None,
            recreated: (0, 0),
        })
    }

    /// Opens everything again that was open; says which files are longer than they were.
    fn reopen(
        &mut self,
        saved: Vec<(u32, SavedFd)>,
        end: u32,
        check_files: bool,
    ) -> Result<Vec<Cut>, WasiError> {
        let written: Vec<Place> = saved
            .iter()
            .filter_map(|(_, saved)| match saved {
                SavedFd::File(file) if file.writable => Some(file.place.clone()),
                _ => None,
            })
            .collect();
        let mut fds = BTreeMap::new();
        let mut cuts = Vec::new();
        for (fd, saved) in saved {
            let descriptor = match saved {
                SavedFd::Stdio(which) => Descriptor::Stdio(which),
                SavedFd::Dir { place, preopen, ino, listing } => {
                    Descriptor::Dir(self.open_dir(fd, place, preopen, ino, listing)?)
                }
                SavedFd::File(file) => {
                    let (open, now) = self.open_file(fd, &file)?;
                    if let (true, Some(then)) = (check_files, file.contents) {
                        let also_written = written.contains(&file.place);
                        if self.check(fd, &open, then, &now, also_written)? {
                            let path = self.path_of(&file.place);
                            cuts.push(Cut { fd, path, size: then.size, now: now.len() });
                        }
                    }
                    Descriptor::File(open)
                }
            };
            fds.insert(fd, descriptor);
        }
        self.fds = FdTable::restored(fds, end);
        Ok(cuts)
    }

    fn open_again(
        &self,
        fd: u32,
        place: &Place,
        readable: bool,
        writable: bool,
    ) -> Result<(std::fs::File, Metadata), WasiError> {
        let missing = |source| WasiError::Missing { fd, path: self.path_of(place), source };
        let mut options = OpenOptions::new();
        options.read(readable).write(writable).nonblock(true).follow(FollowSymlinks::No);
        let path = if place.path.is_empty() { "." } else { &place.path };
        let preopen = self
            .preopens
            .get(place.preopen)
            .ok_or_else(|| missing(io::ErrorKind::NotFound.into()))?;
        let file = preopen.dir.open_with(path, &options).map_err(missing)?.into_std();
        let meta = Metadata::from_file(&file).map_err(missing)?;
        Ok((file, meta))
    }

    fn open_dir(
        &mut self,
        fd: u32,
        place: Place,
        preopen: bool,
        ino: u64,
        listing: Option<Listing>,
    ) -> Result<OpenDir, WasiError> {
        let (dir, meta) = match self.preopens.get(place.preopen) {
            Some(root) if preopen => {
                let meta = root.dir.dir_metadata();
                (
                    root.dir.clone(),
                    meta.map_err(doing(format!("asking about directory {:?}", root.guest)))?,
                )
            }
            _ => {
                let (file, meta) = self.open_again(fd, &place, true, false)?;
                if !meta.is_dir() {
                    let source = io::ErrorKind::NotADirectory.into();
                    return Err(WasiError::Missing { fd, path: self.path_of(&place), source });
                }
                (Arc::new(Dir::from_std_file(file)), meta)
            }
        };
        self.inodes.keep(identity(&meta), ino);
        Ok(OpenDir { dir, place, preopen, listing })
    }

    fn open_file(&mut self, fd: u32, saved: &SavedFile) -> Result<(OpenFile, Metadata), WasiError> {
        let (file, now) = self.open_again(fd, &saved.place, saved.readable, saved.writable)?;
        let regular = now.is_file();
        if now.is_dir() || regular != saved.contents.is_some() {
            let what = if regular { "a file now" } else { "no regular file now" };
            return Err(WasiError::Changed {
                fd,
                path: self.path_of(&saved.place),
                what: what.to_owned(),
            });
        }
        self.inodes.keep(identity(&now), saved.ino);
        let open = OpenFile {
            file,
            place: saved.place.clone(),
            readable: saved.readable,
            writable: saved.writable,
            append: saved.append,
            nonblock: saved.nonblock,
            offset: saved.offset,
            noted: None,
            known: self.knows(saved.place.preopen, &saved.place.path, &now),
        };
        Ok((open, now))
    }

    /// Checks a file against what it was; says whether it has to be cut back.
    fn check(
        &self,
        fd: u32,
        file: &OpenFile,
        then: Contents,
        now: &Metadata,
        also_written: bool,
    ) -> Result<bool, WasiError> {
        let path = || self.path_of(&file.place);
        if file.writable && now.len() < then.size {
            return Err(WasiError::Shorter { fd, path: path(), then: then.size, now: now.len() });
        }
        if !file.writable && also_written {
            // The program itself changed it after the checkpoint, through its other descriptor, which is checked.
            return Ok(false);
        }
        let what = if !file.writable && now.len() != then.size {
            format!("{} bytes long, was {}", now.len(), then.size)
        } else if let Some(same) = then.digest.and_then(|d| file.begins_with(then.size, &d, now)) {
            if same {
                return Ok(now.len() > then.size);
            }
            "its contents differ".to_owned()
        } else if !file.writable && then.mtime != 0 && mtime(now) != then.mtime {
            "it has another modification time".to_owned()
        } else {
            return Ok(now.len() > then.size);
        };
        Err(WasiError::Changed { fd, path: path(), what })
    }
}

/// Which directories are not a clone's own, by the guest's names.
fn theirs(opts: &RestoreOptions) -> impl Fn(&str) -> bool + use<> {
    let given: Option<Vec<String>> =
        opts.clone.then(|| opts.dirs.iter().map(|(_, guest)| guest.clone()).collect());
    move |guest| given.as_ref().is_some_and(|given| !given.iter().any(|g| g == guest))
}

/// Where a directory is here: as it was given, or else as it was.
fn place_of(saved: &SavedPreopen, opts: &RestoreOptions) -> Option<PathBuf> {
    let given = opts.dirs.iter().rev().find(|(_, guest)| *guest == saved.guest);
    let given = given.map(|(host, _)| host.clone());
    given.or_else(|| opts.recorded_dirs.then(|| os::path_from_bytes(saved.host.clone())))
}

/// What would be done in directories that would have to be made.
fn in_nothing(saved: &Saved, opts: &RestoreOptions, carried: &Carried) -> Option<Rehearsal> {
    let places: Vec<_> = saved.preopens.iter().map(|p| place_of(p, opts)).collect::<Option<_>>()?;
    if places.iter().all(|host| host.exists()) {
        return None;
    }
    let dirs = saved.preopens.iter().zip(places).map(|(p, host)| (p.guest.clone(), host));
    let mut rehearsal = Rehearsal { dirs: dirs.collect(), ..Rehearsal::default() };
    for item in &carried.items {
        let Some(preopen) = saved.preopens.get(item.dir) else { continue };
        let path = guest_path(&preopen.guest, &item.path);
        match item.what {
            What::Gone => {}
            What::File { .. } => rehearsal.written.push(path),
            What::Dir { .. } | What::Link { .. } => rehearsal.made.push(path),
        }
    }
    Some(rehearsal)
}

fn preopens(saved: Vec<SavedPreopen>, opts: &RestoreOptions) -> Result<Vec<Preopen>, WasiError> {
    let given = &opts.dirs;
    if let Some((_, guest)) =
        given.iter().find(|(_, guest)| !saved.iter().any(|s| s.guest == *guest))
    {
        let have: Vec<_> = saved.iter().map(|s| format!("{:?}", s.guest)).collect();
        return Err(WasiError::DirUnknown { guest: guest.clone(), have: have.join(", ") });
    }
    let open = |saved: SavedPreopen| match place_of(&saved, opts) {
        Some(host) => {
            if opts.carried.is_some() && !host.exists() {
                // Whether that worked is seen when it is opened.
                let _ = std::fs::create_dir_all(&host);
            }
            open_preopen(saved.guest, host)
        }
        None => {
            let recorded = os::path_from_bytes(saved.host);
            Err(WasiError::DirNotGiven { guest: saved.guest, recorded })
        }
    };
    saved.into_iter().map(open).collect()
}

/// Puts standard streams that are the same files as at the checkpoint where they were then: input always, output only
/// with `cut`, because what was written after the checkpoint goes with it.
fn restore_streams(streams: &mut [Stream; 3], saved: &[SavedStream; 3], cut: bool) {
    for (which, saved_stream) in saved.iter().enumerate() {
        match *saved_stream {
            SavedStream::Bytes { position } => streams[which].skip_bytes(position),
            SavedStream::File { id, position } if streams[which].kind() == StreamKind::File(id) => {
                let Some(fd) = streams[which].fd() else {
                    continue;
                };
                // Output and errors may go to the same file; nothing that either had written may go.
                let same = saved[1..].iter().filter_map(|other| match *other {
                    SavedStream::File { id: other, position } if other == id => Some(position),
                    _ => None,
                });
                let keep = same.max().unwrap_or(position);
                // A stream that cannot be put back goes on where it is: it was given like this by the caller.
                let _ = match which {
                    0 => os::seek(fd, position),
                    _ if cut && os::length(fd).is_ok_and(|len| len >= keep) => {
                        os::cut(fd, keep).and_then(|()| os::seek(fd, keep))
                    }
                    _ => Ok(()),
                };
            }
            _ => {}
        }
    }
}

impl Default for RestoreOptions {
    fn default() -> RestoreOptions {
        RestoreOptions {
            dirs: Vec::new(),
            recorded_dirs: true,
            env: Vec::new(),
            stdio: StdioConfig::default(),
            check_files: true,
            clone: false,
            undo: None,
            carry: false,
            carried: None,
            mark: None,
            unnoticed: false,
        }
    }
}
