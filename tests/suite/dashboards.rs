//! The dashboards by the rules of their linter, and against the metrics that there are.

use std::collections::BTreeSet;
use std::path::Path;

use resetstorm::cluster::LscStates;
use resetstorm::measure::{
    CapfNumbers, CpuSeconds, Ledger, LevelVerdict, LoadInfo, LoadPercentiles, LoadStep,
    OPERATOR_STEPS, RunInfo, Slice, StepMark, encode, encode_load, encode_servers,
};
use serde_json::Value;

/// Metrics that are on no dashboard, each with its reason.
const NOT_SHOWN: [&str; 0] = [];
/// Units that Grafana knows and we use.
const UNITS: [&str; 6] = ["s", "ops", "percentunit", "short", "locale", "Bps"];
/// What filters every selector.
const SELECTOR: &str = r#"job=~"$job", instance=~"$instance""#;
const SCHEMA_VERSION: u64 = 39;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/grafana"))
}

/// Every dashboard with the name of its file.
fn boards() -> Vec<(String, Value)> {
    let mut boards = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("__inputs") && !text.contains("${DS_"), "{}", path.display());
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            boards.push((name, serde_json::from_str(&text).unwrap()));
        }
    }
    assert!(!boards.is_empty());
    boards
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The panels that show something.
fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    list(board, "panels").iter().filter(|panel| panel["type"] != "row")
}

/// Every expression of a board.
fn expressions(board: &Value) -> Vec<String> {
    let targets = panels(board).flat_map(|panel| list(panel, "targets"));
    let annotations = list(&board["annotations"], "list").iter();
    targets.chain(annotations).map(|holder| text(holder, "expr").to_owned()).collect()
}

/// The names of the families of an exposition.
fn families(exposition: &str) -> BTreeSet<String> {
    let types = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
}

/// Every metric of a run.
fn of_a_run() -> BTreeSet<String> {
    let cpu_s = CpuSeconds { swarm: Some(1.0), serve: Some(1.0) };
    let some = Some(1.0);
    let capf = CapfNumbers {
        left_s: some,
        left_low_s: some,
        left_high_s: some,
        key_mean_s: some,
        sign_mean_s: some,
        ..CapfNumbers::default()
    };
    let lsc_parts = || vec![("hq".to_owned(), LscStates::default())];
    let info = RunInfo {
        cpu_s,
        capf,
        web_nodes: [([127, 0, 0, 1].into(), "pub".to_owned())].into(),
        sip_nodes: [([127, 0, 0, 1].into(), "pub".to_owned())].into(),
        steps: vec![StepMark::default()],
        probes: vec![("axl at pub".to_owned(), true)],
        lsc_sites: lsc_parts(),
        lsc_groups: lsc_parts(),
        ..RunInfo::default()
    };
    let run = families(&encode(&Ledger::new(Slice::whole(1)), &info));
    let servers = families(&encode_servers(&info));
    assert!(servers.is_subset(&run), "{:?}", servers.difference(&run));
    run
}

/// Every metric of a measurement of capacity.
fn of_capacity() -> BTreeSet<String> {
    let some = Some(1.0);
    let response_s = LoadPercentiles { p50: some, ..LoadPercentiles::default() };
    let level = LoadStep {
        verdict: LevelVerdict::Carried,
        achieved: some,
        lag_p99_s: some,
        cpu_ratio: some,
        response_s,
        ..LoadStep::default()
    };
    families(&encode_load(&LoadInfo {
        offered: some,
        levels: vec![level],
        steps: vec![StepMark::default()],
        ..LoadInfo::default()
    }))
}

/// Every metric that we export.
fn exported() -> BTreeSet<String> {
    of_a_run().union(&of_capacity()).cloned().collect()
}

/// The metrics that an expression names; the series of a histogram stand for it.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let family = |word: &str| {
        let series = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        series.unwrap_or(word).to_owned()
    };
    words.filter(|word| word.starts_with("resetstorm_")).map(family).collect()
}

#[test]
fn every_metric_on_a_board_exists_and_every_metric_is_on_a_board() {
    let exported = exported();
    assert!(exported.len() > 20, "{exported:?}");
    let mut shown = BTreeSet::new();
    for (file, board) in boards() {
        for expression in expressions(&board) {
            let named = named(&expression);
            assert!(!named.is_empty(), "{file}: {expression}");
            for metric in &named {
                assert!(exported.contains(metric), "{file}: no metric {metric}: {expression}");
            }
            shown.extend(named);
        }
    }
    let hidden: Vec<_> = exported.difference(&shown).collect();
    assert_eq!(hidden, NOT_SHOWN.iter().collect::<Vec<_>>(), "on no board");
}

