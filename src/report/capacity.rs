use crate::base::ExitCode;
use crate::base::lines::paragraph;
use crate::base::words::{aligned, aligned_left, count, seconds, three_digits};
use crate::measure::{
    CapacitySummary, CapacityVerdict as Verdict, LevelVerdict, LoadFacts, LoadStep,
};
use crate::scenario::{SloResult, SloVerdict};

/// The exit code of a capacity measurement by its verdict and the user's conditions: 0 measured,
/// 1 a condition failed or an answer was wrong, 3 no knee of the server, 4 the server was lost,
/// 130 interrupted.
pub fn capacity_exit_code(summary: &CapacitySummary) -> ExitCode {
    let any = |wanted| summary.slos.iter().any(|slo| slo.verdict == wanted);
    let failed = any(SloVerdict::Fail) || summary.wrong.count > 0;
    let undecided = any(SloVerdict::NoData) || any(SloVerdict::Inconclusive);
    match summary.verdict {
        Verdict::Interrupted => ExitCode::Interrupted,
        Verdict::Lost => ExitCode::Environment,
        Verdict::GeneratorBound | Verdict::Unsteady => ExitCode::Inconclusive,
        _ if undecided => ExitCode::Inconclusive,
        _ if failed => ExitCode::Failed,
        // Nothing was carried: a search has no knee; a fixed load was measured all the same.
        Verdict::NotCarried if !is_fixed(summary) => ExitCode::Inconclusive,
        Verdict::NotCarried | Verdict::Knee | Verdict::HighestOffered | Verdict::Carried => {
            ExitCode::Ok
        }
    }
}

fn is_fixed(summary: &CapacitySummary) -> bool {
    summary.capacity.steps.iter().any(|step| step.step.is_given())
}

/// The summary for people, of a program that ends with `code`. Every number in it is a number of
/// the summary; one that does not exist is `-`.
pub fn capacity_text(summary: &CapacitySummary, code: ExitCode) -> String {
    let mut out = String::new();
    for (label, value) in lines(summary) {
        paragraph(&mut out, label, &value);
    }
    out.push('\n');
    out.push_str(&steps(summary));
    out.push_str(&when_it_broke(summary));
    out.push_str(&slos(summary));
    out.push('\n');
    for line in &summary.method {
        paragraph(&mut out, "method", line);
    }
    for note in &summary.notes {
        paragraph(&mut out, "note", note);
    }
    out.push_str(&verdict(summary, code));
    out
}

/// The last line, with the reason where nothing is decided.
fn verdict(summary: &CapacitySummary, code: ExitCode) -> String {
    let unjudged = summary
        .slos
        .iter()
        .filter(|slo| !matches!(slo.verdict, SloVerdict::Pass | SloVerdict::Fail));
    let why = match (code, unjudged.count(), summary.verdict) {
        (ExitCode::Inconclusive, 1.., _) if summary.knee_min().is_some() => {
            " (what the server carries at least does not decide every SLO; offer more)".to_owned()
        }
        (ExitCode::Inconclusive, n @ 1.., _) => {
            format!(" ({n} of {} SLOs could not be judged)", summary.slos.len())
        }
        (ExitCode::Inconclusive, 0, Verdict::Knee | Verdict::HighestOffered | Verdict::Carried) => {
            " (cannot be compared with the baseline)".to_owned()
        }
        (ExitCode::Inconclusive, 0, _) => " (no knee of the server)".to_owned(),
        _ => String::new(),
    };
    format!("verdict: {}{why} · exit {}\n", summary.verdict.name().to_uppercase(), code.number())
}

