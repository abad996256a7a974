#!/usr/bin/env python3
"""Writes an OCI layout of many small files in gzip layers, the same bytes every time.

    scripts/lib/many-files.py LAYOUT --layers COUNT --files COUNT

Files have 0 to 4095 bytes of text, 100 to a directory, and are shared out evenly. Each layer after the first also
replaces one in a hundred files of the one below and removes one in two hundred, so that blocks are given back. The one tag is `latest`, the platform linux/amd64.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import random
import tarfile

FILES = 100
MADE = 1_700_000_000


class Layout:
    """Blobs below a folder."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(os.path.join(folder, "blobs", "sha256"))

    def add(self, content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        with open(os.path.join(self.folder, "blobs", "sha256", digest), "wb") as blob:
            blob.write(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def write(self, name, value):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            json.dump(value, file)


def text(source, words):
    """Some text of a random length: words repeat, as they do in real files."""
    wanted = source.randrange(4096)
    line = " ".join(source.choices(words, k=wanted // 6 + 1))
    return line.encode()[:wanted]


def add_file(archive, name, content):
    member = tarfile.TarInfo(name)
    member.mode, member.mtime, member.size = 0o644, MADE, len(content)
    archive.addfile(member, io.BytesIO(content))


def path(layer, number):
    return f"srv/{layer:02}/{number // FILES:03}/file-{number % FILES:02}"


def whiteout(name):
    folder, _, last = name.rpartition("/")
    return f"{folder}/.wh.{last}"


def layer_tar(layer, files, words):
    source = random.Random(layer)
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(files):
            if number % FILES == 0:
                member = tarfile.TarInfo(os.path.dirname(path(layer, number)))
                member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, MADE
                archive.addfile(member)
            add_file(archive, path(layer, number), text(source, words))
        if layer > 0:
            for number in range(files // 100):
                add_file(archive, path(layer - 1, number), text(source, words))
            for number in range(files // 100, files // 100 + files // 200):
                add_file(archive, whiteout(path(layer - 1, number)), b"")
    return output.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout")
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--files", type=int, required=True)
    arguments = parser.parse_args()
    layout = Layout(arguments.layout)
    source = random.Random("words")
    words = ["".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=source.randrange(2, 10))) for _ in range(2000)]
    layers, diff_ids = [], []
    for layer in range(arguments.layers):
        tar = layer_tar(layer, arguments.files // arguments.layers, words)
        diff_ids.append("sha256:" + hashlib.sha256(tar).hexdigest())
        layers.append(layout.add(gzip.compress(tar, 6, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip"))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/srv/00/000/file-00"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layout.add(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": layers,
    }
    described = layout.add(json.dumps(manifest).encode(), manifest["mediaType"])
    described["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    layout.write("index.json", {"schemaVersion": 2, "manifests": [described]})
    layout.write("oci-layout", {"imageLayoutVersion": "1.0.0"})


main()
