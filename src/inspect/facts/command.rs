//! The command a userland starts: how it is found, what it is, what it needs of the userland and of a kernel.
//!
//! It is looked for as the guest's PID 1 will: by the workload's PATH, in its working directory, through links inside
//! the root; then through the interpreters of scripts. What the kernel would do with binfmt_misc is not known here.

use super::libraries::{self, Needed};
use super::shown;
use crate::arch::Arch;
use crate::contents::Root;
use crate::contents::paths::{self, Found};
use crate::formats::elf::{self, Kind as ElfKind};
use crate::guest::spec::{DEFAULT_PATH, Process};
use crate::inspect::model::{Asks, Command, Elf};
use crate::rootfs::Kind;

/// Interpreters of interpreters the kernel follows (fs/exec.c).
const MAX_SCRIPTS: usize = 4;
/// Words and characters of a command that are shown.
const MAX_WORDS: usize = 64;

/// What is known of the command of a process.
pub fn find(tree: &Root, process: &Process) -> Command {
    let words: Vec<&String> = process.words().collect();
    let mut command = Command {
        words: words.iter().take(MAX_WORDS).map(|word| shown(word.as_bytes())).collect(),
        user: shown(process.user.as_bytes()),
        working_dir: shown(process.working_dir.as_bytes()),
        ..Command::default()
    };
    match words.first() {
        None => command.problem = Some("it names no command to start".into()),
        Some(word) => {
            if let Err(problem) = follow(tree, process, word, &mut command) {
                command.problem = Some(problem);
            }
        }
    }
    command
}

/// From the first word to the program that is started.
fn follow(tree: &Root, process: &Process, word: &str, command: &mut Command) -> Result<(), String> {
    let mut found = locate(tree, process, word, command)?;
    for _ in 0..=MAX_SCRIPTS {
        tell_links(&found, command);
        let path = shown(&found.path);
        command.path.get_or_insert_with(|| path.clone());
        let inode = tree.inode(found.inode);
        let Kind::File { size, body } = &inode.kind else {
            return Err(format!("{path} is no regular file"));
        };
        if inode.attrs.mode & 0o111 == 0 {
            return Err(format!("{path} is not executable"));
        }
        let content = body.content.as_deref();
        if let Some(facts) = content.and_then(|content| content.elf.as_ref()) {
            return program(tree, process, &found, facts, command);
        }
        if let Some(fault) = content.and_then(|content| content.script_fault.as_ref()) {
            command.format.get_or_insert_with(|| "a script".into());
            return Err(format!("{path} has {fault}"));
        }
        let Some(line) = content.and_then(|content| content.script.as_deref()) else {
            command.format.get_or_insert(if *size == 0 { "an empty file".into() } else { "no known format".into() });
            return Err(format!("{path} is neither a program nor a script"));
        };
        let line = line.trim_ascii();
        let interpreter = line.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        command.format.get_or_insert_with(|| format!("a script for {}", shown(line)));
        command.steps.push(format!("{path} is a script: #!{}", shown(line)));
        found = paths::resolve(tree, interpreter)
            .ok_or_else(|| format!("the interpreter of {path} is not there: {}", shown(interpreter)))?;
    }
    Err("its scripts are interpreted by scripts, too deep for the kernel".into())
}

/// By path, or by PATH.
fn locate(tree: &Root, process: &Process, word: &str, command: &mut Command) -> Result<Found, String> {
    let absolute = |path: &str| match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{}/{path}", process.working_dir),
    };
    if word.contains('/') {
        return paths::resolve(tree, absolute(word).as_bytes())
            .ok_or_else(|| format!("{} is not there", shown(word.as_bytes())));
    }
    let search = process.env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    for folder in search.split(':').filter(|_| !search.is_empty()) {
        let folder = if folder.is_empty() { "." } else { folder };
        let Some(found) = paths::resolve(tree, format!("{}/{word}", absolute(folder)).as_bytes()) else { continue };
        let inode = tree.inode(found.inode);
        if matches!(inode.kind, Kind::File { .. }) && inode.attrs.mode & 0o111 != 0 {
            command.steps.push(format!("PATH has it in {}", shown(folder.as_bytes())));
            return Ok(found);
        }
    }
    Err(format!("{} is nowhere in PATH ({})", shown(word.as_bytes()), shown(search.as_bytes())))
}

