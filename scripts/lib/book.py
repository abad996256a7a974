#!/usr/bin/env python3
"""Puts the documents into a folder as mdBook wants them.

    book.py CHECKOUT MAN_PAGES FOLDER

FOLDER gets book.toml, site.css and src: README.md and all that its table "Documents" names, in that order; what these link to in
the checkout, such as schemas and examples; a page for each manual page; and SUMMARY.md. A document of docs/ that the table
does not name is an error: nobody would find it.
"""

import pathlib
import re
import shutil
import subprocess
import sys

LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


def local_links(text):
    return [link for link in LINK.findall(text) if "://" not in link and not link.startswith("mailto:")]


def chapters(readme):
    """Titles and paths of the table's links, and of what follows it."""
    table = readme[readme.index("\n## Documents\n") :]
    found = re.findall(r"\[([^\]]+)\]\(([^)#\s]+\.md)\)", table)
    return [(title.lower().capitalize(), path) for title, path in found]


def in_book(path):
    """mdBook makes index.html of a README.md, and links to what it is called here."""
    return path.replace("README.md", "index.md")


def copy(checkout, source, path):
    """A file and what it links to, once."""
    to = source / in_book(str(path))
    if to.exists():
        return
    origin = checkout / path
    to.parent.mkdir(parents=True, exist_ok=True)
    if origin.suffix != ".md":
        shutil.copyfile(origin, to)
        return
    text = origin.read_text()
    to.write_text(LINK.sub(lambda link: in_book(link.group(0)), text))
    for link in local_links(text):
        target = (origin.parent / link).resolve()
        if target.is_file():
            copy(checkout, source, target.relative_to(checkout))


def write_manual(pages, folder):
    """Each page as the text that man(1) shows. Yields names."""
    folder.mkdir(parents=True)
    for page in sorted(pages.glob("*.1"), key=lambda page: page.stem):
        # Lines of one length would be filled with spaces, which a window of another width shows as holes.
        text = re.sub(r"^(\.TH .*)$", r"\1\n.ad l", page.read_text(), count=1, flags=re.MULTILINE)
        command = ["groff", "-man", "-Tutf8", "-Kutf8", "-P-cbou", "-rLL=78n", "-rHY=0"]
        shown = subprocess.run(command, input=text, check=True, stdout=subprocess.PIPE, text=True).stdout
        title = page.stem.replace("-", " ")
        (folder / f"{page.stem}.md").write_text(f"# {title}\n\n```text\n{shown.strip()}\n```\n")
        yield page.stem


def main():
    checkout, pages, folder = (pathlib.Path(word).resolve() for word in sys.argv[1:])
    source = folder / "src"
    shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    for name in ("book.toml", "site.css"):
        shutil.copyfile(checkout / "docs" / name, folder / name)
    copy(checkout, source, pathlib.Path("README.md"))
    listed = chapters((checkout / "README.md").read_text())
    missing = {f"docs/{path.name}" for path in checkout.glob("docs/*.md")} - {path for _, path in listed}
    if missing:
        sys.exit(f"error: the table of documents in README.md does not name: {', '.join(sorted(missing))}")
    lines = ["# Summary", "", "[bootdisk](index.md)", ""]
    lines += [f"- [{title}]({in_book(path)})" for title, path in listed]
    lines += ["- [Commands](man/bootdisk.md)"]
    lines += [f"  - [{name.replace('-', ' ')}](man/{name}.md)" for name in write_manual(pages, source / "man") if name != "bootdisk"]
    # Documents that only others link to.
    known = {in_book(path) for _, path in listed} | {"index.md"}
    rest = sorted(str(path.relative_to(source)) for path in source.rglob("*.md") if "man" not in path.parts)
    lines += [f"- [{pathlib.Path(path).stem.capitalize()}]({path})" for path in rest if path not in known and path != "SUMMARY.md"]
    (source / "SUMMARY.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
