//! Linear memories: reserved once, grown in place, read page by page.
//!
//! ```text
//!   base            len                    capacity           + guard
//!    |  accessible   |  reserved, may grow  |  never accessible  |
//!    |<-- bytes() -->|                      |                    |
//!    |<------------- reserve -------------->|<------ guard ----->|    one mapping, PROT_NONE at first
//! ```
//!
//! [`LinearMemory`] meets what wasmtime asks of a memory that it did not make itself (its traits
//! `MemoryCreator` and `LinearMemory`, which `dormouse-engine` implements with it; this crate knows
//! no engine): zero-filled, aligned to the host's pages, the base stays while the memory grows within
//! its capacity, and every byte from `len` (rounded up to the host's pages) to `capacity + guard`
//! faults, so that compiled code may leave out its bounds checks.
//!
//! Only where the capacity has to be exceeded (32-bit hosts, 64-bit memories without a maximum), and
//! only if [`Layout::may_move`] allows it, does a memory move: to a larger mapping, by copying.
//!
//! Hosts without `mmap` get a plain zeroed allocation of the whole reserve instead; there a guard is
//! refused ([`CAN_GUARD`], [`MemoryError::NoGuard`]) rather than left out silently.
//!
//! [`nonzero_pages`] finds what of a memory must be kept. A [`Watch`] tells which pages were written since it was last
//! asked, and copies them, also while the program runs: by one of several ways ([`Tracking`]).
//!
//! ```
//! use dormouse_memory::{CAN_GUARD, LinearMemory, Layout, nonzero_pages};
//!
//! let mut memory = LinearMemory::new(Layout {
//!     minimum: 65536,
//!     maximum: Some(1 << 24),
//!     reserve: 1 << 24,
//!     guard: if CAN_GUARD { 65536 } else { 0 },
//!     may_move: false,
//! })?;
//! memory.bytes_mut()[5000] = 7;
//!
//! let base = memory.base();
//! memory.grow_to(1 << 20)?;
//! assert_eq!(memory.base(), base);
//! assert_eq!((memory.len(), memory.bytes()[5000]), (1 << 20, 7));
//!
//! let (page, run) = nonzero_pages(memory.bytes()).next().unwrap();
//! assert_eq!((page, run.len(), run[5000 - 4096]), (1, 4096, 7));
//! # Ok::<(), dormouse_memory::MemoryError>(())
//! ```
#![deny(missing_docs, unsafe_code)]

#[allow(unsafe_code)]
mod dirty;
mod fingerprints;
mod lazy;
mod pages;
#[allow(unsafe_code)]
mod reservation;
mod set;
#[cfg(all(target_os = "linux", not(miri)))]
#[allow(unsafe_code)]
mod uffd;
mod watch;

pub use dirty::{Since, Tracking};
pub use fingerprints::Fingerprints;
pub use lazy::{Filling, PageSource};
pub use pages::{PAGE_SIZE, nonzero_pages};
pub use reservation::CAN_GUARD;
pub use set::PageSet;
pub use watch::Watch;

use dirty::Mapping;
use reservation::{Reservation, host_page_size};
use std::io;
use std::ptr::NonNull;

/// What a [`LinearMemory`] is to be like, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Its length at first.
    pub minimum: usize,
    /// What it never grows beyond; `None` if only the host limits it.
    pub maximum: Option<usize>,
    /// Address space to reserve, within which it grows without moving. Rounded up to the host's
    /// pages, and to `minimum`. It takes no memory, only addresses.
    pub reserve: usize,
    /// Address space after `reserve` that faults when touched. Rounded up to the host's pages.
    pub guard: usize,
    /// Whether it may move to grow beyond `reserve`. Compiled code must not rely on the base then.
    pub may_move: bool,
}

