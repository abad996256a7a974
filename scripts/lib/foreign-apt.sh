# apt for the packages of another architecture, beside the system's own: lists of its own in the checkout's target
# folder, nothing installed, no architecture added to dpkg, no root.
# Sourced after common.sh; what it defines are functions.

# This machine's Debian sources for apt, and no others; the release's usual ones when its lists are empty.
debian_sources() {
    local found
    found="$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Identifier: Packages' 'Origin: Debian' 'Architecture: amd64' | grep -E ' bookworm(-[a-z]+)? ' | sort -u || true)"
    if [ -z "$found" ]; then
        found='deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main'
    fi
    printf '%s\n' "$found"
}

# Makes apt-get and apt-cache of this shell know the packages of architecture $1, as dpkg names it, and of this
# machine's. Lists are a day old at most, and of one moment: packages that must agree in their version do.
use_foreign_apt() {
    local arch="$1" native state
    native="$(dpkg --print-architecture)"
    state="$checkout/target/apt-$arch"
    mkdir -p "$state/lists/partial" "$state/archives/partial"
    debian_sources >"$state/sources.list"
    cat >"$state/apt.conf" <<CONF
APT::Architecture "$native";
APT::Architectures { "$native"; "$arch"; };
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Dir::Etc::sourcelist "$state/sources.list";
Dir::Etc::sourceparts "-";
Dir::State "$state";
Dir::State::status "/dev/null";
Dir::Cache "$state";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
CONF
    export APT_CONFIG="$state/apt.conf"
    (
        # Two scripts may want it at once.
        flock 8
        if [ -z "$(find "$state/updated" -mtime -1 2>/dev/null)" ]; then
            apt-get -qq update >&2
            touch "$state/updated"
        fi
    ) 8>"$state/lock" || die "the package lists of $arch could not be had"
}
