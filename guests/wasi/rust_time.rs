//! std::time, sleeping, and collections whose order is random.

use std::collections::{HashMap, HashSet};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

include!("check.rs");

pub fn clocks() {
    let (start, wall) = (Instant::now(), SystemTime::now());
    println!("{}", wall.duration_since(UNIX_EPOCH).unwrap() > Duration::from_secs(1_700_000_000));
    let mut last = start;
    for _ in 0..100 {
        let now = Instant::now();
        assert!(now >= last);
        last = now;
    }
    println!("{}", last > start);
}

pub fn sleeping() {
    for ms in [0, 1, 30] {
        let start = Instant::now();
        sleep(Duration::from_millis(ms));
        let slept = start.elapsed();
        println!("{ms}: {} {}", slept >= Duration::from_millis(ms), slept < Duration::from_secs(20));
    }
    sleep(Duration::from_nanos(1));
}

/// Their keys are random, so their order is; what is in them is not.
pub fn maps() {
    let map: HashMap<u32, String> = (0..100).map(|i| (i, format!("{i}"))).collect();
    let mut keys: Vec<_> = map.keys().copied().collect();
    keys.sort();
    println!("{} {} {}", map.len(), map[&77], keys.windows(2).all(|w| w[0] + 1 == w[1]));
    let orders: HashSet<Vec<u32>> = (0..4).map(|_| (0..20).collect::<HashSet<u32>>().into_iter().collect()).collect();
    println!("{}", orders.len() > 1);
}

checks!(clocks, sleeping, maps);
