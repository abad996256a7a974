#!/usr/bin/env python3
"""Runs commands in turns and prints a table of medians.

    scripts/lib/measure.py ROUNDS NAME COMMAND [NAME COMMAND]...

Each COMMAND is run by sh. Memory is the peak of the largest process of a command, not their sum, as GNU time has it (a
child of this script itself would be charged with Python's memory, which execve(2) does not forget). The first command is the one the ratios are against. One more round, before the
first, fills the page cache and is not counted.
"""

import statistics
import subprocess
import sys
import tempfile
import time


def run(command):
    """Wall time in seconds and peak memory in MiB."""
    with tempfile.NamedTemporaryFile("r") as report:
        timed = ["/usr/bin/time", "--quiet", "--format", "%M", "--output", report.name, "sh", "-c", command]
        started = time.perf_counter()
        status = subprocess.run(timed, check=False).returncode
        wall = time.perf_counter() - started
        if status != 0:
            sys.exit(f"error: exit status {status} of: {command}")
        return wall, int(report.read()) / 1024


def main():
    rounds, rest = int(sys.argv[1]), sys.argv[2:]
    commands = list(zip(rest[::2], rest[1::2]))
    walls = {name: [] for name, _ in commands}
    peaks = {name: 0.0 for name, _ in commands}
    for turn in range(rounds + 1):
        for name, command in commands:
            wall, peak = run(command)
            if turn > 0:
                walls[name].append(wall)
                peaks[name] = max(peaks[name], peak)
    floor = statistics.median(walls[commands[0][0]])
    print("| command | wall s (median) | fastest to slowest | ratio | peak MiB |")
    print("|---|---:|---:|---:|---:|")
    for name, _ in commands:
        median = statistics.median(walls[name])
        spread = f"{min(walls[name]):.3f} to {max(walls[name]):.3f}"
        print(f"| {name} | {median:.3f} | {spread} | {median / floor:.2f} | {peaks[name]:.0f} |")


main()
