use std::ops::Range;

use toml::Spanned;

use crate::base::{ClusterId, NodeId, Span, Time};
use crate::cluster::{
    CERTIFICATES, CertificateKind, OperatorAction, RELEASES, Release, SERVICES, ServiceKind,
    Topology,
};

use super::cluster_checks::runs;
use super::error::{Faults, Problem};
use super::names::{check_host, one_of};
use super::plan::{FollowUp, TimelineEntry, Trigger};
use super::raw::{Length, RawEvent, RawRecord, RawRegenerate, RawRename, RawServices, Text};
use super::steps::{PREVIOUS, check_names, names};

/// The operator's timeline of a scenario, checked against its cluster; whatever is wrong with one
/// step, the others are checked, too.
pub(super) fn timeline(
    raw: &[Spanned<RawEvent>],
    topology: &Topology,
    faults: &mut Faults,
) -> Vec<TimelineEntry> {
    let mut reader = Reader::new(topology);
    faults.extend(check_names(raw));
    for (at, (event, name)) in raw.iter().zip(names(raw)).enumerate() {
        (reader.number, reader.name) = (at + 1, name);
        faults.take(reader.event(event.get_ref(), event.span()));
    }
    reader.entries
}

/// Reads events in order, because a rename gives later events one more name.
struct Reader<'a> {
    topology: &'a Topology,
    /// The step that is read: its number, from 1, and its name.
    number: usize,
    name: String,
    /// Names of each node, the present one last.
    names: Vec<Vec<String>>,
    entries: Vec<TimelineEntry>,
}

