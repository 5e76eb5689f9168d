//! The rules for old checkpoints, as they are typed.

use clap::Args;
use dormouse::{Retention, Share};
use std::time::Duration;

/// Rules for old checkpoints. Each can be `none`: not this rule, whatever the checkpoint remembers.
#[derive(Args)]
#[group(id = "keep", multiple = true)]
pub struct Keep {
    /// Keep the N newest checkpoints of a job
    #[arg(long, value_name = "N", value_parser = Rule::<u32>::count)]
    pub keep_last: Option<Rule<u32>>,
    /// Keep the newest checkpoint of each of the last N hours that have one
    #[arg(long, value_name = "N", value_parser = Rule::<u32>::count)]
    pub keep_hourly: Option<Rule<u32>>,
    /// Keep the newest checkpoint of each of the last N days that have one
    #[arg(long, value_name = "N", value_parser = Rule::<u32>::count)]
    pub keep_daily: Option<Rule<u32>>,
    /// Keep checkpoints that are at most so much older than the newest: 12h, 2d, 1w
    #[arg(long, value_name = "DURATION", value_parser = Rule::<Duration>::span)]
    pub keep_within: Option<Rule<Duration>>,
    /// Remove the oldest checkpoints of a job while all of them take more than this: 500M, 10GB
    #[arg(long, value_name = "SIZE", value_parser = Rule::<u64>::size)]
    pub max_store: Option<Rule<u64>>,
}

impl Keep {
    /// Changes what was said here.
    pub fn change(&self) -> impl FnOnce(&mut Retention) + Send + Sync + use<> {
        let Keep { keep_last, keep_hourly, keep_daily, keep_within, max_store } = *self;
        move |rules| {
            rules.last = keep_last.map_or(rules.last, |rule| rule.0);
            rules.hourly = keep_hourly.map_or(rules.hourly, |rule| rule.0);
            rules.daily = keep_daily.map_or(rules.daily, |rule| rule.0);
            rules.within = keep_within.map_or(rules.within, |rule| rule.0);
            rules.max_store = max_store.map_or(rules.max_store, |rule| rule.0);
        }
    }
}

/// A rule, or `none`.
#[derive(Clone, Copy)]
pub struct Rule<T>(pub Option<T>);

impl<T> Rule<T> {
    fn or_none(
        text: &str,
        parse: impl FnOnce(&str) -> std::result::Result<T, String>,
    ) -> std::result::Result<Rule<T>, String> {
        if text == "none" { Ok(Rule(None)) } else { parse(text).map(|rule| Rule(Some(rule))) }
    }

    pub fn count(text: &str) -> std::result::Result<Rule<u32>, String> {
        Rule::or_none(text, |text| match text.parse() {
            Ok(n) if n > 0 => Ok(n),
            _ => Err("write a number from 1, or `none`".to_owned()),
        })
    }

    pub fn share(text: &str) -> std::result::Result<Rule<Share>, String> {
        Rule::or_none(text, |text| text.parse().map_err(|e| format!("{e}, or `none`")))
    }

    pub fn span(text: &str) -> std::result::Result<Rule<Duration>, String> {
        Rule::or_none(text, |text| {
            let span = text
                .parse::<jiff::Span>()
                .and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()));
            match span.map(Duration::try_from) {
                Ok(Ok(d)) if !d.is_zero() => Ok(d),
                _ => Err("write a number and a unit, such as 12h, 2d or 1w, or `none`".to_owned()),
            }
        })
    }

    pub fn size(text: &str) -> std::result::Result<Rule<u64>, String> {
        Rule::or_none(text, |text| crate::size::bytes(text).map_err(|e| format!("{e}, or `none`")))
    }
}
