//! What a program says about itself: the parts of an ELF file that decide whether and where it runs.
//!
//! ```text
//!  e_ident, header ─▶ program headers ─┬─ PT_INTERP    the dynamic loader
//!                                      ├─ PT_DYNAMIC   libraries by name, where to look for them
//!                                      ├─ PT_NOTE      the kernel it asks for, instruction set, who built it
//!                                      └─ PT_LOAD      addresses ─▶ places in the file
//! ```
//!
//! Both classes and byte orders are read. Every offset is checked against the bytes there are: a wild one leaves out
//! what it leads to and is named in [`Facts::damage`]. Of programs section headers are not needed and not looked at;
//! [`sections`] has those of kernel modules.
//! Specifications: System V ABI, chapters 4 and 5; Linux Standard Base 5.0, "Note section"; x86-64 psABI, "Program
//! property" (GNU_PROPERTY_X86_ISA_1_NEEDED).

mod bytes;
mod go;
mod notes;
pub mod sections;

use bytes::Bytes;

/// First bytes of every ELF file.
pub const MAGIC: [u8; 4] = *b"\x7fELF";
/// Most program headers looked at; real files have a dozen.
const MAX_HEADERS: usize = 512;
/// Most entries of a dynamic section looked at.
const MAX_DYNAMIC: usize = 4096;
/// Most libraries kept; real programs need a few dozen.
const MAX_NEEDED: usize = 512;
/// Longest string kept, in bytes.
const MAX_STRING: usize = 4096;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PT_GNU_PROPERTY: u32 = 0x6474_e553;

const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// What an ELF file is, `e_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ET_REL`: an object, such as a kernel module.
    Object,
    /// `ET_EXEC`: a program at fixed addresses.
    Program,
    /// `ET_DYN`: a library, or a program that runs anywhere.
    Shared,
    /// Anything else.
    Other(u16),
}

/// The facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// 32 or 64.
    pub bits: u8,
    /// Little-endian.
    pub little: bool,
    /// `e_machine`.
    pub machine: u16,
    /// `e_type`.
    pub kind: Kind,
    /// The dynamic loader's path.
    pub interpreter: Option<Vec<u8>>,
    /// It has a dynamic section: it is linked at run time, or is static and position-independent.
    pub dynamic: bool,
    /// Libraries it names, in their order.
    pub needed: Vec<Vec<u8>>,
    /// Its own name as a library.
    pub soname: Option<Vec<u8>>,
    /// Where libraries are looked for: `DT_RUNPATH`, else `DT_RPATH`.
    pub run_path: Option<Vec<u8>>,
    /// `run_path` is `DT_RPATH`, which also holds for what the libraries need in their turn (ld.so(8)).
    pub run_path_is_inherited: bool,
    /// The oldest Linux it was made for: the ABI note.
    pub minimum_kernel: Option<[u32; 3]>,
    /// Bits of `GNU_PROPERTY_X86_ISA_1_NEEDED`: bit n is x86-64-v(n+1).
    pub isa_needed: u32,
    /// Made by the Go compiler: its version, empty when the file does not say.
    pub go: Option<String>,
    /// What does not lead anywhere.
    pub damage: Option<&'static str>,
}

#[derive(Clone, Copy)]
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// Reads the beginning of a file, or all of it. `None` when it is not ELF of a known class and byte order.
pub fn parse(file: &[u8]) -> Option<Facts> {
    let (bits, little) = match file.get(..7)? {
        [0x7f, b'E', b'L', b'F', class @ 1..=2, order @ 1..=2, 1] => (32 * class, *order == 1),
        _ => return None,
    };
    let bytes = Bytes { file, little, wide: bits == 64 };
    let kind = match bytes.u16(16)? {
        1 => Kind::Object,
        2 => Kind::Program,
        3 => Kind::Shared,
        other => Kind::Other(other),
    };
    let mut facts = Facts {
        bits,
        little,
        machine: bytes.u16(18)?,
        kind,
        interpreter: None,
        dynamic: false,
        needed: Vec::new(),
        soname: None,
        run_path: None,
        run_path_is_inherited: false,
        minimum_kernel: None,
        isa_needed: 0,
        go: None,
        damage: None,
    };
    match segments(&bytes) {
        Some(segments) => facts.read_segments(&bytes, &segments),
        None => facts.damage = Some("its program headers are outside the file"),
    }
    Some(facts)
}

