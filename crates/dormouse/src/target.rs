//! Names of checkpoints on the command line.

use crate::Error;
use std::str::FromStr;

/// `JOB` (its newest checkpoint) or `JOB@N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The job.
    pub job: String,
    /// The checkpoint's number; the newest good one without.
    pub number: Option<u64>,
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Target, Error> {
        let bad = || Error::BadTarget { text: text.to_owned() };
        match text.split_once('@') {
            None if text.is_empty() => Err(bad()),
            None => Ok(Target { job: text.to_owned(), number: None }),
            Some(("", _)) => Err(bad()),
            Some((job, number)) => match number.parse() {
                Ok(n) if n > 0 => Ok(Target { job: job.to_owned(), number: Some(n) }),
                _ => Err(bad()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let t: Target = "sim@3".parse().unwrap();
        assert_eq!((t.job.as_str(), t.number), ("sim", Some(3)));
        let t: Target = "sim".parse().unwrap();
        assert_eq!((t.job.as_str(), t.number), ("sim", None));
        for bad in ["", "@", "@1", "sim@", "sim@x", "sim@0", "sim@-1", "sim@1@2"] {
            bad.parse::<Target>().unwrap_err();
        }
    }
}
