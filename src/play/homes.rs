use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::{NodeId, PhoneId};

/// The TFTP nodes of a phone, first asked first; at least one.
pub type Home = Arc<[NodeId]>;

/// Where each phone belongs: state that an action of the operator can change.
#[derive(Clone, Debug)]
pub struct Homes {
    /// What phones take turns at that were never moved, so that their shares differ by one at most.
    dealt: Vec<Home>,
    moved: BTreeMap<PhoneId, Home>,
}

impl Homes {
    /// Phones take turns at these nodes, at least one.
    pub fn dealt(nodes: &[NodeId]) -> Homes {
        let dealt = nodes.iter().map(|&node| Home::from([node])).collect();
        Homes { dealt, moved: BTreeMap::new() }
    }

    /// The home of a phone.
    pub fn of(&self, phone: PhoneId) -> &Home {
        let dealt = || &self.dealt[phone.0 as usize % self.dealt.len()];
        // Most runs move nobody.
        if self.moved.is_empty() { dealt() } else { self.moved.get(&phone).unwrap_or_else(dealt) }
    }

    /// The TFTP node that a phone asks first.
    pub fn first(&self, phone: PhoneId) -> NodeId {
        self.of(phone)[0]
    }

    /// The TFTP nodes that phones ask first, each once.
    pub fn firsts(&self) -> BTreeSet<NodeId> {
        self.dealt.iter().chain(self.moved.values()).map(|home| home[0]).collect()
    }

    /// From now on these phones belong to `home`.
    pub fn move_phones(&mut self, phones: impl IntoIterator<Item = PhoneId>, home: &Home) {
        self.moved.extend(phones.into_iter().map(|phone| (phone, Arc::clone(home))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClusterId;

    #[test]
    fn phones_take_turns_until_they_are_moved() {
        let [one, two] = [0, 1].map(|node| ClusterId::FIRST.node(node));
        let away = ClusterId(1).node(3);
        let mut homes = Homes::dealt(&[one, two]);
        let firsts = |homes: &Homes| [0, 1, 2, 3].map(|phone| homes.first(PhoneId(phone)));
        assert_eq!(firsts(&homes), [one, two, one, two]);
        homes.move_phones([PhoneId(1), PhoneId(2)], &Home::from([away, two]));
        assert_eq!(firsts(&homes), [one, away, away, two]);
        assert_eq!(homes.of(PhoneId(2))[1], two, "and then the next of its list");
        assert_eq!(homes.firsts(), [one, two, away].into());
    }
}
