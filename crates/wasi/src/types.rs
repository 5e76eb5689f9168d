//! The numbers of WASI preview 1: error codes, file types, rights and flags, and where the fields of its
//! records lie. All of it is fixed by `wasi_snapshot_preview1.witx`.

use crate::errors::Fail;
use crate::memory::end;

/// Declares an enum of preview 1 together with the way back from its number.
macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident: $repr:ty { $($variant:ident = $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr($repr)]
        pub enum $name {
            $(#[doc = concat!("`", stringify!($variant), "` of preview 1, number ", stringify!($value), ".")] $variant = $value,)*
        }

        impl $name {
            /// The value with this number, if there is one.
            pub fn from_raw(raw: u32) -> Option<Self> {
                match raw {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The number the guest sees.
            pub fn raw(self) -> $repr {
                self as $repr
            }
        }
    };
}

numbered! {
    /// What a call answers.
    Errno: u16 {
        Success = 0, TooBig = 1, Acces = 2, Addrinuse = 3, Addrnotavail = 4, Afnosupport = 5, Again = 6,
        Already = 7, Badf = 8, Badmsg = 9, Busy = 10, Canceled = 11, Child = 12, Connaborted = 13,
        Connrefused = 14, Connreset = 15, Deadlk = 16, Destaddrreq = 17, Dom = 18, Dquot = 19, Exist = 20,
        Fault = 21, Fbig = 22, Hostunreach = 23, Idrm = 24, Ilseq = 25, Inprogress = 26, Intr = 27,
        Inval = 28, Io = 29, Isconn = 30, Isdir = 31, Loop = 32, Mfile = 33, Mlink = 34, Msgsize = 35,
        Multihop = 36, Nametoolong = 37, Netdown = 38, Netreset = 39, Netunreach = 40, Nfile = 41,
        Nobufs = 42, Nodev = 43, Noent = 44, Noexec = 45, Nolck = 46, Nolink = 47, Nomem = 48, Nomsg = 49,
        Noprotoopt = 50, Nospc = 51, Nosys = 52, Notconn = 53, Notdir = 54, Notempty = 55,
        Notrecoverable = 56, Notsock = 57, Notsup = 58, Notty = 59, Nxio = 60, Overflow = 61,
        Ownerdead = 62, Perm = 63, Pipe = 64, Proto = 65, Protonosupport = 66, Prototype = 67, Range = 68,
        Rofs = 69, Spipe = 70, Srch = 71, Stale = 72, Timedout = 73, Txtbsy = 74, Xdev = 75,
        Notcapable = 76,
    }
}

numbered! {
    /// What kind of thing a file is.
    Filetype: u8 {
        Unknown = 0, BlockDevice = 1, CharacterDevice = 2, Directory = 3, RegularFile = 4,
        SocketDgram = 5, SocketStream = 6, SymbolicLink = 7,
    }
}

numbered! {
    /// From where `fd_seek` counts.
    Whence: u8 { Set = 0, Cur = 1, End = 2, }
}

numbered! {
    /// How a program says it will use a file.
    Advice: u8 { Normal = 0, Sequential = 1, Random = 2, Willneed = 3, Dontneed = 4, Noreuse = 5, }
}

numbered! {
    /// Which clock.
    Clockid: u32 { Realtime = 0, Monotonic = 1, ProcessCputime = 2, ThreadCputime = 3, }
}

numbered! {
    /// What `poll_oneoff` waits for.
    Eventtype: u8 { Clock = 0, FdRead = 1, FdWrite = 2, }
}

impl From<cap_std::fs::FileType> for Filetype {
    fn from(ft: cap_std::fs::FileType) -> Filetype {
        if ft.is_dir() {
            Filetype::Directory
        } else if ft.is_symlink() {
            Filetype::SymbolicLink
        } else if ft.is_file() {
            Filetype::RegularFile
        } else {
            crate::os::special_file(ft)
        }
    }
}

/// Checks an argument that is a set of flags: with unknown ones it is no value of its type, which ends the program.
pub(crate) fn known(raw: u32, all: u32) -> Result<u32, Fail> {
    match raw & !all {
        0 => Ok(raw),
        unknown => Err(end(format!("there are no flags {unknown:#x}"))),
    }
}

/// The same for rights.
pub(crate) fn known_rights(raw: u64) -> Result<u64, Fail> {
    match raw & !rights::ALL {
        0 => Ok(raw),
        unknown => Err(end(format!("there are no rights {unknown:#x}"))),
    }
}

/// Ends a program that passed a number which is no value of its type.
pub(crate) fn no_such(what: &'static str, raw: u32) -> impl FnOnce() -> Fail {
    move || end(format!("there is no {what} {raw}"))
}

/// `lookupflags`.
pub(crate) mod lookupflags {
    pub const SYMLINK_FOLLOW: u32 = 1;
    pub const ALL: u32 = 1;
}

/// `oflags`.
pub(crate) mod oflags {
    pub const CREAT: u32 = 1;
    pub const DIRECTORY: u32 = 2;
    pub const EXCL: u32 = 4;
    pub const TRUNC: u32 = 8;
    pub const ALL: u32 = 15;
}

/// `fdflags`.
pub(crate) mod fdflags {
    pub const APPEND: u32 = 1;
    pub const DSYNC: u32 = 2;
    pub const NONBLOCK: u32 = 4;
    pub const RSYNC: u32 = 8;
    pub const SYNC: u32 = 16;
    pub const ALL: u32 = 31;
}

/// `fstflags`.
pub(crate) mod fstflags {
    pub const ATIM: u32 = 1;
    pub const ATIM_NOW: u32 = 2;
    pub const MTIM: u32 = 4;
    pub const MTIM_NOW: u32 = 8;
    pub const ALL: u32 = 15;
}

/// `subclockflags`.
pub(crate) mod subclockflags {
    pub const ABSTIME: u32 = 1;
}

/// `eventrwflags`.
pub(crate) mod eventrwflags {
    pub const HANGUP: u16 = 1;
}

/// `riflags`: peek, waitall.
pub(crate) const RIFLAGS: u32 = 3;
/// `sdflags`: read, write.
pub(crate) const SDFLAGS: u32 = 3;
/// The highest `signal`.
pub(crate) const LAST_SIGNAL: u32 = 30;

/// `rights`. Stock wasmtime reports them and checks none but read and write on opening; so do we.
pub(crate) mod rights {
    pub const FD_DATASYNC: u64 = 1;
    pub const FD_READ: u64 = 1 << 1;
    pub const FD_SEEK: u64 = 1 << 2;
    pub const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    pub const FD_SYNC: u64 = 1 << 4;
    pub const FD_TELL: u64 = 1 << 5;
    pub const FD_WRITE: u64 = 1 << 6;
    pub const FD_ADVISE: u64 = 1 << 7;
    pub const FD_ALLOCATE: u64 = 1 << 8;
    pub const PATH_CREATE_DIRECTORY: u64 = 1 << 9;
    pub const PATH_CREATE_FILE: u64 = 1 << 10;
    pub const PATH_LINK_SOURCE: u64 = 1 << 11;
    pub const PATH_LINK_TARGET: u64 = 1 << 12;
    pub const PATH_OPEN: u64 = 1 << 13;
    pub const FD_READDIR: u64 = 1 << 14;
    pub const PATH_READLINK: u64 = 1 << 15;
    pub const PATH_RENAME_SOURCE: u64 = 1 << 16;
    pub const PATH_RENAME_TARGET: u64 = 1 << 17;
    pub const PATH_FILESTAT_GET: u64 = 1 << 18;
    pub const PATH_FILESTAT_SET_SIZE: u64 = 1 << 19;
    pub const PATH_FILESTAT_SET_TIMES: u64 = 1 << 20;
    pub const FD_FILESTAT_GET: u64 = 1 << 21;
    pub const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
    pub const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
    pub const PATH_SYMLINK: u64 = 1 << 24;
    pub const PATH_REMOVE_DIRECTORY: u64 = 1 << 25;
    pub const PATH_UNLINK_FILE: u64 = 1 << 26;
    pub const POLL_FD_READWRITE: u64 = 1 << 27;
    pub const ALL: u64 = (1 << 30) - 1;

    /// What a preopened directory may do itself: the set many userlands expect to see.
    pub const PREOPEN_BASE: u64 = PATH_CREATE_DIRECTORY
        | PATH_CREATE_FILE
        | PATH_LINK_SOURCE
        | PATH_LINK_TARGET
        | PATH_OPEN
        | FD_READDIR
        | PATH_READLINK
        | PATH_RENAME_SOURCE
        | PATH_RENAME_TARGET
        | PATH_SYMLINK
        | PATH_REMOVE_DIRECTORY
        | PATH_UNLINK_FILE
        | PATH_FILESTAT_GET
        | PATH_FILESTAT_SET_TIMES
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_TIMES;

    /// What files opened beneath a preopened directory may do.
    pub const PREOPEN_INHERITING: u64 = PREOPEN_BASE
        | FD_DATASYNC
        | FD_READ
        | FD_SEEK
        | FD_FDSTAT_SET_FLAGS
        | FD_SYNC
        | FD_TELL
        | FD_WRITE
        | FD_ADVISE
        | FD_ALLOCATE
        | FD_FILESTAT_SET_SIZE
        | POLL_FD_READWRITE;
}

/// Sizes of the records in guest memory.
pub(crate) mod size {
    pub const DIRENT: usize = 24;
    pub const EVENT: u32 = 32;
    pub const FDSTAT: u32 = 24;
    pub const FILESTAT: u32 = 64;
    pub const IOVEC: u32 = 8;
    pub const PRESTAT: u32 = 8;
    pub const SUBSCRIPTION: u32 = 48;
}

/// Where the fields of the records lie that are written with gaps between them.
pub(crate) mod fields {
    use std::ops::Range;

    pub const EVENT: [Range<usize>; 2] = [0..11, 16..26];
    pub const FDSTAT: [Range<usize>; 3] = [0..1, 2..4, 8..24];
    pub const FILESTAT: [Range<usize>; 2] = [0..17, 24..64];
    pub const PRESTAT: [Range<usize>; 2] = [0..1, 4..8];
}

/// Why a call did not return to the guest with an error code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The program ended itself with this status.
    Exit(u32),
    /// The call would have had to wait and was asked not to, or it is a `dormouse_checkpoint`. Nothing has happened: make
    /// the same call again, with the same arguments, after the program goes on.
    Interrupted,
    /// The program did what stock wasmtime ends with a trap.
    Trap(String),
}
