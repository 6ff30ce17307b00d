"""Tables of medians, with ratios to a reference peer."""

import statistics

from .measure import IDLE_CONNECTIONS, SCENARIOS, is_clean

# What a peer must not do: anything but 0 voids its row.
BAD = ("errors", "non2xx", "stuck")


def summarise(options, scenario, data):
    """Prints the table of one scenario and returns its figures by peer."""
    about, load = SCENARIOS[scenario]
    print(f"\n## {scenario}: {about}")
    data = {name: rounds for name, rounds in data.items() if any(rounds)}
    if load is None:
        return _idle(options, data)
    summary = {name: _figures(options, name, data) for name in data}
    reference = summary.get(options.ref, {})
    rows = [
        [
            "peer", "CPU us/req", "min-max", f"x {options.ref}", "x best", "req/s", "x",
            "p50 us", "p99 us", "x", "RSS MiB rest", "load", "x", "util", "bad", "foreign%",
            "clean",
        ]
    ]  # fmt: skip
    for name, own in summary.items():
        spread = own["cpu_us"] and f"{own['cpu_min']:,.1f}-{own['cpu_max']:,.1f}"
        rows.append(
            [
                name,
                number(own["cpu_us"]),
                spread or "-",
                number(own["ratio"]),
                number(own["ratio_best"]),
                number(own["rps"], 0),
                _ratio(own, reference, "rps"),
                number(own["p50_us"], 0),
                number(own["p99_us"], 0),
                _ratio(own, reference, "p99_us"),
                number(own["rss_rest_mib"], 1),
                number(own["rss_load_mib"], 1),
                _ratio(own, reference, "rss_load_mib"),
                number(own["util"]),
                str(own["bad"]),
                number(own["foreign_pct"], 1),
                f"{own['clean']}/{own['rounds']}",
            ]
        )
    print_table(rows)
    return summary


def _figures(options, name, data):
    every = [result for result in data[name] if result]
    # Spoilt rounds count only where there is no other.
    clean = [result for result in every if is_clean(result, options.max_foreign)]
    chosen = clean or every
    cpu = [result["cpu_us"] for result in chosen if "cpu_us" in result]
    keys = (
        "cpu_us", "util", "rps", "p50_us", "p90_us", "p99_us", "p999_us", "rss_rest_mib",
        "rss_load_mib", "foreign_pct", "stolen_pct",
    )  # fmt: skip
    figures = {key: median(result.get(key) for result in chosen) for key in keys}
    ratio, best = _cpu_ratios(options, data[name], data.get(options.ref, []))
    return figures | {
        "cpu_min": min(cpu, default=None),
        "cpu_max": max(cpu, default=None),
        "ratio": ratio,
        "ratio_best": best,
        "bad": sum(result[key] for result in every for key in BAD),
        "rounds": len(every),
        "clean": len(clean),
    }


def _cpu_ratios(options, own, reference):
    """CPU per request against the reference: median of the rounds, and best against best."""
    both = [
        (mine, theirs)
        for mine, theirs in zip(own, reference)
        if mine and theirs and "cpu_us" in mine and "cpu_us" in theirs
    ]
    if not both:
        return None, None
    limit = options.max_foreign
    clean = [pair for pair in both if all(is_clean(result, limit) for result in pair)]
    ratio = median(mine["cpu_us"] / theirs["cpu_us"] for mine, theirs in clean or both)
    mine, theirs = zip(*((mine["cpu_us"], theirs["cpu_us"]) for mine, theirs in both))
    return ratio, min(mine) / min(theirs)


def _idle(options, data):
    keys = ["rss_rest_mib", *(f"rss_{count}_mib" for count in IDLE_CONNECTIONS)]
    most = IDLE_CONNECTIONS[-1]
    summary = {}
    for name, rounds in data.items():
        every = [result for result in rounds if result]
        own = {key: median(result[key] for result in every) for key in keys}
        own["open"] = min(result[f"open_{most}"] for result in every)
        grown = own[keys[-1]] - own["rss_rest_mib"]
        own["kib_connection"] = grown * 1024 / most
        summary[name] = own
    reference = summary.get(options.ref, {})
    head = ["peer", "RSS MiB rest", "x", *(f"{count:,} idle" for count in IDLE_CONNECTIONS)]
    rows = [[*head, "KiB/connection", "x", f"open of {most:,}"]]
    for name, own in summary.items():
        rows.append(
            [
                name,
                number(own["rss_rest_mib"], 1),
                _ratio(own, reference, "rss_rest_mib"),
                *(number(own[key], 1) for key in keys[1:]),
                number(own["kib_connection"]),
                _ratio(own, reference, "kib_connection"),
                number(own["open"], 0),
            ]
        )
    print_table(rows)
    return summary


def median(values):
    """The median of what is there."""
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def number(value, digits=2):
    """A figure for people; a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def _ratio(own, reference, key):
    if not own.get(key) or not reference.get(key):
        return "-"
    return number(own[key] / reference[key])


def print_table(rows):
    """Prints rows in columns, the first row as their heads."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for index, row in enumerate(rows):
        first, *others = zip(row, widths)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        print("  ".join(cells))
        if index == 0:
            print("  ".join("-" * width for width in widths))
