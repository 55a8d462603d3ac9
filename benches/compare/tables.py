# From single results to Markdown: medians, spreads, ratios to the peers. Pure but for `machine`.

import datetime
import os
import pathlib
import platform
import statistics
import subprocess


def report(machine, command, chosen, compared, results, given):
    """The whole document."""
    lines = ["# Leveret compared", "", *machine, f"Command: `{command}`.", ""]
    lines += [f"Medians of {given.runs} {'run' if given.runs == 1 else 'runs'} (lowest to highest), the brokers in turn, all on this machine together "
              "with the load generator. 1 KB bodies that do not compress, persistent messages, durable classic "
              "queues, publisher confirms with a window of 1,000 per producer, manual acknowledgements (100 at once; "
              "single ones where latency is measured), prefetch 500. Each pair has its own queue.", ""]
    makers = {"rate": _rate_table, "latency": _latency_table, "backlog": _backlog_table}
    for kind, make in makers.items():
        rows = [scenario for scenario in chosen if scenario.table == kind]
        if rows:
            lines += make(rows, compared, results) + [""]
    failed = [result for result in results if not result["ok"]]
    if failed:
        lines += ["## Runs that failed", ""]
        lines += [f"- {result['scenario']}, {result['peer']}: {result.get('error') or brief(result)}"
                  for result in failed]
    return "\n".join(lines)


def commit(repo):
    """What was built."""
    return "commit " + (_output(["git", "-C", str(repo), "describe", "--always", "--dirty"]) or "unknown")


def machine(build, data):
    """What the numbers depend on."""
    cpu = next((line.split(":")[1].strip() for line in _read("/proc/cpuinfo").splitlines()
                if line.startswith("model name")), platform.processor())
    memory = int(_read("/proc/meminfo").split()[1]) / 1024 / 1024
    mount = _output(["findmnt", "-no", "FSTYPE,SOURCE", "-T", str(data.parent)]) or "?"
    release = next((line.split("=")[1].strip('"') for line in _read("/etc/os-release").splitlines()
                    if line.startswith("PRETTY_NAME")), platform.system())
    return [f"{datetime.date.today()}; {cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; {release}, "
            f"Linux {platform.release()}; {' on '.join(mount.split())}; load before the runs "
            f"{os.getloadavg()[0]:.1f}; {build}.", ""]


def brief(summary):
    """A run in a few words."""
    if "error" in summary:
        return f"FAILED: {summary['error']}"
    parts = []
    for load in summary["loads"]:
        cpu = f", {load['broker']['cpu_seconds_per_million']:.2f} s/M" if load["broker"] else ""
        parts.append(f"{load['name']} {load['rate']:,.0f}/s{cpu}")
    return "; ".join(parts) + ("" if summary["ok"] else " NOT OK")


class _Cell:
    """What the runs of one scenario with one broker have shown."""

    def __init__(self, results, scenario, broker, load=-1):
        self.loads = [result["loads"][load] for result in results
                      if (result["scenario"], result["peer"]) == (scenario.name, broker.name)
                      and result.get("loads")]

    def values(self, *path):
        """One number of every run; runs that do not have it are left out."""
        found = []
        for load in self.loads:
            value = load
            for key in path:
                value = value.get(key) if value else None
            if value is not None:
                found.append(value)
        return found

    def median(self, *path):
        values = self.values(*path)
        return statistics.median(values) if values else None

    def show(self, *path, digits=0):
        value = self.median(*path)
        return "-" if value is None else f"{value:,.{digits}f}"

    def spread(self, *path):
        values = self.values(*path)
        return f"{min(values):,.0f} to {max(values):,.0f}" if values else "-"

    def limits(self):
        return ", ".join(sorted({load["limit"] for load in self.loads})) or "-"


def _ratio(cells, number, *path):
    """How many times the first broker's figure is that of the nth."""
    if number == 0:
        return ""
    first, other = cells[0].median(*path), cells[number].median(*path)
    return f"leveret {first / other:.2f} x" if first and other else "-"


def _rate_table(rows, compared, results):
    lines = ["## Throughput", "",
             "| scenario | broker | messages/s | spread | ratio | broker CPU s per million | client CPU s per million "
             "| CPU % of a core: broker / client / others | confirm p50 / p99 ms | peak RSS MB | limit |",
             "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|"]
    for scenario in rows:
        cells = [_Cell(results, scenario, broker) for broker in compared]
        for number, (broker, cell) in enumerate(zip(compared, cells)):
            shares = " / ".join([cell.show("broker", "cpu_percent"), cell.show("client", "cpu_percent"),
                                 cell.show("others_cpu_percent")])
            confirm = f"{cell.show('confirm_ms', 'p50', digits=1)} / {cell.show('confirm_ms', 'p99', digits=1)}"
            lines.append(f"| {scenario.title} | {broker.name} | {cell.show('rate')} | {cell.spread('rate')} "
                         f"| {_ratio(cells, number, 'rate')} "
                         f"| {cell.show('broker', 'cpu_seconds_per_million', digits=2)} "
                         f"| {cell.show('client', 'cpu_seconds_per_million', digits=2)} | {shares} "
                         f"| {confirm} | {cell.show('broker', 'rss_peak_mb')} | {cell.limits()} |")
    return lines


def _latency_table(rows, compared, results):
    lines = ["## End-to-end latency at a fixed rate, from when a message was due, in ms", "",
             "| rate | broker | p50 | p95 | p99 | p99.9 | max | confirm p50 | confirm p99 | broker CPU % | got/s |",
             "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for scenario in rows:
        for broker in compared:
            cell = _Cell(results, scenario, broker)
            latency = " | ".join(cell.show("latency_ms", key, digits=2) for key in ("p50", "p95", "p99", "p999", "max"))
            confirm = " | ".join(cell.show("confirm_ms", key, digits=2) for key in ("p50", "p99"))
            lines.append(f"| {scenario.title} | {broker.name} | {latency} | {confirm} "
                         f"| {cell.show('broker', 'cpu_percent')} | {cell.show('rate')} |")
    return lines


def _backlog_table(rows, compared, results):
    lines = ["## Backlog", "",
             "| scenario | broker | fill/s | last tenth of the fill | drain/s | ratio of the drain | last tenth of the "
             "drain | RSS MB, filling | RSS MB, draining | CPU s per million, fill / drain |",
             "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for scenario in rows:
        fills = [_Cell(results, scenario, broker, 0) for broker in compared]
        drains = [_Cell(results, scenario, broker, 1) for broker in compared]
        for number, broker in enumerate(compared):
            fill, drain = fills[number], drains[number]
            cpu = " / ".join(cell.show("broker", "cpu_seconds_per_million", digits=2) for cell in (fill, drain))
            lines.append(f"| {scenario.title} | {broker.name} | {fill.show('rate')} | {fill.show('last_tenth_rate')} "
                         f"| {drain.show('rate')} | {_ratio(drains, number, 'rate')} "
                         f"| {drain.show('last_tenth_rate')} | {fill.show('broker', 'rss_peak_mb')} "
                         f"| {drain.show('broker', 'rss_peak_mb')} | {cpu} |")
    return lines


def _read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def _output(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
