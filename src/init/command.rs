//! Which file a command is, and why it cannot be executed: by the workload's PATH, inside its root, as its user.
//!
//! The statuses are those of a runtime: 127 when there is no such file, 126 when there is one that cannot run. The
//! reasons say more than the kernel does, whose ENOENT may be about the file, its interpreter or its loader.

use super::failure::Failure;
use super::{environment, log};
use crate::guest::script;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a file that say what it is: the ELF header, program headers behind it, or a `#!` line.
const HEAD: usize = 4096;

/// The file to execute. Relative names are relative to the working folder, which is the current one.
pub fn look_up(name: &str, env: &[String]) -> Result<PathBuf, Failure> {
    if name.is_empty() {
        return Err(Failure::not_found("the command is an empty string"));
    }
    if name.contains('/') {
        check(Path::new(name), name)?;
        return Ok(PathBuf::from(name));
    }
    let path = environment::value(env, "PATH").unwrap_or(crate::guest::spec::DEFAULT_PATH);
    // An empty PATH names no folder; an empty part of one names the current folder.
    let mut denied = None;
    for folder in path.split(':').filter(|_| !path.is_empty()) {
        let candidate = Path::new(if folder.is_empty() { "." } else { folder }).join(name);
        match check(&candidate, name) {
            Ok(()) => return Ok(candidate),
            Err(failure) if denied.is_none() && somebodys_program(&candidate) => denied = Some(failure),
            Err(_) => {}
        }
    }
    let missing = || Failure::not_found(format!("executable file not found in $PATH: {name}"));
    Err(denied.unwrap_or_else(missing))
}

/// A program that others may execute. A file that nobody may is no program, and PATH passes over it.
fn somebodys_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn check(path: &Path, name: &str) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(Failure::not_executable(format!("is a directory: {name}"))),
        Ok(_) => access(path, AccessFlags::X_OK)
            .map_err(|_| Failure::not_executable(format!("permission denied, the file is not executable: {name}"))),
        Err(error) => Err(because(Errno::from_raw(error.raw_os_error().unwrap_or(0)), name)),
    }
}

fn because(errno: Errno, shown: &str) -> Failure {
    match errno {
        Errno::ENOENT => Failure::not_found(format!("no such file or directory: {shown}")),
        Errno::ENOTDIR => Failure::not_executable(format!("not a directory on the way to: {shown}")),
        Errno::EACCES => Failure::not_executable(format!("permission denied: {shown}")),
        Errno::ELOOP => Failure::not_executable(format!("too many symbolic links: {shown}")),
        errno => Failure::not_executable(format!("{}: {shown}", errno.desc().to_lowercase())),
    }
}

/// Why execve(2) refused a file that [`look_up`] found.
pub fn explain(path: &Path, errno: Errno) -> Failure {
    let shown = path.to_string_lossy();
    let head = head_of(path);
    if let Some(fault) = script::fault(&head) {
        let explained = format!("{shown} has {fault}");
        return match errno {
            Errno::ENOENT | Errno::ENOTDIR => Failure::not_found(explained),
            _ => Failure::not_executable(explained),
        };
    }
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => match interpreter(&head) {
            Some(missing) => {
                let missing = String::from_utf8_lossy(missing);
                Failure::not_found(format!("the interpreter {missing} is not in the image, and is needed by: {shown}"))
            }
            None => because(errno, &shown),
        },
        Errno::ENOEXEC => Failure::not_executable(format!("exec format error, {}: {shown}", format_of(&head))),
        Errno::EACCES => match interpreter(&head) {
            Some(denied) => {
                let denied = String::from_utf8_lossy(denied);
                Failure::not_executable(format!("permission denied for {shown} or its interpreter {denied}"))
            }
            None => because(errno, &shown),
        },
        Errno::E2BIG => Failure::not_executable(format!("arguments and environment are too long for: {shown}")),
        errno => because(errno, &shown),
    }
}

