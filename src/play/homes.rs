use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::{Home, NodeId, PhoneId};
use crate::scenario::Plan;

/// Where each phone belongs: state that an action of the operator can change.
#[derive(Clone, Debug)]
pub struct Homes {
    /// What phones take turns at that were never moved, so that their shares differ by one at most.
    dealt: Vec<Home>,
    /// Where `CallManager` groups have lists of their own: the end of each group's range of phone
    /// numbers and its list, if it has one.
    of_groups: Vec<(u32, Option<Home>)>,
    moved: BTreeMap<PhoneId, Home>,
}

impl Homes {
    /// Phones take turns at these homes, at least one.
    pub const fn dealt(homes: Vec<Home>) -> Homes {
        Homes { dealt: homes, of_groups: Vec::new(), moved: BTreeMap::new() }
    }

    /// Where the phones of a plan belong when it begins.
    pub fn of_plan(plan: &Plan) -> Homes {
        let own = &plan.fleet.tftp_of_groups;
        let mut homes = Homes::dealt(plan.homes());
        if plan.target.is_none() && !own.is_empty() {
            let mut end = 0;
            let sizes = plan.topology.group_sizes(plan.fleet.phones).into_iter().enumerate();
            let group = |(group, size)| {
                end += size;
                (end, own.get(&group).cloned())
            };
            homes.of_groups = sizes.map(group).collect();
        }
        homes
    }

    /// How many homes phones take turns at.
    pub const fn turns(&self) -> usize {
        self.dealt.len()
    }

    /// The home of a phone.
    pub fn of(&self, phone: PhoneId) -> &Home {
        let unmoved = || {
            let turn = || &self.dealt[phone.0 as usize % self.dealt.len()];
            if self.of_groups.is_empty() {
                turn()
            } else {
                self.of_group(phone).unwrap_or_else(turn)
            }
        };
        // Most runs move nobody.
        if self.moved.is_empty() {
            unmoved()
        } else {
            self.moved.get(&phone).unwrap_or_else(unmoved)
        }
    }

    /// The list of a phone's group, if that has its own.
    fn of_group(&self, phone: PhoneId) -> Option<&Home> {
        let group = self.of_groups.partition_point(|(end, _)| *end <= phone.0);
        self.of_groups.get(group)?.1.as_ref()
    }

    /// The node at this place of a phone's list, from 0; `None` behind its end.
    pub fn node(&self, phone: PhoneId, server: u8) -> Option<NodeId> {
        self.of(phone).get(usize::from(server)).copied()
    }

    /// The TFTP node that a phone asks first.
    pub fn first(&self, phone: PhoneId) -> NodeId {
        self.of(phone)[0]
    }

    /// The TFTP nodes that phones ask first, each once.
    pub fn firsts(&self) -> BTreeSet<NodeId> {
        let of_groups = self.of_groups.iter().filter_map(|(_, home)| home.as_ref());
        self.dealt.iter().chain(of_groups).chain(self.moved.values()).map(|home| home[0]).collect()
    }

    /// From now on these phones belong to `home`; without a node in it they stay.
    pub fn move_phones(&mut self, phones: &[PhoneId], home: &Home) {
        let moved = phones.iter().filter(|_| !home.is_empty());
        self.moved.extend(moved.map(|&phone| (phone, Arc::clone(home))));
    }

    /// A phone boots and learns where it belongs, as from DHCP.
    pub fn learn(&mut self, phone: PhoneId, now: &Homes) {
        self.moved.extend(now.moved.get(&phone).map(|home| (phone, Arc::clone(home))));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::ClusterId;
    use crate::scenario::load;

    #[test]
    fn a_group_with_a_list_of_its_own_takes_no_turns_and_can_be_moved() {
        let [one, two] = [0, 1].map(|node| ClusterId::FIRST.node(node));
        let plan = |more: &str| {
            let text = format!(
                "schema=1\nname='t'\n[[cluster.node]]\nname='a'\n[[cluster.node]]\nname='b'\n\
                 address='127.0.0.2'\n[[cluster.group]]\nname='x'\nmembers=['a']\nshare=0.5\n\
                 [[cluster.group]]\nname='y'\nmembers=['a']\nshare=0.5\ntftp=['b','a']\n\
                 [fleet]\nphones=4\ntftp='a'\n{more}"
            );
            load(Path::new("t.toml"), &text, &[], &[]).unwrap()
        };
        let lists = |homes: &Homes| [0, 1, 2, 3].map(|phone| homes.of(PhoneId(phone)).to_vec());
        let mut homes = Homes::of_plan(&plan(""));
        assert_eq!(lists(&homes), [vec![one], vec![one], vec![two, one], vec![two, one]]);
        assert_eq!(homes.firsts(), [one, two].into());
        homes.move_phones(&[PhoneId(3)], &Home::from([one]));
        assert_eq!(lists(&homes)[2..], [vec![two, one], vec![one]]);
        // Servers that are not ours are those of all phones.
        let aimed = Homes::of_plan(&plan("[target]\ntftp='127.0.0.1:69'"));
        assert_eq!(lists(&aimed), [0, 1, 2, 3].map(|_| vec![one]));
    }

    #[test]
    fn phones_take_turns_until_they_are_moved_and_learn_of_it_when_they_boot() {
        let [one, two] = [0, 1].map(|node| ClusterId::FIRST.node(node));
        let away = ClusterId(1).node(3);
        let mut homes = Homes::dealt(vec![Home::from([one]), Home::from([two])]);
        let mut known = homes.clone();
        let firsts = |homes: &Homes| [0, 1, 2, 3].map(|phone| homes.first(PhoneId(phone)));
        assert_eq!(firsts(&homes), [one, two, one, two]);
        homes.move_phones(&[PhoneId(1), PhoneId(2)], &Home::from([away, two]));
        homes.move_phones(&[PhoneId(0)], &Home::from([]));
        assert_eq!(firsts(&homes), [one, away, away, two]);
        let list = [0, 1, 2].map(|server| homes.node(PhoneId(2), server));
        assert_eq!(list, [Some(away), Some(two), None], "one list for both");
        assert_eq!(homes.firsts(), [one, two, away].into());
        [PhoneId(0), PhoneId(2)].iter().for_each(|&phone| known.learn(phone, &homes));
        assert_eq!(firsts(&known), [one, two, away, two], "phone 1 has not booted");
        homes.move_phones(&[PhoneId(2)], &Home::from([one]));
        known.learn(PhoneId(2), &homes);
        assert_eq!(firsts(&known), [one, two, one, two], "and back");
    }
}
