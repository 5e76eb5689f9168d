//! A memory that is filled when it is touched holds what its source has, zeros elsewhere, and knows what was written.
#![allow(missing_docs, clippy::single_range_in_vec_init)]
#![cfg(all(target_os = "linux", not(miri)))]

use dormouse_memory::{Filling, Layout, LinearMemory, PAGE_SIZE, PageSet, PageSource, Tracking};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

/// Every page holds its number, and where asked for only if that is allowed.
struct Numbers {
    slow: AtomicBool,
    bad: u64,
    reads: AtomicU64,
    told: Mutex<Sender<Result<(), String>>>,
}

impl PageSource for Numbers {
    fn read(&self, pages: &[std::ops::Range<u64>], into: &mut [u8]) -> Result<(), String> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.slow.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let pages = pages.iter().cloned().flatten();
        assert_eq!(pages.clone().count() * PAGE_SIZE, into.len());
        for (page, bytes) in pages.zip(into.chunks_mut(PAGE_SIZE)) {
            if page == self.bad {
                return Err(format!("page {page} is damaged"));
            }
            bytes[..8].copy_from_slice(&page.to_le_bytes());
            bytes[PAGE_SIZE - 1] = 1;
        }
        Ok(())
    }

    fn done(&self) {
        let _ = self.told.lock().unwrap().send(Ok(()));
    }

    fn failed(&self, why: String) {
        let _ = self.told.lock().unwrap().send(Err(why));
    }
}

type Begun = (LinearMemory, Filling, Arc<Numbers>, std::sync::mpsc::Receiver<Result<(), String>>);

fn begin(pages: usize, stored: &[std::ops::Range<u64>], slow: bool, bad: u64) -> Option<Begun> {
    let layout = Layout { minimum: pages * PAGE_SIZE, reserve: 1 << 30, ..Layout::default() };
    let memory = LinearMemory::new(layout).unwrap();
    let (told, tells) = channel();
    let (slow, told) = (AtomicBool::new(slow), Mutex::new(told));
    let source = Arc::new(Numbers { slow, bad, reads: AtomicU64::new(0), told });
    let mut set = PageSet::default();
    stored.iter().for_each(|run| set.insert(run.clone()));
    match memory.watch().fill_lazily(set, source.clone()) {
        Ok((filling, _)) => Some((memory, filling, source, tells)),
        // On an older kernel, or where it is forbidden.
        Err(e)
            if memory
                .watch()
                .begin(Tracking::Userfaultfd, dormouse_memory::Since::Now, None)
                .is_err() =>
        {
            eprintln!("not here: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

fn expected(page: u64, stored: bool) -> Vec<u8> {
    let mut bytes = vec![0; PAGE_SIZE];
    if stored {
        bytes[..8].copy_from_slice(&page.to_le_bytes());
        bytes[PAGE_SIZE - 1] = 1;
    }
    bytes
}

#[test]
fn what_is_touched_comes_first() {
    // More than a second's worth of reading, were all of it waited for.
    let stored = [64..60_000];
    let Some((memory, filling, source, tells)) = begin(65_536, &stored, true, u64::MAX) else {
        return;
    };
    let page = |page: u64| &memory.bytes()[page as usize * PAGE_SIZE..][..PAGE_SIZE];
    for number in [59_999, 3, 70, 40_000, 65_535, 64] {
        assert!(page(number) == expected(number, (64..60_000).contains(&number)), "{number}");
    }
    let reads = source.reads.load(Ordering::SeqCst);
    assert!(reads < 60_000 / 64, "all was read before the first page could be used");
    assert!(tells.try_recv().is_err());
    source.slow.store(false, Ordering::SeqCst);
    assert_eq!(tells.recv().unwrap(), Ok(()));
    for number in 0..65_536 {
        assert!(page(number) == expected(number, (64..60_000).contains(&number)), "{number}");
    }
    drop(filling);
}

#[test]
fn only_what_is_written_counts_as_written() {
    let stored = [10..90, 200..201];
    let Some((mut memory, _filling, _, tells)) = begin(1024, &stored, false, u64::MAX) else {
        return;
    };
    memory.bytes_mut()[70 * PAGE_SIZE] = 9;
    memory.bytes_mut()[150 * PAGE_SIZE] = 9;
    assert_eq!(tells.recv().unwrap(), Ok(()));
    memory.grow_to(2048 * PAGE_SIZE).unwrap();
    memory.bytes_mut()[2000 * PAGE_SIZE] = 9;
    let mut written = PageSet::default();
    memory.watch().take(memory.bytes(), &mut written).unwrap();
    for page in [70, 150, 2000] {
        assert!(written.contains(page), "{page}");
    }
    let zero = |page: u64| page != 70 && !(10..90).contains(&page) && page != 200;
    assert!(written.runs().flatten().all(|page| page == 70 || zero(page)), "{written:?}");
    let mut again = PageSet::default();
    memory.bytes_mut()[11 * PAGE_SIZE] = 9;
    memory.watch().take(memory.bytes(), &mut again).unwrap();
    assert_eq!(again.runs().collect::<Vec<_>>(), [11..12]);
    assert_eq!(memory.bytes()[70 * PAGE_SIZE + 1], 0);
    assert_eq!(memory.bytes()[11 * PAGE_SIZE + PAGE_SIZE - 1], 1);
}

/// System calls touch pages too; where that is not handled, they are touched first.
#[test]
fn the_system_reads_and_writes_it() {
    let stored = [0..256];
    let Some((mut memory, _filling, ..)) = begin(256, &stored, true, u64::MAX) else { return };
    let (mut from, mut to) = std::io::pipe().unwrap();
    let source = &mut memory.bytes_mut()[100 * PAGE_SIZE..101 * PAGE_SIZE];
    std::hint::black_box(source[0]);
    to.write_all(source).unwrap();
    let into = &mut memory.bytes_mut()[200 * PAGE_SIZE..201 * PAGE_SIZE];
    std::hint::black_box(into[0]);
    from.read_exact(into).unwrap();
    assert!(memory.bytes()[200 * PAGE_SIZE..201 * PAGE_SIZE] == expected(100, true));
}

#[test]
fn a_page_that_cannot_be_read_is_told_and_nobody_sees_it() {
    let stored = [0..512];
    let Some((memory, _filling, _, tells)) = begin(512, &stored, true, 300) else { return };
    assert!(memory.bytes()[..PAGE_SIZE] == expected(0, true));
    let why = tells.iter().find_map(Result::err).unwrap();
    assert_eq!(why, "page 300 is damaged");
}

#[test]
fn what_is_dropped_is_not_filled_any_more() {
    let stored = [0..65_536];
    let Some((memory, filling, source, tells)) = begin(65_536, &stored, true, u64::MAX) else {
        return;
    };
    assert!(memory.bytes()[PAGE_SIZE..2 * PAGE_SIZE] == expected(1, true));
    drop((memory, filling));
    // Its threads end, and with them the source's other owners.
    let mut source = source;
    while Arc::get_mut(&mut source).is_none() {
        std::thread::yield_now();
    }
    assert!(tells.try_iter().all(|told| told.is_err()), "it was not filled");
    assert!(source.reads.load(Ordering::SeqCst) < 1024);
}
