//! In place of `seal`, where the feature `encryption` is left out: nothing is sealed, and what is sealed is refused by name.

use crate::blob::{Staged, Stager};
use crate::error::{Bad, StoreError, Subject};
use std::fs::File;
use std::io::{self, Write};

/// None.
#[derive(Clone, Debug, Default)]
pub struct Keys(());

impl Keys {
    pub(crate) fn seal(&self) -> bool {
        false
    }

    pub(crate) fn seals_module(&self) -> bool {
        false
    }
}

pub(crate) struct Sink(Stager);

impl Sink {
    pub(crate) fn new(stager: Stager, _: &Keys, _: bool) -> Result<Sink, StoreError> {
        Ok(Sink(stager))
    }

    pub(crate) fn finish(self) -> Result<Staged, StoreError> {
        self.0.finish()
    }

    pub(crate) fn finish_unsynced(self) -> Result<Staged, StoreError> {
        self.0.finish_unsynced()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

pub(crate) type Source = File;

pub(crate) fn source(file: File, sealed: bool, _: &Keys, subject: &Subject) -> Result<Source, Bad> {
    if sealed { Err(refused(subject)) } else { Ok(file) }
}

pub(crate) fn reveal(
    bytes: Vec<u8>,
    sealed: bool,
    _: &Keys,
    subject: &Subject,
) -> Result<Vec<u8>, Bad> {
    if sealed { Err(refused(subject)) } else { Ok(bytes) }
}

fn refused(subject: &Subject) -> Bad {
    subject
        .unsupported("an encrypted part (this dormouse was built without the feature `encryption`)")
}
