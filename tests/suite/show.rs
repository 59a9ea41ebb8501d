//! What a run leaves for people: who is stranded, why and what helps, single boots, and the same
//! figure everywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use resetstorm::report::Table;
use serde_json::Value;

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(words: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Plays a scenario in virtual time with so many phones; gives what came out and its directory.
fn sim(out: &Path, scenario: &str, phones: u32, more: &[&str]) -> (Ended, PathBuf) {
    let (out_text, phones) = (out.to_str().unwrap(), phones.to_string());
    let words = ["sim", scenario, "--phones", &phones, "--out", out_text, "--sensitivity=never"];
    let ended = run(&[&words[..], more].concat());
    let latest = fs::canonicalize(out.join("latest"))
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", ended.out, ended.err));
    (ended, latest)
}

fn read(path: &Path, name: &str) -> String {
    fs::read_to_string(path.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn json(path: &Path, name: &str) -> Value {
    serde_json::from_str(&read(path, name)).unwrap()
}

fn table(path: &Path, name: &str) -> Table {
    Table::parse(&read(path, name), &[]).unwrap()
}

/// The words of a text, whatever its lines.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const SHORT: &str = "scenarios/two-tftp-short-group.toml";
const RESTORE: &str = "scenarios/restore-from-backup.toml";
const LOCALKEY: &str = "scenarios/reset-localkey.toml";

#[test]
fn stranded_phones_are_broken_down_and_each_reason_has_its_remedy() {
    let out = tempfile::tempdir().unwrap();
    let (ended, path) = sim(out.path(), SHORT, 2_000, &[]);
    let summary = json(&path, "summary.json");
    let [stranded] = &summary["stranded"].as_array().unwrap()[..] else { panic!("{summary}") };
    assert_eq!((&stranded["outcome"], &stranded["phones"]), (&"stuck".into(), &200.into()));
    for (by, key) in [("by_group", "short"), ("by_model", "8841"), ("by_tftp", "pub")] {
        assert_eq!(stranded[by][key], 200, "{by}");
        assert_eq!(stranded[by].as_object().unwrap().len(), 1);
    }
    let remedy = &stranded["remedies"][0];
    assert!((remedy["technician_hours"].as_f64().unwrap() - 17.0).abs() < 1e-9);
    let text = words(&ended.out);
    for part in [
        "stranded 200 stuck: refused the list and configuration",
        "group short 200",
        "erase ITL at 200 phones of group short, about 17 technician-hours (3 min each; 20 \
         technicians; 10 min where settings are locked)",
        "or restore the old TVS.pem of pub",
        "rehearse when = \"fleet-settled\" · erase-lists",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let phones = table(&path, "phones.csv");
    let of = |result: &str, group: &str| {
        phones
            .rows()
            .filter(|row| row.text("result") == result && row.text("group") == group)
            .count()
    };
    assert_eq!((of("stuck", "short"), of("ready", "both")), (200, 1_800));
    assert_eq!(phones.rows().count(), 2_000);
}

#[test]
fn phones_of_silent_tftp_nodes_are_one_reason_that_names_the_nodes() {
    let out = tempfile::tempdir().unwrap();
    let stop = |node: &str| {
        format!("{{when=\"fleet-settled\",stop={{service=\"tftp\",node=\"{node}\"}}}}")
    };
    let reset = "{after=\"previous\",reset-phones={spread=\"1s\"}}";
    let events = format!("event=[{},{},{reset}]", stop("pub"), stop("sub"));
    let more = ["--set", &events, "--set", "slo=[]"];
    let (ended, path) = sim(out.path(), "scenarios/one-type-at-a-time.toml", 40, &more);
    let summary = json(&path, "summary.json");
    let [silent] = &summary["stranded"].as_array().unwrap()[..] else { panic!("{summary}") };
    assert_eq!((&silent["outcome"], &silent["phones"]), (&"failed".into(), &40.into()));
    assert_eq!(silent["by_tftp"], serde_json::json!({ "pub": 20, "sub": 20 }));
    let text = words(&ended.out);
    assert!(text.contains("first see why TFTP on pub, sub did not answer"), "{text}");
}

/// The scenario of a run that strands phones, with the steps of one of its remedies behind it.
fn rehearsed(path: &Path, remedy: usize) -> String {
    let summary = json(path, "summary.json");
    let steps = summary["stranded"][0]["remedies"][remedy]["steps"].as_str().unwrap().to_owned();
    assert!(!steps.is_empty(), "{summary}");
    let scenario = read(path, "scenario.toml");
    let (before, _) = scenario.split_once("[[slo]]").unwrap();
    format!("{before}\n{steps}\n[[slo]]\nexpr = \"phones.ready == phones.total\"\n")
}

#[test]
fn a_remedy_that_is_rehearsed_brings_all_phones_back() {
    // Before the way back that these scenarios have themselves.
    let cases = [
        (SHORT, vec![], vec![0]),
        (RESTORE, vec!["event.restore-1={after='previous', start={node='pub'}}"], vec![0, 2]),
        (
            LOCALKEY,
            vec!["event.reset-itl-localkey-1={after='previous', start={node='pub'}}"],
            vec![0, 1],
        ),
    ];
    for (scenario, sets, remedies) in cases {
        let out = tempfile::tempdir().unwrap();
        let sets: Vec<&str> = sets.into_iter().flat_map(|set| ["--set", set]).collect();
        let (ended, path) = sim(out.path(), scenario, 60, &sets);
        let summary = json(&path, "summary.json");
        assert!(summary["phones"]["stuck"].as_u64() > Some(0), "{scenario}: {}", ended.out);
        for remedy in remedies {
            let file = out.path().join("rehearsed.toml");
            fs::write(&file, rehearsed(&path, remedy)).unwrap();
            let (again, _) = sim(out.path(), file.to_str().unwrap(), 60, &[]);
            assert_eq!(again.code, 0, "{scenario} {remedy}: {}\n{}", again.out, again.err);
        }
    }
}

#[test]
fn an_itl_is_deleted_only_if_all_four_conditions_hold() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), SHORT, 60, &[]);
    let phones = table(&path, "phones.csv");
    let first = |result: &str| {
        let mut rows = phones.rows();
        rows.find(|row| row.text("result") == result).unwrap().text("phone").to_owned()
    };
    let shown = path.to_str().unwrap();
    let stuck = run(&["diagnose", shown, &first("stuck")]);
    assert_eq!(stuck.code, 0, "{}", stuck.err);
    assert!(words(&stuck.out).contains("verdict delete the ITL: all four conditions hold"));
    let ready = run(&["diagnose", shown, &first("ready").to_lowercase(), "--format", "json"]);
    let document: Value = serde_json::from_str(&ready.out).unwrap();
    assert_eq!((ready.code, &document["delete_itl"]), (1, &false.into()));
    assert_eq!(document["conditions"].as_array().unwrap().len(), 4);
    // The serial of the list and that which is presented (TOOL-04).
    let summary = json(&path, "summary.json");
    let presented = summary["presented"].as_array().unwrap().last().unwrap();
    assert!(
        document["conditions"][1]["seen"].as_str().unwrap().contains("presents"),
        "{presented}"
    );
    let nobody = run(&["diagnose", shown, "SEP000000000000"]);
    assert_eq!(nobody.code, 2);
    assert!(nobody.err.contains("help:"), "{}", nobody.err);

    let set = ["--set", "event.restore-1={after='previous', start={node='pub'}}"];
    let (_, path) = sim(out.path(), RESTORE, 20, &set);
    let row = table(&path, "phones.csv");
    let stuck = row.rows().next().unwrap().text("phone").to_owned();
    let backed = run(&["diagnose", path.to_str().unwrap(), &stuck]);
    let text = words(&backed.out);
    assert_eq!(backed.code, 1, "{text}");
    assert!(
        text.contains(
            "do NOT delete the ITL: a backup has the key that it trusts. To restore the node from it \
             is the last resort; if nobody will, erase the list"
        ),
        "{text}"
    );
    // The report ranks the same ways in the same words.
    let summary = json(&path, "summary.json");
    let remedies = summary["stranded"][0]["remedies"].as_array().unwrap();
    let what: Vec<&str> = remedies.iter().map(|way| way["what"].as_str().unwrap()).collect();
    let erased = what.iter().filter(|way| way.contains("erase"));
    for way in erased {
        let unless = "Backup 1 has the key that they trust: only if nobody will restore it";
        assert!(way.ends_with(unless), "{way}");
    }
    assert!(what.last().unwrap().contains("as the last resort"), "{what:?}");
}

#[test]
fn users_are_asked_by_mail_and_locked_phones_are_left() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), SHORT, 2_000, &[]);
    let summary = json(&path, "summary.json");
    let remedies = summary["stranded"][0]["remedies"].as_array().unwrap();
    let by_mail = remedies.iter().position(|one| one["mail"] != "").unwrap();
    let mail = remedies[by_mail]["mail"].as_str().unwrap();
    for part in ["Subject: ", "Security Configuration > Trust List > ITL File", "**#", "Erase"] {
        assert!(mail.contains(part), "{part} in {mail}");
    }
    let page = read(&path, "report.html");
    assert!(page.contains("<summary>the mail</summary>") && page.contains("opens the lock"));
    // 200 are stuck; the settings of three in ten are locked.
    let file = out.path().join("rehearsed.toml");
    fs::write(&file, rehearsed(&path, by_mail)).unwrap();
    let (_, path) = sim(out.path(), file.to_str().unwrap(), 2_000, &[]);
    let phones = &json(&path, "summary.json")["phones"];
    let (stuck, erased) = (phones["stuck"].as_u64().unwrap(), phones["erased"].as_u64().unwrap());
    assert!((40..80).contains(&stuck) && stuck + erased == 200, "{stuck} stuck, {erased} erased");
}

