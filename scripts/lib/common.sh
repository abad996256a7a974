# What the scripts of this folder share: where the checkout is, messages, and root.
# Sourced, never run:  source "$(dirname "$0")/lib/common.sh"

# The checkout, whatever the current directory is.
checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

# A line about progress. Standard output stays free for what a script is asked for.
say() {
    printf '== %s\n' "$*" >&2
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Runs a command as root, through sudo when this user is not root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        die "root is needed and there is no sudo: $*"
    fi
}

# The comment block at the top of the calling script is its manual.
usage() {
    awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"
}

# The bootdisk that was built here, else the installed one; fails when there is neither.
find_bootdisk() {
    local candidate
    for candidate in "$checkout/target/release/bootdisk" "$checkout/target/debug/bootdisk" "$(command -v bootdisk || true)"; do
        if [ -x "$candidate" ]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# The same, for scripts that need one.
built_bootdisk() {
    find_bootdisk || die "bootdisk is not built yet: cargo build --release"
}

# The package file of $2 for architecture $3 in folder $1; nothing when there is none.
package_in() {
    find "$1" -maxdepth 1 -name "$2_*_$3.deb" -print -quit
}

# Downloads packages, named as apt names them, into folder $1, whole or not at all.
download_into() {
    local directory="$1" incoming
    shift
    incoming="$(mktemp -d "$directory/incoming.XXXXXX")"
    (cd "$incoming" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$@" >&2) || {
        rm -rf "$incoming"
        return 1
    }
    mv "$incoming"/*.deb "$directory/"
    rmdir "$incoming"
}
