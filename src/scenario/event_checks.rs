use std::ops::Range;

use toml::Spanned;

use crate::base::{Home, Span, Time};
use crate::cluster::Topology;

use super::error::{Faults, Problem};
use super::names::one_of;
use super::plan::{TimelineEntry, Trigger};
use super::raw::RawEvent;
use super::steps::{PREVIOUS, check_names, named, names};
use super::verbs::{Given, PROCEDURE, Reader, Step, Verb, verbs, word_of};

/// The operator's timeline of a scenario, checked against its cluster; whatever is wrong with one
/// step, the others are checked, too.
pub(super) fn timeline(
    raw: &[Spanned<RawEvent>],
    topology: &Topology,
    homes: &[Home],
    faults: &mut Faults,
) -> Vec<TimelineEntry> {
    let mut reader = Reader::new(topology, homes);
    faults.0.extend(check_names(raw));
    let names = names(raw);
    let steps = (1..).zip(raw).zip(&names);
    let entries = steps.filter_map(|((number, event), name)| {
        let place = event.span();
        let read =
            entries(event.get_ref(), number, name, &place, &mut reader).and_then(|entries| {
                let taken =
                    |entry: &&TimelineEntry| entry.name != *name && names.contains(&entry.name);
                match entries.iter().find(taken) {
                    Some(entry) => {
                        Err(Problem::new(place, format!("step `{}` comes twice", entry.name))
                            .help("a step of this procedure has that name; give it another `name`"))
                    }
                    None => Ok(entries),
                }
            });
        faults.take(read)
    });
    entries.flatten().collect()
}

/// The steps of an event: one, or those of a procedure.
fn entries(
    raw: &RawEvent,
    number: usize,
    name: &str,
    place: &Range<usize>,
    reader: &mut Reader<'_>,
) -> Result<Vec<TimelineEntry>, Problem> {
    let trigger = trigger(raw, number, place)?;
    let (verb, given) = the_action(raw, number, place)?;
    reader.place.clone_from(place);
    let Step { action, then, rest, typed } = (verb.read)(given, reader)?;
    let mut typed = typed.into_iter();
    let mut entry = |(trigger, action)| {
        let (name, typed) = (name.to_owned(), typed.next());
        TimelineEntry { name, trigger, action, then: None, typed }
    };
    let first = TimelineEntry { then, ..entry((trigger, action)) };
    let mut all: Vec<TimelineEntry> =
        std::iter::once(first).chain(rest.into_iter().map(entry)).collect();
    if verb.key == PROCEDURE || all.len() > 1 {
        let words: Vec<&str> = all.iter().map(|entry| word_of(entry, reader.topology)).collect();
        let steps: Vec<_> = words.iter().map(|word| (None, *word)).collect();
        let own = named(&steps);
        all.iter_mut().zip(own).for_each(|(entry, own)| entry.name = format!("{name}-{own}"));
    }
    Ok(all)
}

/// When step number `number` is due.
fn trigger(raw: &RawEvent, number: usize, place: &Range<usize>) -> Result<Trigger, Problem> {
    let delay = raw.delay.as_ref();
    if let (Some(delay), None) = (delay, &raw.after) {
        let problem = Problem::new(delay.span(), "`delay` goes with `after` only");
        return Err(problem.help("write after = \"previous\", or a later `at`"));
    }
    match (raw.at, &raw.when, &raw.after) {
        (Some(at), None, None) => Ok(Trigger::At(Time::ZERO + at.0)),
        (None, Some(when), None) => {
            one_of(when, "state", &[Trigger::FleetSettled], |_| "fleet-settled")
        }
        (None, None, Some(after)) => {
            let delay = delay.map_or(Span::ZERO, |delay| delay.get_ref().0);
            let trigger = Trigger::AfterPrevious { delay };
            if after.get_ref() != PREVIOUS {
                let what = format!("`after` takes \"previous\" only, not `{}`", after.get_ref());
                let help = "a step follows the one before it: after = \"previous\"";
                return Err(Problem::new(after.span(), what).help(help));
            }
            if number == 1 {
                let problem = Problem::new(after.span(), "nothing comes before step 1");
                return Err(problem.help("the first step has `at` or `when`"));
            }
            Ok(trigger)
        }
        (None, None, None) => {
            let what = format!("step {number} does not say when it is due");
            Err(Problem::new(place.clone(), what).help(TRIGGERS))
        }
        _ => {
            let what = format!("step {number} says in more than one way when it is due");
            Err(Problem::new(place.clone(), what).help(TRIGGERS))
        }
    }
}