#[test]
fn a_trace_has_the_words_of_the_tvs_servers() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), SHORT, 60, &[]);
    let shown = path.to_str().unwrap();
    // Who is stuck has refused the server; who is ready was answered.
    let stuck = run(&["trace", shown, "--stuck", "--worst", "1", "--tvs"]).out;
    let phone = stuck.split_whitespace().next().unwrap();
    assert!(stuck.contains(&format!("TVS pub | debug Got a new ph conn {phone}")), "{stuck}");
    assert!(stuck.contains("TLS HS failed") && !stuck.contains("MsgType"), "{stuck}");
    let phones = table(&path, "phones.csv");
    let ready = phones.rows().find(|row| row.text("result") == "ready").unwrap();
    let ready = run(&["trace", shown, ready.text("phone"), "--tvs"]).out;
    let at = |part: &str| ready.find(part).unwrap_or_else(|| panic!("{part} in {ready}"));
    let asked = at("TVS sub | debug MsgType : TVS_MSG_QUERY_CERT_REQ");
    assert!(asked < at("Certificate found and equal") && !ready.contains("READY"), "{ready}");
    assert!(at("TVS_MSG_QUERY_CERT_RES, status 0") > asked);
}

#[test]
fn a_script_erases_no_itl_where_tvs_and_the_secure_authentication_url_are_broken() {
    let out = tempfile::tempdir().unwrap();
    let diagnosed = |sets: &[&str]| {
        let (_, path) = sim(out.path(), SHORT, 60, sets);
        let phones = table(&path, "phones.csv");
        let stuck = phones.rows().find(|row| row.text("result") == "stuck").unwrap();
        let ready = phones.rows().find(|row| row.text("result") == "ready").unwrap();
        assert_eq!(ready.text("scriptable"), "yes", "TVS vouches for its server");
        let words_of = ["diagnose", path.to_str().unwrap(), stuck.text("phone")];
        (stuck.text("scriptable").to_owned(), words(&run(&words_of).out))
    };
    let (scriptable, text) = diagnosed(&[]);
    assert_eq!(scriptable, "no");
    assert!(text.contains("script a script that pushes keys (SOAP, XML) cannot"), "{text}");
    let (scriptable, text) = diagnosed(&["--set", "cluster.secured-phone-url=http"]);
    assert_eq!(scriptable, "yes");
    assert!(text.contains("a script that pushes keys (SOAP, XML) can do it"), "{text}");
}

