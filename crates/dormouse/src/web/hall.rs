//! The connections that are open. When there are too many, the one that has been silent for longest has to go: whoever connects and
//! says nothing (any user of this host can) keeps nobody out.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections at the same time; a browser has six.
const MOST: usize = 64;

#[derive(Default)]
pub struct Hall {
    /// By age; with its connection as long as it has asked nothing.
    guests: Mutex<BTreeMap<u64, Option<TcpStream>>>,
    next: AtomicU64,
}

/// Counts a connection out, however it ends.
pub struct Guest {
    id: u64,
    hall: Arc<Hall>,
}

impl Hall {
    /// None if there is no room: all the others are being answered.
    pub fn enter(self: &Arc<Hall>, connection: &TcpStream) -> Option<Guest> {
        let own = connection.try_clone().ok()?;
        let mut guests = self.guests();
        if guests.len() >= MOST {
            let silent = guests.iter().find_map(|(id, own)| own.is_some().then_some(*id))?;
            if let Some(Some(connection)) = guests.remove(&silent) {
                // Its thread sees that, and ends.
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        guests.insert(id, Some(own));
        Some(Guest { id, hall: self.clone() })
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<u64, Option<TcpStream>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// It has sent a whole request.
    pub fn has_asked(&self) {
        if let Some(own) = self.hall.guests().get_mut(&self.id) {
            *own = None;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.hall.guests().remove(&self.id);
    }
}
