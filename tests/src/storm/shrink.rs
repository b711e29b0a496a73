//! Takes away from a list that fails until what is left is needed.

/// Makes a list smaller that `fails`, by leaving out chunks and then single items, as long as what is left
/// still fails. Ends when each item is needed, or when `go_on` says so; it is asked before each try.
///
/// The list itself must fail; that is not tried again.
pub fn shrink<T: Clone>(
    list: &[T],
    mut fails: impl FnMut(&[T]) -> bool,
    mut go_on: impl FnMut() -> bool,
) -> Vec<T> {
    let mut left = list.to_vec();
    let mut chunk = left.len().div_ceil(2);
    while chunk > 0 {
        let mut removed = false;
        // From the end: what came last is rarely to blame for what came before.
        let mut end = left.len();
        while end > 0 {
            if !go_on() {
                return left;
            }
            let begin = end.saturating_sub(chunk);
            let mut without = left[..begin].to_vec();
            without.extend_from_slice(&left[end..]);
            if fails(&without) {
                left = without;
                removed = true;
            }
            end = begin;
        }
        chunk = match chunk {
            // One that was needed may not be any more.
            1 if removed => 1,
            1 => 0,
            more => more.div_ceil(2).min(left.len()),
        };
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_found_among_a_thousand() {
        let all: Vec<u32> = (0..1000).collect();
        let mut tries = 0;
        let needed = [3, 4, 500, 999];
        let small = shrink(
            &all,
            |list| {
                tries += 1;
                needed.iter().all(|one| list.contains(one))
            },
            || true,
        );
        assert_eq!(small, needed);
        assert!(tries < 300, "{tries} tries");
    }

    #[test]
    fn either_of_two_is_enough() {
        let all: Vec<u32> = (0..64).collect();
        let small = shrink(
            &all,
            |list| list.contains(&7) || list.contains(&50),
            || true,
        );
        assert_eq!(small.len(), 1);
    }

    #[test]
    fn what_fails_without_anything_becomes_empty() {
        assert!(shrink(&[1, 2, 3], |_| true, || true).is_empty());
        assert!(shrink(&[0; 0], |_| true, || true).is_empty());
    }

    #[test]
    fn the_bound_on_tries_holds() {
        let all: Vec<u32> = (0..1000).collect();
        let mut left = 5;
        let mut tried = 0;
        let small = shrink(
            &all,
            |list| {
                tried += 1;
                list.contains(&1)
            },
            || {
                left -= 1;
                left >= 0
            },
        );
        assert_eq!(tried, 5);
        assert!(small.contains(&1) && small.len() < 1000);
    }
}
