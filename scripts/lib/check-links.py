#!/usr/bin/env python3
"""Checks that every link of a folder of HTML leads somewhere: files by their path, anchors by their id. Asks no network.

    check-links.py FOLDER
"""

import html.parser
import pathlib
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src") and value and tag != "base":
                self.links.append(value)
            elif name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)


def broken(pages, path, link):
    parts = urllib.parse.urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = path
    if parts.path:
        target = (path.parent / urllib.parse.unquote(parts.path)).resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return True
    return target in pages and urllib.parse.unquote(parts.fragment) not in pages[target].anchors


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    pages = {path: Page(path.read_text()) for path in folder.rglob("*.html")}
    # What is shown for an address that nothing is at stands at any depth: its links are absolute.
    pages = {path: page for path, page in pages.items() if path.name != "404.html"}
    links = [(path, link) for path, page in pages.items() for link in page.links]
    wrong = sorted({(str(path.relative_to(folder)), link) for path, link in links if broken(pages, path, link)})
    for path, link in wrong:
        print(f"{path}: {link} leads nowhere", file=sys.stderr)
    if wrong or not links:
        sys.exit(f"error: {len(wrong)} of {len(links)} links lead nowhere")
    print(f"{len(links)} links of {len(pages)} pages lead somewhere", file=sys.stderr)


if __name__ == "__main__":
    main()
