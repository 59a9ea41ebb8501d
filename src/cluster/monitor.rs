//! The Certificate Monitor: which certificates it warns of, when, and in which words.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::NodeId;

/// A certificate in a store of a node, as far as the monitor looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Whose store it is in (EXP-04: a copy warns on its own node).
    pub node: NodeId,
    /// The unit, such as `tomcat-trust`.
    pub unit: String,
    /// The certificate, such as `CUCM01.der`.
    pub name: String,
    /// Whether it belongs to a node of the cluster.
    pub is_own: bool,
    /// End of its validity in Unix seconds.
    pub not_after_s: u64,
}

/// One warning of the monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// When it was raised, Unix seconds.
    pub at_s: u64,
    /// What it is about.
    pub about: Watched,
}

/// Looks at every certificate once a day, and in its last day and after it every hour (EXP-01,
/// EXP-03).
#[derive(Clone, Debug)]
pub struct Monitor {
    /// Up to which date it has looked, Unix seconds.
    looked_s: u64,
    raised: u64,
    kept: Vec<Alarm>,
}

/// How long before its end a certificate is warned of (EXP-02).
const WARNED_S: u64 = 7 * DAY_S;
const DAY_S: u64 = 86_400;
const HOUR_S: u64 = 3_600;
/// When in a day, and in an hour, the monitor looks (seen in the sample of the documents).
const PHASE_S: u64 = 6;
/// Alarms that are kept with their texts; all of them are counted.
const KEPT_MAX: usize = 10_000;

impl Monitor {
    /// A monitor that begins at this date, in Unix seconds.
    pub const fn new(now_s: u64) -> Monitor {
        Monitor { looked_s: now_s, raised: 0, kept: Vec::new() }
    }

    /// Time has passed up to this date, and these certificates were in the stores all the while.
    pub fn look(&mut self, now_s: u64, certificates: &[Watched]) {
        let room = KEPT_MAX - self.kept.len();
        let mut first: Vec<(u64, NodeId, usize)> = Vec::new();
        let mut last_s = u64::MAX;
        for (place, about) in certificates.iter().enumerate() {
            let instants = instants(self.looked_s, now_s, about.not_after_s);
            self.raised += instants.clone().count() as u64;
            let early = instants.take(room).take_while(|&at_s| at_s <= last_s);
            first.extend(early.map(|at_s| (at_s, about.node, place)));
            // Years of many certificates are far more than what is kept.
            if first.len() > 2 * KEPT_MAX {
                first.sort_unstable();
                first.truncate(room);
                last_s = first.last().map_or(0, |alarm| alarm.0);
            }
        }
        first.sort_unstable();
        first.truncate(room);
        let alarm =
            |(at_s, _, place): (u64, _, usize)| Alarm { at_s, about: certificates[place].clone() };
        self.kept.extend(first.into_iter().map(alarm));
        self.looked_s = self.looked_s.max(now_s);
    }

    /// The end of a certificate's time if the monitor may have to warn of it by this date.
    pub fn concerns(not_after_s: u64, date_s: u64) -> Option<u64> {
        (not_after_s.saturating_sub(WARNED_S) <= date_s).then_some(not_after_s)
    }

    /// The first instant after this date at which it may warn of something, Unix seconds.
    pub fn next_look_s(date_s: u64) -> u64 {
        every(HOUR_S, date_s, u64::MAX).next().unwrap_or(u64::MAX)
    }

    /// How many alarms were raised.
    pub const fn raised(&self) -> u64 {
        self.raised
    }

    /// The alarms in their order; the first 10,000 of them.
    pub fn alarms(&self) -> &[Alarm] {
        &self.kept
    }
}

/// The instants after `from_s` and up to `to_s` at which the monitor warns of a certificate.
fn instants(from_s: u64, to_s: u64, not_after_s: u64) -> impl Iterator<Item = u64> + Clone {
    let hourly_s = not_after_s.saturating_sub(DAY_S);
    let daily = every(DAY_S, from_s.max(not_after_s.saturating_sub(WARNED_S)), to_s.min(hourly_s));
    daily.chain(every(HOUR_S, from_s.max(hourly_s), to_s))
}

/// The instants of a rhythm after `from_s` and up to `to_s`.
fn every(step_s: u64, from_s: u64, to_s: u64) -> impl Iterator<Item = u64> + Clone {
    let first = (from_s + step_s - PHASE_S) / step_s * step_s + PHASE_S;
    (first..=to_s).step_by(step_s as usize)
}