#[test]
fn a_trace_of_capf_stands_in_for_a_capture_of_port_3804() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), "scenarios/lsc-rollout.toml", 20, &[]);
    let capf = run(&["trace", path.to_str().unwrap(), "--step", "capf", "--worst", "1"]);
    assert_eq!(capf.code, 0, "{}", capf.err);
    for part in ["goes to CAPF", "capf       pub", "(server presents CAPF of pub", "makes a pair"] {
        assert!(capf.out.contains(part), "{part} in {}", capf.out);
    }
}

#[test]
fn a_run_without_a_reset_says_that_nothing_was_tried_instead_of_that_all_are_ready() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("none.toml");
    let text = "schema=1\nname='none'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=3\n";
    fs::write(&file, text).unwrap();
    let (_, path) = sim(out.path(), file.to_str().unwrap(), 3, &[]);
    for name in ["report.html", "report.md"] {
        let report = read(&path, name);
        assert!(report.contains("0 of 3 phones are ready"), "{name}");
        assert!(!report.contains("every phone is ready"), "{name}");
    }
    let ended = run(&["diagnose", path.to_str().unwrap(), "SEP0C75BD000000"]);
    let text = words(&ended.out);
    assert!(text.contains("not reset in this run") && !text.contains("serves none"), "{text}");
}

#[test]
fn what_a_trace_cannot_show_is_refused_with_what_there_is() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), SHORT, 20, &[]);
    let shown = path.to_str().unwrap();
    let step = run(&["trace", shown, "--step", "nonsense"]);
    assert_eq!(step.code, 2);
    assert!(step.err.contains("no step `nonsense`") && step.err.contains("itl"), "{}", step.err);
    let none = run(&["trace", shown, "--worst", "0"]);
    assert!(none.code == 2 && none.err.contains("a whole number from 1"), "{}", none.err);
}

#[test]
fn a_trace_tells_what_a_phone_did_saw_and_decided_with_servers_and_certificates_by_name() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), SHORT, 60, &[]);
    let shown = path.to_str().unwrap();
    let stuck = run(&["trace", shown, "--stuck", "--worst", "1"]);
    assert_eq!(stuck.code, 0, "{}", stuck.err);
    for part in [
        "group short",
        "ITL file",
        "server signs the list with CallManager of pub",
        "REFUSES TVS pub: it presents TVS of pub",
        "REFUSES the ITL",
        "STUCK",
    ] {
        assert!(stuck.out.contains(part), "{part} in {}", stuck.out);
    }
    assert!(!stuck.out.contains("READY"), "only stuck ones: {}", stuck.out);
    // Any phone of a run in virtual time, every boot of it.
    let phones = table(&path, "phones.csv");
    let ready = phones.rows().find(|row| row.text("result") == "ready").unwrap();
    let one = run(&["trace", shown, ready.text("phone")]);
    assert_eq!(one.out.matches("READY").count(), 2, "two resets: {}", one.out);
    let end = one.out.lines().rev().find(|line| line.contains("READY")).unwrap();
    let end: f64 = end.split_whitespace().next().unwrap().parse().unwrap();
    assert!((end - ready.number("ready_s").unwrap()).abs() < 0.001, "{end}");
    let tvs = run(&["trace", shown, "--step", "tvs", "--format", "json"]);
    let document: Value = serde_json::from_str(&tvs.out).unwrap();
    assert!(!document["boots"].as_array().unwrap().is_empty());
    let nobody = run(&["trace", shown, "SEP1"]);
    assert_eq!(nobody.code, 2);
    assert!(nobody.err.contains("help: its phones are"), "{}", nobody.err);
}

#[test]
fn a_trace_has_the_words_of_a_phones_console_log() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), "scenarios/callmanager-regen.toml", 20, &[]);
    let phone = table(&path, "phones.csv").rows().next().unwrap().text("phone").to_owned();
    let console = run(&["trace", path.to_str().unwrap(), &phone, "--console"]).out;
    let at = |part: &str| console.find(part).unwrap_or_else(|| panic!("{part} in {console}"));
    let asked = at(&format!("TFTP: [27]:Requesting CTL{phone}.tlv from 127.0.0.1"));
    let came = at("TFTP: [27]:Finished --> rcvd ");
    let verified = at("File sign verify SUCCESS; header length <");
    let config = at("verifyFile: verify SUCCESS");
    assert!(asked < came && came < verified && verified < config, "{console}");
    let length = console[verified..].split(['<', '>']).nth(1).unwrap();
    assert!((200..700).contains(&length.parse::<u32>().unwrap()), "{length}");
}

