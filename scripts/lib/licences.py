#!/usr/bin/env python3
"""Compares the licence of every crate in `cargo metadata` (standard input) with the list of a deny.toml.

    cargo metadata --format-version 1 | scripts/lib/licences.py deny.toml

A licence is an SPDX expression (SPDX specification, annex "SPDX license expressions"): names, `WITH` an exception,
`AND`, `OR`, parentheses; some crates still write `/` for `OR`. An expression is allowed when some choice of its
alternatives consists of allowed names only.
"""

import json
import re
import sys

TOKEN = re.compile(r"\(|\)|[^\s()]+")


class Expression:
    """One licence expression, evaluated as it is read: OR binds weaker than AND, AND weaker than WITH."""

    def __init__(self, text, allowed):
        self.tokens = TOKEN.findall(text.replace("/", " OR "))
        self.allowed = allowed

    def next_is(self, word):
        return bool(self.tokens) and self.tokens[0] == word

    def either(self):
        result = self.both()
        while self.next_is("OR"):
            self.tokens.pop(0)
            result = self.both() or result
        return result

    def both(self):
        result = self.single()
        while self.next_is("AND"):
            self.tokens.pop(0)
            result = self.single() and result
        return result

    def single(self):
        if not self.tokens:
            return False
        name = self.tokens.pop(0)
        if name == "(":
            result = self.either()
            if not self.next_is(")"):
                return False
            self.tokens.pop(0)
            return result
        if self.next_is("WITH"):
            self.tokens.pop(0)
            name += " WITH " + (self.tokens.pop(0) if self.tokens else "")
        return name in self.allowed

    def is_allowed(self):
        return self.either() and not self.tokens


def allowed_names(deny):
    """The strings of `allow = [...]` in section [licenses]; Debian 12's Python reads TOML in its standard library."""
    import tomllib

    with open(deny, "rb") as file:
        return set(tomllib.load(file)["licenses"]["allow"])


def main():
    allowed = allowed_names(sys.argv[1])
    packages = json.load(sys.stdin)["packages"]
    if not packages:
        sys.exit("error: cargo metadata lists no crates")
    refused = [
        f"{package['name']} {package['version']}: {package['license']}"
        for package in packages
        if not Expression(package["license"] or "", allowed).is_allowed()
    ]
    if refused:
        sys.exit("error: licences that deny.toml does not list:\n  " + "\n  ".join(refused))
    print(f"licences of {len(packages)} crates are all in deny.toml", file=sys.stderr)


main()
