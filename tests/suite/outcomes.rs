//! The outcome matrix of `spec/domain.md` section 13: what becomes of phones of each state when an
//! operator does what the rows say, computed from bytes, signatures and lists in virtual time.
//!
//! Columns: P0 holds no list; P1 an ITL and a group of two TVS nodes; P2 an ITL and a group that is
//! the changed node; P3 CTL (eToken) and ITL; P3t CTL (tokenless) and ITL. Rows 4 and 5 (Tomcat,
//! `IPSec`) and those of migration, central TFTP and CAPF are not played yet.

use std::path::Path;

use resetstorm::base::Span;
use resetstorm::cluster::CertificateKind;
use resetstorm::cluster::operator::certificates::Regenerate;
use resetstorm::measure::{Summary, known_paths};
use resetstorm::scenario::{TimelineEntry, Trigger, load};
use resetstorm::sim::{SimOptions, World};

/// Phones of each world.
const PHONES: u64 = 20;

/// What becomes of the phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All recover; none asks TVS.
    R,
    /// All recover; each needed so many answers of TVS.
    T(u64),
    /// All are stuck until the CTL is updated, and recover then.
    C,
    /// They cannot, as long as the fault is there, and recover at the next boot after it.
    F,
    /// All are stuck, and an update of a CTL, if there is one, does not help.
    X,
}

use Outcome::{C, F, R, T, X};

/// A phone and its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    P0,
    P1,
    P2,
    P3,
    P3t,
}

use Column::{P0, P1, P2, P3, P3t};

#[derive(Clone, Copy, Debug)]
struct Cell {
    release: &'static str,
    column: Column,
    /// Whether the publisher is alone.
    is_single: bool,
    /// `fleet.tftp`.
    tftp: &'static str,
}

/// Files of the publisher.
const ONE: &str = "\"pub\"";
/// Two servers in option 150.
const TWO: &str = "[[\"pub\", \"sub\"]]";

impl Cell {
    fn head(self) -> String {
        let Cell { release, column, is_single, tftp } = self;
        let security = match column {
            P3 => "security-mode = \"mixed\"\netokens = [\"a\", \"b\"]\n",
            P3t => "security-mode = \"mixed\"\netokens = []\n",
            P0 | P1 | P2 => "",
        };
        let members = match column {
            P2 => "\"pub\"",
            _ if is_single => "\"pub\"",
            _ => "\"pub\", \"sub\"",
        };
        let start = if column == P0 { "factory" } else { "itl-current" };
        let node = |name: &str, host: u8, services: &str| {
            format!(
                "[[cluster.node]]\nname = \"{name}\"\naddress = \"127.0.0.{host}\"\n\
                 services = [{services}]\n"
            )
        };
        let all = "\"callmanager\", \"tftp\", \"tvs\", \"capf\"";
        let mut text = format!(
            "schema = 1\nname = \"matrix\"\nseed = 1\n[cluster]\nrelease = \"{release}\"\n\
             {security}{}",
            node("pub", 1, all)
        );
        if !is_single {
            text += &node("sub", 2, "\"callmanager\", \"tftp\", \"tvs\"");
        }
        text + &format!(
            "[[cluster.group]]\nname = \"g\"\nmembers = [{members}]\nshare = 1.0\n\
             [fleet]\nphones = {PHONES}\ntftp = {tftp}\nstart = \"{start}\"\n\
             arrival = {{ within = \"1s\" }}\n"
        )
    }