fn lines(summary: &CapacitySummary) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("target", capacity_target(&summary.load)),
        ("load", load(&summary.load)),
        ("addresses", addresses(&summary.load)),
        ("limits", limits(summary)),
        ("capacity", capacity(summary)),
    ];
    if !is_fixed(summary) {
        lines.push(("confidence", confidence(summary)));
    }
    if let Some(phones) = phones(summary) {
        lines.push(("phones", phones));
    }
    let wrong = &summary.wrong;
    let examples = wrong.examples.join("; ");
    lines.push(match wrong.count {
        0 => ("wrong", "no answer was wrong".to_owned()),
        n => ("WRONG", format!("{} answers were wrong: {examples}", count(n))),
    });
    let unchecked = &summary.unchecked;
    if unchecked.count > 0 {
        let (number, missing) = (count(unchecked.count), unchecked.missing.join("; "));
        lines.push((
            "unchecked",
            format!("signatures of {number} LSCs were not checked: {missing}"),
        ));
    }
    lines.push(("generator", generator(summary)));
    lines
}

/// The servers that are loaded, with their addresses.
pub fn capacity_target(load: &LoadFacts) -> String {
    let named = [
        ("TFTP", &load.tftp),
        ("HTTP", &load.http),
        ("TVS", &load.tvs),
        ("CAPF", &load.capf),
        ("SIP", &load.sip),
        ("SIPS", &load.sips),
    ];
    let named = named.iter().filter_map(|(name, at)| Some(format!("{name} {}", at.as_ref()?)));
    named.collect::<Vec<_>>().join(" · ")
}

/// The parts of the load with their shares.
pub fn capacity_mix(load: &LoadFacts) -> String {
    let share = |(part, share): (&String, &f64)| format!("{part} {:.0} %", share * 100.0);
    load.mix.iter().map(share).collect::<Vec<_>>().join(", ")
}

fn load(load: &LoadFacts) -> String {
    let each = load.requests_per_start.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.1}"));
    format!(
        "{}; {} names, {} phones, {each} requests each, {} right answers learnt",
        capacity_mix(load),
        count(load.names),
        count(load.devices),
        count(load.references)
    )
}

fn addresses(load: &LoadFacts) -> String {
    match load.addresses.as_str() {
        "per-phone" => "one source address per phone in flight".to_owned(),
        _ => "one source address for all: the server cannot tell phones apart".to_owned(),
    }
}

fn limits(summary: &CapacitySummary) -> String {
    let limits = &summary.limits;
    format!(
        "p{} of response times up to {}, failures up to {} %, falling behind by up to {:.0} %",
        (limits.percentile * 1e3).round() / 10.0,
        seconds(Some(limits.latency_s)),
        (limits.errors_ratio * 1e4).round() / 100.0,
        limits.drift * 100.0
    )
}

/// A level with its unit.
fn level(summary: &CapacitySummary, level: Option<f64>) -> String {
    let number = match level {
        None => return "-".to_owned(),
        Some(level) if level >= 100.0 => count(level.round() as u64),
        Some(level) => three_digits(level),
    };
    format!("{number} {}", summary.capacity.unit)
}

fn capacity(summary: &CapacitySummary) -> String {
    let (at_least, high) = (summary.capacity.at_least, summary.capacity.confidence.not_carried);
    let carried = level(summary, at_least);
    match summary.verdict {
        Verdict::Knee => format!("knee {}", level(summary, summary.capacity.knee)),
        Verdict::Carried => format!("{carried} carried"),
        Verdict::HighestOffered => {
            format!("at least {carried}: the highest that may be offered")
        }
        Verdict::GeneratorBound => {
            format!("at least {carried}, generator-bound; see resetstorm doctor")
        }
        Verdict::Lost => {
            format!("at least {carried}; the server was LOST at {}", level(summary, high))
        }
        Verdict::Unsteady => format!("about {carried}, unsteady: not carried again"),
        Verdict::NotCarried => "not carried".to_owned(),
        Verdict::Interrupted => format!("at least {carried}, interrupted"),
    }
}

