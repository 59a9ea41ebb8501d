//! The table of numbers. A number is one row here and raised where the thing happens; text, JSON,
//! Prometheus, SLOs and comparisons of runs read the row.

use std::collections::BTreeMap;

use crate::phone::{Outcome, Unregistered};

use super::phones::PhoneRecord;
use super::row::{BYTES, COUNT, Family, Label, Pair, RATIO, Row, SECONDS, Trend, counts, numbers};

const PHONES: Family =
    Family::gauge("phones", &["state"], "Phones by state; ready means list and config in force.");
const REGISTERED: Family = Family::gauge(
    "phones_registered",
    &["state"],
    "Phones by their registration: registered, under way, or not and why.",
);
const REGISTRATION_FAULTS: Family = Family::counter(
    "registration_failed_total",
    &["cause"],
    "Attempts of phones to register that no node has accepted.",
);
const ALARMS: Family = Family::gauge(
    "phone_alarms",
    &["kind"],
    "Phones that refused a list or a config since the storm began.",
);
const SYMPTOMS: Family = Family::gauge(
    "phone_symptoms",
    &["symptom"],
    "Phones that show a trust problem now, by what one sees of it.",
);
const LOOKUPS: Family = Family::counter(
    "tvs_lookups_total",
    &["command"],
    "Answers of TVS that phones received and used.",
);
const FAULTS: Family =
    Family::counter("tvs_failed_total", &["fault"], "Attempts at a TVS server without an answer.");
const SIGN_CACHE: Family = Family::counter(
    "sign_cache_requests_total",
    &["result"],
    "Requests for signed files, by what the sign cache had.",
);
const SERVER_REQUESTS: Family =
    Family::counter("server_requests_total", &["service"], "Requests that our servers took.");
const HANDSHAKES: Family = Family::counter(
    "tls_handshakes_total",
    &["service", "outcome"],
    "TLS handshakes of our servers.",
);
const ENROLMENTS: Family = Family::counter(
    "lsc_enrolments_total",
    &["result"],
    "Enrolments of phones that ended, by what the phone shows.",
);
const LSC_UNREACHED: Family = Family::counter(
    "lsc_unreached_total",
    &["why"],
    "Enrolments that ended with LSC: Connection Failed, by why.",
);
const LSC_PHONES: Family = Family::gauge(
    "lsc_phones",
    &["state"],
    "Phones by Certificate Operation Status: pending, done or failed.",
);
const CAPF_SESSIONS: Family =
    Family::gauge("capf_sessions", &["stage"], "Open sessions of CAPF by what they wait for.");
const FORECAST: Family = Family::gauge(
    "lsc_forecast_seconds",
    &["bound"],
    "Seconds until the last phone of a rollout is done, by the pace so far; 19 of 20 times between \
     low and high.",
);
const PRESSES: Family = Family::counter(
    "presses_total",
    &["result"],
    "Presses of buttons that lead to services, by button and result.",
);
const PRESSES_LOST: Family = Family::counter(
    "presses_lost_total",
    &["why"],
    "Presses that nothing came of, because the phone booted.",
);
const FOUND: Family = Family::counter(
    "service_certificates_total",
    &["path"],
    "Pages shown, by where the phone found the server's certificate.",
);
const PRESS_FAULTS: Family =
    Family::counter("presses_failed_total", &["fault"], "Presses without a page, by fault.");
const CPU: Family = Family::counter("cpu_seconds_total", &["side"], "CPU time by side.");

/// A time that two runs are compared by.
const JUDGED_TIME: Row = SECONDS.pair(Pair::Judged).trend(Trend::Low);
/// A time that follows every hiccup of a host.
const SHOWN_TIME: Row = SECONDS.pair(Pair::Shown).trend(Trend::Neither);
/// A count that two runs of one scenario share, whatever they took.
const SHARED: Row = COUNT.pair(Pair::Judged);