    fn nodes(self) -> &'static [&'static str] {
        if self.is_single { &["pub"] } else { &["pub", "sub"] }
    }

    fn play(self, steps: &[String]) -> Summary {
        let text = self.head() + &steps.concat();
        let plan = load(Path::new("matrix.toml"), &text, &[], &known_paths()).unwrap();
        World::new(&plan, SimOptions::default()).run().summary(&plan)
    }

    /// Plays the steps and tells what comes of it, if need be with an update of the CTL.
    fn outcome(self, steps: &[String]) -> Outcome {
        let summary = self.play(steps);
        let (ready, stuck) = (summary.phones.ready, summary.phones.stuck);
        if ready == PHONES {
            return match summary.tvs.lookups {
                0 => R,
                lookups => {
                    assert_eq!(lookups % PHONES, 0, "{self:?}: {lookups} lookups");
                    T(lookups / PHONES)
                }
            };
        }
        if stuck == 0 {
            let freed = [steps, &self.start("tvs"), &[reset()]].concat();
            assert_eq!(self.play(&freed).phones.ready, PHONES, "{self:?}: frozen for good");
            return F;
        }
        assert_eq!(stuck, PHONES, "{self:?}: {summary:?}");
        if matches!(self.column, P3 | P3t) {
            let updated = [steps, &self.update_ctl(), &[reset()]].concat();
            let summary = self.play(&updated);
            if summary.phones.ready == PHONES {
                return C;
            }
            assert_eq!(summary.phones.stuck, PHONES, "{self:?}");
        }
        X
    }

    fn on_all(self, verb: &str, service: &str) -> Vec<String> {
        let one = |node: &&str| {
            step(&format!("{verb} = {{ service = \"{service}\", node = \"{node}\" }}"))
        };
        self.nodes().iter().map(one).collect()
    }

    fn restart(self) -> Vec<String> {
        [self.on_all("restart", "tvs"), self.on_all("restart", "tftp")].concat()
    }

    fn start(self, service: &str) -> Vec<String> {
        self.on_all("start", service)
    }

    fn update_ctl(self) -> Vec<String> {
        [vec![step("update-ctl = {}")], self.on_all("restart", "tftp")].concat()
    }

    /// The parameter, the restarts and the resets that go with it (SAFE-06 to SAFE-08).
    fn rollback(self, value: bool) -> Vec<String> {
        let set = format!("set-parameter = {{ name = \"rollback-to-pre-8.0\", value = {value} }}");
        let restart = self.on_all("restart", "tftp").concat();
        // The phones that the parameter has reset are back before TFTP restarts.
        let restart = restart.replacen("after = \"previous\"", "when = \"fleet-settled\"", 1);
        vec![settled(&set), restart, settled(RESET)]
    }

    /// These certificates change on these nodes, the services restart, the phones are reset.
    fn change(self, kinds: &[&str], nodes: &[&str]) -> Vec<String> {
        [regenerate(kinds, nodes), self.restart(), vec![reset()]].concat()
    }
}

fn regenerate(kinds: &[&str], nodes: &[&str]) -> Vec<String> {
    let mut steps = Vec::new();
    for node in nodes {
        for kind in kinds {
            let action = format!("regenerate = {{ certificate = \"{kind}\", node = \"{node}\" }}");
            steps.push(if steps.is_empty() { settled(&action) } else { step(&action) });
        }
    }
    steps
}

const RESET: &str = "reset-phones = { spread = \"1s\" }";

fn reset() -> String {
    step(RESET)
}

fn step(action: &str) -> String {
    format!("[[event]]\nafter = \"previous\"\n{action}\n")
}

fn settled(action: &str) -> String {
    format!("[[event]]\nwhen = \"fleet-settled\"\n{action}\n")
}

/// Release before 12.0 in which a column can be: tokens are the only way before 10.x.
const fn before_12(column: Column) -> &'static str {
    match column {
        P3t => "11.5",
        P0 | P1 | P2 | P3 => "8.6",
    }
}

/// Plays what `steps` says for each column and compares.
fn row(
    number: &str,
    release: fn(Column) -> &'static str,
    is_single: bool,
    expected: &[(Column, Outcome)],
    steps: impl Fn(Cell) -> Vec<String>,
) {
    for &(column, outcome) in expected {
        let world = Cell { release: release(column), column, is_single, tftp: ONE };
        let got = world.outcome(&steps(world));
        assert_eq!(got, outcome, "row {number}, {column:?}, release {}", world.release);
    }
}

const CM: &[&str] = &["CallManager"];
const BOTH: &[&str] = &["CallManager", "TVS"];

#[test]
fn rows_1_to_3_one_certificate_alone() {
    let columns = |outcome| [(P1, outcome), (P2, outcome), (P3, outcome), (P3t, outcome)];
    row("1", before_12, false, &columns(T(1)), |world| world.change(CM, &["pub"]));
    // Whoever comes from the factory takes what is there.
    row("1", before_12, false, &[(P0, R)], |_| Vec::new());
    row("2", before_12, false, &columns(R), |world| world.change(&["TVS"], &["pub"]));
    row("3", before_12, false, &columns(R), |world| world.change(&["CAPF"], &["pub"]));
}