fn confidence(summary: &CapacitySummary) -> String {
    let found = &summary.capacity.confidence;
    let width = found.width_ratio.map_or_else(|| "-".to_owned(), |w| format!("{:.1} %", w * 100.0));
    let confirmed = match found.confirmed {
        Some(_) => format!("confirmed at {}", level(summary, found.confirmed)),
        None => "not confirmed".to_owned(),
    };
    let low = level(summary, found.low);
    let interval = if found.high.is_some() {
        format!("between {low} and {} ({width})", level(summary, found.high))
    } else {
        format!("at least {low}")
    };
    format!(
        "{interval}, judged by {}; {} of {} measurements at both ends agree; {confirmed}",
        percentile_name(summary.limits.percentile),
        found.agreed,
        found.measurements
    )
}

/// What the capacity means for a fleet.
fn phones(summary: &CapacitySummary) -> Option<String> {
    /// A fleet that is easy to scale in the head.
    const FLEET: f64 = 10_000.0;
    let per_s = summary.capacity.at_least.filter(|_| summary.capacity.unit.ends_with("/s"))?;
    let unit = summary.capacity.unit.trim_end_matches("/s").trim_end_matches('s');
    // Where the server may carry more, it may take less.
    let bound = if summary.knee_min().is_some() { "most" } else { "least" };
    if unit == "enrolment" {
        let hourly = count((per_s * 3_600.0).round() as u64);
        let took = seconds(Some(FLEET / per_s));
        return Some(format!("{hourly} LSCs an hour; 10 000 phones need at {bound} {took}"));
    }
    Some(format!(
        "10 000 phones with one {unit} each need at {bound} {} at this rate",
        seconds(Some(FLEET / per_s))
    ))
}

fn generator(summary: &CapacitySummary) -> String {
    let facts = &summary.generator;
    let cpu = facts.cpu_ratio.map_or_else(|| "-".to_owned(), |cpu| format!("{:.0} %", cpu * 100.0));
    format!(
        "{} thread(s), lag p99 {} where the load was carried, CPU peak {cpu}, {} places, \
         {} descriptors",
        facts.workers,
        seconds(facts.lag_p99_s),
        count(facts.in_flight_max),
        facts.descriptors.map_or_else(|| "-".to_owned(), count)
    )
}

/// Percentiles that have a column of their own; the one that judges is always among them.
fn columns(judged: f64) -> Vec<f64> {
    let same = |column: &f64| (column - judged).abs() < 1e-9;
    if [0.5, 0.9, 0.99].iter().any(same) || judged <= 0.0 {
        vec![0.5, 0.9, 0.99]
    } else if judged > 0.99 {
        vec![0.5, 0.99, judged]
    } else {
        vec![0.5, judged, 0.99]
    }
}

/// `p99`, `p95`, `p99.9`.
fn percentile_name(percentile: f64) -> String {
    format!("p{}", (percentile * 1e3).round() / 10.0)
}

/// A response time in words; where fewer starts than that judge a level, by which percentile.
fn time_at(step: &LoadStep, percentile: f64, judged: f64) -> String {
    let times = &step.response_s;
    if (percentile - judged).abs() < 1e-9 {
        return match step.judged_percentile {
            Some(used) if judged - used > 5e-4 => {
                format!("{} {}", percentile_name(used), seconds(step.judged_s))
            }
            _ => seconds(step.judged_s),
        };
    }
    let known = [(0.5, times.p50), (0.9, times.p90), (0.99, times.p99)];
    let found = known.into_iter().find(|(known, _)| (known - percentile).abs() < 1e-9);
    seconds(found.and_then(|(_, time)| time))
}

fn headings(judged: f64) -> Vec<String> {
    let mut headings = ["step", "offered", "achieved"].map(str::to_owned).to_vec();
    headings.extend(columns(judged).into_iter().map(percentile_name));
    headings.extend(["max", "failed", "again", "in flight", "verdict"].map(str::to_owned));
    headings
}

