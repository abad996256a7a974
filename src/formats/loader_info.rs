//! What programs of systemd say of themselves, somewhere in their bytes: `#### LoaderInfo: systemd-boot 252.39-1 ####`.
//!
//! Most have a section `.sdmagic` for it. Source: systemd, `magic` in src/boot/efi/boot.c and stub.c.

const SAYS: &str = "#### LoaderInfo: ";
const SAID: &[u8] = b" ####";
/// Most bytes between the two.
const LONGEST: usize = 128;

/// Name and version, `systemd-stub 252.39-1`, in the bytes of the program of this name; `None` of another's.
pub fn loader_info<'a>(program: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mark = format!("{SAYS}{name} ");
    let at = program.windows(mark.len()).position(|window| window == mark.as_bytes())? + SAYS.len();
    let said = &program[at..program.len().min(at + LONGEST)];
    said.windows(SAID.len()).position(|window| window == SAID).map(|end| &said[..end])
}

/// The version alone, as text; `None` also of an empty one.
pub fn version<'a>(program: &'a [u8], name: &str) -> Option<&'a str> {
    let said = loader_info(program, name)?.strip_prefix(name.as_bytes())?.trim_ascii_start();
    let end = said.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(said.len());
    std::str::from_utf8(&said[..end]).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_loader_says_its_version() {
        let loader = b"MZ..#### LoaderInfo: systemd-boot 252.39-1~deb12u1 ####\0";
        assert_eq!(version(loader, "systemd-boot"), Some("252.39-1~deb12u1"));
        assert_eq!(version(loader, "systemd-stub"), None);
        assert_eq!(version(b"#### LoaderInfo: systemd-boot  ####", "systemd-boot"), None);
    }
}
