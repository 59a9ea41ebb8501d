use crate::base::{PhoneId, Purpose, Span, split_number, stream};

use super::cluster_checks::check_shares;
use super::error::Problem;
use super::names::{Text, check_plain, check_unique};
use super::quantity::Length;
use super::raw::RawSite;

/// A place with phones and the link between it and the cluster. Links act in virtual time only.
#[derive(Clone, Debug, PartialEq)]
pub struct SitePlan {
    /// Name of the site.
    pub name: String,
    /// Share of the fleet that is there, 0..=1.
    pub share: f64,
    /// The link.
    pub link: Link,
}

/// What a network does to datagrams on their way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// There and back without waiting.
    pub rtt: Span,
    /// Up to so much is added to each way, evenly distributed.
    pub jitter: Span,
    /// Share of the datagrams that are lost, each way, 0..=1.
    pub loss: f64,
    /// Share of the DNS queries of a phone there that get no answer, 0..=1.
    pub dns_failure: f64,
    /// Bits per second from the cluster to the site, shared by its phones; `None` is no limit.
    pub down: Option<u64>,
}

impl Default for Link {
    /// A LAN (choice; `field-facts.md`, section 18, says 1 ms).
    fn default() -> Link {
        Link {
            rtt: Span::from_micros(500),
            jitter: Span::ZERO,
            loss: 0.0,
            dns_failure: 0.0,
            down: None,
        }
    }
}

impl Link {
    /// One way without jitter.
    pub const fn one_way(&self) -> Span {
        Span::from_nanos(self.rtt.as_nanos() / 2)
    }
}

/// The site of a phone, drawn per phone, so that it depends on no other phone; with one site or
/// none nothing is drawn.
pub(super) fn site_of(sites: &[SitePlan], seed: u64, phone: PhoneId) -> usize {
    if sites.len() < 2 {
        return 0;
    }
    let draw = stream(seed, u64::from(phone.0), Purpose::Site).unit();
    let mut sum = 0.0;
    let reached = |site: &SitePlan| {
        sum += site.share;
        draw < sum
    };
    sites.iter().position(reached).unwrap_or(sites.len() - 1)
}

/// Sites of a fleet at most (choice: each phone's site is looked for among them).
const SITES_MAX: usize = 1_000;

pub(super) fn sites(raw: &[RawSite]) -> Result<Vec<SitePlan>, Problem> {
    if let Some(extra) = raw.get(SITES_MAX) {
        let problem = Problem::new(extra.name.span(), format!("site number {}", SITES_MAX + 1));
        return Err(problem.help(format!("a fleet has at most {SITES_MAX} sites")));
    }
    check_unique("site", raw.iter().map(|site| &site.name))?;
    check_shares(&raw.iter().map(|site| &site.share).collect::<Vec<_>>(), "sites")?;
    raw.iter().map(site).collect()
}

fn site(raw: &RawSite) -> Result<SitePlan, Problem> {
    check_plain(&raw.name)?;
    let default = Link::default();
    let span =
        |length: &Option<Length>, default| length.as_ref().map_or(default, |l| l.get_ref().0);
    Ok(SitePlan {
        name: raw.name.get_ref().clone(),
        share: *raw.share.get_ref(),
        link: Link {
            rtt: span(&raw.link.rtt, default.rtt),
            jitter: span(&raw.link.jitter, default.jitter),
            loss: raw.link.loss.as_ref().map_or(Ok(0.0), percent)?,
            dns_failure: raw.link.dns_failure.as_ref().map_or(Ok(0.0), percent)?,
            down: raw.link.down.as_ref().map(bits_per_second).transpose()?,
        },
    })
}