impl Reader<'_> {
    fn new(topology: &Topology) -> Reader<'_> {
        let names = topology.nodes.iter().map(|node| vec![node.name.clone()]).collect();
        Reader { topology, number: 0, name: String::new(), names, entries: Vec::new() }
    }

    fn event(&mut self, raw: &RawEvent, place: Range<usize>) -> Result<(), Problem> {
        let trigger = self.trigger(raw, &place)?;
        check_one_action(raw, self.number, &place)?;
        if let Some(raw) = &raw.add_record {
            let (node, name) = self.record(raw)?;
            self.push(trigger, OperatorAction::AddRecord { node, name }, None);
        }
        if let Some(raw) = &raw.remove_record {
            let (_, name) = self.record(raw)?;
            self.push(trigger, OperatorAction::RemoveRecord { name }, None);
        }
        if let Some(raw) = &raw.regenerate {
            let action = self.regenerate(raw)?;
            self.push(trigger, action, None);
        }
        if let Some(raw) = &raw.rename {
            let action = self.rename(raw)?;
            self.push(trigger, action, None);
        }
        if let Some(raw) = &raw.reset_phones {
            let spread = raw.spread.map_or(Span::ZERO, |spread| spread.0);
            self.push(trigger, OperatorAction::ResetPhones { spread }, None);
        }
        if let Some(raw) = &raw.restart {
            self.restart(trigger, raw)?;
        }
        if let Some(raw) = &raw.start {
            self.start(trigger, raw)?;
        }
        if let Some(raw) = &raw.stop {
            self.stop(trigger, raw)?;
        }
        Ok(())
    }

    fn push(&mut self, trigger: Trigger, action: OperatorAction, then: Option<FollowUp>) {
        let name = self.name.clone();
        self.entries.push(TimelineEntry { name, trigger, action, then });
    }

    fn regenerate(&self, raw: &RawRegenerate) -> Result<OperatorAction, Problem> {
        let certificate = certificate(&raw.certificate)?;
        let node = self.node(&raw.node)?;
        if certificate == CertificateKind::ItlRecovery {
            self.check_itl_recovery(raw, node)?;
        }
        Ok(OperatorAction::Regenerate { certificate, node })
    }

    /// The node and the name, present or earlier, whose record is added or removed.
    fn record(&self, raw: &RawRecord) -> Result<(NodeId, String), Problem> {
        let node = self.node(&raw.node)?;
        if self.topology.domain.is_none() {
            let problem = Problem::new(raw.node.span(), "no phone resolves a name here");
            return Err(problem.help("set cluster.domain, so that configurations carry names"));
        }
        Ok((node, raw.node.get_ref().clone()))
    }

    fn check_itl_recovery(&self, raw: &RawRegenerate, node: NodeId) -> Result<(), Problem> {
        let release = self.topology.release;
        if !release.has_itl_recovery() {
            let having = RELEASES.into_iter().find(|release| release.has_itl_recovery());
            let what = format!("release {release} has no ITLRecovery certificate");
            let help = format!("it exists from {} on", having.map_or("no release", Release::name));
            return Err(Problem::new(raw.certificate.span(), what).help(help));
        }
        if node != PUBLISHER {
            let help = format!("name the publisher, `{}`", self.topology.node(PUBLISHER).name);
            let problem = Problem::new(raw.node.span(), "ITLRecovery lives on the publisher only");
            return Err(problem.help(help));
        }
        Ok(())
    }

    fn rename(&mut self, raw: &RawRename) -> Result<OperatorAction, Problem> {
        let node = self.node(&raw.node)?;
        check_host(&raw.to)?;
        let to = raw.to.get_ref();
        let own = &self.names[node.index()];
        let used = match self.find(to) {
            Some(owner) if owner == node => own.last().is_some_and(|now| same_host(now, to)),
            other => other.is_some(),
        };
        if used {
            let problem = Problem::new(raw.to.span(), format!("the name `{to}` is in use"));
            return Err(problem.help("old names still lead to their nodes; take a new one"));
        }
        self.names[node.index()].push(to.clone());
        Ok(OperatorAction::Rename { node, to: to.clone() })
    }

    /// A restart that takes a while is a stop and, that much later, a start that is waited for.
    fn restart(&mut self, trigger: Trigger, raw: &RawServices) -> Result<(), Problem> {
        let (node, service) = self.services(raw)?;
        let Some(length) = &raw.for_ else {
            self.push(trigger, OperatorAction::Restart { node, service }, None);
            return Ok(());
        };
        let action = OperatorAction::Start { node, service };
        let then = FollowUp { delay: positive(length)?, action, is_awaited: true };
        self.push(trigger, OperatorAction::Stop { node, service }, Some(then));
        Ok(())
    }

    fn start(&mut self, trigger: Trigger, raw: &RawServices) -> Result<(), Problem> {
        let (node, service) = self.services(raw)?;
        if let Some(length) = &raw.for_ {
            let problem = Problem::new(length.span(), "`for` does not go with `start`");
            return Err(problem.help("`stop` and `restart` take a `for`"));
        }
        self.push(trigger, OperatorAction::Start { node, service }, None);
        Ok(())
    }

    fn stop(&mut self, trigger: Trigger, raw: &RawServices) -> Result<(), Problem> {
        let (node, service) = self.services(raw)?;
        let then = match &raw.for_ {
            Some(length) => {
                let action = OperatorAction::Start { node, service };
                Some(FollowUp { delay: positive(length)?, action, is_awaited: false })
            }
            None => None,
        };
        self.push(trigger, OperatorAction::Stop { node, service }, then);
        Ok(())
    }

    fn trigger(&self, raw: &RawEvent, place: &Range<usize>) -> Result<Trigger, Problem> {
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
                    let what =
                        format!("`after` takes \"previous\" only, not `{}`", after.get_ref());
                    let help = "a step follows the one before it: after = \"previous\"";
                    return Err(Problem::new(after.span(), what).help(help));
                }
                if self.number == 1 {
                    let problem = Problem::new(after.span(), "nothing comes before step 1");
                    return Err(problem.help("the first step has `at` or `when`"));
                }
                Ok(trigger)
            }
            (None, None, None) => {
                let what = format!("step {} does not say when it is due", self.number);
                Err(Problem::new(place.clone(), what).help(TRIGGERS))
            }
            _ => {
                let what = format!("step {} says in more than one way when it is due", self.number);
                Err(Problem::new(place.clone(), what).help(TRIGGERS))
            }
        }
    }

    /// The node and the service that are started or stopped.
    fn services(&self, raw: &RawServices) -> Result<(NodeId, Option<ServiceKind>), Problem> {
        let node = self.node(&raw.node)?;
        let Some(text) = &raw.service else {
            return Ok((node, None));
        };
        let service = one_of(text, "service", &SERVICES, ServiceKind::name)?;
        runs(self.topology, node, service, &raw.node)?;
        Ok((node, Some(service)))
    }

    /// The node with this name, old or new.
    fn node(&self, text: &Text) -> Result<NodeId, Problem> {
        self.find(text.get_ref()).ok_or_else(|| {
            let names = self.names.iter().flatten().map(String::as_str);
            Problem::unknown(text.span(), "node", text.get_ref(), names)
        })
    }

    fn find(&self, name: &str) -> Option<NodeId> {
        let owns = |names: &Vec<String>| names.iter().any(|own| same_host(own, name));
        self.names.iter().position(owns).map(|at| ClusterId::FIRST.node(at as u8))
    }
}

/// The certificate with this name; as a file (`CallManager.pem`) and in any case, too.
fn certificate(text: &Text) -> Result<CertificateKind, Problem> {
    let given = text.get_ref().trim();
    let stem = given.len().checked_sub(PEM.len()).and_then(|at| given.split_at_checked(at));
    let name = match stem {
        Some((name, end)) if end.eq_ignore_ascii_case(PEM) => name,
        _ => given,
    };
    let found = CERTIFICATES.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name));
    found.map_or_else(|| one_of(text, "certificate", &CERTIFICATES, CertificateKind::name), Ok)
}

/// The ending of a certificate's file.
const PEM: &str = ".pem";

/// The first node of a cluster.
const PUBLISHER: NodeId = ClusterId::FIRST.node(0);

/// Help for an event without a clear time.
const TRIGGERS: &str = "one of: at = \"12s\", when = \"fleet-settled\", after = \"previous\"";

