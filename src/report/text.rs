use std::collections::BTreeMap;
use std::ops::RangeBounds;

use crate::base::lines::{COLUMNS, paragraph};
use crate::base::words::{aligned, aligned_left, bytes, count, seconds};
use crate::base::{ExitCode, Time, wrapped};
use crate::measure::{
    COVERS, CapfNumbers, ConfigCounts, FirmwareCounts, ItlChecksum, Ledger, LscCounts,
    MachineSummary, NodeRegistrations, PercentilesS, Phones, PressEnds, ProbeSummary,
    RegistrationCounts, Section, ServeSummary, Signatures, SimSummary, StepKind, StepSummary,
    Summary, TrustPaths, TvsCounts, Unit, Verdict,
};
use crate::scenario::{Slo, SloResult, SloVerdict};

use super::guesses::guess_table;

/// The exit code of a run that came to its end, by its verdict: 0 pass, 1 fail, 3 inconclusive,
/// 130 interrupted.
pub const fn exit_code(summary: &Summary) -> ExitCode {
    match summary.verdict {
        Verdict::Pass => ExitCode::Ok,
        Verdict::Fail => ExitCode::Failed,
        Verdict::Inconclusive => ExitCode::Inconclusive,
        Verdict::Interrupted => ExitCode::Interrupted,
    }
}

/// The summary for people, of a program that ends with `code`. Every number in it is a number of
/// the summary; one that does not exist is `-`.
pub fn text(summary: &Summary, code: ExitCode) -> String {
    let mut out = String::new();
    for (label, value) in lines(summary) {
        paragraph(&mut out, label, &value);
    }
    out.push('\n');
    out.push_str(&steps(&summary.steps));
    if let Some(sim) = &summary.sim {
        out.push_str(&guess_table(summary, &sim.guesses));
    }
    out.push_str(&slos(summary));
    out.push('\n');
    out.push_str(&verdict(summary, code));
    for note in &summary.notes {
        paragraph(&mut out, "note", note);
    }
    out
}

fn lines(summary: &Summary) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("covers", summary.covers.clone()),
        ("phones", phones(&summary.phones)),
        (
            "alarms",
            [
                said(&summary.phones, 5..9),
                said(&summary.phones.counts, ..),
                said(&summary.phones, 9..12),
            ]
            .concat(),
        ),
        ("fleet ready", said(&summary.fleet_ready_s, ..) + "   (from the first reset)"),
        ("boot time", said(&summary.boot_time_s, ..) + "   (from the planned start)"),
        ("lists", trust(&summary.trust.lists)),
        ("configs", trust(&summary.trust.configs) + &unreadable(&summary.config)),
    ];
    let further = [("locales", &summary.trust.locales), ("ring lists", &summary.trust.ring_lists)];
    let judged = |paths: &TrustPaths| *paths != TrustPaths::default();
    let further = further.into_iter().filter(|(_, paths)| judged(paths));
    lines.extend(further.map(|(label, paths)| (label, trust(paths))));
    lines.extend(summary.itls.iter().map(|itl| ("ITL", checksum(itl))));
    lines.extend(stranded(summary));
    let firmware = &summary.firmware;
    if *firmware != FirmwareCounts::default() {
        lines.push(("firmware", said(firmware, ..)));
    }
    lines.extend(lsc(summary));
    let presses = &summary.presses;
    if presses.counts.total > 0 {
        lines.push(("presses", said(&presses.counts, ..)));
        let node =
            |(name, ends): (&String, &PressEnds)| ("", format!("{name}: {}", said(ends, ..)));
        lines.extend(presses.by_node.iter().map(node));
    }
    lines.extend(registered(summary));
    lines.extend([
        ("TVS", tvs(&summary.tvs)),
        ("TFTP", said(&summary.tftp, ..)),
        ("HTTP", said(&summary.http, ..)),
    ]);
    if summary.https.requests > 0 {
        lines.push(("HTTPS", said(&summary.https, ..)));
    }
    lines.push(("signatures", signatures(&summary.signatures)));
    let label = |at: usize| if at == 0 { "probes" } else { "" };
    let probes = summary.probes.iter().enumerate();
    lines.extend(probes.map(|(at, probe)| (label(at), self::probe(probe))));
    if !summary.services.is_empty() {
        lines.push(("services", summary.services.join("; ")));
    }
    let label = |at: usize| if at == 0 { "faults" } else { "" };
    let faults = summary.faults.iter().enumerate();
    lines.extend(faults.map(|(at, fault)| (label(at), fault.to_string())));
    if serves(&summary.serve) {
        lines.push(("servers", servers(&summary.serve)));
    }
    lines.push(("cpu", said(&summary.cpu_s, ..)));
    if summary.machine.available.is_some_and(|share| share < 1.0 - MACHINE_TAKEN) {
        lines.push(("machine", machine(&summary.machine)));
    }
    match &summary.sim {
        None => lines.extend(generator(summary)),
        Some(sim) => lines.extend(simulation(sim)),
    }
    lines
}

