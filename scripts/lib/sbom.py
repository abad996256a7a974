#!/usr/bin/env python3
"""What bootdisk is made of, as CycloneDX: each crate that is linked or compiles it, with version, licence and checksum.

    sbom.py CARGO_TOML [PID1_FOLDER]

PID1_FOLDER has the ready-made PID 1 of each architecture, which is listed too. The time is SOURCE_DATE_EPOCH, and
nothing else depends on when or where this runs.
"""

import datetime
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tomllib
import uuid

TARGETS = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")


def metadata(manifest):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", str(manifest)]
    for target in TARGETS:
        command += ["--filter-platform", target]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def linked(data):
    """Identifiers of the packages below the root, without those that only tests need, and who needs whom."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    arrows, open_ends = {}, [data["resolve"]["root"]]
    while open_ends:
        package = open_ends.pop()
        if package in arrows:
            continue
        needed = [dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
        arrows[package] = sorted(set(needed))
        open_ends += needed
    return arrows


def checksums(lock):
    packages = tomllib.loads(lock.read_text())["package"]
    return {(package["name"], package["version"]): package.get("checksum") for package in packages}


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksum):
    entry = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
        "licenses": [{"expression": (package["license"] or "NOASSERTION").replace("/", " OR ")}],
    }
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def ready_made(folder):
    for path in sorted(pathlib.Path(folder).iterdir()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield {
            "type": "file",
            "bom-ref": f"pid1/{path.name}",
            "name": f"pid1/{path.name}",
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }


def main():
    manifest = pathlib.Path(sys.argv[1])
    data = metadata(manifest)
    arrows = linked(data)
    packages = {package["id"]: package for package in data["packages"]}
    known = checksums(manifest.with_name("Cargo.lock"))
    root = packages[data["resolve"]["root"]]
    names = sorted((packages[key] for key in arrows if packages[key] is not root), key=reference)
    components = [component(package, known.get((package["name"], package["version"]))) for package in names]
    if len(sys.argv) > 2:
        components += ready_made(sys.argv[2])
    subject = component(root, None) | {"type": "application"}
    dependencies = [
        {"ref": reference(packages[key]), "dependsOn": sorted(reference(packages[other]) for other in needed)}
        for key, needed in arrows.items()
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": subject},
        "components": components,
        "dependencies": sorted(dependencies, key=lambda entry: entry["ref"]),
    }
    if "SOURCE_DATE_EPOCH" in os.environ:
        moment = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
        document["metadata"]["timestamp"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    content = json.dumps(document, sort_keys=True).encode()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(content).hexdigest())}"
    json.dump(document, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
