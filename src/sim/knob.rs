use crate::base::Span;
use crate::phone::{BlockSizeRule, BootTime, FamilyValue, Varied, families};
use crate::scenario::{Link, Plan, SitePlan};
use crate::wire::tftp::{BLOCK_SIZE_DEFAULT, BLOCK_SIZE_MAX, BLOCK_SIZE_MIN};

/// How a value is found in a plan and changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Knob {
    Length(fn(&mut Plan) -> &mut Span),
    Count(fn(&mut Plan) -> &mut u32),
    Rate(fn(&mut Plan) -> &mut f64),
    Boot,
    Tries,
    BlockSize,
    /// The link of phones whose scenario has no site.
    Lan,
    Family(usize, FamilyValue),
}

impl Knob {
    /// The other value and the plan with it; `None` where there is no half or double.
    pub(super) fn turn(self, plan: &Plan, doubled: bool) -> Option<(String, Plan)> {
        let mut plan = plan.clone();
        let value = match self {
            Knob::Length(find) => turn_length(find(&mut plan), doubled)?,
            Knob::Count(find) => {
                let count = find(&mut plan);
                let other = if doubled { count.checked_mul(2)? } else { count.div_ceil(2) };
                (other != *count).then(|| *count = other)?;
                other.to_string()
            }
            Knob::Rate(find) => {
                let rate = find(&mut plan);
                *rate *= if doubled { 2.0 } else { 0.5 };
                format!("{rate:?}")
            }
            Knob::Boot => {
                let BootTime::Fixed(time) = &mut plan.phone.boot_time else { return None };
                turn_length(time, doubled)?
            }
            Knob::Tries => {
                let tries = &mut plan.phone.tftp_tries;
                let other = if doubled { tries.checked_mul(2)? } else { tries.div_ceil(2) };
                (other != *tries).then(|| *tries = other)?;
                other.to_string()
            }
            Knob::BlockSize => {
                let size = plan.phone.tftp_block_size.of(0).unwrap_or(BLOCK_SIZE_DEFAULT);
                let other = other_block(size, doubled)?;
                plan.phone.tftp_block_size = BlockSizeRule::Fixed(Some(other));
                other.to_string()
            }
            Knob::Lan => {
                let mut link = Link::default();
                let value = turn_length(&mut link.rtt, doubled)?;
                plan.fleet.sites = vec![SitePlan { name: "lan".to_owned(), share: 1.0, link }];
                value
            }
            Knob::Family(family, value) => {
                return turn_family(plan, Varied { family, value, doubled });
            }
        };
        Some((value, plan))
    }
}

fn turn_length(length: &mut Span, doubled: bool) -> Option<String> {
    let nanos = length.as_nanos();
    let other = if doubled { nanos.checked_mul(2)? } else { nanos / 2 };
    *length = Span::from_nanos(other);
    (nanos > 1).then(|| length.to_string())
}

fn other_block(size: u16, doubled: bool) -> Option<u16> {
    let other = if doubled { size.checked_mul(2)? } else { size / 2 };
    (BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&other).then_some(other)
}

fn turn_family(mut plan: Plan, varied: Varied) -> Option<(String, Plan)> {
    let family = &families()[varied.family];
    let factor = if varied.doubled { 2.0 } else { 0.5 };
    let text = match varied.value {
        FamilyValue::BootMedian => format!("{}s", family.boot.median_s * factor),
        FamilyValue::BootSigma => format!("{}s", family.boot.sigma_s * factor),
        FamilyValue::TftpBlock => other_block(family.tftp_block.size, varied.doubled)?.to_string(),
    };
    match (&mut plan.phone.boot_time, &mut plan.phone.tftp_block_size, varied.value) {
        (_, BlockSizeRule::Model { varied: slot }, FamilyValue::TftpBlock)
        | (
            BootTime::Model { varied: slot, .. },
            _,
            FamilyValue::BootMedian | FamilyValue::BootSigma,
        ) => *slot = Some(varied),
        _ => return None,
    }
    Some((text, plan))
}