/// Why a memory cannot be made or grown. After any of them the memory is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Longer than [`Layout::maximum`].
    #[error("{wanted} bytes of memory are more than its maximum of {maximum}")]
    BeyondMaximum {
        /// The length asked for.
        wanted: usize,
        /// The maximum.
        maximum: usize,
    },
    /// Longer than the capacity, and [`Layout::may_move`] forbids to move.
    #[error("{wanted} bytes of memory do not fit the {capacity} reserved, and it may not move")]
    BeyondReservation {
        /// The length asked for.
        wanted: usize,
        /// The capacity.
        capacity: usize,
    },
    /// Shorter than it is: memories never shrink.
    #[error("a memory of {len} bytes cannot shrink to {wanted}")]
    Shrink {
        /// The length asked for.
        wanted: usize,
        /// The length it has.
        len: usize,
    },
    /// More than a pointer of this host can reach.
    #[error(
        "{wanted} bytes of memory and {guard} of guard are more than this host can address; \
         use a smaller reserve or guard"
    )]
    AddressSpace {
        /// The length asked for.
        wanted: usize,
        /// The guard asked for.
        guard: usize,
    },
    /// A guard was asked for, and this host has no pages that fault.
    #[error("this host cannot guard a memory; ask for no guard, and for bounds checks instead")]
    NoGuard,
    /// The host does not give the address space.
    #[error(
        "cannot reserve {bytes} bytes of address space; raise the limit (ulimit -v) or use a smaller reserve"
    )]
    Reserve {
        /// How much was asked for.
        bytes: usize,
        /// What the host said.
        source: io::Error,
    },
    /// The host does not give the memory.
    #[error("cannot make {bytes} bytes of memory accessible")]
    Grow {
        /// The length asked for.
        bytes: usize,
        /// What the host said.
        source: io::Error,
    },
}

/// A linear memory; the crate's page shows its layout.
#[derive(Debug)]
pub struct LinearMemory {
    reservation: Reservation,
    len: usize,
    /// A multiple of the host's page size, like `guard`; both together are reserved.
    capacity: usize,
    guard: usize,
    maximum: Option<usize>,
    may_move: bool,
    watch: Watch,
}

impl LinearMemory {
    /// Reserves the memory's address space and makes its first `minimum` bytes accessible. They
    /// are zero.
    ///
    /// # Errors
    /// If `minimum` is more than `maximum`, a guard cannot be had, or the host refuses.
    ///
    /// ```
    /// use dormouse_memory::{LinearMemory, Layout, MemoryError};
    ///
    /// let memory = LinearMemory::new(Layout { minimum: 65536, ..Layout::default() })?;
    /// assert_eq!((memory.len(), memory.capacity()), (65536, 65536));
    ///
    /// let maximum = Some(65536);
    /// let refused = LinearMemory::new(Layout { minimum: 131072, maximum, ..Layout::default() });
    /// assert!(matches!(refused, Err(MemoryError::BeyondMaximum { .. })));
    /// # Ok::<(), MemoryError>(())
    /// ```
    pub fn new(layout: Layout) -> Result<Self, MemoryError> {
        let Layout { minimum, maximum, reserve, guard, may_move } = layout;
        within(minimum, maximum)?;
        if guard > 0 && !CAN_GUARD {
            return Err(MemoryError::NoGuard);
        }
        let wanted = reserve.max(minimum);
        let (reservation, capacity) = reserve_and_open(wanted, guard, minimum)?;
        let watch = Watch::of(Mapping { base: reservation.base(), len: minimum, capacity });
        Ok(Self { reservation, len: minimum, capacity, guard, maximum, may_move, watch })
    }

    /// For other threads, which may look at it while its program runs.
    ///
    /// ```
    /// use dormouse_memory::{Layout, LinearMemory, PageSet, Since, Tracking};
    ///
    /// let mut memory = LinearMemory::new(Layout { minimum: 65536, ..Layout::default() })?;
    /// let watch = memory.watch();
    /// watch.begin(Tracking::Auto, Since::Now, Some(memory.bytes()))?;
    /// memory.bytes_mut()[5000] = 7;
    ///
    /// let mut written = PageSet::default();
    /// watch.take(memory.bytes(), &mut written)?;
    /// assert!(written.contains(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Where the memory begins, aligned to the host's pages.
    ///
    /// Valid for reads and writes of [`len`](Self::len) bytes, until the memory is dropped or grows
    /// beyond its [`capacity`](Self::capacity). Whoever writes through it must see to it that no slice
    /// from [`bytes`](Self::bytes) or [`bytes_mut`](Self::bytes_mut) is alive then, and that no other
    /// thread reads the same bytes meanwhile: so a running program and those slices exclude each
    /// other.
    pub fn base(&self) -> NonNull<u8> {
        self.reservation.base()
    }

    /// The bytes the program has.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The length up to which it grows without moving: [`Layout::reserve`], rounded up, until it
    /// moves. A [`Layout::maximum`] may be less.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What the memory holds. No program may be writing to it: see [`base`](Self::base).
    pub fn bytes(&self) -> &[u8] {
        &self.reservation.bytes()[..self.len]
    }

