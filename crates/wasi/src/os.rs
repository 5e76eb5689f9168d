//! What differs between operating systems, in one place. This is the Unix form.

use cap_std::fs::{FileType, FileTypeExt};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::types::{Advice, Filetype};

pub(crate) use std::os::fd::{AsFd, BorrowedFd};

/// An owned file descriptor of the host, for [`crate::Stdio::Fd`].
pub type HostFd = OwnedFd;

/// A descriptor that is only borrowed, for as long as the process runs.
pub(crate) type InheritedFd = BorrowedFd<'static>;

/// The process's own standard streams: 0, 1 and 2.
pub(crate) fn inherited(which: usize) -> InheritedFd {
    match which {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}

/// The file type of what is neither file, directory nor symlink. Preview 1 has no number for a FIFO.
pub(crate) fn special_file(ft: FileType) -> Filetype {
    if ft.is_block_device() {
        Filetype::BlockDevice
    } else if ft.is_char_device() {
        Filetype::CharacterDevice
    } else {
        Filetype::Unknown
    }
}

/// What a file that is neither regular nor a directory nor a device is called in messages.
pub(crate) fn kind_in_words(ft: FileType) -> &'static str {
    if ft.is_fifo() {
        "named pipe"
    } else if ft.is_socket() {
        "socket"
    } else if ft.is_block_device() {
        "block device"
    } else {
        "file of an unknown kind"
    }
}

/// A flag for opening: reading does not change when the file was read last. Only for its owner.
pub(crate) const UNSEEN: i32 = {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        OFlags::NOATIME.bits() as i32
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        0
    }
};

/// Which file this is, on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub dev: u64,
    pub ino: u64,
}

/// What a standard stream is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// A terminal.
    Terminal,
    /// A regular file: it never blocks and has a position.
    File(Identity),
    /// A pipe, a socket, a device.
    Other,
}

pub(crate) fn stream_kind(fd: BorrowedFd<'_>) -> StreamKind {
    use std::io::IsTerminal;
    if fd.is_terminal() {
        return StreamKind::Terminal;
    }
    match rustix::fs::fstat(fd) {
        Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() => {
            // The types of the fields differ between systems.
            #[allow(clippy::unnecessary_cast)]
            StreamKind::File(Identity { dev: stat.st_dev as u64, ino: stat.st_ino as u64 })
        }
        _ => StreamKind::Other,
    }
}

/// Where the next read or write of a standard stream happens.
pub(crate) fn position(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    rustix::fs::tell(fd)
}

/// Where the next write of an output happens: for one that appends, at the end, whatever its position says.
pub(crate) fn output_position(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    if rustix::fs::fcntl_getfl(fd)?.contains(OFlags::APPEND) { length(fd) } else { position(fd) }
}

pub(crate) fn length(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(u64::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0))
}

pub(crate) fn seek(fd: BorrowedFd<'_>, to: u64) -> Result<(), Errno> {
    rustix::fs::seek(fd, SeekFrom::Start(to)).map(drop)
}

pub(crate) fn cut(fd: BorrowedFd<'_>, length: u64) -> Result<(), Errno> {
    rustix::fs::ftruncate(fd, length)
}

