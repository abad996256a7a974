# The Debian package, made with dpkg-deb alone: the same program as it is handed out without a package, with its man
# pages, completions and documents. Sourced after common.sh; what it defines are functions.
# Takes version, maintainer and SOURCE_DATE_EPOCH from the script that sources it.

debian_architecture() {
    case "$1" in
        x86_64) echo amd64 ;;
        aarch64) echo arm64 ;;
    esac
}

# What starts the machines of this architecture.
debian_emulator() {
    case "$1" in
        x86_64) echo "qemu-system-x86, ovmf" ;;
        aarch64) echo "qemu-system-arm, qemu-efi-aarch64" ;;
    esac
}

write_control() {
    local arch="$1" root="$2"
    cat >"$root/DEBIAN/control" <<CONTROL
Package: bootdisk
Version: $version-1
Architecture: $(debian_architecture "$arch")
Maintainer: $maintainer
Installed-Size: $(du --summarize --apparent-size --block-size=1024 --exclude=DEBIAN "$root" | cut -f 1)
Recommends: $(debian_emulator "$arch"), systemd-boot-efi, gpgv, debian-archive-keyring, ca-certificates
Suggests: qemu-system-x86, ovmf, qemu-system-arm, qemu-efi-aarch64, qemu-utils, skopeo, virtiofsd | qemu-system-common
Section: utils
Priority: optional
Description: turns container images into bootable disks
 bootdisk flattens the layers of a container image into a root file system,
 puts a Linux kernel of your choice beside it, and writes a GPT disk that
 starts in QEMU and on hardware, under BIOS and UEFI. It runs such disks,
 tests that they behave as expected, and shows what is inside.
 .
 It needs no root, no Docker, no mounts and no loop devices, executes nothing
 from the image while it builds, and writes the same bytes for the same input.
CONTROL
}

write_copyright() {
    {
        cat <<'HEAD'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: bootdisk
Comment: The crates that the program is linked from, with their licences, are
 listed in bootdisk.cdx.json beside this file.

Files: *
HEAD
        sed -n 's/^Copyright (c) /Copyright: /p' LICENSE
        printf 'License: MIT\n'
        sed -n '/^Permission is hereby/,$p' LICENSE | sed 's/^$/./; s/^/ /'
    } >"$1"
}

write_changelog() {
    cat <<CHANGES | gzip -9n >"$1"
bootdisk ($version-1) unstable; urgency=medium

  * Release $version. NEWS.md.gz beside this file lists its changes.

 -- $maintainer  $(date --utc --rfc-email --date "@$SOURCE_DATE_EPOCH")
CHANGES
}

# Pages and completions come from the program itself, in an edition that this machine can run.
write_help() {
    local runs="$1" root="$2" share="$2/usr/share" page
    install -d "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
    "$runs" man "$share/man/man1"
    gzip -9n "$share"/man/man1/*
    "$runs" completions bash >"$share/bash-completion/completions/bootdisk"
    "$runs" completions fish >"$share/fish/vendor_completions.d/bootdisk.fish"
    # zsh reads this file at the first completion, which it is to answer as well.
    {
        "$runs" completions zsh
        printf '\n_clap_dynamic_completer_bootdisk "$@"\n'
    } >"$share/zsh/vendor-completions/_bootdisk"
}

write_documents() {
    local doc="$1/usr/share/doc/bootdisk"
    install -d "$doc/docs" "$doc/examples"
    install -m 644 README.md ARCHITECTURE.md SECURITY.md CONTRIBUTING.md "$doc/"
    install -m 644 docs/*.md docs/*.svg docs/*.json "$doc/docs/"
    install -m 644 examples/*.yml "$doc/examples/"
    gzip -9nc CHANGELOG.md >"$doc/NEWS.md.gz"
    write_changelog "$doc/changelog.Debian.gz"
    write_copyright "$doc/copyright"
    python3 scripts/lib/sbom.py Cargo.toml >"$doc/bootdisk.cdx.json"
}

# What lintian asks for and does not hold here, with the reason.
write_overrides() {
    cat <<'OVERRIDES'
# A static program, relocatable: the same for every Debian and Ubuntu, and for what is neither.
bootdisk: shared-library-lacks-prerequisites [usr/bin/bootdisk]
# It is the database inside images that it reads.
bootdisk: uses-dpkg-database-directly [usr/bin/bootdisk]
# The package is no upload to Debian.
bootdisk: initial-upload-closes-no-bugs [usr/share/doc/bootdisk/changelog.Debian.gz:1]
OVERRIDES
}

# make_deb ARCH PROGRAM RUNS DIR: packs PROGRAM, and RUNS is asked for pages and completions.
make_deb() {
    local arch="$1" program="$2" runs="$3" directory="$4" root
    root="$(mktemp -d)"
    chmod 755 "$root"
    install -d "$root/DEBIAN" "$root/usr/bin" "$root/usr/share/lintian/overrides"
    install -m 755 "$program" "$root/usr/bin/bootdisk"
    write_overrides >"$root/usr/share/lintian/overrides/bootdisk"
    write_help "$runs" "$root"
    write_documents "$root"
    write_control "$arch" "$root"
    (cd "$root" && find usr -type f -print0 | sort --zero-terminated | xargs --null md5sum >DEBIAN/md5sums)
    find "$root" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$root" \
        "$directory/bootdisk_$version-1_$(debian_architecture "$arch").deb" >/dev/null
    rm -r "$root"
}