/// Who is registered where and how fast, where phones register.
fn registered(summary: &Summary) -> Vec<(&'static str, String)> {
    let registration = &summary.registration;
    if registration.counts == RegistrationCounts::default() && !not_registered(summary) {
        return Vec::new();
    }
    let mut lines =
        vec![("registered", said(&summary.phones, 12..)), ("", said(&registration.counts, ..))];
    let node = |(name, counts): (&String, &NodeRegistrations)| {
        ("", format!("{name}: {}", said(counts, ..)))
    };
    lines.extend(registration.by_node.iter().map(node));
    let times = said(&summary.fleet_registered_s, ..);
    lines.push(("", times + "   (registered, from the first reset)"));
    let lengths = [
        (&summary.registration_time_s, "registered, from the planned reset"),
        (&summary.failover_time_s, "failed over, from the loss of the node"),
        (&summary.fallback_time_s, "fell back, from when the node was there again"),
    ];
    let known = lengths.iter().filter(|(times, _)| **times != PercentilesS::default());
    lines.extend(known.map(|(times, what)| ("", format!("{}   ({what})", said(*times, ..)))));
    lines
}

/// Whether something that certificates decide worked at the end, and if not, why and since when.
fn probe(probe: &ProbeSummary) -> String {
    let since = probe.course.last().map(|change| change.at_s);
    let times = match probe.outages {
        0 => String::new(),
        1 => format!("; had failed once, for {}", seconds(Some(probe.failed_s))),
        many => format!("; had failed {many} times, for {}", seconds(Some(probe.failed_s))),
    };
    match &probe.cause {
        None => format!("{} works{times}", probe.probe),
        Some(cause) => format!("{} FAILS since {}: {cause}", probe.probe, seconds(since)),
    }
}

/// The LSCs of phones, where anybody asked for any.
fn lsc(summary: &Summary) -> Vec<(&'static str, String)> {
    let (phones, capf) = (&summary.lsc, &summary.capf);
    let mut lines = Vec::new();
    if *phones != LscCounts::default() {
        lines.push(("LSC", said(phones, ..)));
    }
    if *capf != CapfNumbers::default() {
        let status = |(text, phones): (&String, &u64)| format!("{} {text}", count(*phones));
        let statuses: Vec<String> = capf.statuses.iter().map(status).collect();
        let statuses = Some(statuses.join(", ")).filter(|all| !all.is_empty());
        let statuses = statuses.map(|all| format!(" ({all})")).unwrap_or_default();
        lines.push(("CAPF", said(capf, ..) + &statuses));
    }
    if let Some(early) = capf.forecast_early_s {
        let early = seconds(Some(early));
        lines.push(("", format!("forecast after ten minutes: {early} in all")));
    }
    lines
}

/// Reasons that the text tells in full (choice); the rest is in `summary.json`.
const REASONS_SHOWN: usize = 4;

/// Who is stranded, why and what helps.
fn stranded(summary: &Summary) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for stranded in summary.stranded.iter().take(REASONS_SHOWN) {
        let label = if lines.is_empty() { "stranded" } else { "" };
        let who = format!("{} {}: {}", count(stranded.phones), stranded.outcome, stranded.cause);
        lines.push((label, who));
        let parts = [
            ("group", &stranded.by_group),
            ("site", &stranded.by_site),
            ("model", &stranded.by_model),
            ("TFTP", &stranded.by_tftp),
        ];
        let part = |(name, counts): &(&str, &BTreeMap<String, u64>)| {
            let of = |(key, phones): (&String, &u64)| format!("{key} {}", count(*phones));
            format!("{name} {}", counts.iter().map(of).collect::<Vec<_>>().join(", "))
        };
        let known = parts.iter().filter(|(_, counts)| !counts.is_empty());
        lines.push(("", known.map(part).collect::<Vec<_>>().join(BETWEEN)));
        for (at, remedy) in stranded.remedies.iter().enumerate() {
            lines.push((if at == 0 { "  remedy" } else { "  or" }, remedy.what.clone()));
            if !remedy.steps.is_empty() {
                let steps = remedy.steps.replace("[[event]]", "").trim().replace('\n', " · ");
                lines.push(("  rehearse", steps.replace(" ·  · ", " · then ")));
            }
        }
    }
    if let Some(more @ 1..) = summary.stranded.len().checked_sub(REASONS_SHOWN) {
        lines.push(("", format!("and {more} more reasons: summary.json, phones.csv")));
    }
    lines
}

