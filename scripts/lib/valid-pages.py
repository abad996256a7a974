#!/usr/bin/env python3
"""Makes mdBook's pages valid HTML: what its button for the sidebar says of itself belongs to the checkbox behind it, and the
table of contents for browsers without JavaScript lacks a title.

    valid-pages.py FOLDER

A label that belongs to a checkbox may have neither aria-label nor aria-controls (HTML-ARIA, "Document conformance requirements").
"""

import pathlib
import re
import sys

LABEL = re.compile(r'(<label id="mdbook-sidebar-toggle"[^>]*?)( aria-label="[^"]*")( aria-controls="[^"]*")')
CHECKBOX = '<input type="checkbox" id="mdbook-sidebar-toggle-anchor"'


def main():
    changed = 0
    for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.html")):
        text = path.read_text()
        found = LABEL.search(text)
        if "<title>" not in text:
            path.write_text(text.replace("<head>", "<head>\n<title>Table of contents</title>", 1))
        if found:
            text = LABEL.sub(r"\1", text).replace(CHECKBOX, CHECKBOX + found[2] + found[3])
            path.write_text(text)
            changed += 1
    if not changed:
        sys.exit("no page has mdBook's button for the sidebar: has its template changed?")


main()