#[test]
fn the_table_of_phones_says_with_which_node_each_is_registered_and_since_when() {
    let out = tempfile::tempdir().unwrap();
    let stop = "event.2.stop.for=3s";
    let sets = ["--set", "registration.monitor=2s", "--set", stop, "--set", "slo=[]"];
    let (_, path) = sim(out.path(), "scenarios/node-failover.toml", 60, &sets);
    let phones = table(&path, "phones.csv");
    let summary = json(&path, "summary.json");
    for (group, node) in [("one", "sub1"), ("two", "sub2")] {
        let of_group: Vec<_> = phones.rows().filter(|row| row.text("group") == group).collect();
        assert_eq!(of_group.len(), 30);
        assert_eq!(summary["registration"]["by_node"][node]["registered"], 30);
        for row in of_group {
            assert_eq!(row.text("registration"), "registered");
            assert_eq!(row.text("registered_with"), node);
            assert!(row.number("registered_s") >= row.number("ready_s"));
        }
    }
    let without = sim(out.path(), "scenarios/callmanager-regen.toml", 5, &["--set", "slo=[]"]).1;
    let phones = table(&without, "phones.csv");
    assert!(phones.rows().all(|row| row.text("registration").is_empty()));
}

#[test]
fn a_trace_names_the_tvs_server_whose_name_has_no_record() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), "scenarios/dns-record-missing.toml", 40, &[]);
    let phones = table(&path, "phones.csv");
    let resolves = |name: &str| format!("Failed to resolve Tvs Ipv4 Address with hostname {name}");
    // Nobody vouches for list and configuration, or the other server for both.
    for (group, lookups, answered) in [("one", 2, 0), ("both", 1, 1)] {
        let phone = phones.rows().find(|row| row.text("group") == group).unwrap();
        let phone = [path.to_str().unwrap(), phone.text("phone")];
        let console = run(&["trace", phone[0], phone[1], "--console"]).out;
        assert_eq!(console.matches(&resolves("sub1.cucm.example")).count(), lookups, "{console}");
        assert!(!console.contains(&resolves("sub2")), "{console}");
        let answers = run(&["trace", phone[0], phone[1], "--tvs"]).out;
        let of_sub2 = answers.matches("TVS sub2 | debug MsgType : TVS_MSG_QUERY_CERT_RES").count();
        assert_eq!(of_sub2, answered, "{answers}");
    }
}

#[test]
fn a_trace_of_tvs_has_the_cipher_of_the_release_or_what_a_scenario_calls_it() {
    let out = tempfile::tempdir().unwrap();
    for (set, cipher) in [
        (&[][..], "AES256-SHA"),
        (&["--set", "cluster.tvs-cipher=AES128-SHA"], "AES128-SHA"),
        (&["--set", "cluster.release=11.5"], "ECDHE-RSA-AES256-GCM-SHA384"),
    ] {
        let (_, path) = sim(out.path(), "scenarios/callmanager-regen.toml", 20, set);
        let phone = table(&path, "phones.csv").rows().next().unwrap().text("phone").to_owned();
        let tvs = run(&["trace", path.to_str().unwrap(), &phone, "--tvs"]).out;
        let at = |part: &str| tvs.find(part).unwrap_or_else(|| panic!("{part} in {tvs}"));
        let shaken = at(&format!("tvsSSLHandShake Session ciphers - {cipher}\n"));
        assert!(shaken < at("MsgType : TVS_MSG_QUERY_CERT_REQ"), "{tvs}");
    }
}

#[test]
fn a_trace_of_a_phone_that_finds_no_capf_has_the_lines_of_the_documents_in_their_order() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), "scenarios/lsc-dns-missing.toml", 20, &[]);
    let phone = table(&path, "phones.csv").rows().next().unwrap().text("phone").to_owned();
    let console = run(&["trace", path.to_str().unwrap(), &phone, "--console"]).out;
    let capf = [
        "CAPF_START_MODE: Start CAPF - mode:[1]([NULL_STR]), reason:[1]([AUTO])",
        "query[A] pub.cucm.example from 127.0.0.1",
        "forwarded pub.cucm.example to the configured DNS",
        "reply pub.cucm.example is NXDOMAIN",
        "Sec create BIO - invalid parameter.",
        "CAPF operation failed, ret -7",
        "LSC: Connection failed",
    ];
    in_turn(&console, &capf);
    // A list of an unknown signer before it: TVS has the name without a record, too, and of CAPF the
    // cache of the phone knows that.
    let steps = out.path().join("steps.toml");
    let text = fs::read_to_string("scenarios/lsc-dns-missing.toml").unwrap();
    let (before, _) = text.split_once("[[slo]]").unwrap();
    let more = "[[event]]\nwhen='fleet-settled'\n\
        regenerate={certificate='ITLRecovery', node='pub'}\n\
        [[event]]\nafter='previous'\nrestart={service='tftp', node='pub'}\n\
        [[event]]\nafter='previous'\nreset-phones={spread='30s'}\n[run]\nmax-wall='5m'\n";
    fs::write(&steps, format!("{before}{more}")).unwrap();
    let wait = ["--set", "phone.dns-negative-ttl=20s", "--set", "cluster.release=14"];
    let (_, path) = sim(out.path(), steps.to_str().unwrap(), 20, &wait);
    let phone = table(&path, "phones.csv").rows().next().unwrap().text("phone").to_owned();
    let console = run(&["trace", path.to_str().unwrap(), &phone, "--console"]).out;
    let last = console.rfind("Failed to resolve Tvs").unwrap_or_else(|| panic!("{console}"));
    let tvs = [
        "query[A] pub.cucm.example from 127.0.0.1",
        "forwarded pub.cucm.example to the configured DNS",
        "reply pub.cucm.example is NXDOMAIN",
        "Failed to resolve Tvs Ipv4 Address with hostname pub.cucm.example",
        "Trust List Verification Failed",
    ];
    in_turn(&console, &tvs);
    let cached = ["cached pub.cucm.example is NXDOMAIN"];
    in_turn(&console[last..], &[&capf[..2], &cached, &capf[4..]].concat());
}

