//! Sizes and times for people.

/// Bytes in powers of ten, as disks and mirrors count them.
pub fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1000.0;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < units.len() {
        size /= 1000.0;
        unit += 1;
    }
    if size < 9.95 {
        format!("{size:.1} {}", units[unit])
    } else {
        format!("{size:.0} {}", units[unit])
    }
}

/// A duration in seconds.
pub fn seconds(seconds: f64) -> String {
    if seconds < 0.0095 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 0.95 {
        format!("{seconds:.2} s")
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds.round() as u64;
        match (whole / 3600, whole % 3600 / 60, whole % 60) {
            (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
            (hours, minutes, _) => format!("{hours} h {minutes} min"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_or_three_digits() {
        let shown = [0, 999, 1000, 9_949, 9_950, 104_123_456, 999_600_000].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "104 MB", "1.0 GB"]);
    }

    #[test]
    fn times_name_their_unit() {
        let shown = [0.0012, 0.05, 1.26, 99.0, 125.4, 7300.0].map(seconds);
        assert_eq!(shown, ["1 ms", "0.05 s", "1.3 s", "99.0 s", "2 min 5 s", "2 h 1 min"]);
    }
}
