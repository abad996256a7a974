//! Boot menu entries of the Boot Loader Specification, type #1: `loader/entries/*.conf` on the ESP.
//!
//! ```text
//! # a comment
//! title      Debian 12                a key, spaces or tabs, its value
//! linux      /debian/linux            one of linux, efi and uki; of several lines the last counts
//! initrd     /debian/initrd           any number, loaded in this order
//! options    root=/dev/vda2 ro        any number, joined by spaces
//! ```
//!
//! Read as systemd-boot reads it: lines end with CR or LF, white space around them is nothing, a value in double quotes
//! loses them. A path may begin without a slash, and a backslash is one too.
//!
//! Whoever deletes files that no entry names must know that it understood all of them: [`Entry::oddity`] says what it
//! did not. Not supported: entries of type #2, which are files of their own.
//! Specification: UAPI.1 Boot Loader Specification; systemd's src/boot.

use std::fmt;

/// Longest entry that is read, in bytes.
pub const LONGEST: u64 = 65_536;
/// Keys whose values are paths, each of a file that the entry needs.
const PATHS: [&str; 6] = ["linux", "initrd", "efi", "uki", "devicetree", "devicetree-overlay"];
/// The other keys of the specification. `uki-url` leads to another machine.
const WORDS: [&str; 9] =
    ["title", "version", "machine-id", "sort-key", "options", "architecture", "profile", "extra", "uki-url"];
/// What a file's name ends with.
const SUFFIX: &str = ".conf";

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What a menu shows.
    pub title: Option<String>,
    /// Which version of the system it is.
    pub version: Option<String>,
    /// Identifier of the system.
    pub machine_id: Option<String>,
    /// What menus sort by.
    pub sort_key: Option<String>,
    /// The processor it is for, in EFI's words.
    pub architecture: Option<String>,
    /// What is started.
    pub program: Option<Program>,
    /// Initial RAM disks, in order.
    pub initrd: Vec<String>,
    /// The command line; `None` when there is no such line.
    pub options: Option<String>,
    /// Every path that any line names, whether it counts or not.
    pub files: Vec<String>,
    /// The first thing that was not understood.
    pub oddity: Option<Oddity>,
}

/// What an entry starts, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A kernel, with the command line and the initial RAM disks.
    Linux(String),
    /// Any other EFI program.
    Efi(String),
    /// A kernel that has everything in itself.
    Uki(String),
}

impl Program {
    /// Its path, as the entry has it.
    pub fn path(&self) -> &str {
        let (Program::Linux(path) | Program::Efi(path) | Program::Uki(path)) = self;
        path
    }
}

/// What was not understood of an entry. Each goes on from "its".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A line's key is none of the specification's.
    Key(usize),
    /// It is no text.
    NoText(usize),
    /// A path that is a pattern, a variable, or leads upwards.
    Path(usize),
    /// Nothing is started.
    NoProgram,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Oddity::Key(line) => write!(f, "line {line} has a key that is not in the specification"),
            Oddity::NoText(line) => write!(f, "line {line} is no text"),
            Oddity::Path(line) => write!(f, "line {line} has a path that is not plain"),
            Oddity::NoProgram => f.write_str("lines name neither linux, efi nor uki"),
        }
    }
}

/// A line that means something: its number from 1, its key and value, which may be empty.
struct Line<'a> {
    number: usize,
    key: &'a str,
    value: &'a str,
}

impl Entry {
    /// Reads an entry. Nothing is refused.
    pub fn parse(text: &[u8]) -> Entry {
        let mut entry = Entry::default();
        let text_of_all = String::from_utf8_lossy(text);
        for line in lines(&text_of_all) {
            entry.oddity = entry.oddity.take().or_else(|| line.oddity());
            entry.take(&line);
        }
        if entry.program.is_none() {
            entry.oddity.get_or_insert(Oddity::NoProgram);
        }
        entry
    }

    fn take(&mut self, line: &Line<'_>) {
        // A key alone is a line that says nothing.
        if line.value.is_empty() {
            return;
        }
        let value = line.value.to_owned();
        if PATHS.contains(&line.key) {
            // Some loaders take several paths in a line, so that a file may be named by each word.
            self.files.extend(value.split_whitespace().map(str::to_owned).chain([value.clone()]));
        }
        match line.key {
            "title" => self.title = Some(value),
            "version" => self.version = Some(value),
            "machine-id" => self.machine_id = Some(value),
            "sort-key" => self.sort_key = Some(value),
            "architecture" => self.architecture = Some(value),
            "linux" => self.program = Some(Program::Linux(value)),
            "efi" => self.program = Some(Program::Efi(value)),
            "uki" | "uki-url" => self.program = Some(Program::Uki(value)),
            "initrd" => self.initrd.push(value),
            "options" => {
                let before = self.options.take().map(|before| before + " ").unwrap_or_default();
                self.options = Some(before + &value);
            }
            _ => {}
        }
    }