/// Help for an event without a clear time.
const TRIGGERS: &str = "one of: at = \"12s\", when = \"fleet-settled\", after = \"previous\"";

/// The action of an event that does one thing.
fn the_action<'a>(
    raw: &'a RawEvent,
    number: usize,
    place: &Range<usize>,
) -> Result<&'a (&'static Verb, Given), Problem> {
    let what = match raw.actions.as_slice() {
        [action] => return Ok(action),
        [] => format!("step {number} has no action"),
        _ => format!("step {number} has more than one action"),
    };
    let keys: Vec<&str> = verbs().map(|verb| verb.key).collect();
    Err(Problem::new(place.clone(), what).help(format!("one of: {}", keys.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::super::cluster_checks::topology;
    use super::super::raw::RawScenario;
    use super::*;
    use crate::base::ClusterId;
    use crate::cluster::operator::certificates::{
        DeleteCertificate, Import, ImportTrust, Regenerate, Upload,
    };
    use crate::cluster::operator::ctl::UpdateCtl;
    use crate::cluster::operator::hosts::Rename;
    use crate::cluster::operator::parameters::{Parameter, SetParameter};
    use crate::cluster::operator::phones::{EraseLists, ResetPhones, Visited};
    use crate::cluster::operator::services::Services;
    use crate::cluster::{CertificateKind, FileSignature, ServiceKind, TrustStore};
    use crate::scenario::FollowUp;

    #[test]
    fn each_trigger_is_read() {
        let triggers = |text: &str| good(text).into_iter().map(|e| e.trigger).collect::<Vec<_>>();
        let after = |secs| Trigger::AfterPrevious { delay: Span::from_secs(secs) };
        let text = event("at='12s'", RESET)
            + &event("when='fleet-settled'", RESET)
            + &event("after='previous'", RESET)
            + &event("after='previous'\ndelay='5s'", RESET);
        let at = Trigger::At(Time::ZERO + Span::from_secs(12));
        assert_eq!(triggers(&text), [at, Trigger::FleetSettled, after(0), after(5)]);
    }

    #[test]
    fn each_action_is_read() {
        let node = ClusterId::FIRST.node(1);
        let tvs = Some(ServiceKind::Tvs);
        let action = |text: &str| only(text).action;
        assert_eq!(
            action("regenerate={certificate='TVS',node='sub'}"),
            Regenerate { certificate: CertificateKind::Tvs, node }
        );
        assert_eq!(
            action("rename={node='sub',to='sub-new'}"),
            Rename { node, to: Some("sub-new".into()), domain: None }
        );
        let spread = Span::from_secs(30);
        assert_eq!(action("reset-phones={spread='30s'}"), ResetPhones { spread });
        assert_eq!(action("reset-phones={}"), ResetPhones { spread: Span::ZERO });
        assert_eq!(action("restart={service='tvs',node='sub'}"), Services::restart(node, tvs));
        assert_eq!(action("start={node='sub'}"), Services::start(node, None));
        assert_eq!(action("stop={node='sub'}"), Services::stop(node, None));
        let activated = only_fault("activate={service='capf',node='pub'}");
        assert_eq!(activated, "CAPF is active there already");
        let elsewhere = only_fault("activate={service='capf',node='sub'}");
        assert_eq!(elsewhere, "CAPF is active on the publisher only");
        let unknown = only_fault("activate={service='tftp',node='sub'}");
        assert!(unknown.starts_with("unknown service `tftp`"), "{unknown}");
    }

    #[test]
    fn parameters_and_lists_are_read_where_the_cluster_has_them() {
        let set = |text: &str| only(&format!("set-parameter={{{text}}}")).action;
        let spread = Span::from_secs(5);
        let expected = |parameter, spread| SetParameter { parameter, spread };
        assert_eq!(
            set("name='rollback-to-pre-8.0',value=true,spread='5s'"),
            expected(Parameter::Rollback(true), spread)
        );
        assert_eq!(
            set("name='rollback-to-pre-8.0',value='false'"),
            expected(Parameter::Rollback(false), Span::ZERO)
        );
        assert_eq!(
            set("name='file-signature',value='sha512'"),
            expected(Parameter::FileSignature(FileSignature::Sha512), Span::ZERO)
        );
        let fault = |text: &str| only_fault(&format!("set-parameter={{{text}}}"));
        assert_eq!(fault("name='rollbak',value=true"), "unknown parameter `rollbak`");
        assert_eq!(fault("name='rollback-to-pre-8.0',value='yes'"), "unknown value `yes`");
        let resets = "a change of file-signature resets nobody";
        assert_eq!(fault("name='file-signature',value='sha1',spread='1s'"), resets);
        assert_eq!(only_fault("update-ctl={}"), "the cluster is not in mixed mode here");
        assert!(only_fault("reset-itl-localkey={}").contains("has no ITLRecovery key"));
    }

    #[test]
    fn a_ctl_is_updated_behind_the_step_that_makes_one() {
        let mixed = event("at='1s'", "set-parameter={name='security-mode',value='mixed'}");
        let entries = good(&(mixed.clone() + &event("after='previous'", "update-ctl={}")));
        assert_eq!(entries[1].action, UpdateCtl::AS_EVER);
        let back =
            event("after='previous'", "set-parameter={name='security-mode',value='non-secure'}");
        let text = mixed.clone() + &back + &event("after='previous'", "update-ctl={}");
        assert_eq!(self::fault(&text), "the cluster is not in mixed mode here");
        let text = mixed + &event("after='previous'", "update-ctl={token='a'}");
        assert_eq!(self::fault(&text), "token `a` is none of the original set-up");
    }

    #[test]
    fn an_import_names_nodes_once_and_a_ca() {
        let import =
            |text: &str| only(&format!("import={{certificate='CallManager',{text}}}")).action;
        let (first, second) = (ClusterId::FIRST.node(0), ClusterId::FIRST.node(1));
        let nodes = vec![first, second];
        let (certificate, issuer) = (CertificateKind::CallManager, "Lab-CA".to_owned());
        let valid = Span::from_secs(2 * 365 * 86_400);
        assert_eq!(
            import("node='pub, sub'"),
            Import { certificate, nodes, issuer, intermediate: None, valid, only: None }
        );
        let fault = |text: &str| only_fault(&format!("import={{{text}}}"));
        let twice = fault("certificate='TVS',node='sub,sub'");
        assert!(twice.contains("`sub`"), "{twice}");
        let text = "certificate='TVS',node='sub',intermediate='Lab-Issuing'";
        let action = only(&format!("import={{{text}}}")).action;
        let import: &Import = action.get().unwrap();
        assert_eq!(import.intermediate.as_deref(), Some("Lab-Issuing"));
        assert!(fault("certificate='ITLRecovery',node='pub'").contains("never signed by a CA"));
    }

    #[test]
    fn service_certificates_are_regenerated_and_trusted_ones_deleted_or_imported() {
        let node = ClusterId::FIRST.node(1);
        let delete = "delete-certificate={node='sub',unit='capf-TRUST',name='CAPF-1.pem'";
        let action = DeleteCertificate { node, store: TrustStore::Capf, name: "CAPF-1.pem".into() };
        assert_eq!(only(&format!("{delete}}}")).action, action);
        let text = "delete-certificate={node='sub',unit='CallManager.pem',name='x'}";
        let what = "CallManager is a service certificate, which is never deleted";
        assert_eq!(only_fault(text), what);
        let text = "regenerate={certificate='CallManager-trust',node='sub'}";
        assert_eq!(only_fault(text), "what CallManager-trust holds is never regenerated");
        let valid = Some(Span::from_secs(60));
        let upload = Upload::Of { name: "unity".into(), valid };
        let text = "import-trust={node='sub',unit='phone-trust',name='unity',valid='60s'}";
        let import = ImportTrust { node, store: TrustStore::Phone, upload };
        assert_eq!(only(text).action, import);
        let text = "import-trust={node='sub',unit='phone-trusts',name='unity'}";
        assert_eq!(only_fault(text), "unknown trust store `phone-trusts`");
    }

    #[test]
    fn a_record_needs_a_domain_and_a_node() {
        assert_eq!(only_fault("add-record={node='sub'}"), "no phone resolves a name here");
        assert!(only_fault("remove-record={node='bus'}").starts_with("unknown node `bus`"));
    }

    #[test]
    fn a_stop_for_a_while_is_followed_by_a_start() {
        let entry = only("stop={service='tvs',node='sub',for='8s'}");
        let service = Some(ServiceKind::Tvs);
        assert_eq!(entry.action, Services::stop(ClusterId::FIRST.node(1), service));
        let start = Services::start(ClusterId::FIRST.node(1), service).into();
        let delay = Span::from_secs(8);
        assert_eq!(entry.then, Some(FollowUp { delay, action: start, is_awaited: false }));
    }

    #[test]
    fn a_restart_for_a_while_is_one_step_with_a_start_that_is_waited_for() {
        let entries = good(&event("at='1s'", "restart={node='sub',for='8s'}"));
        let (node, service) = (ClusterId::FIRST.node(1), None);
        let delay = Span::from_secs(8);
        assert_eq!(entries[0].trigger, Trigger::At(Time::ZERO + Span::from_secs(1)));
        assert_eq!(entries[0].action, Services::stop(node, service));
        let action = Services::start(node, service).into();
        assert_eq!(entries[0].then, Some(FollowUp { delay, action, is_awaited: true }));
        assert_eq!(entries.len(), 1, "one event is one step");
    }

    #[test]
    fn a_wait_of_no_time_and_a_start_for_a_while_are_refused() {
        for action in ["stop={node='sub',for='0s'}", "restart={node='sub',for='0s'}"] {
            assert_eq!(only_fault(action), "this length of time cannot be zero");
        }
        assert_eq!(only_fault("start={node='sub',for='1s'}"), "`for` does not go with `start`");
    }

    #[test]
    fn visits_have_defaults_and_shares_are_percents_or_numbers() {
        let visits = |text: &str| only(text).action.get::<EraseLists>().unwrap().visits;
        let all = visits("erase-lists={}");
        assert_eq!((all.only, all.share, all.technicians), (Visited::Stuck, 1.0, 1));
        assert_eq!((all.restricted, all.per_phone), (0.0, Span::from_secs(300)));
        let half = visits("erase-lists={only='all',share='50%',technicians=4,per-phone='2m'}");
        assert_eq!((half.only, half.share, half.technicians), (Visited::All, 0.5, 4));
        let share = |text: &str| (visits(text).share * 1e6) as u64;
        assert_eq!(share("erase-lists={share=0.5}"), 500_000);
        assert_eq!(share("erase-lists={share=1}"), 1_000_000);
        let slow = visits("erase-lists={restricted='5%',per-restricted='20m'}");
        assert_eq!((slow.restricted, slow.per_restricted), (0.05, Span::from_secs(1_200)));
        assert_eq!(only_fault("erase-lists={share=1.5}"), "1.5 is not a share of a whole");
        assert_eq!(only_fault("erase-lists={share='half'}"), "`half` is not a share in percent");
        assert_eq!(only_fault("erase-lists={technicians=0}"), "`technicians` cannot be 0");
        assert_eq!(
            only_fault("erase-lists={per-phone='0s'}"),
            "this length of time cannot be zero"
        );
        assert_eq!(only_fault("erase-lists={only='ready'}"), "unknown choice of phones `ready`");
    }

    #[test]
    fn an_event_has_exactly_one_trigger() {
        assert_eq!(fault(&event("", RESET)), "step 1 does not say when it is due");
        let twice = "step 1 says in more than one way when it is due";
        assert_eq!(fault(&event("at='1s'\nwhen='fleet-settled'", RESET)), twice);
        assert_eq!(fault(&event("at='1s'\nafter='previous'", RESET)), twice);
        assert_eq!(fault(&event("when='fleet-settled'\nafter='previous'", RESET)), twice);
    }

    #[test]
    fn triggers_with_other_words_are_refused() {
        assert_eq!(fault(&event("when='fleet-setled'", RESET)), "unknown state `fleet-setled`");
        let text = event("at='1s'", RESET) + &event("after='previos'", RESET);
        assert_eq!(fault(&text), "`after` takes \"previous\" only, not `previos`");
        assert_eq!(fault(&event("at='1s'\ndelay='1s'", RESET)), "`delay` goes with `after` only");
    }

    #[test]
    fn nothing_comes_before_the_first_event() {
        assert_eq!(fault(&event("after='previous'", RESET)), "nothing comes before step 1");
    }

    #[test]
    fn an_event_has_exactly_one_action() {
        assert_eq!(only_fault(""), "step 1 has no action");
        let actions = [
            "regenerate={certificate='TVS',node='sub'}",
            "rename={node='sub',to='x'}",
            RESET,
            "restart={node='sub'}",
            "start={node='sub'}",
            "stop={node='sub'}",
        ];
        for pair in actions.windows(2) {
            assert_eq!(only_fault(&pair.join("\n")), "step 1 has more than one action");
        }
    }

    #[test]
    fn unknown_nodes_services_and_certificates_are_refused() {
        assert_eq!(only_fault("stop={node='sup'}"), "unknown node `sup`");
        assert_eq!(only_fault("stop={service='dhcp',node='sub'}"), "unknown service `dhcp`");
        let text = "regenerate={certificate='Tomcats',node='sub'}";
        assert_eq!(only_fault(text), "unknown certificate `Tomcats`");
    }

    #[test]
    fn certificates_are_called_as_their_files_are_too() {
        let kind =
            |name: &str| only(&format!("regenerate={{certificate='{name}',node='pub'}}")).action;
        for name in ["CallManager", "callmanager.pem", "CallManager.pem", "CALLMANAGER.PEM"] {
            let (certificate, node) = (CertificateKind::CallManager, ClusterId::FIRST.node(0));
            assert_eq!(kind(name), Regenerate { certificate, node }, "{name}");
        }
        let fault =
            |name: &str| only_fault(&format!("regenerate={{certificate='{name}',node='pub'}}"));
        assert_eq!(fault(".pem"), "unknown certificate `.pem`");
        assert_eq!(fault("pem"), "unknown certificate `pem`");
    }

    #[test]
    fn names_of_steps_come_once_and_are_no_numbers() {
        let named = |names: [&str; 2]| {
            names.map(|name| event("at='0s'", &format!("{RESET}\nname='{name}'"))).concat()
        };
        assert_eq!(good(&named(["early", "late-2"]))[1].name, "late-2");
        assert_eq!(fault(&named(["early", "early"])), "step `early` comes twice");
        assert_eq!(fault(&named(["early", "2"])), "`2` is a number, not a name");
        assert_eq!(fault(&named(["early", "Late"])), "`Late` cannot be a name here");
    }

    #[test]
    fn whatever_is_wrong_with_one_step_the_others_are_checked() {
        let text = event("at='0s'", "stop={node='sup'}")
            + &event("after='previous'", RESET)
            + &event("after='previous'", "stop={node='bus'}");
        let text =
            format!("schema=1\nname='t'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=1\n{text}");
        let raw: RawScenario = toml::from_str(&text).unwrap();
        let mut faults = Faults::default();
        let topology = topology(&raw.cluster, false, &mut faults).unwrap();
        timeline(&raw.event, &topology, &[], &mut faults);
        let what: Vec<String> = faults.0.into_iter().map(|problem| problem.what).collect();
        assert_eq!(what, ["unknown node `sup`", "unknown node `bus`"]);
    }

    #[test]
    fn a_service_that_a_node_does_not_run_cannot_be_restarted() {
        assert_eq!(
            only_fault("restart={service='capf',node='sub'}"),
            "node `sub` does not run capf"
        );
        only("restart={service='capf',node='pub'}");
    }

    #[test]
    fn certificates_of_newer_releases_are_named_where_they_are() {
        let told = |release: &str, certificate: &str, node: &str| {
            let step = format!("regenerate={{certificate='{certificate}',node='{node}'}}");
            let problem = read(&format!("release='{release}'"), &event("at='0s'", &step)).err()?;
            Some((problem.what, problem.help.unwrap_or_default()))
        };
        for (release, certificate, from) in
            [("9.1", "ITLRecovery", "10.5"), ("10.5", "CallManager-ECDSA", "11.5")]
        {
            let (what, help) = told(release, certificate, "pub").unwrap();
            assert_eq!(what, format!("release {release} has no {certificate} certificate"));
            assert_eq!(help, format!("it exists from {from} on"));
            assert_eq!(told(from, certificate, "pub"), None);
        }
        assert_eq!(told("11.5", "callmanager-ecdsa.pem", "sub"), None);
        for (release, certificate) in [("10.5", "ITLRecovery"), ("15", "CAPF")] {
            let (what, _) = told(release, certificate, "sub").unwrap();
            assert_eq!(what, format!("{certificate} lives on the publisher only"));
        }
        assert_eq!(told("14", "CAPF", "sub"), None, "every node has one (X-11)");
    }

    #[test]
    fn a_renamed_node_is_known_by_both_names_from_then_on() {
        let rename = event("at='0s'", "rename={node='sub',to='new'}");
        let stop = |node: &str| event("after='previous'", &format!("stop={{node='{node}'}}"));
        let entries = good(&(rename.clone() + &stop("new") + &stop("sub") + &stop("NEW")));
        let action = Services::stop(ClusterId::FIRST.node(1), None);
        assert!(entries[1..].iter().all(|entry| entry.action == action));
        let early = event("at='0s'", "stop={node='new'}") + &rename;
        assert_eq!(fault(&early), "unknown node `new`");
    }

    #[test]
    fn a_node_in_another_domain_has_both_full_names_and_needs_a_new_name() {
        let rename = event("at='0s'", "rename={node='sub',domain='new.example'}");
        let entries = good(&rename);
        let Some(Rename { to: None, domain: Some(domain), .. }) = entries[0].action.get() else {
            panic!("{rename}")
        };
        assert_eq!(domain, "new.example");
        assert_eq!(only_fault("rename={node='sub'}"), "a rename without a new name");
        assert_eq!(only_fault("rename={node='sub',domain='a..b'}"), "`a..b` is not a domain");
    }

    #[test]
    fn a_name_in_use_cannot_be_taken() {
        assert_eq!(only_fault("rename={node='sub',to='pub'}"), "the name `pub` is in use");
        assert_eq!(only_fault("rename={node='sub',to='Sub'}"), "the name `Sub` is in use");
        assert_eq!(only_fault("rename={node='sub',to='a_b'}"), "`a_b` is not a host name");
        let rename =
            |node: &str, to: &str| event("at='0s'", &format!("rename={{node='{node}',to='{to}'}}"));
        let stolen = rename("sub", "new") + &rename("pub", "sub");
        assert_eq!(fault(&stolen), "the name `sub` is in use");
        assert_eq!(good(&(rename("sub", "new") + &rename("new", "sub"))).len(), 2, "back again");
    }

    const RESET: &str = "reset-phones={spread='0s'}";

    fn event(trigger: &str, action: &str) -> String {
        format!("[[event]]\n{trigger}\n{action}\n")
    }

    fn only(action: &str) -> TimelineEntry {
        good(&event("at='0s'", action)).remove(0)
    }

    fn only_fault(action: &str) -> String {
        fault(&event("at='0s'", action))
    }

    fn good(events: &str) -> Vec<TimelineEntry> {
        read("", events).unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    fn fault(events: &str) -> String {
        let problem = read("", events).expect_err("a fault");
        assert!(problem.help.is_some(), "{problem:?}");
        problem.what
    }

    fn read(cluster: &str, events: &str) -> Result<Vec<TimelineEntry>, Problem> {
        let text = format!(
            "schema=1\nname='t'\n[cluster]\n{cluster}\n[[cluster.node]]\nname='pub'\n\
             [[cluster.node]]\nname='sub'\naddress='127.0.0.2'\n[fleet]\nphones=1\n{events}"
        );
        let raw: RawScenario = toml::from_str(&text).unwrap();
        let mut faults = Faults::default();
        let topology = topology(&raw.cluster, false, &mut faults).unwrap();
        let entries = timeline(&raw.event, &topology, &[], &mut faults);
        faults.0.first().map_or(Ok(entries), |first| Err(first.clone()))
    }
}
