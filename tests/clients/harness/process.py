"""Starting and ending processes; each dies with this one."""

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1

# How long a server may take until it listens, seconds.
PATIENCE = 30


def spawn(command, log, cwd=None, user=None, **more):
    """Starts a process in a group of its own; `log` takes what nothing else does."""
    # Loaded here: little may be done between fork and exec.
    prctl = ctypes.CDLL(None).prctl

    def prepare():
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    more = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | more
    identity = {"user": user, "group": user, "extra_groups": []} if user else {}
    return subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        preexec_fn=prepare,
        start_new_session=True,
        env=environment(),
        **identity,
        **more,
    )


def environment(**more):
    """Ours, without what would send clients elsewhere or configure the proxy."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("OUTRIGGER_", "PG", "RUST_LOG"))
    }
    return clean | {"PYTHONDONTWRITEBYTECODE": "1", "NODE_NO_WARNINGS": "1"} | more


def stop(process):
    """Asks a process to end, then makes it and its group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def announced(command, log, **more):
    """Starts a process that prints a line of JSON once it listens; returns both."""
    process = spawn(command, log, stdout=subprocess.PIPE, text=True, **more)
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
    line = process.stdout.readline() if ready else ""
    try:
        return process, json.loads(line)
    except ValueError:
        stop(process)
        raise RuntimeError(f"{command[1]} did not tell its ports, see {log.name}") from None


def until(done, process, what):
    """Waits until `done` no longer raises `OSError` or gives something false."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with {process.returncode}")
        with contextlib.suppress(OSError):
            if done():
                return
        time.sleep(0.05)
    raise RuntimeError(f"{what} is not there after {PATIENCE} s")
