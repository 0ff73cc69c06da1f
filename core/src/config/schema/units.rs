//! Durations and sizes.

use crate::config::tree::Value;
use std::time::Duration;

/// Reads a duration: seconds, or a whole number with a unit.
pub(crate) fn duration(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Integer(seconds) => u64::try_from(*seconds).ok()?,
        Value::Text(text) => {
            let (number, unit) = split_unit(text)?;
            number.checked_mul(match unit {
                "" | "s" | "sec" => 1,
                "m" | "min" => 60,
                "h" => 3600,
                "d" => 86400,
                _ => return None,
            })?
        }
        _ => return None,
    };
    // A hundred years is for ever, and leaves room for sums with the time of day.
    (seconds <= 100 * 366 * 86400).then(|| Duration::from_secs(seconds))
}

/// Reads a size in bytes: a number, or a whole number with a unit of powers of 1024.
pub(crate) fn size(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::Text(text) => {
            let (number, unit) = split_unit(text)?;
            let unit = unit.strip_suffix("iB").or(unit.strip_suffix('B')).unwrap_or(unit);
            let shift = match unit {
                "" => 0,
                "k" | "K" => 10,
                "M" => 20,
                "G" => 30,
                "T" => 40,
                _ => return None,
            };
            number.checked_mul(1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok())
        }
        _ => None,
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}
