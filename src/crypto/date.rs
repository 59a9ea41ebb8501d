//! Dates of certificates, read as OpenSSL reads them.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};

use crate::wire::ber::{Ber, tag};

/// One end of a validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CertificateDate {
    /// Unix seconds; negative before 1970.
    pub(super) unix_s: i64,
    /// What RFC 5280 does not allow about its form.
    pub(super) odd: Option<&'static str>,
}

impl CertificateDate {
    /// Reads `UTCTime` or `GeneralizedTime` with and without seconds, with a fraction and with an
    /// offset; `None` if it is no date.
    pub(super) fn read(time: &Ber<'_>) -> Option<CertificateDate> {
        let text = std::str::from_utf8(time.content).ok().filter(|text| text.is_ascii())?;
        let (year_digits, is_utc_time) = match time.tag {
            tag::UTC_TIME => (2, true),
            tag::GENERALIZED_TIME => (4, false),
            _ => return None,
        };
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        let (year, digits) = digits.split_at_checked(year_digits)?;
        let mut year: i16 = year.parse().ok()?;
        if is_utc_time {
            year += if year < 50 { 2000 } else { 1900 };
        }
        let mut odd = None;
        let seconds = match digits.len() {
            10 => digits[8..].parse().ok()?,
            8 | 6 => {
                odd = Some("has no seconds");
                0
            }
            _ => return None,
        };
        let two = |at: usize| digits.get(at..at + 2).map_or(Some(0), |two| two.parse().ok());
        if seconds == 60 {
            odd = Some("has a leap second");
        }
        let instant =
            DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, seconds.min(59), 0).ok()?;
        let rest = match rest.strip_prefix(['.', ',']) {
            Some(fraction) => {
                odd = Some("has a fraction of a second");
                fraction.trim_start_matches(|c: char| c.is_ascii_digit())
            }
            None => rest,
        };
        let offset_s = match rest {
            "Z" => 0,
            "" => {
                odd = Some("has no time zone");
                0
            }
            offset => {
                odd = Some("has an offset instead of Z");
                offset_seconds(offset)?
            }
        };
        let since = instant.duration_since(date(1970, 1, 1).at(0, 0, 0, 0)).as_secs();
        if since < 0 && is_utc_time {
            odd = odd.or(Some("is before 1970: two digits from 50 on mean 19.."));
        }
        Some(CertificateDate { unix_s: since - offset_s, odd })
    }
}

/// Seconds east of Greenwich of `+hhmm` or `-hhmm`.
fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, digits) = text.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let number = |text: &str| text.parse::<u8>().ok().filter(|&number| number < 60).map(i64::from);
    let (hours, minutes) = digits.split_at_checked(2).filter(|rest| rest.1.len() == 2)?;
    Some(sign * (number(hours)? * 3600 + number(minutes)? * 60))
}

/// A date as `2026-11-21T19:00:00Z`; years 0 to 9999.
pub fn date_text(unix_s: i64) -> String {
    let instant = date(1970, 1, 1).at(0, 0, 0, 0).checked_add(SignedDuration::from_secs(unix_s));
    instant.map_or_else(|_| unix_s.to_string(), |instant| format!("{instant}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tag: u8, text: &str) -> Option<(String, bool)> {
        let bytes = [&[tag, text.len() as u8], text.as_bytes()].concat();
        let date = CertificateDate::read(&Ber::read(&bytes).unwrap().0)?;
        Some((date_text(date.unix_s), date.odd.is_some()))
    }

    #[test]
    fn dates_are_read_in_every_form_that_openssl_reads() {
        let utc = |text| read(tag::UTC_TIME, text);
        let general = |text| read(tag::GENERALIZED_TIME, text);
        let is = |text: &str, odd| Some((text.to_owned(), odd));
        assert_eq!(utc("261121190000Z"), is("2026-11-21T19:00:00Z", false));
        assert_eq!(utc("2611211900Z"), is("2026-11-21T19:00:00Z", true));
        assert_eq!(utc("261121190000+0130"), is("2026-11-21T17:30:00Z", true));
        assert_eq!(utc("261231233000-0100"), is("2027-01-01T00:30:00Z", true));
        assert_eq!(utc("491231235959Z"), is("2049-12-31T23:59:59Z", false));
        assert_eq!(utc("500101000000Z"), is("1950-01-01T00:00:00Z", true));
        assert_eq!(utc("691231235959Z"), is("1969-12-31T23:59:59Z", true));
        assert_eq!(utc("700101000000Z"), is("1970-01-01T00:00:00Z", false));
        assert_eq!(utc("261121190000"), is("2026-11-21T19:00:00Z", true));
        assert_eq!(general("99991231235959Z"), is("9999-12-31T23:59:59Z", false));
        assert_eq!(general("20261121190000.5Z"), is("2026-11-21T19:00:00Z", true));
        assert_eq!(general("20261121190060Z"), is("2026-11-21T19:00:59Z", true));
        assert_eq!(general("2026112119Z"), is("2026-11-21T19:00:00Z", true));
        assert_eq!(general("19500101000000Z"), is("1950-01-01T00:00:00Z", false));
        for bad in ["", "Z", "261321190000Z", "261121250000Z", "26112119000Z", "261121190000X"] {
            assert_eq!(utc(bad), None, "{bad}");
        }
        for bad in ["261121190000Z ", "261121190000+01", "261121190000+9900", "\u{fc}61121190000Z"]
        {
            assert_eq!(utc(bad), None, "{bad}");
        }
        assert_eq!(read(4, "261121190000Z"), None);
    }
}