#[test]
fn row_6_both_on_the_only_node() {
    let expected = [(P2, X), (P3, C), (P3t, X)];
    row("6", before_12, true, &expected, |world| world.change(BOTH, &["pub"]));
}

#[test]
fn row_7_both_on_one_of_several_nodes() {
    let expected = [(P1, T(1)), (P2, X), (P3, T(1)), (P3t, T(1))];
    row("7", before_12, false, &expected, |world| world.change(BOTH, &["pub"]));
}

#[test]
fn row_8_both_on_all_nodes_at_once() {
    let expected = [(P1, X), (P2, X), (P3, C), (P3t, X)];
    row("8", before_12, false, &expected, |world| world.change(BOTH, &["pub", "sub"]));
}

#[test]
fn row_9_the_blank_list_first() {
    let steps = |world: Cell| {
        [world.rollback(true), world.change(BOTH, world.nodes()), world.rollback(false)].concat()
    };
    row("9 of 6", before_12, true, &[(P2, R)], steps);
    row("9 of 8", before_12, false, &[(P1, R), (P2, R)], steps);
    // The CTL is not cleared, so that the parameter does not help (SAFE-10, CTL-16).
    row("9 of 8", before_12, false, &[(P3, C), (P3t, X)], |world| {
        [world.rollback(true), world.change(BOTH, world.nodes())].concat()
    });
}

#[test]
fn row_10_the_blank_list_too_late() {
    let expected = [(P1, X), (P2, X)];
    row("10", before_12, false, &expected, |world| {
        [world.change(BOTH, world.nodes()), world.rollback(true)].concat()
    });
}

/// The two-TFTP order with these certificates: first the publisher, which stops serving files
/// meanwhile, then the other node (SAFE-02).
fn two_tftp_order(world: Cell, kinds: &[&str]) -> Vec<String> {
    let tftp = |verb: &str| format!("{verb} = {{ service = \"tftp\", node = \"pub\" }}");
    let first = regenerate(kinds, &["pub"]).concat().replace("fleet-settled", "at-once");
    let first = first.replace("when = \"at-once\"", "after = \"previous\"");
    let tvs = world.on_all("restart", "tvs");
    let of_sub = "restart = { service = \"tftp\", node = \"sub\" }";
    let change = [vec![settled(&tftp("stop")), first], tvs, vec![step(of_sub), reset()]].concat();
    let back = regenerate(kinds, &["sub"]);
    [change, vec![settled(&tftp("start"))], back, world.restart(), vec![reset()]].concat()
}

#[test]
fn row_11_the_two_tftp_order() {
    let outcome = |column, kinds| {
        let world = Cell { release: before_12(column), column, tftp: TWO, ..PLAIN };
        world.outcome(&two_tftp_order(world, kinds))
    };
    for (column, one, both) in
        [(P1, T(2), T(2)), (P2, T(2), X), (P3, T(1), T(1)), (P3t, T(1), T(1))]
    {
        assert_eq!((outcome(column, CM), outcome(column, BOTH)), (one, both), "{column:?}");
    }
    // Whoever comes from the factory takes what the other server has.
    let world = Cell { column: P0, tftp: TWO, ..PLAIN };
    let stopped = "[[event]]\nat = \"0s\"\nstop = { service = \"tftp\", node = \"pub\" }\n";
    assert_eq!(world.outcome(&[stopped.to_owned()]), R);
    // The CTL has helped with the first step and is stale then.
    for column in [P3, P3t] {
        let world = Cell { release: before_12(column), column, tftp: TWO, ..PLAIN };
        let steps = two_tftp_order(world, BOTH);
        let stale = |steps: &[String]| world.play(steps).phones.counts.stale_ctl;
        assert_eq!(stale(&steps), PHONES, "{column:?}");
        let updated = [steps, world.update_ctl(), vec![settled(RESET)]].concat();
        assert_eq!(stale(&updated), 0, "{column:?}");
    }
}

#[test]
fn row_12_one_type_at_a_time() {
    let steps = |world: Cell| {
        let kinds = [CM, &["TVS"], &["CAPF"]];
        kinds.iter().flat_map(|kinds| world.change(kinds, world.nodes())).collect()
    };
    let expected = [(P1, T(1)), (P2, T(1)), (P3, T(1)), (P3t, T(1))];
    row("12", before_12, false, &expected, steps);
}

