#!/usr/bin/env python3
"""Runs commands in turns and prints a table of medians.

    scripts/lib/measure.py ROUNDS NAME BEFORE COMMAND [NAME BEFORE COMMAND]...

BEFORE and COMMAND are run by sh; only COMMAND is measured. The first command is the one the ratios are against: a
ratio is the median over the rounds of one round's ratio, so that what slows a whole round down does not count. CPU is
user and system time of all threads, which another program on the machine changes least. Memory is the peak of the
largest process of a command, not their sum, as GNU time has it (a child of this script itself would be charged with
Python's memory, which execve(2) does not forget). One more round, before the first, fills the page cache and is not
counted.
"""

import statistics
import subprocess
import sys
import tempfile
import time


def run(before, command):
    """Wall time and CPU time in seconds, and peak memory in MiB."""
    if before:
        subprocess.run(["sh", "-c", before], check=True)
    with tempfile.NamedTemporaryFile("r") as report:
        timed = ["/usr/bin/time", "--quiet", "--format", "%M %U %S", "--output", report.name, "sh", "-c", command]
        started = time.perf_counter()
        status = subprocess.run(timed, check=False).returncode
        wall = time.perf_counter() - started
        if status != 0:
            sys.exit(f"error: exit status {status} of: {command}")
        peak, user, system = report.read().split()
        return wall, float(user) + float(system), int(peak) / 1024


def print_table(rounds):
    """`rounds` is by command: a list of (wall, CPU, peak)."""
    floor = [wall for wall, _, _ in next(iter(rounds.values()))]
    print("| command | wall s | fastest to slowest | ratio | CPU s | peak MiB |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, runs in rounds.items():
        walls, times, peaks = zip(*runs)
        ratio = statistics.median(wall / least for wall, least in zip(walls, floor))
        spread = f"{min(walls):.3f} to {max(walls):.3f}"
        print(
            f"| {name} | {statistics.median(walls):.3f} | {spread} | {ratio:.2f} "
            f"| {statistics.median(times):.2f} | {max(peaks):.0f} |"
        )


def main():
    count, rest = int(sys.argv[1]), sys.argv[2:]
    commands = list(zip(rest[::3], rest[1::3], rest[2::3]))
    rounds = {name: [] for name, _, _ in commands}
    for turn in range(count + 1):
        for name, before, command in commands:
            measured = run(before, command)
            if turn > 0:
                rounds[name].append(measured)
    print_table(rounds)


main()