/// How the documents write an alarm down (EXP-02, EXP-08), with the times of a place.
#[derive(Clone, Debug)]
pub struct AlarmStyle<'a> {
    /// Host name of the node.
    pub host: &'a str,
    /// Its address, as the mail names it.
    pub address: &'a str,
    /// Its domain.
    pub domain: &'a str,
    /// The place whose time is shown beside UTC.
    pub zone: &'a TimeZone,
    /// The number of the message in the log of the node.
    pub number: u64,
}

impl Alarm {
    /// The message as it stands in the log of the node.
    pub fn message(&self, style: &AlarmStyle<'_>) -> String {
        let AlarmStyle { host, domain, zone, number, .. } = style;
        let Watched { unit, name, is_own, not_after_s, .. } = &self.about;
        let kind = if *is_own { "own-cert" } else { "trust-certs" };
        let (here, utc) = (timed(self.at_s, zone), timed(self.at_s, &TimeZone::UTC));
        let here = here.strftime("%b %-d %H:%M:%S");
        let utc = utc.strftime("%b %d %Y %H:%M:%S.433 UTC");
        let end = timed(*not_after_s, zone).strftime("%a %b %d %H:%M:").to_string();
        format!(
            "{here} {host} local7 2 : {number}: {host}.{domain}: {utc} : \
             %UC_CERT-2-CertValidfor7days: %[Message=Certificate expiration Notification. \
             Certificate name:{name} Unit:{unit} Type:{kind} Expiration:{end}]\
             [AppID=Cisco Certificate Monitor][ClusterID=][NodeID={host}]: \
             Alarm to indicate that Certificate has Expired or Expires in less than seven days"
        )
    }

    /// The mail about it.
    pub fn mail(&self, style: &AlarmStyle<'_>) -> String {
        let stamp = |at_s| timed(at_s, style.zone).strftime("%a %b %d %H:%M:%S %Z %Y").to_string();
        format!(
            "At {sent} on node {address}, the following SyslogSeverityMatchFound events generated:\n\
             SeverityMatch : Critical\n\
             MatchedEvent : {message}\n\
             AppID : Cisco Syslog Agent\n\
             ClusterID :\n\
             NodeID : {host}\n\
             TimeStamp : {seen}\n",
            sent = stamp(self.at_s + SENT_AFTER_S),
            address = style.address,
            message = self.message(style),
            host = style.host,
            seen = stamp(self.at_s + SEEN_AFTER_S),
        )
    }
}

/// How long after the message the agent and the mail follow (seen in the sample of the documents).
const SEEN_AFTER_S: u64 = 10;
const SENT_AFTER_S: u64 = 50;