#[test]
fn row_13_phones_reset_before_the_restart() {
    let early = |world: Cell| {
        let late = [world.restart(), vec![settled(RESET)]].concat();
        [regenerate(CM, &["pub"]), vec![reset()], late].concat()
    };
    row("13", before_12, false, &[(P1, T(1)), (P2, T(1)), (P3, T(1))], early);
}

#[test]
fn row_14_all_tvs_down() {
    let expected = [(P1, F), (P2, F), (P3, F), (P3t, F)];
    row("14", before_12, false, &expected, |world| {
        [
            regenerate(CM, &["pub"]),
            world.on_all("restart", "tftp"),
            world.on_all("stop", "tvs"),
            vec![reset()],
        ]
        .concat()
    });
    // Tokens deliver the new certificate without any TVS (CTL-15, HOST-07).
    row("14", before_12, false, &[(P3, R)], |world| {
        let stopped = world.on_all("stop", "tvs");
        [regenerate(CM, &["pub"]), stopped, world.update_ctl(), vec![reset()]].concat()
    });
}

#[test]
fn row_15_a_node_is_installed_anew_without_a_restore() {
    let rebuild = |nodes: &[&str]| -> Vec<String> {
        let all = nodes.iter().map(|node| settled(&format!("rebuild = {{ node = \"{node}\" }}")));
        all.chain([reset()]).collect()
    };
    row("15", before_12, false, &[(P1, T(1)), (P2, X), (P3, T(1)), (P3t, T(1))], |_| {
        rebuild(&["pub"])
    });
    row("15", before_12, false, &[(P1, X), (P2, X), (P3, C), (P3t, X)], |world| {
        rebuild(world.nodes())
    });
}

#[test]
fn row_17_the_ctl_is_never_updated() {
    for column in [P3, P3t] {
        let world = Cell { release: before_12(column), column, ..PLAIN };
        let steps = world.change(CM, &["pub"]);
        let summary = world.play(&steps);
        assert_eq!(summary.phones.ready, PHONES, "{column:?}");
        assert_eq!(summary.phones.counts.stale_ctl, PHONES, "{column:?}");
        assert!(summary.notes.iter().any(|note| note.starts_with("the CTL is stale")));
        let summary = world.play(&[steps, world.update_ctl(), vec![settled(RESET)]].concat());
        assert_eq!((summary.phones.ready, summary.phones.counts.stale_ctl), (PHONES, 0));
    }
}

#[test]
fn row_18_the_local_key_saves_whoever_holds_itl_recovery() {
    let release = |_| "11.5";
    let all = |world: Cell| world.change(BOTH, world.nodes());
    row("8", release, false, &[(P1, X), (P3t, X)], all);
    let rescue = |list: &str| vec![step(&format!("reset-{list}-localkey = {{}}")), settled(RESET)];
    let rescued = |list: &'static str| move |world: Cell| [all(world), rescue(list)].concat();
    row("18", release, false, &[(P1, R), (P2, R)], rescued("itl"));
    row("18", release, false, &[(P3t, R), (P3, R)], rescued("ctl"));
    // A key that changed with the others is in nobody's list.
    let lost = |world: Cell| {
        let key = regenerate(&["ITLRecovery"], &["pub"]);
        [key, all(world), rescue("itl")].concat()
    };
    row("18", release, false, &[(P1, X), (P2, X)], lost);
    // The next start of TFTP signs with the node's own key again, which the phones know by then.
    row("18", release, false, &[(P1, R)], |world| {
        [rescued("itl")(world), world.on_all("restart", "tftp"), vec![settled(RESET)]].concat()
    });
}

#[test]
fn rows_24_to_26_with_itl_recovery_as_the_signer() {
    let release = |_| "12.5";
    let columns = |outcome| [(P1, outcome), (P2, outcome), (P3, outcome), (P3t, outcome)];
    row("24", release, false, &columns(R), |world| world.change(CM, &["pub"]));
    row("25", release, false, &columns(R), |world| world.change(BOTH, &["pub", "sub"]));
    let recovery = |world: Cell, tvs: &[&str]| {
        let both = [regenerate(&["ITLRecovery"], &["pub"]), regenerate(&["TVS"], tvs)];
        [both.concat(), world.restart(), vec![reset()]].concat()
    };
    row("26", release, false, &[(P1, T(1)), (P2, X)], |world| recovery(world, &["pub"]));
    row("26", release, false, &[(P1, X), (P2, X)], |world| recovery(world, &["pub", "sub"]));
}