    /// What the memory holds, to change it. No program may be using it: see [`base`](Self::base).
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.reservation.bytes_mut()[..self.len]
    }

    /// Grows it to `new_len` bytes, the new ones zero. Within the capacity the base stays;
    /// beyond it, and only if [`Layout::may_move`], the memory moves and everything that knows
    /// [`base`](Self::base) must ask again. While it moves, both the old and the new copy exist.
    ///
    /// # Errors
    /// If the new length is beyond the maximum, or beyond the capacity of a memory that may not
    /// move, or less than the present one; or the host refuses. The memory is then as it was.
    ///
    /// ```
    /// use dormouse_memory::{LinearMemory, Layout, MemoryError};
    ///
    /// let layout = Layout { minimum: 65536, reserve: 131072, ..Layout::default() };
    /// let mut memory = LinearMemory::new(layout)?;
    /// memory.grow_to(131072)?;
    /// let refused = memory.grow_to(196608);
    /// assert!(matches!(refused, Err(MemoryError::BeyondReservation { .. })));
    /// assert_eq!(memory.len(), 131072);
    ///
    /// let mut memory = LinearMemory::new(Layout { may_move: true, ..layout })?;
    /// memory.bytes_mut()[..4].copy_from_slice(b"kept");
    /// memory.grow_to(196608)?;
    /// assert_eq!(&memory.bytes()[..4], b"kept");
    /// # Ok::<(), MemoryError>(())
    /// ```
    pub fn grow_to(&mut self, new_len: usize) -> Result<(), MemoryError> {
        if new_len < self.len {
            return Err(MemoryError::Shrink { wanted: new_len, len: self.len });
        }
        within(new_len, self.maximum)?;
        if new_len <= self.capacity {
            open(&mut self.reservation, new_len)?;
        } else if self.may_move {
            self.move_to_larger(new_len)?;
        } else {
            return Err(MemoryError::BeyondReservation {
                wanted: new_len,
                capacity: self.capacity,
            });
        }
        self.len = new_len;
        self.watch.changed(self.mapping());
        Ok(())
    }

    fn mapping(&self) -> Mapping {
        Mapping { base: self.base(), len: self.len, capacity: self.capacity }
    }

    /// Twice the capacity, so that a memory growing page by page is not copied each time; if that
    /// much cannot be had, what is needed.
    fn move_to_larger(&mut self, new_len: usize) -> Result<(), MemoryError> {
        let doubled =
            self.capacity.saturating_mul(2).min(self.maximum.unwrap_or(usize::MAX)).max(new_len);
        let (mut larger, capacity) = reserve_and_open(doubled, self.guard, new_len)
            .or_else(|_| reserve_and_open(new_len, self.guard, new_len))?;
        // Pages without content stay untouched in the new place, and take no memory there.
        for (page, run) in nonzero_pages(self.bytes()) {
            let start = page as usize * PAGE_SIZE;
            larger.bytes_mut()[start..start + run.len()].copy_from_slice(run);
        }
        // Before the old place goes nobody else may look at it any more, so that comes first; no page is tracked after.
        self.watch.changed(Mapping { base: larger.base(), len: new_len, capacity });
        self.reservation = larger;
        self.capacity = capacity;
        Ok(())
    }
}

impl Drop for LinearMemory {
    fn drop(&mut self) {
        self.watch.leave();
    }
}

fn within(wanted: usize, maximum: Option<usize>) -> Result<(), MemoryError> {
    match maximum {
        Some(maximum) if wanted > maximum => Err(MemoryError::BeyondMaximum { wanted, maximum }),
        _ => Ok(()),
    }
}

/// A reservation of `capacity` and `guard`, of which the first `len` bytes are accessible; and the
/// capacity, rounded up to the host's pages.
fn reserve_and_open(
    capacity: usize,
    guard: usize,
    len: usize,
) -> Result<(Reservation, usize), MemoryError> {
    let page = host_page_size();
    let (capacity, bytes) = (|| {
        let capacity_bytes = capacity.checked_next_multiple_of(page)?;
        let bytes = capacity_bytes.checked_add(guard.checked_next_multiple_of(page)?)?;
        // Neither mappings nor allocations can be empty.
        let bytes = bytes.max(page);
        (bytes <= isize::MAX as usize).then_some((capacity_bytes, bytes))
    })()
    .ok_or(MemoryError::AddressSpace { wanted: capacity, guard })?;
    let mut reservation =
        Reservation::new(bytes).map_err(|source| MemoryError::Reserve { bytes, source })?;
    open(&mut reservation, len)?;
    Ok((reservation, capacity))
}

/// Makes the first `len` bytes accessible. `len` is at most the capacity, which is whole pages, so
/// rounding up does not reach the guard.
fn open(reservation: &mut Reservation, len: usize) -> Result<(), MemoryError> {
    reservation
        .make_accessible(len.next_multiple_of(host_page_size()))
        .map_err(|source| MemoryError::Grow { bytes: len, source })
}
