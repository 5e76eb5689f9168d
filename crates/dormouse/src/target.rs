//! Names of checkpoints on the command line.

use crate::Error;
use std::fmt;
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

/// As it is written.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.job)?;
        self.number.map_or(Ok(()), |number| write!(f, "@{number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let t: Target = "sim@3".parse().unwrap();
        assert_eq!((t.job.as_str(), t.number, t.to_string()), ("sim", Some(3), "sim@3".to_owned()));
        let t: Target = "sim".parse().unwrap();
        assert_eq!((t.job.as_str(), t.number), ("sim", None));
        for bad in ["", "@", "@1", "sim@", "sim@x", "sim@0", "sim@-1", "sim@1@2"] {
            bad.parse::<Target>().unwrap_err();
        }
    }
}
