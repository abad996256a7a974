# What `docker save` makes, with nothing but tar. Sourced, never run.

# An archive of files of folder $1 that says nothing about when and by whom it was made.
pack() {
    local folder="$1" archive="$2"
    shift 2
    tar --create --file "$archive" --directory "$folder" --format ustar \
        --mtime @0 --owner 0 --group 0 --numeric-owner --mode 'u=rwX,go=rX' "$@"
}

# docker_archive ARCHIVE NAME CMD FOLDER: the image of one layer that has the contents of FOLDER. CMD is JSON.
docker_archive() {
    local archive="$1" name="$2" command="$3" folder="$4" parts layer_digest
    parts="$(mktemp -d)"
    pack "$folder" "$parts/layer.tar" .
    layer_digest="$(sha256sum "$parts/layer.tar" | cut -d ' ' -f 1)"
    cat >"$parts/config.json" <<JSON
{"architecture": "amd64", "os": "linux", "config": {"Cmd": $command},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer_digest"]}}
JSON
    cat >"$parts/manifest.json" <<JSON
[{"Config": "config.json", "RepoTags": ["$name"], "Layers": ["layer.tar"]}]
JSON
    pack "$parts" "$archive" manifest.json config.json layer.tar
    rm -r "$parts"
}

# The smallest image there is, FROM scratch with one static executable, as archive $1.
hello_archive() {
    local root
    root="$(mktemp -d)"
    gcc -O2 -static -s -o "$root/hello" "$checkout/scripts/images/hello.c"
    docker_archive "$1" hello:latest '["/hello"]' "$root"
    rm -r "$root"
}

# BusyBox alone, with its names in /bin, as archive $1.
busybox_archive() {
    local root name
    root="$(mktemp -d)"
    mkdir -p "$root/bin" "$root/etc"
    cp /bin/busybox "$root/bin/busybox"
    for name in $(busybox --list); do
        [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"
    done
    docker_archive "$1" busybox:latest '["/bin/sh"]' "$root"
    rm -r "$root"
}
