//! How long from one checkpoint to the next.
//!
//! ```text
//!   --every 30s     30 s                      .. or longer, if --max-overhead says so
//!   --every auto    Daly's optimum for C, M   .. at least C / max-overhead, and 1 s
//!
//!        C  what a checkpoint costs the program: measured (see `books`), 100 ms until one was
//!        M  mean time between failures: --mtbf, 24 h if nothing is said
//! ```
//!
//! Too often, and the program does little else; too seldom, and a failure takes much work with it. Young (1974) found
//! that sqrt(2CM) makes the sum of both least; J. T. Daly, "A higher order estimate of the optimum checkpoint interval for
//! restart dumps" (Future Generation Computer Systems 22, 2006), made it hold where C is not small against M.

use crate::annotations;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The shortest interval that there is.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);
/// The shortest that is chosen.
const SHORTEST_CHOSEN: Duration = Duration::from_secs(1);
/// What a checkpoint costs is taken to be this much until one was taken.
const ASSUMED_COST: Duration = Duration::from_millis(100);
/// Failures come this far apart if nobody says otherwise.
pub(crate) const MTBF: Duration = Duration::from_secs(24 * 60 * 60);
/// The share of the time that checkpoints may take where the interval is chosen, if nobody says otherwise.
const CHOSEN_SHARE: Share = Share(0.01);

/// When a job takes checkpoints without being told to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Every {
    /// It does not.
    #[default]
    Never,
    /// This often.
    Fixed(Duration),
    /// As often as is best for what a checkpoint turns out to cost.
    Auto,
}

impl From<Option<Duration>> for Every {
    fn from(interval: Option<Duration>) -> Every {
        interval.map_or(Every::Never, Every::Fixed)
    }
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Every, String> {
        match text {
            "never" => Ok(Every::Never),
            "auto" => Ok(Every::Auto),
            _ => match humantime::parse_duration(text) {
                Ok(d) if d >= SHORTEST => Ok(Every::Fixed(d)),
                Ok(_) => Err("write at least 1ms, or `never`".to_owned()),
                Err(_) => Err(
                    "write a number and a unit, such as 500ms, 30s, 5m or 1h; `auto`; or `never`"
                        .to_owned(),
                ),
            },
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Every::Never => f.write_str("never"),
            Every::Fixed(interval) => humantime::format_duration(*interval).fmt(f),
            Every::Auto => f.write_str("auto"),
        }
    }
}

