"""Starting, pinning, watching and ending processes."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

# Keeps whatever else runs here from preempting the measurement; below 0 needs root.
NICE = int(os.environ.get("BENCH_NICE", "-10"))

PR_SET_PDEATHSIG = 1


def cores():
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def cpu_set(text):
    """Reads "0,2"; empty means no pinning."""
    wanted = {int(core) for core in text.split(",")} if text else set()
    return wanted & set(cores())


def spawn(command, log, cpus=frozenset(), **more):
    """Starts a process that dies with this one."""
    # Loaded here: little may be done between fork and exec.
    prctl = ctypes.CDLL(None).prctl

    def prepare():
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if cpus:
            os.sched_setaffinity(0, cpus)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, NICE)

    more = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | more
    return subprocess.Popen([str(word) for word in command], preexec_fn=prepare, **more)


def stop(process):
    """Asks a process and its children to end, then makes them."""
    if process.poll() is not None:
        return
    pids = tree(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2)
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def tree(pid):
    """A process and all its descendants."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                todo += map(int, children.read_text().split())
    return found


def cpu_seconds(pids):
    """User and system time of these processes, with all their threads."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)
    return total


def rss_kib(pids):
    """Resident memory of these processes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    total += int(line.split()[1])
    return total


def machine():
    """Seconds that all cores were busy and stolen since the boot, and the time of the reading."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = fields[:8]
    hertz = os.sysconf("SC_CLK_TCK")
    busy = user + nice + system + irq + softirq
    return {"busy": busy / hertz, "stolen": steal / hertz, "at": time.monotonic()}


class Others:
    """What others used of the machine since this was made; children of ours count once awaited."""

    def __init__(self, ours):
        self.ours = ours
        self.before, self.used = machine(), self._used()

    def so_far(self):
        """In per cent of a core: used by others, and taken by the host."""
        after = machine()
        seconds = after["at"] - self.before["at"]
        busy = after["busy"] - self.before["busy"] - (self._used() - self.used)
        stolen = after["stolen"] - self.before["stolen"]
        return {
            "foreign_pct": max(0.0, 100 * busy / seconds),
            "stolen_pct": 100 * stolen / seconds,
        }

    def _used(self):
        return cpu_seconds(self.ours) + sum(os.times()[:4])


def free_ports(count):
    """Ports on loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_port(port, process, seconds=15):
    """Waits until somebody listens on the port."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        time.sleep(0.02)
    raise RuntimeError(f"nobody listens on port {port} after {seconds} s")


def start_backend(binary, cpus=frozenset()):
    """Starts the backend; returns it and its port."""
    backend = spawn([binary, "0"], subprocess.DEVNULL, cpus, stdout=subprocess.PIPE, text=True)
    return backend, int(backend.stdout.readline())
