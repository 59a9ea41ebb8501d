use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::error::{Faults, Problem};
use super::names::Text;
use super::plan::Dates;
use super::raw::RawRun;

/// The calendar of a run.
pub(super) fn dates(raw: &RawRun, faults: &mut Faults) -> Dates {
    let own = Dates::default();
    Dates {
        epoch_s: raw.epoch.as_ref().and_then(|text| faults.take(epoch(text))),
        time_zone: faults.given(raw.time_zone.as_ref(), own.time_zone, time_zone),
    }
}

/// A date as it stands in a scenario, such as `2026-11-28` or `2026-11-28T22:00:00Z`.
fn epoch(text: &Text) -> Result<u64, Problem> {
    let written = text.get_ref();
    let day = |date: Date| date.to_zoned(TimeZone::UTC).map(|midnight| midnight.timestamp());
    let instant = written
        .parse::<Timestamp>()
        .or_else(|_| written.parse::<Date>().and_then(day))
        .map_err(|_| wrong(text, "is no date"))?;
    let second = u64::try_from(instant.as_second()).ok().filter(|_| instant < LAST);
    second.ok_or_else(|| wrong(text, "is before 1970 or after 2199"))
}

/// Certificates that are made then still end in a year of four digits.
const LAST: Timestamp = Timestamp::constant(7_258_118_400, 0);

fn wrong(text: &Text, what: &str) -> Problem {
    let problem = Problem::new(text.span(), format!("`{}` {what}", text.get_ref()));
    problem.help("such as \"2026-11-28\" or \"2026-11-28T22:00:00Z\"")
}

fn time_zone(text: &Text) -> Result<String, Problem> {
    let name = text.get_ref();
    if TimeZone::get(name).is_ok() {
        return Ok(name.clone());
    }
    let problem = Problem::new(text.span(), format!("`{name}` is no time zone"));
    Err(problem.help("a name of the IANA database, such as \"Europe/Berlin\""))
}
