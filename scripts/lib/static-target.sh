# What compiles a static program of x86_64 and of aarch64, with the names of hosts resolved in it: Rust's own musl, and the
# headers of Debian's for what is C. Nothing is installed.
# Sourced after common.sh and foreign-apt.sh; what it defines are functions.

# What Cargo calls the static programs of an architecture.
static_triple() {
    printf '%s-unknown-linux-musl\n' "$1"
}

# The headers of musl for architecture $1 in folder $2, unpacked once; two architectures share the lists.
unpack_musl() {
    local arch="$1" folder="$2" debian incoming
    case "$arch" in x86_64) debian=amd64 ;; aarch64) debian=arm64 ;; *) die "no musl for $arch" ;; esac
    [ ! -d "$folder/$arch" ] || return 0
    mkdir -p "$folder"
    incoming="$(mktemp -d "$folder/incoming.XXXXXX")"
    (use_foreign_apt arm64 && download_into "$incoming" "musl-dev:$debian")
    dpkg-deb --extract "$incoming"/musl-dev_*.deb "$incoming/root"
    mv "$incoming/root" "$folder/$arch"
    rm -r "$incoming"
}

# A C compiler for the musl headers in folder $2, beside them.
write_compiler() {
    local arch="$1" folder="$2" gcc="$1-linux-gnu-gcc"
    command -v "$gcc" >/dev/null || die "there is no $gcc
hint: scripts/install-packages aarch64"
    cat >"$folder/$arch/cc" <<COMPILER
#!/bin/sh
exec $gcc -nostdinc -isystem "$folder/$arch/usr/include/$arch-linux-musl" \\
    -isystem "\$($gcc -print-file-name=include)" -U_FORTIFY_SOURCE "\$@"
COMPILER
    chmod 755 "$folder/$arch/cc"
}

# Makes cargo of this shell compile for the static target of architecture $1, with what is unpacked in folder $2. Paths
# of this machine are named as in $3, a list of FROM=TO, one a line.
use_static_target() {
    local arch="$1" folder="$2" names="$3" triple variable pair flags=""
    triple="$(static_triple "$arch")"
    if [ -z "$(ls "$(rustc --print target-libdir --target "$triple")" 2>/dev/null)" ]; then
        rustup target add "$triple" >&2 || die "there is no Rust standard library for $triple"
    fi
    unpack_musl "$arch" "$folder"
    write_compiler "$arch" "$folder"
    variable="${triple//-/_}"
    export "CC_$variable=$folder/$arch/cc" "AR_$variable=$arch-linux-gnu-ar"
    export "CARGO_TARGET_${variable^^}_LINKER=$arch-linux-gnu-gcc"
    CARGO_ENCODED_RUSTFLAGS=""
    while IFS= read -r pair; do
        CARGO_ENCODED_RUSTFLAGS+="${CARGO_ENCODED_RUSTFLAGS:+$'\x1f'}--remap-path-prefix=$pair"
        flags+="${flags:+ }-ffile-prefix-map=$pair"
    done <<<"$names"
    export CARGO_ENCODED_RUSTFLAGS "CFLAGS_$variable=$flags"
}
