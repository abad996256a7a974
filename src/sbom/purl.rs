//! Package URLs of packages: `pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12&upstream=glibc`.
//!
//! Types are those of package managers, and the namespace is the distribution's `ID` of os-release. `distro` and `upstream` (the
//! source package) are qualifiers that syft writes and grype reads: vulnerabilities of Debian, Alpine and Fedora are listed by
//! source package and release.
//!
//! Specification: github.com/package-url/purl-spec, PURL-SPECIFICATION.rst (rules for each component, character encoding)
//! and types/{deb,apk,rpm,alpm}-definition.

use crate::contents::installed::{Manager, Package, System};
use crate::percent::in_a_package_url as encoded;
use std::fmt::Write;

/// The package's URL, in canonical form.
pub fn purl(package: &Package, system: Option<&System>) -> String {
    let kind = match package.manager {
        Manager::Dpkg => "deb",
        Manager::Apk => "apk",
        Manager::Rpm => "rpm",
        Manager::Pacman => "alpm",
    };
    let namespace = system.map(|system| system.id.to_lowercase()).filter(|id| !id.is_empty());
    // The names of rpm alone tell cases apart.
    let name = if package.manager == Manager::Rpm { package.name.clone() } else { package.name.to_lowercase() };
    let mut url = format!("pkg:{kind}/");
    if let Some(namespace) = &namespace {
        url.push_str(&encoded(namespace));
        url.push('/');
    }
    url.push_str(&encoded(&name));
    url.push('@');
    url.push_str(&encoded(&package.version));
    let distro = system.map(|system| match &system.version {
        Some(version) => format!("{}-{version}", system.id),
        None => system.id.clone(),
    });
    let upstream = package.source.as_ref().map(|(name, version)| match version {
        Some(version) => format!("{name}@{version}"),
        None => name.clone(),
    });
    // In the order of their names.
    let qualifiers = [
        ("arch", package.arch.clone()),
        ("distro", distro),
        ("epoch", package.epoch.map(|epoch| epoch.to_string())),
        ("upstream", upstream),
    ];
    let given = qualifiers.into_iter().filter_map(|(key, value)| Some((key, value.filter(|value| !value.is_empty())?)));
    for (number, (key, value)) in given.enumerate() {
        _ = write!(url, "{}{key}={}", if number == 0 { '?' } else { '&' }, encoded(&value));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_as_the_specification_has_them() {
        let debian = System { id: "debian".into(), version: Some("12".into()), name: None };
        let of = |manager, name: &str, version: &str, arch: &str, source: Option<(&str, Option<&str>)>, epoch| {
            let source = source.map(|(name, version)| (name.to_owned(), version.map(str::to_owned)));
            let arch = (!arch.is_empty()).then(|| arch.to_owned());
            Package { manager, name: name.into(), version: version.into(), epoch, arch, source }
        };
        let system = |id: &str, version: Option<&str>| {
            Some(System { id: id.into(), version: version.map(str::to_owned), name: None })
        };
        for (package, system, expected) in [
            (
                of(Manager::Dpkg, "libc6", "2.36-9+deb12u4", "amd64", Some(("glibc", None)), None),
                Some(debian.clone()),
                "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc",
            ),
            (
                of(Manager::Dpkg, "libstdc++6", "1:12.2.0~rc1", "", Some(("gcc-12", Some("12.2"))), None),
                None,
                "pkg:deb/libstdc%2B%2B6@1:12.2.0~rc1?upstream=gcc-12%4012.2",
            ),
            (
                of(Manager::Apk, "musl", "1.2.4-r2", "x86_64", None, None),
                system("alpine", Some("3.19.1")),
                "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.19.1",
            ),
            (
                of(Manager::Rpm, "ImageMagick", "7-1.fc39", "x86_64", None, Some(1)),
                system("Fedora", Some("39")),
                "pkg:rpm/fedora/ImageMagick@7-1.fc39?arch=x86_64&distro=Fedora-39&epoch=1",
            ),
            (
                of(Manager::Pacman, "glibc", "2.39-1", "x86_64", None, None),
                system("arch", None),
                "pkg:alpm/arch/glibc@2.39-1?arch=x86_64&distro=arch",
            ),
            (of(Manager::Dpkg, "a/../b?c", "1 &#", "", None, None), None, "pkg:deb/a%2F..%2Fb%3Fc@1%20%26%23"),
        ] {
            assert_eq!(purl(&package, system.as_ref()), expected);
        }
    }
}