/// What every result covers, as the first lines of a text.
pub fn covers_text() -> String {
    let mut out = String::new();
    paragraph(&mut out, "covers", COVERS);
    out
}

fn simulation(sim: &SimSummary) -> Vec<(&'static str, String)> {
    let whole = |value: Option<f64>| value.map_or("-".to_owned(), |value| count(value as u64));
    let registered = &sim.registered_s;
    let mut lines = Vec::new();
    if registered.p50.is_some() {
        let [p50, p99, last] = [registered.p50, registered.p99, registered.last].map(seconds);
        let shares = format!("50 % {p50} · 99 % {p99} · last {last}   (from the first reset)");
        lines.push(("registered", shares));
    }
    lines.push((
        "virtual time",
        format!(
            "{} s, {} events ({} a second here), {} bytes a phone",
            sim.virtual_s.round(),
            count(sim.events),
            whole(sim.events_per_s),
            whole(sim.bytes_per_phone)
        ),
    ));
    lines.push(("digest", format!("{} · {} draws", sim.digest, count(sim.draws))));
    lines
}

fn phones(phones: &Phones) -> String {
    let reasons: Vec<String> =
        phones.failures.iter().map(|(why, &n)| format!("{} {why}", count(n))).collect();
    let reasons =
        if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    format!("{}{reasons}{}", said(phones, 0..4), said(phones, 4..5))
}

fn unreadable(config: &ConfigCounts) -> String {
    match config.unreadable {
        0 => String::new(),
        unreadable => format!(" · encrypted for another key {}", count(unreadable)),
    }
}

/// Who holds and who serves an ITL.
fn checksum(itl: &ItlChecksum) -> String {
    let name = itl.checksum.as_deref().unwrap_or("none");
    let served = match itl.served_by.join(", ") {
        nodes if nodes.is_empty() => "served by nobody".to_owned(),
        nodes => format!("served by {nodes}"),
    };
    let served = if itl.checksum.is_some() { format!(", {served}") } else { String::new() };
    format!("{name}: held by {} phones{served}", count(itl.phones))
}

/// Accepted by which path; paths that nobody took are left out, refusals never are.
fn trust(paths: &TrustPaths) -> String {
    let taken = said(paths, 0..7);
    let taken = taken.strip_prefix(", ").unwrap_or("0");
    format!("accepted {taken}{}", said(paths, 7..))
}

fn tvs(tvs: &TvsCounts) -> String {
    [said(tvs, 0..1), said(&tvs.by_command, ..), said(tvs, 1..)].concat()
}

fn signatures(signatures: &Signatures) -> String {
    let saved = match (signatures.saved_cpu_s, signatures.mean_cpu_s) {
        (Some(saved), Some(mean)) if signatures.cache_hits > 0 => {
            format!(" (saved the servers {} at {} each)", seconds(Some(saved)), seconds(Some(mean)))
        }
        _ => String::new(),
    };
    format!("{}{saved}{}", said(signatures, 0..3), said(signatures, 3..))
}

/// Whether servers of ours have counted anything.
fn serves(serve: &ServeSummary) -> bool {
    serve.numbers().iter().any(|(_, value)| value.is_some_and(|count| count > 0.0))
}

fn servers(serve: &ServeSummary) -> String {
    let (https, all) = (serve.https_handshakes_ok + serve.https_handshakes_failed, said(serve, ..));
    let is_there = |service: &&str| https > 0 || !service.starts_with("HTTPS");
    all.split(BETWEEN).filter(is_there).collect::<Vec<_>>().join(BETWEEN)
}

/// What stands between parts of a line.
const BETWEEN: &str = " · ";

