# From the document of a run (its JSON) to Markdown. Pure but for `machine` and `commit`.

import datetime
import os
import pathlib
import platform
import subprocess

import scenarios
from cells import Cell, ratio, share

CPU = ("broker", "cpu_seconds_per_million")
# What the reader has to know about the numbers.
TERMS = ("The brokers in turn, all on this machine together with the load generator. 1 KB bodies that do not compress, "
         "persistent messages, durable classic queues, publisher confirms with a window of 1,000 per producer, manual "
         "acknowledgements (100 at once; single ones where latency is measured), prefetch 500. Bodies of 16 B and 64 KB: "
         "prefetch 100, acknowledgements 20 at once; of 64 KB: window 100. Each pair has its own queue.")
LIMIT = ("Part of the limit: the ideal log appends the same messages to one preallocated file and syncs once per "
         "confirm window, without a broker. First its rate: how much of it the broker reaches. Then CPU: how much of the "
         "broker's CPU seconds per million the ideal log needs.")


def report(document):
    """The whole Markdown."""
    lines = ["# Leveret compared", "", document["machine"], "", f"Command: `{document['command']}`.", "",
             medians(document) + " " + TERMS, "", LIMIT, "", *durability_table(document), ""]
    for kind, make in MAKERS.items():
        rows = [one for one in document["scenarios"] if one["table"] == kind]
        if rows:
            lines += make(rows, document) + [""]
    failed = [result for result in document["results"] if not result["ok"]]
    if failed:
        lines += ["## Runs that failed", ""]
        lines += [f"- {result['scenario']}, {result['peer']}: {result.get('error') or brief(result)}"
                  for result in failed] + [""]
    return "\n".join(lines)


def medians(document):
    """How many runs a number stands for."""
    runs = document["runs"]
    once = "; rows that take long once" if document["quick"] and runs > 1 else ""
    return f"Medians of {runs} {'run' if runs == 1 else 'runs'} (lowest to highest){once}."


def commit(repo, binary):
    """What was built, or which binary was given."""
    if binary:
        return f"binary {_output([str(binary), '--version']) or binary}"
    return "commit " + (_output(["git", "-C", str(repo), "describe", "--always", "--dirty"]) or "unknown")


def machine(build, data):
    """What the numbers depend on."""
    cpu = next((line.split(":")[1].strip() for line in _read("/proc/cpuinfo").splitlines()
                if line.startswith("model name")), platform.processor())
    memory = int(_read("/proc/meminfo").split()[1]) / 1024 / 1024
    mount = _output(["findmnt", "-no", "FSTYPE,SOURCE", "-T", str(data)]) or "?"
    release = next((line.split("=")[1].strip('"') for line in _read("/etc/os-release").splitlines()
                    if line.startswith("PRETTY_NAME")), platform.system())
    return (f"{datetime.date.today()}; {cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; {release}, "
            f"Linux {platform.release()}; {' on '.join(mount.split())}; load before the runs "
            f"{os.getloadavg()[0]:.1f}; {build}.")


def brief(summary):
    """A run in a few words."""
    if "error" in summary:
        return f"FAILED: {summary['error']}"
    parts = []
    for load in summary["loads"]:
        cpu = f", {load['broker']['cpu_seconds_per_million']:.2f} s/M" if load["broker"] else ""
        parts.append(f"{load['name']} {load['rate']:,.0f}/s{cpu}")
    if summary.get("queues"):
        parts.append(f"{summary['queues']['declared_per_second']:,.0f} declared/s")
    if summary.get("connections"):
        parts.append(f"{summary['connections']['opened_per_second']:,.0f} opened/s")
    if summary.get("restart_seconds"):
        parts.append(f"restart {summary['restart_seconds']:.2f} s")
    return "; ".join(parts) + ("" if summary["ok"] else " NOT OK")


def durability_table(document):
    lines = ["| broker | says it is | when a confirm leaves, the message is |", "|---|---|---|"]
    return lines + [f"| {one['name']} | {one['server']} | {one['durability']} |" for one in document["peers"]]


def _each(rows, document, load=-1):
    """Row, number of the broker, broker, and the cells of all brokers in that row."""
    for row in rows:
        cells = [Cell(document, row["name"], peer["name"], load) for peer in document["peers"]]
        for number, peer in enumerate(document["peers"]):
            if cells[number].runs:
                yield row, number, peer, cells


