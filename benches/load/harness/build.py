"""Where things are, and building what is missing."""

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
# Rendered configurations, logs, results, and the tools' own build.
SCRATCH = Path(os.environ.get("BENCH_TMP", TARGET / "load")).absolute()
TOOLS = SCRATCH / "tools"

LOADGEN = TOOLS / "release" / "loadgen"
BACKEND = TOOLS / "release" / "backend"
SWAPLOAD = TOOLS / "release" / "swapload"


def tools(*features):
    """Brings the load generator and the backend up to date, and what these features add."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--features", ",".join(features)]
    environment = dict(os.environ, CARGO_TARGET_DIR=str(TOOLS))
    subprocess.run(command, check=True, cwd=HERE, env=environment)


def outrigger():
    """The release binary, or the one that BENCH_OUTRIGGER names; built if it is missing."""
    named = os.environ.get("BENCH_OUTRIGGER")
    if named:
        return Path(named).absolute()
    binary = TARGET / "release" / "outrigger"
    if not binary.exists():
        print("building the release binary: this takes some minutes", flush=True)
        command = ["cargo", "build", "--release", "--locked"]
        subprocess.run(command, check=True, cwd=ROOT)
    return binary
