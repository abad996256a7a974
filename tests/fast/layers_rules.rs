//! The rules of applying layers, one row a rule: layers in shorthand, lowest first, and the tree they make.

use crate::support::layers::{Member, Merged, archive, layer, merge, merge_short, short};
use bootdisk::flatten::{Limits, Refusal};
use bootdisk::layer::WarningKind;

/// What a row expects.
enum Expect {
    /// This tree, no warnings.
    Tree(&'static str),
    /// This tree and warnings of this kind, and no others.
    Warned(&'static str, WarningKind),
    /// A refusal with this in its message.
    Refused(&'static str),
}
use Expect::{Refused, Tree, Warned};

const ROWS: &[(&str, &[&str], Expect)] = &[
    // Whiteouts and opaque markers.
    ("L01", &["a/ a/f=1 a/g=2", "a/.wh.f"], Tree("a/ a/g=2")),
    ("L02", &["a/ a/f=old", "a/f=new a/.wh.f"], Tree("a/ a/f=new")),
    ("L02 whiteout first", &["a/ a/f=old", "a/.wh.f a/f=new"], Tree("a/ a/f=new")),
    ("L02 in one layer only", &["a/ a/f=new a/.wh.f"], Tree("a/ a/f=new")),
    ("L03", &["a/ a/x a/d/ a/d/y", "a/.wh..wh..opq a/new"], Tree("a/ a/new")),
    ("L04", &["a/ a/x a/d/ a/d/y", "a/new a/d/z a/.wh..wh..opq"], Tree("a/ a/d/ a/d/z a/new")),
    ("L05", &["a/ a/x=old a/y", "a/x=new a/.wh..wh..opq"], Tree("a/ a/x=new")),
    ("L06", &["a/ a/f", "a/.wh."], Refused("a whiteout of no name")),
    ("L07", &["a/ a/f", "a/.wh.."], Refused("a whiteout of no name")),
    ("L08", &["a/ a/f", ".wh..."], Refused("a whiteout of no name")),
    ("L08 in a directory", &["a/ a/f", "a/.wh..."], Refused("a whiteout of no name")),
    ("L09", &["a", "zz/.wh.q"], Tree("a")),
    ("L09 opaque", &["a", "zz/.wh..wh..opq"], Tree("a")),
    ("L09 listed", &["a", "zz/ zz/.wh.q"], Tree("a zz/")),
    ("L09 below a file", &["a=1", "a/.wh.q a/b/.wh.q"], Tree("a=1")),
    ("L10", &["d/ d/old", ".wh.d d/ d/new"], Tree("d/ d/new")),
    ("L11", &["d/ d/old", "d/ d/new .wh.d"], Tree("d/ d/new")),
    ("L11 not listed", &["d/ d/old d/e/ d/e/old", "d/e/new .wh.d"], Tree("d/ d/e/ d/e/new")),
    ("L11 twice", &["d/ d/old d/e/ d/e/old", "d/e/new .wh.d .wh.d d/.wh.e"], Tree("d/ d/e/ d/e/new")),
    ("opaque, then the directory itself", &["d/ d/old", "d/.wh..wh..opq .wh.d"], Tree("")),
    ("opaque, then the directory, with new", &["d/ d/old", "d/.wh..wh..opq d/new .wh.d"], Tree("d/ d/new")),
    ("opaque root", &["a/ a/x b", ".wh..wh..opq a/y"], Tree("a/ a/y")),
    ("opaque root last", &["a/ a/x b", "a/y .wh..wh..opq"], Tree("a/ a/y")),
    ("nested opaque, inside first", &["a/ a/b/ a/b/x", "a/b/y a/b/.wh..wh..opq a/.wh..wh..opq"], Tree("a/ a/b/ a/b/y")),
    ("opaque over hard links", &["a/ a/x=1 b:=a/x", "a/.wh..wh..opq"], Tree("a/ b=1")),
    // Replacing.
    ("L12", &["p=1", "p/ p/q"], Tree("p/ p/q")),
    ("L13", &["p=1", "p/q"], Tree("p/ p/q")),
    ("L13 deeper", &["p=1", "p/q/r"], Tree("p/ p/q/ p/q/r")),
    ("L14", &["p/ p/q", "p=1"], Tree("p=1")),
    ("L15", &["p/ p/q t/", "p->t"], Tree("p->t t/")),
    ("L16", &["t/ t/f lib->t", "lib/ lib/g"], Tree("lib/ lib/g t/ t/f")),
    ("L17", &["usr/ usr/lib/ lib->usr/lib", "lib/g"], Tree("lib->usr/lib usr/ usr/lib/ usr/lib/g")),
    ("L18", &["var/ var/run->/run", "var/run/a/b"], Tree("run/ run/a/ run/a/b var/ var/run->/run")),
    ("a link to a file is no directory", &["f=1 s->f", "s/x"], Refused("does not lead to a directory")),
    ("links that lead through missing names", &["s->no/../t", "s/x"], Tree("s->no/../t t/ t/x")),
    ("links that go above the root", &["d/ d/s->../../../../t", "d/s/x"], Tree("d/ d/s->../../../../t t/ t/x")),
    // Hard links.
    ("L19", &["a=1", "b:=a"], Tree("a=1 b:=a")),
    ("L20", &["a=1 b:=a", "a=B"], Tree("a=B b=1")),
    ("L21", &["h:=t t=1"], Refused("a hard link to a missing file: t")),
    ("L22", &["h:=missing"], Refused("a hard link to a missing file: missing")),
    ("L23 itself", &["h:=h"], Refused("a hard link to a missing file: h")),
    ("L23 itself, from below", &["h=1", "h:=h"], Refused("a hard link to itself")),
    ("L23 cycle", &["h1:=h2 h2:=h1"], Refused("a hard link to a missing file: h2")),
    ("L24", &["d/ h:=d"], Refused("a hard link to a directory: d")),
    ("L24 root", &["h:=/"], Refused("a hard link to a directory: /")),
    ("L25", &["s->t h:=s"], Tree("h->t s:=h")),
    ("L26", &["a=1", ".wh.a b:=a"], Refused("a hard link to a missing file: a")),
    ("L26 link first", &["a=1", "b:=a .wh.a"], Tree("b=1")),
    ("L28", &["etc/ etc/passwd=x a/ a/b:=../../etc/passwd"], Tree("a/ a/b=x etc/ etc/passwd:=a/b")),
    ("L28 absolute", &["etc/ etc/passwd=x b:=/etc/passwd"], Tree("b=x etc/ etc/passwd:=b")),
    ("the same link again", &["a=1 b:=a", "b:=a"], Tree("a=1 b:=a")),
    ("a group written again", &["a=1 b:=a c:=a", "a=2 b:=a"], Tree("a=2 b:=a c=1")),
    ("a link takes the directory of its target", &["d/ d/t", "d:=d/t"], Refused("missing file: d/t")),
    ("a link's parent takes the target", &["t=1", "t/x:=t"], Refused("a hard link to a directory: t")),
    // Duplicates.
    ("L29", &["a=1 a=2"], Warned("a=2", WarningKind::Duplicate)),
    ("L30", &["etc/ etc/passwd=x a->/etc/passwd a=1"], Warned("a=1 etc/ etc/passwd=x", WarningKind::Duplicate)),
    ("L31", &["a=1 a/ a/b"], Warned("a/ a/b", WarningKind::Duplicate)),
    ("L31 implied", &["a=1 a/b"], Warned("a/ a/b", WarningKind::Duplicate)),
    // Names.
    ("L32", &["../evil"], Refused("path leaves the image")),
    ("L32 absolute", &["/../evil"], Refused("path leaves the image")),
    ("L32 later", &["x/../../evil"], Refused("path leaves the image")),
    ("L33", &["/abs ./a .//b x/../y ..gitme"], Tree("..gitme a abs b y")),
    ("L34", &["l1->l2 l2->l1", "l1/f"], Refused("more than 255 symbolic links")),
    ("L34 whiteout", &["l1->l2 l2->l1", "l1/.wh.f"], Refused("more than 255 symbolic links")),
    ("L34 itself", &["l->l/l", "l/f"], Refused("more than 255 symbolic links")),
    ("L36 link", &["./->etc"], Refused("the root of the image must be a directory")),
    ("L36 file", &[".=x"], Refused("the root of the image must be a directory")),
    ("L36 other spellings", &["a/..=x"], Refused("the root of the image must be a directory")),
    ("L36 hard link", &["a /:=a"], Refused("the root of the image must be a directory")),
    ("L38", &[".wh.d/f=1"], Warned(".wh.d/ .wh.d/f=1", WarningKind::WhiteoutDirectory)),
    ("L39", &["d/ d/f a", ".wh.d/"], Tree("a")),
    ("whiteout as a link", &["a b", ".wh.a->x"], Warned("b", WarningKind::WhiteoutType)),
    ("L40", &["t/ t/f s->t", "s/.wh.f"], Tree("s->t t/")),
    ("L43 empty", &["etc/ ->etc", "a"], Warned("a etc/", WarningKind::RootLink)),
    ("L43 parent", &["etc/ ..->etc", "a"], Warned("a etc/", WarningKind::RootLink)),
    ("L43 below", &["etc/ sub/..->etc"], Refused("the root of the image must be a directory")),
    ("L43 below another", &["etc/ a/sub/..->/etc", "a/f"], Tree("a->/etc etc/ etc/f")),
    ("L48", &["lost+found/ lost+found/x=1"], Tree("lost+found/ lost+found/x=1")),
    ("L48 link", &["lost+found->x"], Tree("lost+found->x")),
];

#[test]
fn every_row() {
    for (id, layers, expect) in ROWS {
        use WarningKind::{DeletedAndThere, OpaqueRoot, ThroughLowerLink};
        // Where runtimes differ has a table of its own.
        let differ = [DeletedAndThere, OpaqueRoot, ThroughLowerLink];
        let merged = merge_short(layers);
        match (merged, expect) {
            (Ok(merged), Tree(tree)) => {
                assert_eq!(merged.short(), *tree, "{id}");
                let odd = merged.warnings.iter().any(|(kind, ..)| !differ.contains(&kind));
                assert!(!odd, "{id}: {}", merged.warnings);
            }
            (Ok(merged), Warned(tree, kind)) => {
                assert_eq!(merged.short(), *tree, "{id}");
                let kinds = merged.warnings.iter().map(|(kind, ..)| kind);
                let kinds: Vec<_> = kinds.filter(|kind| !differ.contains(kind)).collect();
                assert_eq!(kinds, [*kind], "{id}: {}", merged.warnings);
            }
            (Err(message), Refused(part)) => assert!(message.contains(part), "{id}: {message}"),
            (Ok(merged), Refused(part)) => panic!("{id}: {} instead of {part:?}", merged.short()),
            (Err(message), _) => panic!("{id}: {message}"),
        }
    }
}

/// Where a whiteout stands in its layer makes no difference: every order of these members gives one tree.
#[test]
fn l11_markers_commute_with_what_their_layer_has() {
    let lower = layer("d/ d/old d/e/ d/e/old d/e/f/ d/e/f/old x=old");
    let members = ["d/e/new", "d/e/f/new", ".wh.d", "d/.wh..wh..opq", "d/e/.wh..wh..opq", "x=new", ".wh.x"];
    let mut trees = std::collections::BTreeSet::new();
    for seed in 0..500u64 {
        let mut shuffled: Vec<_> = members.to_vec();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        let merged = merge(&[lower.clone(), layer(&shuffled.join(" "))]).unwrap();
        let mut lines: Vec<_> = merged.dump().lines().map(str::to_owned).collect();
        lines.sort();
        trees.insert(lines.join("\n"));
    }
    assert_eq!(trees.len(), 1, "{trees:#?}");
    let tree = trees.first().unwrap();
    for path in ["/d ", "/d/e ", "/d/e/f ", "/d/e/new ", "/d/e/f/new ", "/x "] {
        assert!(tree.contains(path), "{path}: {tree}");
    }
    assert!(!tree.contains("old"), "{tree}");
}

#[test]
fn l27_a_hard_link_entry_changes_nothing_of_its_target() {
    let lower = archive(&[Member::file("a", "1").mode(0o4755).owner(5, 6).mtime(77)]);
    let link = Member::hard_link("b", "a").mode(0o600).owner(1, 2).mtime(9).record("SCHILY.xattr.user.a", "b");
    let merged = merge(&[lower.clone(), archive(&[link])]).unwrap();
    assert_eq!(merged.attrs("b"), merge(&[lower]).unwrap().attrs("a"));
    assert_eq!(merged.tree.inode(merged.lookup("a")).names(), 2);
}

#[test]
fn l35_chains_of_symbolic_links() {
    for (links, works) in [(40, true), (255, true), (300, false)] {
        let mut members = vec![Member::dir("s0")];
        members.extend((1..=links).map(|i| Member::symlink(format!("s{i}"), format!("s{}", i - 1))));
        let upper = archive(&[Member::file(format!("s{links}/f"), "x")]);
        let merged = merge(&[archive(&members), upper]);
        assert_eq!(merged.is_ok(), works, "{links}");
        if let Ok(merged) = merged {
            merged.lookup("s0/f");
        }
    }
}

#[test]
fn l37_aufs_bookkeeping_is_dropped_and_its_links_are_kept() {
    let lower = layer("old=1");
    let upper = layer(
        ".wh..wh.aufs .wh..wh.orph/ .wh..wh.orph/x=2 .wh..wh.plnk/ .wh..wh.plnk/1.2=data \
         a:=.wh..wh.plnk/1.2 d/ d/b:=.wh..wh.plnk/1.2 .wh.old",
    );
    let merged = merge(&[lower, upper]).unwrap();
    assert_eq!(merged.short(), "a=data d/ d/b:=a");
    assert_eq!(merged.warnings.count(WarningKind::Aufs), 4, "{}", merged.warnings);
    assert_eq!(merged.tree.inode(merged.lookup("a")).names(), 2);
    // The next layer does not find them any more.
    let next = merge(&[layer(".wh..wh.plnk/1.2=data"), layer("a:=.wh..wh.plnk/1.2")]);
    assert!(next.is_err_and(|e| e.to_string().contains("missing file")));
    // Names that only look alike are dropped like the rest.
    assert_eq!(merge_short(&[".wh..wh.plnkx/f=1 a=1"]).unwrap().short(), "a=1");
    assert_eq!(merge_short(&["a/ a/.wh..wh.x=1"]).unwrap().short(), "a/");
}

#[test]
fn l41_a_directory_over_a_directory_replaces_its_attributes() {
    let lower = [
        Member::dir("d").mode(0o700).owner(1, 2).mtime(5).record("SCHILY.xattr.user.a", "b"),
        Member::file("d/child", "1"),
    ];
    let upper = [Member::dir("d").mode(0o755).owner(3, 4).mtime(6)];
    let merged = merge(&[archive(&lower), archive(&upper)]).unwrap();
    let attrs = merged.attrs("d");
    assert_eq!((attrs.mode, attrs.uid, attrs.gid, attrs.mtime.secs), (0o755, 3, 4, 6));
    assert_eq!(attrs.xattrs, None);
    assert_eq!(merged.short(), "d/ d/child=1");
}

#[test]
fn l42_whiteouts_do_not_touch_their_parent() {
    let lower = archive(&[Member::dir("d").mode(0o711).mtime(1234), short("d/a"), short("d/b/"), short("d/b/c")]);
    for upper in ["d/.wh.a", "d/.wh.b", "d/.wh..wh..opq"] {
        let merged = merge(&[lower.clone(), layer(upper)]).unwrap();
        assert_eq!((merged.attrs("d").mode, merged.attrs("d").mtime.secs), (0o711, 1234), "{upper}");
    }
}

#[test]
fn implied_directories_and_the_root() {
    let merged = merge_short(&["a/b/c=1"]).unwrap();
    for path in ["", "a", "a/b"] {
        let attrs = merged.attrs(path);
        assert_eq!((attrs.mode, attrs.uid, attrs.gid, attrs.mtime.secs), (0o755, 0, 0, 0), "{path:?}");
    }
}

#[test]
fn the_root_directory_is_0755_and_roots_whatever_a_layer_says_and_a_warning_tells_what_it_said() {
    for (entry, said) in [
        (Member::dir("./").mode(0o755), None),
        (Member::dir("./").mode(0o700), Some("0700 0:0")),
        (Member::dir("/").mode(0o755).owner(1000, 1000), Some("0755 1000:1000")),
        (Member::dir(".").mode(0o1777).record("SCHILY.xattr.user.a", "b"), Some("1777 0:0, extended attributes")),
        (Member::dir("x/..").mode(0), Some("0000 0:0")),
    ] {
        for place in 0..3 {
            let mut layers = vec![layer("a"), layer("b")];
            layers.insert(place, archive(&[entry.clone().mtime(9)]));
            let merged = merge(&layers).unwrap();
            let attrs = merged.attrs("");
            assert_eq!((attrs.mode, attrs.uid, attrs.gid, attrs.mtime.secs), (0o755, 0, 0, 9), "{said:?}");
            assert!(attrs.xattrs.is_none());
            let warned: Vec<String> = merged.warnings.iter().flat_map(|(_, _, texts)| texts.to_vec()).collect();
            assert_eq!(warned, said.map(str::to_owned).into_iter().collect::<Vec<_>>());
            assert_eq!(merged.short(), "a b");
        }
    }
}

#[test]
fn overlay_bookkeeping_is_kept_with_a_warning() {
    let members =
        [Member::device(b'3', "gone", 0, 0), Member::dir("d").record("SCHILY.xattr.trusted.overlay.opaque", "y")];
    let merged = merge(&[archive(&members)]).unwrap();
    assert_eq!(merged.short(), "d/ gonec0:0");
    assert_eq!(merged.warnings.count(WarningKind::Overlay), 2);
    assert!(merged.attrs("d").xattrs.is_some());
}

#[test]
fn replaced_and_hidden_bodies_are_given_back() {
    let mut merged = Merged::new();
    let limits = Limits::default();
    merged.add(&layer("a=1 b/ b/c=2 b/d=3 e=4 f:=e"), &limits).unwrap();
    assert_eq!(merged.sink.live(), 4);
    merged.add(&layer("a=9 .wh.b .wh.e"), &limits).unwrap();
    assert_eq!(merged.short(), "a=9 f=4");
    merged.add(&layer(".wh.f .wh.a"), &limits).unwrap();
    assert_eq!((merged.sink.live(), merged.tree.file_bytes(), merged.tree.text_bytes()), (0, 0, 0));
    assert_eq!((merged.tree.inode_count(), merged.tree.entry_count()), (1, 0));
}

#[test]
fn limits_are_refusals_with_a_place() {
    let refused = |layers: &[&str], limits: Limits| {
        let mut merged = Merged::new();
        let error = layers.iter().find_map(|text| merged.add(&layer(text), &limits).err()).expect("it is refused");
        assert!(error.is_limit(), "{error}");
        error.to_string()
    };
    let limits = Limits::default;
    let message = refused(&["a b", "c/d"], Limits { names: 3, ..limits() });
    assert_eq!(message, "entry \"c/d\" at byte 0: more files than the limit of 3");
    refused(&["a=12345"], Limits { file_bytes: 4, ..limits() });
    refused(&["abcdef"], Limits { text_bytes: 5, ..limits() });
    refused(&["a->12345"], Limits { text_bytes: 5, ..limits() });
    refused(&["a=1 b:=a c:=a"], Limits { links: 2, ..limits() });
    refused(&["s->a/b/c/d", "s/f s/g/h"], Limits { link_steps: 5, ..limits() });
    // What a layer took away counts no more.
    let mut merged = Merged::new();
    for text in ["a=12345 b", ".wh.a", "c=12345", "c=54321"] {
        merged.add(&layer(text), &Limits { file_bytes: 5, names: 3, text_bytes: 4, ..limits() }).unwrap();
    }
}

#[test]
fn b10_sizes_that_sum_above_64_bits_are_refused() {
    let mut limits = Limits { file_bytes: u64::MAX, ..Limits::default() };
    limits.layer.file_bytes = u64::MAX;
    let sparse = |name: &str| {
        let member = Member::file(name, "");
        member
            .record("GNU.sparse.size", (1u64 << 63).to_string())
            .record("GNU.sparse.numblocks", "1")
            .record("GNU.sparse.map", "0,0")
    };
    let mut merged = Merged::new();
    let error = merged.add(&archive(&[sparse("a"), sparse("b")]), &limits).unwrap_err();
    assert!(error.is_limit() && error.to_string().contains("entry \"b\""), "{error}");
}

#[test]
fn a_full_disk_is_an_error_with_the_file_in_it() {
    let mut merged = Merged::new();
    merged.sink.capacity = Some(4);
    let error = merged.add(&layer("a=123 b=456"), &Limits::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("entry \"b\" at byte ") && text.ends_with("cannot store the file's data"), "{text}");
    assert!(std::error::Error::source(&error).is_some_and(|e| e.to_string().contains("storage")), "{error:?}");
    assert_eq!(merged.sink.abandoned, 1);
}

#[test]
fn messages_escape_what_the_image_says() {
    let error = merge(&[archive(&[Member::hard_link("a\x1b[2J", b"b\n\xff")])]).err().unwrap();
    assert!(!error.to_string().contains(['\x1b', '\n']), "{error}");
    assert!(matches!(error, bootdisk::flatten::ApplyError::Refused { refusal: Refusal::LinkTargetMissing(_), .. }));
}

#[test]
fn where_a_merge_differs_from_dockers_a_warning_names_the_path() {
    use WarningKind::{DeletedAndThere, OpaqueRoot, ThroughLowerLink};
    for (layers, kind, named) in [
        (&["usr/ usr/lib/ lib->usr/lib", "lib/x=1"][..], Some(ThroughLowerLink), "lib"),
        (&["usr/ usr/lib/ lib->usr/lib lib/x=1"], None, ""),
        (&["usr/ usr/lib/ lib->usr/lib", "lib/ lib/x=1"], None, ""),
        (&["usr/ usr/lib/", "lib->usr/lib lib/x=1"], None, ""),
        (&["a->b b/ b/c/", "a/c/x=1"], Some(ThroughLowerLink), "a/c"),
        (&["x/ x/y=1", ".wh.x x/ x/z=1"], Some(DeletedAndThere), "x"),
        (&["x/ x/y=1", "x/ x/z=1 .wh.x"], Some(DeletedAndThere), ".wh.x"),
        (&["d/ d/x/ d/x/y=1", "d/ d/.wh.x d/x/"], Some(DeletedAndThere), "d/x"),
        (&["x/ x/y=1", "x/z=1 .wh.x"], Some(DeletedAndThere), ".wh.x"),
        (&["x/ x/y=1", ".wh.x x/z=1"], Some(DeletedAndThere), "x"),
        (&["x/ x/y=1", ".wh.x x=1"], None, ""),
        (&["x=1", ".wh.x x/"], None, ""),
        (&["x/ x/y=1", ".wh.x"], None, ""),
        (&["x=1", ".wh..wh..opq y=1"], Some(OpaqueRoot), ".wh..wh..opq"),
        (&["", ".wh..wh..opq y=1"], None, ""),
        (&["d/ d/x=1", "d/.wh..wh..opq d/y=1"], None, ""),
    ] {
        let layers: Vec<Vec<u8>> = layers.iter().map(|text| layer(text)).collect();
        let merged = merge(&layers).unwrap();
        let warned: Vec<_> = merged.warnings.iter().map(|(kind, _, paths)| (kind, paths.join(" "))).collect();
        let expected: Vec<_> = kind.map(|kind| (kind, named.trim_end_matches('/').to_owned())).into_iter().collect();
        let warned: Vec<_> =
            warned.into_iter().map(|(kind, path)| (kind, path.trim_end_matches('/').to_owned())).collect();
        assert_eq!(warned, expected, "{}", merged.short());
    }
}
