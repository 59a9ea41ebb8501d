//! What the host allows this process, and what the process uses of it.
//!
//! Everything is read from `/proc/self`; where that is not there, the answer is `None`.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};

/// Clock ticks per second in `/proc/self/task/*/stat`: the same in every Linux ABI.
pub(super) const TICKS_PER_SECOND: f64 = 100.0;

/// Raises the number of descriptors that this process may open to what the host allows at most,
/// and returns it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    descriptor_limit()
}

/// The number of descriptors that this process may open.
pub fn descriptor_limit() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// The number of descriptors that are open.
pub fn open_descriptors() -> Option<u64> {
    // The listing itself holds one.
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

/// CPU seconds that the living threads whose name starts with `prefix` have used, or `None` if
/// there is no such thread; the kernel keeps the first 15 bytes of a name.
pub fn cpu_seconds_of(prefix: &str) -> Option<f64> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    threads
        .filter_map(|thread| thread_seconds(&thread.ok()?.path(), prefix))
        .reduce(|sum, seconds| sum + seconds)
}

/// CPU time of the calling thread since its start, or `None` if the host does not tell.
pub fn thread_cpu() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
}

/// Bytes of memory that are resident.
pub fn resident_bytes() -> Option<u64> {
    resident_of(&fs::read_to_string("/proc/self/status").ok()?)
}

fn thread_seconds(thread: &Path, prefix: &str) -> Option<f64> {
    let name = fs::read_to_string(thread.join("comm")).ok()?;
    if !name.starts_with(prefix) {
        return None;
    }
    let read = |file| fs::read_to_string(thread.join(file)).ok();
    read("schedstat")
        .and_then(|text| seconds_of_schedstat(&text))
        .or_else(|| seconds_of_stat(&read("stat")?))
}

/// The first number is the time on a CPU in nanoseconds.
fn seconds_of_schedstat(text: &str) -> Option<f64> {
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? as f64 / 1e9)
}

/// Fields 14 and 15 are user and system time in ticks; the name in field 2 may hold blanks.
fn seconds_of_stat(text: &str) -> Option<f64> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// `VmRSS` is in kilobytes, so that the size of a page need not be known as for `statm`.
fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let before = descriptor_limit().unwrap();
        let raised = raise_descriptor_limit().unwrap();
        assert!(raised >= before);
        assert_eq!(descriptor_limit().unwrap(), raised);
        assert_eq!(raise_descriptor_limit().unwrap(), raised);
    }

    #[test]
    fn descriptors_and_memory_of_this_process_are_seen() {
        assert!(open_descriptors().unwrap() >= 3);
        assert!(resident_bytes().unwrap() > 100_000);
    }

    #[test]
    fn a_busy_thread_is_found_by_its_name() {
        let busy = || {
            let mut sum = 0u64;
            while cpu_seconds_of("limits-busy").is_none_or(|seconds| seconds < 0.001) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            cpu_seconds_of("limits-busy").unwrap()
        };
        let thread = std::thread::Builder::new().name("limits-busy-1".into()).spawn(busy).unwrap();
        assert!(thread.join().unwrap() >= 0.001);
        assert_eq!(cpu_seconds_of("no-such-thread"), None);
    }

    #[test]
    fn texts_of_the_kernel_are_read() {
        assert_eq!(seconds_of_schedstat("1500000000 20 3\n"), Some(1.5));
        assert_eq!(seconds_of_schedstat(""), None);
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(seconds_of_stat(stat), Some(2.0));
        assert_eq!(seconds_of_stat("7"), None);
        assert_eq!(resident_of("Name:\tx\nVmRSS:\t     12 kB\n"), Some(12_288));
        assert_eq!(resident_of("Name:\tx\n"), None);
    }
}
