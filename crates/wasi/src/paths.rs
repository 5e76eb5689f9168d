//! Calls that take paths. All of them go through cap-std, which refuses to leave the directory they are relative to
//! (`perm`); nothing here walks paths to open them. What is done here is to remember where each open file is, so that
//! it can be found again after a resume.

use crate::errors::Fail;
use crate::fds::{Descriptor, Host, OpenDir, OpenFile, Place, identity};
use crate::files::times;
use crate::memory as mem;
use crate::types::{Errno, fdflags, known, known_rights, lookupflags, oflags, rights};
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, Metadata, OpenOptions};
use std::path::{Component, Path};
use std::sync::Arc;

/// Joins two paths beneath a preopen by their names alone: `.` goes, `..` takes a part away.
fn join(base: &str, path: &Path) -> String {
    let mut parts: Vec<String> =
        base.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

impl OpenDir {
    /// The place that `path` names. With symlinks that are followed, that is where they lead.
    pub fn place(&self, path: &str, follow: bool) -> Place {
        // If the path is gone already, its names are the best that is known; save() checks what is there.
        self.place_that_is(path, follow).unwrap_or_else(|| self.beneath(Path::new(path)))
    }

    fn beneath(&self, path: &Path) -> Place {
        Place { preopen: self.place.preopen, path: join(&self.place.path, path) }
    }

    /// The same, if the directories of `path` are there.
    pub fn place_that_is(&self, path: &str, follow: bool) -> Option<Place> {
        let asked = Path::new(path);
        let real = match (asked.file_name(), follow) {
            // One name and no link to follow: it is what it says.
            (Some(_), false) if asked.components().count() == 1 => Ok(asked.to_path_buf()),
            (Some(name), false) => {
                let parent = asked.parent().filter(|p| !p.as_os_str().is_empty());
                self.dir.canonicalize(parent.unwrap_or(Path::new("."))).map(|p| p.join(name))
            }
            _ => self.dir.canonicalize(asked),
        };
        let real = real.ok().filter(|p| p.to_str().is_some())?;
        Some(self.beneath(&real))
    }
}

fn metadata(dir: &Dir, path: &str, flags: u32) -> std::io::Result<Metadata> {
    if flags & lookupflags::SYMLINK_FOLLOW != 0 {
        dir.metadata(path)
    } else {
        dir.symlink_metadata(path)
    }
}

impl Host {
    pub fn path_create_directory(
        &mut self,
        memory: &mut [u8],
        dirfd: u32,
        path: u32,
        len: u32,
    ) -> Result<(), Fail> {
        let dir = self.fds.dir(dirfd)?;
        let path = mem::path(memory, path, len)?;
        let deed = self.undo.as_mut().and_then(|undo| undo.makes(dir, path));
        let done = dir.dir.create_dir(path);
        let place = self.changes.is_some().then(|| dir.place(path, false));
        self.settle(deed, done)?;
        self.note(|changes| place.iter().for_each(|place| changes.made(place)));
        Ok(())
    }

    pub fn path_filestat_get(
        &mut self,
        memory: &mut [u8],
        dirfd: u32,
        flags: u32,
        path: u32,
        len: u32,
        stat: u32,
    ) -> Result<(), Fail> {
        let flags = known(flags, lookupflags::ALL)?;
        let dir = self.fds.dir(dirfd)?;
        let meta = metadata(&dir.dir, mem::path(memory, path, len)?, flags)?;
        self.put_filestat(memory, stat, &meta)
    }

    #[allow(clippy::too_many_arguments)]
    pub fn path_filestat_set_times(
        &mut self,
        memory: &mut [u8],
        dirfd: u32,
        flags: u32,
        path: u32,
        len: u32,
        atim: u64,
        mtim: u64,
        fst_flags: u32,
    ) -> Result<(), Fail> {
        let flags = known(flags, lookupflags::ALL)?;
        let [atim, mtim] = times(atim, mtim, fst_flags)?;
        let dir = self.fds.dir(dirfd)?;
        let path = mem::path(memory, path, len)?;
        let follow = flags & lookupflags::SYMLINK_FOLLOW != 0;
        if let Some(undo) = &mut self.undo {
            undo.touches(&self.preopens, dir, path, follow);
        }
        let place = dir.place(path, follow);
        if follow {
            DirExt::set_times(&*dir.dir, path, atim, mtim)?;
        } else {
            dir.dir.set_symlink_times(path, atim, mtim)?;
        }
        self.note(|changes| changes.touched(&place));
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    pub fn path_link(
        &mut self,
        memory: &mut [u8],
        old_fd: u32,
        old_flags: u32,
        old_path: u32,
        old_path_len: u32,
        new_fd: u32,
        new_path: u32,
        new_path_len: u32,
    ) -> Result<(), Fail> {
        let flags = known(old_flags, lookupflags::ALL)?;
        let (old, new) = (self.fds.dir(old_fd)?, self.fds.dir(new_fd)?);
        let old_path = mem::path(memory, old_path, old_path_len)?;
        let new_path = mem::path(memory, new_path, new_path_len)?;
        if flags & lookupflags::SYMLINK_FOLLOW != 0 {
            return Err(Errno::Inval.into());
        }
        let deed = self.undo.as_mut().and_then(|undo| undo.makes(new, new_path));
        let done = old.dir.hard_link(old_path, &new.dir, new_path);
        let places = self.changes.is_some();
        let places = places.then(|| (old.place(old_path, false), new.place(new_path, false)));
        self.settle(deed, done)?;
        // What happens to one happens to the other from here on.
        self.note(|changes| {
            if let Some((old, new)) = &places {
                changes.touched(old);
                changes.made(new);
            }
        });
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    pub fn path_open(
        &mut self,
        memory: &mut [u8],
        dirfd: u32,
        dirflags: u32,
        path: u32,
        path_len: u32,
        oflags: u32,
        rights_base: u64,
        rights_inheriting: u64,
        fdflags: u32,
        opened_fd: u32,
    ) -> Result<(), Fail> {
        use oflags::{CREAT, DIRECTORY, EXCL, TRUNC};
        let dirflags = known(dirflags, lookupflags::ALL)?;
        let oflags = known(oflags, oflags::ALL)?;
        let fdflags = known(fdflags, fdflags::ALL)?;
        known_rights(rights_base | rights_inheriting)?;
        let path = mem::path(memory, path, path_len)?;
        let dir = match self.fds.get(dirfd)? {
            Descriptor::Dir(dir) => dir,
            Descriptor::File(_) => return Err(Errno::Notdir.into()),
            Descriptor::Stdio(_) => return Err(Errno::Badf.into()),
        };
        // Stock wasmtime has no files that sync at each write.
        if fdflags & (fdflags::SYNC | fdflags::DSYNC | fdflags::RSYNC) != 0 {
            return Err(Errno::Notsup.into());
        }
        if oflags & DIRECTORY != 0 && oflags & (CREAT | EXCL | TRUNC) != 0 {
            return Err(Errno::Inval.into());
        }
        let write = rights_base & rights::FD_WRITE != 0;
        // What is not opened for writing is opened for reading, else the system would not open it at all.
        let readable = rights_base & rights::FD_READ != 0 || !write;
        let writable = write || oflags & (CREAT | TRUNC) != 0;
        let follow = dirflags & lookupflags::SYMLINK_FOLLOW != 0;
        let mut options = OpenOptions::new();
        options.read(readable).write(writable).truncate(oflags & TRUNC != 0);
        options.follow(if follow { FollowSymlinks::Yes } else { FollowSymlinks::No });
        match (oflags & CREAT != 0, oflags & EXCL != 0) {
            (true, true) => options.create_new(true),
            (true, false) => options.create(true),
            _ => &mut options,
        };
        // Files do not care; opening a named pipe would wait for its other end where nothing can interrupt it.
        options.nonblock(true);

        // What is cut off is kept first, which takes a descriptor.
        let cut_after = self.undo.is_some() && oflags & TRUNC != 0;
        options.truncate(oflags & TRUNC != 0 && !cut_after);
        let makes = self.undo.as_mut().filter(|_| oflags & CREAT != 0);
        let deed = makes.and_then(|undo| undo.makes(dir, path));
        let makes = deed.is_some();
        // A link to nothing: what is made is only known afterwards.
        let makes_target =
            self.undo.is_some() && oflags & CREAT != 0 && !makes && dir.dir.metadata(path).is_err();

        let new = self.changes.is_some() && oflags & CREAT != 0 && dir.dir.metadata(path).is_err();

        let file = match dir.dir.open_with(path, &options) {
            Ok(file) => file.into_std(),
            Err(e) => return Ok(self.settle(deed, Err(e))?),
        };
        let place = dir.place(path, follow);
        if let (true, Some(undo)) = (makes || makes_target, &mut self.undo) {
            if makes_target {
                undo.made(&place);
            }
            undo.born(identity(&Metadata::from_file(&file)?));
        }
        let meta = Metadata::from_file(&file)?;
        let opened = if meta.is_dir() {
            let dir = Arc::new(Dir::from_std_file(file));
            Descriptor::Dir(OpenDir { dir, place, preopen: false, listing: None })
        } else if oflags & DIRECTORY != 0 {
            return Err(Errno::Notdir.into());
        } else {
            let file = OpenFile {
                file,
                known: self.knows(place.preopen, &place.path, &meta),
                place,
                readable,
                writable,
                append: fdflags & fdflags::APPEND != 0,
                nonblock: fdflags & fdflags::NONBLOCK != 0,
                offset: 0,
                noted: None,
            };
            if let (true, Some(undo)) = (cut_after, &mut self.undo) {
                let meta = file.metadata()?;
                if meta.is_file() {
                    undo.change(&self.preopens, &file, 0, meta.len());
                    file.file.set_len(0)?;
                }
            }
            if oflags & TRUNC != 0 {
                file.written(0, u64::MAX);
            }
            Descriptor::File(file)
        };
        if let (Some(changes), Descriptor::File(file)) = (&mut self.changes, &opened) {
            match new {
                true => changes.made(&file.place),
                false if oflags & TRUNC != 0 => changes.touched(&file.place),
                false => {}
            }
        }
        let fd = self.fds.push(opened)?;
        mem::put_u32(memory, opened_fd, fd)
    }

    #[allow(clippy::too_many_arguments)]
    pub fn path_readlink(
        &mut self,
        memory: &mut [u8],
        dirfd: u32,
        path: u32,
        path_len: u32,
        buf: u32,
        buf_len: u32,
        bufused: u32,
    ) -> Result<(), Fail> {
        let dir = self.fds.dir(dirfd)?;
        let target = dir.dir.read_link(mem::path(memory, path, path_len)?)?;
        let target = target.to_str().ok_or(Errno::Ilseq)?.as_bytes();
        let n = target.len().min(buf_len as usize);
        mem::put(memory, buf, &target[..n])?;
        // Fits: it is at most `buf_len`.
        mem::put_u32(memory, bufused, n as u32)
    }

    pub fn path_remove_directory(
        &mut self,
        memory: &mut [u8],
        dirfd: u32,
        path: u32,
        len: u32,
    ) -> Result<(), Fail> {
        let dir = self.fds.dir(dirfd)?;
        let path = mem::path(memory, path, len)?;
        let deed = self.undo.as_mut().map(|undo| undo.gone(&self.preopens, dir, path));
        let place = self.changes.is_some().then(|| dir.place(path, false));
        let done = dir.dir.remove_dir(path);
        self.settle(deed, done)?;
        self.note(|changes| place.iter().for_each(|place| changes.gone(place)));
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    pub fn path_rename(
        &mut self,
        memory: &mut [u8],
        old_fd: u32,
        old_path: u32,
        old_path_len: u32,
        new_fd: u32,
        new_path: u32,
        new_path_len: u32,
    ) -> Result<(), Fail> {
        let (old, new) = (self.fds.dir(old_fd)?, self.fds.dir(new_fd)?);
        let old_path = mem::path(memory, old_path, old_path_len)?;
        let new_path = mem::path(memory, new_path, new_path_len)?;
        let (from, to) = (old.place(old_path, false), new.place(new_path, false));
        let (source, target) = ((old, old_path, &from), (new, new_path, &to));
        let deed = self.undo.as_mut().map(|undo| undo.replaces(source, target, &self.preopens));
        // Two names of one file: nothing happens then.
        let id = |dir: &Dir, path: &str| dir.symlink_metadata(path).ok().map(|m| identity(&m));
        let before =
            self.changes.as_ref().map(|_| (id(&old.dir, old_path), id(&new.dir, new_path)));
        let done = old.dir.rename(old_path, &new.dir, new_path);
        self.settle(deed, done)?;
        if let (Some(changes), Some((moved, replaced))) = (&mut self.changes, before)
            && moved != replaced
        {
            let dir = self.preopens.get(to.preopen).map(|preopen| &*preopen.dir);
            changes.moved(&from, &to, replaced.is_none(), dir);
        }
        if from != to {
            self.fds.places_mut().for_each(|place| place.follow(&from, &to));
            self.know_where();
        }
        Ok(())
    }

    pub fn path_symlink(
        &mut self,
        memory: &mut [u8],
        old_path: u32,
        old_path_len: u32,
        dirfd: u32,
        new_path: u32,
        new_path_len: u32,
    ) -> Result<(), Fail> {
        let dir = self.fds.dir(dirfd)?;
        let target = mem::path(memory, old_path, old_path_len)?;
        let path = mem::path(memory, new_path, new_path_len)?;
        let deed = self.undo.as_mut().and_then(|undo| undo.makes(dir, path));
        let done = DirExt::symlink(&*dir.dir, target, path);
        let place = self.changes.is_some().then(|| dir.place(path, false));
        self.settle(deed, done)?;
        self.note(|changes| place.iter().for_each(|place| changes.made(place)));
        Ok(())
    }

    pub fn path_unlink_file(
        &mut self,
        memory: &mut [u8],
        dirfd: u32,
        path: u32,
        len: u32,
    ) -> Result<(), Fail> {
        let dir = self.fds.dir(dirfd)?;
        let path = mem::text(memory, path, len)?;
        let deed = self.undo.as_mut().map(|undo| undo.gone(&self.preopens, dir, path));
        let place = self.changes.is_some().then(|| dir.place(path, false));
        let done = dir.dir.remove_file(path);
        self.settle(deed, done)?;
        self.note(|changes| place.iter().for_each(|place| changes.gone(place)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_joined_by_name() {
        assert_eq!(join("", Path::new("a/./b/")), "a/b");
        assert_eq!(join("x/y", Path::new("../z")), "x/z");
        assert_eq!(join("x", Path::new(".")), "x");
        assert_eq!(join("", Path::new("..")), "");
    }

    #[test]
    fn beneath_does_not_stop_inside_a_name() {
        let place = |path: &str| Place { preopen: 0, path: path.to_owned() };
        for (path, after) in [("a/b", "x/b"), ("a", "x"), ("ab", "ab"), ("b/a", "b/a")] {
            let mut now = place(path);
            now.follow(&place("a"), &place("x"));
            assert_eq!(now, place(after));
        }
    }
}