/// One row of the table of levels: numbers in words.
fn cells(step: &LoadStep, judged: f64) -> Vec<String> {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), rate_text);
    let mut cells = vec![step.step.to_string(), rate(Some(step.offered)), rate(step.achieved)];
    cells.extend(columns(judged).into_iter().map(|column| time_at(step, column, judged)));
    cells.extend([
        seconds(step.response_s.max),
        count(step.failed),
        count(step.traffic.sent_again),
        count(step.traffic.in_flight_max),
        step.verdict.to_string(),
    ]);
    cells
}

fn rate_text(rate: f64) -> String {
    if rate >= 99.95 { count(rate.round() as u64) } else { three_digits(rate) }
}

/// One level as a line of progress.
pub fn capacity_step(step: &LoadStep) -> String {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), rate_text);
    let judged = match step.judged_percentile {
        Some(used) => format!("{} {}", percentile_name(used), seconds(step.judged_s)),
        None => "no response time".to_owned(),
    };
    format!(
        "{} offered {} achieved {} p50 {} {judged} failed {}: {} ({})",
        step.step,
        rate_text(step.offered),
        rate(step.achieved),
        seconds(step.response_s.p50),
        count(step.failed),
        step.verdict,
        step.reason
    )
}

/// The curve of offered against achieved, in the order of what was offered.
fn steps(summary: &CapacitySummary) -> String {
    let mut steps: Vec<&LoadStep> = summary.capacity.steps.iter().collect();
    steps.sort_by(|one, other| one.offered.total_cmp(&other.offered));
    let judged = summary.limits.percentile;
    let mut table = vec![headings(judged)];
    table.extend(steps.iter().map(|step| cells(step, judged)));
    format!("response times from the planned start, by what was offered\n{}", aligned(&table))
}

/// What the server answered where a level was not carried.
fn when_it_broke(summary: &CapacitySummary) -> String {
    let broken = summary.capacity.steps.iter().filter(|step| step.verdict != LevelVerdict::Carried);
    let row = |step: &LoadStep| {
        let errors = step.errors.iter().map(|(cause, n)| format!("{} {cause}", count(*n)));
        let errors: Vec<String> = errors.collect();
        let errors = if errors.is_empty() { "no failure".to_owned() } else { errors.join(", ") };
        let said = step.said.join("; ");
        let reason = if said.is_empty() {
            step.reason.clone()
        } else {
            format!("{}; the server said: {said}", step.reason)
        };
        vec![rate_text(step.offered), errors, reason]
    };
    let mut table: Vec<Vec<String>> = broken.map(row).collect();
    if table.is_empty() {
        return String::new();
    }
    table.insert(0, ["offered", "failures", "why it was not carried"].map(str::to_owned).to_vec());
    format!("\n{}", aligned_left(&table))
}

