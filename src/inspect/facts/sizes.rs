//! Where a userland's bytes are: the largest directories, three levels deep.

use super::shown;
use crate::contents::paths::file_name;
use crate::inspect::model::Size;

/// Levels below the root.
const DEPTH: usize = 3;
/// Children kept at each level, of the root first.
const KEPT: [usize; DEPTH] = [16, 8, 6];
/// Children collected before the small ones are dropped.
const COLLECTED: usize = 2048;
/// A child is kept if it has this share of all bytes, as a divisor.
const SHARE: u64 = 400;

/// Adds up bytes while paths come in the order of a walk.
#[derive(Default)]
pub struct Sizes {
    /// The root, and directories on the way to what came last.
    open: Vec<Size>,
}

impl Sizes {
    /// The next path of the walk, with the bytes it has itself.
    pub fn add(&mut self, path: &[u8], bytes: u64) {
        // No more is counted than makes a difference: a path may have hundreds of thousands of levels.
        let slashes = path.iter().filter(|&&byte| byte == b'/').take(DEPTH + 1).count();
        let depth = if path == b"/" { 0 } else { slashes };
        if depth > DEPTH {
            if let Some(size) = self.open.get_mut(DEPTH) {
                size.bytes += bytes;
                size.names += 1;
            }
            return;
        }
        self.close(depth);
        let name = if depth == 0 { "/".to_owned() } else { shown(file_name(path)) };
        self.open.push(Size { name, bytes, names: 0, children: Vec::new() });
    }

    /// Puts what is open from `depth` on into what it is in.
    fn close(&mut self, depth: usize) {
        while self.open.len() > depth.max(1) {
            let Some(mut child) = self.open.pop() else { return };
            let level = self.open.len();
            prune(&mut child, KEPT.get(level).copied().unwrap_or(0));
            let Some(parent) = self.open.last_mut() else { return };
            parent.bytes += child.bytes;
            parent.names += child.names + 1;
            if child.bytes > 0 {
                parent.children.push(child);
            }
            if parent.children.len() > COLLECTED {
                prune(parent, KEPT[level - 1]);
            }
        }
    }

    /// The root.
    pub fn finish(mut self) -> Size {
        self.close(0);
        let mut root = self.open.pop().unwrap_or_default();
        prune(&mut root, KEPT[0]);
        let least = root.bytes / SHARE;
        drop_small(&mut root, least);
        root
    }
}

/// Keeps the largest children; of equals the first by name.
fn prune(size: &mut Size, keep: usize) {
    size.children.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    size.children.truncate(keep);
}

/// As deep as [`DEPTH`].
fn drop_small(size: &mut Size, least: u64) {
    size.children.retain(|child| child.bytes >= least);
    size.children.iter_mut().for_each(|child| drop_small(child, least));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_add_up_to_the_root() {
        let mut sizes = Sizes::default();
        for (path, bytes) in
            [("/", 0), ("/a", 0), ("/a/b", 0), ("/a/b/c", 0), ("/a/b/c/d", 70), ("/a/b/x", 5), ("/z", 25)]
        {
            sizes.add(path.as_bytes(), bytes);
        }
        let root = sizes.finish();
        assert_eq!((root.name.as_str(), root.bytes, root.names), ("/", 100, 6));
        let a = &root.children[0];
        assert_eq!((a.name.as_str(), a.bytes, a.names), ("a", 75, 4));
        assert_eq!(a.children[0].children[0].bytes, 70);
        assert_eq!(root.children[1].name, "z");
    }

    #[test]
    fn a_directory_of_many_is_no_burden() {
        let mut sizes = Sizes::default();
        sizes.add(b"/", 0);
        for i in 0..10_000u64 {
            sizes.add(format!("/f{i:05}").as_bytes(), i);
            assert!(sizes.open[0].children.len() <= COLLECTED);
        }
        let root = sizes.finish();
        assert_eq!(root.bytes, (0..10_000).sum::<u64>());
        assert!(root.children.len() <= KEPT[0]);
    }
}