/// The numbers of a section in words, those with these places of its sentence.
fn said(section: &impl Section, places: impl RangeBounds<u8>) -> String {
    let mut words: Vec<(u8, String)> = Vec::new();
    for (row, value) in section.numbers() {
        let Some(said) = row.said.filter(|said| places.contains(&said.place)) else { continue };
        if !said.if_any || value.is_some_and(|count| count > 0.0) {
            words.push((said.place, said.words.replace("{}", &number(value, row.unit))));
        }
    }
    words.sort_by_key(|(place, _)| *place);
    words.into_iter().map(|(_, words)| words).collect()
}

/// Share of a machine that others may take before a reader must know.
const MACHINE_TAKEN: f64 = 0.05;

/// How much of the machine others left: times of another day will differ.
fn machine(machine: &MachineSummary) -> String {
    let percent = machine.available.unwrap_or(1.0) * 100.0;
    format!("{percent:.0} % of it was left by other programs: times are longer than on a quiet one")
}

/// Whether some phone was to register and could not even ask.
fn not_registered(summary: &Summary) -> bool {
    summary.phones.unregistered_no_config > 0
}

/// Whether this program kept its schedule; if not, why, a line for each reason.
fn generator(summary: &Summary) -> Vec<(&'static str, String)> {
    let generator = &summary.generator;
    let lag = format!("{}: lag p99 {}", generator.verdict, seconds(generator.lag_p99_s));
    let reasons = generator.reasons.iter().map(|reason| ("", reason.clone()));
    std::iter::once(("generator", lag)).chain(reasons).collect()
}

/// Two tables: how often each step ended and how, and how long it took.
fn steps(steps: &[StepSummary]) -> String {
    let further: Vec<&str> =
        StepKind::ALL.iter().filter(|step| step.is_further()).map(|step| step.name()).collect();
    let is_shown = |step: &&StepSummary| step.count > 0 || !further.contains(&step.step.as_str());
    let steps: Vec<&StepSummary> = steps.iter().filter(is_shown).collect();
    let head = ["step", "ended", "ok", "not found", "stuck", "failed", "again"];
    let mut counts = vec![head.map(str::to_owned).to_vec()];
    counts.extend(steps.iter().map(|step| ends(step)));
    let head = ["step", "p50", "p99", "p50", "p99", "max"];
    let mut times = vec![head.map(str::to_owned).to_vec()];
    times.extend(steps.iter().map(|step| step_times(step)));
    format!("{}\n{}\n{}", aligned(&counts), TIMES_HEAD, aligned(&times))
}

/// What the columns of times count from.
const TIMES_HEAD: &str = "times of a step: p50 and p99 from its actual start (service), then p50, \
                          p99\nand max from its planned start (response)";

fn ends(step: &StepSummary) -> Vec<String> {
    let some = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), count);
    vec![
        step.step.clone(),
        count(step.count),
        count(step.ok),
        some(step.not_found),
        some(step.stuck),
        count(step.failed),
        count(step.retry),
    ]
}

fn step_times(step: &StepSummary) -> Vec<String> {
    let (service, response) = (&step.service_time_s, &step.response_time_s);
    let times = [service.p50, service.p99, response.p50, response.p99, response.max].map(seconds);
    [vec![step.step.clone()], times.to_vec()].concat()
}

fn slos(summary: &Summary) -> String {
    if summary.slos.is_empty() {
        return String::new();
    }
    let row = |slo: &SloResult| {
        let is_broken = slo.verdict == SloVerdict::Fail;
        let word = if is_broken { "FAIL" } else { slo.verdict.name() };
        let unit = unit(&slo.expr);
        let observed = number(slo.observed, unit);
        let bound = match slo.bound.filter(|_| is_broken) {
            Some(bound) => format!("against {}", number(Some(bound), unit)),
            None => String::new(),
        };
        vec![format!("  {word}"), slo.expr.clone(), observed, bound]
    };
    let table: Vec<Vec<String>> = summary.slos.iter().map(row).collect();
    format!("\nSLO\n{}", fitted(&table))
}

/// A table with every column to the left; one that is too wide has a paragraph for each row.
pub(super) fn fitted(table: &[Vec<String>]) -> String {
    let whole = aligned_left(table);
    if whole.lines().all(|line| line.chars().count() <= COLUMNS) {
        return whole;
    }
    let row = |row: &Vec<String>| {
        let cells: Vec<&str> =
            row.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
        let indent = row[0].chars().take_while(|c| *c == ' ').count();
        let text = cells.join("  ");
        let lines = wrapped(text.trim_start(), COLUMNS - indent - 2);
        let line = |(at, line): (usize, &String)| {
            let blanks = if at == 0 { indent } else { indent + 2 };
            format!("{:blanks$}{line}\n", "")
        };
        lines.iter().enumerate().map(line).collect::<String>()
    };
    table.iter().map(row).collect()
}

