//! What the host allows a load generator, as `doctor` tells it.

use std::fs;
use std::path::{Path, PathBuf};

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
            available_bytes().map(|bytes| bytes / 1_024 / 1_024),
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

/// Bytes of memory that programs can have without swapping.
pub fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

/// CPU times since their starts, in seconds: of the CPUs that this process may use, and of this
/// process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostTimes {
    /// Everything, idle or not, over all of them.
    total: f64,
    /// Nothing to do.
    idle: f64,
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
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    of_stat(&fs::read_to_string("/proc/stat").ok()?, &allowed_cpus(&status), own)
}

/// Ranges of the CPUs that this process may use (`taskset`, cpusets); none if that is not told.
fn allowed_cpus(status: &str) -> Vec<(u64, u64)> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let range = |text: &str| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        Some((from.parse().ok()?, to.parse().ok()?))
    };
    list.unwrap_or_default().trim().split(',').filter_map(range).collect()
}

/// Lines `cpu0`, `cpu1` ... of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal,
/// in hundredths of a second. Without a known CPU among them, the first line, which is the sum.
fn of_stat(text: &str, allowed: &[(u64, u64)], own: f64) -> Option<HostTimes> {
    let is_allowed = |line: &&str| {
        let number = line.strip_prefix("cpu").and_then(|rest| rest.split(' ').next()?.parse().ok());
        number.is_some_and(|cpu: u64| allowed.iter().any(|&(a, b)| (a..=b).contains(&cpu)))
    };
    let mut lines: Vec<&str> = text.lines().filter(is_allowed).collect();
    if lines.is_empty() {
        lines.extend(text.lines().next().filter(|line| line.starts_with("cpu ")));
    }
    let mut sum = None::<HostTimes>;
    for line in lines {
        let times: Vec<f64> =
            line.split_whitespace().skip(1).take(8).map_while(|time| time.parse().ok()).collect();
        let [user, nice, system, idle, wait, .., stolen] = times[..] else { return None };
        let seconds = |ticks: f64| ticks / limits::TICKS_PER_SECOND;
        let so_far = sum.unwrap_or(HostTimes { own, ..HostTimes::default() });
        sum = Some(HostTimes {
            total: so_far.total + seconds(times.iter().sum()),
            idle: so_far.idle + seconds(idle + wait),
            programs: so_far.programs + seconds(user + nice + system),
            stolen: so_far.stolen + seconds(stolen),
            own,
        });
    }
    sum
}

impl HostTimes {
    /// Share of the CPU time since `before`, from 0 to 1, that went to other programs and to other
    /// guests of the hardware.
    pub fn others_since(&self, before: &HostTimes) -> f64 {
        let others = (self.programs - before.programs) - (self.own - before.own);
        self.share(before, others.max(0.0) + self.stolen - before.stolen)
    }

    /// Share of the CPU time since `before` in which nothing was to be done.
    pub fn idle_since(&self, before: &HostTimes) -> f64 {
        self.share(before, self.idle - before.idle)
    }

    /// Share of the CPU time since `before` that this process used.
    pub fn own_since(&self, before: &HostTimes) -> f64 {
        self.share(before, self.own - before.own)
    }