/// Host names know no case.
fn same_host(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Refuses an event that does nothing or several things.
fn check_one_action(raw: &RawEvent, number: usize, place: &Range<usize>) -> Result<(), Problem> {
    let actions = [
        raw.add_record.is_some(),
        raw.remove_record.is_some(),
        raw.regenerate.is_some(),
        raw.rename.is_some(),
        raw.reset_phones.is_some(),
        raw.restart.is_some(),
        raw.start.is_some(),
        raw.stop.is_some(),
    ];
    let what = match actions.into_iter().filter(|is_there| *is_there).count() {
        1 => return Ok(()),
        0 => format!("step {number} has no action"),
        _ => format!("step {number} has more than one action"),
    };
    let help =
        "one of: regenerate, rename, reset-phones, restart, start, stop, add-record, remove-record";
    Err(Problem::new(place.clone(), what).help(help))
}

/// A length of time that is not zero.
pub(super) fn positive(length: &Length) -> Result<Span, Problem> {
    let span = length.get_ref().0;
    if span.is_zero() {
        let problem = Problem::new(length.span(), "this length of time cannot be zero");
        return Err(problem.help("such as \"10s\""));
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::super::cluster_checks::topology;
    use super::super::raw::RawScenario;
    use super::*;

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
            OperatorAction::Regenerate { certificate: CertificateKind::Tvs, node }
        );
        assert_eq!(
            action("rename={node='sub',to='sub-new'}"),
            OperatorAction::Rename { node, to: "sub-new".into() }
        );
        let spread = Span::from_secs(30);
        assert_eq!(action("reset-phones={spread='30s'}"), OperatorAction::ResetPhones { spread });
        assert_eq!(action("reset-phones={}"), OperatorAction::ResetPhones { spread: Span::ZERO });
        assert_eq!(
            action("restart={service='tvs',node='sub'}"),
            OperatorAction::Restart { node, service: tvs }
        );
        assert_eq!(action("start={node='sub'}"), OperatorAction::Start { node, service: None });
        assert_eq!(action("stop={node='sub'}"), OperatorAction::Stop { node, service: None });
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
        assert_eq!(entry.action, OperatorAction::Stop { node: ClusterId::FIRST.node(1), service });
        let start = OperatorAction::Start { node: ClusterId::FIRST.node(1), service };
        let delay = Span::from_secs(8);
        assert_eq!(entry.then, Some(FollowUp { delay, action: start, is_awaited: false }));
    }

    #[test]
    fn a_restart_for_a_while_is_one_step_with_a_start_that_is_waited_for() {
        let entries = good(&event("at='1s'", "restart={node='sub',for='8s'}"));
        let (node, service) = (ClusterId::FIRST.node(1), None);
        let delay = Span::from_secs(8);
        assert_eq!(entries[0].trigger, Trigger::At(Time::ZERO + Span::from_secs(1)));
        assert_eq!(entries[0].action, OperatorAction::Stop { node, service });
        let action = OperatorAction::Start { node, service };
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
        let text = "regenerate={certificate='Tomcat',node='sub'}";
        assert_eq!(only_fault(text), "unknown certificate `Tomcat`");
    }

    #[test]
    fn certificates_are_called_as_their_files_are_too() {
        let kind =
            |name: &str| only(&format!("regenerate={{certificate='{name}',node='pub'}}")).action;
        for name in ["CallManager", "callmanager.pem", "CallManager.pem", "CALLMANAGER.PEM"] {
            let (certificate, node) = (CertificateKind::CallManager, ClusterId::FIRST.node(0));
            assert_eq!(kind(name), OperatorAction::Regenerate { certificate, node }, "{name}");
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
        let topology = topology(&raw.cluster, &mut faults).unwrap();
        timeline(&raw.event, &topology, &mut faults);
        let what: Vec<String> = faults.into_iter().map(|problem| problem.what).collect();
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
    fn itl_recovery_exists_from_11_5_on_the_publisher() {
        let text = |node: &str| {
            event("at='0s'", &format!("regenerate={{certificate='ITLRecovery',node='{node}'}}"))
        };
        assert_eq!(fault(&text("pub")), "release 8.6 has no ITLRecovery certificate");
        let newer = |node: &str| read("release='11.5'", &text(node)).map_err(|p| p.what);
        assert_eq!(newer("pub").unwrap().len(), 1);
        assert_eq!(newer("sub").unwrap_err(), "ITLRecovery lives on the publisher only");
    }

    #[test]
    fn a_renamed_node_is_known_by_both_names_from_then_on() {
        let rename = event("at='0s'", "rename={node='sub',to='new'}");
        let stop = |node: &str| event("after='previous'", &format!("stop={{node='{node}'}}"));
        let entries = good(&(rename.clone() + &stop("new") + &stop("sub") + &stop("NEW")));
        let action = OperatorAction::Stop { node: ClusterId::FIRST.node(1), service: None };
        assert!(entries[1..].iter().all(|entry| entry.action == action));
        let early = event("at='0s'", "stop={node='new'}") + &rename;
        assert_eq!(fault(&early), "unknown node `new`");
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
        let topology = topology(&raw.cluster, &mut faults).unwrap();
        let entries = timeline(&raw.event, &topology, &mut faults);
        faults.first().map_or(Ok(entries), |first| Err(first.clone()))
    }
}