#[test]
fn a_report_says_that_keys_for_lscs_are_of_a_pool_and_how_many() {
    let out = tempfile::tempdir().unwrap();
    let (ended, path) = sim(out.path(), "scenarios/lsc-rollout.toml", 20, &[]);
    let said = words(&ended.out);
    assert!(said.contains("20 pairs of keys from a pool made before, none generated"), "{said}");
    for file in ["report.html", "report.md"] {
        let report = words(&read(&path, file));
        let part =
            "20 pairs of keys that phones made for LSCs are of a pool that was made before (8 of a";
        assert!(report.contains(part), "{file}");
    }
    // Phones make no such keys: none is of a pool then.
    let other = ["--set", "slo=[]", "--set", "event.lsc-1.roll-out-lsc.key=rsa-1024"];
    let (ended, path) = sim(out.path(), "scenarios/lsc-rollout.toml", 20, &other);
    let (said, summary) = (words(&ended.out), json(&path, "summary.json"));
    assert!(said.contains("20 of a kind that phones do not make here"), "{said}");
    assert_eq!((&summary["lsc"]["keys"], &summary["lsc"]["installed"]), (&0.into(), &0.into()));
    assert!(!read(&path, "report.md").contains("pairs of keys"));
}

/// These lines stand in a text, one behind the other.
fn in_turn(text: &str, lines: &[&str]) {
    let mut rest = text;
    for line in lines {
        let at = rest.find(line).unwrap_or_else(|| panic!("{line} in its turn in {text}"));
        rest = &rest[at + line.len()..];
    }
}

/// The histograms of a log by tag, those of one tag added up.
fn logged(text: &str, tag: &str) -> Histogram<u64> {
    let mut all = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).unwrap();
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        if interval.tag().map(|found| found.as_str()) == Some(tag) {
            let bytes = base64(interval.encoded_histogram());
            let one: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
            all.add(one).unwrap();
        }
    }
    all
}

fn base64(text: &str) -> Vec<u8> {
    use base64ct::Encoding;
    base64ct::Base64::decode_vec(text).unwrap()
}

#[test]
fn the_same_figure_stands_in_text_json_csv_prometheus_and_the_histogram_log() {
    let out = tempfile::tempdir().unwrap();
    let (ended, path) = sim(out.path(), SHORT, 2_000, &["--openmetrics"]);
    let summary = json(&path, "summary.json");
    let (phones, timeline) = (table(&path, "phones.csv"), table(&path, "timeline.csv"));
    let metrics = read(&path, "metrics.prom");
    let last = |name: &str| {
        let mut of = metrics.lines().filter(|line| line.starts_with(name));
        of.next_back().unwrap_or_else(|| panic!("{name}")).split(' ').nth(1).unwrap().to_owned()
    };
    for state in ["ready", "stuck", "failed"] {
        let count = summary["phones"][state].as_u64().unwrap();
        let rows = phones.rows().filter(|row| row.text("result") == state).count() as u64;
        let column = if state == "ready" { "ready".to_owned() } else { format!("phones_{state}") };
        let end = timeline.rows().last().unwrap().number(&column).unwrap() as u64;
        let exposed: f64 =
            last(&format!("resetstorm_phones{{state=\"{state}\"}}")).parse().unwrap();
        assert_eq!((rows, end, exposed as u64), (count, count, count), "{state}");
        assert!(words(&ended.out).contains(&format!("{} {state}", spaced(count))), "{state}");
    }
    // Times of the fleet from single phones.
    let storm = summary["operator"].as_array().unwrap().iter();
    let storm = storm.filter(|step| step["what"].as_str().unwrap().starts_with("reset phones"));
    let storm = storm.map(|step| step["at_s"].as_f64().unwrap()).next().unwrap();
    let mut ready: Vec<f64> = phones.rows().filter_map(|row| row.number("ready_s")).collect();
    ready.sort_by(f64::total_cmp);
    let half = ready[phones.rows().count() / 2 - 1] - storm;
    assert!((half - summary["fleet_ready_s"]["p50"].as_f64().unwrap()).abs() < 1e-5, "{half}");
    // Steps: sums of the timeline, histograms of the log, counters.
    let log = read(&path, "latency.hlog");
    for step in summary["steps"].as_array().unwrap() {
        let name = step["step"].as_str().unwrap();
        for (key, column) in [("ok", "ok"), ("failed", "failed"), ("retry", "retried")] {
            let sum: f64 = timeline
                .rows()
                .filter(|row| row.text("step") == name)
                .filter_map(|row| row.number(column))
                .sum();
            assert_eq!(sum as u64, step[key].as_u64().unwrap(), "{name} {key}");
        }
        let outcome = format!("resetstorm_operations_total{{step=\"{name}\",outcome=\"ok\"}}");
        assert_eq!(last(&outcome).parse::<f64>().unwrap() as u64, step["ok"].as_u64().unwrap());
        for kind in ["response", "service"] {
            let times = logged(&log, &format!("{name}.{kind}"));
            let of = |quantile: f64| {
                (!times.is_empty()).then(|| times.value_at_quantile(quantile) as f64 / 1e6)
            };
            let of_step = &step[format!("{kind}_time_s")];
            assert_eq!(of(0.5), of_step["p50"].as_f64(), "{name} {kind}");
            if !of_step["p99"].is_null() {
                assert_eq!(of(0.99), of_step["p99"].as_f64(), "{name} {kind}");
            }
        }
    }
    let shares = summary["attribution"].as_array().unwrap().iter();
    let sum: f64 = shares.map(|part| part["ratio"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    let junit = read(&path, "junit.xml");
    let slos = summary["slos"].as_array().unwrap().len();
    assert_eq!(junit.matches("<testcase ").count(), slos);
}

/// The cells of a row of a text, behind its name: two blanks or more are between them.
fn cells<'a>(text: &'a str, name: &str) -> Vec<Vec<&'a str>> {
    let rows = text.lines().filter(|line| line.split("  ").next() == Some(name));
    let cells = |line: &'a str| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.skip(1).collect::<Vec<_>>()
    };
    rows.map(cells).collect()
}

