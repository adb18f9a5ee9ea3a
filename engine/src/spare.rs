//! Memory of activations, kept from one layer to the next: the system clears every page that it gives anew.

use std::cell::RefCell;

/// Most floats that a thread keeps: 64 MiB.
const MOST: usize = 16 << 20;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// `n` floats of unspecified value: of the smallest memory given back that holds as many, or anew.
pub(crate) fn take(n: usize) -> Vec<f32> {
    let mut x = FREE.with_borrow_mut(|free| {
        let fits = (0..free.len()).filter(|&i| free[i].capacity() >= n);
        let smallest = fits.min_by_key(|&i| free[i].capacity());
        smallest.map_or_else(Vec::new, |i| free.swap_remove(i))
    });
    x.resize(n, 0.0);
    x
}

/// Gives memory back that [`take`] may hand out again.
pub(crate) fn give<const N: usize>(vectors: [Vec<f32>; N]) {
    FREE.with_borrow_mut(|free| {
        for x in vectors {
            let kept: usize = free.iter().map(Vec::capacity).sum();
            if x.capacity() > 0 && kept + x.capacity() <= MOST {
                free.push(x);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_taken_again_and_has_the_length_asked_for() {
        let (small, large) = (take(10), take(1000));
        let (at_small, at_large) = (small.as_ptr(), large.as_ptr());
        give([large, small]);
        let again = take(8);
        assert_eq!((again.len(), again.as_ptr()), (8, at_small));
        let rest = take(999);
        assert_eq!((rest.len(), rest.as_ptr()), (999, at_large));
        give([vec![0.0; MOST + 1]]);
        assert!(take(MOST + 1).iter().all(|v| *v == 0.0));
    }
}