/// A cell that is not in the matrix: two nodes, an ITL, the newest of the old releases.
const PLAIN: Cell = Cell { release: "8.6", column: P1, is_single: false, tftp: ONE };

#[test]
fn the_rollback_parameter_prevents_only_in_its_whole_order() {
    let world = Cell { is_single: true, ..PLAIN };
    let change = world.change(BOTH, &["pub"]);
    let on = world.rollback(true);
    let off = world.rollback(false);
    let stuck = |steps: &[&[String]]| world.play(&steps.concat()).phones.stuck;
    assert_eq!(stuck(&[&on, &change, &off]), 0);
    assert_eq!(stuck(&[&change, &off]), PHONES, "without the first step");
    assert_eq!(stuck(&[&change, &on]), PHONES, "two steps swapped");
    assert_eq!(stuck(&[&on[..1], &on[2..], &change]), PHONES, "without the restart of TFTP");
    assert_eq!(stuck(&[&on[..2], &change]), PHONES, "without the reset for the blank list");
}

#[test]
fn a_change_of_the_parameter_resets_all_phones_and_a_forgotten_one_is_told() {
    let world = Cell { is_single: true, ..PLAIN };
    let on = world.rollback(true);
    let summary = world.play(&on[..1]);
    assert_eq!((summary.config.applied, summary.phones.ready), (PHONES, PHONES));
    assert_eq!(summary.cluster.restarts_due, 1, "TFTP serves the old list (TFTP-14)");
    assert_eq!(summary.trust.lists.accepted_by_itl, PHONES);
    let summary = world.play(&on);
    assert_eq!((summary.config.applied, summary.cluster.restarts_due), (2 * PHONES, 0));
    let left = |note: &String| note.contains("still prepared for a rollback to pre 8.0");
    assert!(summary.notes.iter().any(left), "{:?}", summary.notes);
    let summary = world.play(&[on, world.rollback(false)].concat());
    assert!(!summary.notes.iter().any(left), "{:?}", summary.notes);
    assert_eq!(summary.trust.lists.accepted_blank, 2 * PHONES);
}

#[test]
fn a_regeneration_resets_by_itself_where_the_release_does_and_somebody_asks_for_it() {
    let asked = |release: &str, auto_reset: &str| {
        let head = Cell { release: "11.5", ..PLAIN }.head();
        let release = format!("[cluster]\nauto-reset = {auto_reset}\nrelease = \"{release}\"");
        let text = head.replace("[cluster]\nrelease = \"11.5\"", &release)
            + &regenerate(CM, &["pub"]).concat();
        load(Path::new("auto.toml"), &text, &[], &known_paths())
    };
    let play = |auto_reset| {
        let plan = asked("11.5", auto_reset).unwrap();
        World::new(&plan, SimOptions::default()).run().summary(&plan)
    };
    assert_eq!(play("false").phones.counts.boots, 0);
    for auto_reset in ["true", "\"5s\""] {
        let summary = play(auto_reset);
        assert_eq!((summary.phones.ready, summary.tvs.lookups), (PHONES, PHONES), "{auto_reset}");
    }
    let error = asked("8.6", "true").unwrap_err();
    assert!(error.rendered.contains("release 8.6 resets no phones by itself"), "{error}");
}

#[test]
fn the_ctl_moves_between_its_methods_and_back() {
    let world = Cell { release: "11.5", column: P3, ..PLAIN };
    let update = |what: &str| {
        let step = vec![settled(&format!("update-ctl = {{ {what} }}"))];
        [step, world.on_all("restart", "tftp"), vec![reset()]].concat()
    };
    let steps = [update("method = \"tokenless\""), update("token = \"b\"")].concat();
    let summary = world.play(&steps);
    // The ITL names the publisher's key; of the token TVS knows, from phone-sast-trust.
    assert_eq!((summary.phones.ready, summary.tvs.lookups), (PHONES, PHONES));
    assert_eq!(summary.phones.counts.stale_ctl, 0);
    let lists = summary.trust.lists;
    assert_eq!((lists.accepted_by_itl, lists.accepted_by_tvs), (PHONES, PHONES), "{lists:?}");
}

