//! The same work on many layers at the same time.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Does `work` on the items of the sizes given, by their number, `threads` at a time, the largest first: so the last thread
/// is not left alone with a large one. Results come in the order of the items. After an error nothing new is begun, and the
/// error of the lowest number is given.
///
/// Law: the result does not depend on `threads`, if `work` does not.
pub fn largest_first<T: Send, E: Send>(
    sizes: &[u64],
    threads: NonZero<usize>,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|number| (std::cmp::Reverse(sizes[*number]), *number));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let run = || {
        while let Some(number) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = work(*number);
            if result.is_err() {
                next.store(order.len(), Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(*number, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(order.len()) {
            scope.spawn(run);
        }
        run();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn results_come_in_order_and_the_largest_is_begun_first() {
        let sizes = [3, 9, 1, 9, 4];
        for threads in [1, 2, 7] {
            let begun = Mutex::new(Vec::new());
            let results: Result<Vec<usize>, ()> = largest_first(&sizes, NonZero::new(threads).unwrap(), |number| {
                begun.lock().unwrap().push(number);
                Ok(number * 10)
            });
            assert_eq!(results.unwrap(), [0, 10, 20, 30, 40]);
            if threads == 1 {
                assert_eq!(*begun.lock().unwrap(), [1, 3, 4, 0, 2]);
            }
        }
    }

    #[test]
    fn an_error_ends_it() {
        let begun = AtomicUsize::new(0);
        let result: Result<Vec<()>, usize> = largest_first(&[1; 50], NonZero::<usize>::MIN, |number| {
            begun.fetch_add(1, Ordering::Relaxed);
            if number == 3 { Err(number) } else { Ok(()) }
        });
        assert_eq!((result, begun.into_inner()), (Err(3), 4));
    }
}
