use crate::base::Time;
use crate::measure::{LevelKind, LoadInfo, LoadStep, StepMark, encode_load};
use crate::net::Clock;
use crate::net::http::{MetricsError, MetricsListener};
use crate::net::signals::Signals;

use super::guard::Sample;
use super::plan::{CapacityPlan, MetricsPlan};

/// What Prometheus is told of a measurement; nothing if nobody wants to know.
pub(super) struct Exposition {
    plan: MetricsPlan,
    listener: Option<MetricsListener>,
    info: LoadInfo,
    /// When the clock was at zero, in Unix seconds.
    began_s: f64,
}

impl Exposition {
    pub(super) async fn start(
        plan: &CapacityPlan,
        clock: Clock,
    ) -> Result<Exposition, MetricsError> {
        let info = LoadInfo {
            label: plan.metrics.label.clone(),
            seed: plan.seed,
            unit: plan.unit(),
            ..LoadInfo::default()
        };
        let listener = match plan.metrics.listen {
            Some(address) => Some(MetricsListener::start(address, encode_load(&info)).await?),
            None => None,
        };
        let began_s = clock.began_s();
        Ok(Exposition { plan: plan.metrics.clone(), listener, info, began_s })
    }

    /// A line that says where it is.
    pub(super) fn line(&self) -> Option<String> {
        self.listener.as_ref().map(MetricsListener::line)
    }

    /// A level begins.
    pub(super) fn level(&mut self, kind: LevelKind, offered: f64, now: Time) {
        let info = &mut self.info;
        let name = format!("{kind} {offered:.1} {}", info.unit);
        let at_s = self.began_s + now.as_secs_f64();
        info.steps.push(StepMark { number: info.steps.len() + 1, name, at_s });
        info.offered = Some(offered);
    }

    /// The load is under way.
    pub(super) fn sample(&mut self, sample: Sample) {
        let Sample { ended, failed, slow, in_flight, heard: _, answered: _ } = sample;
        self.info = LoadInfo { ended, failed, slow, in_flight, ..std::mem::take(&mut self.info) };
        self.show();
    }

    /// A level is over; `wrong` is the number of wrong answers so far.
    pub(super) fn step(&mut self, step: &LoadStep, wrong: u64) {
        self.info.levels.push(step.clone());
        (self.info.offered, self.info.wrong) = (None, wrong);
        self.show();
    }

    /// Everything is measured: Prometheus may ask for the final numbers for a while.
    pub(super) async fn linger(&mut self, knee: Option<f64>, signals: &mut Signals) {
        self.info.knee = knee;
        self.show();
        if let Some(listener) = &self.listener {
            listener.linger(self.plan.linger, signals).await;
        }
    }

    fn show(&self) {
        if let Some(listener) = &self.listener {
            listener.show(encode_load(&self.info));
        }
    }
}
