use super::time::Span;

/// Units of time in texts and their length in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("y", 365 * 86_400_000_000_000),
];

/// What is wrong with a text that should be a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not begin with a number.
    #[error("`{0}` is not a length of time")]
    NotANumber(String),
    /// A number without a unit.
    #[error("`{0}` has no unit")]
    NoUnit(String),
    /// A number with an unknown unit.
    #[error("unknown unit `{0}`")]
    UnknownUnit(String),
    /// Finer than a nanosecond or longer than 584 years.
    #[error("`{0}` is finer than a nanosecond or longer than 584 years")]
    OutOfRange(String),
}

/// Reads a length of time with its unit: `30s`, `1.5 s`, `500ms`, `1_000 us`, `5m`, `0s`.
///
/// The number is decimal and exact; [`Span`]'s `Display` writes a text that reads back equal.
pub fn parse_span(text: &str) -> Result<Span, QuantityError> {
    let text = text.trim();
    let end = text.find(|c: char| !is_number_part(c)).unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let (whole, fraction) =
        split_number(number).ok_or_else(|| QuantityError::NotANumber(text.to_owned()))?;
    if unit.is_empty() {
        return Err(QuantityError::NoUnit(text.to_owned()));
    }
    let (_, size) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| QuantityError::UnknownUnit(unit.to_owned()))?;
    nanos(&whole, &fraction, *size)
        .map(Span::from_nanos)
        .ok_or_else(|| QuantityError::OutOfRange(text.to_owned()))
}

/// Whether `c` may stand in a decimal number.
pub(crate) fn is_number_part(c: char) -> bool {
    c.is_ascii_digit() || c == '_' || c == '.'
}

/// The digits before and after the point, underscores removed; `None` when it is no number.
pub(crate) fn split_number(number: &str) -> Option<(String, String)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| {
        let well_formed = part.starts_with(|c: char| c.is_ascii_digit())
            && part.ends_with(|c: char| c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_digit() || c == '_');
        well_formed.then(|| part.replace('_', ""))
    };
    Some((digits(whole)?, digits(fraction)?))
}

/// `whole.fraction` times `size`, if that is a whole number that fits.
fn nanos(whole: &str, fraction: &str, size: u64) -> Option<u64> {
    let whole = whole.parse::<u64>().ok()?.checked_mul(size)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Some(whole);
    }
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = fraction.parse::<u128>().ok()?.checked_mul(u128::from(size))?;
    if scaled % scale != 0 {
        return None;
    }
    whole.checked_add(u64::try_from(scaled / scale).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_its_length() {
        assert_eq!(parse_span("7ns"), Ok(Span::from_nanos(7)));
        assert_eq!(parse_span("7us"), Ok(Span::from_nanos(7_000)));
        assert_eq!(parse_span("500ms"), Ok(Span::from_millis(500)));
        assert_eq!(parse_span("30s"), Ok(Span::from_secs(30)));
        assert_eq!(parse_span("5m"), Ok(Span::from_secs(300)));
        assert_eq!(parse_span("2h"), Ok(Span::from_secs(7_200)));
        assert_eq!(parse_span("0s"), Ok(Span::ZERO));
    }

    #[test]
    fn spaces_underscores_and_decimals_are_read() {
        assert_eq!(parse_span("90 s"), Ok(Span::from_secs(90)));
        assert_eq!(parse_span(" 1_500 ms "), Ok(Span::from_millis(1_500)));
        assert_eq!(parse_span("1.5s"), Ok(Span::from_millis(1_500)));
        assert_eq!(parse_span("0.25h"), Ok(Span::from_secs(900)));
        assert_eq!(parse_span("1.50ms"), Ok(Span::from_micros(1_500)));
    }

    #[test]
    fn a_number_alone_has_no_unit() {
        assert_eq!(parse_span("30"), Err(QuantityError::NoUnit("30".into())));
    }

    #[test]
    fn unknown_units_are_named() {
        assert_eq!(parse_span("30 sec"), Err(QuantityError::UnknownUnit("sec".into())));
        assert_eq!(parse_span("30S"), Err(QuantityError::UnknownUnit("S".into())));
    }

    #[test]
    fn texts_without_a_number_are_refused() {
        for text in ["", "s", "-5s", "soon", "_5s", "5_s", ".5s", "5.s", "1.2.3s"] {
            assert!(matches!(parse_span(text), Err(QuantityError::NotANumber(_))), "{text}");
        }
    }

    #[test]
    fn the_range_ends_at_one_nanosecond_and_at_the_largest_span() {
        assert_eq!(parse_span("18446744073709551615ns"), Ok(Span::from_nanos(u64::MAX)));
        assert!(matches!(parse_span("18446744073709551616ns"), Err(QuantityError::OutOfRange(_))));
        assert!(matches!(parse_span("5124096h"), Err(QuantityError::OutOfRange(_))));
        assert!(matches!(parse_span("0.5ns"), Err(QuantityError::OutOfRange(_))));
        assert!(matches!(parse_span("18446744073.8s"), Err(QuantityError::OutOfRange(_))));
    }

    #[test]
    fn what_a_span_shows_is_read_back() {
        for nanos in [0, 1, 999, 1_000, 90_000_000_000, 1_500_000_000, 7_200_000_000_000, u64::MAX]
        {
            let span = Span::from_nanos(nanos);
            assert_eq!(parse_span(&span.to_string()), Ok(span));
        }
    }
}
