//! Several blobs at once.

use std::sync::{Mutex, PoisonError};

/// Connections at once: enough to fill a line, and no more than registries like.
const WORKERS: usize = 4;

/// Does `work` for each, a few at a time; after the first that fails no more are begun, and its error is the answer.
pub(crate) fn each<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let queue = Mutex::new((items.iter(), None));
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let worker = || {
        loop {
            let next = match &mut *queue.lock().unwrap_or_else(PoisonError::into_inner) {
                (items, None) => items.next(),
                _ => None,
            };
            let Some(item) = next else { return };
            match work(item) {
                Ok(result) => done.lock().unwrap_or_else(PoisonError::into_inner).push(result),
                Err(error) => {
                    queue.lock().unwrap_or_else(PoisonError::into_inner).1.get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|threads| {
        for _ in 1..WORKERS.min(items.len()) {
            // This thread alone would do too.
            let _ = std::thread::Builder::new().spawn_scoped(threads, worker);
        }
        worker();
    });
    match queue.into_inner().unwrap_or_else(PoisonError::into_inner).1 {
        Some(error) => Err(error),
        None => Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_an_error() {
        let numbers: Vec<u32> = (0..100).collect();
        let mut doubled = each(&numbers, |n| Ok::<_, ()>(n * 2)).unwrap();
        doubled.sort();
        assert_eq!(doubled, (0..100).map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(each(&numbers, |n| if *n == 50 { Err(*n) } else { Ok(()) }), Err(50));
        assert_eq!(each(&[], |_: &u32| Err::<(), _>(1)), Ok(vec![]));
    }
}
