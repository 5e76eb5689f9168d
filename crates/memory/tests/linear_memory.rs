//! What compiled code relies on: where a memory lies, what is accessible, what faults, what stays.

use dormouse_memory::{CAN_GUARD, Layout, LinearMemory, MemoryError};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Where nothing faults, a guard is refused; the rest is tested there too.
const GUARD: usize = if CAN_GUARD { 64 * KIB } else { 0 };
/// A length that is whole pages on every host.
const WASM_PAGE: usize = 64 * KIB;

fn fixed(minimum: usize, reserve: usize) -> Layout {
    Layout { minimum, reserve, guard: GUARD, ..Layout::default() }
}

#[test]
fn growth_keeps_base_and_contents() {
    let mut memory = LinearMemory::new(fixed(WASM_PAGE, MIB)).unwrap();
    let base = memory.base();
    assert_eq!(base.as_ptr().addr() % 4096, 0);
    assert_eq!(memory.capacity(), MIB);
    assert!(memory.bytes().iter().all(|&byte| byte == 0));

    for pages in 1..=16 {
        let (before, len) = (memory.len(), pages * WASM_PAGE);
        memory.grow_to(len).unwrap();
        assert_eq!((memory.base(), memory.len()), (base, len));
        assert!(memory.bytes()[before..].iter().all(|&byte| byte == 0));
        memory.bytes_mut()[len - 1] = pages as u8;
    }
    for pages in 1..=16 {
        assert_eq!(memory.bytes()[pages * WASM_PAGE - 1], pages as u8);
    }
}

#[test]
fn growth_stops_where_it_must_and_leaves_the_memory_alone() {
    let mut memory = LinearMemory::new(Layout {
        maximum: Some(3 * WASM_PAGE),
        ..fixed(WASM_PAGE, 2 * WASM_PAGE)
    })
    .unwrap();
    memory.bytes_mut().fill(7);
    let base = memory.base();

    let refused = memory.grow_to(3 * WASM_PAGE).unwrap_err();
    assert!(
        matches!(refused, MemoryError::BeyondReservation { wanted, capacity }
            if wanted == 3 * WASM_PAGE && capacity == 2 * WASM_PAGE),
        "{refused}"
    );
    let refused = memory.grow_to(4 * WASM_PAGE).unwrap_err();
    assert!(
        matches!(refused, MemoryError::BeyondMaximum { wanted, maximum }
            if wanted == 4 * WASM_PAGE && maximum == 3 * WASM_PAGE),
        "{refused}"
    );
    let refused = memory.grow_to(WASM_PAGE - 1).unwrap_err();
    assert!(matches!(refused, MemoryError::Shrink { .. }), "{refused}");

    assert_eq!((memory.base(), memory.len()), (base, WASM_PAGE));
    assert!(memory.bytes().iter().all(|&byte| byte == 7));
    memory.grow_to(2 * WASM_PAGE).unwrap();
    memory.grow_to(2 * WASM_PAGE).unwrap();
}

#[test]
fn zero_size() {
    for layout in [
        Layout::default(),
        fixed(0, 0),
        fixed(0, MIB),
        Layout { maximum: Some(0), ..fixed(0, MIB) },
    ] {
        let mut memory = LinearMemory::new(layout).unwrap();
        assert_eq!(memory.bytes(), &[]);
        assert_eq!(memory.bytes_mut(), &[]);
        assert_eq!(memory.len(), 0);
        assert_eq!(memory.capacity(), layout.reserve);
        memory.grow_to(0).unwrap();
        let grown = memory.grow_to(WASM_PAGE);
        assert_eq!(grown.is_ok(), layout.reserve > 0 && layout.maximum.is_none());
    }
}

