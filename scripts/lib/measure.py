#!/usr/bin/env python3
"""Runs commands in turns, prints a table of medians, and adds the numbers to a file.

    scripts/lib/measure.py ROUNDS RESULTS TITLE {NAME BEFORE COMMAND OUTPUT AIM}...

BEFORE and COMMAND are run by sh; only COMMAND is measured, with memory found before it. OUTPUT is the file it makes, as a word for sh, if its space is
of interest. The last command is ours: the ratio of another is how much of its time ours takes, the median over the
rounds of one round's ratio, so that what slows a whole round down does not count; AIM is the most it should be. CPU is
user and system time of all threads, which another program on the machine changes least. Memory is the peak of the
largest process of a command, not their sum, as GNU time has it (a child of this script itself would be charged with
Python's memory, which execve(2) does not forget). One more round, before the first, fills the page cache and is not
counted. RESULTS is a JSON file, a list with an object for each title.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from memory import find_memory

# Bytes: more than the largest disk of the workloads takes.
MEMORY = 3 << 30


def run(before, command):
    """Wall time and CPU time in seconds, and peak memory in MiB."""
    if before:
        subprocess.run(["sh", "-c", before], check=True)
    find_memory(MEMORY)
    with tempfile.NamedTemporaryFile("r") as report:
        timed = ["/usr/bin/time", "--quiet", "--format", "%M %U %S", "--output", report.name, "sh", "-c", command]
        started = time.perf_counter()
        status = subprocess.run(timed, check=False).returncode
        wall = time.perf_counter() - started
        if status != 0:
            sys.exit(f"error: exit status {status} of: {command}")
        peak, user, system = report.read().split()
        return wall, float(user) + float(system), int(peak) / 1024


def space(output):
    """MiB that a file takes, holes left out; `None` if there is no file."""
    if not output:
        return None
    path = subprocess.run(["sh", "-c", f"echo {output}"], check=True, capture_output=True, text=True).stdout.strip()
    return os.stat(path).st_blocks * 512 / 2**20


def summary(name, aim, runs, ours, output):
    walls, times, peaks = zip(*runs)
    ratios = [our[0] / wall for our, wall in zip(ours, walls)]
    cpu_ratios = [our[1] / max(cpu, 0.01) for our, cpu in zip(ours, times)]
    return {
        "name": name,
        "wall": statistics.median(walls),
        "fastest": min(walls),
        "slowest": max(walls),
        "cpu": statistics.median(times),
        "peak": max(peaks),
        "ratio": statistics.median(ratios),
        "ratios": [min(ratios), max(ratios)],
        "cpu_ratio": statistics.median(cpu_ratios),
        "cpu_ratios": [min(cpu_ratios), max(cpu_ratios)],
        "aim": float(aim) if aim else None,
        "output": output,
    }


def table(rows):
    """Markdown."""
    yield "| command | wall s | fastest to slowest | ours to it | aim | CPU s | ours to it, CPU | peak MiB | output MiB |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for row in rows:
        aim = "" if row["aim"] is None else f"{row['aim']:.2f}"
        output = "" if row["output"] is None else f"{row['output']:.0f}"
        yield (
            f"| {row['name']} | {row['wall']:.3f} | {row['fastest']:.3f} to {row['slowest']:.3f} | {row['ratio']:.2f} "
            f"| {aim} | {row['cpu']:.2f} | {row['cpu_ratio']:.2f} | {row['peak']:.0f} | {output} |"
        )


def spread(rows):
    """How far the ratios of single rounds are apart: what is nearer to 1 than that says nothing."""
    for row in rows[:-1]:
        (low, high), (cpu_low, cpu_high) = row["ratios"], row["cpu_ratios"]
        yield (
            f"ours to {row['name']}: wall {row['ratio']:.2f} ({low:.2f} to {high:.2f}), "
            f"CPU {row['cpu_ratio']:.2f} ({cpu_low:.2f} to {cpu_high:.2f})"
        )


def main():
    count, results, title, rest = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
    commands = list(zip(rest[::5], rest[1::5], rest[2::5], rest[3::5], rest[4::5]))
    rounds = {name: [] for name, *_ in commands}
    outputs = {}
    for turn in range(count + 1):
        for name, before, command, output, _ in commands:
            measured = run(before, command)
            outputs[name] = space(output)
            if turn > 0:
                rounds[name].append(measured)
    ours = rounds[commands[-1][0]]
    rows = [summary(name, aim, rounds[name], ours, outputs[name]) for name, _, _, _, aim in commands]
    print(f"\n{title}\n")
    print("\n".join(table(rows)))
    print("\n" + "\n".join(spread(rows)), flush=True)

    with open(results, encoding="utf-8") as file:
        all_results = json.load(file)
    all_results.append({"title": title, "rows": rows, "table": list(table(rows))})
    with open(results, "w", encoding="utf-8") as file:
        json.dump(all_results, file, indent=1)


main()
