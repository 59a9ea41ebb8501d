use crate::crypto::Identity;
use crate::wire::phone_page::{
    CORPORATE_DIRECTORY, CROSS_CLUSTER, EXTENSION_MOBILITY, input, menu,
};
use crate::wire::uri::encode_path;

/// Tomcat of a node as phones know it: pages of services over HTTPS and HTTP.
#[derive(Debug)]
pub struct WebService {
    /// What it presents over HTTPS: Tomcat.pem of its node and its key.
    pub identity: Identity,
    /// Host and port of its pages over HTTP, and over HTTPS.
    pub(super) authorities: [String; 2],
}

/// Paths of its pages (HTTPS-02; those of the services are the usual ones of CUCM).
pub(crate) mod path {
    pub(crate) const DIRECTORY: &str = "/ccmcip/xmldirectory.jsp";
    pub(crate) const DIRECTORY_INPUT: &str = "/ccmcip/xmldirectoryinput.jsp";
    pub(crate) const DIRECTORY_LIST: &str = "/ccmcip/xmldirectorylist.jsp";
    pub(crate) const SERVICES: &str = "/ccmcip/getservicesmenu.jsp";
    pub(crate) const MOBILITY: &str = "/emapp/EMAppServlet";
}

/// Longest name of a device that a page repeats.
const DEVICE_LENGTH_MAX: usize = 64;

impl WebService {
    /// The page at this target (path and query), asked for over HTTPS or not; `None` if there is
    /// none.
    pub fn page(&self, target: &str, is_secure: bool) -> Option<String> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let at = |target: &str| self.url(target, is_secure);
        Some(match path {
            path::DIRECTORY => {
                let items = [(CORPORATE_DIRECTORY, at(path::DIRECTORY_INPUT))];
                menu("Directories", "Select a directory", &items)
            }
            path::DIRECTORY_INPUT => {
                let fields =
                    [("First Name", "f", "A"), ("Last Name", "l", "A"), ("Number", "n", "T")];
                let prompt = "Enter search criteria";
                input("Directory Search", prompt, &at(path::DIRECTORY_LIST), &fields)
            }
            path::SERVICES => {
                let cross = format!("{}?EMCC=true", path::MOBILITY);
                let items = [(EXTENSION_MOBILITY, at(path::MOBILITY)), (CROSS_CLUSTER, at(&cross))];
                menu("Services", "Select a service", &items)
            }
            path::MOBILITY => {
                let device =
                    parameter(query, "name").filter(|name| name.len() <= DEVICE_LENGTH_MAX);
                let device = encode_path(device.unwrap_or_default());
                let login = format!("{}?device={}", path::MOBILITY, device.trim_start_matches('/'));
                let title = match parameter(query, "EMCC") {
                    Some("true") => CROSS_CLUSTER,
                    _ => EXTENSION_MOBILITY,
                };
                let fields = [("UserID", "userid", "A"), ("PIN", "seq", "NP")];
                input(title, "Please sign on", &at(&login), &fields)
            }
            _ => return None,
        })
    }

    fn url(&self, target: &str, is_secure: bool) -> String {
        let scheme = if is_secure { "https" } else { "http" };
        format!("{scheme}://{}{target}", self.authorities[usize::from(is_secure)])
    }
}

/// The value of a parameter as it stands in a query.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, KeySource};
    use crate::wire::phone_page::{PageKind, PhonePage};

    fn service() -> WebService {
        let spec =
            CertificateSpec { common_name: "pub", not_before_s: 1_700_000_000, key_bits: 2048 };
        let identity = Identity::self_signed(&spec, &mut KeySource::bank(1));
        let authorities = ["10.0.0.1:8080", "10.0.0.1:8443"].map(str::to_owned);
        WebService { identity, authorities }
    }

    #[test]
    fn every_item_of_a_menu_leads_to_a_page_of_the_same_scheme() {
        for (start, is_secure) in [(path::DIRECTORY, true), (path::SERVICES, false)] {
            let page = service().page(start, is_secure).unwrap();
            let menu = PhonePage::parse(page.as_bytes()).unwrap();
            assert!(menu.kind == PageKind::Menu && !menu.items.is_empty());
            for (name, url) in menu.items {
                let base = if is_secure { "https://10.0.0.1:8443" } else { "http://10.0.0.1:8080" };
                let target = url.strip_prefix(base).unwrap();
                let page = service().page(target, is_secure).unwrap();
                let page = PhonePage::parse(page.as_bytes()).unwrap();
                assert_eq!(page.kind, PageKind::Input, "{name}");
            }
        }
        assert_eq!(service().page("/etc/passwd", true), None);
    }

    #[test]
    fn a_login_names_the_device_and_repeats_nothing_that_is_no_name() {
        let login = |query: &str| service().page(&format!("{}?{query}", path::MOBILITY), true);
        assert!(login("name=SEP001122334455").unwrap().contains("device=SEP001122334455<"));
        assert!(login("EMCC=true&name=SEP1").unwrap().contains(CROSS_CLUSTER));
        for query in ["name=<a>&x=1", &format!("name={}", "x".repeat(999))] {
            let page = login(query).unwrap();
            assert!(!page.contains("<a>") && page.len() < 1_000, "{page}");
            assert!(PhonePage::parse(page.as_bytes()).is_ok());
        }
    }
}
