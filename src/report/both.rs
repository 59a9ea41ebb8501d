use serde_json::Value;

use crate::measure::Unit;

/// A number of two runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Both {
    /// Its path in `summary.json`.
    pub path: String,
    /// In the first run.
    pub base: Option<f64>,
    /// In the second run.
    pub candidate: Option<f64>,
    /// What it counts or measures.
    pub unit: Unit,
}

impl Both {
    /// The number with this path in two summaries.
    pub(super) fn of(path: &str, unit: Unit, base: &Value, candidate: &Value) -> Both {
        let at = |document: &Value| {
            path.split('.').try_fold(document, |value, key| value.get(key)).and_then(Value::as_f64)
        };
        Both { path: path.to_owned(), base: at(base), candidate: at(candidate), unit }
    }

    /// By how much of the first the second is more; `None` where one is not there.
    pub fn change(&self) -> Option<f64> {
        match (self.base?, self.candidate?) {
            _ if self.is_equal() => Some(0.0),
            (base, candidate) => Some(candidate / base - 1.0).filter(|change| change.is_finite()),
        }
    }

    /// Whether both runs have the same number, bit for bit.
    pub(super) fn is_equal(&self) -> bool {
        self.base.map(f64::to_bits) == self.candidate.map(f64::to_bits)
    }

    /// Whether either run has a number that is not 0.
    pub(super) fn is_there(&self) -> bool {
        [self.base, self.candidate].into_iter().flatten().any(|number| number != 0.0)
    }

    /// Both numbers and the change in words.
    pub(super) fn cells(&self) -> [String; 3] {
        let shown = |value: Option<f64>| match (value, self.unit) {
            (None, _) => "-".to_owned(),
            (Some(value), Unit::Count | Unit::Bytes) => format!("{value}"),
            (Some(value), Unit::Ratio) => format!("{:.1} %", value * 100.0),
            (Some(value), Unit::Seconds) if value < 0.01 => format!("{:.3} ms", value * 1e3),
            (Some(value), Unit::Seconds) => format!("{value:.3} s"),
        };
        let change = match self.change() {
            _ if self.is_equal() => "=".to_owned(),
            Some(change) => format!("{:+.1} %", change * 100.0),
            None => "-".to_owned(),
        };
        [shown(self.base), shown(self.candidate), change]
    }
}