numbers! {
    /// Phones by outcome (`decisions.md`, outcomes of a phone). All phones are ready, stuck, failed,
    /// booting or not reset; at the end of a run none is booting.
    pub struct Phones {
        /// All phones.
        total: u64 = SHARED.trend(Trend::Size).said(0, "{} in all"),
        /// List and configuration in force; registration is a later step.
        ready: u64 = SHARED.trend(Trend::High).part(PHONES, &["ready"])
            .said(1, ": {} ready (config in force)"),
        /// Nothing but a person or a new operator action can help.
        stuck: u64 = SHARED.trend(Trend::Low).part(PHONES, &["stuck"]).said(2, ", {} stuck"),
        /// Not ready for another reason.
        failed: u64 = SHARED.trend(Trend::Low).part(PHONES, &["failed"]).said(3, ", {} failed"),
        /// Booting now.
        #[serde(skip)]
        booting: u64 = COUNT.part(PHONES, &["booting"]),
        /// Never reset: the run ended before it was their turn.
        not_reset: u64 = COUNT.part(PHONES, &["not-reset"]).said_if_any(4, ", {} not reset"),
        /// Failed phones of all phones, 0 to 1.
        failed_ratio: f64,
        /// Phones that refused a list.
        list_alarms: u64 = SHARED.trend(Trend::Low).part(ALARMS, &["list"])
            .said(5, "{} phones refused a list"),
        /// Phones that refused a configuration.
        config_alarms: u64 = SHARED.trend(Trend::Low).part(ALARMS, &["config"])
            .said(6, ", {} refused a config"),
        /// Phones that show "Trust List Verification Failed" now: they refused a list in their
        /// last boot (BOOT-09).
        show_list_failed: u64 = SHARED.trend(Trend::Low).part(SYMPTOMS, &["trust-list-failed"])
            .said_if_any(9, "; now {} show \"Trust List Verification Failed\""),
        /// Phones that show "Verification Failed" now: they refused a configuration in their last
        /// boot (BOOT-10).
        show_failed: u64 = SHARED.trend(Trend::Low).part(SYMPTOMS, &["verification-failed"])
            .said_if_any(10, "; {} show \"Verification Failed\""),
        /// Phones whose change of configuration was not applied in their last boot: they go on
        /// with the one that they had (BOOT-11).
        config_frozen: u64 = SHARED.trend(Trend::Low).part(SYMPTOMS, &["config-frozen"])
            .said_if_any(11, "; {} keep their old config"),
        /// Phones whose last press of a button since their last boot failed because they do not know
        /// whether the server is the one that it should be (BOOT-09).
        services_lost: u64 = COUNT.trend(Trend::Low).part(SYMPTOMS, &["services-lost"])
            .said_if_any(11, " and {} have lost their HTTPS services"),
        /// Registered: basic calls work, whatever became of the boot.
        registered: u64 = SHARED.trend(Trend::High).part(REGISTERED, &["registered"])
            .said(12, "{} registered"),
        /// Those of them that did not end ready: their configuration, firmware and HTTPS services
        /// stay what they were (BOOT-11).
        registered_frozen: u64 = SHARED.trend(Trend::Low)
            .said_if_any(13, ", {} of them frozen (no config change, no firmware, no HTTPS service)"),
        /// Not registered, because no configuration names a CallManager.
        unregistered_no_config: u64 = SHARED.trend(Trend::Low).part(REGISTERED, &["no-config"])
            .said_if_any(14, ", {} not: no config"),
        /// Not registered: no member of the group has answered.
        unregistered_no_answer: u64 = SHARED.trend(Trend::Low).part(REGISTERED, &["no-answer"])
            .said_if_any(15, ", {} not: no member answers"),
        /// Not registered: every member was full.
        unregistered_full: u64 = SHARED.trend(Trend::Low).part(REGISTERED, &["full"])
            .said_if_any(16, ", {} not: full"),
        /// Not registered: a node has refused the phone or its certificate.
        unregistered_refused: u64 = SHARED.trend(Trend::Low).part(REGISTERED, &["refused"])
            .said_if_any(17, ", {} not: refused by the node"),
        /// Not registered: the phone has refused the certificate of a node.
        unregistered_certificate: u64 = SHARED.trend(Trend::Low)
            .part(REGISTERED, &["certificate-refused"])
            .said_if_any(18, ", {} not: they refuse the node's certificate"),
        /// Registering now, or about to fall back.
        #[serde(skip)]
        registering: u64 = COUNT.part(REGISTERED, &["registering"]),
        /// Reasons of the failed phones.
        failures: BTreeMap<String, u64>,
        /// What phones did, all together.
        #[serde(flatten)]
        counts: PhoneCounts,
    }
}

counts! {
    /// What phones did.
    pub struct PhoneCounts {
        /// Boots that began since the storm's first reset.
        #[serde(skip)]
        boots: u64 = COUNT.counter("boots_total"),
        /// Phones whose lists people have erased by hand.
        erased: u64 = SHARED.trend(Trend::Low).counter("phones_erased_total")
            .said_if_any(7, ", {} erased by hand"),
        /// Phones at the end whose CTL names other certificates than the cluster has: it needs an
        /// update (CTL-02).
        stale_ctl: u64 = SHARED.trend(Trend::Low).said_if_any(8, ", {} hold a stale CTL"),
        /// Phones at the end whose ITL has another content or signer than that of each TFTP node of
        /// their list which runs (ITL-22).
        itl_mismatch: u64 = SHARED.trend(Trend::Low)
            .said_if_any(9, ", {} hold another ITL than their TFTP serves"),
    }
}

counts! {
    /// Configurations.
    pub struct ConfigCounts {
        /// Configurations accepted after the reset.
        applied: u64 = SHARED,
        /// Configurations whose signature was right and that were encrypted for another key than
        /// the phone's (TFTP-05).
        unreadable: u64 = SHARED.trend(Trend::Low).counter("configs_unreadable_total"),
    }
}

counts! {
    /// Firmware loads: what configurations name, and what phones run. Images are not transferred.
    pub struct FirmwareCounts {
        /// Times that a phone accepted a configuration with another load than it ran.
        taken: u64 = SHARED.trend(Trend::Neither).counter("firmware_loads_taken_total")
            .said(0, "{} loads taken"),
        /// Phones at the end that run the load which an upgrade has named for them.
        rolled_out: u64 = SHARED.trend(Trend::High).said(1, ", {} phones run what was named"),
        /// Phones at the end that run another one: they did not accept their configuration
        /// (BOOT-12).
        behind: u64 = SHARED.trend(Trend::Low).said(2, ", {} do not"),
    }
}

