//! Numbers of the command line with their units.

/// Starts per second: `400`, `400/s`, `1_500/s`.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches("/s").trim().replace('_', "");
    let rate: f64 = number.parse().map_err(|_| "a number per second, such as 400".to_owned())?;
    if rate > 0.0 && rate <= 1e6 {
        Ok(rate)
    } else {
        Err("more than 0 and at most 1000000 per second".to_owned())
    }
}

/// A share: `1%`, `0.5 %`, `0.01`.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let (number, whole) = match text.strip_suffix('%') {
        Some(number) => (number.trim(), 100.0),
        None => (text, 1.0),
    };
    let share: f64 = number.parse().map_err(|_| "a percentage, such as 1%".to_owned())?;
    let share = share / whole;
    match share {
        0.0..1.0 => Ok(share),
        1.0..100.0 if !text.ends_with('%') => Err(format!("`%` is missing: {text}%")),
        _ => Err("0% to below 100%".to_owned()),
    }
}
