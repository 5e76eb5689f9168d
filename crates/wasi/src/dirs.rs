//! Directories: their names in preview 1, and the listing that `fd_readdir` goes through.

use crate::errors::Fail;
use crate::fds::{Descriptor, Host, Inodes, OpenDir, identity};
use crate::memory as mem;
use crate::types::{Errno, Filetype, fields, size};
use cap_std::fs::Dir;

/// Names and bytes of names one listing may hold; a directory with more is `overflow`. The listing is part of the state.
pub(crate) const MAX_ENTRIES: usize = 1 << 20;
pub(crate) const MAX_NAME_BYTES: usize = 64 << 20;

/// What a directory held when the guest began to read it. Like after `rewinddir`, later changes are not seen until it
/// begins again, so the cookies the guest holds stay good, on another machine too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: String,
    pub filetype: Filetype,
    pub ino: u64,
}

impl Listing {
    fn of(dir: &Dir, inodes: &Inodes) -> Result<Listing, Fail> {
        let this = inodes.seen(identity(&dir.dir_metadata()?));
        // Stock wasmtime gives `..` the number of the directory itself, too.
        let mut entries = [".", ".."]
            .map(|name| Entry { name: name.to_owned(), filetype: Filetype::Directory, ino: this })
            .to_vec();
        let mut bytes = 0;
        for entry in dir.entries()? {
            let entry = entry?;
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Deleted since it was listed.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e.into()),
            };
            let name = entry.file_name().into_string().map_err(|_| Errno::Ilseq)?;
            bytes += name.len();
            if entries.len() >= MAX_ENTRIES || bytes > MAX_NAME_BYTES {
                return Err(Errno::Overflow.into());
            }
            let ino = inodes.seen(identity(&meta));
            entries.push(Entry { name, filetype: meta.file_type().into(), ino });
        }
        Ok(Listing { entries })
    }
}

impl Host {
    /// Fills the buffer with entries from number `cookie` on; the last one may be cut off, which tells the guest to
    /// come again with a larger buffer or a later cookie.
    pub fn fd_readdir(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        buf: u32,
        buf_len: u32,
        cookie: u64,
        bufused: u32,
    ) -> Result<(), Fail> {
        let dir = self.fds.dir(fd)?;
        if cookie == 0 || dir.listing.is_none() {
            let listing = Listing::of(&dir.dir, &self.inodes)?;
            self.fds.dir_mut(fd)?.listing = Some(listing);
        }
        let dir = self.fds.dir(fd)?;
        let entries = dir.listing.as_ref().map_or(&[][..], |listing| &listing.entries[..]);
        let skip = usize::try_from(cookie).map_err(|_| Errno::Overflow)?;
        let mut out = Vec::new();
        for (entry, next) in entries.iter().zip(1u64..).skip(skip) {
            let mut head = [0; size::DIRENT];
            head[0..8].copy_from_slice(&next.to_le_bytes());
            head[8..16].copy_from_slice(&entry.ino.to_le_bytes());
            head[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
            head[20] = entry.filetype.raw();
            for part in [&head[..], entry.name.as_bytes()] {
                let n = part.len().min(buf_len as usize - out.len());
                out.extend_from_slice(&part[..n]);
            }
            if out.len() == buf_len as usize {
                break;
            }
        }
        mem::put(memory, buf, &out)?;
        // Fits: it is at most `buf_len`.
        mem::put_u32(memory, bufused, out.len() as u32)
    }

    fn preopen_name(&self, fd: u32) -> Result<Option<&str>, Errno> {
        match self.fds.get(fd)? {
            Descriptor::Dir(OpenDir { preopen: true, place, .. }) => {
                Ok(self.preopens.get(place.preopen).map(|preopen| &preopen.guest[..]))
            }
            _ => Ok(None),
        }
    }

    pub fn fd_prestat_get(&mut self, memory: &mut [u8], fd: u32, prestat: u32) -> Result<(), Fail> {
        let name = self.preopen_name(fd)?.ok_or(Errno::Badf)?;
        let len = u32::try_from(name.len()).map_err(|_| Errno::Overflow)?;
        let mut raw = [0; size::PRESTAT as usize];
        raw[4..8].copy_from_slice(&len.to_le_bytes());
        mem::put_record(memory, prestat, &raw, 4, &fields::PRESTAT)
    }

    pub fn fd_prestat_dir_name(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        path: u32,
        path_len: u32,
    ) -> Result<(), Fail> {
        let name = self.preopen_name(fd)?.ok_or(Errno::Notdir)?;
        if name.len() > path_len as usize {
            return Err(Errno::Nametoolong.into());
        }
        mem::put(memory, path, name.as_bytes())
    }
}