fn verdict(summary: &Summary, code: ExitCode) -> String {
    let of = |wanted| summary.slos.iter().filter(|slo| slo.verdict == wanted).count();
    let unjudged = of(SloVerdict::NoData) + of(SloVerdict::Inconclusive);
    let all = summary.slos.len();
    let why = match summary.verdict {
        Verdict::Inconclusive if summary.cut_by == Some("events") => {
            "the bound on events was reached: the world has not come to rest".to_owned()
        }
        Verdict::Inconclusive if unjudged == 0 => {
            let but = match summary.cut_by {
                Some(by) => format!("the run was cut by {by}"),
                None => "this host lacked what the run asks for: see generator".to_owned(),
            };
            format!("{all} of {all} SLOs held, but {but}")
        }
        Verdict::Pass if all == 0 => "no SLO to break".to_owned(),
        Verdict::Pass => format!("{all} of {all} SLOs held"),
        Verdict::Fail => {
            let cut = summary.cut_by.map(|by| format!(", the run was cut by {by}"));
            let unjudged = match unjudged {
                0 => String::new(),
                n => format!(", {n} could not be judged"),
            };
            format!(
                "{} of {all} SLOs broken{unjudged}{}",
                of(SloVerdict::Fail),
                cut.unwrap_or_default()
            )
        }
        Verdict::Inconclusive => format!("{unjudged} of {all} SLOs could not be judged"),
        Verdict::Interrupted if summary.cut_by.is_none() => {
            format!("{all} SLOs, all phones had settled")
        }
        Verdict::Interrupted => format!("{all} SLOs, not all phones had settled"),
    };
    let word = summary.verdict.name().to_uppercase();
    format!("verdict: {word} ({why}) · exit {}\n", code.number())
}

/// The unit of an SLO's numbers by the path on its left: segments of times end in `_s` or are
/// written without it (`boot_time.p99`), ratios end in `_ratio`.
fn unit(expr: &str) -> Unit {
    const TIMES: [&str; 6] =
        ["fleet_ready", "boot_time", "service_time", "response_time", "lag_p99", "cpu"];
    let Ok(slo) = expr.parse::<Slo>() else { return Unit::Count };
    let is_time = |segment: &str| segment.ends_with("_s") || TIMES.contains(&segment);
    if slo.left.split('.').any(is_time) {
        Unit::Seconds
    } else if slo.left.ends_with("_ratio") {
        Unit::Ratio
    } else {
        Unit::Count
    }
}

fn number(value: Option<f64>, unit: Unit) -> String {
    match (value, unit) {
        (None, _) => "-".to_owned(),
        (value, Unit::Seconds) => seconds(value),
        (Some(ratio), Unit::Ratio) => format!("{:.2} %", ratio * 100.0),
        (Some(value), Unit::Bytes) => bytes(value as u64),
        (Some(value), Unit::Count) if value >= 0.0 && value.fract() == 0.0 => count(value as u64),
        (Some(value), Unit::Count) => format!("{value:.3}"),
    }
}

/// Writes the lines that show progress where nothing can be redrawn.
#[derive(Clone, Debug, Default)]
pub struct LiveLine {
    last: Seen,
}

/// What the line before has shown.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    at: Time,
    requests: u64,
    lookups: u64,
}