#[test]
fn a_cluster_comes_to_mixed_mode_and_goes_back() {
    let set = |mode: &str| {
        let set = format!("set-parameter = {{ name = \"security-mode\", value = \"{mode}\" }}");
        [vec![settled(&set)], PLAIN.on_all("restart", "tftp"), vec![reset()]].concat()
    };
    let world = Cell { release: "11.5", ..PLAIN };
    let there = set("mixed");
    let summary = world.play(&there);
    let lists = summary.trust.lists;
    assert_eq!((lists.accepted_by_itl, summary.phones.ready), (PHONES, PHONES), "{lists:?}");
    assert_eq!(lists.accepted_by_ctl, PHONES, "the ITL by the new CTL");
    // A CTL without certificates vouches for nothing but itself; the ITL is what it was.
    let summary = world.play(&[there, set("non-secure")].concat());
    assert_eq!((summary.phones.ready, summary.phones.stuck), (PHONES, 0));
}

#[test]
fn a_phone_with_a_ctl_only_takes_an_itl_that_the_ctl_vouches_for() {
    let play = |steps: &[String]| {
        let world = Cell { column: P3, ..PLAIN };
        let text = world.head().replace("itl-current", "ctl-only") + &steps.concat();
        let plan = load(Path::new("state-b.toml"), &text, &[], &known_paths()).unwrap();
        World::new(&plan, SimOptions::default()).run().summary(&plan)
    };
    let summary = play(&[settled(RESET)]);
    assert_eq!((summary.phones.ready, summary.trust.lists.accepted_by_ctl), (PHONES, 2 * PHONES));
    let summary = play(&PLAIN.change(CM, &["pub"]));
    assert_eq!((summary.phones.stuck, summary.tvs.lookups), (PHONES, 0), "state B asks nobody");
}

/// Phones of both nodes, which hold the list of their own.
fn both_nodes(steps: &[String]) -> (Summary, resetstorm::sim::SimRun) {
    let text =
        PLAIN.head().replace("tftp = \"pub\"", "tftp = [\"pub\", \"sub\"]") + &steps.concat();
    let plan = load(Path::new("both.toml"), &text, &[], &known_paths()).unwrap();
    let run = World::new(&plan, SimOptions::default()).run();
    (run.summary(&plan), run)
}

fn import(nodes: &str) -> Vec<String> {
    let import = format!(
        "import = {{ certificate = \"CallManager\", node = \"{nodes}\", issuer = \"JASBURNS-AD\" }}"
    );
    [vec![settled(&import)], PLAIN.restart(), vec![reset()]].concat()
}

fn signer_of(run: &resetstorm::sim::SimRun, node: u8) -> resetstorm::crypto::Certificate {
    let node = resetstorm::base::ClusterId::FIRST.node(node);
    run.cluster.tftp(node).unwrap().list_signer().certificate.clone()
}

#[test]
fn a_certificate_of_a_ca_is_trusted_by_the_list_and_lost_by_a_regeneration() {
    let (summary, run) = both_nodes(&import("pub"));
    assert_eq!((summary.phones.ready, summary.tvs.lookups), (PHONES, PHONES / 2), "those of pub");
    let signer = signer_of(&run, 0);
    assert!(signer.issuer().starts_with("CN=JASBURNS-AD;"), "{}", signer.issuer());
    assert!(signer.subject().starts_with("CN=pub;"), "{}", signer.subject());
    let (from, to) = signer.validity_s();
    assert_eq!(to.unwrap() - from.unwrap(), 2 * 365 * 86_400, "dates of its own");
    let steps = [import("pub"), PLAIN.change(CM, &["pub"])].concat();
    let (summary, run) = both_nodes(&steps);
    assert_eq!((summary.phones.ready, summary.tvs.lookups), (PHONES, PHONES));
    let signer = signer_of(&run, 0);
    assert_eq!(signer.issuer(), signer.subject(), "CERT-31");
    let warned =
        |note: &String| note.contains("has overwritten the certificate that CN=JASBURNS-AD;");
    assert!(summary.notes.iter().any(warned), "{:?}", summary.notes);
}