/// Tells of what makes an interpreter fail that is about to be started, as it will not say why.
pub fn warn_of(path: &Path) {
    let head = head_of(path);
    let argument = script::read(&head).and_then(|script| script.argument);
    let by_argument = argument.is_some_and(|argument| argument.ends_with(b"\r"));
    if let Some(fault) = script::fault(&head).filter(|_| by_argument) {
        log::warning(format!("{} has {fault}", path.display()));
    }
}

fn head_of(path: &Path) -> Vec<u8> {
    let mut head = vec![0u8; HEAD];
    let length = File::open(path).and_then(|file| file.read_at(&mut head, 0)).unwrap_or(0);
    head.truncate(length);
    head
}

/// The program a script's first line or an ELF file's PT_INTERP asks for.
fn interpreter(head: &[u8]) -> Option<&[u8]> {
    match script::read(head) {
        Some(script) => Some(script.interpreter).filter(|word| !word.is_empty()),
        None => elf_interpreter(head),
    }
}

/// PT_INTERP of a little-endian file of either class (System V ABI, chapter 5). Others are explained without it.
fn elf_interpreter(head: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: u64 = 3;
    let le = |at: usize, size: usize| -> Option<u64> {
        Some(head.get(at..at.checked_add(size)?)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    // Of the file header: e_phoff, e_phentsize, e_phnum. Of a program header: p_offset. Size of an offset.
    let [phoff, phentsize, phnum, offset, width] = match head.get(..6)? {
        b"\x7fELF\x01\x01" => [28, 42, 44, 4, 4],
        b"\x7fELF\x02\x01" => [32, 54, 56, 8, 8],
        _ => return None,
    };
    let (table, size, count) = (le(phoff, width)?, le(phentsize, 2)?, le(phnum, 2)?);
    for index in 0..count {
        let at = usize::try_from(table.checked_add(index * size)?).ok()?;
        if le(at, 4)? == PT_INTERP {
            let start = usize::try_from(le(at.checked_add(offset)?, width)?).ok()?;
            return head.get(start..)?.split(|b| *b == 0).next();
        }
    }
    None
}

/// What kind of file this is, for `exec format error`.
fn format_of(head: &[u8]) -> String {
    const MACHINES: [(u16, &str); 9] = [
        (3, "i386"),
        (8, "mips"),
        (20, "powerpc"),
        (21, "ppc64"),
        (22, "s390x"),
        (40, "arm"),
        (62, "x86_64"),
        (183, "aarch64"),
        (243, "riscv"),
    ];
    if head.is_empty() {
        return "an empty file".to_owned();
    }
    if !head.starts_with(b"\x7fELF") || head.len() < 20 {
        return "neither an ELF file nor a script with #!".to_owned();
    }
    let machine = match head[5] {
        2 => u16::from_be_bytes([head[18], head[19]]),
        _ => u16::from_le_bytes([head[18], head[19]]),
    };
    let name = MACHINES.iter().find(|(number, _)| *number == machine).map(|(_, name)| *name);
    match name {
        Some(name) if name == std::env::consts::ARCH => "a damaged executable".to_owned(),
        Some(name) => format!("built for {name} and this machine is {}", std::env::consts::ARCH),
        None => format!("built for ELF machine {machine} and this machine is {}", std::env::consts::ARCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode, text) in [
            ("run", 0o755, "#!/no/such/interpreter -x\n"),
            ("plain", 0o644, "text"),
            ("noformat", 0o755, "text without a first line"),
            ("empty", 0o755, ""),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::create_dir(folder.path().join("dir")).unwrap();
        folder
    }

    fn env(path: &str) -> Vec<String> {
        vec![format!("PATH={path}")]
    }

    #[test]
    fn commands_are_found_by_the_workloads_path() {
        let folder = folder();
        let at = folder.path().to_str().unwrap();
        assert_eq!(look_up("run", &env(&format!("/nowhere:{at}"))).unwrap(), folder.path().join("run"));
        assert_eq!(look_up("run", &env("/nowhere")).unwrap_err().status, 127);
        assert_eq!(look_up("plain", &env(at)).unwrap_err().status, 127);
        assert_eq!(look_up("", &env(at)).unwrap_err().status, 127);
        // An image that unsets PATH gets no default look-up, only the one of an absent variable.
        assert!(look_up("sh", &[]).is_ok());
    }

    #[test]
    fn a_path_says_why_it_cannot_run() {
        let folder = folder();
        let status = |name: &str| look_up(&format!("{}/{name}", folder.path().display()), &[]).map_err(|e| e.status);
        assert!(status("run").is_ok());
        assert_eq!(status("plain"), Err(126));
        assert_eq!(status("dir"), Err(126));
        assert_eq!(status("missing"), Err(127));
        assert_eq!(status("plain/x"), Err(126));
    }

    #[test]
    fn a_reason_quotes_what_the_image_has_as_it_is() {
        let path = ["PATH=/nowhere".to_owned()];
        assert_eq!(look_up("a\\b", &path).unwrap_err().reason, "executable file not found in $PATH: a\\b");
        assert_eq!(look_up("/no/a\\b", &path).unwrap_err().reason, "no such file or directory: /no/a\\b");
        assert!(explain(Path::new("/no/a\\b"), Errno::E2BIG).reason.ends_with("for: /no/a\\b"));
    }

    #[test]
    fn a_refused_execution_is_explained() {
        let folder = folder();
        let missing = explain(&folder.path().join("run"), Errno::ENOENT);
        assert_eq!(missing.status, 127);
        assert!(missing.reason.contains("/no/such/interpreter is not in the image"), "{}", missing.reason);
        let format = explain(&folder.path().join("noformat"), Errno::ENOEXEC);
        assert_eq!(format.status, 126);
        assert!(format.reason.contains("neither an ELF file nor a script"), "{}", format.reason);
        assert!(explain(&folder.path().join("empty"), Errno::ENOEXEC).reason.contains("an empty file"));
        for (text, errno, status, reason) in [
            ("#!/bin/sh\r\n", Errno::ENOENT, 127, "has a carriage return at the end of its first line"),
            ("\u{feff}#!/bin/sh\n", Errno::ENOEXEC, 126, "has a byte order mark before its #!"),
            ("#!\n", Errno::ENOEXEC, 126, "has no interpreter behind its #!"),
        ] {
            let path = folder.path().join("odd");
            std::fs::write(&path, text).unwrap();
            let explained = explain(&path, errno);
            assert_eq!(explained.status, status, "{text:?}");
            assert!(explained.reason.contains(reason), "{text:?}: {}", explained.reason);
        }
    }

    #[test]
    fn a_foreign_architecture_is_named() {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf[18] = 22;
        assert!(format_of(&elf).starts_with("built for s390x"));
        elf[18] = 0xfe;
        assert!(format_of(&elf).starts_with("built for ELF machine 254"));
    }

    #[test]
    fn the_loader_of_an_elf_file_is_named_and_damage_is_survived() {
        let sh = std::fs::read("/bin/ls").unwrap();
        let loader = elf_interpreter(&sh[..HEAD]).unwrap();
        assert!(loader.starts_with(b"/lib"), "{}", loader.escape_ascii());
        for cut in 0..200 {
            _ = elf_interpreter(&sh[..cut]);
        }
        // The same in 32 bits: one program header right behind the file header, and the name behind that.
        let mut narrow = b"\x7fELF\x01\x01\x01".to_vec();
        narrow.resize(52 + 32, 0);
        (narrow[28], narrow[42], narrow[44]) = (52, 32, 1);
        (narrow[52], narrow[52 + 4]) = (3, 84);
        narrow.extend(b"/lib/ld-linux.so.2\0");
        assert_eq!(elf_interpreter(&narrow), Some(&b"/lib/ld-linux.so.2"[..]));
        let mut damaged = sh[..HEAD].to_vec();
        damaged[32..40].fill(0xff);
        assert_eq!(elf_interpreter(&damaged), None);
    }
}