#[test]
fn the_same_figure_stands_in_text_html_markdown_and_the_histograms_of_prometheus() {
    use resetstorm::base::words::seconds;
    let out = tempfile::tempdir().unwrap();
    let (ended, path) = sim(out.path(), SHORT, 2_000, &["--openmetrics"]);
    let summary = json(&path, "summary.json");
    let [page, markdown, log, metrics] =
        ["report.html", "report.md", "latency.hlog", "metrics.prom"].map(|name| read(&path, name));
    let mut seen = 0;
    for step in summary["steps"].as_array().unwrap() {
        let name = step["step"].as_str().unwrap();
        if step["count"] == 0 {
            continue;
        }
        seen += 1;
        let counted = |key: &str| step[key].as_u64().map_or("-".to_owned(), spaced);
        let counts = ["count", "ok", "not_found", "stuck", "failed", "retry"].map(counted);
        let time = |kind: &str, key: &str| seconds(step[format!("{kind}_time_s")][key].as_f64());
        let text = cells(&ended.out, name);
        let times = [
            time("service", "p50"),
            time("service", "p99"),
            time("response", "p50"),
            time("response", "p99"),
            time("response", "max"),
        ];
        let [told_counts, told_times] = &text[..] else { panic!("{name}: {text:?}") };
        assert_eq!(
            (&told_counts[..], &told_times[..]),
            (&counts.each_ref().map(|c| &c[..])[..], &times.each_ref().map(|t| &t[..])[..]),
            "{name}"
        );
        let html: String =
            counts.iter().flat_map(|cell| ["<td class=\"n\">", cell, "</td>"]).collect();
        assert!(page.contains(&format!("<tr><td>{name}</td>{html}</tr>")), "{name}: {html}");
        for kind in ["response", "service"] {
            let dim = if kind == "service" { " dim" } else { "" };
            let cell = |key: &str| format!("<td class=\"n{dim}\">{}</td>", time(kind, key));
            let row = format!("{}{}{}", cell("p50"), cell("p90"), cell("p99"));
            assert!(page.contains(&row), "{name} {kind}: {row}");
            // All that was logged is counted, and no more.
            let times = logged(&log, &format!("{name}.{kind}")).len();
            let bucket = format!(
                "resetstorm_operation_duration_seconds_count{{step=\"{name}\",kind=\"{kind}\"}} "
            );
            let mut exposed = metrics.lines().filter_map(|line| line.strip_prefix(&bucket));
            let exposed = exposed.next_back().unwrap_or_else(|| panic!("{bucket}"));
            let exposed: f64 = exposed.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(exposed as u64, times, "{name} {kind}");
        }
        let row = [&counts[..], &times[2..]].concat().join(" | ");
        assert!(markdown.contains(&format!("| {name} | {row} |")), "{name}: {row} in {markdown}");
    }
    assert!(seen >= 5, "{seen}");
    // Times of the fleet, and the conditions.
    for key in ["p50", "p90", "p99", "last"] {
        let (share, tile) = match key {
            "last" => ("last".to_owned(), "all ready".to_owned()),
            key => (format!("{} %", &key[1..]), format!("{} % ready", &key[1..])),
        };
        let ready = seconds(summary["fleet_ready_s"][key].as_f64());
        assert!(words(&ended.out).contains(&format!("{share} {ready}")), "{share} {ready}");
        assert!(page.contains(&format!("<b>{ready}</b>{tile}")), "{ready} {tile}");
    }
    for slo in summary["slos"].as_array().unwrap() {
        let expr = slo["expr"].as_str().unwrap();
        assert!(words(&ended.out).contains(expr) && markdown.contains(expr), "{expr}");
    }
    // Shares of time add up to a whole in the page, too.
    let part = page.split("id=\"attribution\"").nth(1).unwrap().split("</table>").next().unwrap();
    let shares: Vec<f64> =
        part.split(" %</td>").filter_map(|part| part.rsplit('>').next()?.parse().ok()).collect();
    assert_eq!(shares.len(), summary["attribution"].as_array().unwrap().len());
    assert!((shares.iter().sum::<f64>() - 100.0).abs() < 1e-6, "{shares:?}");
}

