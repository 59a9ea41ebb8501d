//! What the host allows a load generator, as `doctor` tells it.

use std::fs;

use super::limits;

/// One limit of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its name, as the host calls it.
    pub name: &'static str,
    /// Its value, `None` if the host does not tell.
    pub value: Option<u64>,
    /// The value below which it may be the limit of a measurement.
    pub wanted: u64,
    /// Whether it is below.
    pub is_low: bool,
    /// What it limits.
    pub why: &'static str,
    /// How to raise it.
    pub raise: &'static str,
}

/// The limits that matter to a generator with 20,000 starts in flight, measured on this host.
pub fn findings() -> Vec<Finding> {
    let cores = std::thread::available_parallelism().ok().map(|cores| cores.get() as u64);
    vec![
        finding(
            "descriptors (ulimit -n)",
            limits::raise_descriptor_limit().ok(),
            20_000,
            "HTTP and TVS starts in flight, one each",
            "raise `nofile` in /etc/security/limits.conf, or LimitNOFILE= of the service",
        ),
        finding(
            "net.core.rmem_max",
            number("/proc/sys/net/core/rmem_max", 0),
            4 * 1_024 * 1_024,
            "answers that wait in the sockets of the generator",
            "sysctl -w net.core.rmem_max=4194304",
        ),
        finding(
            "net.core.somaxconn",
            number("/proc/sys/net/core/somaxconn", 0),
            4_096,
            "connections that wait for a server on this host",
            "sysctl -w net.core.somaxconn=4096",
        ),
        finding(
            "ports of one source address",
            ports(),
            28_000,
            "connections a minute to one server from one shared address",
            "sysctl -w net.ipv4.ip_local_port_range='1024 65535'",
        ),
        finding(
            "cores",
            cores,
            2,
            "the generator has a core of its own if there are two; more: --workers",
            "use a larger host, or leave the server another one",
        ),
        finding(
            "memory free (MB)",
            available_megabytes(),
            500,
            "starts in flight",
            "close other programs",
        ),
    ]
}

fn finding(
    name: &'static str,
    value: Option<u64>,
    wanted: u64,
    why: &'static str,
    raise: &'static str,
) -> Finding {
    let is_low = value.is_some_and(|value| value < wanted);
    Finding { name, value, wanted, is_low, why, raise }
}

/// The number at place `at` of a file of numbers.
fn number(path: &str, at: usize) -> Option<u64> {
    fs::read_to_string(path).ok()?.split_whitespace().nth(at)?.parse().ok()
}

fn ports() -> Option<u64> {
    const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
    Some((number(RANGE, 1)? + 1).saturating_sub(number(RANGE, 0)?))
}

fn available_megabytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_low_ones_are_marked() {
        let all = findings();
        let known = all.iter().filter(|finding| finding.value.is_some()).count();
        assert!(known >= 4, "{all:?}");
        for finding in all {
            let below = finding.value.is_some_and(|value| value < finding.wanted);
            assert_eq!(finding.is_low, below, "{finding:?}");
        }
        assert!(finding("x", Some(1), 2, "", "").is_low);
        assert!(!finding("x", None, 2, "", "").is_low, "what is unknown is not blamed");
    }
}
