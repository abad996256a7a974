//! Every name of a userland: as a tree for people, as mtree(5) or JSON lines for programs.
//!
//! Listings are written as they come, so that millions of names cost no memory. Names are in byte order, each directory
//! before what is in it.

use super::render::units::size;
use crate::contents::Root;
use crate::contents::body::{Body, digest};
use crate::contents::compare::kind_name;
use crate::contents::paths::{self, file_name};
use crate::escape::escape;
use crate::hex::hex;
use crate::rootfs::tree::Inode;
use crate::rootfs::{InodeId, Kind, Time, Tree};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

/// A form of `--files`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// mtree(5), as BSD's mtree, libarchive and gomtree read it.
    Mtree,
    /// One JSON object a line.
    JsonLines,
}

/// Levels of a tree that are set off from each other; what is deeper stands below the last.
const INDENTED: usize = 64;

/// Writes the listing of a whole userland.
pub fn files(tree: &Root, form: Form, out: &mut dyn Write) -> io::Result<()> {
    if form == Form::Mtree {
        writeln!(out, "#mtree v2.0")?;
    }
    let mut result = Ok(());
    let mut linked = HashMap::new();
    paths::walk(tree, |path, _, id| {
        if result.is_ok() {
            let inode = tree.inode(id);
            result = match form {
                Form::Mtree => mtree(path, inode, out),
                Form::JsonLines => {
                    let several = inode.names() > 1 && !inode.is_directory();
                    let first = several.then(|| linked.entry(id).or_insert_with(|| escape(path)).clone());
                    json_line(path, inode, first.filter(|first| *first != escape(path)), out)
                }
            };
        }
        result.is_ok()
    });
    result
}

fn mtree(path: &[u8], inode: &Inode<Body>, out: &mut dyn Write) -> io::Result<()> {
    let name = if path == b"/" { b"." as &[u8] } else { path };
    let dot = if path == b"/" { "" } else { "." };
    let attrs = &inode.attrs;
    write!(out, "{dot}{} ", vis(name))?;
    match &inode.kind {
        Kind::Directory(_) => write!(out, "type=dir")?,
        Kind::File { size, body } => {
            write!(out, "type=file size={size} nlink={}", inode.names())?;
            if let Some(digest) = digest(*size, body) {
                write!(out, " sha256digest={digest}")?;
            }
        }
        Kind::Symlink(target) => write!(out, "type=link link={}", vis(target))?,
        Kind::CharDevice { major, minor } => write!(out, "type=char device=native,{major},{minor}")?,
        Kind::BlockDevice { major, minor } => write!(out, "type=block device=native,{major},{minor}")?,
        Kind::Fifo => write!(out, "type=fifo")?,
    }
    let Time { secs, nanos } = attrs.mtime;
    writeln!(out, " mode={:04o} uid={} gid={} time={secs}.{nanos:09}", attrs.mode, attrs.uid, attrs.gid)
}

/// vis(3) with VIS_OCTAL: what is not plain becomes `\NNN`.
fn vis(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'!'..=b'~' if !b"\\#*?[=".contains(&byte) => out.push(byte as char),
            _ => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out
}

fn json_line(path: &[u8], inode: &Inode<Body>, link_to: Option<String>, out: &mut dyn Write) -> io::Result<()> {
    let attrs = &inode.attrs;
    let mut object = json!({
        "path": escape(path),
        "type": kind_name(&inode.kind),
        "mode": format!("{:04o}", attrs.mode),
        "uid": attrs.uid,
        "gid": attrs.gid,
        "mtime": attrs.mtime.secs,
        "mtime_nanos": attrs.mtime.nanos,
    });
    match &inode.kind {
        Kind::File { size, body } => {
            object["size"] = json!(size);
            object["sha256"] = json!(digest(*size, body));
            object["hard_link_to"] = json!(link_to);
        }
        Kind::Symlink(target) => object["target"] = json!(escape(target)),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            object["device"] = json!([major, minor])
        }
        Kind::Directory(_) | Kind::Fifo => {}
    }
    let xattrs: BTreeMap<String, String> =
        attrs.xattrs.iter().flatten().map(|(name, value)| (escape(name), hex(value))).collect();
    if !xattrs.is_empty() {
        object["xattrs_hex"] = json!(xattrs);
    }
    writeln!(out, "{object}")
}

/// Writes a userland as a tree, `depth` levels of it.
pub fn tree(tree: &Root, depth: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut result = Ok(());
    let mut level = paths::Levels::default();
    paths::walk(tree, |path, _, id| {
        let level = level.of(path);
        if result.is_ok() && level <= depth {
            result = writeln!(out, "{}", line(' ', path, level, tree.inode(id)));
        }
        result.is_ok() && level < depth
    });
    result
}

