//! The table of all calls: the one place that lists them. The public methods of [`Wasi`], [`CALLS`] and the engine's
//! linker are made from it.

use crate::errors::Fail;
use crate::types::{Errno, Stop};
use crate::{DIRECTED, DIRECTED_MODULE, MODULE, Wasi};

/// Hands the table of all preview 1 calls to a macro of yours:
///
/// ```text
/// your_macro! {
///     (args_get, blocking = false, (argv: u32, argv_buf: u32) -> i32)
///     ...
///     (proc_exit, blocking = false, (code: u32) -> ())
///     ...
/// }
/// ```
///
/// One parenthesis a call: its name in wasm and on [`Wasi`], whether it can answer
/// [`Stop::Interrupted`], its parameters as `u32` (wasm `i32`) or `u64` (wasm `i64`), and its result: `i32`, an
/// [`Errno`], for all but `proc_exit`, which has none. All methods have the same shape,
/// `fn(&mut Wasi, &mut [u8], ...) -> Result<Errno, Stop>`.
///
/// ```
/// macro_rules! names {
///     ($(($name:ident, blocking = $blocking:literal, ($($arg:ident: $ty:ident),*) -> $result:tt))*) => {
///         [$(stringify!($name)),*]
///     };
/// }
/// assert_eq!(dormouse_wasi::for_each_call!(names).len(), 46);
/// ```
#[macro_export]
macro_rules! for_each_call {
    ($($callback:tt)+) => {
        $($callback)+! {
            (args_get, blocking = false, (argv: u32, argv_buf: u32) -> i32)
            (args_sizes_get, blocking = false, (argc: u32, argv_buf_size: u32) -> i32)
            (clock_res_get, blocking = false, (id: u32, resolution: u32) -> i32)
            (clock_time_get, blocking = false, (id: u32, precision: u64, time: u32) -> i32)
            (environ_get, blocking = false, (environ: u32, environ_buf: u32) -> i32)
            (environ_sizes_get, blocking = false, (environc: u32, environ_buf_size: u32) -> i32)
            (fd_advise, blocking = false, (fd: u32, offset: u64, len: u64, advice: u32) -> i32)
            (fd_allocate, blocking = false, (fd: u32, offset: u64, len: u64) -> i32)
            (fd_close, blocking = false, (fd: u32) -> i32)
            (fd_datasync, blocking = true, (fd: u32) -> i32)
            (fd_fdstat_get, blocking = false, (fd: u32, stat: u32) -> i32)
            (fd_fdstat_set_flags, blocking = false, (fd: u32, flags: u32) -> i32)
            (fd_fdstat_set_rights, blocking = false, (fd: u32, base: u64, inheriting: u64) -> i32)
            (fd_filestat_get, blocking = false, (fd: u32, stat: u32) -> i32)
            (fd_filestat_set_size, blocking = false, (fd: u32, size: u64) -> i32)
            (fd_filestat_set_times, blocking = false, (fd: u32, atim: u64, mtim: u64, fst_flags: u32) -> i32)
            (fd_pread, blocking = true, (fd: u32, iovs: u32, iovs_len: u32, offset: u64, nread: u32) -> i32)
            (fd_prestat_dir_name, blocking = false, (fd: u32, path: u32, path_len: u32) -> i32)
            (fd_prestat_get, blocking = false, (fd: u32, prestat: u32) -> i32)
            (fd_pwrite, blocking = true, (fd: u32, iovs: u32, iovs_len: u32, offset: u64, nwritten: u32) -> i32)
            (fd_read, blocking = true, (fd: u32, iovs: u32, iovs_len: u32, nread: u32) -> i32)
            (fd_readdir, blocking = false, (fd: u32, buf: u32, buf_len: u32, cookie: u64, bufused: u32) -> i32)
            (fd_renumber, blocking = false, (from: u32, to: u32) -> i32)
            (fd_seek, blocking = false, (fd: u32, offset: u64, whence: u32, newoffset: u32) -> i32)
            (fd_sync, blocking = true, (fd: u32) -> i32)
            (fd_tell, blocking = false, (fd: u32, offset: u32) -> i32)
            (fd_write, blocking = true, (fd: u32, iovs: u32, iovs_len: u32, nwritten: u32) -> i32)
            (path_create_directory, blocking = false, (dirfd: u32, path: u32, path_len: u32) -> i32)
            (path_filestat_get, blocking = false, (dirfd: u32, flags: u32, path: u32, path_len: u32, stat: u32) -> i32)
            (path_filestat_set_times, blocking = false, (dirfd: u32, flags: u32, path: u32, path_len: u32, atim: u64, mtim: u64, fst_flags: u32) -> i32)
            (path_link, blocking = false, (old_fd: u32, old_flags: u32, old_path: u32, old_path_len: u32, new_fd: u32, new_path: u32, new_path_len: u32) -> i32)
            (path_open, blocking = false, (dirfd: u32, dirflags: u32, path: u32, path_len: u32, oflags: u32, rights_base: u64, rights_inheriting: u64, fdflags: u32, opened_fd: u32) -> i32)
            (path_readlink, blocking = false, (dirfd: u32, path: u32, path_len: u32, buf: u32, buf_len: u32, bufused: u32) -> i32)
            (path_remove_directory, blocking = false, (dirfd: u32, path: u32, path_len: u32) -> i32)
            (path_rename, blocking = false, (old_fd: u32, old_path: u32, old_path_len: u32, new_fd: u32, new_path: u32, new_path_len: u32) -> i32)
            (path_symlink, blocking = false, (old_path: u32, old_path_len: u32, dirfd: u32, new_path: u32, new_path_len: u32) -> i32)
            (path_unlink_file, blocking = false, (dirfd: u32, path: u32, path_len: u32) -> i32)
            (poll_oneoff, blocking = true, (subscriptions: u32, events: u32, nsubscriptions: u32, nevents: u32) -> i32)
            (proc_exit, blocking = false, (code: u32) -> ())
            (proc_raise, blocking = false, (signal: u32) -> i32)
            (random_get, blocking = false, (buf: u32, buf_len: u32) -> i32)
            (sched_yield, blocking = false, () -> i32)
            (sock_accept, blocking = true, (fd: u32, flags: u32, accepted_fd: u32) -> i32)
            (sock_recv, blocking = true, (fd: u32, ri_data: u32, ri_data_len: u32, ri_flags: u32, ro_datalen: u32, ro_flags: u32) -> i32)
            (sock_send, blocking = true, (fd: u32, si_data: u32, si_data_len: u32, si_flags: u32, so_datalen: u32) -> i32)
            (sock_shutdown, blocking = false, (fd: u32, how: u32) -> i32)
        }
    };
}