pub(super) fn percent(text: &Text) -> Result<f64, Problem> {
    let given = text.get_ref().trim();
    let number = given.strip_suffix('%').and_then(|number| decimal(number.trim_end()));
    match number {
        // In parts per million, so that it is written and read again without loss.
        Some(percent) if percent <= 100.0 => Ok((percent * 1e4).round() / 1e6),
        _ => {
            let problem = Problem::new(text.span(), format!("`{given}` is not a share in percent"));
            Err(problem.help("0 % to 100 %, such as \"0.2%\""))
        }
    }
}

/// Units of data rates and their size in bits per second.
const RATES: [(&str, u64); 3] =
    [("kbit/s", 1_000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000)];

fn bits_per_second(text: &Text) -> Result<u64, Problem> {
    let given = text.get_ref().trim();
    let read = |(unit, size): &(&str, u64)| {
        let number = decimal(given.strip_suffix(unit)?.trim_end())?;
        Some((number * *size as f64).round() as u64)
    };
    RATES.iter().find_map(read).filter(|&rate| rate > 0).ok_or_else(|| {
        let problem = Problem::new(text.span(), format!("`{given}` is not a data rate"));
        problem.help("a number and one of kbit/s, Mbit/s, Gbit/s, such as \"10Mbit/s\"")
    })
}

pub(super) fn decimal(number: &str) -> Option<f64> {
    let (whole, fraction) = split_number(number)?;
    format!("{whole}.{fraction}").parse().ok()
}

/// A share in percent that reads back equal.
pub(super) fn percent_text(share: f64) -> String {
    format!("{}%", (share * 1e6).round() / 1e4)
}

/// A data rate that reads back equal.
pub(super) fn rate_text(bits_per_second: u64) -> String {
    format!("{}kbit/s", bits_per_second as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    fn read(text: &str) -> Result<Vec<SitePlan>, Problem> {
        #[derive(Deserialize)]
        struct Sites {
            site: Vec<RawSite>,
        }
        sites(&toml::from_str::<Sites>(text).unwrap().site)
    }

    #[test]
    fn a_site_has_a_link_with_units() {
        let text = "[[site]]\nname='hq'\nshare=0.4\n[[site]]\nname='branches'\nshare=0.6\n\
            link={rtt='38ms', jitter='9ms', loss='0.2%', dns-failure='5%', down='10Mbit/s'}";
        let sites = read(text).unwrap();
        assert_eq!(sites[0].link, Link::default());
        let link = Link {
            rtt: Span::from_millis(38),
            jitter: Span::from_millis(9),
            loss: 0.002,
            dns_failure: 0.05,
            down: Some(10_000_000),
        };
        assert_eq!((sites[1].link, sites[1].share), (link, 0.6));
    }

    #[test]
    fn what_cannot_be_a_link_is_named() {
        let fault = |link: &str| {
            let text = format!("[[site]]\nname='hq'\nshare=1.0\nlink={{{link}}}");
            read(&text).unwrap_err().what
        };
        assert_eq!(fault("loss='0.2'"), "`0.2` is not a share in percent");
        assert_eq!(fault("loss='101%'"), "`101%` is not a share in percent");
        assert_eq!(fault("down='10'"), "`10` is not a data rate");
        assert_eq!(fault("down='0kbit/s'"), "`0kbit/s` is not a data rate");
        let twice = "[[site]]\nname='a'\nshare=0.5\n[[site]]\nname='a'\nshare=0.5";
        assert_eq!(read(twice).unwrap_err().what, "site `a` comes twice");
        let half = read("[[site]]\nname='a'\nshare=0.5").unwrap_err().what;
        assert_eq!(half, "the shares of the sites add up to 0.5");
    }

    #[test]
    fn phones_are_spread_by_share() {
        let site = |name: &str, share| SitePlan { name: name.into(), share, link: Link::default() };
        let sites = [site("hq", 0.4), site("branches", 0.6)];
        let there = (0..10_000).filter(|&n| site_of(&sites, 7, PhoneId(n)) == 0).count();
        assert!((3_800..4_200).contains(&there), "{there}");
    }
}