/// SAFE-13: whether it is turned off in the end or not.
#[test]
fn a_rollback_parameter_that_stays_on_for_longer_than_is_set_is_told() {
    let told = |limit: &str, steps: &[&str]| {
        let steps =
            settled(steps[0]) + &steps[1..].iter().map(|action| step(action)).collect::<String>();
        let head = PLAIN.head().replace("[cluster]", &format!("[cluster]\n{limit}"));
        let plan = load(Path::new("on.toml"), &(head + &steps), &[], &known_paths()).unwrap();
        let summary = World::new(&plan, SimOptions::default()).run().summary(&plan);
        summary.notes.iter().filter(|note| note.contains("(SAFE-13)")).count()
    };
    let [on, off] = ["true", "false"].map(|value| {
        format!("set-parameter = {{ name = 'rollback-to-pre-8.0', value = {value} }}")
    });
    let (on, off, later, at_once) = (&*on, &*off, "advance = '30h'", "advance = '1h'");
    assert_eq!(told("", &[on, later]), 1);
    assert_eq!(told("", &[on, later, off, at_once]), 1);
    assert_eq!(told("", &[on, at_once, off, later]), 0);
    assert_eq!(told("rollback-warning = '2d'", &[on, later]), 0);
    assert_eq!(told("rollback-warning = '1h'", &[on, at_once, at_once]), 1, "once");
}

/// CTL-19: the CTL client with tokens reaches a cluster by it; the command line needs it not.
#[test]
fn the_ctl_client_with_tokens_needs_the_ctl_provider_of_the_publisher() {
    let stop = "stop = { service = \"ctl-provider\", node = \"pub\" }";
    for (column, failed) in [(P3, 1), (P3t, 0)] {
        let world = Cell { release: "11.5", column, ..PLAIN };
        let steps = [vec![settled(stop)], world.update_ctl(), vec![reset()]].concat();
        let summary = world.play(&steps);
        assert_eq!((summary.cluster.failed_actions, summary.phones.ready), (failed, PHONES));
        let told = "the CTL client finds no Cisco CTL Provider on pub";
        let is_told = summary.notes.iter().any(|note| note.contains(told));
        assert_eq!(is_told, failed > 0, "{:?}", summary.notes);
    }
}

/// What a CA has signed for the EC key stands in the list from the next start of TFTP on; nobody has
/// to ask for it, because it signs no file.
#[test]
fn an_ec_certificate_of_a_ca_stands_in_the_list_and_costs_no_question() {
    let world = Cell { release: "12.5", ..PLAIN };
    for nodes in ["pub", "pub, sub"] {
        let import = format!("import={{certificate='CallManager-ECDSA',node='{nodes}'}}");
        let steps = [vec![settled(&import)], world.restart(), vec![reset()]].concat();
        let text = world.head() + &steps.concat();
        let plan = load(Path::new("ec.toml"), &text, &[], &known_paths()).unwrap();
        let run = World::new(&plan, SimOptions::default()).run();
        let summary = run.summary(&plan);
        assert_eq!((summary.phones.ready, summary.tvs.lookups), (PHONES, 0), "{nodes}");
        let kind = CertificateKind::CallManagerEcdsa;
        let ec = run.cluster.stores().identities().filter(|entry| entry.1 == kind);
        let ec: Vec<_> = ec.map(|entry| entry.2.certificate().clone()).collect();
        assert_eq!(ec[0].issuer().split(';').next(), Some("CN=Lab-CA"), "{nodes}");
        assert_eq!(ec[0] == ec[1], nodes == "pub, sub");
        assert!(ec[0].subject().starts_with(["CN=pub-EC;", "CN=pub-EC-ms;"][nodes.len() / 8]));
        let list =
            run.cluster.tftp(resetstorm::base::ClusterId::FIRST.node(0)).unwrap().signed_list();
        let holds = |der: &[u8]| list.windows(der.len()).any(|part| part == der);
        assert!(holds(ec[0].der()), "{nodes}: {} bytes", list.len());
    }
}