#[test]
fn a_memory_that_may_move_outgrows_its_reservation() {
    let mut memory = LinearMemory::new(Layout {
        maximum: Some(13 * WASM_PAGE),
        may_move: true,
        ..fixed(0, WASM_PAGE)
    })
    .unwrap();
    let mut capacities = vec![memory.capacity()];
    for pages in 1..=13 {
        memory.grow_to(pages * WASM_PAGE).unwrap();
        let start = (pages - 1) * WASM_PAGE;
        assert!(memory.bytes()[start..].iter().all(|&byte| byte == 0));
        memory.bytes_mut()[start + 5] = pages as u8;
        if capacities.last() != Some(&memory.capacity()) {
            capacities.push(memory.capacity());
        }
    }
    for pages in 1..=13 {
        assert_eq!(
            memory.bytes()[(pages - 1) * WASM_PAGE + 5],
            pages as u8,
            "page {pages} moved along"
        );
    }
    // Doubled each time, but never beyond the maximum.
    assert_eq!(capacities, [1, 2, 4, 8, 13].map(|pages| pages * WASM_PAGE));
    assert!(matches!(memory.grow_to(14 * WASM_PAGE), Err(MemoryError::BeyondMaximum { .. })));
}

#[test]
fn lengths_need_not_be_whole_pages() {
    let mut memory = LinearMemory::new(fixed(1, 100)).unwrap();
    assert!(memory.capacity() >= 4096);
    memory.bytes_mut()[0] = 1;
    memory.grow_to(100).unwrap();
    assert_eq!(memory.bytes()[..2], [1, 0]);
    assert_eq!(memory.bytes().len(), 100);
}

#[test]
fn what_no_host_has_is_an_error() {
    let all = usize::MAX;
    for layout in [
        Layout { reserve: all, ..Layout::default() },
        Layout { minimum: all, ..Layout::default() },
        Layout { reserve: all / 2, guard: GUARD, ..Layout::default() },
    ] {
        let refused = LinearMemory::new(layout).unwrap_err();
        assert!(matches!(refused, MemoryError::AddressSpace { .. }), "{refused}");
    }
    let mut memory = LinearMemory::new(Layout { may_move: true, ..fixed(WASM_PAGE, 0) }).unwrap();
    memory.bytes_mut()[9] = 9;
    let base = memory.base();
    for wanted in [all, all / 2 + 1] {
        let refused = memory.grow_to(wanted).unwrap_err();
        assert!(matches!(refused, MemoryError::AddressSpace { .. }), "{refused}");
    }
    assert_eq!((memory.base(), memory.len()), (base, WASM_PAGE));
    assert_eq!(memory.bytes()[9], 9);
}

#[test]
fn is_send_and_sync() {
    fn check<T: Send + Sync + 'static>() {}
    check::<LinearMemory>();
    check::<MemoryError>();
}

#[cfg(any(not(unix), miri))]
#[test]
fn a_guard_is_refused_where_nothing_faults() {
    let refused = LinearMemory::new(Layout { guard: 1, ..Layout::default() });
    assert!(matches!(refused, Err(MemoryError::NoGuard)));
}

#[cfg(all(target_os = "linux", not(miri)))]
mod linux {
    use super::*;
    use std::fs;
    use std::ops::Range;

