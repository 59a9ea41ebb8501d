use std::fmt;
use std::str::FromStr;

use crate::base::{Span, split_number};
use crate::phone::Button;

use super::error::Problem;
use super::names::{Text, one_of};
use super::quantity::positive;
use super::raw::RawUse;

/// How people use their phones: presses of one button.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UsePlan {
    /// Which button.
    pub button: Button,
    /// How often each phone's is pressed.
    pub rate: UseRate,
    /// When people begin, counted from the start of the run.
    pub from: Span,
    /// For how long they go on; the run does not end before.
    pub lasts: Span,
}

/// Presses per phone and time; they come at random (exponential pauses).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UseRate {
    /// How many, above 0.
    pub presses: f64,
    /// Within which time.
    pub per: UsePeriod,
}

/// The time that a rate counts presses in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsePeriod {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

/// A text is no rate of presses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rate of presses")]
pub struct UseRateError(String);

/// Most presses of a phone within a second (choice: nobody is faster).
const PRESSES_A_SECOND_MAX: f64 = 1.0;

impl fmt::Display for UsePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UsePlan { button, rate, from, lasts } = self;
        write!(f, "{}: {rate} per phone from {from} on, for {lasts}", button.name())
    }
}

impl UsePeriod {
    const ALL: [UsePeriod; 3] = [UsePeriod::Minute, UsePeriod::Hour, UsePeriod::Day];

    /// Its length.
    pub const fn length(self) -> Span {
        match self {
            UsePeriod::Minute => Span::from_secs(60),
            UsePeriod::Hour => Span::from_secs(3_600),
            UsePeriod::Day => Span::from_secs(86_400),
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            UsePeriod::Minute => "m",
            UsePeriod::Hour => "h",
            UsePeriod::Day => "d",
        }
    }
}

impl UseRate {
    /// The mean pause between two presses in seconds.
    pub fn mean_pause_s(self) -> f64 {
        self.per.length().as_secs_f64() / self.presses
    }
}

impl FromStr for UseRate {
    type Err = UseRateError;

    fn from_str(text: &str) -> Result<UseRate, UseRateError> {
        let rate = || {
            let (number, unit) = text.split_once('/')?;
            let (whole, fraction) = split_number(number.trim())?;
            let presses: f64 = format!("{whole}.{fraction}").parse().ok()?;
            let per = UsePeriod::ALL.into_iter().find(|per| per.unit() == unit.trim())?;
            let rate = UseRate { presses, per };
            let is_possible = rate.mean_pause_s() * PRESSES_A_SECOND_MAX >= 1.0;
            (presses > 0.0 && is_possible).then_some(rate)
        };
        rate().ok_or_else(|| UseRateError(text.to_owned()))
    }
}

impl fmt::Display for UseRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.presses, self.per.unit())
    }
}

/// The uses of a scenario, checked.
pub(super) fn uses(raw: &[RawUse]) -> Result<Vec<UsePlan>, Problem> {
    raw.iter().map(one_use).collect()
}

fn one_use(raw: &RawUse) -> Result<UsePlan, Problem> {
    let rate = |text: &Text| {
        text.get_ref().parse().map_err(|error: UseRateError| {
            let help = "presses per phone and minute, hour or day, such as \"2/h\"; one a second at \
                        most";
            Problem::new(text.span(), error.to_string()).help(help)
        })
    };
    Ok(UsePlan {
        button: one_of(&raw.kind, "use", &Button::ALL, Button::name)?,
        rate: rate(&raw.rate)?,
        from: raw.from.map_or(Span::ZERO, |from| from.0),
        lasts: positive(&raw.lasts)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_unit_and_read_back() {
        for (text, pause_s) in [("2/h", 1_800.0), ("0.5/d", 172_800.0), ("30/m", 2.0)] {
            let rate: UseRate = text.parse().unwrap();
            assert_eq!((rate.mean_pause_s(), rate.to_string().as_str()), (pause_s, text));
        }
        for text in ["", "2", "2/", "/h", "2/y", "0/h", "-1/h", "61/m", "1e9/d", "nan/h"] {
            assert!(text.parse::<UseRate>().is_err(), "{text}");
        }
    }
}