/// Writes what one layer did, `layer` counted from 0: `+` new, `~` changed, `-` taken away. `before` and `after` are
/// the userland without and with it. A directory that is gone stands for what was in it.
pub fn layer(before: &Root, after: &Root, layer: u32, out: &mut dyn Write) -> io::Result<()> {
    let mut lines: Vec<(Vec<u8>, String)> = Vec::new();
    paths::walk(after, |path, made_by, id| {
        let inode = after.inode(id);
        let old = paths::exact(before, path);
        let same = |old: InodeId| {
            let old = before.inode(old);
            inode.is_directory() && old.is_directory() && old.attrs == inode.attrs
        };
        match old {
            _ if made_by != layer || path == b"/" => {}
            None => lines.push((key(path), line('+', path, 0, inode))),
            Some(old) if !same(old) => lines.push((key(path), line('~', path, 0, inode))),
            Some(_) => {}
        }
        true
    });
    paths::walk(before, |path, _, id| {
        let gone = paths::exact(after, path).is_none();
        if gone {
            lines.push((key(path), line('-', path, 0, before.inode(id))));
        }
        !gone
    });
    lines.sort();
    lines.iter().try_for_each(|(_, line)| writeln!(out, "{line}"))
}

/// The order of a walk: each directory before what is in it.
fn key(path: &[u8]) -> Vec<u8> {
    path.iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect()
}

/// `+ -rw-r--r--    0:0      1.2 KiB  name`. In a tree the name stands below its directory; at level 0 it is the path.
fn line<B>(mark: char, path: &[u8], level: usize, inode: &Inode<B>) -> String {
    let bytes = match &inode.kind {
        Kind::File { size: bytes, .. } => size(*bytes),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => format!("{major},{minor}"),
        _ => "-".to_owned(),
    };
    let slash = if inode.is_directory() && path != b"/" { "/" } else { "" };
    let target = match &inode.kind {
        Kind::Symlink(target) => format!(" -> {}", escape(target)),
        _ => String::new(),
    };
    let name = if level == 0 { escape(path) } else { escape(file_name(path)) };
    let owner = format!("{}:{}", inode.attrs.uid, inode.attrs.gid);
    let indent = " ".repeat(2 * level.min(INDENTED));
    format!("{mark} {} {owner:>9} {bytes:>10}  {indent}{name}{slash}{target}", mode(inode))
}

/// The ten characters of ls(1).
fn mode<B>(inode: &Inode<B>) -> String {
    let kind = match inode.kind {
        Kind::Directory(_) => 'd',
        Kind::File { .. } => '-',
        Kind::Symlink(_) => 'l',
        Kind::CharDevice { .. } => 'c',
        Kind::BlockDevice { .. } => 'b',
        Kind::Fifo => 'p',
    };
    let bits = inode.attrs.mode;
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let of = bits >> shift;
        text.push(if of & 4 != 0 { 'r' } else { '-' });
        text.push(if of & 2 != 0 { 'w' } else { '-' });
        text.push(match (of & 1 != 0, bits & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// An empty userland, which is what is below the lowest layer.
pub fn nothing() -> Root {
    Tree::new(crate::flatten::implied_directory())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::paths::tests::tree as made;

    fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_tree_is_indented_and_cut_at_its_depth() {
        let tree = made::<Body>(&["a/", "a/b/", "a/b/c", "l -> a"]);
        let shown = text(|out| super::tree(&tree, 2, out));
        let names: Vec<&str> = shown.lines().map(|line| &line[35..]).collect();
        assert_eq!(names, ["/", "  a/", "    b/", "  l -> a"], "{shown}");
    }

    #[test]
    fn a_tree_of_any_depth_is_written_in_little_room() {
        let levels = 40_000;
        let mut tree = made::<Body>(&[]);
        let mut directory = Root::ROOT;
        for _ in 0..levels {
            let attrs = crate::rootfs::Attrs::default();
            directory = tree.insert(directory, b"d", attrs, Kind::directory(), 0).unwrap();
        }
        assert_eq!(paths::deepest(&tree), levels);
        let shown = text(|out| super::tree(&tree, usize::MAX, out));
        assert_eq!(shown.lines().count(), levels + 1);
        assert!(shown.len() < levels * 200, "{} bytes", shown.len());
    }

    #[test]
    fn a_layer_is_what_came_what_changed_and_what_went() {
        let before = made::<Body>(&["gone/", "gone/x", "kept", "new/"]);
        let mut after = made::<Body>(&["new/"]);
        for name in ["kept", "more"] {
            let kind = Kind::File { size: 1, body: Body::default() };
            after.insert(Root::ROOT, name.as_bytes(), crate::rootfs::Attrs::default(), kind, 1).unwrap();
        }
        let shown = text(|out| super::layer(&before, &after, 1, out));
        let marks: Vec<(&str, &str)> =
            shown.lines().map(|line| (&line[..1], line.rsplit(' ').next().unwrap())).collect();
        assert_eq!(marks, [("-", "/gone/"), ("~", "/kept"), ("+", "/more")]);
    }

    #[test]
    fn names_are_safe_in_both_forms() {
        let tree = made::<Body>(&["a b\n#"]);
        assert!(text(|out| files(&tree, Form::Mtree, out)).contains("./a\\040b\\012\\043 type=file size=0"));
        let lines = text(|out| files(&tree, Form::JsonLines, out));
        let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(last["path"], "/a b\\n#");
    }
}