/// A number with its thousands apart.
fn spaced(number: u64) -> String {
    resetstorm::base::words::count(number)
}

/// The drawings of a page with their titles.
fn drawings(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split("<svg role=\"img\"").skip(1);
    parts
        .map(|part| {
            let body = part.split("</svg>").next().unwrap();
            let title = body.split("<title>").nth(1).unwrap().split("</title>").next().unwrap();
            (title, body)
        })
        .collect()
}

#[test]
fn the_report_is_one_page_without_script_or_network_that_has_every_section_and_figure() {
    let out = tempfile::tempdir().unwrap();
    let (ended, path) = sim(out.path(), SHORT, 2_000, &[]);
    assert!(ended.out.contains("report: "), "{}", ended.out);
    let (page, summary) = (read(&path, "report.html"), json(&path, "summary.json"));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    for foreign in ["<script", "http://", "https://", "@import", "url("] {
        let found = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!found.contains(foreign), "{foreign}");
    }
    let sections = [
        "slos",
        "stranded",
        "ready",
        "states",
        "steps",
        "percentiles",
        "heat",
        "attribution",
        "servers",
        "trust",
        "retries",
        "worst",
        "generator",
        "guesses",
        "numbers",
        "notes",
        "words",
    ];
    for section in sections {
        assert!(page.contains(&format!("<h2 id=\"{section}\">")), "{section}");
    }
    let drawings = drawings(&page);
    assert!(drawings.len() >= 8, "{}", drawings.len());
    for (title, body) in &drawings {
        let marks = ["<polyline", "<path", "<rect", "<polygon", "<line"];
        let count: usize = marks.iter().map(|mark| body.matches(mark).count()).sum();
        assert!(count > 4, "{title}: {count} marks");
        assert!(!body.contains("NaN") && !body.contains("inf"), "{title}");
    }
    for (name, count) in [("stuck", 200_u64), ("ready", 1_800)] {
        assert_eq!(summary["phones"][name], count);
        let tile = format!("<b>{}</b>{name}", spaced(count));
        assert!(page.contains(&tile), "{tile}");
    }
    let ready = summary["fleet_ready_s"]["p50"].as_f64();
    let tile = format!("<b>{}</b>50 % ready", resetstorm::base::words::seconds(ready));
    assert!(page.contains(&tile), "{tile}");
    assert!(page.contains("about 17 technician-hours") && page.contains("refused the list"));
    let markdown = read(&path, "report.md");
    for part in
        ["# two-tftp-short-group: PASS", "| stuck |", "**200 stuck**", "17 technician-hours"]
    {
        assert!(markdown.contains(part), "{part} in {markdown}");
    }
    let tiles = markdown.lines().filter(|line| line.starts_with("| 2 000 | 1 800 | 200 |"));
    assert_eq!(tiles.count(), 1, "{markdown}");

    // Written again it is the same, and a directory without files is refused in words.
    let again = out.path().join("again");
    fs::create_dir(&again).unwrap();
    let words = ["report", path.to_str().unwrap(), "--out", again.to_str().unwrap()];
    assert_eq!(run(&words).code, 0);
    assert_eq!(read(&again, "report.html"), page);
    // A file that was cut off is no smaller fleet.
    for name in ["phones.csv", "timeline.csv"] {
        let whole = read(&path, name);
        for length in [20, whole.len() - 5] {
            fs::write(path.join(name), &whole[..length]).unwrap();
            let cut = run(&words);
            let said = cut.err.contains(name) && cut.err.contains("help: ");
            assert!(cut.code == 2 && said, "{name} {length}: {}", cut.err);
        }
        fs::write(path.join(name), whole).unwrap();
    }
    fs::remove_file(path.join("phones.csv")).unwrap();
    let broken = run(&words);
    assert_eq!(broken.code, 2);
    assert!(broken.err.contains("phones.csv") && broken.err.contains("help: "), "{}", broken.err);
}

/// The texts of a drawing with where they are.
fn texts(svg: &str) -> Vec<(f64, f64, String)> {
    let parts = svg.split("<text ").skip(1);
    parts
        .map(|part| {
            let (head, rest) = part.split_once('>').unwrap();
            let at = |key: &str| -> f64 {
                let value = head.split(&format!("{key}=\"")).nth(1).unwrap();
                value.split('"').next().unwrap().parse().unwrap()
            };
            (at("x"), at("y"), rest.split("</text>").next().unwrap().trim().to_owned())
        })
        .collect()
}

