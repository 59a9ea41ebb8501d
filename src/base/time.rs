use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// An instant: nanoseconds since the start of the run.
///
/// Live drivers derive it from the one clock in `net`, the simulator from its event queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// A length of time in nanoseconds; at most 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Time {
    /// The start of the run.
    pub const ZERO: Time = Time(0);
    /// Later than any instant of a run: a timer that never fires.
    pub const NEVER: Time = Time(u64::MAX);

    /// The instant that lies `nanos` nanoseconds after the start of the run.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the start of the run.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the start of the run.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The span from `earlier` to here; zero when `earlier` is later.
    pub const fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// Years of 365 days or days if it is whole ones, such as `4y` and `90d`, else as shown.
    pub fn in_years_or_days(self) -> String {
        const DAY: u64 = 86_400_000_000_000;
        match self.0 {
            0 => self.to_string(),
            nanos if nanos.is_multiple_of(365 * DAY) => format!("{}y", nanos / (365 * DAY)),
            nanos if nanos.is_multiple_of(DAY) => format!("{}d", nanos / DAY),
            _ => self.to_string(),
        }
    }

    /// A span of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Span {
        Span(nanos)
    }

    /// A span of `micros` microseconds; saturates.
    pub const fn from_micros(micros: u64) -> Span {
        Span(micros.saturating_mul(1_000))
    }

    /// A span of `millis` milliseconds; saturates.
    pub const fn from_millis(millis: u64) -> Span {
        Span(millis.saturating_mul(1_000_000))
    }

    /// A span of `secs` seconds; saturates.
    pub const fn from_secs(secs: u64) -> Span {
        Span(secs.saturating_mul(1_000_000_000))
    }

    /// The span in nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span in whole microseconds, rounded down.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// The span in seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The span as the standard library's type.
    pub const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Whether this is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// This span times `factor`, saturating.
    #[must_use]
    pub const fn times(self, factor: u64) -> Span {
        Span(self.0.saturating_mul(factor))
    }

    /// The part of this span at `fraction`, which is clamped to 0..=1.
    #[must_use]
    pub fn fraction(self, fraction: f64) -> Span {
        Span((self.0 as f64 * fraction.clamp(0.0, 1.0)) as u64)
    }

    /// This span times `factor`, to the nearest nanosecond; nothing for a negative factor.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Span {
        Span((self.0 as f64 * factor).round() as u64)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Span {
        Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Time {
    type Output = Time;
    fn sub(self, span: Span) -> Time {
        Time(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

/// Shown with the largest unit that divides it: `30s`, `1500ms`, `12us`, `2m`, `0s`.
///
/// The text is also the form of a quantity in scenario files, so that a span survives being
/// written into a resolved scenario and read again.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 6] = [
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let (size, unit) = UNITS
            .iter()
            .find(|(size, _)| self.0.is_multiple_of(*size))
            .expect("every number divides by 1");
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_is_shown_in_the_largest_unit_that_divides_it() {
        assert_eq!(Span::from_secs(30).to_string(), "30s");
        assert_eq!(Span::from_millis(1_500).to_string(), "1500ms");
        assert_eq!(Span::from_secs(120).to_string(), "2m");
        assert_eq!(Span::from_secs(3_600).to_string(), "1h");
        assert_eq!(Span::from_nanos(7).to_string(), "7ns");
        assert_eq!(Span::ZERO.to_string(), "0s");
        let days =
            [0, 1, 90, 4 * 365].map(|days| Span::from_secs(days * 86_400).in_years_or_days());
        assert_eq!(days, ["0s", "1d", "90d", "4y"]);
        assert_eq!(Span::from_secs(90_000).in_years_or_days(), "25h");
    }

    #[test]
    fn time_arithmetic_saturates() {
        assert_eq!(Time::from_nanos(5).since(Time::from_nanos(9)), Span::ZERO);
        assert_eq!(Time::from_nanos(9).since(Time::from_nanos(5)), Span::from_nanos(4));
        assert_eq!(Time::NEVER + Span::from_secs(1), Time::NEVER);
        assert_eq!(Time::ZERO - Span::from_secs(1), Time::ZERO);
    }

    #[test]
    fn fraction_is_clamped() {
        assert_eq!(Span::from_secs(10).fraction(0.25), Span::from_millis(2_500));
        assert_eq!(Span::from_secs(10).fraction(7.0), Span::from_secs(10));
    }

    #[test]
    fn scaled_is_rounded_and_never_negative() {
        assert_eq!(Span::from_nanos(10).scaled(1.26), Span::from_nanos(13));
        assert_eq!(Span::from_nanos(10).scaled(-1.0), Span::ZERO);
    }
}
