//! Other tools' cases, row by row: containerd's breakouts (L44), go-archive's stack of whiteouts (L45), umoci's
//! opaque markers (L46). Layers are in shorthand, lowest first; `E` is a directory `etc` with a file `passwd`.

use crate::support::layers::{Member, archive, layer, merge, merge_short};

const E: &str = "etc/ etc/passwd=inside";

/// Name, lower layer, upper layer, and the tree; no tree is a refusal as a bad whiteout.
type Case = (&'static str, &'static str, &'static str, Option<&'static str>);

/// containerd's `TestBreakouts`. Where it looks at single paths, the whole tree is given here.
const BREAKOUTS: [Case; 34] = [
    ("SymlinkAbsolute", "", "etc/ localetc->/etc /localetc/unbroken=x", Some("etc/ etc/unbroken=x localetc->/etc")),
    (
        "SymlinkUpAndOut",
        "",
        "etc/ dummy/ localetc->/dummy/../etc /localetc/unbroken=x",
        Some("dummy/ etc/ etc/unbroken=x localetc->/dummy/../etc"),
    ),
    (
        "SymlinkMultipleAbsolute",
        "",
        "etc/ dummy/ /dummy/etc->/etc localetc->/dummy/etc /dummy/etc/unbroken=x",
        Some("dummy/ dummy/etc->/etc etc/ etc/unbroken=x localetc->/dummy/etc"),
    ),
    (
        "SymlinkMultipleRelative",
        "",
        "etc/ dummy/ /dummy/etc->/etc localetc->./dummy/etc /dummy/etc/unbroken=x",
        Some("dummy/ dummy/etc->/etc etc/ etc/unbroken=x localetc->./dummy/etc"),
    ),
    (
        "SymlinkEmptyFile",
        "",
        "etc/ etc/emptied=notempty localetc->/etc /localetc/emptied",
        Some("etc/ etc/emptied localetc->/etc"),
    ),
    (
        "HardlinkRelative",
        "",
        "E breakouts/ breakouts/d1->../../etc breakouts/mypasswd:=/breakouts/d1/passwd",
        Some("breakouts/ breakouts/d1->../../etc breakouts/mypasswd=inside etc/ etc/passwd:=breakouts/mypasswd"),
    ),
    (
        "HardlinkDownAndOut",
        "",
        "E breakouts/ downandout/ breakouts/d1->../downandout/../../etc breakouts/mypasswd:=/breakouts/d1/passwd",
        Some(
            "breakouts/ breakouts/d1->../downandout/../../etc breakouts/mypasswd=inside downandout/ \
             etc/ etc/passwd:=breakouts/mypasswd",
        ),
    ),
    (
        "HardlinkAbsolute",
        "",
        "E localetc->/etc localpasswd:=/localetc/passwd",
        Some("etc/ etc/passwd=inside localetc->/etc localpasswd:=etc/passwd"),
    ),
    (
        "HardlinkRelativeLong",
        "",
        "E localetc->../../../../../../../etc localpasswd:=/localetc/passwd",
        Some("etc/ etc/passwd=inside localetc->../../../../../../../etc localpasswd:=etc/passwd"),
    ),
    (
        "HardlinkRelativeUpAndOut",
        "",
        "E localetc->upandout/../../../etc localpasswd:=/localetc/passwd",
        Some("etc/ etc/passwd=inside localetc->upandout/../../../etc localpasswd:=etc/passwd"),
    ),
    (
        "HardlinkDirectRelative",
        "",
        "E localpasswd:=../../../../../etc/passwd",
        Some("etc/ etc/passwd=inside localpasswd:=etc/passwd"),
    ),
    (
        "HardlinkDirectAbsolute",
        "",
        "E localpasswd:=/etc/passwd",
        Some("etc/ etc/passwd=inside localpasswd:=etc/passwd"),
    ),
    (
        "SymlinkParentDirectory",
        "",
        "E ..->/etc/ localpasswd:=/etc/passwd",
        Some("etc/ etc/passwd=inside localpasswd:=etc/passwd"),
    ),
    (
        "SymlinkEmptyFilename",
        "",
        "E ->/etc/ localpasswd:=/etc/passwd",
        Some("etc/ etc/passwd=inside localpasswd:=etc/passwd"),
    ),
    (
        "SymlinkParentRelative",
        "",
        "E localetc/ localetc/sub/..->/etc/ /localetc/localpasswd:=/etc/passwd",
        Some("etc/ etc/localpasswd=inside etc/passwd:=etc/localpasswd localetc->/etc/"),
    ),
    (
        "SymlinkSlashEnded",
        "",
        "E localetc/ /localetc/localpasswd:=/etc/passwd",
        Some("etc/ etc/passwd=inside localetc/ localetc/localpasswd:=etc/passwd"),
    ),
    (
        "SymlinkOverrideDirectory",
        "E localetc/",
        "localetc->/etc /localetc/localpasswd:=/etc/passwd",
        Some("etc/ etc/localpasswd=inside etc/passwd:=etc/localpasswd localetc->/etc"),
    ),
    (
        "SymlinkOverrideDirectoryRelative",
        "E localetc/",
        "localetc->../../etc /localetc/localpasswd:=/etc/passwd",
        Some("etc/ etc/localpasswd=inside etc/passwd:=etc/localpasswd localetc->../../etc"),
    ),
    (
        "DirectoryOverrideSymlink",
        "E localetc->/etc",
        "/localetc/ /localetc/localpasswd:=/etc/passwd",
        Some("etc/ etc/passwd=inside localetc/ localetc/localpasswd:=etc/passwd"),
    ),
    (
        "DirectoryOverrideSymlinkAndHardlink",
        "E localetc->/etc localetc/localpasswd:=/etc/passwd",
        "/localetc/ /localetc/localpasswd=other",
        Some("etc/ etc/localpasswd=inside etc/passwd:=etc/localpasswd localetc/ localetc/localpasswd=other"),
    ),
    ("WhiteoutRootParent", "E", ".wh...", None),
    ("WhiteoutParent", "E", "etc/.wh...", None),
    ("WhiteoutRoot", "E", ".wh..", None),
    ("WhiteoutCurrentDirectory", "E", "etc/.wh..", None),
    ("WhiteoutSymlink", "E localetc->/etc", ".wh.localetc", Some(E)),
    (
        "WhiteoutSymlinkPath",
        "E etc/whitedout localetc->/etc",
        "localetc/.wh.whitedout",
        Some("etc/ etc/passwd=inside localetc->/etc"),
    ),
    ("WhiteoutDirectoryName", "E", ".wh.etc/somefile=x", Some(".wh.etc/ .wh.etc/somefile=x etc/ etc/passwd=inside")),
    (
        "WhiteoutDeadSymlinkParent",
        "E localetc->/dne",
        "localetc/.wh.etc",
        Some("etc/ etc/passwd=inside localetc->/dne"),
    ),
    ("WhiteoutRelativePath", "E", "dne/../.wh.etc", Some("")),
    (
        "SymlinkOverridePath",
        "",
        "foo/tmp/x=012 foo->/ foo/tmp/x=345 foo/ foo/tmp/ foo/tmp/x=678",
        Some("foo/ foo/tmp/ foo/tmp/x=678 tmp/ tmp/x=345"),
    ),
    (
        "HardlinkSymlinkBeforeCreateTarget",
        "",
        "etc/ localpasswd->/etc/passwd localpasswd-dup:=localpasswd etc/passwd=after",
        Some("etc/ etc/passwd=after localpasswd->/etc/passwd localpasswd-dup:=localpasswd"),
    ),
    (
        "HardlinkSymlinkRelative",
        "E",
        "passwdlink->../../../etc/passwd localpasswd:=/passwdlink",
        Some("etc/ etc/passwd=inside localpasswd->../../../etc/passwd passwdlink:=localpasswd"),
    ),
    (
        "HardlinkSymlinkAbsolute",
        "E",
        "passwdlink->/etc/passwd localpasswd:=/passwdlink",
        Some("etc/ etc/passwd=inside localpasswd->/etc/passwd passwdlink:=localpasswd"),
    ),
    (
        "HardlinkSymlinkChmod",
        "",
        "localroot->/outside/of/the/image hardlink:=localroot",
        Some("hardlink->/outside/of/the/image localroot:=hardlink"),
    ),
];

