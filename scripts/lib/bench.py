"""What the benchmarks in Python share: the built bootdisk, a kernel, commands that are timed, and ways in turns."""

import os
import pathlib
import subprocess
import sys
import time

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def bootdisk():
    for profile in ("release", "debug"):
        built = CHECKOUT / "target" / profile / "bootdisk"
        if built.exists():
            return str(built)
    sys.exit("error: bootdisk is not built yet: cargo build --release")


def kernel_package():
    folder = os.environ.get("BOOTDISK_TEST_KERNELS")
    if not folder:
        folder = CHECKOUT / "target/test-data/kernels"
        subprocess.run([CHECKOUT / "scripts/fetch-kernel", folder], check=True, stdout=subprocess.DEVNULL)
    kernel = next(pathlib.Path(folder).glob("linux-image-*-cloud-amd64_*.deb"), None)
    return str(kernel) if kernel else sys.exit(f"error: no kernel in {folder}: scripts/fetch-kernel {folder}")


class Bench:
    """bootdisk with a home of its own in a folder, and a kernel in its store."""

    def __init__(self, folder, program):
        self.folder, self.program = folder, program
        self.env = dict(os.environ, XDG_DATA_HOME=f"{folder}/data", XDG_CACHE_HOME=f"{folder}/cache", TMPDIR=str(folder))
        self.run(program, "kernel", "add", kernel_package())

    def run(self, *command):
        """Wall seconds, processor seconds and MiB of memory of a command."""
        report = self.folder / "time"
        timed = ["/usr/bin/time", "--format", "%U %S %M", "--output", report, *map(str, command)]
        begun = time.monotonic()
        ended = subprocess.run(timed, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wall = time.monotonic() - begun
        if ended.returncode:
            sys.exit(f"error: {command}: {ended.stderr.decode()}")
        user, system, peak = map(float, report.read_text().split())
        return wall, user + system, peak / 1024


def rounds_of(ways, count):
    """Each way in turn, `count` times after one that does not count."""
    measured = {name: [] for name in ways}
    for number in range(count + 1):
        for name, way in ways.items():
            result = way()
            if number:
                measured[name].append(result)
    return measured