counts! {
    /// Registrations at the CallManager services.
    pub struct RegistrationCounts {
        /// Registrations that a node has accepted, fall-overs and fall-backs among them.
        accepted: u64 = SHARED.trend(Trend::Neither).counter("registrations_total")
            .said(0, "{} accepted"),
        /// Those of them at a later member of the phone's group.
        by_later: u64 = SHARED.trend(Trend::Neither).counter("registrations_at_later_total")
            .said_if_any(1, ", {} by a later member"),
        /// Times that a node was full (503).
        full: u64 = COUNT.trend(Trend::Neither).counter("registrations_full_total")
            .said_if_any(2, ", {} told to come again (503)"),
        /// Attempts without an answer.
        unanswered: u64 = COUNT.part(REGISTRATION_FAULTS, &["no-answer"])
            .said_if_any(3, ", {} without an answer"),
        /// Attempts that a node has refused.
        refused: u64 = COUNT.part(REGISTRATION_FAULTS, &["refused"])
            .said_if_any(4, ", {} refused"),
        /// Attempts at a node whose certificate the phone has refused.
        certificate_refused: u64 = COUNT.part(REGISTRATION_FAULTS, &["certificate-refused"])
            .said_if_any(5, ", {} with a certificate that the phone refused"),
        /// Connections that were lost by phones that were registered.
        lost: u64 = SHARED.trend(Trend::Neither).counter("registrations_lost_total")
            .said_if_any(6, ", {} lost"),
        /// Attempts at another member.
        failovers: u64 = SHARED.trend(Trend::Neither).counter("registration_failovers_total")
            .said_if_any(7, ", {} failovers"),
        /// Phones that have fallen back to an earlier member.
        fallbacks: u64 = SHARED.trend(Trend::Neither).counter("registration_fallbacks_total")
            .said_if_any(8, ", {} fall-backs"),
        /// Registrations that a node has renewed before their time was over.
        refreshed: u64 = COUNT.trend(Trend::Neither).counter("registrations_refreshed_total")
            .said_if_any(10, ", {} renewed"),
        /// Attempts to fall back that have failed.
        fallbacks_failed: u64 = COUNT.counter("registration_fallbacks_failed_total")
            .said_if_any(9, ", {} fall-backs failed"),
    }
}

counts! {
    /// Registrations at one node, or at a server that is none of ours.
    pub struct NodeRegistrations {
        /// Phones that are registered there now.
        registered: u64 = COUNT.said(0, "{} registered"),
        /// Registrations that it has accepted.
        accepted: u64 = COUNT.said(1, ", {} accepted"),
        /// Times that it was full (503).
        full: u64 = COUNT.said(2, ", {} told to come again (503)"),
        /// Attempts that it has refused.
        refused: u64 = COUNT.said_if_any(3, ", {} refused"),
        /// Attempts that it has not answered.
        unanswered: u64 = COUNT.said_if_any(4, ", {} without an answer"),
        /// Attempts that have ended because the phone refused its certificate.
        certificate_refused: u64 = COUNT
            .said_if_any(5, ", {} with a certificate that the phone refused"),
        /// Connections with it that were lost by phones that were registered there.
        lost: u64 = COUNT.said_if_any(6, ", {} lost"),
        /// Times that a phone has gone on to another member because of it.
        failed_over: u64 = COUNT.said_if_any(7, ", {} failed over to another node"),
        /// Phones that have fallen back to it.
        fallen_back: u64 = COUNT.said_if_any(8, ", {} fell back to it"),
        /// Registrations that it has renewed before their time was over.
        refreshed: u64 = COUNT.said_if_any(9, ", {} renewed"),
    }
}

impl NodeRegistrations {
    /// An attempt at it has failed.
    pub(super) const fn failed(&mut self, cause: Unregistered) {
        match cause {
            Unregistered::NoAnswer => self.unanswered += 1,
            Unregistered::Refused => self.refused += 1,
            Unregistered::CertificateRefused => self.certificate_refused += 1,
            Unregistered::Full | Unregistered::NoConfig => {}
        }
    }
}

impl RegistrationCounts {
    /// An attempt has failed.
    pub const fn failed(&mut self, cause: Unregistered) {
        match cause {
            Unregistered::NoAnswer => self.unanswered += 1,
            Unregistered::Refused => self.refused += 1,
            Unregistered::CertificateRefused => self.certificate_refused += 1,
            // A node that was full was counted as one; without a configuration there is none.
            Unregistered::Full | Unregistered::NoConfig => {}
        }
    }
}

impl Phones {
    /// Phones that no member of their group has registered.
    pub const fn unregistered(&self) -> u64 {
        self.unregistered_no_config
            + self.unregistered_no_answer
            + self.unregistered_full
            + self.unregistered_refused
            + self.unregistered_certificate
    }

    /// Whether phones register at all.
    pub const fn has_registration(&self) -> bool {
        self.registered + self.unregistered() + self.registering > 0
    }

    /// Counts the registration of a phone.
    pub(super) fn registration(&mut self, phone: &PhoneRecord) {
        use super::phones::Registration;
        match phone.registration {
            Registration::Off => {}
            Registration::UnderWay => self.registering += 1,
            Registration::Since(_) | Registration::Leaving(_) => {
                self.registered += 1;
                let ready = phone.outcome == Some(Outcome::Ready);
                self.registered_frozen += u64::from(!ready);
            }
            Registration::Not(cause) => match cause {
                Unregistered::NoConfig => self.unregistered_no_config += 1,
                Unregistered::NoAnswer => self.unregistered_no_answer += 1,
                Unregistered::Full => self.unregistered_full += 1,
                Unregistered::Refused => self.unregistered_refused += 1,
                Unregistered::CertificateRefused => self.unregistered_certificate += 1,
            },
        }
    }
}