    /// The kernel's path, of an entry that starts one.
    pub fn linux(&self) -> Option<&str> {
        match &self.program {
            Some(Program::Linux(path)) => Some(path),
            _ => None,
        }
    }
}

impl Line<'_> {
    fn oddity(&self) -> Option<Oddity> {
        let is_path = PATHS.contains(&self.key);
        let plain = |word: &str| !word.contains(['$', '*', '?']) && word.split(['/', '\\']).all(|part| part != "..");
        if self.value.chars().chain(self.key.chars()).any(|c| c == '\u{fffd}' || c.is_control() && c != '\t') {
            Some(Oddity::NoText(self.number))
        } else if !is_path && !WORDS.contains(&self.key) {
            Some(Oddity::Key(self.number))
        } else if is_path && !plain(self.value) {
            Some(Oddity::Path(self.number))
        } else {
            None
        }
    }
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    (1..).zip(text.split('\n')).flat_map(|(number, line)| line.split('\r').map(move |part| (number, part))).filter_map(
        |(number, line)| {
            let line = line.trim_matches([' ', '\t']);
            let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let value = unquoted(value.trim_start_matches([' ', '\t']));
            (!line.is_empty() && !line.starts_with('#')).then_some(Line { number, key, value })
        },
    )
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// A change of one line.
pub struct Change<'a> {
    /// Which lines: those with this key,
    pub key: &'a str,
    /// and with this value, if one is given.
    pub from: Option<&'a str>,
    /// The new value.
    pub to: &'a str,
}

/// The text of an entry with some of its values changed. The first line that a change is for gets the new value, others
/// of a key that counts once go; where there is none, it is added at the end. Every other line stays as it is.
pub fn rewrite(text: &str, changes: &[Change<'_>]) -> String {
    let mut done = vec![false; changes.len()];
    let mut out = String::new();
    for raw in text.replace("\r\n", "\n").replace('\r', "\n").lines() {
        let wanted = |change: &Change<'_>| {
            lines(raw).any(|line| line.key == change.key && change.from.is_none_or(|from| from == line.value))
        };
        match changes.iter().position(wanted) {
            None => out.push_str(&format!("{raw}\n")),
            Some(index) if done[index] => {}
            Some(index) => {
                done[index] = true;
                out.push_str(&format!("{} {}\n", changes[index].key, changes[index].to));
            }
        }
    }
    for (change, _) in changes.iter().zip(done).filter(|(_, done)| !done) {
        out.push_str(&format!("{} {}\n", change.key, change.to));
    }
    out
}

