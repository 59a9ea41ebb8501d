//! What the host allows a load generator, as `doctor` tells it.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

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

/// CPU times of the whole host and of this process since their starts, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostTimes {
    /// Everything, idle or not, over all cores.
    total: f64,
    /// Programs and the kernel on their behalf.
    programs: f64,
    /// What other guests of the same hardware took.
    stolen: f64,
    /// This process and all its threads.
    own: f64,
}

/// The CPU times of the host, or `None` if it does not tell.
pub fn host_times() -> Option<HostTimes> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let own = seconds(usage.user_time()) + seconds(usage.system_time());
    of_stat(&fs::read_to_string("/proc/stat").ok()?, own)
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, in
/// hundredths of a second.
fn of_stat(text: &str, own: f64) -> Option<HostTimes> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<f64> =
        line.split_whitespace().take(8).map_while(|time| time.parse().ok()).collect();
    let [user, nice, system, .., stolen] = times[..] else { return None };
    let seconds = |ticks: f64| ticks / limits::TICKS_PER_SECOND;
    Some(HostTimes {
        total: seconds(times.iter().sum()),
        programs: seconds(user + nice + system),
        stolen: seconds(stolen),
        own,
    })
}

impl HostTimes {
    /// Share of the host's CPU time since `before`, from 0 to 1, that went to other programs and
    /// to other guests of the hardware.
    pub fn others_since(&self, before: &HostTimes) -> f64 {
        let others = (self.programs - before.programs) - (self.own - before.own);
        let taken = others.max(0.0) + self.stolen - before.stolen;
        let total = self.total - before.total;
        if total > 0.0 { (taken / total).clamp(0.0, 1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_took_is_what_this_process_did_not_use() {
        let times = |text, own| of_stat(text, own).unwrap();
        let before = times("cpu  1000 0 500 8000 0 0 500 0 0 0\ncpu0 1", 3.0);
        let after = times("cpu  1600 100 700 8900 0 0 600 100 0 0\n", 8.0);
        // 9 s of programs, 5 of them ours; 1 s stolen; 20 s in all.
        assert!((after.others_since(&before) - 0.25).abs() < 1e-9);
        assert!(before.others_since(&before).abs() < 1e-9);
        assert_eq!(of_stat("cpu  1 2 3", 0.0), None);
    }

    #[test]
    fn this_host_tells() {
        let before = host_times().unwrap();
        let share = host_times().unwrap().others_since(&before);
        assert!((0.0..=1.0).contains(&share));
    }

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
