//! Dates as people write them.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Microseconds since the epoch of a day (`2024-05-01`, midnight UTC), an RFC 3339
/// instant, or an instant without a zone (taken as UTC). None if it is neither.
pub fn parse_date(text: &str) -> Option<i64> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return within(instant.timestamp_micros());
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return within(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros());
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .and_then(|instant| within(instant.and_utc().timestamp_micros()))
}

/// The word index keeps instants in nanoseconds: what does not fit 64 bits there
/// (years 1677 to 2262) is refused here rather than wrapped around.
fn within(micros: i64) -> Option<i64> {
    micros.checked_mul(1000).map(|_| micros)
}

#[cfg(test)]
mod tests {
    use super::parse_date;

    #[test]
    fn days_and_instants_agree() {
        let midnight = parse_date("2024-05-01").unwrap();
        assert_eq!(parse_date("2024-05-01T00:00:00Z"), Some(midnight));
        assert_eq!(parse_date("2024-05-01T02:00:00+02:00"), Some(midnight));
        assert_eq!(parse_date("2024-05-01 00:00:00"), Some(midnight));
        assert_eq!(parse_date("2024-13-01"), None);
        assert_eq!(parse_date("9999-01-01"), None);
        assert_eq!(parse_date("yesterday"), None);
    }
}
