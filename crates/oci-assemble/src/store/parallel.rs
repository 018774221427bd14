//! The same work on many things at the same time.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::{Result, io as failed};

/// Does `work` on each item, `threads` at a time. After an error nothing new is begun; the first thread's error is
/// given.
pub(super) fn for_each<T: Sync>(
    items: &[T],
    threads: NonZero<usize>,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let run = || -> Result<()> {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get().min(items.len())).map(|_| scope.spawn(run)).collect();
        let mut outcome = run();
        for other in others {
            let panicked = |_| Err(failed("finish", "a thread")(std::io::Error::other("it panicked")));
            outcome = outcome.and(other.join().unwrap_or_else(panicked));
        }
        outcome
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn everything_is_done_once_or_an_error_ends_it() {
        for threads in [1, 2, 7] {
            let threads = NonZero::new(threads).unwrap();
            let items: Vec<u32> = (0..100).collect();
            let done = Mutex::new(Vec::new());
            for_each(&items, threads, |item| {
                done.lock().unwrap().push(*item);
                Ok(())
            })
            .unwrap();
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, items);
            let begun = AtomicUsize::new(0);
            let outcome = for_each(&items, threads, |item| {
                begun.fetch_add(1, Ordering::Relaxed);
                // The others would be done with everything before the one thread comes to its error.
                std::thread::sleep(std::time::Duration::from_millis(if *item == 3 { 0 } else { 10 }));
                if *item == 3 { Err(failed("try", "3")(std::io::Error::other("no"))) } else { Ok(()) }
            });
            assert_eq!(outcome.unwrap_err().to_string(), "cannot try 3");
            assert!(begun.into_inner() < 100);
        }
    }
}
