//! Which word somebody meant.

/// How far a word may be from a wrong one that stands for it.
fn farthest(wrong: &str) -> usize {
    match wrong.chars().count() {
        0..4 => 1,
        length => (length / 3).clamp(2, 6),
    }
}

/// The word that is most like `wrong`, if any is like it at all.
pub(crate) fn nearest<'a>(wrong: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = farthest(wrong);
    let scored = words.map(|word| (distance(wrong, word), word));
    let near = scored.filter(|(distance, _)| *distance <= limit);
    near.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// The words, three at most, that are most like `wrong`, the nearest first.
pub(crate) fn nearest_few<'a>(wrong: &str, words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let limit = farthest(wrong);
    let mut near: Vec<(usize, &str)> = words
        .map(|word| (distance(wrong, word), word))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    near.sort_unstable();
    let best = near.first().map_or(0, |(distance, _)| *distance);
    near.retain(|(distance, _)| *distance <= best + 1);
    near.into_iter().take(3).map(|(_, word)| word).collect()
}

/// How many letters must be added, removed, exchanged or swapped with their neighbour to make one
/// word of the other (optimal string alignment).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    // Only short words are compared; a hostile name must not cost quadratic time.
    let a: Vec<char> = a.chars().take(100).collect();
    let b: Vec<char> = b.chars().take(100).collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
