"""Printing what was measured, and whether it is what is promised."""

from .daemon import quantile


def title(text):
    """Begins a scenario."""
    print(f"\n## {text}")


def line(name, text):
    """A figure."""
    print(f"{name:28} {text}", flush=True)


def claim(text, holds):
    """Says whether a promise holds; returns that."""
    line("holds" if holds else "DOES NOT HOLD", text)
    return holds


def latencies(figures):
    """p50 and p99 of what the load generator returned."""
    return f"p50 {figures['p50_us'] / 1e3:.2f} ms, p99 {figures['p99_us'] / 1e3:.2f} ms"


def bad(figures):
    """Calls of the load generator that failed, were not answered with 2xx, or stuck."""
    return figures["errors"] + figures["non2xx"] + figures["stuck"]


def median_ms(seconds):
    """The median of these, in milliseconds."""
    return 1e3 * quantile(seconds, 0.5)


def others(so_far):
    """What others took of the machine meanwhile."""
    foreign, stolen = so_far["foreign_pct"], so_far["stolen_pct"]
    line("machine", f"{foreign:.0f} % of a core used by others, {stolen:.0f} % taken by the host")
