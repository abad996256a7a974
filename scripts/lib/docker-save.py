#!/usr/bin/env python3
"""Writes an image of an OCI layout as a `docker save` archive.

    scripts/lib/docker-save.py legacy|v25 LAYOUT TAG NAME OUTPUT

legacy: the form up to Docker 24. Layers uncompressed at ID/layer.tar; a layer that occurs again is a symbolic link to
        the first one's layer.tar, as the engine writes it.
v25:    the form since Docker 25: an OCI layout and manifest.json in one archive.

NAME is the repository and tag written into the archive. Times are 0, so the same layout gives the same archive.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile


def blob_path(digest):
    return "blobs/" + digest.replace(":", "/")


def read_blob(layout, digest):
    with open(os.path.join(layout, blob_path(digest)), "rb") as blob:
        return blob.read()


def find_manifest(layout, tag):
    with open(os.path.join(layout, "index.json"), encoding="utf-8") as index:
        for descriptor in json.load(index)["manifests"]:
            if descriptor.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag:
                return descriptor
    sys.exit(f"error: no such tag in {layout}: {tag}")


def add_file(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    archive.addfile(member, io.BytesIO(content))


def add_directory(archive, name):
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    member.mode = 0o755
    archive.addfile(member)


def add_symlink(archive, name, target):
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    member.linkname = target
    archive.addfile(member)


def as_json(value):
    return json.dumps(value).encode()


def write_legacy(archive, layout, manifest, name):
    config = read_blob(layout, manifest["config"]["digest"])
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    layers, first_at, parent = [], {}, ""
    for descriptor in manifest["layers"]:
        content = read_blob(layout, descriptor["digest"])
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        digest = hashlib.sha256(content).hexdigest()
        # An identifier of its own for each place in the chain, as the engine derives it from the parent.
        identity = hashlib.sha256((parent + digest).encode()).hexdigest()
        add_directory(archive, identity)
        add_file(archive, f"{identity}/VERSION", b"1.0")
        add_file(archive, f"{identity}/json", as_json({"id": identity, **({"parent": parent} if parent else {})}))
        if digest in first_at:
            add_symlink(archive, f"{identity}/layer.tar", f"../{first_at[digest]}/layer.tar")
        else:
            add_file(archive, f"{identity}/layer.tar", content)
            first_at[digest] = identity
        layers.append(f"{identity}/layer.tar")
        parent = identity
    add_file(archive, config_name, config)
    add_file(archive, "manifest.json", as_json([{"Config": config_name, "RepoTags": [name], "Layers": layers}]))
    repository, _, tag = name.rpartition(":")
    add_file(archive, "repositories", as_json({repository: {tag: parent}}))


def write_v25(archive, layout, descriptor, manifest, name):
    add_directory(archive, "blobs")
    add_directory(archive, "blobs/sha256")
    digests = [descriptor["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    for digest in sorted(set(digests)):
        add_file(archive, blob_path(digest), read_blob(layout, digest))
    annotations = {"io.containerd.image.name": f"docker.io/library/{name}", "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    add_file(archive, "index.json", as_json({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**descriptor, "annotations": annotations}],
    }))
    add_file(archive, "manifest.json", as_json([{
        "Config": blob_path(manifest["config"]["digest"]),
        "RepoTags": [name],
        "Layers": [blob_path(layer["digest"]) for layer in manifest["layers"]],
    }]))
    add_file(archive, "oci-layout", as_json({"imageLayoutVersion": "1.0.0"}))


def main():
    if len(sys.argv) != 6 or sys.argv[1] not in ("legacy", "v25"):
        sys.exit(__doc__)
    form, layout, tag, name, output = sys.argv[1:]
    descriptor = find_manifest(layout, tag)
    manifest = json.loads(read_blob(layout, descriptor["digest"]))
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as archive:
        if form == "legacy":
            write_legacy(archive, layout, manifest, name)
        else:
            write_v25(archive, layout, descriptor, manifest, name)


main()
