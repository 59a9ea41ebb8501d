use crate::base::Span;
use crate::phone::{BlockSizeRule, BootTime, FamilyValue, PhoneProfile, Varied, families};
use crate::scenario::{Link, Plan, SitePlan};
use crate::wire::tftp::{BLOCK_SIZE_DEFAULT, BLOCK_SIZE_MAX, BLOCK_SIZE_MIN};

/// How a value is found in a plan and changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Knob {
    Length(fn(&mut Plan) -> Option<&mut Span>),
    Count(fn(&mut Plan) -> &mut u32),
    Rate(fn(&mut Plan) -> Option<&mut f64>),
    Tries,
    BlockSize,
    /// The link of phones whose scenario has no site.
    Lan,
    Family(usize, FamilyValue),
}

impl Knob {
    /// The value in a plan, as it is told; `None` where the plan has none.
    pub(super) fn value(self, plan: &mut Plan) -> Option<String> {
        match self {
            Knob::Length(find) => find(plan).map(|length| length.to_string()),
            Knob::Count(find) => Some(find(plan).to_string()),
            Knob::Rate(find) => find(plan).map(|rate| format!("{rate:?}")),
            Knob::Tries => Some(plan.phone.tftp_tries.to_string()),
            Knob::BlockSize => match plan.phone.tftp_block_size {
                BlockSizeRule::Fixed(size) => Some(size.unwrap_or(BLOCK_SIZE_DEFAULT).to_string()),
                BlockSizeRule::Model { .. } => None,
            },
            Knob::Lan => Some(Link::default().rtt.to_string()),
            Knob::Family(family, value) => {
                varied(&mut plan.phone, value)?;
                of_family(family, value, 1.0)
            }
        }
    }

    /// The other value and the plan with it; `None` where there is no half or double.
    pub(super) fn turn(self, plan: &Plan, doubled: bool) -> Option<(String, Plan)> {
        let mut plan = plan.clone();
        let factor = if doubled { 2.0 } else { 0.5 };
        let turned =
            |count: u32| if doubled { count.checked_mul(2) } else { Some(count.div_ceil(2)) };
        let value = match self {
            Knob::Length(find) => turn_length(find(&mut plan)?, doubled)?,
            Knob::Count(find) => {
                let count = find(&mut plan);
                let other = turned(*count)?;
                (other != *count).then(|| *count = other)?;
                other.to_string()
            }
            Knob::Rate(find) => {
                let rate = find(&mut plan)?;
                *rate *= factor;
                format!("{rate:?}")
            }
            Knob::Tries => {
                let tries = &mut plan.phone.tftp_tries;
                let other = u8::try_from(turned((*tries).into())?).ok()?;
                (other != *tries).then(|| *tries = other)?;
                other.to_string()
            }
            Knob::BlockSize => {
                let size = plan.phone.tftp_block_size.of(0).unwrap_or(BLOCK_SIZE_DEFAULT);
                let other = other_block(size, factor)?;
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
                *varied(&mut plan.phone, value)? = Some(Varied { family, value, doubled });
                of_family(family, value, factor)?
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

fn other_block(size: u16, factor: f64) -> Option<u16> {
    let other = (f64::from(size) * factor) as u16;
    (BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&other).then_some(other)
}

/// What phones are told of a value that is varied, if they take it from the families.
fn varied(phone: &mut PhoneProfile, value: FamilyValue) -> Option<&mut Option<Varied>> {
    match (&mut phone.boot_time, &mut phone.tftp_block_size, value) {
        (_, BlockSizeRule::Model { varied }, FamilyValue::TftpBlock)
        | (BootTime::Model { varied, .. }, _, FamilyValue::BootMedian | FamilyValue::BootSigma) => {
            Some(varied)
        }
        _ => None,
    }
}

/// A value of a family, times `factor`, as it is told.
fn of_family(family: usize, value: FamilyValue, factor: f64) -> Option<String> {
    let family = &families()[family];
    match value {
        FamilyValue::BootMedian => Some(format!("{}s", family.boot.median_s * factor)),
        FamilyValue::BootSigma => Some(format!("{}s", family.boot.sigma_s * factor)),
        FamilyValue::TftpBlock => Some(other_block(family.tftp_block.size, factor)?.to_string()),
    }
}
