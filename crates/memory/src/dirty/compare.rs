//! Comparing: what differs from its fingerprint was written.
//!
//! Who copies a page later than it was looked at may copy something else, so this works only while the program stands.

use super::{DirtyPages, Mapping, Since, Tracking};
use crate::{Fingerprints, PageSet};
use std::hash::{BuildHasher, RandomState};
use std::io;

#[derive(Debug)]
pub(super) struct Compare {
    seen: Fingerprints,
}

impl Compare {
    pub fn begin(since: Since, bytes: Option<&[u8]>) -> io::Result<Compare> {
        // Drawn anew by the system: no program knows it.
        let mut seen = Fingerprints::new(RandomState::new().hash_one(0));
        if since == Since::Now {
            seen.take(bytes.ok_or_else(must_stand)?, &mut PageSet::default());
        }
        Ok(Compare { seen })
    }
}

impl DirtyPages for Compare {
    fn tracking(&self) -> Tracking {
        Tracking::Compare
    }

    fn while_running(&self) -> bool {
        false
    }

    fn grown(&mut self, _: Mapping, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, _: Mapping, bytes: Option<&[u8]>, into: &mut PageSet) -> io::Result<()> {
        self.seen.take(bytes.ok_or_else(must_stand)?, into);
        Ok(())
    }

    fn end(&mut self, _: Mapping) {}
}

fn must_stand() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a running program's pages cannot be compared")
}
