//! Versions as dpkg orders them (`deb-version(7)`).

use std::cmp::Ordering;

/// Epoch, upstream version, revision; absent parts are empty.
pub fn split(text: &str) -> (&str, &str, &str) {
    let (epoch, rest) = text.split_once(':').unwrap_or(("", text));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Orders two versions without checking them.
pub fn compare(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (a, b) = (split(a), split(b));
    compare_part(a.0, b.0).then_with(|| compare_part(a.1, b.1)).then_with(|| compare_part(a.2, b.2))
}

/// Compares alternately the longest parts without and with digits only. Letters sort before
/// everything else, `~` even before the end.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        loop {
            let (x, y) = (weight(a.first()), weight(b.first()));
            if x == 0 && y == 0 {
                break;
            }
            if x != y {
                return x.cmp(&y);
            }
            // Equal and not 0: neither slice is at its end.
            (a, b) = (&a[1..], &b[1..]);
        }
        let (x, y);
        (x, a) = number(a);
        (y, b) = number(b);
        match x.len().cmp(&y.len()).then_with(|| x.cmp(y)) {
            Ordering::Equal if a.is_empty() && b.is_empty() => return Ordering::Equal,
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
}

/// The rank of a character outside numbers; the end and digits have 0.
fn weight(c: Option<&u8>) -> i32 {
    match c {
        None => 0,
        Some(c) if c.is_ascii_digit() => 0,
        Some(b'~') => -1,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    }
}

/// The digits at the start without leading zeros, and the rest.
pub fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let start = digits.iter().position(|c| *c != b'0').unwrap_or(digits.len());
    (&digits[start..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_dpkgs() {
        let ascending =
            ["1~~", "1~rc1", "1", "1-0+b1", "1a", "1+x", "1.0~", "1.0", "1.2", "1.10", "1:0"];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("99999999999999999999:1", "1:1"), Ordering::Greater);
        assert_eq!(compare("0:1.00-0", "1.0-0"), Ordering::Equal);
        assert_eq!(compare("1-0", "1"), Ordering::Equal);
    }
}
