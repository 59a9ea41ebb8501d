use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

super::words! {
    /// In which ways of addressing a phone reaches servers (BOOT-21: `Phone in IPv4 only mode`).
    #[derive(Default)]
    pub enum IpMode {
        /// Both; of a name with both records that of IPv4 is taken, as CUCM has it by default.
        #[default]
        Dual = "dual",
        /// IPv4 only: names are asked for their A record.
        Ipv4 = "ipv4",
        /// IPv6 only: names are asked for their AAAA record.
        Ipv6 = "ipv6",
    }
}

impl IpMode {
    /// Whether a server with this address can be reached.
    pub const fn permits(self, address: IpAddr) -> bool {
        match self {
            IpMode::Dual => true,
            IpMode::Ipv4 => address.is_ipv4(),
            IpMode::Ipv6 => address.is_ipv6(),
        }
    }
}

/// Host names and the addresses that they lead to, as a DNS server has them: an A and an AAAA
/// record each. Shared by everybody who resolves: a change is there at once.
#[derive(Debug, Default)]
pub struct HostTable {
    /// By name in lower case: host names know no case. The A record is first.
    records: RwLock<BTreeMap<String, [Option<IpAddr>; 2]>>,
}

impl HostTable {
    /// Adds a record of a name, or changes it: an A record for an address of IPv4, else an AAAA
    /// record.
    pub fn add(&self, name: &str, address: IpAddr) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        let of_name = records.entry(name.to_ascii_lowercase()).or_default();
        of_name[usize::from(address.is_ipv6())] = Some(address);
    }

    /// Removes the records of a name, if there are any.
    pub fn remove(&self, name: &str) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        records.remove(&name.to_ascii_lowercase());
    }

    /// The address of a name for who reaches servers in this way; `None` if it has no such record.
    pub fn resolve(&self, name: &str, mode: IpMode) -> Option<IpAddr> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let of_name = records.get(&name.to_ascii_lowercase())?;
        of_name.iter().flatten().copied().find(|&address| mode.permits(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_where_its_last_record_says_whatever_its_case() {
        let hosts = HostTable::default();
        let resolve = |name: &str| hosts.resolve(name, IpMode::Dual);
        let [one, two] = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
        hosts.add("Pub.cucm.example", one);
        assert_eq!(resolve("pub.CUCM.example"), Some(one));
        assert_eq!(resolve("pub"), None);
        hosts.add("pub.cucm.example", two);
        assert_eq!(resolve("pub.cucm.example"), Some(two));
        hosts.remove("PUB.cucm.example");
        assert_eq!(resolve("pub.cucm.example"), None);
    }

    /// an AAAA record does not help who asks for an A record.
    #[test]
    fn a_name_has_an_a_and_an_aaaa_record_and_a_phone_asks_for_those_of_its_mode() {
        let hosts = HostTable::default();
        let v4 = IpAddr::from([127, 0, 0, 1]);
        let v6 = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
        hosts.add("pub", v6);
        let answers = |hosts: &HostTable| IpMode::ALL.map(|mode| hosts.resolve("pub", mode));
        assert_eq!(answers(&hosts), [Some(v6), None, Some(v6)]);
        hosts.add("pub", v4);
        assert_eq!(answers(&hosts), [Some(v4), Some(v4), Some(v6)]);
        hosts.remove("pub");
        assert_eq!(answers(&hosts), [None; 3]);
    }
}