counts! {
    /// Questions to TVS.
    pub struct TvsCounts {
        /// Answers that a phone received and used.
        lookups: u64 = SHARED.trend(Trend::Neither).said(0, "{} lookups"),
        /// Those answers by command.
        by_command: ByCommand,
        /// Signers that a phone's TVS cache vouched for.
        cache_hits: u64 = SHARED.counter("tvs_cache_hits_total")
            .said(3, ", {} answered by a phone's cache"),
        /// Signers that nothing in a phone's TVS cache vouched for (TVS-09).
        cache_misses: u64 = SHARED.trend(Trend::Neither).counter("tvs_cache_misses_total"),
        /// Those answers that say that the server's stores have no such certificate (TVS-10).
        not_found: u64 = SHARED.trend(Trend::Low).counter("tvs_not_found_total")
            .said_if_any(7, "; {} certificates not found"),
        /// Attempts without an answer.
        failed: u64 = SHARED.trend(Trend::Low).said(1, ", {} failed"),
        /// Those of them whose server's name did not resolve.
        unresolved: u64 = COUNT.part(FAULTS, &["unresolved"])
            .said_if_any(4, "; {} × \"Failed to resolve Tvs Ipv4 Address with hostname\""),
        /// Questions to the DNS for a name of a server.
        names_asked: u64 = SHARED.trend(Trend::Neither).counter("tvs_names_asked_total")
            .said_if_any(5, "; {} names asked of the DNS"),
        /// Names that a phone knew to have no DNS record, and did not ask for (TVS-21).
        names_from_cache: u64 = SHARED.trend(Trend::Neither)
            .counter("tvs_names_from_cache_total")
            .said_if_any(6, ", {} without a record by a phone's cache"),
        /// Attempts on a later member of the group.
        failovers: u64 = SHARED.trend(Trend::Neither).counter("tvs_failovers_total")
            .said(2, ", {} failovers"),
        /// Those of the failed ones whose server's certificate the phone refused.
        #[serde(skip)]
        certificate_refused: u64 = COUNT.part(FAULTS, &["certificate_refused"]),
        /// Those of the failed ones without a connection.
        #[serde(skip)]
        connection: u64 = COUNT.part(FAULTS, &["connection"]),
        /// Those of the failed ones that took too long.
        #[serde(skip)]
        timed_out: u64 = COUNT.part(FAULTS, &["timed_out"]),
        /// Those of the failed ones whose answer was to another question.
        #[serde(skip)]
        wrong_answer: u64 = COUNT.part(FAULTS, &["wrong_answer"]),
    }
}

counts! {
    /// Presses of buttons that lead to services, and how phones found the servers' certificates.
    pub struct PressCounts {
        /// Presses that came to an end, whatever came of them.
        total: u64 = COUNT.trend(Trend::Size).said(0, "{} presses"),
        /// After which the phone showed the page.
        shown: u64 = COUNT.trend(Trend::Neither).said(1, ": {} shown"),
        /// After which it showed an error.
        failed: u64 = COUNT.trend(Trend::Low).said(2, ", {} failed"),
        /// While the phone was not at rest: nothing came of it.
        busy: u64 = COUNT.part(PRESSES_LOST, &["busy"]).said_if_any(3, ", {} while busy"),
        /// A reset came before the page.
        cancelled: u64 = COUNT.part(PRESSES_LOST, &["cancelled"])
            .said_if_any(4, ", {} ended by a reset"),
        /// Answers of TVS about servers of pages: lookups for services, apart from those for files.
        lookups: u64 = COUNT.trend(Trend::Neither).counter("service_lookups_total")
            .said(5, " · {} TVS lookups for them"),
        /// Pages whose server's certificate was in the CTL.
        by_ctl: u64 = COUNT.part(FOUND, &["ctl"]).said_if_any(6, ", {} found in the CTL"),
        /// Pages whose server's certificate was in the ITL.
        by_itl: u64 = COUNT.part(FOUND, &["itl"]).said_if_any(7, ", {} found in the ITL"),
        /// Pages whose server TVS had vouched for before (HTTPS-04).
        by_cache: u64 = COUNT.trend(Trend::Neither).part(FOUND, &["cache"])
            .said_if_any(8, ", {} answered by a phone's cache"),
        /// Pages whose server TVS vouched for in this press (HTTPS-01).
        by_tvs: u64 = COUNT.trend(Trend::Neither).part(FOUND, &["tvs"])
            .said_if_any(9, ", {} vouched for by TVS"),
        /// Pages over HTTP, without a certificate.
        unchecked: u64 = COUNT.part(FOUND, &["unchecked"]).said_if_any(10, ", {} over HTTP"),
        /// No page, for the configuration names none.
        no_url: u64 = COUNT.part(PRESS_FAULTS, &["no-url"]).said_if_any(11, "; {} without a URL"),
        /// No page, for the server is out of reach.
        unreachable: u64 = COUNT.part(PRESS_FAULTS, &["unreachable"])
            .said_if_any(12, "; {} servers out of reach"),
        /// What came is no page.
        bad_page: u64 = COUNT.part(PRESS_FAULTS, &["bad-page"]).said_if_any(13, "; {} bad pages"),
        /// The server's certificate has expired (CERT-19).
        expired: u64 = COUNT.part(PRESS_FAULTS, &["expired"])
            .said_if_any(14, "; {} certificates expired"),
        /// TVS knows nothing of the server's certificate.
        not_vouched: u64 = COUNT.part(PRESS_FAULTS, &["not-vouched"])
            .said_if_any(15, "; {} certificates that TVS does not know"),
        /// The phone's lists name no TVS that answers (HTTPS-06, BOOT-09).
        no_tvs: u64 = COUNT.part(PRESS_FAULTS, &["no-tvs"])
            .said_if_any(16, "; {} without a TVS that the phone trusts"),
        /// No TVS gave an answer.
        tvs_unreachable: u64 = COUNT.part(PRESS_FAULTS, &["tvs-unreachable"])
            .said_if_any(17, "; {} without an answer of TVS"),
        /// This host lacked something for it: neither phone nor server is to blame.
        given_up: u64 = COUNT.part(PRESS_FAULTS, &["generator"])
            .said_if_any(18, "; {} given up by the generator"),
    }
}

counts! {
    /// Presses of one button, or at one server.
    pub struct PressEnds {
        /// After which the phone showed the page.
        shown: u64 = COUNT.trend(Trend::Neither).part(PRESSES, &["shown"]).said(0, "{} shown"),
        /// After which it showed an error.
        failed: u64 = COUNT.trend(Trend::Low).part(PRESSES, &["failed"]).said(1, ", {} failed"),
    }
}