def _rate_table(heading):
    def make(rows, document):
        lines = [f"## {heading}", "",
                 "| scenario | broker | confirm means | messages/s | spread | ratio | MB/s | broker CPU s per million "
                 "| client CPU s per million | part of the limit: rate / CPU "
                 "| CPU % of a core: broker / client / others | confirm p50 / p99 ms | peak RSS MB | limit |",
                 "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|"]
        for row, number, peer, cells in _each(rows, document):
            cell = cells[number]
            shares = " / ".join([cell.show("broker", "cpu_percent"), cell.show("client", "cpu_percent"),
                                 cell.show("others_cpu_percent")])
            confirm = f"{cell.show('confirm_ms', 'p50', digits=1)} / {cell.show('confirm_ms', 'p99', digits=1)}"
            lines.append(f"| {row['title']} | {peer['name']} | {peer['durability']} | {cell.show('rate')} "
                         f"| {cell.spread('rate')} | {ratio(cells, number, 'rate')} "
                         f"| {cell.show('megabytes_per_second')} | {cell.show(*CPU, digits=2)} "
                         f"| {cell.show('client', 'cpu_seconds_per_million', digits=2)} "
                         f"| {_part_of_limit(row, document, cell)} | {shares} "
                         f"| {confirm} | {cell.show('broker', 'rss_peak_mb')} | {cell.limits()} |")
        return lines
    return make


def _part_of_limit(row, document, cell):
    if not row["ideal"]:
        return ""
    ideal = Cell(document, row["ideal"], scenarios.IDEAL)
    return f"{share(cell.median('rate'), ideal.median('rate'))} / {share(ideal.median(*CPU), cell.median(*CPU))}"


