"""Memory that is there before something is measured."""

import mmap
import pathlib
import re


def find_memory(size):
    """Touches as many bytes and gives them back; at most half of what is available.

    A virtual machine's memory comes from its host at the first touch: a command that touches it first can take twice as
    long as the same one after it."""
    available = re.search(r"MemAvailable: *(\d+) kB", pathlib.Path("/proc/meminfo").read_text())
    size = min(size, int(available[1]) * 1024 // 2)
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()
