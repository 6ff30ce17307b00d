"""What the programs in Python share: the plan that they are given, and how they tell of checks.

A program is called with a file of JSON, and prints a line of JSON for each check:
`{"target": .., "check": .., "result": "passed" | "failed" | "skipped", "detail": ..}`.
"""

import contextlib
import json
import os
import sys
import time
import traceback
import urllib.request
import uuid
from hashlib import sha256

MIB = 1 << 20

# How long anything may take that should happen at once; never what is judged.
PATIENCE = 10.0

with open(sys.argv[1], encoding="utf-8") as _file:
    plan = json.load(_file)
targets = plan["targets"]
mode = plan["mode"]

BODY = os.urandom(MIB)
BODY_HASH = sha256(BODY).hexdigest()


class Skip(Exception):
    """The check cannot be done here, and why."""


@contextlib.contextmanager
def check(target, name):
    """Runs a check and tells what came of it; it fails by raising."""
    result, detail = "passed", ""
    try:
        yield
    except Skip as reason:
        result, detail = "skipped", str(reason)
    except Exception as problem:  # whatever a client library raises
        place = traceback.extract_tb(problem.__traceback__)
        own = [each for each in place if each.filename == sys.argv[0]] or place
        result = "failed"
        words = " ".join(str(problem).split())[:300]
        detail = f"{type(problem).__name__}: {words} (line {own[-1].lineno}: {own[-1].line})"
    told = {"target": target["label"], "check": name, "result": result, "detail": detail}
    print(json.dumps(told), flush=True)


def need(target, feature):
    """Skips the check where the upstream lacks this feature."""
    if feature not in target["features"]:
        raise Skip(f"{target['label']} lacks `{feature}`")


def equal(left, right):
    """Fails unless both are the same."""
    if left != right:
        raise AssertionError(f"{str(left)[:200]!r} is not {str(right)[:200]!r}")


def fresh():
    """A name that no other call has."""
    return uuid.uuid4().hex


def control(target, path):
    """Asks the upstream itself, past the proxy."""
    with urllib.request.urlopen(target["control"] + path, timeout=PATIENCE) as response:
        return json.load(response)


def state(target, id):
    """What the upstream says became of a call."""
    return control(target, f"/seen?id={id}")["state"]


def await_state(target, id, wanted):
    """Waits until the upstream says this of a call; returns after how many seconds."""
    began = time.monotonic()
    while not (now := state(target, id)).startswith(wanted):
        if time.monotonic() - began > PATIENCE:
            raise AssertionError(f"the upstream says `{now}` of the call, and never `{wanted}`")
        time.sleep(0.01)
    return time.monotonic() - began