def _latency_table(rows, document):
    lines = ["## End-to-end latency at a fixed rate, from when a message was due, in ms", "",
             "| rate | broker | confirm means | p50 | p95 | p99 | p99.9 | max | confirm p50 | confirm p99 "
             "| broker CPU % | got/s |",
             "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row, number, peer, cells in _each(rows, document):
        cell = cells[number]
        latency = " | ".join(cell.show("latency_ms", key, digits=2) for key in ("p50", "p95", "p99", "p999", "max"))
        confirm = " | ".join(cell.show("confirm_ms", key, digits=2) for key in ("p50", "p99"))
        lines.append(f"| {row['title']} | {peer['name']} | {peer['durability']} | {latency} | {confirm} "
                     f"| {cell.show('broker', 'cpu_percent')} | {cell.show('rate')} |")
    return lines


def _lone_table(rows, document):
    lines = ["## A lone publisher that waits for each confirm, in ms", "",
             "The disk's own: one record written and synced with fdatasync, without a broker.", "",
             "| broker | confirm means | p50 | p99 | p50 less the disk's own | times the disk's own | messages/s |",
             "|---|---|--:|--:|--:|--:|--:|"]
    for row, number, peer, cells in _each(rows, document):
        ideal = Cell(document, row["ideal"], scenarios.IDEAL).median("confirm_ms", "p50")
        mine = cells[number].median("confirm_ms", "p50")
        more = f"{mine - ideal:.2f} | {mine / ideal:.2f}" if mine and ideal else "- | -"
        lines.append(f"| {peer['name']} | {peer['durability']} | {cells[number].show('confirm_ms', 'p50', digits=2)} "
                     f"| {cells[number].show('confirm_ms', 'p99', digits=2)} | {more} | {cells[number].show('rate')} |")
    return lines


def _backlog_table(rows, document):
    lines = ["## Backlog", "",
             "| scenario | broker | fill/s | fill, first / last tenth | restart s | drain/s | ratio of the drain "
             "| drain, last tenth | RSS MB, filling | RSS MB, draining | CPU s per million, fill / drain |",
             "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row, number, peer, drains in _each(rows, document):
        fill, drain = Cell(document, row["name"], peer["name"], 0), drains[number]
        cpu = " / ".join(cell.show(*CPU, digits=2) for cell in (fill, drain))
        tenths = f"{fill.show('first_tenth_rate')} / {fill.show('last_tenth_rate')}"
        lines.append(f"| {row['title']} | {peer['name']} | {fill.show('rate')} | {tenths} "
                     f"| {drain.show('/', 'restart_seconds', digits=2)} | {drain.show('rate')} "
                     f"| {ratio(drains, number, 'rate')} | {drain.show('last_tenth_rate')} "
                     f"| {fill.show('broker', 'rss_peak_mb')} | {drain.show('broker', 'rss_peak_mb')} | {cpu} |")
    return lines


def _queues_table(rows, document):
    lines = ["## Many queues", "",
             "| scenario | broker | declared/s | ratio | deleted/s | RSS MB before | RSS MB | idle CPU % of a core "
             "| restart s | RSS MB after it |", "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row, number, peer, cells in _each(rows, document):
        def shown(key, digits=0, cell=cells[number]):
            return cell.show("/", "queues", key, digits=digits)
        lines.append(f"| {row['title']} | {peer['name']} | {shown('declared_per_second')} "
                     f"| {ratio(cells, number, '/', 'queues', 'declared_per_second')} | {shown('deleted_per_second')} "
                     f"| {shown('rss_before_mb')} | {shown('rss_declared_mb')} | {shown('idle_cpu_percent', 1)} "
                     f"| {shown('restart_seconds', 2)} | {shown('rss_restarted_mb')} |")
    return lines


def _connections_table(rows, document):
    lines = ["## Connections, each with one channel", "",
             "| scenario | broker | opened/s | ratio | open p50 / p99 ms | RSS MB before / open / after | KB each "
             "| broker CPU % of a core |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    for row, number, peer, cells in _each(rows, document):
        def shown(*path, digits=0, cell=cells[number]):
            return cell.show("/", "connections", *path, digits=digits)
        opening = " / ".join(shown("open_ms", key, digits=2) for key in ("p50", "p99"))
        rss = " / ".join(shown(f"rss_{when}_mb") for when in ("before", "open", "after"))
        lines.append(f"| {row['title']} | {peer['name']} | {shown('opened_per_second')} "
                     f"| {ratio(cells, number, '/', 'connections', 'opened_per_second')} | {opening} | {rss} "
                     f"| {shown('kilobytes_each', digits=1)} | {shown('broker_cpu_percent', digits=1)} |")
    return lines


def _rewind_table(rows, document):
    lines = ["## Rewind of a queue that was drained", "",
             "The rewind is `leveret ctl rewind`, with the start of that program.", "",
             "| scenario | rewind ms | drain/s before | drain/s after | CPU s per million, before / after | RSS MB after |",
             "|---|--:|--:|--:|--:|--:|"]
    for row, number, peer, agains in _each(rows, document):
        before, again = Cell(document, row["name"], peer["name"], 1), agains[number]
        took = [value * 1000 for value in again.values("/", "rewind_seconds")]
        shown = f"{min(took):.0f} to {max(took):.0f}" if took else "-"
        cpu = " / ".join(cell.show(*CPU, digits=2) for cell in (before, again))
        lines.append(f"| {row['title']} | {shown} | {before.show('rate')} | {again.show('rate')} | {cpu} "
                     f"| {again.show('broker', 'rss_peak_mb')} |")
    return lines


def _stress_table(rows, document):
    lines = ["## Beside somebody who behaves badly", "",
             "A pair at 1,000/s, alone and then beside it. Memory before, at most, and after; settled: within a tenth of "
             "what it was.", "",
             "| beside | broker | its messages or connections/s | p99 ms alone / beside | ratio | p99.9 ms beside "
             "| RSS MB before / peak / after | settled after s |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    for row, number, peer, cells in _each(rows, document):
        alone, beside = Cell(document, row["name"], peer["name"], 0), cells[number]

        def shown(key, digits=0, cell=beside):
            return cell.show("/", "stress", key, digits=digits)
        p99 = " / ".join(cell.show("latency_ms", "p99", digits=2) for cell in (alone, beside))
        rss = " / ".join(shown(f"rss_{when}_mb") for when in ("before", "peak", "after"))
        lines.append(f"| {row['title']} | {peer['name']} | {shown('done_per_second')} | {p99} | {shown('p99_ratio', 1)} "
                     f"| {beside.show('latency_ms', 'p999', digits=2)} | {rss} | {shown('settled_seconds', 1)} |")
    return lines


def _ideal_table(rows, document):
    lines = ["## The ideal log", "",
             "| records | records/s | spread | MB/s | CPU s per million | write and sync of a window, p50 / p99 ms |",
             "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        cell = Cell(document, row["name"], scenarios.IDEAL)
        sync = " / ".join(cell.show("confirm_ms", key, digits=2) for key in ("p50", "p99"))
        lines.append(f"| {row['title']} | {cell.show('rate')} | {cell.spread('rate')} "
                     f"| {cell.show('megabytes_per_second')} | {cell.show(*CPU, digits=2)} | {sync} |")
    return lines


MAKERS = {"rate": _rate_table("Throughput"), "size": _rate_table("Sizes of bodies, one pair"),
          "routing": _rate_table("Routing and many queues"), "latency": _latency_table, "lone": _lone_table,
          "backlog": _backlog_table, "queues": _queues_table, "connections": _connections_table,
          "ours": _rate_table("What only leveret has"), "rewind": _rewind_table, "stress": _stress_table, "ideal": _ideal_table}


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
