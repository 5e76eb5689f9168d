//! Every way of tracking finds every page that was written, also while the program runs.
#![allow(unsafe_code, missing_docs, clippy::single_range_in_vec_init)]
#![cfg(not(miri))]

use dormouse_memory::{Layout, LinearMemory, PAGE_SIZE, PageSet, Since, Tracking};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

const ALL: [Tracking; 3] = [Tracking::Userfaultfd, Tracking::Mprotect, Tracking::Compare];

fn memory(pages: usize) -> LinearMemory {
    let layout = Layout { minimum: pages * 65536, reserve: 1 << 30, ..Layout::default() };
    LinearMemory::new(layout).unwrap()
}

/// Those that work on this host. `Auto` always does.
fn ways() -> Vec<Tracking> {
    let works = |way: &Tracking| {
        let memory = memory(1);
        let begun = memory.watch().begin(*way, Since::Now, Some(memory.bytes()));
        if let Err(e) = &begun {
            eprintln!("{way} does not work here: {e}");
        }
        begun.is_ok()
    };
    let ways: Vec<_> = ALL.into_iter().filter(works).collect();
    assert!(ways.contains(&Tracking::Compare));
    assert!(cfg!(not(target_os = "linux")) || ways.contains(&Tracking::Mprotect));
    ways
}

fn taken(memory: &LinearMemory) -> Vec<u64> {
    let mut set = PageSet::default();
    memory.watch().take(memory.bytes(), &mut set).unwrap();
    set.runs().flatten().collect()
}

#[test]
fn the_best_way_is_chosen() {
    let memory = memory(1);
    let chosen = memory.watch().begin(Tracking::Auto, Since::Now, Some(memory.bytes())).unwrap();
    assert_eq!(chosen, ways()[0]);
    assert_eq!(memory.watch().tracking(), Some(chosen));
    assert_eq!(memory.watch().while_running(), chosen != Tracking::Compare);
}

#[test]
fn written_pages_are_told_once() {
    for way in ways() {
        let mut memory = memory(4);
        memory.bytes_mut()[9 * PAGE_SIZE] = 1;
        memory.watch().begin(way, Since::Now, Some(memory.bytes())).unwrap();
        assert_eq!(taken(&memory), [], "{way}");
        memory.bytes_mut()[3 * PAGE_SIZE] = 1;
        memory.bytes_mut()[7 * PAGE_SIZE - 1] = 1;
        memory.bytes_mut()[9 * PAGE_SIZE] = 2;
        assert_eq!(taken(&memory), [3, 6, 9], "{way}");
        assert_eq!(taken(&memory), [], "{way}");
        // Zero again is a change too.
        memory.bytes_mut()[9 * PAGE_SIZE] = 0;
        assert_eq!(taken(&memory), [9], "{way}");
    }
}

#[test]
fn what_was_there_before_counts_since_zero() {
    for way in ways() {
        let mut memory = memory(4);
        memory.bytes_mut()[5 * PAGE_SIZE] = 1;
        memory.watch().begin(way, Since::Zero, Some(memory.bytes())).unwrap();
        assert!(taken(&memory).contains(&5), "{way}");
        assert_eq!(taken(&memory), [], "{way}");
    }
}

#[test]
fn what_grows_is_tracked() {
    for way in ways() {
        let mut memory = memory(1);
        memory.watch().begin(way, Since::Now, Some(memory.bytes())).unwrap();
        memory.grow_to(4 << 20).unwrap();
        memory.bytes_mut()[3 << 20] = 1;
        memory.bytes_mut()[0] = 1;
        let found = taken(&memory);
        assert!(found.contains(&0) && found.contains(&((3 << 20) / PAGE_SIZE as u64)), "{way}");
        memory.bytes_mut()[3 << 20] = 2;
        assert_eq!(taken(&memory), [(3 << 20) / PAGE_SIZE as u64], "{way}");
    }
}

#[test]
fn what_moves_is_not_tracked_any_more() {
    for way in ways() {
        let layout = Layout { minimum: 65536, may_move: true, ..Layout::default() };
        let mut memory = LinearMemory::new(layout).unwrap();
        let watch = memory.watch();
        watch.begin(way, Since::Now, Some(memory.bytes())).unwrap();
        memory.bytes_mut()[70] = 1;
        memory.grow_to(1 << 20).unwrap();
        assert_eq!(watch.tracking(), None, "{way}");
        assert!(watch.take(memory.bytes(), &mut PageSet::default()).is_err());
        watch.begin(way, Since::Zero, Some(memory.bytes())).unwrap();
        assert!(taken(&memory).contains(&0), "{way}");
        assert_eq!(watch.len(), 1 << 20);
        drop(memory);
        assert!(watch.is_empty());
        assert!(watch.begin(way, Since::Now, None).is_err());
    }
}