fn slos(summary: &CapacitySummary) -> String {
    if summary.slos.is_empty() {
        return String::new();
    }
    let word = |verdict: SloVerdict| match verdict {
        SloVerdict::Fail => "FAIL",
        other => other.name(),
    };
    let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |n| format!("{n:.4}"));
    let row = |slo: &SloResult| {
        let open =
            summary.knee_min().filter(|_| slo.expr.trim_start().starts_with("capacity.knee"));
        let least = if open.is_some() { "at least " } else { "" };
        let against = format!("{least}{} against {}", number(slo.observed), number(slo.bound));
        vec![format!("  {}", word(slo.verdict)), slo.expr.clone(), against]
    };
    let table: Vec<Vec<String>> = summary.slos.iter().map(row).collect();
    format!("\nSLO\n{}", aligned_left(&table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::lines::COLUMNS;
    use crate::measure::{Capacity, Confidence, LevelKind, LoadPercentiles};

    fn step(step: LevelKind, offered: f64, verdict: LevelVerdict) -> LoadStep {
        LoadStep {
            step,
            offered,
            achieved: Some(offered * 0.99),
            response_s: LoadPercentiles { p50: Some(0.002), ..LoadPercentiles::default() },
            verdict,
            ..LoadStep::default()
        }
    }

    fn summary(verdict: Verdict) -> CapacitySummary {
        let mut broken = step(LevelKind::Search, 412.0, LevelVerdict::Broken);
        broken.reason = "errors 5.0 %, mostly status 503".into();
        broken.errors.insert("status 503".into(), 1_234);
        CapacitySummary {
            verdict,
            capacity: Capacity {
                knee: (verdict == Verdict::Knee).then_some(400.0),
                at_least: Some(400.0),
                unit: "transfers/s".into(),
                task: "search".into(),
                confidence: Confidence { not_carried: Some(412.0), ..Confidence::default() },
                steps: vec![broken, step(LevelKind::Ramp, 400.0, LevelVerdict::Carried)],
            },
            ..CapacitySummary::default()
        }
    }

    #[test]
    fn the_percentile_that_judges_is_a_column_whichever_it_is() {
        let mut summary = summary(Verdict::Knee);
        for (percentile, columns) in [
            (0.99, "p50 p90 p99 max"),
            (0.95, "p50 p95 p99 max"),
            (0.5, "p50 p90 p99 max"),
            (0.999, "p50 p99 p99.9 max"),
        ] {
            summary.limits.percentile = percentile;
            let step = &mut summary.capacity.steps[1];
            (step.judged_s, step.judged_percentile) = (Some(0.321), Some(percentile));
            let text = shown(&summary);
            let heading = text.lines().find(|line| line.starts_with("step")).unwrap();
            let heading: Vec<&str> = heading.split_whitespace().collect();
            assert!(heading.join(" ").contains(columns), "{heading:?}");
            assert!(text.contains("321 ms"), "{text}");
            assert!(line(&text, "confidence").contains("judged by p"), "{text}");
            // With few starts a lower percentile judges, and is named.
            summary.capacity.steps[1].judged_percentile = Some(percentile - 0.1);
            let named = format!("{} 321 ms", percentile_name(percentile - 0.1));
            assert!(shown(&summary).contains(&named), "{named}");
        }
    }

    /// The value of a label with the lines below it, as one line.
    fn line(text: &str, label: &str) -> String {
        let whole = text.replace("\n              ", " ");
        let found = whole.lines().find(|line| line.starts_with(label));
        found.unwrap_or_else(|| panic!("{label}: {text}")).to_owned()
    }

    #[test]
    fn lines_with_a_label_keep_to_the_width_of_a_terminal() {
        let mut long = summary(Verdict::Knee);
        long.wrong.count = 64;
        long.wrong.examples = vec!["SEP001122334455.cnf.xml.sgn: 3 bytes instead of 4".into(); 3];
        long.method = vec!["starts are planned before they happen ".repeat(4)];
        long.notes = vec!["towards this machine every phone has an address ".repeat(3)];
        for verdict in [
            Verdict::Knee,
            Verdict::Lost,
            Verdict::GeneratorBound,
            Verdict::Unsteady,
            Verdict::Interrupted,
        ] {
            long.verdict = verdict;
            let text = shown(&long);
            let is_labelled =
                |line: &&str| line.get(..14).is_some_and(|label| label.ends_with(' '));
            let prose = text.lines().take_while(|line| !line.is_empty());
            let prose = prose.chain(
                text.lines().filter(|line| line.starts_with("method") || line.starts_with("note")),
            );
            let prose: Vec<&str> = prose.filter(is_labelled).collect();
            assert!(prose.len() > 12, "{text}");
            for line in prose {
                assert!(line.chars().count() <= COLUMNS, "{line}");
            }
        }
    }

    fn shown(summary: &CapacitySummary) -> String {
        capacity_text(summary, capacity_exit_code(summary))
    }

    fn number(summary: &CapacitySummary) -> u8 {
        capacity_exit_code(summary).number()
    }

    #[test]
    fn a_knee_is_named_and_what_broke_it_is_shown() {
        let text = shown(&summary(Verdict::Knee));
        assert_eq!(line(&text, "capacity"), "capacity      knee 400 transfers/s");
        assert!(line(&text, "phones").contains("10 000 phones with one transfer each"), "{text}");
        assert!(line(&text, "phones").contains("25.0 s"), "{text}");
        assert!(text.contains("1 234 status 503"), "{text}");
        let rows: Vec<&str> = text.lines().filter(|line| line.contains(" 2.00 ms ")).collect();
        assert!(rows[0].starts_with("ramp") && rows[1].starts_with("search"), "by rate: {rows:?}");
        assert!(text.ends_with("verdict: KNEE · exit 0\n"));
    }

    #[test]
    fn a_bound_generator_names_no_knee() {
        let text = shown(&summary(Verdict::GeneratorBound));
        assert!(line(&text, "capacity").contains("at least 400 transfers/s, generator-bound"));
        assert!(!text.contains("knee 400"), "{text}");
        assert_eq!(number(&summary(Verdict::GeneratorBound)), 3);
    }

    #[test]
    fn a_lost_server_is_told_with_the_level_that_it_did_not_survive() {
        let text = shown(&summary(Verdict::Lost));
        assert!(line(&text, "capacity").ends_with("the server was LOST at 412 transfers/s"));
        assert_eq!(number(&summary(Verdict::Lost)), 4);
    }

    #[test]
    fn exit_codes_follow_conditions_and_wrong_answers() {
        let mut knee = summary(Verdict::Knee);
        assert_eq!(number(&knee), 0);
        knee.wrong.count = 1;
        knee.wrong.examples.push("a: 3 bytes instead of 4".into());
        assert_eq!(number(&knee), 1);
        let wrong = line(&shown(&knee), "WRONG");
        assert!(wrong.contains("1 answers were wrong: a: 3 bytes"), "{wrong}");
        let row = |verdict| SloResult {
            expr: "capacity.knee >= 500".into(),
            verdict,
            observed: Some(400.0),
            bound: Some(500.0),
        };
        let mut slo = summary(Verdict::Knee);
        slo.slos.push(row(SloVerdict::Fail));
        assert_eq!(number(&slo), 1);
        assert!(shown(&slo).contains("FAIL  capacity.knee >= 500  400.0000 against 500"));
        slo.slos.push(row(SloVerdict::NoData));
        assert_eq!(number(&slo), 3);
        assert_eq!(number(&summary(Verdict::NotCarried)), 3);
        assert_eq!(number(&summary(Verdict::Interrupted)), 130);
    }

    #[test]
    fn where_the_server_may_carry_more_the_report_says_at_least_and_why_nothing_is_decided() {
        let mut open = summary(Verdict::HighestOffered);
        open.capacity.confidence.low = Some(394.0);
        let text = shown(&open);
        assert!(line(&text, "confidence").contains("at least 394 transfers/s, judged"), "{text}");
        assert!(line(&text, "phones").contains("need at most 25.0 s"), "{text}");
        assert!(text.ends_with("verdict: HIGHEST-OFFERED · exit 0\n"), "{text}");
        open.slos.push(SloResult {
            expr: "capacity.knee >= 500".into(),
            verdict: SloVerdict::Inconclusive,
            observed: Some(400.0),
            bound: Some(500.0),
        });
        let text = shown(&open);
        assert!(text.contains("capacity.knee >= 500  at least 400.0000 against 500"), "{text}");
        let end = "verdict: HIGHEST-OFFERED (what the server carries at least does not decide every \
                   SLO; offer more) · exit 3\n";
        assert!(text.ends_with(end), "{text}");
        let bound = shown(&summary(Verdict::GeneratorBound));
        assert!(bound.ends_with("GENERATOR-BOUND (no knee of the server) · exit 3\n"), "{bound}");
    }

    #[test]
    fn an_empty_summary_has_no_numbers_that_do_not_exist() {
        let text = shown(&CapacitySummary::default());
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
