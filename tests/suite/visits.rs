//! People erase the lists of stuck phones: in virtual time and on sockets, with equal counts.

use std::path::Path;

use resetstorm::base::{Span, Time};
use resetstorm::live::{self, LiveOptions, Observer};
use resetstorm::measure::{Ledger, Summary, known_paths};
use resetstorm::phone::Outcome;
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{SimOptions, SimRun, World};

fn plan(overrides: &[&str]) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/erase-by-hand.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    load(&path, &text, &overrides, &known_paths()).unwrap_or_else(|error| panic!("{error}"))
}

fn play(plan: &Plan) -> (Summary, SimRun) {
    let run = World::new(plan, SimOptions::default()).run();
    (run.summary(plan), run)
}

#[test]
fn a_stuck_fleet_is_ready_when_the_last_phone_has_been_visited() {
    let plan = plan(&["fleet.phones=300"]);
    let (summary, run) = play(&plan);
    assert_eq!(summary.verdict.name(), "pass", "{:#}", summary.to_json());
    assert_eq!((summary.phones.counts.erased, summary.phones.ready), (300, 300));
    assert_eq!(run.ledger.counts().unexpected, 0);
    // 15 phones for each of 20 people: 5 minutes each, 15 at a tenth of them.
    let minutes = run.ended.since(Time::ZERO).as_secs_f64() / 60.0;
    assert!((80.0..130.0).contains(&minutes), "{minutes}");
    let (again, second) = play(&plan);
    assert_eq!((run.digest, run.draws), (second.digest, second.draws));
    assert_eq!(summary.to_json(), again.to_json());
}

#[test]
fn whoever_is_not_visited_stays_stuck() {
    let half = "event.erase-lists-1.erase-lists.share=50%";
    let (summary, run) = play(&plan(&["fleet.phones=301", "slo=[]", half]));
    let phones = &summary.phones;
    assert_eq!((phones.counts.erased, phones.ready, phones.stuck), (151, 151, 150));
    let stuck = run.ledger.phones().iter().filter(|phone| phone.outcome == Some(Outcome::Stuck));
    assert_eq!(stuck.count(), 150);
    let none = "event.erase-lists-1.erase-lists.share=0.0";
    let (summary, _) = play(&plan(&["fleet.phones=30", "slo=[]", none]));
    assert_eq!((summary.phones.counts.erased, summary.phones.stuck), (0, 30));
}

#[test]
fn users_who_are_asked_by_mail_repair_the_fleet_but_for_locked_phones() {
    let mail = "event.erase-lists-1={when='fleet-settled', erase-lists={users-within='8h', \
                restricted='30%'}}";
    // Without the reset behind it, which would be the last boot of all.
    let after = "event.reset-2={after='previous', start={node='pub'}}";
    let (summary, run) = play(&plan(&["fleet.phones=300", "slo=[]", mail, after]));
    let phones = &summary.phones;
    assert_eq!((phones.counts.erased, phones.stuck), (phones.ready, 300 - phones.ready));
    assert!((180..240).contains(&phones.ready), "{}", phones.ready);
    // The curve of the repair (TOOL-10): a straight line over the eight hours.
    let first = run.ledger.phones().iter().filter(|phone| {
        let ready = phone.ready().map(|at| at.since(Time::ZERO).as_secs_f64() / 3_600.0);
        ready.is_some_and(|hours| hours < 4.0)
    });
    let first = first.count() as f64 / phones.ready as f64;
    assert!((0.4..0.6).contains(&first), "{first}");
    let hours = run.ended.since(Time::ZERO).as_secs_f64() / 3_600.0;
    assert!((7.0..8.1).contains(&hours), "{hours}");
}

#[test]
fn only_stuck_phones_are_visited_unless_all_are() {
    // Half of the fleet has a second TVS that still vouches.
    let sound = [
        "fleet.phones=40",
        "slo=[]",
        "cluster.node=[{name=\"pub\"}, {name=\"sub\", address=\"127.0.0.2\"}]",
        "cluster.group=[{name=\"one\", members=[\"pub\"], share=0.5}, \
         {name=\"two\", members=[\"pub\", \"sub\"], share=0.5}]",
    ];
    let (summary, _) = play(&plan(&sound));
    assert_eq!((summary.phones.counts.erased, summary.phones.ready), (20, 40));
    let all = "event.erase-lists-1.erase-lists.only=all";
    let (summary, _) = play(&plan(&[&sound[..], &[all]].concat()));
    assert_eq!((summary.phones.counts.erased, summary.phones.ready), (40, 40));
}

#[test]
fn more_technicians_make_it_shorter_and_change_no_count() {
    let people = |count: &str| {
        let people = format!("event.erase-lists-1.erase-lists.technicians={count}");
        let (summary, run) = play(&plan(&["fleet.phones=120", &people]));
        assert_eq!(summary.verdict.name(), "pass");
        run.ended
    };
    let ended = ["1", "4", "40"].map(people);
    assert!(ended[0] > ended[1] && ended[1] > ended[2], "{ended:?}");
    assert!(ended[0].since(Time::ZERO) > Span::from_secs(120 * 300));
}

struct Silent;

impl Observer for Silent {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_run_in_scaled_minutes_visits_the_same_phones() {
    let overrides = [
        "fleet.phones=60",
        "slo=[]",
        "cluster.node.pub.ports={ tftp = 0, tvs = 0, capf = 0 }",
        "event.reset-1.reset-phones.spread=1s",
        "event.reset-2.reset-phones.spread=1s",
        "event.erase-lists-1.erase-lists={ share = 0.5, technicians = 10, per-phone = \"50ms\", \
         restricted = 0.2, per-restricted = \"150ms\" }",
    ];
    let plan = plan(&overrides);
    let run = Box::pin(live::run(&plan, &LiveOptions::default(), &mut Silent)).await.unwrap();
    let live = Summary::new(&run.ledger, run.facts.clone(), &plan.slos, run.finish);
    let (sim, world) = play(&plan);
    let outcomes = |ledger: &Ledger| -> Vec<Option<Outcome>> {
        ledger.phones().iter().map(|phone| phone.outcome).collect()
    };
    assert_eq!(outcomes(&run.ledger), outcomes(&world.ledger), "the same phones");
    assert_eq!((live.phones.counts.erased, live.phones.ready, live.phones.stuck), (30, 30, 30));
    assert_eq!(live.phones.counts, sim.phones.counts);
    assert_eq!((live.trust.lists, live.config), (sim.trust.lists, sim.config));
    assert_eq!(run.ledger.counts().unexpected, 0);
}