counts! {
    /// Presses by button (HTTPS-08).
    pub struct PressesByButton {
        /// The corporate directory.
        directory: PressEnds,
        /// The login of Extension Mobility.
        extension_mobility: PressEnds,
        /// The login of Extension Mobility across clusters.
        emcc: PressEnds,
    }
}

counts! {
    /// Answers of TVS by command.
    pub struct ByCommand {
        /// Answers to QUERY.
        query: u64 = COUNT.part(LOOKUPS, &["query"]).said(0, " ({} QUERY"),
        /// Answers to VERIFY.
        verify: u64 = COUNT.part(LOOKUPS, &["verify"]).said(1, ", {} VERIFY)"),
    }
}

counts! {
    /// Files by path of acceptance (BOOT-14). Each is a `files_judged_total` of its kind of file.
    pub struct TrustPaths {
        /// No list at all: taken unchecked.
        accepted_first: u64 = SHARED.said_if_any(5, ", {} unchecked, as the first list"),
        /// Blank ITL.
        accepted_blank: u64 = COUNT.said_if_any(6, ", {} unchecked, by a blank ITL"),
        /// Signer in the CTL.
        accepted_by_ctl: u64 = COUNT.said_if_any(1, ", {} by the CTL"),
        /// Signer in the ITL.
        accepted_by_itl: u64 = SHARED.said_if_any(0, ", {} by the ITL"),
        /// Signer in the TVS cache.
        accepted_by_tvs_cache: u64 = COUNT.said_if_any(3, ", {} by the TVS cache"),
        /// TVS vouched for the signer.
        accepted_by_tvs: u64 = SHARED.said_if_any(2, ", {} by TVS"),
        /// No signature, from an HTTPS server that the lists vouch for.
        accepted_by_https: u64 = COUNT.said_if_any(4, ", {} unsigned, by the HTTPS server"),
        /// Refused.
        refused: u64 = SHARED.said(7, " · refused {}"),
    }
}

counts! {
    /// Transfers as the phones saw them.
    pub struct TftpCounts {
        /// Files asked for over TFTP.
        requests: u64 = COUNT.trend(Trend::Neither).counter("tftp_requests_total")
            .said(0, "{} requests"),
        /// Files that arrived over TFTP.
        transfers: u64 = COUNT.trend(Trend::Neither).counter("tftp_transfers_total")
            .said(1, ", {} files"),
        /// Bytes of files that arrived whole.
        bytes: u64 = BYTES.counter("tftp_received_bytes_total").said(2, ", {}"),
        /// Datagrams that phones sent again.
        retransmits: u64 = COUNT.said(5, ", {} sent again"),
        /// Answers that a file is not there.
        not_found: u64 = COUNT.counter("tftp_not_found_total").said(3, ", {} not found"),
        /// Transfers that failed otherwise.
        errors: u64 = COUNT.counter("tftp_errors_total").said(4, ", {} errors"),
        /// Files that the next TFTP server of a phone's list was asked for, over whatever
        /// transport, because the one before it was silent (BOOT-20).
        failovers: u64 = COUNT.trend(Trend::Neither).counter("tftp_failovers_total")
            .said_if_any(6, ", {} failovers"),
        /// Most transfers in flight at once; of several workers the sum, which bounds it.
        in_flight_max: u64 = COUNT.said(7, ", {} in flight at most"),
    }
}

counts! {
    /// Files over HTTP, or over HTTPS, as the phones saw them.
    pub struct HttpCounts {
        /// Files asked for over HTTP.
        requests: u64 = COUNT.counter("http_requests_total").said(0, "{} requests"),
        /// Connections opened for files.
        connections: u64 = COUNT.counter("http_connections_total").said(1, " on {} connections"),
        /// Files that arrived over HTTP.
        transfers: u64 = COUNT.trend(Trend::Neither).counter("http_transfers_total")
            .said(2, ", {} files"),
        /// Bytes of files over HTTP.
        bytes: u64 = BYTES.counter("http_received_bytes_total").said(3, ", {}"),
        /// HTTP answers 404.
        not_found: u64 = COUNT.counter("http_not_found_total").said(4, ", {} not found"),
        /// Files asked for over TFTP after HTTP had failed.
        fallbacks: u64 = COUNT.counter("http_fallbacks_total").said(6, ", {} fell back to TFTP"),
        /// HTTP requests that failed.
        errors: u64 = COUNT.counter("http_errors_total").said(5, ", {} errors"),
    }
}