fn tell_links(found: &Found, command: &mut Command) {
    for (link, target) in &found.links {
        command.steps.push(format!("{} is a link to {}", shown(link), shown(target)));
    }
}

/// The end of the way: an ELF file.
fn program(
    tree: &Root,
    process: &Process,
    found: &Found,
    facts: &elf::Facts,
    command: &mut Command,
) -> Result<(), String> {
    let path = shown(&found.path);
    let loader = facts.interpreter.as_deref().and_then(|path| paths::resolve(tree, path));
    let needed = libraries::find(tree, process, found, facts, loader.as_ref());
    command.format.get_or_insert_with(|| format(facts));
    command.asks = Some(asks(tree, &path, facts, &needed));
    command.elf = Some(Elf {
        bits: facts.bits,
        machine: facts.machine_name(),
        r#static: facts.is_static(),
        position_independent: facts.kind == ElfKind::Shared,
        interpreter: facts.interpreter.as_deref().map(shown),
        interpreter_found: loader.is_some(),
        needed: facts.needed.iter().map(|name| shown(name)).collect(),
        go: facts.go.clone(),
        damage: facts.damage.map(str::to_owned),
    });
    let missing: Vec<&str> = needed.list.iter().filter(|l| l.path.is_none()).map(|l| l.name.as_str()).collect();
    let problem = match (&facts.interpreter, missing.as_slice()) {
        _ if !matches!(facts.kind, ElfKind::Program | ElfKind::Shared) => Some(format!("{path} is no ELF program")),
        (Some(interpreter), _) if loader.is_none() => {
            Some(format!("the dynamic loader of {path} is not there: {}", shown(interpreter)))
        }
        (_, []) => None,
        (_, names) => Some(format!("libraries are missing: {}", names.join(", "))),
    };
    command.libraries = needed.list;
    problem.map_or(Ok(()), Err)
}

/// A few words about a program.
pub fn format(facts: &elf::Facts) -> String {
    let how = if facts.is_static() { "static" } else { "dynamic" };
    let what = match facts.kind {
        ElfKind::Shared => "position-independent executable",
        ElfKind::Program => "executable",
        ElfKind::Object => "object file",
        ElfKind::Other(_) => "ELF file",
    };
    format!("{how} {what}, {} bits, {}", facts.bits, facts.machine_name())
}

/// The most that program, loader and libraries ask for.
fn asks(tree: &Root, path: &str, facts: &elf::Facts, needed: &Needed) -> Asks {
    let mut linux = facts.minimum_kernel.map(|version| (version, path.to_owned()));
    let mut isa = facts.isa_level().map(|level| (level, path.to_owned()));
    for (found, of) in needed.programs(tree) {
        if let Some(version) = of.minimum_kernel
            && linux.as_ref().is_none_or(|(highest, _)| version > *highest)
        {
            linux = Some((version, shown(&found.path)));
        }
        if let Some(level) = of.isa_level()
            && isa.as_ref().is_none_or(|(highest, _)| level > *highest)
        {
            isa = Some((level, shown(&found.path)));
        }
    }
    let machine = facts.machine_name();
    let architecture = Arch::from_name(&machine).map_or(machine, |arch| arch.kernel().name().to_owned());
    let level = |level| if level == 1 { "x86-64 (baseline)".to_owned() } else { format!("x86-64-v{level}") };
    Asks {
        architecture,
        linux: linux.as_ref().map(|([a, b, c], _)| format!("{a}.{b}.{c}")),
        linux_evidence: linux.map(|(_, path)| format!("ABI note of {path}")),
        isa: isa.map(|(number, path)| format!("{} ({path})", level(number))),
    }
}
