//! The answer in one line: does this have an operating system inside?

use crate::inspect::model::{Command, Userland};

/// About an image.
pub fn of_image(userland: &Userland, command: &Command) -> String {
    let mut verdict = of_userland(userland, command);
    if userland.distribution.is_none()
        && let Some(linux) = command.asks.as_ref().and_then(|asks| asks.linux.as_deref())
    {
        verdict.push_str(&format!("; asks for Linux {linux} or later"));
    }
    verdict
}

/// About a disk: `userland` is its root file system's, `kernels` the releases it boots, `ours` says that it has a
/// boot specification of this program.
pub fn of_disk(userland: Option<(&Userland, &Command)>, kernels: &[String], ours: bool) -> String {
    let boots = match kernels {
        [] => "no kernel found".to_owned(),
        [one] => format!("Linux {one}"),
        [first, rest @ ..] => format!("Linux {first} and {} more", rest.len()),
    };
    let maker = if ours { "a disk of bootdisk" } else { "a disk" };
    match userland {
        None => format!("{maker}: {boots}, no readable userland"),
        Some((userland, _)) if is_empty(userland) => format!("{maker}: {boots}, an empty file system"),
        Some((userland, command)) => {
            let own = !kernels.is_empty() || !userland.kernels.is_empty();
            let inside = of_userland(userland, command);
            let inside = if own { inside.replace(", no kernel", "") } else { inside };
            format!("{maker}: {boots}, {inside}")
        }
    }
}

fn is_empty(userland: &Userland) -> bool {
    userland.files + userland.symlinks == 0
}

fn of_userland(userland: &Userland, command: &Command) -> String {
    if is_empty(userland) {
        return "nothing: no files".into();
    }
    let name = userland.distribution.as_ref().map(|distribution| distribution.name.as_str());
    let has_shell = userland.shells.iter().any(|shell| shell.value != "busybox" && shell.value != "toybox");
    let has_kernel = !userland.kernels.is_empty();
    let has_init =
        userland.init.iter().any(|init| init.evidence.contains("/init") || init.evidence.contains("systemd"));
    match (name, has_kernel) {
        (name, true) if has_init => {
            format!("a bootable userland with its own kernel and init: {}", name.unwrap_or("no distribution"))
        }
        (Some(name), kernel) => {
            let has_packages = !userland.packages.is_empty();
            let whole = if has_shell && has_packages { "whole " } else { "" };
            let lacks = match (has_shell, has_packages) {
                (true, true) => "",
                (true, false) => ", no package manager",
                (false, _) => ", no shell",
            };
            let kernel = if kernel { "with a kernel, no init" } else { "no kernel" };
            format!("a {whole}{name} userland{lacks}, {kernel}")
        }
        (None, kernel) => {
            let what = without_name(userland, command);
            let shell = if has_shell { "a shell" } else { "no shell" };
            let kernel = if kernel { ", with a kernel" } else { "" };
            format!("{what}, no distribution, {shell}{kernel}")
        }
    }
}

fn without_name(userland: &Userland, command: &Command) -> String {
    let busybox = userland.shells.iter().any(|shell| shell.value.contains("busybox"));
    let linkage = command.elf.as_ref().map_or("", |elf| if elf.r#static { "static " } else { "dynamic " });
    match userland.files {
        1 if command.elf.is_some() => format!("one {linkage}executable"),
        1 => "one file".into(),
        files if busybox => format!("a busybox userland of {files} files"),
        files if command.elf.is_some() => format!("a {linkage}executable among {files} files"),
        files => format!("{files} files"),
    }
}