/// How much may be written after a wait said "writable" without waiting again. A pipe that polls as writable has a free
/// page and takes this much at once (POSIX: `PIPE_BUF` bytes, of which Linux has 4096); a terminal promises less.
pub(crate) fn safe_write(kind: StreamKind) -> usize {
    match kind {
        StreamKind::File(_) => 1 << 20,
        StreamKind::Terminal => 256,
        StreamKind::Other => 4096,
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The descriptor can be used (or is at its end, or broken: using it will tell).
    Ready,
    /// Someone asked to stop waiting, and the descriptor is still not ready.
    Interrupted,
}

/// Waits until `fd` can be read or written, or the signal is raised.
pub(crate) fn wait(fd: BorrowedFd<'_>, write: bool, signal: &Signal) -> Result<Waited, Errno> {
    let mut ready = [false];
    loop {
        let interrupted = poll(&[(fd, write)], &mut ready, signal, None)?;
        if ready[0] {
            return Ok(Waited::Ready);
        }
        if interrupted {
            return Ok(Waited::Interrupted);
        }
    }
}

/// Waits until one of `fds` (descriptor, for writing) is ready, the signal is raised or the time is over. Says in
/// `ready` which are, and whether the signal is raised. A Unix signal ends the wait with nothing ready.
pub(crate) fn poll(
    fds: &[(BorrowedFd<'_>, bool)],
    ready: &mut [bool],
    signal: &Signal,
    timeout: Option<Duration>,
) -> Result<bool, Errno> {
    let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(fds.len() + 1);
    for &(fd, write) in fds {
        polled
            .push(PollFd::from_borrowed_fd(fd, if write { PollFlags::OUT } else { PollFlags::IN }));
    }
    polled.push(PollFd::from_borrowed_fd(signal.wait.as_fd(), PollFlags::IN));
    let _shown = signal.shows(match fds {
        [] => Waits::Time,
        fds if fds.iter().any(|(_, write)| !write) => Waits::Input,
        _ => Waits::Output,
    });
    let timeout = timeout.map(|t| Timespec {
        // A year is as good as for ever: the caller looks at the clock again.
        tv_sec: t.as_secs().min(365 * 24 * 3600) as _,
        tv_nsec: t.subsec_nanos() as _,
    });
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => {
            ready.fill(false);
            return Ok(false);
        }
        Err(e) => return Err(e),
    }
    for (ready, polled) in ready.iter_mut().zip(&polled) {
        *ready = !polled.revents().is_empty();
    }
    Ok(polled.last().is_some_and(|p| !p.revents().is_empty()))
}

/// What a program waits for that is blocked in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Until something can be read, if not for something else too.
    Input,
    /// Until something can be written.
    Output,
    /// Until it is a certain time.
    Time,
}

/// Something a waiting call also waits for: a descriptor that stays readable from `raise` to `lower`.
#[derive(Debug)]
pub(crate) struct Signal {
    wait: OwnedFd,
    /// For those who look on: what the program waits for, by its number, from 1; 0: for nothing.
    waits: AtomicU8,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    send: OwnedFd,
}

impl Signal {
    pub fn new() -> Result<Signal, Errno> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::event::EventfdFlags;
            let wait = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            Ok(Signal { wait, waits: AtomicU8::new(0) })
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            let (wait, send) = rustix::pipe::pipe()?;
            for end in [&wait, &send] {
                rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
                let flags = rustix::fs::fcntl_getfl(end)?;
                rustix::fs::fcntl_setfl(end, flags | OFlags::NONBLOCK)?;
            }
            Ok(Signal { wait, waits: AtomicU8::new(0), send })
        }
    }

    /// What the program waits for now.
    pub fn waits(&self) -> Option<Waits> {
        let number = self.waits.load(Ordering::Relaxed);
        [Waits::Input, Waits::Output, Waits::Time].into_iter().find(|w| *w as u8 + 1 == number)
    }

    /// Shows it until that is dropped.
    fn shows(&self, what: Waits) -> Shown<'_> {
        self.waits.store(what as u8 + 1, Ordering::Relaxed);
        Shown(self)
    }

    /// One `write(2)` and nothing else: allowed in a signal handler.
    pub fn raise(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let send = &self.wait;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let send = &self.send;
        // Failing with "full" means it is raised already; nothing else can happen to a descriptor that is ours.
        let _ = rustix::io::write(send, &1u64.to_ne_bytes());
    }

    pub fn lower(&self) {
        let mut drained = [0; 64];
        // One read empties an eventfd; a pipe may hold more.
        while matches!(rustix::io::read(&self.wait, &mut drained), Ok(n) if n > 0) {}
    }
}

