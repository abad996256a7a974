//! What boot loaders offer: entries of the Boot Loader Specification, of GRUB and of SYSLINUX.
//!
//! Of GRUB's language only what its generated files have is understood: `menuentry`, `linux`, `initrd`, also with
//! `efi` or `16` behind them. Variables and conditions stay as they are. Specifications: UAPI.1 Boot Loader
//! Specification, type #1; GRUB manual; syslinux(1).

use crate::escape::escape;
use crate::formats::boot_entry;
use crate::inspect::model::LoaderEntry;

/// Most entries of one file.
const MAX: usize = 64;
/// Longest value kept, in bytes.
const LONGEST: usize = 4096;

/// An entry of `loader/entries/*.conf`.
pub fn boot_loader_specification(text: &[u8], evidence: &str) -> LoaderEntry {
    let shown = |text: &str| shown(text.as_bytes());
    let entry = boot_entry::Entry::parse(text);
    LoaderEntry {
        format: "boot loader specification".into(),
        evidence: evidence.into(),
        title: entry.title.as_deref().map(shown),
        linux: entry.program.as_ref().map(|program| shown(program.path())),
        initrd: entry.initrd.iter().take(MAX).map(|path| shown(path)).collect(),
        options: entry.options.as_deref().map(shown),
    }
}

/// The entries of a grub.cfg.
pub fn grub(text: &[u8], evidence: &str) -> Vec<LoaderEntry> {
    let mut entries: Vec<LoaderEntry> = Vec::new();
    let empty = || LoaderEntry { format: "grub".into(), evidence: evidence.into(), ..LoaderEntry::default() };
    for line in lines(text) {
        let (key, value) = words(line);
        match key {
            b"menuentry" if entries.len() < MAX => {
                let quote = *value.first().unwrap_or(&b' ');
                let title = if matches!(quote, b'\'' | b'"') {
                    value[1..].split(|&byte| byte == quote).next().unwrap_or_default()
                } else {
                    words(value).0
                };
                entries.push(LoaderEntry { title: Some(shown(title)), ..empty() });
            }
            b"linux" | b"linuxefi" | b"linux16" => {
                if entries.is_empty() {
                    entries.push(empty());
                }
                let entry = entries.last_mut().expect("pushed when there was none");
                let (path, options) = words(value);
                entry.linux = Some(shown(path));
                entry.options = Some(shown(options));
            }
            b"initrd" | b"initrdefi" | b"initrd16" => {
                if let Some(entry) = entries.last_mut() {
                    entry.initrd =
                        value.split(u8::is_ascii_whitespace).filter(|p| !p.is_empty()).take(MAX).map(shown).collect();
                }
            }
            _ => {}
        }
    }
    entries.retain(|entry| entry.linux.is_some());
    entries
}

/// The entries of a syslinux.cfg or extlinux.conf; keywords in any case.
pub fn syslinux(text: &[u8], evidence: &str) -> Vec<LoaderEntry> {
    let mut entries: Vec<LoaderEntry> = Vec::new();
    for line in lines(text) {
        let (key, value) = words(line);
        let key = key.to_ascii_lowercase();
        if key == b"label" && entries.len() < MAX {
            let title = Some(shown(value));
            entries.push(LoaderEntry {
                format: "syslinux".into(),
                evidence: evidence.into(),
                title,
                ..LoaderEntry::default()
            });
            continue;
        }
        let Some(entry) = entries.last_mut() else { continue };
        match &key[..] {
            b"kernel" | b"linux" => entry.linux = Some(shown(value)),
            b"initrd" => entry.initrd = value.split(|&byte| byte == b',').take(MAX).map(shown).collect(),
            b"append" => {
                let given = value.split(|&byte| byte == b' ').find_map(|word| word.strip_prefix(b"initrd="));
                if let Some(paths) = given {
                    entry.initrd = paths.split(|&byte| byte == b',').take(MAX).map(shown).collect();
                }
                entry.options = Some(shown(value));
            }
            _ => {}
        }
    }
    entries.retain(|entry| entry.linux.is_some());
    entries
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.starts_with(b"#"))
}

/// The first word and the rest.
fn words(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    (&line[..end], line[end..].trim_ascii())
}

fn shown(value: &[u8]) -> String {
    escape(&value[..value.len().min(LONGEST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_specification() {
        let text =
            b"# c\ntitle\tDebian 12\nlinux /a/linux\ninitrd /a/one\ninitrd /a/two\noptions root=x\noptions quiet\n";
        let entry = boot_loader_specification(text, "e");
        assert_eq!(entry.title.as_deref(), Some("Debian 12"));
        assert_eq!(entry.initrd, ["/a/one", "/a/two"]);
        assert_eq!(entry.options.as_deref(), Some("root=x quiet"));
    }

    #[test]
    fn grubs_generated_files() {
        let text =
            b"set x=1\nmenuentry 'Debian GNU/Linux' --class debian {\n\tlinux /boot/vmlinuz-6.1 root=UUID=1 ro\n\
            \tinitrd /boot/initrd.img-6.1\n}\nmenuentry \"Firmware\" {\n fwsetup\n}\n";
        let entries = grub(text, "e");
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].title.as_deref(), Some("Debian GNU/Linux"));
        assert_eq!(entries[0].linux.as_deref(), Some("/boot/vmlinuz-6.1"));
        assert_eq!(entries[0].options.as_deref(), Some("root=UUID=1 ro"));
        assert_eq!(entries[0].initrd, ["/boot/initrd.img-6.1"]);
    }

    #[test]
    fn syslinux_in_any_case() {
        let text = b"DEFAULT x\nLABEL x\n KERNEL vmlinuz\n APPEND root=/dev/sda1 initrd=a,b\n";
        let entries = syslinux(text, "e");
        assert_eq!(entries[0].initrd, ["a", "b"]);
        assert_eq!(entries[0].linux.as_deref(), Some("vmlinuz"));
    }
}