/// A share of the time: above 0, at most 1. Written in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// As a number: 0.01 is one percent.
    pub fn of_one(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let number = text.strip_suffix('%').map(str::trim_end);
        match number.and_then(|number| number.parse::<f64>().ok()) {
            Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(Share(percent / 100.0)),
            Some(_) => Err("write more than 0% and at most 100%".to_owned()),
            None => Err("write a share in percent, such as 1% or 0.5%".to_owned()),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 0.07 is 7.000000000000001 percent.
        let percent = format!("{:.6}", self.0 * 100.0);
        write!(f, "{}%", percent.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// How a job finds its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    pub every: Option<Every>,
    /// Mean time between failures.
    pub mtbf: Option<Duration>,
    /// Of the time, checkpoints take at most this; `Some(None)` if that was said not to matter.
    pub share: Option<Option<Share>>,
}

impl Pace {
    /// The interval, if a checkpoint costs so much; it does not matter what where none was taken yet.
    pub fn interval(&self, cost: Option<Duration>) -> Option<Duration> {
        let (best, cost, share) = match self.every.unwrap_or_default() {
            Every::Never => return None,
            Every::Fixed(interval) => {
                // One has to be taken, or nobody will know.
                (interval.max(SHORTEST), cost.unwrap_or_default(), self.share.flatten())
            }
            Every::Auto => {
                let cost = cost.unwrap_or(ASSUMED_COST);
                let best = optimum(cost, self.mtbf.unwrap_or(MTBF)).max(SHORTEST_CHOSEN);
                (best, cost, self.share.unwrap_or(Some(CHOSEN_SHARE)))
            }
        };
        Some(share.map_or(best, |share| best.max(seconds(cost.as_secs_f64() / share.0))))
    }

    /// What a checkpoint remembers, where nothing else was said.
    pub fn or_recalled(self, remembered: &BTreeMap<String, String>) -> Pace {
        let said = |key| remembered.get(key).map(String::as_str);
        let share = |text| match text {
            "none" => Some(None),
            share => share.parse().ok().map(Some),
        };
        let mtbf = |text| humantime::parse_duration(text).ok();
        Pace {
            every: self.every.or_else(|| said(annotations::EVERY)?.parse().ok()),
            mtbf: self.mtbf.or_else(|| said(annotations::MTBF).and_then(mtbf)),
            share: self.share.or_else(|| said(annotations::MAX_OVERHEAD).and_then(share)),
        }
    }

    /// For checkpoints to remember.
    pub fn remember(&self, by: &mut BTreeMap<String, String>) {
        let mut remember = |key: &str, text: Option<String>| {
            by.extend(text.map(|text| (key.to_owned(), text)));
        };
        let every = self.every.filter(|every| *every != Every::Never);
        remember(annotations::EVERY, every.map(|every| every.to_string()));
        let mtbf = self.mtbf.map(|mtbf| humantime::format_duration(mtbf).to_string());
        remember(annotations::MTBF, mtbf);
        let share = self.share.map(|share| share.map_or("none".to_owned(), |s| s.to_string()));
        remember(annotations::MAX_OVERHEAD, share);
    }
}

/// Daly's optimum: the time to compute from the end of one checkpoint to the beginning of the next, if one costs `cost`, and
/// failures come `mtbf` apart in the mean.
///
/// ```
/// use dormouse::interval::optimum;
/// use std::time::Duration;
///
/// let day = Duration::from_secs(86_400);
/// let chosen = optimum(Duration::from_millis(100), day);
/// assert_eq!(chosen.as_secs(), 131);
/// ```
pub fn optimum(cost: Duration, mtbf: Duration) -> Duration {
    let (c, m) = (cost.as_secs_f64(), mtbf.as_secs_f64());
    if c >= 2.0 * m {
        return mtbf;
    }
    let x = c / (2.0 * m);
    seconds((2.0 * c * m).sqrt() * (1.0 + x.sqrt() / 3.0 + x / 9.0) - c)
}

/// What a clock can wait for.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, 1e9)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn by_hand() {
        // Equation (37) of the paper, worked out in decimals of 40 digits.
        for (cost, mtbf, optimum_is) in [
            (0.1, 86_400.0, 131.386_755_587),
            (300.0, 86_400.0, 7_001.388_888_889),
            (5.0, 21_600.0, 461.430_645_038),
            (60.0, 60.0, 49.566_858_950),
            (1.0, 0.5, 0.5),
            (1e-3, 3_600.0, 2.682_614_948),
        ] {
            let is = optimum(seconds(cost), seconds(mtbf)).as_secs_f64();
            assert!((is / optimum_is - 1.0).abs() < 1e-9, "{cost} {mtbf}: {is}, not {optimum_is}");
        }
    }

    fn auto(mtbf: u64, share: Option<&str>) -> Pace {
        Pace {
            every: Some(Every::Auto),
            mtbf: Some(Duration::from_secs(mtbf)),
            share: Some(share.map(|share| share.parse().unwrap())),
        }
    }

    #[test]
    fn bounds() {
        let cost = |ms| Some(Duration::from_millis(ms));
        let free = auto(86_400, None);
        assert_eq!(free.interval(None), free.interval(cost(100)), "assumed");
        assert_eq!(auto(3600, None).interval(Some(Duration::ZERO)), Some(SECOND));
        assert_eq!(auto(60, Some("1%")).interval(cost(500)), Some(SECOND * 50));
        assert_eq!(auto(60, Some("100%")).interval(cost(500)), auto(60, None).interval(cost(500)));
        let said_nothing = Pace { every: Some(Every::Auto), ..Pace::default() };
        assert_eq!(said_nothing.interval(cost(100)), free.interval(cost(100)));
        assert_eq!(said_nothing.interval(cost(60_000)), Some(SECOND * 6000), "1 % of the time");

        let fixed = Pace { every: Some(Every::Fixed(SECOND)), ..Pace::default() };
        assert_eq!(fixed.interval(cost(500)), Some(SECOND), "unless that is said");
        let bounded = Pace { share: Some(Some(Share(0.1))), ..fixed };
        assert_eq!(bounded.interval(None), Some(SECOND));
        assert_eq!(bounded.interval(cost(50)), Some(SECOND));
        assert_eq!(bounded.interval(cost(500)), Some(SECOND * 5));
        assert_eq!(Pace::default().interval(cost(500)), None);
        // Whatever is asked for, a clock can wait for it.
        let longest = Pace { share: Some(Some(Share(f64::MIN_POSITIVE))), ..auto(u64::MAX, None) };
        assert!(longest.interval(Some(Duration::MAX)) > Some(SECOND * 1_000_000));
    }

    #[test]
    fn remembered_where_nothing_is_said() {
        let annotated = |pace: Pace| {
            let mut by = BTreeMap::new();
            pace.remember(&mut by);
            by
        };
        for pace in [
            Pace::default(),
            auto(7200, Some("0.5%")),
            auto(90, None),
            Pace { every: Some(Every::Fixed(SECOND)), ..Pace::default() },
        ] {
            assert_eq!(Pace::default().or_recalled(&annotated(pace)), pace);
            let said = auto(1, Some("3%"));
            assert_eq!(said.or_recalled(&annotated(pace)), said);
        }
        let never = Pace { every: Some(Every::Never), ..Pace::default() };
        assert!(annotated(never).is_empty());
        assert_eq!(never.or_recalled(&annotated(auto(1, None))).every, never.every);
        // What cannot be read is as if it were not there.
        let keys = [annotations::EVERY, annotations::MTBF, annotations::MAX_OVERHEAD];
        let odd = BTreeMap::from(keys.map(|key| (key.to_owned(), "?".to_owned())));
        assert_eq!(Pace::default().or_recalled(&odd), Pace::default());
    }

    #[test]
    fn words() {
        for text in ["never", "auto", "30s", "1m 30s", "500ms"] {
            assert_eq!(text.parse::<Every>().unwrap().to_string(), text);
        }
        for (text, hint) in [
            ("5", "such as 500ms"),
            ("", "`auto`"),
            ("Auto", "`auto`"),
            ("0s", "at least 1ms"),
            ("-3s", "such as"),
        ] {
            assert!(text.parse::<Every>().unwrap_err().contains(hint), "{text}");
        }
        for text in ["1%", "0.5%", "100%", "7%", "12.25%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        assert_eq!("7 %".parse::<Share>().unwrap(), Share(0.07));
        for (text, hint) in [
            ("1", "in percent"),
            ("0.01", "in percent"),
            ("%", "in percent"),
            ("x%", "in percent"),
            ("0%", "more than 0%"),
            ("-1%", "more than 0%"),
            ("101%", "at most 100%"),
            ("inf%", "at most 100%"),
            ("nan%", "more than 0%"),
        ] {
            assert!(text.parse::<Share>().unwrap_err().contains(hint), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn dearer_is_seldomer(a in 0u64..1 << 40, b in 0u64..1 << 40, m in 1u64..1 << 40) {
            let (less, more) = (Duration::from_micros(a.min(b)), Duration::from_micros(a.max(b)));
            let m = Duration::from_micros(m);
            // As exact as the numbers are.
            prop_assert!(optimum(less, m) <= optimum(more, m) + Duration::from_micros(1));
            let pace = Pace { every: Some(Every::Auto), mtbf: Some(m), share: None };
            prop_assert!(pace.interval(Some(less)) <= pace.interval(Some(more)).map(|i| i + Duration::from_micros(1)));
        }

        #[test]
        fn safer_is_seldomer(c in 0u64..1 << 40, a in 1u64..1 << 40, b in 1u64..1 << 40) {
            let (less, more) = (a.min(b), a.max(b));
            // Where failures come faster than checkpoints the paper's formula is another, and jumps.
            prop_assume!(c < 2 * less);
            let of = |m| optimum(Duration::from_micros(c), Duration::from_micros(m));
            prop_assert!(of(less) <= of(more) + Duration::from_micros(1));
        }

        #[test]
        fn the_share_is_kept(c in 0u64..1 << 30, m in 1u64..1 << 40, percent in 0.01f64..100.0) {
            let (cost, share) = (Duration::from_micros(c), Share(percent / 100.0));
            for every in [Every::Auto, Every::Fixed(SHORTEST)] {
                let pace = Pace { every: Some(every), mtbf: Some(Duration::from_micros(m)), share: Some(Some(share)) };
                let interval = pace.interval(Some(cost)).unwrap();
                prop_assert!(cost.as_secs_f64() / interval.as_secs_f64() <= share.0 * 1.000_001);
            }
        }
    }
}