    fn share(&self, before: &HostTimes, part: f64) -> f64 {
        let total = self.total - before.total;
        if total > 0.0 { (part / total).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// The files in which the kernel counts how often a quota of CPU time was used up: of the control
/// group of this process and of those around it, in both versions of control groups.
pub fn quota_files() -> Vec<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = groups.lines().flat_map(quota_paths);
    files.filter(|path| path.is_file()).collect()
}

/// Where the counts of one line of `/proc/self/cgroup` may be, from the inside out.
fn quota_paths(line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let root = match controllers {
        "" => PathBuf::from("/sys/fs/cgroup"),
        _ if controllers.split(',').any(|name| name == "cpu") => {
            PathBuf::from("/sys/fs/cgroup").join(controllers)
        }
        _ => return Vec::new(),
    };
    let groups = Path::new(group).ancestors().map(|at| at.strip_prefix("/").unwrap_or(at));
    groups.map(|at| root.join(at).join("cpu.stat")).collect()
}

/// Periods of a quota, and those of them in which it was used up, since the group was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    periods: u64,
    used_up: u64,
}

/// The counts of one of the [`quota_files`].
pub fn quota(file: &Path) -> Quota {
    quota_of(&fs::read_to_string(file).unwrap_or_default())
}

fn quota_of(text: &str) -> Quota {
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    Quota { periods: number("nr_periods"), used_up: number("nr_throttled") }
}

impl Quota {
    /// Share of the periods since `before` in which the quota was used up; 0 without a quota.
    pub fn used_up_since(&self, before: &Quota) -> f64 {
        let periods = self.periods.saturating_sub(before.periods);
        self.used_up.saturating_sub(before.used_up) as f64 / periods.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_took_is_what_this_process_did_not_use() {
        let times = |text, own| of_stat(text, &[], own).unwrap();
        let before = times("cpu  1000 0 500 8000 0 0 500 0 0 0\ncpu0 1", 3.0);
        let after = times("cpu  1600 100 700 8900 0 0 600 100 0 0\n", 8.0);
        // 9 s of programs, 5 of them ours; 1 s stolen; 9 s idle; 20 s in all.
        assert!((after.others_since(&before) - 0.25).abs() < 1e-9);
        assert!((after.idle_since(&before) - 0.45).abs() < 1e-9);
        assert!((after.own_since(&before) - 0.25).abs() < 1e-9);
        assert!(before.others_since(&before).abs() < 1e-9);
        assert_eq!(of_stat("cpu  1 2 3", &[], 0.0), None);
    }

    #[test]
    fn a_process_on_one_busy_cpu_is_not_told_of_the_idle_ones() {
        let stat = |busy: u64, idle: u64| {
            format!(
                "cpu  0 0 0 {idle} 0 0 0 0\ncpu0 0 0 0 {idle} 0 0 0 0\ncpu1 {busy} 0 0 0 0 0 0 0\n"
            )
        };
        let allowed = allowed_cpus("Name:\tx\nCpus_allowed_list:\t1,3-5\n");
        assert_eq!(allowed, [(1, 1), (3, 5)]);
        let before = of_stat(&stat(0, 0), &allowed, 0.0).unwrap();
        let after = of_stat(&stat(100, 100), &allowed, 0.5).unwrap();
        assert!((after.others_since(&before) - 0.5).abs() < 1e-9);
        assert!(after.idle_since(&before).abs() < 1e-9);
        assert_eq!(allowed_cpus("Name:\tx\n"), []);
    }

    #[test]
    fn quotas_are_found_in_both_versions_of_control_groups_and_around_them() {
        let paths = |line| {
            let paths = quota_paths(line);
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let root = "/sys/fs/cgroup";
        let inner = format!("{root}/a.slice/b.service/cpu.stat");
        assert_eq!(
            paths("0::/a.slice/b.service"),
            [inner, format!("{root}/a.slice/cpu.stat"), format!("{root}/cpu.stat")]
        );
        assert_eq!(paths("4:cpu,cpuacct:/"), [format!("{root}/cpu,cpuacct/cpu.stat")]);
        assert_eq!(paths("9:memory:/x").len() + paths("nonsense").len(), 0);
    }

    #[test]
    fn a_quota_that_is_used_up_is_told_as_a_share_of_its_periods() {
        let before = quota_of("nr_periods 100\nnr_throttled 10\nthrottled_usec 5\n");
        let after = quota_of("usage_usec 1\nnr_periods 150\nnr_throttled 30\n");
        assert!((after.used_up_since(&before) - 0.4).abs() < 1e-9);
        assert!(quota_of("usage_usec 1\n").used_up_since(&Quota::default()).abs() < 1e-9);
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