/// A board whose numbers come from two programs at once is never whole.
#[test]
fn every_board_has_all_its_data_from_one_program() {
    let programs = [of_a_run(), of_capacity()];
    for (file, board) in boards() {
        let named: BTreeSet<_> = expressions(&board).iter().flat_map(|one| named(one)).collect();
        assert!(programs.iter().any(|program| named.is_subset(program)), "{file}: {named:?}");
    }
}

#[test]
fn servers_without_phones_of_ours_say_nothing_of_phones() {
    let servers = families(&encode_servers(&RunInfo::default()));
    for of_servers in ["server_requests_total", "capf_sessions", "lsc_phones", "run_info"] {
        assert!(servers.contains(&format!("resetstorm_{of_servers}")), "{of_servers}: {servers:?}");
    }
    for of_phones in ["phones", "boots_total", "tftp_requests_total", "signatures_verified_total"] {
        assert!(!servers.contains(&format!("resetstorm_{of_phones}")), "{of_phones}: {servers:?}");
    }
}

/// An instant query has nothing to say five minutes after the last scrape.
#[test]
fn the_numbers_of_a_run_stay_on_the_board_when_it_is_over() {
    for (file, board) in boards() {
        for panel in panels(&board) {
            let what = format!("{file}: {}", text(panel, "title"));
            for target in list(panel, "targets") {
                assert_eq!(
                    (&target["instant"], &target["range"]),
                    (&false.into(), &true.into()),
                    "{what}"
                );
            }
            match text(panel, "type") {
                "stat" => {
                    let calcs = &panel["options"]["reduceOptions"]["calcs"];
                    assert_eq!(calcs, &serde_json::json!(["lastNotNull"]), "{what}");
                }
                "table" => {
                    let reduce = &list(panel, "transformations")[0];
                    assert_eq!(text(reduce, "id"), "reduce", "{what}");
                    assert_eq!(reduce["options"]["reducers"][0], "lastNotNull", "{what}");
                }
                _ => {}
            }
        }
    }
}

/// Marks of every second of a storm say nothing; a step that has a time is one mark.
#[test]
fn annotations_are_the_steps_of_the_operator_at_their_own_times() {
    for (file, board) in boards() {
        let annotations = list(&board["annotations"], "list");
        assert_eq!(annotations.len(), 1, "{file}");
        let only = &annotations[0];
        assert!(text(only, "expr").starts_with(OPERATOR_STEPS), "{file}");
        assert!(text(only, "expr").ends_with("} * 1000"), "Grafana wants milliseconds: {file}");
        assert_eq!(only["useValueForTime"], true, "{file}");
        assert!(text(only, "titleFormat").contains("{{name}}"), "{file}");
    }
}

#[test]
fn what_matters_stands_first_in_a_legend_and_is_not_cut_off() {
    for (file, board) in boards() {
        for panel in panels(&board).filter(|panel| panel["type"] == "timeseries") {
            let (what, legend) = (text(panel, "title"), &panel["options"]["legend"]);
            assert_eq!(text(legend, "sortBy"), "Max", "{file}: {what}");
            assert_eq!(legend["sortDesc"], true, "{file}: {what}");
            let is_wide = panel["gridPos"]["w"].as_u64().unwrap() >= 12;
            assert!(!is_wide || text(legend, "placement") == "right", "{file}: {what}");
        }
    }
}

/// Percentiles, shares and what is offered beside what came of it do not add up.
#[test]
fn only_parts_of_a_whole_are_stacked() {
    const STACKED: [&str; 5] = [
        "Phones by state",
        "Phones by registration",
        "Phones by status",
        "Sessions",
        "Failures by cause",
    ];
    for (file, board) in boards() {
        for panel in panels(&board).filter(|panel| panel["type"] == "timeseries") {
            let custom = &panel["fieldConfig"]["defaults"]["custom"];
            let is_stacked = text(&custom["stacking"], "mode") == "normal";
            let title = text(panel, "title");
            assert_eq!(is_stacked, STACKED.contains(&title), "{file}: {title}");
        }
    }
}