#[test]
fn a_comparison_of_two_axes_has_heat_maps_whose_cells_are_the_numbers_of_its_table() {
    let out = tempfile::tempdir().unwrap();
    let [page, csv] = ["grid.html", "grid.csv"].map(|name| out.path().join(name));
    let ended = run(&[
        "whatif",
        "scenarios/storm-all-at-once.toml",
        "--phones",
        "60",
        "--vary",
        "cluster.cost.cores=1,2,4",
        "--vary",
        "cluster.sign-cache=off,prewarm",
        "--vary",
        "seed=7,8",
        "--csv",
        csv.to_str().unwrap(),
        "--report",
        page.to_str().unwrap(),
    ]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let (page, csv) = (fs::read_to_string(page).unwrap(), fs::read_to_string(csv).unwrap());
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 13, "{csv}");
    let drawings = drawings(&page);
    let seen: Vec<&str> = drawings.iter().map(|(title, _)| *title).collect();
    for seed in [7, 8] {
        for name in ["stuck", "99 % ready", "server CPU"] {
            let title = format!("{name}: seed {seed}");
            let at = seen.iter().position(|seen| *seen == title);
            let at = at.unwrap_or_else(|| panic!("{title} in {seen:?}"));
            let texts = texts(drawings[at].1);
            let place = |name: &str| {
                let of = texts.iter().find(|(_, _, text)| text == name);
                of.unwrap_or_else(|| panic!("{name} in {texts:?}"))
            };
            let column = rows[0].iter().position(|head| *head == name).unwrap();
            for row in rows[1..].iter().filter(|row| row[2] == seed.to_string()) {
                // Fewer values go across.
                let (across, down) = (place(row[1]).0, row_of(&texts, row[0]));
                let is_it = |(x, y, _): &&(f64, f64, String)| {
                    (x - across).abs() < 2.0 && (y - down).abs() < 2.0
                };
                let [(_, _, shown)] = &texts.iter().filter(is_it).collect::<Vec<_>>()[..] else {
                    panic!("one text at {across} {down} in {texts:?}")
                };
                let expected = match name {
                    "stuck" => row[column].to_owned(),
                    _ => format!("{:.2} s", row[column].parse::<f64>().unwrap()),
                };
                assert_eq!(*shown, expected, "{title} {row:?}");
                // The table of the page has it, too.
                assert!(page.contains(&format!("<td class=\"n\">{expected}</td>")), "{expected}");
            }
        }
    }
    assert_eq!(page.matches("<tr>").count(), 13);
    assert!(!page.contains("<script") && !page.replace("www.w3.org", "").contains("http://www"));
}

/// How far down the name of a row is: names of rows stand left of the cells.
fn row_of(texts: &[(f64, f64, String)], name: &str) -> f64 {
    let named = texts.iter().filter(|(_, _, text)| text == name);
    named.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_else(|| panic!("{name} in {texts:?}")).1
}

#[test]
fn a_live_run_leaves_the_same_files_and_its_times_add_up() {
    let out = tempfile::tempdir().unwrap();
    let ports = "cluster.node.pub.ports={ tftp = 0, tvs = 0, capf = 0 }";
    let spread = "event.reset-1.reset-phones.spread=500ms";
    let ended = run(&[
        "run",
        "scenarios/callmanager-regen.toml",
        "--phones",
        "40",
        "--set",
        ports,
        "--set",
        spread,
        "--out",
        out.path().to_str().unwrap(),
        "--quiet",
    ]);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    let path = fs::canonicalize(out.path().join("latest")).unwrap();
    let summary = json(&path, "summary.json");
    let (phones, timeline) = (table(&path, "phones.csv"), table(&path, "timeline.csv"));
    assert_eq!(phones.rows().filter(|row| row.text("result") == "ready").count(), 40);
    assert_eq!(timeline.rows().last().unwrap().number("ready"), Some(40.0));
    let shares = summary["attribution"].as_array().unwrap().iter();
    let sum: f64 = shares.map(|part| part["ratio"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    // All of the time of all boots, and no more.
    let boots: f64 = phones.rows().filter_map(|row| row.number("boot_s")).sum();
    let shares = summary["attribution"].as_array().unwrap().iter();
    let spent: f64 = shares.map(|part| part["seconds"].as_f64().unwrap()).sum();
    assert!((spent - boots).abs() < 1e-3, "{spent} of {boots}");
    let log = read(&path, "latency.hlog");
    let boot = &summary["steps"][0];
    let times = logged(&log, "boot.response");
    assert_eq!(times.len(), boot["count"].as_u64().unwrap());
    let (logged, told) = (
        times.value_at_quantile(0.5) as f64 / 1e6,
        boot["response_time_s"]["p50"].as_f64().unwrap(),
    );
    assert!((logged - told).abs() < 1e-9, "{logged} in the log, {told} in the summary");
    let phone = phones.rows().next().unwrap().text("phone").to_owned();
    let trace = run(&["trace", path.to_str().unwrap(), &phone]);
    assert_eq!(trace.code, 0, "all of so small a fleet are kept: {}", trace.err);
    assert!(trace.out.contains("server signs the list with CallManager of pub"), "{}", trace.out);
    assert!(trace.out.contains("READY") && trace.out.contains(" why: "), "{}", trace.out);
    assert!(read(&path, "report.html").contains("<h2 id=\"stranded\">"));
}

#[test]
fn speed_tells_signatures_checks_handshakes_cache_and_files_of_one_core() {
    let ended = run(&["speed", "--each", "1ms", "--format", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("Doing sign rsa 2048 sha512: "), "{}", ended.err);
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    let rows = document["rows"].as_array().unwrap();
    for (what, with) in [
        ("sign", "rsa 1024 sha1"),
        ("verify", "rsa 2048 sha512"),
        ("sign", "rsa 4096 sha1"),
        ("sign", "ecdsa p256 sha256"),
        ("verify", "ecdsa p384 sha384"),
        ("handshake", "tls, rsa 2048, both sides"),
        ("cache", "hit of 10 000"),
        ("file", "signed each time"),
        ("file", "out of the cache"),
    ] {
        let row = rows.iter().find(|row| row["what"] == what && row["with"] == with);
        let row = row.unwrap_or_else(|| panic!("{what} {with} in {}", ended.out));
        assert!(row["per_second"].as_f64() > Some(0.0) && row["count"].as_u64() > Some(0));
    }
    assert_eq!(run(&["speed", "--each", "never"]).code, 2);
}