fn timed(unix_s: u64, zone: &TimeZone) -> jiff::Zoned {
    let instant = i64::try_from(unix_s).ok().and_then(|at| Timestamp::from_second(at).ok());
    instant.unwrap_or(Timestamp::MAX).to_zoned(zone.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClusterId;

    const DAY: u64 = DAY_S;
    /// Midnight, UTC.
    const EPOCH: u64 = 20_000 * DAY;

    fn watched(not_after_s: u64) -> Watched {
        Watched {
            node: ClusterId::FIRST.node(1),
            unit: "tomcat-trust".into(),
            name: "CUCM01.der".into(),
            is_own: true,
            not_after_s,
        }
    }

    #[test]
    fn a_certificate_is_warned_of_each_day_then_each_hour_and_for_ever() {
        let ends = EPOCH + 10 * DAY + HOUR_S;
        let mut monitor = Monitor::new(EPOCH);
        monitor.look(EPOCH + 3 * DAY + HOUR_S, &[watched(ends)]);
        assert_eq!(monitor.raised(), 0, "seven days and a second are left");
        // Six looks of days 4 to 9, then hours: 01:00:06 of day 9 until day 20.
        monitor.look(EPOCH + 9 * DAY + HOUR_S, &[watched(ends)]);
        assert_eq!(monitor.raised(), 6);
        monitor.look(EPOCH + 20 * DAY, &[watched(ends)]);
        assert_eq!(monitor.raised(), 6 + 11 * 24 - 1);
        monitor.look(EPOCH + 20 * DAY, &[watched(ends)]);
        assert_eq!(monitor.raised(), 6 + 11 * 24 - 1, "the same time does not pass twice");
        let at: Vec<u64> = monitor.alarms()[..8].iter().map(|alarm| alarm.at_s - EPOCH).collect();
        let days = (4..=9).map(|day| day * DAY + PHASE_S);
        let hours = [1, 2].map(|hour| 9 * DAY + hour * HOUR_S + PHASE_S);
        assert_eq!(at, days.chain(hours).collect::<Vec<_>>());
    }

    #[test]
    fn looking_often_raises_what_looking_once_raises() {
        let all = [watched(EPOCH + 8 * DAY), watched(EPOCH + 30 * DAY), watched(EPOCH)];
        let (mut once, mut often) = (Monitor::new(EPOCH), Monitor::new(EPOCH));
        once.look(EPOCH + 40 * DAY, &all);
        (1..=40 * 48).for_each(|half| often.look(EPOCH + half * 1_800, &all));
        assert_eq!(once.raised(), often.raised());
        assert_eq!(once.alarms(), often.alarms());
    }

    #[test]
    fn the_next_look_is_six_seconds_behind_an_hour() {
        for (now, next) in [(0, 6), (5, 6), (6, HOUR_S + 6), (HOUR_S, HOUR_S + 6)] {
            assert_eq!(Monitor::next_look_s(EPOCH + now), EPOCH + next, "{now}");
        }
    }

    #[test]
    fn years_after_the_end_all_alarms_count_and_ten_thousand_are_kept() {
        let mut monitor = Monitor::new(EPOCH);
        monitor.look(EPOCH + 4 * 365 * DAY, &[watched(EPOCH), watched(EPOCH)]);
        assert_eq!(monitor.raised(), 2 * 4 * 365 * 24);
        assert_eq!(monitor.alarms().len(), KEPT_MAX);
        let last = monitor.alarms().last().unwrap();
        assert!(last.at_s < EPOCH + 210 * DAY, "the first ones, of both: {}", last.at_s - EPOCH);
    }

    #[test]
    fn many_certificates_keep_the_first_alarms_of_all() {
        let many: Vec<Watched> = (0..40).map(|late| watched(EPOCH + (60 - late) * DAY)).collect();
        let (mut monitor, mut all) = (Monitor::new(EPOCH), Vec::new());
        monitor.look(EPOCH + 3 * 365 * DAY, &many);
        for about in &many {
            all.extend(instants(EPOCH, EPOCH + 3 * 365 * DAY, about.not_after_s));
        }
        all.sort_unstable();
        assert_eq!(monitor.raised(), all.len() as u64);
        let kept: Vec<u64> = monitor.alarms().iter().map(|alarm| alarm.at_s).collect();
        assert_eq!(kept, all[..KEPT_MAX]);
    }

    /// The sample of the documents (`spec/domain.md` 12.3) to the character, but for its line ends.
    #[test]
    fn an_alarm_reads_as_in_the_documents() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_second() as u64;
        let alarm =
            Alarm { at_s: at("2014-09-05T00:00:06Z"), about: watched(at("2014-05-19T12:46:00Z")) };
        let style = AlarmStyle {
            host: "CUCM02",
            address: "192.168.1.2",
            domain: "localdomain",
            zone: &zone,
            number: 864,
        };
        assert_eq!(
            alarm.mail(&style),
            "At Fri Sep 05 02:00:56 CEST 2014 on node 192.168.1.2, the following \
             SyslogSeverityMatchFound events generated:\n\
             SeverityMatch : Critical\n\
             MatchedEvent : Sep 5 02:00:06 CUCM02 local7 2 : 864: CUCM02.localdomain: \
             Sep 05 2014 00:00:06.433 UTC : %UC_CERT-2-CertValidfor7days: \
             %[Message=Certificate expiration Notification. Certificate name:CUCM01.der \
             Unit:tomcat-trust Type:own-cert Expiration:Mon May 19 14:46:]\
             [AppID=Cisco Certificate Monitor][ClusterID=][NodeID=CUCM02]: \
             Alarm to indicate that Certificate has Expired or Expires in less than seven days\n\
             AppID : Cisco Syslog Agent\n\
             ClusterID :\n\
             NodeID : CUCM02\n\
             TimeStamp : Fri Sep 05 02:00:16 CEST 2014\n"
        );
    }
}
