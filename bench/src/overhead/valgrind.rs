//! What a process has to do with the valgrind it runs under; on x86-64 only.

use anyhow::{Result, ensure};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// `VG_USERREQ__RUNNING_ON_VALGRIND` of valgrind's valgrind.h.
const RUNNING: u64 = 0x1001;
/// `VG_USERREQ_TOOL_BASE('C', 'T')`, and what its callgrind.h numbers from there.
const START: u64 = 0x4354_0004;
const STOP: u64 = 0x4354_0005;

/// From here on instructions are counted.
pub fn start() {
    request(START);
}

/// ... up to here.
pub fn stop() {
    request(STOP);
}

/// To be called first.
///
/// Valgrind takes the kernel's vDSO away from the program, but not from what the kernel says of it, and rustix looks at its
/// header. There it finds zeros: no ELF file, so it does without.
pub fn enter() -> Result<()> {
    ensure!(request(RUNNING) > 0, "this is run under valgrind, on x86-64, by `instructions`");
    if let Some(address) = vdso() {
        let (at, private) = (address as *mut _, MapFlags::PRIVATE | MapFlags::FIXED);
        // SAFETY: nothing of this process lies there, under valgrind.
        unsafe { mmap_anonymous(at, 8192, ProtFlags::READ, private)? };
    }
    Ok(())
}

/// A request as valgrind.h makes it; nothing, and 0, without valgrind.
#[cfg(target_arch = "x86_64")]
fn request(what: u64) -> u64 {
    let block = [what, 0, 0, 0, 0, 0];
    let answer;
    // SAFETY: four rotations of rdi, together by 128 bits, and an exchange of rbx with itself change nothing. Under
    // valgrind rdx becomes the answer, and the six words that rax points to are read.
    unsafe {
        std::arch::asm!("rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
             in("rax") &block, inout("rdx") 0u64 => answer);
    }
    answer
}

/// Where the kernel says that it is: `prctl(PR_GET_AUXV)`, whose answer valgrind leaves alone.
#[cfg(target_arch = "x86_64")]
fn vdso() -> Option<u64> {
    const PR_GET_AUXV: u64 = 0x4155_5856;
    const AT_SYSINFO_EHDR: u64 = 33;
    const NR_PRCTL: u64 = 157;
    let mut vector = [[0u64; 2]; 64];
    let (pointer, len) = (vector.as_mut_ptr(), size_of_val(&vector));
    // SAFETY: the kernel writes at most `len` bytes.
    unsafe {
        std::arch::asm!("syscall", inout("rax") NR_PRCTL => _, in("rdi") PR_GET_AUXV, in("rsi") pointer, in("rdx") len,
             in("r10") 0, in("r8") 0, lateout("rcx") _, lateout("r11") _);
    }
    vector.iter().find(|[key, _]| *key == AT_SYSINFO_EHDR).map(|[_, address]| *address)
}

#[cfg(not(target_arch = "x86_64"))]
fn request(_: u64) -> u64 {
    0
}

#[cfg(not(target_arch = "x86_64"))]
fn vdso() -> Option<u64> {
    None
}
