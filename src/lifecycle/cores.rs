//! How many workers suit this process.

use std::num::NonZeroUsize;
use std::path::Path;

/// The cgroup's CPU quota rounded up, at most the cores that the process may run on.
///
/// `std::thread::available_parallelism` rounds the quota down, which idles half a core of 1.5.
pub fn workers() -> usize {
    let cores = rustix::thread::sched_getaffinity(None)
        .ok()
        .map(|set| set.count() as usize);
    let cores = cores
        .filter(|cores| *cores > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get));
    let quota = quota(Path::new("/sys/fs/cgroup"), &cgroup());
    quota.map_or(cores, |quota| quota.clamp(1, cores))
}

/// The path of the process in the version 2 hierarchy.
fn cgroup() -> String {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("0::"));
    line.unwrap_or("/").trim_matches('/').to_owned()
}

/// The quota of the cgroup in cores, rounded up: `cpu.max` of version 2 (its own or of an
/// ancestor, the least counts), else the two files of version 1.
fn quota(root: &Path, cgroup: &str) -> Option<usize> {
    let own = root.join(cgroup);
    let chain = own
        .ancestors()
        .take_while(|folder| folder.starts_with(root));
    let version_2 = chain
        .filter_map(|folder| std::fs::read_to_string(folder.join("cpu.max")).ok())
        .filter_map(|text| {
            let (quota, period) = text.trim().split_once(' ')?;
            rounded_up(quota, period)
        })
        .min();
    version_2.or_else(|| {
        let read = |name: &str| std::fs::read_to_string(root.join("cpu").join(name)).ok();
        rounded_up(
            read("cpu.cfs_quota_us")?.trim(),
            read("cpu.cfs_period_us")?.trim(),
        )
    })
}

/// `None` for `max`, `-1` and whatever else is no number.
fn rounded_up(quota: &str, period: &str) -> Option<usize> {
    let (quota, period) = (quota.parse::<usize>().ok()?, period.parse::<usize>().ok()?);
    (period > 0).then(|| quota.div_ceil(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_rounded_up() {
        assert_eq!(rounded_up("150000", "100000"), Some(2));
        assert_eq!(rounded_up("100000", "100000"), Some(1));
        assert_eq!(rounded_up("max", "100000"), None);
        assert_eq!(rounded_up("-1", "100000"), None);
    }

    #[test]
    fn the_least_quota_of_the_ancestors_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        assert_eq!(quota(root.path(), "a/b"), None);
        std::fs::write(root.path().join("a/cpu.max"), "250000 100000\n").unwrap();
        assert_eq!(quota(root.path(), "a/b"), Some(3));
        std::fs::write(inner.join("cpu.max"), "max 100000\n").unwrap();
        assert_eq!(quota(root.path(), "a/b"), Some(3));
        std::fs::write(inner.join("cpu.max"), "50000 100000\n").unwrap();
        assert_eq!(quota(root.path(), "a/b"), Some(1));
    }
}
