//! Language runtimes, by the names that their programs and folders have.

use super::shown;
use crate::contents::body::Body;
use crate::contents::paths::file_name;
use crate::inspect::model::Fact;
use std::collections::BTreeMap;

/// Program names, alone or with a version behind them, and the language.
const PROGRAMS: [(&str, &str); 15] = [
    ("python", "Python"),
    ("pypy", "PyPy"),
    ("perl", "Perl"),
    ("ruby", "Ruby"),
    ("php", "PHP"),
    ("node", "Node.js"),
    ("deno", "Deno"),
    ("bun", "Bun"),
    ("lua", "Lua"),
    ("tclsh", "Tcl"),
    ("guile", "Guile"),
    ("julia", "Julia"),
    ("erlexec", "Erlang"),
    ("Rscript", "R"),
    ("ghc", "GHC"),
];
/// A folder whose children are versions of the .NET runtime.
const DOTNET: &[u8] = b"/shared/Microsoft.NETCore.App/";
/// Most runtimes reported.
const MAX: usize = 32;

/// What was seen on the walk: by language and version, the path.
#[derive(Default)]
pub struct Runtimes(BTreeMap<(&'static str, String), String>);

impl Runtimes {
    /// A regular file under its first name.
    pub fn file(&mut self, path: &[u8], mode: u16, body: &Body) {
        self.name(path, mode);
        let text = body.content.as_ref().and_then(|content| content.text.as_deref());
        let Some(text) = text else { return };
        if path == b"/usr/local/go/VERSION" {
            let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
            self.add("Go", &shown(line.strip_prefix(b"go").unwrap_or(line)), path);
        } else if file_name(path) == b"release" {
            let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"JAVA_VERSION="));
            if let Some(version) = line {
                let quote = |byte: &u8| *byte == b'"';
                let version: Vec<u8> = version.iter().copied().filter(|byte| !quote(byte)).collect();
                self.add("Java", &shown(version.trim_ascii()), path);
            }
        }
    }

    /// A name of a regular file.
    pub fn name(&mut self, path: &[u8], mode: u16) {
        let name = file_name(path);
        let folder = &path[..path.len() - name.len()];
        let is_program = mode & 0o111 != 0 && (folder.ends_with(b"/bin/") || folder.ends_with(b"/sbin/"));
        if !(is_program || name == b"erlexec") {
            return;
        }
        for (stem, language) in PROGRAMS {
            let Some(rest) = name.strip_prefix(stem.as_bytes()) else { continue };
            if rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
                self.add(language, &shown(rest), path);
            }
        }
    }

    /// A directory.
    pub fn directory(&mut self, path: &[u8]) {
        let name = file_name(path);
        if path[..path.len() - name.len()].ends_with(DOTNET) {
            self.add(".NET", &shown(name), path);
        }
    }

    fn add(&mut self, language: &'static str, version: &str, path: &[u8]) {
        if self.0.len() < MAX {
            self.0.entry((language, version.to_owned())).or_insert_with(|| shown(path));
        }
    }

    /// Every language, a version once; a name without a version counts where no other name has one.
    pub fn finish(self) -> Vec<Fact> {
        let with_version = |language: &str| self.0.keys().any(|(l, version)| *l == language && !version.is_empty());
        let wanted = self.0.iter().filter(|((language, version), _)| !version.is_empty() || !with_version(language));
        wanted.map(|((language, version), path)| Fact::new(format!("{language} {version}").trim(), path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_versions_are_preferred() {
        let mut runtimes = Runtimes::default();
        for path in ["/usr/bin/perl", "/usr/bin/perl5.36.0", "/usr/bin/python3-config", "/usr/local/bin/node"] {
            runtimes.name(path.as_bytes(), 0o755);
        }
        runtimes.name(b"/usr/share/perl", 0o755);
        runtimes.directory(b"/usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.1");
        let found: Vec<String> = runtimes.finish().into_iter().map(|fact| fact.value).collect();
        assert_eq!(found, [".NET 8.0.1", "Node.js", "Perl 5.36.0"]);
    }
}