    /// The mappings of this process that overlap `range`, with their permissions, cut to it.
    fn maps(range: Range<usize>) -> Vec<(Range<usize>, String)> {
        let hex = |text| usize::from_str_radix(text, 16).unwrap();
        fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let (start, end) = words.next()?.split_once('-')?;
                let cut = hex(start).max(range.start)..hex(end).min(range.end);
                (!cut.is_empty()).then(|| (cut, words.next().unwrap().to_owned()))
            })
            .collect()
    }

    /// All of capacity and guard, as (bytes, permissions).
    fn permissions(memory: &LinearMemory) -> Vec<(usize, String)> {
        let start = memory.base().as_ptr().addr();
        let found = maps(start..start + memory.capacity() + GUARD);
        let mut at = start;
        for (range, _) in &found {
            assert_eq!(range.start, at, "a hole in the reservation");
            at = range.end;
        }
        assert_eq!(at, start + memory.capacity() + GUARD, "the guard is reserved");
        found.into_iter().map(|(range, permissions)| (range.len(), permissions)).collect()
    }

    #[test]
    fn only_the_length_is_accessible() {
        let (open, shut) = ("rw-p".to_owned(), "---p".to_owned());
        let mut memory = LinearMemory::new(fixed(0, MIB)).unwrap();
        assert_eq!(permissions(&memory), [(MIB + GUARD, shut.clone())]);
        memory.grow_to(WASM_PAGE).unwrap();
        assert_eq!(
            permissions(&memory),
            [(WASM_PAGE, open.clone()), (MIB - WASM_PAGE + GUARD, shut.clone())]
        );
        memory.grow_to(MIB).unwrap();
        assert_eq!(permissions(&memory), [(MIB, open.clone()), (GUARD, shut.clone())]);

        let mut memory =
            LinearMemory::new(Layout { may_move: true, ..fixed(0, WASM_PAGE) }).unwrap();
        memory.grow_to(MIB + WASM_PAGE).unwrap();
        assert_eq!(
            permissions(&memory),
            [(MIB + WASM_PAGE, open), (GUARD, shut)],
            "after moving, too"
        );
    }

    /// Run by [`what_the_host_refuses_changes_nothing`], with a limit of 512 MiB on addresses.
    #[test]
    #[ignore = "needs limits that its caller sets"]
    fn within_limits() {
        let refused = LinearMemory::new(fixed(0, 1024 * MIB)).unwrap_err();
        assert!(
            matches!(&refused, MemoryError::Reserve { bytes, .. } if *bytes == 1024 * MIB + GUARD),
            "{refused}"
        );

        // Twice 176 MiB cannot be had besides the first, 186 MiB can.
        let mut memory =
            LinearMemory::new(Layout { may_move: true, ..fixed(MIB, 176 * MIB) }).unwrap();
        memory.bytes_mut()[77] = 7;
        memory.grow_to(186 * MIB).unwrap();
        assert_eq!(memory.capacity(), 186 * MIB);
        let base = memory.base();
        let refused = memory.grow_to(400 * MIB).unwrap_err();
        assert!(matches!(refused, MemoryError::Reserve { .. }), "{refused}");
        assert_eq!((memory.base(), memory.len()), (base, 186 * MIB));
        assert_eq!(memory.bytes()[77], 7);
    }

    /// As above, with a limit of 64 MiB on memory.
    #[test]
    #[ignore = "needs limits that its caller sets"]
    fn within_limits_of_data() {
        let mut memory = LinearMemory::new(fixed(WASM_PAGE, 1024 * MIB)).unwrap();
        memory.bytes_mut()[77] = 7;
        let before = permissions(&memory);
        let refused = memory.grow_to(512 * MIB).unwrap_err();
        assert!(
            matches!(&refused, MemoryError::Grow { bytes, .. } if *bytes == 512 * MIB),
            "{refused}"
        );
        assert_eq!((memory.len(), memory.bytes()[77]), (WASM_PAGE, 7));
        assert_eq!(permissions(&memory), before);
        memory.grow_to(MIB).unwrap();

        let refused = LinearMemory::new(fixed(512 * MIB, 512 * MIB)).unwrap_err();
        assert!(matches!(refused, MemoryError::Grow { .. }), "{refused}");
    }

    #[test]
    fn what_the_host_refuses_changes_nothing() {
        for (limit, test) in
            [("-v 524288", "linux::within_limits"), ("-d 65536", "linux::within_limits_of_data")]
        {
            let run = std::process::Command::new("sh")
                .args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "--ignored", "--test-threads=1", test])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&run.stdout);
            assert!(run.status.success() && said.contains("1 passed"), "{said}{run:?}");
        }
    }

    #[test]
    fn dropping_gives_the_addresses_back() {
        // More than 47 bits of addresses, were they kept.
        for _ in 0..200_000 {
            LinearMemory::new(fixed(
                0,
                if cfg!(target_pointer_width = "64") { 4096 * MIB } else { MIB },
            ))
            .unwrap();
        }
    }
}
