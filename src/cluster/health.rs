//! What becomes of a cluster whose certificates are bad.

use crate::base::{NodeId, Time};
use crate::crypto::Certificate;

use super::kinds::{CertificateKind, TrustStore, Unit};
use super::stores::{Item, Stores};

/// A bad certificate of a node and what does not work because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Harm {
    /// Whose page it stands on.
    pub node: NodeId,
    /// The certificate and where it stands.
    pub item: Item,
    /// What the documents say of it (CERT-18 to CERT-26).
    pub consequence: &'static str,
}

/// The certificates that are not valid at `now`, which is `now_s` in Unix seconds, and what does not
/// work because of each; those that serve for nothing are left out.
pub fn impacts(stores: &Stores, now: Time, now_s: i64) -> Vec<Harm> {
    let of_node = |node: NodeId| {
        let items = stores.inventory(node, now).into_iter();
        items.filter(move |item| !is_valid(&item.certificate, now_s)).filter_map(move |item| {
            let consequence = consequence(item.unit)?;
            Some(Harm { node, item, consequence })
        })
    };
    stores.nodes().iter().copied().flat_map(of_node).collect()
}

/// Whether a certificate is valid at this Unix second; one without dates never is.
fn is_valid(certificate: &Certificate, now_s: i64) -> bool {
    match certificate.validity_s() {
        (Some(start), Some(end)) => (start..=end).contains(&now_s),
        _ => false,
    }
}

/// What does not work when a certificate of this unit is bad.
const fn consequence(unit: Unit) -> Option<&'static str> {
    Some(match unit {
        Unit::Service(CertificateKind::CallManager) => {
            "TFTP is not trusted: phones refuse signed configurations and ITLs; phone services may \
             suffer; secure SIP trunks and media resources do not register or work; AXL requests \
             fail"
        }
        Unit::Service(CertificateKind::Tomcat) => {
            "phones cannot use HTTPS services of the node, such as the corporate directory; pages \
             of other nodes do not open; Extension Mobility has problems"
        }
        Unit::Service(CertificateKind::Capf) => {
            "phones do not authenticate for phone VPN, 802.1X or phone proxy; no LSC can be issued; \
             encrypted configurations do not work"
        }
        Unit::Service(CertificateKind::Ipsec) => {
            "DRS may not work; IPsec tunnels to gateways and other clusters fail"
        }
        Unit::Service(CertificateKind::Tvs) => {
            "phones can authenticate neither HTTPS services nor configurations: almost everything"
        }
        Unit::Service(CertificateKind::ItlRecovery) => {
            "lists that it signs are not trusted, and a reset of the local key saves no phone"
        }
        Unit::Trust(TrustStore::PhoneVpn) => "the HTTPS URL of phone VPN cannot be authenticated",
        Unit::Trust(TrustStore::PhoneSast) => "earlier CTLs and eTokens cannot update the CTL",
        Unit::Trust(TrustStore::Phone | TrustStore::PhoneCtl) => {
            "visual voicemail with Unity and Unity Connection fails"
        }
        Unit::Service(CertificateKind::CallManagerEcdsa)
        | Unit::Trust(
            TrustStore::CallManager
            | TrustStore::Capf
            | TrustStore::Tomcat
            | TrustStore::Ipsec
            | TrustStore::Tvs,
        ) => return None,
    })
}