counts! {
    /// Phones at CAPF, as they saw it.
    pub struct LscCounts {
        /// Phones whose configuration told them to go there, and which went.
        began: u64 = SHARED.trend(Trend::Neither).counter("lsc_enrolments_begun_total")
            .said(0, "{} enrolments"),
        /// Times that CAPF was busy and asked a phone to come again.
        postponed: u64 = COUNT.counter("lsc_postponed_total").said_if_any(9, ", {} asked to come again"),
        /// Pairs of keys that phones made, each from a pool that was made before the run.
        keys: u64 = SHARED.trend(Trend::Neither).counter("lsc_keys_total")
            .said_if_any(10, "; {} pairs of keys from a pool made before, none generated"),
        /// Pairs of keys of a kind that phones do not make here.
        keys_refused: u64 = COUNT.trend(Trend::Low)
            .said_if_any(11, "; {} of a kind that phones do not make here"),
        /// How long phones took to make keys, all together, in milliseconds.
        key_ms: u64 = COUNT,
        /// New LSCs that phones have stored.
        installed: u64 = SHARED.trend(Trend::High).part(ENROLMENTS, &["installed"])
            .said(1, ": {} installed"),
        /// LSCs that phones have deleted.
        deleted: u64 = SHARED.trend(Trend::Neither).part(ENROLMENTS, &["deleted"])
            .said_if_any(2, ", {} deleted"),
        /// LSCs that phones have shown.
        fetched: u64 = SHARED.trend(Trend::Neither).part(ENROLMENTS, &["fetched"])
            .said_if_any(3, ", {} shown"),
        /// Phones that showed "No valid CAPF server".
        no_server: u64 = SHARED.trend(Trend::Low).part(ENROLMENTS, &["no-server"])
            .said_if_any(4, "; {} × \"No valid CAPF server\""),
        /// Phones that showed "LSC: Connection Failed".
        connection_failed: u64 = SHARED.trend(Trend::Low).part(ENROLMENTS, &["connection-failed"])
            .said_if_any(5, "; {} × \"LSC: Connection Failed\""),
        /// Phones that showed "LSC: Failed".
        failed: u64 = SHARED.trend(Trend::Low).part(ENROLMENTS, &["failed"])
            .said_if_any(6, "; {} × \"LSC: Failed\""),
        /// Phones for which CAPF had nothing to do.
        nothing_to_do: u64 = SHARED.trend(Trend::Neither).part(ENROLMENTS, &["nothing-to-do"])
            .said_if_any(7, "; {} with nothing to do"),
        /// Phones that reset themselves, because their LSC has changed (CAPF-16).
        resets: u64 = SHARED.trend(Trend::Neither).counter("lsc_resets_total")
            .said_if_any(8, "; {} reset themselves"),
        /// Of those without a connection: CAPF is another than that of the lists.
        certificate: u64 = COUNT.part(LSC_UNREACHED, &["certificate"]),
        /// Of those without a connection: the name of CAPF has no address (log: `CAPF operation
        /// failed, ret -7`).
        name: u64 = COUNT.part(LSC_UNREACHED, &["name"]),
        /// Of those without a connection: nobody answered, or CAPF hung up.
        connection: u64 = COUNT.part(LSC_UNREACHED, &["connection"]),
        /// Of those without a connection: what CAPF said breaks the rules.
        answer: u64 = COUNT.part(LSC_UNREACHED, &["answer"]),
        /// Of those without a connection: CAPF was busy too often.
        busy: u64 = COUNT.part(LSC_UNREACHED, &["busy"]),
    }
}

numbers! {
    /// CAPF and its database, if the cluster is ours: the rollout as its administrator sees it.
    pub struct CapfNumbers {
        /// Phones whose operation is pending ("Operation Pending").
        pending: u64 = SHARED.trend(Trend::Low).part(LSC_PHONES, &["pending"])
            .said(0, "{} pending"),
        /// Phones whose operation was carried out.
        done: u64 = SHARED.trend(Trend::High).part(LSC_PHONES, &["done"]).said(1, ", {} done"),
        /// Phones whose operation has failed.
        failed: u64 = SHARED.trend(Trend::Low).part(LSC_PHONES, &["failed"]).said(2, ", {} failed"),
        /// LSCs in the database.
        installed: u64 = SHARED.trend(Trend::High)
            .part(Family::gauge("lsc_installed", &[], "LSCs in the database."), &[])
            .said(3, "; {} LSCs"),
        /// LSCs that another certificate of CAPF has issued than the present one (CAPF-09).
        stale: u64 = SHARED.trend(Trend::Low)
            .part(Family::gauge("lsc_stale", &[], "LSCs of an earlier CAPF certificate."), &[])
            .said(4, ", {} of them stale"),
        /// LSCs whose time is over (EXP-07).
        expired: u64 = SHARED.trend(Trend::Low)
            .part(Family::gauge("lsc_expired", &[], "LSCs whose time is over."), &[])
            .said_if_any(5, ", {} of them expired"),
        /// Sessions that were opened.
        sessions: u64 = COUNT.counter("capf_sessions_opened_total"),
        /// Phones that found no place and were asked to come again.
        postponed: u64 = COUNT.counter("capf_postponed_total"),
        /// Messages that broke the rules.
        malformed: u64 = COUNT.counter("capf_malformed_total")
            .said_if_any(6, "; {} malformed messages"),
        /// Certificates that were issued, stored by the phone or not.
        issued: u64 = COUNT.counter("capf_certificates_issued_total"),
        /// Open sessions that wait for the phone to say who it is.
        in_authentication: u64 = COUNT.part(CAPF_SESSIONS, &["authentication"]),
        /// Open sessions that wait for a key.
        in_key: u64 = COUNT.part(CAPF_SESSIONS, &["key"]),
        /// Open sessions that wait for the phone to store its certificate.
        in_store: u64 = COUNT.part(CAPF_SESSIONS, &["store"]),
        /// Open sessions that wait for the phone to show its LSC or to delete it.
        in_other: u64 = COUNT.part(CAPF_SESSIONS, &["fetch-or-delete"]),
        /// Phones that have found no place since CAPF asked them to come again.
        waiting: u64 = COUNT
            .part(Family::gauge("capf_waiting_phones", &[], "Phones that wait for a place."), &[]),
        /// Seconds that a phone took for its key as CAPF saw it, the mean.
        key_mean_s: Option<f64> = SECONDS
            .part(Family::gauge("capf_key_seconds", &[], "Mean time of phones for a key."), &[]),
        /// Seconds that CAPF took to sign a certificate, waits for a core included, the mean.
        sign_mean_s: Option<f64> = SECONDS
            .part(Family::gauge("capf_sign_seconds", &[], "Mean time to sign an LSC."), &[]),
        /// Whether CAPF answers nobody although phones come (DEF-07): 1 or 0.
        stalled: u64 = SHARED.trend(Trend::Low)
            .part(Family::gauge("capf_stalled", &[], "Whether CAPF answers nobody."), &[])
            .said_if_any(7, "; CAPF answers nobody: {} service to restart"),
        /// Seconds from the first operation until the last success.
        took_s: Option<f64> = SECONDS.pair(Pair::Shown).said_if_any(8, "; took {}"),
        /// Seconds that are left by the pace so far.
        left_s: Option<f64> = SECONDS.part(FORECAST, &["likely"]),
        /// Seconds that are left if the pace is good.
        left_low_s: Option<f64> = SECONDS.part(FORECAST, &["low"]),
        /// Seconds that are left if the pace is bad.
        left_high_s: Option<f64> = SECONDS.part(FORECAST, &["high"]),
        /// Seconds of the whole rollout as they were forecast ten minutes after its begin.
        forecast_early_s: Option<f64> = SECONDS,
        /// Phones by the text of their Certificate Operation Status.
        statuses: BTreeMap<String, u64>,
    }
}