/// Type of a parameter or result in wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValType {
    /// `i32`
    I32,
    /// `i64`
    I64,
}

/// One import of `wasi_snapshot_preview1`, or of `dormouse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Name of the import.
    pub name: &'static str,
    /// Parameter types.
    pub params: &'static [ValType],
    /// Result types: one `i32`, of WASI's an [`Errno`]; none for `proc_exit`.
    pub results: &'static [ValType],
    /// Whether the call can answer [`Stop::Interrupted`] and is to be made again then.
    pub blocking: bool,
}

impl Call {
    /// The call with this name.
    pub fn named(name: &str) -> Option<&'static Call> {
        CALLS.iter().find(|call| call.name == name)
    }

    /// The call that a program imports as `module`.`name`: one of WASI, or one of [`DIRECTED`].
    pub fn imported(module: &str, name: &str) -> Option<&'static Call> {
        let calls = match module {
            MODULE => CALLS,
            DIRECTED_MODULE => DIRECTED,
            _ => return None,
        };
        calls.iter().find(|call| call.name == name)
    }
}

macro_rules! valtype {
    (u32) => {
        ValType::I32
    };
    (u64) => {
        ValType::I64
    };
}

macro_rules! results {
    (i32) => {
        &[ValType::I32]
    };
    (()) => {
        &[]
    };
}

macro_rules! table {
    ($(($name:ident, blocking = $blocking:literal, ($($arg:ident: $ty:ident),*) -> $result:tt))*) => {
        /// All calls of `wasi_snapshot_preview1`, by name.
        pub const CALLS: &[Call] = &[
            $(Call {
                name: stringify!($name),
                params: &[$(valtype!($ty)),*],
                results: results!($result),
                blocking: $blocking,
            },)*
        ];
    };
}

macro_rules! methods {
    ($(($name:ident, blocking = $blocking:literal, ($($arg:ident: $ty:ident),*) -> $result:tt))*) => {
        /// The calls. Each takes the guest's memory and the raw arguments of the import. An address that is used and lies
        /// outside, or is not aligned, is a [`Stop::Trap`]; so is a flag or number that its type does not have.
        #[allow(clippy::too_many_arguments)]
        impl Wasi {
            $(
                #[doc = concat!("`", stringify!($name), "` of preview 1.")]
                pub fn $name(&mut self, mem: &mut [u8], $($arg: $ty),*) -> Result<Errno, Stop> {
                    // A restored program's time stands still until it does something.
                    self.host.clock.start();
                    match self.host.$name(mem, $($arg),*) {
                        Ok(()) => Ok(Errno::Success),
                        Err(Fail::Errno(errno)) => Ok(errno),
                        Err(Fail::Stop(Stop::Trap(why))) => {
                            Err(Stop::Trap(format!(concat!(stringify!($name), ": {}"), why)))
                        }
                        Err(Fail::Stop(stop)) => Err(stop),
                    }
                }
            )*
        }
    };
}

for_each_call!(table);
for_each_call!(methods);
