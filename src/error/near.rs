//! Finding the names that were perhaps meant.
//!
//! Belongs here: the distance between two names.
//! Does not belong here: where the names come from, or how a message shows them.
//! Invariant: a name far too long to be near is never measured, so a hostile table costs no quadratic time.

/// How many names a message can list and still be read.
const MOST: usize = 3;

/// Returns the known names nearest to `wanted`: best first, then by name, at most three.
pub(crate) fn near_names<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted: Vec<char> = wanted.chars().collect();
    let allowed = (wanted.len() / 3).max(2);
    let mut near: Vec<(usize, &str)> = known
        .filter_map(|name| Some((distance(&wanted, name, allowed)?, name)))
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter()
        .take(MOST)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Levenshtein distance in characters, if it is at most `allowed`.
fn distance(wanted: &[char], name: &str, allowed: usize) -> Option<usize> {
    // A char takes at most 4 bytes, so this bound needs no pass over the name.
    let most = wanted.len().saturating_add(allowed);
    if name.len() > most.saturating_mul(4) || name.chars().count().abs_diff(wanted.len()) > allowed
    {
        return None;
    }
    // row[j] is the distance between the part of `name` read so far and the first j characters wanted.
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (read, c) in name.chars().enumerate() {
        let mut left = read + 1;
        let mut diagonal = read;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, w) in row.iter_mut().skip(1).zip(wanted) {
            let replaced = diagonal + usize::from(*w != c);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().filter(|found| *found <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &str, known: &[&str], near: &[&str]) {
        assert_eq!(near_names(wanted, known.iter().copied()), near);
    }

    #[test]
    fn nearest_name_comes_first_and_far_ones_are_absent() {
        check(
            "thumbs.resize",
            &["thumbs.crop", "thumbs.resized", "thumb.resized", "fib"],
            &["thumbs.resized", "thumb.resized"],
        );
    }

    #[test]
    fn short_names_may_differ_by_two() {
        check("fib", &["fibo2", "fibo23", "fab", ""], &["fab", "fibo2"]);
    }

    #[test]
    fn at_most_three_are_named() {
        check("a", &["e", "d", "c", "b"], &["b", "c", "d"]);
    }

    #[test]
    fn distance_counts_characters() {
        check("größe", &["grosse", "gröse"], &["gröse"]);
        let kitten: Vec<char> = "kitten".chars().collect();
        assert_eq!(distance(&kitten, "sitting", 3), Some(3));
        assert_eq!(distance(&kitten, "sitting", 2), None);
        assert_eq!(distance(&[], "ab", 2), Some(2));
    }

    #[test]
    fn huge_name_is_not_near() {
        check("fib", &["f".repeat(1 << 20).as_str()], &[]);
    }
}