#[test]
fn l44_breakouts() {
    for (name, lower, upper, tree) in BREAKOUTS {
        let in_full = |text: &str| text.split(' ').map(|m| if m == "E" { E } else { m }).collect::<Vec<_>>().join(" ");
        match (merge_short(&[&in_full(lower), &in_full(upper)]), tree) {
            (Ok(merged), Some(tree)) => assert_eq!(merged.short(), tree, "{name}"),
            (Err(message), None) => assert!(message.contains("a whiteout of no name"), "{name}: {message}"),
            (Ok(merged), None) => panic!("{name}: {}", merged.short()),
            (Err(message), Some(_)) => panic!("{name}: {message}"),
        }
    }
}

/// A hard link to a symbolic link never reaches what the symbolic link names.
#[test]
fn l44_chmod_through_a_hard_link_to_a_symbolic_link() {
    let members = [
        Member::file("target", "x").mode(0o400),
        Member::symlink("s", "/target"),
        Member::hard_link("h", "s").mode(0o777).owner(1, 1),
    ];
    let merged = merge(&[archive(&members)]).unwrap();
    assert_eq!((merged.attrs("target").mode, merged.attrs("target").uid), (0o400, 0));
    assert_eq!(merged.attrs("h").uid, 0);
}

/// Four layers on top of each other, looked at after each.
#[test]
fn l45_a_stack_of_whiteouts() {
    let base = ".baz bar/ bar/bax bar/bay/ baz foo/ foo/.abc foo/.bcd/ foo/.bcd/a foo/cde/ foo/cde/def foo/cde/efg \
                foo/fgh foobar";
    let steps = [
        (base, base),
        (
            ".bay .wh.baz foo/ foo/.bce foo/.wh..wh..opq foo/cde/ foo/cde/efg",
            ".bay .baz bar/ bar/bax bar/bay/ foo/ foo/.bce foo/cde/ foo/cde/efg foobar",
        ),
        (
            ".bay .wh..baz .wh.foobar foo/ foo/.abc foo/.wh.cde bar/",
            ".bay bar/ bar/bax bar/bay/ foo/ foo/.abc foo/.bce",
        ),
        (".abc .wh..wh..opq foobar", ".abc foobar"),
    ];
    for n in 1..=steps.len() {
        let layers: Vec<_> = steps[..n].iter().map(|(change, _)| *change).collect();
        assert_eq!(merge_short(&layers).unwrap().short(), steps[n - 1].1, "after layer {n}");
    }
}

