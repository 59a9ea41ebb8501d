use std::ops::Deref;

use hdrhistogram::Histogram;

use crate::base::Span;

use super::row::Join;

/// Lengths of time that were counted, in microseconds with three digits.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

/// Longest time that is told apart: one hour in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

impl Times {
    /// Counts one.
    pub fn record(&mut self, length: Span) {
        self.0.saturating_record(length.as_micros());
    }

    /// Seconds at `quantile` (0 to 1), `None` without any.
    pub fn at_s(&self, quantile: f64) -> Option<f64> {
        (!self.is_empty()).then(|| self.value_at_quantile(quantile) as f64 / 1e6)
    }

    /// Seconds at a percentile p in thousandths, `None` with fewer than the 10/(1-p) that it needs.
    pub(super) fn percentile_s(&self, per_mille: u64) -> Option<f64> {
        let enough = self.len() * (1_000 - per_mille) >= 10_000;
        self.at_s(per_mille as f64 / 1e3).filter(|_| enough)
    }

    /// The longest in seconds, `None` without any.
    pub(super) fn max_s(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.max() as f64 / 1e6)
    }
}

impl Default for Times {
    fn default() -> Times {
        Times(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid"))
    }
}

impl Deref for Times {
    type Target = Histogram<u64>;

    fn deref(&self) -> &Histogram<u64> {
        &self.0
    }
}

impl Join for Times {
    fn join(&mut self, other: &Times) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }
}
