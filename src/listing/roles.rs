/// Roles by number: listed text and what a phone uses them for (`spec/trust-list.md` section 7).
const ROLES: [(u16, &str, &str); 16] = [
    (0, "System Administrator Security Token", "its key may sign new trust lists"),
    (1, "CCM", "server of signalling"),
    (2, "CCM+TFTP", "server of signalling; its key signs configurations and other files"),
    (3, "TFTP", "its key signs configurations and other files"),
    (4, "CAPF", "server that issues the phone's own certificate (LSC)"),
    (5, "SRST", "router that takes over when the cluster is out of reach"),
    (6, "FIREWALL", "firewall that may look into signalling"),
    (7, "APPLICATION_SERVER", "HTTPS server of services and directories"),
    (20, "CERTIFICATE_AUTHORITY", "certificate authority"),
    (21, "TVS", "server that the phone asks about certificates it does not know"),
    (22, "SIGNALING", "not used by known phones"),
    (23, "PROVISIONING", "not used by known phones"),
    (24, "DATA_SERVICE", "not used by known phones"),
    (25, "NETWORK_ELEMENT", "not used by known phones"),
    (26, "VPN", "gateway of the phone's VPN"),
    (27, "SERVICEABILITY", "not used by known phones"),
];

/// The text of a role in listings; its number for roles without a text.
pub fn role_text(role: u16) -> String {
    match ROLES.iter().find(|known| known.0 == role) {
        Some((_, text, _)) => (*text).to_owned(),
        None => role.to_string(),
    }
}

/// What a phone uses a certificate of this role for.
pub fn role_use(role: u16) -> &'static str {
    ROLES.iter().find(|known| known.0 == role).map_or("unknown role", |known| known.2)
}

/// The role with this text, short name or number; letters may be of either case.
pub fn parse_role(text: &str) -> Option<u16> {
    match text.to_ascii_lowercase().as_str() {
        "sast" => Some(0),
        "app-server" => Some(7),
        other => {
            let named = ROLES.iter().find(|known| known.1.eq_ignore_ascii_case(other));
            named.map(|known| known.0).or_else(|| other.parse().ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_of_roles_agree() {
        for (role, text, _) in ROLES {
            assert_eq!((role_text(role).as_str(), parse_role(text)), (text, Some(role)));
            assert_ne!(role_use(role), "unknown role");
        }
        assert_eq!((role_text(99), parse_role("99")), ("99".to_owned(), Some(99)));
        assert_eq!(parse_role("Sast"), Some(0));
        assert_eq!(parse_role("app-server"), Some(7));
        assert_eq!(parse_role("nobody"), None);
        assert_eq!(role_use(99), "unknown role");
    }
}