numbers! {
    /// Signatures; in a summary those of the cluster since the storm's first reset.
    #[derive(Copy)]
    pub struct Signatures {
        /// Signatures that the cluster made.
        made: u64 = SHARED.trend(Trend::Neither).counter("signatures_made_total")
            .said(0, "{} made"),
        /// Made by the cluster before that: prewarming, lists of before.
        made_before: u64 = COUNT.said(1, " ({} before the first reset)"),
        /// Signatures that phones verified.
        verified: u64 = COUNT.counter("signatures_verified_total").said(4, " · phones verified {}"),
        /// Requests answered by a signature that was made for another.
        cache_hits: u64 = COUNT.part(SIGN_CACHE, &["hit"]).said(2, ", cache {} hits"),
        /// Requests that caused a signature.
        cache_misses: u64 = COUNT.part(SIGN_CACHE, &["miss"]).said(3, ", {} misses"),
        /// CPU seconds of one, the mean over the whole run; `null` where it cannot be measured.
        mean_cpu_s: Option<f64>,
        /// CPU seconds that the hits of the cache have saved the servers: hits times the mean.
        saved_cpu_s: Option<f64>,
    }
}

numbers! {
    /// Seconds from the storm's first reset, over the whole fleet; `null` when not reached.
    #[derive(Copy)]
    pub struct FleetReady {
        /// Half of the fleet.
        p50: Option<f64> = JUDGED_TIME.said(0, "50 % {}"),
        /// 90 % of the fleet.
        p90: Option<f64> = JUDGED_TIME.said(1, " · 90 % {}"),
        /// 99 % of the fleet.
        p99: Option<f64> = JUDGED_TIME.said(2, " · 99 % {}"),
        /// The whole fleet.
        last: Option<f64> = SHOWN_TIME.said(3, " · last {}"),
    }
}

numbers! {
    /// The cluster at the end, if it is ours.
    #[derive(Copy)]
    pub struct ClusterCounts {
        /// Services that must be restarted before their nodes do what the database says (REG-10).
        restarts_due: u64 = SHARED.trend(Trend::Low),
        /// Actions of the operator that the cluster took and failed to carry out.
        failed_actions: u64 = SHARED.trend(Trend::Low),
        /// Certificates of nodes whose time is over (EXP-01).
        expired_certificates: u64 = SHARED.trend(Trend::Low),
        /// Warnings of the Certificate Monitor (EXP-02).
        expiry_alarms: u64 = SHARED.trend(Trend::Low),
        /// Probes that did not work at the end (CERT-18).
        probes_failed: u64 = SHARED.trend(Trend::Low),
        /// How often a probe was found not to work that had worked, or at the start.
        probe_outages: u64 = SHARED.trend(Trend::Low).counter("probe_outages_total"),
    }
}

numbers! {
    /// Percentiles in seconds; `null` with fewer than 10/(1-p) samples.
    #[derive(Copy)]
    pub struct PercentilesS {
        /// Median.
        p50: Option<f64> = SHOWN_TIME.said(0, "p50 {}"),
        /// 90th percentile.
        p90: Option<f64> = SECONDS.pair(Pair::Shown).said(1, " · p90 {}"),
        /// 99th percentile.
        p99: Option<f64> = SHOWN_TIME.said(2, " · p99 {}"),
        /// Longest.
        max: Option<f64> = SECONDS.said(3, " · max {}"),
    }
}

numbers! {
    /// CPU seconds by side since the storm's first reset; `null` where they cannot be told apart.
    #[derive(Copy)]
    pub struct CpuSeconds {
        /// The phones.
        swarm: Option<f64> = SECONDS.pair(Pair::Shown).part(CPU, &["swarm"]).said(0, "phones {}"),
        /// The servers.
        serve: Option<f64> = JUDGED_TIME.part(CPU, &["serve"]).said(1, " · servers {}"),
    }
}

numbers! {
    /// What a machine was worth during a run: two runs on one machine are alike only if this is.
    #[derive(Copy)]
    pub struct MachineSummary {
        /// CPU seconds of an RSA-2048 signature made beside the run; in virtual time at this load.
        yardstick_s: Option<f64> = SECONDS.pair(Pair::Shown),
        /// Share of its CPU time, 0 to 1, that other programs and guests of the host left.
        available: Option<f64> = RATIO.pair(Pair::Shown),
    }
}

