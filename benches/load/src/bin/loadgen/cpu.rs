//! What other processes have used so far.

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// CPU clocks and context switches of some processes, together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) nanos: i64,
    pub(crate) switches: u64,
}

/// Reads them; a process that has ended counts nothing.
pub(crate) fn used(pids: &[i32]) -> Used {
    let clock = |pid| {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).and_then(clock_gettime);
        clock.map_or(0, |time| time.num_nanoseconds())
    };
    Used {
        nanos: pids.iter().copied().map(clock).sum(),
        switches: pids.iter().copied().map(switches).sum(),
    }
}

fn switches(pid: i32) -> u64 {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    let status = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let count = |text: String| {
        let lines = text.lines().filter(|line| line.contains("ctxt_switches"));
        let counts = lines.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok());
        counts.sum::<u64>()
    };
    status.map(count).sum()
}
