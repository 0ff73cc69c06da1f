//! Dates of Release files (RFC 5322 with a numeric or UTC zone).

/// Seconds since the epoch of a date such as `Sat, 11 Jul 2026 10:16:37 UTC`.
pub fn parse(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = text.split_once(',').map_or(text, |(_, rest)| rest);
    let mut words = text.split_whitespace();
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? as i64 + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute) = (clock.next()??, clock.next()??);
    let second = clock.next().unwrap_or(Some(0))?;
    let zone = match words.next()? {
        "UTC" | "GMT" | "Z" => 0,
        zone => {
            let (sign, digits) = (zone.get(..1)?, zone.get(1..)?);
            let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
            let seconds = (number / 100 * 60 + number % 100) * 60;
            match sign {
                "+" => seconds,
                "-" => -seconds,
                _ => return None,
            }
        }
    };
    let within = (1..=31).contains(&day)
        && (1970..10000).contains(&year)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    within.then(|| days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone)
}

/// The date of Release files for seconds since the epoch.
pub fn format(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    // Howard Hinnant, "chrono-compatible low-level date algorithms": years that begin in March.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let name = |names: &'static str, index: i64| &names[index as usize * 3..index as usize * 3 + 3];
    format!(
        "{}, {:02} {} {year} {:02}:{:02}:{:02} UTC",
        name("ThuFriSatSunMonTueWed", day.rem_euclid(7)),
        of_year - (153 * shifted_month + 2) / 5 + 1,
        name("JanFebMarAprMayJunJulAugSepOctNovDec", month - 1),
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Days since the epoch, by the same source as above.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Seconds since the epoch, now.
pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_of_release_files_are_read() {
        assert_eq!(parse("Sat, 11 Jul 2026 10:16:37 UTC"), Some(1_783_764_997));
        assert_eq!(parse("Thu, 1 Jan 1970 01:00:00 +0100"), Some(0));
        assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 Z"), Some(0));
        for bad in [
            "",
            "yesterday",
            "Sat, 11 Jul 2026",
            "Sat, 11 Foo 2026 10:16:37 UTC",
            "Sat, 11 Jul 2026 10:16:37 CET",
            "1 Jan 1970 25:00:00 UTC",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0_i64..200_000_000_000) {
            prop_assert_eq!(parse(&format(seconds)), Some(seconds));
        }

        #[test]
        fn no_input_panics(text in "\\PC{0,40}") {
            parse(&text);
        }
    }
}