#[test]
fn boards_are_fixed_and_speak_to_one_data_source() {
    let mut uids = BTreeSet::new();
    for (file, board) in boards() {
        assert!(board["id"].is_null() && board["editable"] == false, "{file}");
        assert!(uids.insert(text(&board, "uid").to_owned()), "{file}: its uid is taken");
        assert!(text(&board, "uid").starts_with("resetstorm-"), "{file}");
        assert_eq!(board["schemaVersion"], SCHEMA_VERSION, "{file}");
        assert_eq!(board["tags"], serde_json::json!(["resetstorm"]), "{file}");
        assert!(!text(&board, "title").is_empty() && !text(&board, "description").is_empty());
        assert!(list(&board, "links").iter().any(|link| link["type"] == "dashboards"), "{file}");
        let variables = list(&board["templating"], "list");
        let of_kind = |kind: &str| variables.iter().filter(|one| one["type"] == kind).count();
        assert_eq!(of_kind("datasource"), 1, "{file}");
        let source = variables.iter().find(|one| one["name"] == "datasource").unwrap();
        assert_eq!((text(source, "label"), text(source, "query")), ("Data source", "prometheus"));
        for name in ["job", "instance"] {
            let one = variables.iter().find(|one| one["name"] == name).unwrap();
            assert_eq!((text(one, "type"), text(one, "label")), ("query", name), "{file}");
            assert_eq!((&one["multi"], &one["refresh"]), (&true.into(), &2.into()), "{file}");
            assert_eq!((text(one, "allValue"), &one["includeAll"]), (".+", &true.into()), "{file}");
            assert_eq!(text(&one["datasource"], "uid"), "${datasource}", "{file}");
        }
        for annotation in list(&board["annotations"], "list") {
            assert_eq!(text(&annotation["datasource"], "uid"), "${datasource}", "{file}");
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    for (file, board) in boards() {
        let mut ids = BTreeSet::new();
        for panel in list(&board, "panels") {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{file}: id {} twice", panel["id"]);
        }
        let mut titles = BTreeSet::new();
        for panel in panels(&board) {
            let title = text(panel, "title");
            assert!(!title.is_empty() && titles.insert(title), "{file}: title {title:?}");
            assert!(text(panel, "description").ends_with('.'), "{file}: {title}");
            let unit = text(&panel["fieldConfig"]["defaults"], "unit");
            assert!(UNITS.contains(&unit), "{file}: {title}: unit {unit:?}");
            let kind = text(panel, "type");
            assert!(["heatmap", "stat", "table", "timeseries"].contains(&kind), "{title}: {kind}");
            assert_eq!(text(&panel["datasource"], "uid"), "${datasource}", "{file}: {title}");
            assert!(!list(panel, "targets").is_empty(), "{file}: {title}");
            let mut references = BTreeSet::new();
            for target in list(panel, "targets") {
                assert_eq!(text(&target["datasource"], "uid"), "${datasource}", "{file}: {title}");
                assert!(references.insert(text(target, "refId")), "{file}: {title}");
                assert!(!text(target, "legendFormat").is_empty(), "{file}: {title}");
            }
        }
    }
}

#[test]
fn panels_lie_side_by_side() {
    for (file, board) in boards() {
        let mut taken = BTreeSet::new();
        for panel in list(&board, "panels") {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24 && at("w") > 0 && at("h") > 0, "{file}: {panel}");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{file}: {} lies on another", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn expressions_follow_the_rules_of_prometheus() {
    for (file, board) in boards() {
        for expression in expressions(&board) {
            let what = format!("{file}: {expression}");
            let selectors = expression.matches('{').count();
            assert!(selectors > 0, "{what}");
            assert_eq!(expression.matches(SELECTOR).count(), selectors, "{what}");
            // A range is always the one that Grafana derives from the scrape interval.
            let ranges = expression.matches('[').count();
            assert_eq!(expression.matches("[$__rate_interval]").count(), ranges, "{what}");
            // A counter or histogram is only ever seen through a range.
            for end in ["_total{", "_bucket{", "_sum{", "_count{"] {
                for (at, _) in expression.match_indices(end) {
                    let before = &expression[..at];
                    let start = before.rfind("resetstorm_").unwrap();
                    let call = &before[..start];
                    let through =
                        ["rate(", "increase("].iter().any(|call_of| call.ends_with(call_of));
                    assert!(through, "{what}");
                }
            }
            if expression.contains("histogram_quantile") {
                assert!(expression.contains("sum by (le"), "{what}");
            }
        }
        let kinds: Vec<_> = panels(&board).map(|panel| text(panel, "type")).collect();
        let quantiles = expressions(&board).iter().any(|e| e.contains("histogram_quantile"));
        assert!(
            !quantiles || kinds.contains(&"heatmap"),
            "{file}: a quantile without its heat map"
        );
    }
}

#[test]
fn provisioning_names_no_secret_and_no_place_of_one_machine() {
    for file in ["datasources/resetstorm.yaml", "dashboards/resetstorm.yaml"] {
        let text = std::fs::read_to_string(folder().join("provisioning").join(file)).unwrap();
        assert!(text.starts_with("apiVersion: 1\n"), "{file}");
        assert!(!text.contains("assword") && !text.contains("/home/"), "{file}");
    }
}
