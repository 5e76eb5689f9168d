//! Whose keys a job's checkpoints are sealed for, and which keys open those it goes on from.
//!
//! The recipients are remembered in every checkpoint, so that a resumed job stays as secret as it was; they are public.

use crate::{Error, Result, annotations};
use dormouse_store::{Checkpoint, Store};
use std::collections::BTreeMap;

/// In place of a recipient: nobody's, whatever the checkpoint remembers.
const NONE: &str = "none";

/// Keys as texts: parsed when there is a store to give them to.
#[derive(Clone, Default)]
pub(crate) struct Sealing {
    pub recipients: Vec<String>,
    /// Contents of identity files.
    pub identities: Vec<String>,
    pub module: bool,
}

impl Sealing {
    /// What a checkpoint remembers holds where nothing else is said.
    ///
    /// # Errors
    /// [`Error::ForeignRecipients`] if it came from elsewhere: a stranger is not to say who can read what is saved here.
    pub fn recall(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.module |= checkpoint.has_sealed_module();
        if !self.recipients.is_empty() {
            self.recipients.retain(|recipient| recipient != NONE);
            return Ok(());
        }
        let remembered = checkpoint.info.annotations.get(annotations::RECIPIENTS);
        let Some(recipients) = remembered else { return Ok(()) };
        if checkpoint.info.pulled {
            let (checkpoint, recipients) = (checkpoint.info.name(), recipients.clone());
            return Err(Error::ForeignRecipients { checkpoint, recipients });
        }
        self.recipients = recipients.split_whitespace().map(str::to_owned).collect();
        Ok(())
    }

    pub fn remember(&self, annotations: &mut BTreeMap<String, String>) {
        if !self.recipients.is_empty() {
            annotations.insert(annotations::RECIPIENTS.to_owned(), self.recipients.join(" "));
        }
    }

    /// Gives the store its keys.
    #[cfg(feature = "encryption")]
    pub fn unlock(&self, store: Store) -> Result<Store> {
        let mut keys = dormouse_store::Keys::default().seal_module(self.module);
        for recipient in self.recipients.iter().filter(|recipient| *recipient != NONE) {
            keys = keys.recipient(recipient)?;
        }
        for identities in &self.identities {
            keys = keys.identities(identities)?;
        }
        Ok(store.with_keys(keys))
    }

    #[cfg(not(feature = "encryption"))]
    pub fn unlock(&self, store: Store) -> Result<Store> {
        match self.recipients.is_empty() {
            true => Ok(store),
            false => Err(Error::NoEncryption),
        }
    }
}
