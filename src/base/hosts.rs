use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

/// Host names and the addresses that they lead to, as a DNS server has them. Shared by everybody
/// who resolves: a change is there at once.
#[derive(Debug, Default)]
pub struct HostTable {
    /// By name in lower case: host names know no case.
    records: RwLock<BTreeMap<String, IpAddr>>,
}

impl HostTable {
    /// Adds the record of a name, or changes it.
    pub fn add(&self, name: &str, address: IpAddr) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        records.insert(name.to_ascii_lowercase(), address);
    }

    /// Removes the record of a name, if there is one.
    pub fn remove(&self, name: &str) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        records.remove(&name.to_ascii_lowercase());
    }

    /// The address of a name; `None` if it has no record.
    pub fn resolve(&self, name: &str) -> Option<IpAddr> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        records.get(&name.to_ascii_lowercase()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_where_its_last_record_says_whatever_its_case() {
        let hosts = HostTable::default();
        let [one, two] = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
        hosts.add("Pub.cucm.example", one);
        assert_eq!(hosts.resolve("pub.CUCM.example"), Some(one));
        assert_eq!(hosts.resolve("pub"), None);
        hosts.add("pub.cucm.example", two);
        assert_eq!(hosts.resolve("pub.cucm.example"), Some(two));
        hosts.remove("PUB.cucm.example");
        assert_eq!(hosts.resolve("pub.cucm.example"), None);
    }
}