struct Shown<'a>(&'a Signal);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.waits.store(0, Ordering::Relaxed);
    }
}

/// Reads a standard stream. `None`: another process took what was there, wait again. As under stock wasmtime, there is
/// nothing in what cannot be read.
pub(crate) fn read_stream(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<Option<usize>, Errno> {
    match rustix::io::read(fd, buf) {
        Ok(n) => Ok(Some(n)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(Errno::BADF | Errno::ISDIR) => Ok(Some(0)),
        Err(e) => Err(e),
    }
}

/// Writes a standard stream. `None`: it is full after all, wait again. As under stock wasmtime, what cannot be written to
/// takes everything, and a pipe that nobody reads any more is `io`.
pub(crate) fn write_stream(fd: BorrowedFd<'_>, buf: &[u8]) -> Result<Option<usize>, Errno> {
    match rustix::io::write(fd, buf) {
        Ok(n) => Ok(Some(n)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(Errno::BADF) => Ok(Some(buf.len())),
        Err(Errno::PIPE) => Err(Errno::IO),
        Err(e) => Err(e),
    }
}

pub(crate) fn read_at(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buf, at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

pub(crate) fn write_at(file: &File, buf: &[u8], at: u64) -> io::Result<usize> {
    loop {
        match file.write_at(buf, at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Writes at the end of the file, wherever that is by then.
pub(crate) fn append(file: &File, buf: &[u8]) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::ReadWriteFlags;
        loop {
            match rustix::io::pwritev2(file, &[io::IoSlice::new(buf)], 0, ReadWriteFlags::APPEND) {
                Err(Errno::INTR) => {}
                Err(Errno::NOSYS | Errno::NOTSUP) => break,
                done => return Ok(done?),
            }
        }
    }
    let flags = rustix::fs::fcntl_getfl(file)?;
    rustix::fs::fcntl_setfl(file, flags | OFlags::APPEND)?;
    let done = rustix::io::write(file, buf);
    rustix::fs::fcntl_setfl(file, flags)?;
    Ok(done?)
}

pub(crate) fn advise(file: &File, offset: u64, len: u64, advice: Advice) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::fs::Advice as Os;
        let advice = match advice {
            Advice::Normal => Os::Normal,
            Advice::Sequential => Os::Sequential,
            Advice::Random => Os::Random,
            Advice::Willneed => Os::WillNeed,
            Advice::Dontneed => Os::DontNeed,
            Advice::Noreuse => Os::NoReuse,
        };
        rustix::fs::fadvise(file, offset, std::num::NonZeroU64::new(len), advice)?;
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (file, offset, len, advice);
    Ok(())
}

/// Paths of this many bytes and more are not taken (`PATH_MAX`, which counts the zero at their end): 4,096 on Linux, 1,024 on
/// macOS and the BSDs.
pub(crate) const LONGEST_PATH: usize = libc::PATH_MAX as usize;

/// Where an open file is in the host's directory tree now, if the system can tell.
pub(crate) fn current_path(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::fd::AsRawFd;
        std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = fd;
        None
    }
}

/// Makes a directory that only its owner can enter, with the ones above it.
pub(crate) fn private_dir(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Waits until a directory's names are on the disk.
pub(crate) fn sync_dir(path: &std::path::Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// A host path as bytes, for the state.
pub(crate) fn path_to_bytes(path: &std::path::Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

pub(crate) fn path_from_bytes(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// Smallest step of a clock in nanoseconds.
pub(crate) fn clock_resolution(realtime: bool) -> u64 {
    use rustix::time::{ClockId, clock_getres};
    let res = clock_getres(if realtime { ClockId::Realtime } else { ClockId::Monotonic });
    let secs = u64::try_from(res.tv_sec).unwrap_or(0);
    secs.saturating_mul(1_000_000_000).saturating_add(u64::try_from(res.tv_nsec).unwrap_or(1))
}
