#!/usr/bin/env python3
"""Links an OCI layout into a new folder in which index and manifests name their media types: umoci leaves them out, as
it may (OCI image-spec, image-index.md and manifest.md), and oci2rootfs does not read them then.

  name-media-type.py LAYOUT NEW
"""

import hashlib
import json
import os
import shutil
import sys

layout, new = (os.path.abspath(path) for path in sys.argv[1:])
blobs = f"{new}/blobs/sha256"
shutil.rmtree(new, ignore_errors=True)
os.makedirs(blobs)
for name in os.listdir(f"{layout}/blobs/sha256"):
    os.symlink(f"{layout}/blobs/sha256/{name}", f"{blobs}/{name}")
shutil.copy(f"{layout}/oci-layout", new)
with open(f"{layout}/index.json", encoding="utf-8") as file:
    index = json.load(file)
index["mediaType"] = "application/vnd.oci.image.index.v1+json"
for descriptor in index["manifests"]:
    with open(f"{blobs}/{descriptor['digest'].removeprefix('sha256:')}", encoding="utf-8") as file:
        manifest = json.load(file)
    manifest["mediaType"] = descriptor["mediaType"]
    content = json.dumps(manifest).encode()
    digest = hashlib.sha256(content).hexdigest()
    descriptor |= {"digest": f"sha256:{digest}", "size": len(content)}
    if not os.path.lexists(f"{blobs}/{digest}"):
        with open(f"{blobs}/{digest}", "wb") as file:
            file.write(content)
with open(f"{new}/index.json", "w", encoding="utf-8") as file:
    json.dump(index, file)
