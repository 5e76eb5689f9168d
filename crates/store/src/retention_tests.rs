//! The rules against a model that says the same in the plainest words.

use crate::Retention;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// Whether checkpoint `i` is kept, by looking at all others anew for every rule.
fn naive(rules: &Retention, times: &[Timestamp], zone: &TimeZone, i: usize) -> bool {
    let text = |t: Timestamp, form: &str| t.to_zoned(zone.clone()).strftime(form).to_string();
    let period = |n: Option<u32>, form: &str| {
        let Some(n) = n else { return false };
        let newer: BTreeSet<String> = times[i + 1..].iter().map(|t| text(*t, form)).collect();
        !newer.contains(&text(times[i], form)) && newer.len() < n as usize
    };
    let newest = times[times.len() - 1];
    let only_quota = Retention { max_store: rules.max_store, ..Retention::default() };
    *rules == only_quota
        || i + 1 == times.len()
        || rules.last.is_some_and(|n| times.len() - i <= n as usize)
        || period(rules.hourly, "%Y-%m-%d %H %z")
        || period(rules.daily, "%Y-%m-%d")
        || rules
            .within
            .is_some_and(|d| times[i] + jiff::SignedDuration::try_from(d).unwrap() >= newest)
}

fn count() -> impl Strategy<Value = Option<u32>> {
    proptest::option::of(1..6u32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_checkpoint_is_kept_if_any_rule_keeps_it(
        (last, hourly, daily) in (count(), count(), count()),
        within in proptest::option::of(0..200_000u64),
        max_store in proptest::option::of(any::<u64>()),
        // Also clocks that are set back.
        gaps in proptest::collection::vec(-2_000..30_000i64, 1..40),
        offset in prop_oneof![Just(0), Just(19_800), Just(-34_200), Just(45_900)],
    ) {
        let within = within.map(Duration::from_secs);
        let rules = Retention { last, hourly, daily, within, max_store };
        let mut at = 1_700_000_000;
        let times: Vec<Timestamp> = gaps.into_iter().map(|gap| {
            at += gap;
            Timestamp::from_second(at).unwrap()
        }).collect();
        let zone = TimeZone::fixed(Offset::from_seconds(offset).unwrap());
        let given: Vec<_> = times.iter().copied().map(Some).collect();
        let expected: Vec<_> = (0..times.len()).map(|i| naive(&rules, &times, &zone, i)).collect();
        prop_assert_eq!(rules.keeps_at(&given, &zone), expected);
        prop_assert_eq!(rules.to_string().parse(), Ok(rules));
    }
}

fn kept(rules: &str, times: &[&str]) -> String {
    let rules: Retention = rules.parse().unwrap();
    let times: Vec<_> = times.iter().map(|t| t.parse::<Timestamp>().ok()).collect();
    let kept = rules.keeps_at(&times, &TimeZone::UTC);
    kept.iter().map(|k| if *k { 'x' } else { '.' }).collect()
}

#[test]
fn rules_by_hand() {
    let times = [
        "2026-11-19T09:00:00Z",
        "2026-11-19T23:59:59.999Z",
        "2026-11-20T00:00:00Z",
        "2026-11-20T10:10:00Z",
        "2026-11-20T10:50:00Z",
        "2026-11-20T14:00:00Z",
    ];
    assert_eq!(kept("", &times), "xxxxxx");
    assert_eq!(kept("max-store=1", &times), "xxxxxx", "that comes later");
    assert_eq!(kept("last=1", &times), ".....x");
    assert_eq!(kept("last=2", &times), "....xx");
    assert_eq!(kept("last=100", &times), "xxxxxx");
    // Hours without a checkpoint do not count.
    assert_eq!(kept("hourly=2", &times), "....xx");
    assert_eq!(kept("hourly=4", &times), ".xx.xx");
    assert_eq!(kept("daily=1", &times), ".....x");
    assert_eq!(kept("daily=2", &times), ".x...x");
    // Reckoned from the newest, not from now; the bound belongs to it.
    assert_eq!(kept("within=11399999ms", &times), ".....x");
    assert_eq!(kept("within=11400000ms", &times), "....xx");
    assert_eq!(kept("within=0ms", &times), ".....x");
    assert_eq!(kept("last=2 daily=2", &times), ".x..xx");
    // What no rule keeps stays if it is the newest, or if nobody knows when it was.
    assert_eq!(kept("last=1", &["?", "2026-11-20T10:10:00Z", "2026-11-20T10:11:00Z"]), "x.x");
    assert_eq!(kept("within=1ms", &["2026-11-20T10:10:00Z", "?"]), "xx");
    assert_eq!(kept("last=1", &[]), "");
}

/// In Berlin the hour from two to three came twice that night.
#[test]
fn an_hour_that_comes_twice() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let rules: Retention = "hourly=9".parse().unwrap();
    let times = ["2026-10-25T00:30:00Z", "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z"];
    let times: Vec<_> = times.iter().map(|t| t.parse().ok()).collect();
    assert_eq!(rules.keeps_at(&times, &zone), [true, false, true]);
}

#[test]
fn rules_that_make_no_sense() {
    for bad in ["last", "last=", "last=-1", "last=x", "within=1h", "weekly=2", "max-store=1G"] {
        assert_eq!(bad.parse::<Retention>(), Err(bad.to_owned()));
    }
    assert!("".parse::<Retention>().unwrap().is_empty());
}
