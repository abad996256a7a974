#!/usr/bin/env python3
"""Runs the commands of Markdown documents and compares what they print with what the documents say.

    play.py [--show] [--replace OLD=NEW]... DOCUMENT...

A block marked `console` is played in one bash for all documents, in the current directory: lines that begin with `$ `
are commands (a line that ends in a backslash goes on in the next), and what follows is their output, standard error
with it. A line of `…` stands for any lines, and `…` within a line for any text. Versions, sizes, times, identifiers
and digests are masked on both sides, and runs of spaces are one. A block marked `sh` is a script: it is run, and each
command must succeed. A block that is not run has its reason above it: <!-- not run: REASON -->.

--show prints headings, commands and outputs as they come; --replace is for words that differ here, such as a port.
"""

import re
import subprocess
import sys
import threading

MARK = "=== the command has ended:"
# No command of a document takes so long: only one that hangs.
DEADLINE = 300

# What changes from machine to machine, or from one version of a kernel or package to the next.
MASKS = [
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"sha256:[0-9a-f]{6,}…?", "DIGEST"),
    (r"\b[0-9a-f]{12,64}\b", "DIGEST"),
    (r"\b\d+\.\d+\.\d+-\d+(-cloud)?-(amd64|arm64)\b", r"RELEASE\1"),
    (r"\b\d+\.\d+\.\d+[-+~.\w]*", "VERSION"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?Z?", "TIME"),
    (r"\b\d+(\.\d+)?( |-)(B|KiB|MiB|GiB|bytes|s|ms|seconds?|minutes?)\b", "AMOUNT"),
    (r"\b\d+(\.\d+)?s\b", "AMOUNT"),
    (r"\b\d+(\.\d+)? (files|names|directories|modules|symbolic links)\b", r"COUNT \2"),
    # On a busy host the kernel's clock is sometimes wrong, and its begin not known.
    (r"\bloader and kernel \d+\.\d+", "loader AMOUNT, kernel AMOUNT"),
    (r"\b(firmware|loader|kernel|start|ready) \d+\.\d+", r"\1 AMOUNT"),
    (r"[ \t]+", " "),
]


def masked(line):
    for pattern, word in MASKS:
        line = re.sub(pattern, word, line)
    return line.rstrip()


class Block:
    def __init__(self, place, kind, reason):
        self.place, self.kind, self.reason, self.lines = place, kind, reason, []


def blocks_and_headings(path):
    """The parts of a document that matter here: headings as text, fenced blocks as Block."""
    parts, block, reason = [], None, None
    with open(path, encoding="utf-8") as document:
        for number, line in enumerate(document, 1):
            line = line.rstrip("\n")
            if block is not None:
                if line.strip() == "```":
                    parts.append(block)
                    block = None
                else:
                    block.lines.append(line)
                continue
            comment = re.fullmatch(r"<!-- not run: (.+) -->", line.strip())
            fence = re.fullmatch(r"\s*```(\S*)", line)
            if comment:
                reason = comment[1]
            elif fence:
                block, reason = Block(f"{path}:{number}", fence[1], reason), None
            elif line.strip():
                reason = None
                if line.startswith("#"):
                    parts.append(line.lstrip("# "))
    return parts


def steps(block):
    """Commands of a console block, each with the output that is expected."""
    found, goes_on = [], False
    for line in block.lines:
        if goes_on:
            found[-1][0] += "\n" + line
        elif line.startswith("$ "):
            found.append([line[2:], []])
        elif not found:
            raise SystemExit(f"{block.place}: output before the first command")
        else:
            found[-1][1].append(line)
            continue
        goes_on = line.endswith("\\")
    return found


def agree(expected, actual):
    """Whether lines match a pattern of lines, in which `…` alone stands for any number of them."""
    if not expected:
        return not actual
    if expected[0].strip() == "…":
        return any(agree(expected[1:], actual[at:]) for at in range(len(actual) + 1))
    pattern = ".*".join(re.escape(part) for part in expected[0].split("…"))
    return bool(actual) and re.fullmatch(pattern, actual[0]) is not None and agree(expected[1:], actual[1:])


class Shell:
    """One bash for all commands. Standard input of each is empty."""

    def __init__(self):
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, encoding="utf-8", errors="replace", bufsize=1)

    def run(self, command):
        """Output and exit status. The status before is in $? for the command, as in a terminal."""
        quoted = "'" + command.replace("'", "'\\''") + "'"
        watch = threading.Timer(DEADLINE, self.bash.kill)
        watch.start()
        self.bash.stdin.write(
            f"(exit ${{status:-0}}); eval {quoted} </dev/null; status=$?; printf '\\n{MARK} %d\\n' $status\n")
        output = []
        for line in self.bash.stdout:
            line = line.rstrip("\n")
            if line.startswith(MARK):
                watch.cancel()
                # The line break that is printed before the mark, unless the output ended in none.
                if output and output[-1] == "":
                    output.pop()
                # A busy host is no part of any document.
                return [x for x in output if not x.startswith("still waiting for ")], int(line[len(MARK):])
            output.append(line)
        raise SystemExit(f"the shell ended in: {command}\n" + "\n".join(output))


class Player:
    def __init__(self, shown, replacements):
        self.shell, self.shown, self.replacements = Shell(), shown, replacements
        self.executed, self.compared, self.skipped, self.faults = 0, 0, 0, []

    def document(self, path):
        for part in blocks_and_headings(path):
            if isinstance(part, str):
                self.show(f"\n== {part}")
            elif part.kind == "":
                self.faults.append(f"{part.place}: a block says in its first line what it is: console, sh, text, …")
            elif part.kind in ("console", "sh"):
                self.block(part)

    def block(self, block):
        if block.reason:
            self.skipped += 1
        elif block.kind == "sh":
            self.step(block, "set -e\n" + "\n".join(block.lines), None)
        else:
            for command, expected in steps(block):
                self.step(block, command, expected)

    def step(self, block, command, expected):
        self.show(f"$ {command}")
        here = command
        for old, new in self.replacements:
            here = here.replace(old, new)
        if expected is None:
            here = f"( {here}\n)"
        lines, status = self.shell.run(here)
        for old, new in self.replacements:
            lines = [line.replace(new, old) for line in lines]
        self.show(*lines)
        self.executed += 1
        if expected is None:
            if status:
                self.faults.append(f"{block.place}: status {status}\n" + "\n".join(lines))
            return
        self.compared += 1
        if not agree([masked(line) for line in expected], [masked(line) for line in lines]):
            told = "\n".join(["  $ " + command, "  the document says:", *("    " + line for line in expected),
                              "  it printed:", *("    " + line for line in lines)])
            self.faults.append(f"{block.place}:\n{told}")

    def show(self, *lines):
        if self.shown:
            print(*lines, sep="\n", flush=True)


def main(arguments):
    shown, replacements, documents = False, [], []
    words = iter(arguments)
    for word in words:
        if word == "--show":
            shown = True
        elif word == "--replace":
            replacements.append(next(words).split("=", 1))
        else:
            documents.append(word)
    player = Player(shown, replacements)
    for path in documents:
        player.document(path)
    for fault in player.faults:
        print(fault, file=sys.stderr)
    print(f"{player.executed} commands executed, {player.compared} compared, "
          f"{player.skipped} blocks not run for a reason, {len(player.faults)} faults")
    return 1 if player.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
