//! Where a kernel comes from, for whoever has none: the commands of this host's distribution.
//!
//! Specification: os-release(5) for `ID` and `ID_LIKE`.

use crate::arch::Arch;

/// Commands that fetch a kernel and add it to the store, by a distribution's `ID`.
type Recipe = fn(&Name) -> String;

/// An architecture, and whether it is another one than this host's.
struct Name {
    arch: Arch,
    foreign: bool,
}

const RECIPES: [(&[&str], Recipe); 6] = [
    (&["ubuntu"], ubuntu),
    (&["debian"], debian),
    (&["fedora", "rhel", "centos"], fedora),
    (&["suse", "opensuse"], suse),
    (&["arch"], arch_linux),
    (&["alpine"], alpine),
];

/// How this host's user gets a kernel for `arch`, or for this host's architecture.
pub(super) fn of_host(arch: Option<Arch>) -> String {
    let places = ["/etc/os-release", "/usr/lib/os-release"];
    let text = places.iter().find_map(|place| std::fs::read_to_string(place).ok()).unwrap_or_default();
    let host = Arch::from_name(std::env::consts::ARCH);
    recipe(&text, arch.or(host).unwrap_or(Arch::X86_64), host)
}

fn recipe(os_release: &str, arch: Arch, host: Option<Arch>) -> String {
    let name = Name { arch, foreign: host != Some(arch) };
    let found = ids(os_release).into_iter().find_map(|id| RECIPES.iter().find(|(ids, _)| ids.contains(&id.as_str())));
    match (found, name.foreign) {
        (Some((_, recipe)), _) => recipe(&name),
        (None, true) => format!("give a package of any distribution for {arch}: bootdisk kernel add PACKAGE"),
        (None, false) => {
            "this host's kernel: bootdisk kernel add host; or any package: bootdisk kernel add PACKAGE".into()
        }
    }
}

/// `ID`, then the words of `ID_LIKE`.
fn ids(os_release: &str) -> Vec<String> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned())
    };
    let words = [value("ID"), value("ID_LIKE")].into_iter().flatten();
    words.flat_map(|words| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn debian(name: &Name) -> String {
    let arch = name.arch.oci_name();
    if name.foreign {
        return format!("in bootdisk's source folder: scripts/fetch-kernel --arch {arch} --add kernels");
    }
    format!(
        "apt-get download $(apt-cache depends linux-image-cloud-{arch} | grep -o 'linux-image-[0-9][^ ]*') && \
         bootdisk kernel add ./linux-image-[0-9]*.deb"
    )
}

fn ubuntu(name: &Name) -> String {
    if name.foreign {
        return format!(
            "give Ubuntu's two packages for {0}: bootdisk kernel add linux-image-*.deb linux-modules-*.deb",
            name.arch
        );
    }
    "v=$(apt-cache depends linux-image-virtual | grep -om1 '[0-9][0-9.-]*-generic') && \
     apt-get download linux-image-$v linux-modules-$v && bootdisk kernel add ./linux-image-$v*.deb ./linux-modules-$v*.deb"
        .into()
}

fn fedora(name: &Name) -> String {
    let force = if name.foreign { format!("--forcearch {} ", name.arch) } else { String::new() };
    format!(
        "dnf download {force}kernel-core kernel-modules-core && \
         bootdisk kernel add ./kernel-core-*.rpm ./kernel-modules-core-*.rpm"
    )
}

fn suse(name: &Name) -> String {
    match name.foreign {
        true => format!("give openSUSE's package for {}: bootdisk kernel add kernel-default-*.rpm", name.arch),
        false => "zypper download kernel-default && \
                  bootdisk kernel add /var/cache/zypp/packages/*/*/kernel-default-[0-9]*.rpm"
            .into(),
    }
}

fn arch_linux(name: &Name) -> String {
    match name.foreign {
        true => format!("give a package of any distribution for {}: bootdisk kernel add PACKAGE", name.arch),
        false => "curl -fO \"$(pacman -Spdd linux)\" && bootdisk kernel add ./linux-[0-9]*.pkg.tar.zst".into(),
    }
}

fn alpine(name: &Name) -> String {
    let arch = if name.foreign { format!("--arch {} ", name.arch) } else { String::new() };
    format!("apk fetch {arch}linux-virt && bootdisk kernel add ./linux-virt-*.apk")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distribution_has_its_own_commands() {
        for (os_release, here, elsewhere) in [
            ("ID=debian\n", "apt-get download $(apt-cache depends linux-image-cloud-amd64", "--arch arm64 --add"),
            ("NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n", "linux-modules-$v", "linux-modules-*.deb"),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "linux-modules-$v", "linux-modules-*.deb"),
            ("ID=fedora\n", "dnf download kernel-core", "--forcearch aarch64"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf download kernel-core", "--forcearch aarch64"),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", "zypper download", "kernel-default-*.rpm"),
            ("ID=arch\n", "pacman -Spdd linux", "of any distribution for aarch64"),
            ("ID='alpine'\n", "apk fetch linux-virt", "apk fetch --arch aarch64"),
            ("", "bootdisk kernel add host", "of any distribution for aarch64"),
        ] {
            let text = recipe(os_release, Arch::X86_64, Some(Arch::X86_64));
            assert!(text.contains(here) && text.contains("bootdisk kernel add"), "{os_release}: {text}");
            let text = recipe(os_release, Arch::Aarch64, Some(Arch::X86_64));
            assert!(text.contains(elsewhere), "{os_release}: {text}");
        }
    }
}