fn segments(bytes: &Bytes<'_>) -> Option<Vec<Segment>> {
    let (table, size, count) = match bytes.wide {
        true => (bytes.u64(32)?, bytes.u16(54)?, bytes.u16(56)?),
        false => (u64::from(bytes.u32(28)?), bytes.u16(42)?, bytes.u16(44)?),
    };
    let mut found = Vec::new();
    for i in 0..usize::from(count).min(MAX_HEADERS) {
        let at = usize::try_from(table.checked_add(i as u64 * u64::from(size))?).ok()?;
        found.push(match bytes.wide {
            true => Segment {
                kind: bytes.u32(at)?,
                offset: bytes.u64(at.checked_add(8)?)?,
                address: bytes.u64(at.checked_add(16)?)?,
                size: bytes.u64(at.checked_add(32)?)?,
            },
            false => Segment {
                kind: bytes.u32(at)?,
                offset: bytes.u32(at.checked_add(4)?)?.into(),
                address: bytes.u32(at.checked_add(8)?)?.into(),
                size: bytes.u32(at.checked_add(16)?)?.into(),
            },
        });
    }
    Some(found)
}

impl Facts {
    fn read_segments(&mut self, bytes: &Bytes<'_>, segments: &[Segment]) {
        for segment in segments {
            let place = || bytes.part(segment.offset, segment.size);
            match segment.kind {
                PT_INTERP => match place().and_then(|part| string(part, 0)) {
                    Some(path) => self.interpreter = Some(path),
                    None => self.damage = Some("its dynamic loader's name is outside the file"),
                },
                PT_DYNAMIC => {
                    self.dynamic = true;
                    if place().and_then(|part| self.read_dynamic(bytes, part, segments)).is_none() {
                        self.damage = Some("its dynamic section is outside the file");
                    }
                }
                PT_NOTE | PT_GNU_PROPERTY => {
                    let notes = place().map(|part| notes::read(part, bytes)).unwrap_or_default();
                    self.minimum_kernel = self.minimum_kernel.or(notes.minimum_kernel);
                    self.isa_needed |= notes.isa_needed;
                    if notes.go && self.go.is_none() {
                        self.go = Some(go::version(bytes.file).unwrap_or_default());
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads the dynamic section; its strings lie at an address, which a loaded segment has in the file.
    fn read_dynamic(&mut self, bytes: &Bytes<'_>, section: &[u8], segments: &[Segment]) -> Option<()> {
        let part = Bytes { file: section, ..*bytes };
        let word = if bytes.wide { 8 } else { 4 };
        let pairs = (0..section.len() / (2 * word)).take(MAX_DYNAMIC).map_while(|i| {
            let (tag, value) = (part.word(2 * i * word)?, part.word((2 * i + 1) * word)?);
            (tag != 0).then_some((tag, value))
        });
        let pairs: Vec<(u64, u64)> = pairs.collect();
        let strings = pairs.iter().find(|(tag, _)| *tag == DT_STRTAB).map(|(_, address)| *address);
        let wanted = |tag: &u64| [DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH].contains(tag);
        if !pairs.iter().any(|(tag, _)| wanted(tag)) {
            return Some(());
        }
        let strings = offset_of(segments, strings?)?;
        let text = |at: u64| {
            let at = usize::try_from(strings.checked_add(at)?).ok()?;
            string(bytes.file, at)
        };
        let mut old_path = None;
        for (tag, value) in pairs.iter().filter(|(tag, _)| wanted(tag)) {
            let text = text(*value)?;
            match *tag {
                DT_NEEDED if self.needed.len() < MAX_NEEDED => self.needed.push(text),
                DT_SONAME => self.soname = Some(text),
                DT_RUNPATH => self.run_path = Some(text),
                DT_RPATH => old_path = Some(text),
                _ => {}
            }
        }
        // ld.so(8): DT_RPATH counts only where there is no DT_RUNPATH.
        self.run_path_is_inherited = self.run_path.is_none() && old_path.is_some();
        self.run_path = self.run_path.take().or(old_path);
        Some(())
    }

    /// The machine's name as `uname -m` and file(1) have it, or its number.
    pub fn machine_name(&self) -> String {
        let name = match (self.machine, self.bits) {
            (62, 64) => "x86_64",
            (62, _) => "x86_64 (x32)",
            (3, _) => "i686",
            (183, _) => "aarch64",
            (40, _) => "arm",
            (243, 64) => "riscv64",
            (243, _) => "riscv32",
            (22, _) => "s390x",
            (21, _) if self.little => "ppc64le",
            (21, _) => "ppc64",
            (20, _) => "ppc",
            (8, _) => "mips",
            (258, _) => "loongarch64",
            (247, _) => "bpf",
            (other, _) => return format!("machine {other}"),
        };
        name.to_owned()
    }

    /// The instruction-set level that its notes ask for: 1 to 4 for x86-64, `None` when they say nothing.
    pub fn isa_level(&self) -> Option<u32> {
        let known = self.isa_needed & 0xf;
        (self.machine == 62 && known != 0).then(|| 32 - known.leading_zeros())
    }

    /// Whether it runs without a dynamic loader.
    pub fn is_static(&self) -> bool {
        self.interpreter.is_none() && self.needed.is_empty()
    }
}

fn offset_of(segments: &[Segment], address: u64) -> Option<u64> {
    let holds = |s: &&Segment| s.kind == PT_LOAD && address >= s.address && address - s.address < s.size;
    let segment = segments.iter().find(holds)?;
    segment.offset.checked_add(address - segment.address)
}

/// The string that begins at `at` and ends with a NUL, or with the bytes there are.
fn string(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let rest = bytes.get(at..)?;
    let rest = &rest[..rest.len().min(MAX_STRING)];
    let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
    (end > 0).then(|| rest[..end].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A static program of 64 bits with one program header.
    fn program(kind: u32, offset: u64, size: u64, tail: &[u8]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(120, 0);
        file[16..20].copy_from_slice(&[2, 0, 62, 0]);
        file[32] = 64;
        file[54..58].copy_from_slice(&[56, 0, 1, 0]);
        file[64..68].copy_from_slice(&kind.to_le_bytes());
        file[72..80].copy_from_slice(&offset.to_le_bytes());
        file[96..104].copy_from_slice(&size.to_le_bytes());
        file.extend_from_slice(tail);
        file
    }

    #[test]
    fn a_header_alone_tells_class_and_machine() {
        let facts = parse(&program(0, 0, 0, b"")).unwrap();
        assert_eq!((facts.bits, facts.machine_name().as_str(), facts.kind), (64, "x86_64", Kind::Program));
        assert!(facts.is_static() && facts.damage.is_none());
    }

    #[test]
    fn the_loader_and_the_kernel_are_read() {
        let facts = parse(&program(PT_INTERP, 120, 9, b"/lib/ld\0\0")).unwrap();
        assert_eq!(facts.interpreter.as_deref(), Some(&b"/lib/ld"[..]));
        let note = [&4u32.to_le_bytes()[..], &16u32.to_le_bytes(), &1u32.to_le_bytes(), b"GNU\0"].concat();
        let version: Vec<u8> = [0u32, 3, 2, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
        let facts = parse(&program(PT_NOTE, 120, 32, &[note, version].concat())).unwrap();
        assert_eq!(facts.minimum_kernel, Some([3, 2, 0]));
    }

    #[test]
    fn wild_offsets_are_damage_and_nothing_else() {
        for kind in [PT_INTERP, PT_DYNAMIC] {
            for (offset, size) in [(u64::MAX, 1), (1, u64::MAX), (1 << 40, 1 << 40)] {
                assert!(parse(&program(kind, offset, size, b"xx")).unwrap().damage.is_some());
            }
        }
        let mut wild = program(0, 0, 0, b"");
        wild[32..40].fill(0xff);
        assert!(parse(&wild).unwrap().damage.is_some());
    }

    #[test]
    fn every_beginning_of_this_program_is_read_without_harm() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in (0..4096).chain([own.len() / 3, own.len()]) {
            _ = parse(&own[..length]);
        }
        let mut mutated = own[..8192].to_vec();
        for at in 16..1024 {
            let old = mutated[at];
            mutated[at] ^= 0xff;
            _ = parse(&mutated);
            mutated[at] = old;
        }
        assert!(parse(&own).unwrap().needed.iter().any(|name| name == b"libc.so.6"));
    }
}
