//! The system calls of userfaultfd: faults in a range of addresses are noted by the kernel, or handled by us.
//!
//! See <https://docs.kernel.org/admin-guide/mm/userfaultfd.html> and `linux/userfaultfd.h`. A range that is registered can be
//! used as before; what it takes longer to do is what it is registered for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Faults that the kernel makes for a system call are not handled; that is all an unprivileged process may have.
pub(crate) const USER_MODE_ONLY: libc::c_int = 1;
/// Handle the first touch of a page.
pub(crate) const MISSING: u64 = 1 << 0;
/// Note writes to protected pages.
pub(crate) const PROTECT: u64 = 1 << 1;

/// An open userfaultfd with asynchronous write protection. Once it is closed, all ranges are as any other.
#[derive(Debug)]
pub(crate) struct Uffd(OwnedFd);

impl Uffd {
    pub fn open(flags: libc::c_int) -> io::Result<Uffd> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | flags;
        // SAFETY: the call takes one number.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0);
        let fd = fd.ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the call has just given it to us alone.
        let this = Uffd(unsafe { OwnedFd::from_raw_fd(fd) });
        let mut api = Api { api: API, features: WP_ASYNC | WP_UNPOPULATED, ioctls: 0 };
        // SAFETY: `Api` is laid out as the kernel's `struct uffdio_api`.
        unsafe { ioctl(this.0.as_raw_fd(), UFFDIO_API, &mut api)? };
        Ok(this)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }

    /// # Safety
    /// The range must be whole pages of a private mapping of the caller's, and stay so as long as this is open.
    /// Registered for [`MISSING`], somebody must handle its faults, and fill pages with what they are to hold.
    pub unsafe fn register(&self, start: usize, len: usize, mode: u64) -> io::Result<()> {
        let mut register = Register { start: start as u64, len: len as u64, mode, ioctls: 0 };
        // SAFETY: `Register` is laid out as the kernel's `struct uffdio_register`; the range is the caller's promise.
        unsafe { ioctl(self.0.as_raw_fd(), UFFDIO_REGISTER, &mut register) }.map(drop)
    }

    /// Fills missing pages, write-protected, and wakes who waits for them. Pages that are there already are an error,
    /// [`io::ErrorKind::AlreadyExists`].
    pub fn copy(&self, to: usize, from: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < from.len() {
            let rest = &from[done..];
            let mut copy = Copy {
                to: (to + done) as u64,
                from: rest.as_ptr() as u64,
                len: rest.len() as u64,
                mode: COPY_PROTECTED,
                copied: 0,
            };
            // SAFETY: `Copy` is laid out as the kernel's `struct uffdio_copy`. The source is a slice. The kernel writes only
            // where pages are missing of a range that is registered with this descriptor.
            match unsafe { ioctl(self.0.as_raw_fd(), UFFDIO_COPY, &mut copy) } {
                Ok(_) => return Ok(()),
                // Some of it was copied, and the mapping is being changed.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    done += usize::try_from(copy.copied).unwrap_or(0);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Makes missing pages zero, and wakes who waits for them.
    pub fn zero(&self, start: usize, len: usize) -> io::Result<()> {
        let mut zero = Zero { start: start as u64, len: len as u64, mode: 0, done: 0 };
        loop {
            // SAFETY: `Zero` is laid out as the kernel's `struct uffdio_zeropage`; and as in `copy`.
            match unsafe { ioctl(self.0.as_raw_fd(), UFFDIO_ZEROPAGE, &mut zero) } {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let done = u64::try_from(zero.done).unwrap_or(0);
                    zero =
                        Zero { start: zero.start + done, len: zero.len - done, mode: 0, done: 0 };
                }
                result => return result.map(drop),
            }
        }
    }

    /// Address of the next page that somebody waits for, if there is one.
    pub fn next_fault(&self) -> io::Result<Option<usize>> {
        let mut message = Message::default();
        let len = std::mem::size_of::<Message>();
        // SAFETY: a `Message` is as long as the kernel's `struct uffd_msg`, and any bytes are one.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut message).cast(), len) };
        match usize::try_from(read) {
            Ok(read) if read == len && message.event == EVENT_PAGEFAULT => {
                Ok(Some(message.address as usize))
            }
            Ok(_) => Ok(None),
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
                e => Err(e),
            },
        }
    }
}

const API: u64 = 0xaa;
const WP_UNPOPULATED: u64 = 1 << 13;
const WP_ASYNC: u64 = 1 << 15;
const COPY_PROTECTED: u64 = 1 << 1;
const EVENT_PAGEFAULT: u8 = 0x12;
const UFFDIO_API: libc::Ioctl = libc::_IOWR::<Api>(0xaa, 0x3f);
const UFFDIO_REGISTER: libc::Ioctl = libc::_IOWR::<Register>(0xaa, 0);
const UFFDIO_COPY: libc::Ioctl = libc::_IOWR::<Copy>(0xaa, 3);
const UFFDIO_ZEROPAGE: libc::Ioctl = libc::_IOWR::<Zero>(0xaa, 4);

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct Copy {
    to: u64,
    from: u64,
    len: u64,
    mode: u64,
    copied: i64,
}

#[repr(C)]
struct Zero {
    start: u64,
    len: u64,
    mode: u64,
    done: i64,
}

#[derive(Default)]
#[repr(C)]
struct Message {
    event: u8,
    _reserved: [u8; 7],
    _flags: u64,
    address: u64,
    _more: u64,
}

/// What the call returns.
///
/// # Safety
/// `argument` must be what `request` takes, and the call must be sound with it.
pub(crate) unsafe fn ioctl<T>(
    fd: RawFd,
    request: libc::Ioctl,
    argument: &mut T,
) -> io::Result<usize> {
    loop {
        // SAFETY: the caller's promise.
        let result = unsafe { libc::ioctl(fd, request, std::ptr::from_mut(argument)) };
        match usize::try_from(result) {
            Ok(result) => return Ok(result),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