#[test]
fn one_regeneration_changes_a_multi_server_certificate_on_all_its_nodes() {
    let (summary, run) = both_nodes(&import("pub, sub"));
    assert_eq!((summary.phones.ready, summary.tvs.lookups), (PHONES, PHONES));
    assert_eq!(signer_of(&run, 0), signer_of(&run, 1));
    let steps = [import("pub, sub"), PLAIN.change(CM, &["sub"])].concat();
    let (summary, run) = both_nodes(&steps);
    assert_eq!((summary.phones.ready, summary.tvs.lookups), (PHONES, 2 * PHONES));
    assert_eq!(signer_of(&run, 0), signer_of(&run, 1));
}

/// The shipped Saturday night with another order of its steps and fewer phones.
fn saturday(order: impl FnOnce(&mut Vec<TimelineEntry>)) -> Summary {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/saturday-night.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let overrides = ["fleet.phones=400".to_owned()];
    let mut plan = load(&path, &text, &overrides, &known_paths()).unwrap();
    order(&mut plan.timeline);
    World::new(&plan, SimOptions::default()).run().summary(&plan)
}

fn regenerates(entry: &TimelineEntry, kind: CertificateKind) -> bool {
    entry.action.get::<Regenerate>().is_some_and(|action| action.certificate == kind)
}

/// ITLRecovery changes in the wave of the TVS certificates.
fn recovery_with_tvs(steps: &mut Vec<TimelineEntry>) {
    let at = |steps: &[TimelineEntry], kind| {
        steps.iter().rposition(|entry| regenerates(entry, kind)).unwrap()
    };
    let mut recovery = steps.remove(at(steps, CertificateKind::ItlRecovery));
    // What followed it waits for the fleet in its place.
    let waits =
        std::mem::replace(&mut recovery.trigger, Trigger::AfterPrevious { delay: Span::ZERO });
    let behind = at(steps, CertificateKind::Tvs) + 1;
    let next = steps.iter().position(|entry| entry.name == "update-ctl-2").unwrap();
    steps[next].trigger = waits;
    steps.insert(behind, recovery);
}

#[test]
fn three_orders_of_a_saturday_night_end_in_three_outcomes() {
    let phones = 400;
    // As shipped: whatever changes, somebody whom the phones know vouches for it.
    let summary = saturday(|_| {});
    assert_eq!((summary.phones.ready, summary.tvs.lookups), (phones, phones));
    // The signer of CTL and ITL and every TVS at once: nobody is left whom a phone knows.
    let summary = saturday(recovery_with_tvs);
    assert_eq!((summary.phones.stuck, summary.tvs.lookups), (phones, 0));
    // The same with two TVS nodes only: the phones of the other two have somebody to ask.
    let summary = saturday(|steps| {
        recovery_with_tvs(steps);
        steps.retain(|entry| {
            let node = entry.action.get::<Regenerate>().map(|action| action.node.index());
            !regenerates(entry, CertificateKind::Tvs) || matches!(node, Some(3 | 4))
        });
        // The first of the wave waits for the phones of the one before.
        let first = steps.iter_mut().find(|entry| regenerates(entry, CertificateKind::Tvs));
        first.unwrap().trigger = Trigger::FleetSettled;
    });
    assert_eq!((summary.phones.stuck, summary.phones.ready), (phones / 2, phones / 2));
    // Its list in the second wave, from the new key; the CTL by that list in the third.
    assert_eq!(summary.tvs.lookups, phones / 2);
}

#[test]
fn phones_without_lists_ask_for_unsigned_files_and_never_break() {
    let play = |models: &str| {
        let world = Cell { is_single: true, ..PLAIN };
        let models = format!("[fleet]\nmodels = {{ {models} }}");
        let text =
            world.head().replace("[fleet]", &models) + &world.change(BOTH, &["pub"]).concat();
        let plan = load(Path::new("old.toml"), &text, &[], &known_paths()).unwrap();
        World::new(&plan, SimOptions::default()).run().summary(&plan)
    };
    let summary = play("7960 = 1.0");
    assert_eq!((summary.phones.ready, summary.phones.stuck), (PHONES, 0));
    assert_eq!((summary.tftp.requests, summary.tftp.transfers), (PHONES, PHONES), "one file each");
    assert_eq!((summary.tvs.failed, summary.trust.configs.accepted_first), (0, PHONES));
    let summary = play("7960 = 0.5, 8841 = 0.5");
    let old = summary.trust.configs.accepted_first;
    assert!(old > 0 && old < PHONES, "{old}");
    assert_eq!((summary.phones.ready, summary.phones.stuck), (old, PHONES - old));
}