impl LiveLine {
    /// Two lines about `ledger` at `now`, with the rates since those before (since the start of
    /// the run for the first ones):
    /// `t=31s phones=1604/2000 inflight=338 ok=1598 stuck=0 failed=6 …`. `phones` are those that
    /// have settled, `inflight` those that boot.
    pub fn lines(&mut self, ledger: &Ledger, now: Time) -> [String; 2] {
        let Phones { total, ready, stuck, failed, booting, .. } = ledger.tallies();
        let counts = ledger.counts();
        let retry = counts.tftp.retransmits + counts.tvs.failovers;
        let files = counts.tftp.requests + counts.http.requests + counts.https.requests;
        let seen = Seen { at: now, requests: files, lookups: counts.tvs.lookups };
        let last = std::mem::replace(&mut self.last, seen);
        let per_second = |new: u64, old: u64| {
            let elapsed = now.since(last.at).as_secs_f64();
            // The counts begin anew with the storm.
            let grown = if new < old { new } else { new - old };
            if elapsed > 0.0 { (grown as f64 / elapsed).round() } else { 0.0 }
        };
        let lag = ledger.lag().at_s(0.99);
        let lag = lag.map_or_else(|| "-".to_owned(), |s| format!("{:.1}", s * 1e3));
        let settled = ready + stuck + failed;
        [
            format!(
                "t={:.0}s phones={settled}/{total} inflight={booting} ok={ready} stuck={stuck} \
                 failed={failed}",
                now.as_secs_f64().floor(),
            ),
            format!(
                "retry={retry} requests_per_s={} lookups_per_s={} lag_p99_ms={lag}",
                per_second(seen.requests, last.requests),
                per_second(seen.lookups, last.lookups),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PhoneId, Span};
    use crate::measure::{Finish, Incident, Listen, Notice, RunFacts, Slice, StepKind};
    use crate::phone::{Fact, Failure, Outcome, Transport};
    use crate::wire::tvs::Command;

    fn settle(ledger: &mut Ledger, phone: u32, now: Time, outcome: Outcome) {
        ledger.hear(PhoneId(phone), now, &Incident::Phone(Fact::Settled { outcome }));
    }

    /// The same happens to the first phone so many times.
    fn again_and_again(ledger: &mut Ledger, times: u32, incident: Incident<'_>) {
        (0..times).for_each(|_| ledger.hear(PhoneId(0), Time::ZERO, &incident));
    }

    const ASKED: Incident<'_> = Incident::Asked(Transport::Tftp);
    const SENT_AGAIN: Incident<'_> = Incident::SentAgain(StepKind::Itl);

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(Slice::whole(2_000));
        let at = |ms| Time::ZERO + Span::from_millis(ms);
        for phone in 0..1_998 {
            settle(&mut ledger, phone, at(u64::from(phone) + 1), Outcome::Ready);
        }
        settle(&mut ledger, 1_998, at(9), Outcome::Stuck);
        settle(&mut ledger, 1_999, at(9), Outcome::Failed(Failure::TvsUnreachable));
        let answered = Fact::TvsAnswered { command: Command::QueryResponse, is_found: true };
        ledger.hear(PhoneId(0), at(9), &Incident::Phone(answered));
        ledger
    }

    fn summary(slos: &[&str], finish: Finish) -> Summary {
        let slos: Vec<Slo> = slos.iter().map(|text| text.parse().unwrap()).collect();
        Summary::new(&ledger(), RunFacts::default(), &slos, finish)
    }

    fn shown(summary: &Summary) -> String {
        text(summary, exit_code(summary))
    }

    fn line<'a>(text: &'a str, label: &str) -> &'a str {
        let found = text.lines().find(|line| line.trim_start().starts_with(label));
        found.unwrap_or_else(|| panic!("no line {label} in\n{text}"))
    }

    #[test]
    fn phones_are_told_apart_by_outcome_and_reason() {
        let text = shown(&summary(&[], Finish::Complete));
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let phones = "phones 2 000 in all: 1 998 ready (config in force), 1 stuck, 1 failed";
        assert!(words.contains(phones) && words.contains("(1 TVS unreachable)"), "{text}");
        let tvs =
            "TVS 1 lookups (1 QUERY, 0 VERIFY), 0 failed, 0 failovers, 0 answered by a phone's";
        assert!(words.contains(tvs), "{text}");
    }

    #[test]
    fn a_number_that_does_not_exist_is_a_dash() {
        let text = shown(&summary(&[], Finish::Complete));
        assert!(line(&text, "fleet ready").contains("99 % 1.98 s · last -   (from"), "{text}");
        assert_eq!(line(&text, "generator"), "generator     ok: lag p99 -");
        assert_eq!(line(&text, "cpu"), "cpu           phones - · servers -");
        let empty = shown(&Summary::default());
        assert!(!empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }

    #[test]
    fn slos_show_a_word_and_what_was_observed() {
        let slos = [
            "phones.ready == phones.total",
            "phones.failed_ratio <= 0.5%",
            "fleet_ready.p99 <= 1s",
            "steps.tvs.service_time.p50 <= 1s",
        ];
        let text = shown(&summary(&slos, Finish::Complete));
        let words = |label| line(&text, label).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            words("FAIL     phones.ready"),
            "FAIL phones.ready == phones.total 1 998 against 2 000"
        );
        assert_eq!(words("pass"), "pass phones.failed_ratio <= 0.5% 0.05 %");
        assert_eq!(words("FAIL     fleet"), "FAIL fleet_ready.p99 <= 1s 1.98 s against 1.00 s");
        assert_eq!(words("no-data"), "no-data steps.tvs.service_time.p50 <= 1s -");
    }

    #[test]
    fn the_verdict_names_its_reason_and_exit_code() {
        let verdict = |slos: &[&str], finish| {
            let summary = summary(slos, finish);
            let code = exit_code(&summary);
            (super::verdict(&summary, code), code.number())
        };
        let terminated = super::verdict(&summary(&[], Finish::Interrupted), ExitCode::Terminated);
        assert!(terminated.ends_with(" · exit 143\n"), "{terminated}");
        let (held, broken, unknown) = (
            "phones.ready == 1998",
            "phones.ready == 1",
            "tftp.bytes <= steps.tvs.service_time.p50",
        );
        let complete = Finish::Complete;
        assert_eq!(
            verdict(&[held], complete),
            ("verdict: PASS (1 of 1 SLOs held) · exit 0\n".into(), 0)
        );
        assert_eq!(
            verdict(&[held, broken], complete),
            ("verdict: FAIL (1 of 2 SLOs broken) · exit 1\n".into(), 1)
        );
        assert_eq!(
            verdict(&[broken, unknown], complete).0,
            "verdict: FAIL (1 of 2 SLOs broken, 1 could not be judged) · exit 1\n"
        );
        assert_eq!(
            verdict(&[held, unknown], complete).0,
            "verdict: INCONCLUSIVE (1 of 2 SLOs could not be judged) · exit 3\n"
        );
        assert_eq!(
            verdict(&[held], Finish::TimeLimit).0,
            "verdict: INCONCLUSIVE (1 of 1 SLOs held, but the run was cut by run.max-wall) · exit 3\n"
        );
        assert_eq!(verdict(&[], complete).0, "verdict: PASS (no SLO to break) · exit 0\n");
        let (line, code) = verdict(&[held], Finish::Interrupted);
        assert!(line.contains("not all phones had settled") && code == 130, "{line}");
        let mut late = Summary { verdict: Verdict::Interrupted, ..Summary::default() };
        let line = super::verdict(&late, ExitCode::Interrupted);
        assert_eq!(line, "verdict: INTERRUPTED (0 SLOs, all phones had settled) · exit 130\n");
        late.cut_by = Some("signal");
        let line = super::verdict(&late, ExitCode::Interrupted);
        assert!(line.contains("not all phones had settled"), "{line}");
    }

    #[test]
    fn the_table_of_steps_has_a_row_for_each_and_straight_columns() {
        let text = shown(&summary(&[], Finish::Complete));
        let tables: Vec<Vec<&str>> =
            text.split("step  ").skip(1).map(|table| table.lines().take(6).collect()).collect();
        assert_eq!(tables.len(), 2, "{text}");
        for table in tables {
            let lengths = table[1..].iter().map(|line| line.chars().count());
            let lengths: Vec<usize> = lengths.collect();
            assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "{table:#?}");
            let names = table[1..].iter().map(|line| line.split(' ').next().unwrap());
            assert_eq!(names.collect::<Vec<_>>(), ["boot", "ctl", "itl", "config", "tvs"]);
        }
        let words = line(&text, "boot  ").split("  ").map(str::trim).filter(|w| !w.is_empty());
        let words: Vec<&str> = words.collect();
        assert_eq!(words, ["boot", "2 000", "1 998", "-", "1", "1", "0"], "stuck is not failed");
    }

    #[test]
    fn a_summary_says_what_it_covers() {
        let text = shown(&summary(&[], Finish::Complete));
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("covers        trust lists (CTL, ITL), TVS"), "{text}");
        assert!(text.contains("no calls\n"), "{text}");
    }

    #[test]
    fn lines_of_a_summary_keep_to_80_columns_at_any_size() {
        let long = "phones.failed_ratio <= 0.000000000001% ";
        let slos =
            [&format!("{long:<90}"), "phones.ready == 1", "phones.stuck != 0.5 * phones.total"];
        let mut summary = summary(&slos, Finish::Complete);
        summary.tftp.requests = 98_765_432;
        summary.serve.tftp_requests = 98_765_432;
        summary.serve.https_handshakes_ok = 98_765_432;
        summary.services = vec!["tftp on pub, tftp1, tftp2".into(); 4];
        summary.notes.push("a note ".repeat(30));
        for row in &mut summary.steps {
            (row.count, row.ok, row.failed, row.retry) =
                (16_000_000, 16_000_000, 16_000_000, 16_000_000);
        }
        for line in shown(&summary).lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn servers_and_notes_are_shown_when_there_are_any() {
        let mut summary = summary(&[], Finish::Complete);
        assert!(!shown(&summary).contains("servers   "));
        summary.serve.tftp_requests = 6_000;
        summary.notes.push("signatures are SHA-512".into());
        let text = shown(&summary);
        assert!(line(&text, "servers").contains("TFTP 6 000 requests"));
        assert!(text.ends_with("note          signatures are SHA-512\n"));
    }

    #[test]
    fn refusals_are_shown_even_when_there_are_none() {
        assert_eq!(trust(&TrustPaths::default()), "accepted 0 · refused 0");
        let paths = TrustPaths {
            accepted_by_tvs: 3,
            accepted_first: 1,
            refused: 2,
            ..TrustPaths::default()
        };
        assert_eq!(trust(&paths), "accepted 3 by TVS, 1 unchecked, as the first list · refused 2");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            [0, 999, 1_000, 20_000, 1_234_567].map(count),
            ["0", "999", "1 000", "20 000", "1 234 567"]
        );
        assert_eq!(
            [Some(0.0), Some(0.000_3), Some(0.021), Some(0.999_6), Some(41.3), None].map(seconds),
            ["0 s", "300 µs", "21.0 ms", "1.00 s", "41.3 s", "-"]
        );
        assert_eq!(
            [Some(0.000_999_6), Some(9.996), Some(312.4)].map(seconds),
            ["1.00 ms", "10.0 s", "312 s"]
        );
        assert_eq!(
            [999, 1_000, 15_300_000, 2_000_000_000].map(bytes),
            ["999 B", "1.00 kB", "15.3 MB", "2.00 GB"]
        );
        assert_eq!(number(Some(0.5), Unit::Count), "0.500");
    }

    #[test]
    fn a_live_line_has_the_rates_since_the_line_before() {
        let mut ledger = ledger();
        let mut progress = LiveLine::default();
        again_and_again(&mut ledger, 100, ASKED);
        again_and_again(&mut ledger, 3, SENT_AGAIN);
        again_and_again(&mut ledger, 1, Incident::Late(Span::from_micros(800)));
        let at = |s| Time::ZERO + Span::from_secs(s);
        assert_eq!(
            progress.lines(&ledger, at(10)),
            [
                "t=10s phones=2000/2000 inflight=0 ok=1998 stuck=1 failed=1",
                "retry=3 requests_per_s=10 lookups_per_s=0 lag_p99_ms=0.8"
            ]
        );
        again_and_again(&mut ledger, 50, ASKED);
        again_and_again(&mut ledger, 1, Incident::BootBegan(at(11)));
        let [first, second] = progress.lines(&ledger, at(12));
        assert!(first.starts_with("t=12s phones=1999/2000 inflight=1 ok=1997"), "{first}");
        assert!(second.contains("requests_per_s=25 "), "{second}");
        ledger.note(at(12), &Notice::StormBegan);
        again_and_again(&mut ledger, 40, ASKED);
        let [_, second] = progress.lines(&ledger, at(13));
        assert!(second.contains("requests_per_s=40 ") && second.ends_with("lag_p99_ms=-"));
        let [_, again] = progress.lines(&ledger, at(13));
        assert!(again.contains("requests_per_s=0 "), "no time has passed");
    }

    #[test]
    fn progress_of_a_million_phones_keeps_to_80_columns() {
        let mut ledger = Ledger::new(Slice::whole(1_000_000));
        for phone in 0..1_000_000 {
            ledger.hear(PhoneId(phone), Time::ZERO, &Incident::BootBegan(Time::ZERO));
        }
        again_and_again(&mut ledger, 1_999_999, SENT_AGAIN);
        again_and_again(&mut ledger, 1_999_999, ASKED);
        let now = Time::ZERO + Span::from_secs(36);
        for line in LiveLine::default().lines(&ledger, now) {
            assert!(line.chars().count() <= COLUMNS - 4, "{line}");
        }
    }
}