/// The name of an entry without its counter of boots and its suffix: `debian` of `debian+3-1.conf`. `None` when it is no
/// name of an entry.
pub fn id(file_name: &str) -> Option<&str> {
    let at = file_name.len().checked_sub(SUFFIX.len()).filter(|at| file_name.is_char_boundary(*at))?;
    let (stem, suffix) = file_name.split_at(at);
    if !suffix.eq_ignore_ascii_case(SUFFIX) {
        return None;
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let counts = |counter: &str| match counter.split_once('-') {
        None => digits(counter),
        Some((left, done)) => digits(left) && digits(done),
    };
    Some(stem.rsplit_once('+').filter(|(_, counter)| counts(counter)).map_or(stem, |(id, _)| id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Entry {
        Entry::parse(text.as_bytes())
    }

    /// One entry in every form that systemd-boot takes for it.
    #[test]
    fn columns_tabs_comments_and_line_ends_are_all_one_entry() {
        let plain = parse("title Mine\nlinux /k/linux\ninitrd /k/initrd\noptions console=ttyS0\n");
        assert_eq!(plain.linux(), Some("/k/linux"));
        assert_eq!(
            (plain.initrd.as_slice(), plain.options.as_deref()),
            (&["/k/initrd".to_owned()][..], Some("console=ttyS0"))
        );
        assert_eq!(plain.oddity, None);
        for text in [
            "title      Mine\nlinux      /k/linux\ninitrd     /k/initrd\noptions    console=ttyS0\n",
            "title\tMine\nlinux\t\t/k/linux\ninitrd \t /k/initrd\noptions\tconsole=ttyS0",
            "# a\n\n  title Mine  \n\t linux /k/linux\t\n#initrd /x\ninitrd /k/initrd\n  # b\noptions console=ttyS0\n\n",
            "title Mine\r\nlinux /k/linux\r\ninitrd /k/initrd\r\noptions console=ttyS0\r\n",
            "title Mine\rlinux /k/linux\rinitrd /k/initrd\roptions console=ttyS0\r",
            "title \"Mine\"\nlinux \"/k/linux\"\ninitrd /k/initrd\noptions \"console=ttyS0\"\n",
            "options console=ttyS0\nlinux /k/linux\ninitrd /k/initrd\ntitle Mine\noptions\ninitrd \t\n",
        ] {
            assert_eq!(parse(text), plain, "{text:?}");
        }
    }

    #[test]
    fn lines_that_may_come_twice_add_up_and_of_others_the_last_counts() {
        let entry = parse(
            "title a\ntitle b\nlinux /one\nlinux /two\ninitrd /x\ninitrd /y\noptions a=1\noptions  b=\"c d\"\n\
             version 6.1\nmachine-id 00\nsort-key s\narchitecture x64\ndevicetree /dtb\n",
        );
        assert_eq!((entry.title.as_deref(), entry.linux()), (Some("b"), Some("/two")));
        assert_eq!(entry.initrd, ["/x", "/y"]);
        assert_eq!(entry.options.as_deref(), Some("a=1 b=\"c d\""));
        assert_eq!((entry.version.as_deref(), entry.machine_id.as_deref()), (Some("6.1"), Some("00")));
        assert_eq!((entry.sort_key.as_deref(), entry.architecture.as_deref()), (Some("s"), Some("x64")));
        for path in ["/one", "/two", "/x", "/y", "/dtb"] {
            assert!(entry.files.iter().any(|file| file == path), "{path} is named");
        }
        assert_eq!(entry.oddity, None);
    }

    #[test]
    fn what_starts_no_kernel_says_what_it_starts() {
        assert_eq!(parse("efi /shell.efi\n").program, Some(Program::Efi("/shell.efi".into())));
        assert_eq!(parse("uki /a.efi\n").program, Some(Program::Uki("/a.efi".into())));
        assert_eq!(parse("efi /shell.efi\n").linux(), None);
        assert_eq!(parse("linux /a\nefi /b\n").linux(), None);
        assert_eq!(parse("efi /b\nlinux /a\n").files, ["/b", "/b", "/a", "/a"]);
    }

    #[test]
    fn what_is_not_understood_is_pointed_at() {
        let cases: [(&[u8], Oddity); 11] = [
            (b"", Oddity::NoProgram),
            (b"title x\n", Oddity::NoProgram),
            (b"linux\n", Oddity::NoProgram),
            (b"linux /a\ngrub_class x\n", Oddity::Key(2)),
            (b"linux /a\nkernel /bootdisk/linux\n", Oddity::Key(2)),
            (b"Linux /a\nlinux /b\n", Oddity::Key(1)),
            (b"linux=/a\nlinux /b\n", Oddity::Key(1)),
            (b"linux /a\ninitrd /b $tuned_initrd\n", Oddity::Path(2)),
            (b"linux /../a\n", Oddity::Path(1)),
            (b"linux /a*\n", Oddity::Path(1)),
            (b"linux /a\n\ntitle \xff\n", Oddity::NoText(3)),
        ];
        for (text, oddity) in cases {
            assert_eq!(Entry::parse(text).oddity, Some(oddity), "{}", String::from_utf8_lossy(text));
        }
        assert!(Entry::parse(b"linux /a\0b\n").oddity.is_some());
        assert!(Entry::parse(&[0x1f, 0x8b, 8, 0, 0, 0]).oddity.is_some());
    }

    #[test]
    fn a_change_touches_its_line_and_no_other() {
        let text = "# mine\ntitle    Old\nlinux    /k/linux\ninitrd  /k/initrd\ninitrd  /extra\r\n\noptions a\noptions b\nx-key y\n";
        let changes = [
            Change { key: "title", from: None, to: "New" },
            Change { key: "version", from: None, to: "6.2" },
            Change { key: "initrd", from: Some("/k/initrd"), to: "/k/initrd2" },
        ];
        let expected = "# mine\ntitle New\nlinux    /k/linux\ninitrd /k/initrd2\ninitrd  /extra\n\noptions a\noptions b\nx-key y\nversion 6.2\n";
        assert_eq!(rewrite(text, &changes), expected);
        let twice = rewrite("title a\ntitle b\nlinux /x\n", &changes[..1]);
        assert_eq!(twice, "title New\nlinux /x\n");
        assert_eq!(rewrite("", &[]), "");
    }

    #[test]
    fn a_counter_of_boots_is_no_part_of_the_name() {
        for (name, expected) in [
            ("debian.conf", Some("debian")),
            ("debian.CONF", Some("debian")),
            ("debian+3.conf", Some("debian")),
            ("debian+3-1.conf", Some("debian")),
            ("debian+0-3.conf", Some("debian")),
            ("a+b.conf", Some("a+b")),
            ("a+3-.conf", Some("a+3-")),
            ("a+1+2.conf", Some("a+1")),
            (".conf", Some("")),
            ("conf", None),
            ("debian.conf.bak", None),
            ("ä", None),
        ] {
            assert_eq!(id(name), expected, "{name}");
        }
    }
}