/// The system writes into the memory for a call: as userfaultfd notices it, and as others do once it was touched.
#[test]
#[cfg(unix)]
fn what_the_system_writes_is_noticed() {
    use std::io::{Read, Write};
    for way in ways() {
        let mut memory = memory(4);
        memory.bytes_mut()[8 * PAGE_SIZE..12 * PAGE_SIZE].fill(1);
        memory.watch().begin(way, Since::Now, Some(memory.bytes())).unwrap();
        let (mut from, mut to) = std::io::pipe().unwrap();
        to.write_all(&[2; 5000]).unwrap();
        let into = &mut memory.bytes_mut()[8 * PAGE_SIZE + 100..][..5000];
        if way == Tracking::Mprotect {
            assert_eq!(from.read(into).unwrap_err().raw_os_error(), Some(14), "EFAULT");
            into[0] = std::hint::black_box(into[0]);
            into[4999] = std::hint::black_box(into[4999]);
        }
        from.read_exact(into).unwrap();
        assert_eq!(taken(&memory), [8, 9], "{way}");
    }
}

/// More runs of pages than a process may have mappings.
#[test]
#[cfg(target_os = "linux")]
fn mprotect_runs_out_of_mappings() {
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let most: usize = most.trim().parse().unwrap();
    if most > 200_000 {
        return eprintln!("more mappings than this test has memory for");
    }
    let pages = most * 2 / 16 + 1;
    let mut memory = memory(pages);
    memory.watch().begin(Tracking::Mprotect, Since::Now, None).unwrap();
    let every_other = (0..memory.len()).step_by(2 * PAGE_SIZE);
    for at in every_other.clone() {
        memory.bytes_mut()[at] = 1;
    }
    let found = taken(&memory);
    assert!(
        every_other
            .map(|at| (at / PAGE_SIZE) as u64)
            .all(|page| found.binary_search(&page).is_ok())
    );
    memory.bytes_mut()[6 * PAGE_SIZE] = 1;
    let again = taken(&memory);
    assert!(again.contains(&6) && again.len() < found.len(), "{} of {}", again.len(), found.len());
}

/// What pre-copy does: rounds of taking and copying while the program writes, and one when it stands.
#[test]
fn copies_of_a_running_program_come_out_right() {
    for way in ways() {
        let mut memory = memory(64);
        let pages = memory.len() / PAGE_SIZE;
        let watch = memory.watch();
        watch.begin(way, Since::Zero, Some(memory.bytes())).unwrap();
        if !watch.while_running() {
            continue;
        }
        let mut copy = vec![0; memory.len()];
        let stop = AtomicBool::new(false);
        let mut told = 0;
        for _ in 0..30 {
            let base = memory.base().as_ptr() as usize;
            stop.store(false, Ordering::SeqCst);
            std::thread::scope(|scope| {
                let program = scope.spawn(|| {
                    let (mut random, mut n) = (88172645463325252_u64, 0_u64);
                    while !stop.load(Ordering::Relaxed) {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        // Mostly in few pages, as programs do.
                        let page = random % if n % 8 == 0 { pages as u64 } else { 40 };
                        let at =
                            page as usize * PAGE_SIZE + (random >> 32) as usize % PAGE_SIZE / 8 * 8;
                        n += 1;
                        // SAFETY: within the memory, aligned, and while this thread runs nobody else uses its bytes but
                        // through the watch.
                        unsafe { std::ptr::write_volatile((base + at) as *mut u64, n) };
                    }
                });
                for _ in 0..20 {
                    let mut set = PageSet::default();
                    watch.take_running(&mut set).unwrap();
                    told += set.len();
                    for page in set.runs().flatten() {
                        let at = page as usize * PAGE_SIZE;
                        watch.copy_running(at, &mut copy[at..at + PAGE_SIZE]).unwrap();
                    }
                }
                stop.store(true, Ordering::SeqCst);
                program.join().unwrap();
            });
            let mut set = PageSet::default();
            watch.take(memory.bytes(), &mut set).unwrap();
            for page in set.runs().flatten() {
                let at = page as usize * PAGE_SIZE;
                copy[at..at + PAGE_SIZE].copy_from_slice(&memory.bytes()[at..at + PAGE_SIZE]);
            }
            assert!(copy == memory.bytes(), "{way}");
        }
        assert!(told > 100, "{way} told of {told} pages");
        let beyond = watch.copy_running(memory.len() - 1, &mut [0; 2]);
        assert!(beyond.is_err());
        memory.bytes_mut()[0] = 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_missed(
        rounds in prop::collection::vec(
            (0usize..3, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..9000), 0..12)),
            1..8,
        ),
    ) {
        for way in ways() {
            let mut memory = memory(2);
            memory.watch().begin(way, Since::Now, Some(memory.bytes())).unwrap();
            let mut before = memory.bytes().to_vec();
            for (growth, writes) in &rounds {
                memory.grow_to(memory.len() + growth * 65536).unwrap();
                before.resize(memory.len(), 0);
                for (at, byte, len) in writes {
                    let at = at.index(memory.len());
                    let end = memory.len().min(at + len);
                    memory.bytes_mut()[at..end].fill(*byte);
                }
                let found = taken(&memory);
                let (old, new) = (before.chunks(PAGE_SIZE), memory.bytes().chunks(PAGE_SIZE));
                for (page, (old, new)) in (0u64..).zip(old.zip(new)) {
                    prop_assert!(old == new || found.binary_search(&page).is_ok(), "{} misses {}", way, page);
                }
                before.copy_from_slice(memory.bytes());
            }
        }
    }
}