numbers! {
    /// What our servers counted over the whole run.
    #[derive(Copy)]
    pub struct ServeSummary {
        /// Read requests.
        tftp_requests: u64 = COUNT.part(SERVER_REQUESTS, &["tftp"]).said(0, "TFTP {} requests"),
        /// Blocks and other datagrams sent.
        tftp_datagrams_out: u64 = COUNT.said(1, ", {} datagrams out"),
        /// Datagrams sent again.
        tftp_retransmits: u64 = COUNT.said(2, ", {} sent again"),
        /// HTTP requests.
        http_requests: u64 = COUNT.part(SERVER_REQUESTS, &["http"]).said(3, " · HTTP {} requests"),
        /// HTTP connections.
        http_connections: u64 = COUNT,
        /// HTTPS requests.
        https_requests: u64 = COUNT.part(SERVER_REQUESTS, &["https"])
            .said(4, " · HTTPS {} requests"),
        /// TLS handshakes of HTTPS that were completed.
        https_handshakes_ok: u64 = COUNT.part(HANDSHAKES, &["https", "ok"])
            .said(5, ", {} handshakes"),
        /// TLS handshakes of HTTPS that failed.
        https_handshakes_failed: u64 = COUNT.part(HANDSHAKES, &["https", "failed"])
            .said(6, ", {} failed"),
        /// Requests for pages of services, over HTTP and HTTPS.
        page_requests: u64 = COUNT.part(SERVER_REQUESTS, &["tomcat"])
            .said_if_any(10, " · Tomcat {} requests"),
        /// TLS handshakes of Tomcat that were completed.
        page_handshakes_ok: u64 = COUNT.part(HANDSHAKES, &["tomcat", "ok"])
            .said_if_any(11, ", {} handshakes"),
        /// TLS handshakes of Tomcat that failed: those of phones that had to ask TVS first among them.
        page_handshakes_failed: u64 = COUNT.part(HANDSHAKES, &["tomcat", "failed"])
            .said_if_any(12, ", {} failed"),
        /// TLS handshakes that were completed.
        tvs_handshakes_ok: u64 = COUNT.part(HANDSHAKES, &["tvs", "ok"])
            .said(7, " · TVS {} handshakes"),
        /// TLS handshakes that failed, those that a phone refused among them.
        tvs_handshakes_failed: u64 = COUNT.part(HANDSHAKES, &["tvs", "failed"])
            .said(8, ", {} failed"),
        /// Questions answered.
        tvs_answers: u64 = COUNT.part(SERVER_REQUESTS, &["tvs"]).said(9, ", {} answers"),
    }
}

counts! {
    /// Everything that is heard of phones and counted, since the storm's first reset.
    pub struct Counts {
        /// What phones did.
        phones: PhoneCounts,
        /// Configurations.
        config: ConfigCounts,
        /// Firmware loads.
        firmware: FirmwareCounts,
        /// Phones at CAPF.
        lsc: LscCounts,
        /// Registrations at the CallManager services.
        registration: RegistrationCounts,
        /// Questions to TVS.
        tvs: TvsCounts,
        /// CTLs by path of acceptance.
        ctls: TrustPaths,
        /// ITLs by path of acceptance.
        itls: TrustPaths,
        /// Configurations by path of acceptance.
        configs: TrustPaths,
        /// Files of the network locale by path of acceptance.
        locales: TrustPaths,
        /// Ring lists by path of acceptance.
        ring_lists: TrustPaths,
        /// Files over TFTP.
        tftp: TftpCounts,
        /// Files over HTTP.
        http: HttpCounts,
        /// Files over HTTPS.
        https: HttpCounts,
        /// Signatures that phones verified.
        verified: u64,
        /// Presses of buttons.
        presses: PressCounts,
        /// The same by button.
        buttons: PressesByButton,
        /// Inputs that a phone did not wait for.
        unexpected: u64,
    }
}

/// A number of a run.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Path of its section in `summary.json`.
    pub section: &'static str,
    /// Labels of its section.
    pub labels: &'static [Label],
    /// What is said about it.
    pub row: Row,
    /// What it is, if it is anything.
    pub value: Option<f64>,
}

/// Numbers that comparisons of runs leave out, though the same row of another section is in.
const NOT_COMPARED: [&str; 2] = ["https.transfers", "trust.configs.accepted_first"];

impl Metric {
    /// How it is taken when two runs of one scenario are compared, if it is.
    pub fn pair(&self) -> Option<Pair> {
        self.row.pair.filter(|_| self.is_compared())
    }

    /// What a change of it from one run to the next means, if they are compared by it.
    pub fn trend(&self) -> Option<Trend> {
        self.row.trend.filter(|_| self.is_compared())
    }

    fn is_compared(&self) -> bool {
        !NOT_COMPARED.contains(&self.path().as_str())
    }

    /// Its path in `summary.json`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.row.key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::summary::{Summary, known_paths};
    use super::*;

    #[test]
    fn what_runs_are_compared_by_is_in_the_summary() {
        let (metrics, known) = (Summary::default().metrics(), known_paths());
        let compared = metrics.iter().filter(|one| one.pair().is_some() || one.trend().is_some());
        let paths: Vec<String> = compared.map(Metric::path).collect();
        assert!(paths.len() > 30, "{paths:?}");
        for path in paths.iter().map(String::as_str).chain(NOT_COMPARED) {
            assert!(known.iter().any(|known| known == path), "{path} in {known:?}");
        }
    }

    #[test]
    fn a_family_has_one_row_or_a_help_of_its_own_and_no_sample_twice() {
        let mut samples: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut exposed = Vec::new();
        for Metric { labels, row, .. } in Summary::default().metrics() {
            let Some((family, values)) = row.exposed else { continue };
            assert_eq!(family.labels.len(), values.len(), "{}", family.name);
            let of_section = labels.iter().map(|(_, value)| *value);
            let sample = (family.name, of_section.chain(values.iter().copied()).collect());
            assert!(!samples.contains(&sample), "{sample:?} twice");
            samples.push(sample);
            exposed.push((family, row.key));
        }
        for (family, key) in &exposed {
            let alike = exposed.iter().filter(|(other, _)| other.name == family.name);
            let same_row = alike.clone().all(|(_, other)| other == key);
            assert!(family.help.is_some() || same_row, "{} has no help", family.name);
        }
    }
}
