//! Names in a scenario: closed sets, nodes, host names, and names that must not come twice.

use toml::Spanned;

use crate::base::NodeId;
use crate::cluster::{ServiceKind, Topology};

use super::error::Problem;

/// A text with its place.
pub(super) type Text = Spanned<String>;

/// The value whose name stands in `text`.
pub(super) fn one_of<T: Copy>(
    text: &Text,
    noun: &str,
    values: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, Problem> {
    let given = text.get_ref();
    values.iter().copied().find(|&value| name(value) == given).ok_or_else(|| {
        Problem::unknown(text.span(), noun, given, values.iter().map(|&value| name(value)))
    })
}

/// The node that `text` names.
pub(super) fn node_named(topology: &Topology, text: &Text) -> Result<NodeId, Problem> {
    topology.node_named(text.get_ref()).ok_or_else(|| {
        let names = topology.nodes.iter().map(|node| node.name.as_str());
        Problem::unknown(text.span(), "node", text.get_ref(), names)
    })
}

/// Refuses a node, named by `text`, on which `service` is not active.
pub(super) fn runs(
    topology: &Topology,
    node: NodeId,
    service: ServiceKind,
    text: &Text,
) -> Result<(), Problem> {
    if topology.is_active(node, service) {
        return Ok(());
    }
    let what = format!("node `{}` does not run {}", text.get_ref(), service.name());
    let nodes: Vec<&str> =
        topology.nodes_with(service).map(|id| topology.node(id).name.as_str()).collect();
    let help = match nodes.as_slice() {
        [] => format!("add \"{}\" to its services", service.name()),
        nodes => format!("nodes that do: {}", nodes.join(", ")),
    };
    Err(Problem::new(text.span(), what).help(help))
}

/// Refuses what cannot be a host name: 1 to 63 letters, digits and inner hyphens (RFC 1123).
pub(super) fn check_host(text: &Text) -> Result<(), Problem> {
    let name = text.get_ref();
    let fits = (1..=63).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits {
        return Ok(());
    }
    let problem = Problem::new(text.span(), format!("`{name}` is not a host name"));
    Err(problem.help("1 to 63 letters, digits and hyphens, no hyphen at either end"))
}

/// Longest domain in characters: with a host name before it a name has at most 253 (RFC 1035).
const DOMAIN_MAX: usize = 253 - 64;

/// Refuses what cannot be a domain: host names, joined by dots.
pub(super) fn check_domain(text: &Text) -> Result<(), Problem> {
    let name = text.get_ref();
    let label = |label: &str| check_host(&Spanned::new(text.span(), label.to_owned())).is_ok();
    if name.len() <= DOMAIN_MAX && name.split('.').all(label) {
        return Ok(());
    }
    let problem = Problem::new(text.span(), format!("`{name}` is not a domain"));
    Err(problem.help("labels of letters, digits and hyphens, such as \"cucm.example\""))
}

/// Refuses what cannot name a scenario or a group: lower-case letters, digits and hyphens.
pub(super) fn check_plain(text: &Text) -> Result<(), Problem> {
    let name = text.get_ref();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.chars().all(fits) {
        return Ok(());
    }
    let problem = Problem::new(text.span(), format!("`{name}` cannot be a name here"));
    Err(problem.help("lower-case letters, digits and hyphens only"))
}

/// Refuses the second of two equal names; host names know no case.
pub(super) fn check_unique<'a>(
    noun: &str,
    texts: impl IntoIterator<Item = &'a Text>,
) -> Result<(), Problem> {
    let mut seen: Vec<&str> = Vec::new();
    for text in texts {
        let name = text.get_ref();
        if seen.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(Problem::new(text.span(), format!("{noun} `{name}` comes twice"))
                .help("every name comes once"));
        }
        seen.push(name);
    }
    Ok(())
}

/// What secured URLs of phones begin with, or do not.
pub(super) const fn url_scheme(is_secured: bool) -> &'static str {
    if is_secured { "https" } else { "http" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_letters_digits_and_inner_hyphens() {
        for good in ["a", "pub", "CUCM-pub-2", "7", &"a".repeat(63)] {
            assert_eq!(check_host(&text(good)), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "a.b", "a_b", "ü", &"a".repeat(64)] {
            assert!(check_host(&text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_names_are_lower_case_letters_digits_and_hyphens() {
        for good in ["a", "s-01", "-"] {
            assert_eq!(check_plain(&text(good)), Ok(()), "{good}");
        }
        for bad in ["", "A", "a b", "a/b", "a_b", "..", "é"] {
            assert!(check_plain(&text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_come_once_whatever_their_case() {
        let texts = [text("pub"), text("sub"), text("PUB")];
        assert_eq!(check_unique("node", &texts[..2]), Ok(()));
        assert_eq!(check_unique("node", &texts).unwrap_err().what, "node `PUB` comes twice");
    }

    #[test]
    fn a_closed_set_suggests_the_nearest_of_its_names() {
        let name = |value: u8| if value == 0 { "lazy" } else { "prewarm" };
        assert_eq!(one_of(&text("prewarm"), "cache mode", &[0, 1], name), Ok(1));
        let problem = one_of(&text("lasy"), "cache mode", &[0, 1], name).unwrap_err();
        assert_eq!(problem.what, "unknown cache mode `lasy`");
        assert_eq!(problem.help.unwrap(), "did you mean `lazy`? cache modes: lazy, prewarm");
        let problem = one_of(&text("sometimes"), "cache mode", &[0, 1], name).unwrap_err();
        assert_eq!(problem.help.unwrap(), "cache modes: lazy, prewarm");
    }

    fn text(value: &str) -> Text {
        Spanned::new(0..value.len(), value.to_owned())
    }
}