/// Lower members, upper members, what is left after an opaque marker on top of it all.
const OPAQUE: [(&str, &str, &str, &str); 10] = [
    ("EmptyDir", "", "", ""),
    ("OneLevel", "file=1 fifo|", "link->.. badlink->./nothing", "badlink->./nothing link->.."),
    ("OneLevelNoUpper", "file=1 link->.. badlink->./nothing fifo|", "", ""),
    (
        "TwoLevel",
        "link->.. badlink->./nothing dir/ dir/link->../badlink dir/verybadlink2->/../../../etc/shadow",
        "file=1 dir/ dir/file=2 dir/verybadlink->../../../etc/shadow",
        "dir/ dir/file=2 dir/verybadlink->../../../etc/shadow file=1",
    ),
    (
        "TwoLevelNoUpper",
        "file=1 link->.. badlink->./nothing dir/ dir/file=2 dir/link->../badlink dir/verybadlink->../../../etc/shadow \
         dir/verybadlink2->/../../../etc/shadow",
        "",
        "",
    ),
    (
        "MultiLevel",
        "1link->.. 1a/ 1a/2file=1 1a/2a/ 1a/2a/3a=1 1a/2a/3b=1 1a/2b/ 1a/2b/3b=1 1a/2b/3/ 1a/2b/3/4/ 1b/ 1b/2a=1 \
         1b/2b=1 1b/2/ 1b/2/3=1",
        "1file=1 1a/ 1a/2link->../../../ 1a/2b/ 1a/2b/3a=1",
        "1a/ 1a/2b/ 1a/2b/3a=1 1a/2link->../../../ 1file=1",
    ),
    (
        "MultiLevelNoUpper",
        "1file=1 1link->.. 1a/ 1a/2file=1 1a/2link->../../../ 1a/2a/ 1a/2a/3a=1 1a/2a/3b=1 1a/2b/ 1a/2b/3a=1 1a/2b/3b=1 \
         1a/2b/3/ 1a/2b/3/4/ 1b/ 1b/2a=1 1b/2b=1 1b/2/ 1b/2/3=1",
        "",
        "",
    ),
    (
        "MissingUpperAncestor",
        "some/ some/dir/ another/ another/dir/ another/dir/somewhere=1",
        "some/dir/somewhere=2",
        "some/ some/dir/ some/dir/somewhere=2",
    ),
    ("UpperWhiteout", "fileC=1", ".wh.fileB fileA=2 fileB=2 .wh.fileA .wh.fileC", "fileA=2 fileB=2"),
    (
        "UpperDirWhiteout",
        "file=1 dir1/ dir1/link->../badlink dir1/verybadlink2->/../../../etc/shadow dir2/ dir2/link->../badlink",
        ".wh.dir2 dir1/ dir1/file=2 dir1/verybadlink->../../../etc/shadow .wh.dir1 dir2/ dir2/file=2",
        "dir1/ dir1/file=2 dir1/verybadlink->../../../etc/shadow dir2/ dir2/file=2",
    ),
];

#[test]
fn l46_opaque_markers() {
    let inside = |members: &str| members.split_whitespace().map(|m| format!("sub/{m} ")).collect::<String>();
    for (name, lower, upper, left) in OPAQUE {
        let lower = format!("sub/ {}", inside(lower));
        for upper in [format!("{} sub/.wh..wh..opq", inside(upper)), format!("sub/.wh..wh..opq {}", inside(upper))] {
            let merged = merge(&[layer(&lower), layer(&upper)]).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(merged.short(), format!("sub/ {}", inside(left)).trim_end(), "{name}: {upper}");
        }
    }
}
