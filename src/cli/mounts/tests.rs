//! What people write, and what it means; what is refused, and in which words.

use super::parse::{Parsed, What, mount, place, volume};
use super::*;
use crate::guest::spec::BootSpec;

fn host(path: &str, make: bool) -> What {
    What::Host { path: path.into(), make }
}

fn kept_as(name: &str) -> What {
    What::Volume { name: Some(name.into()), seed: true }
}

fn parsed(at: &str, what: What, read_only: bool) -> Result<Parsed, String> {
    Ok(Parsed { at: at.into(), what, read_only })
}

#[test]
fn a_volume_is_a_path_of_this_host_or_a_name() {
    let nameless = What::Volume { name: None, seed: true };
    for (text, expected) in [
        ("/srv:/data", parsed("/data", host("/srv", true), false)),
        ("/srv:/data:ro", parsed("/data", host("/srv", true), true)),
        ("./x:/data:rw,z", parsed("/data", host("./x", true), false)),
        ("../x:/data/../d//e/", parsed("/d/e", host("../x", true), false)),
        (".:/data:ro,Z", parsed("/data", host(".", true), true)),
        ("data:/var/lib", parsed("/var/lib", kept_as("data"), false)),
        ("data:/d:nocopy", parsed("/d", What::Volume { name: Some("data".into()), seed: false }, false)),
        ("/data", parsed("/data", nameless, false)),
    ] {
        assert_eq!(volume(text), expected, "{text}");
    }
    for (text, said) in [
        ("", "invalid empty volume spec"),
        (":", "empty section between colons"),
        ("a::/b", "empty section between colons"),
        ("/a:/b:", "empty section between colons"),
        ("/a:/b:ro:rw", "too many colons"),
        ("/a:b", "invalid mount path: b: mount path must be absolute"),
        ("data", "invalid mount path: data: mount path must be absolute"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/b/..", "destination can't be '/'"),
        ("/a:/proc/sys", "/proc/sys cannot be mounted because it is inside /proc"),
        ("/a:/dev", "/dev is the machine's own"),
        ("data:/dev/../sys/.", "/sys is the machine's own"),
        ("/a:/b:rx", "invalid mode: rx"),
        ("/a:/b:nocopy", "invalid mode: nocopy"),
        ("a/b:/c", "a/b includes invalid characters for a volume name"),
        ("a:/c", "a includes invalid characters for a volume name"),
        ("~/a:/c", "~ is the shell's"),
        ("a\u{1b}b:/c", "a\\x1bb includes invalid characters"),
    ] {
        let error = volume(text).expect_err(text);
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_mount_says_the_same_in_words() {
    for (text, expected) in [
        ("type=bind,src=/srv,dst=/data", parsed("/data", host("/srv", false), false)),
        ("type=bind,source=x,target=/data,readonly", parsed("/data", host("x", false), true)),
        ("\"src=/a,b:c\",type=BIND,destination=/d,ro=1", parsed("/d", host("/a,b:c", false), true)),
        ("type=bind,src=/a,dst=/d,ro=false,bind-propagation=rprivate", parsed("/d", host("/a", false), false)),
        ("src=data,dst=/d", parsed("/d", kept_as("data"), false)),
        ("type=volume,dst=/d,volume-nocopy", parsed("/d", What::Volume { name: None, seed: false }, false)),
        ("type=tmpfs,dst=/d", parsed("/d", What::Tmpfs { options: String::new() }, false)),
        (
            "type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=1777",
            parsed("/d", What::Tmpfs { options: "size=1m,mode=1777".into() }, false),
        ),
    ] {
        assert_eq!(mount(text), expected, "{text}");
    }
    for (text, said) in [
        ("", "invalid field '' must be a key=value pair"),
        ("type=bind,x", "invalid field 'x' must be a key=value pair"),
        ("type=bind,x=y", "unexpected key in 'x=y'"),
        ("type=bind,src=/a,dst=/b,bind-propagation=shared", "unexpected key in 'bind-propagation=shared'"),
        ("type=volume,src=v1,dst=/b,volume-driver=nfs", "unexpected key in 'volume-driver=nfs'"),
        ("type=bind,dst=/b", "type \"bind\": field Source must not be empty"),
        ("type=bind,src=/a", "type \"bind\": field Target must not be empty"),
        ("type=bind,src=/a,dst=b", "type \"bind\": invalid mount path: b: mount path must be absolute"),
        ("type=bind,src=/a,dst=/b,ro=maybe", "invalid value for ro: ro=maybe"),
        ("type=volume,src=/a,dst=/b", "type \"volume\": /a includes invalid characters"),
        ("type=tmpfs,src=/a,dst=/b", "type \"tmpfs\": field Source must not be specified"),
        ("type=tmpfs,dst=/b,tmpfs-mode=9,volume-nocopy", "cannot mix 'volume-*' options with mount type 'tmpfs'"),
        ("type=bind,src=/a,dst=/b,tmpfs-size=1", "cannot mix 'tmpfs-*' options with mount type 'bind'"),
        ("type=npipe,src=/a,dst=/b", "mount type unknown: npipe"),
        ("type=bind,\"src=/a", "a quote is open"),
    ] {
        let error = mount(text).expect_err(text);
        assert!(error.contains(said), "{text}: {error}");
    }
}

fn machine<'a>(name: Option<&'a str>, target: &'a str, facts: &'a Facts) -> Machine<'a> {
    Machine { name, target: OsStr::new(target), facts }
}

fn facts(volumes: &[&str], drivers: &[&str]) -> Facts {
    let spec = serde_json::json!({
        "version": 1, "root": {"partuuid": "", "fstype": "ext4"}, "init": "auto", "process": {},
        "volumes": volumes, "drivers": drivers, "mounts": [],
    });
    let spec: BootSpec = serde_json::from_value(spec).unwrap();
    Facts { spec: Some(spec), ..Facts::default() }
}

#[test]
fn kept_volumes_are_named_after_the_machine_or_the_image() {
    let facts = facts(&["/var/lib/db", "/a b/ä"], &[]);
    for (name, target, expected) in [
        (None, "docker://host:5000/x/db:15", "db-var-lib-db db-a-b---9b9509c0"),
        (None, "/srv/db.img", "db-var-lib-db db-a-b---9b9509c0"),
        (None, "oci:layout:tag", "oci-layout-var-lib-db oci-layout-a-b---9b9509c0"),
        (None, "db@sha256:12", "db-var-lib-db db-a-b---9b9509c0"),
        (Some("web"), "/srv/db.img", "web-var-lib-db web-a-b---9b9509c0"),
    ] {
        let names = kept(Kept::Keep, &machine(name, target, &facts)).unwrap().into_iter().map(|one| match one.what {
            What::Volume { name, .. } => name.unwrap(),
            other => panic!("{other:?}"),
        });
        assert_eq!(names.collect::<Vec<_>>().join(" "), expected, "{name:?} {target}");
    }
    assert_eq!(kept(Kept::Disk, &machine(None, "db", &facts)).unwrap(), []);
    assert!(kept(Kept::Keep, &machine(None, "-", &facts)).is_err());
    // A folder is called by its own name, however it is reached.
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("shop");
    std::fs::create_dir(&place).unwrap();
    assert_eq!(base_of(place.join(".").as_os_str()), "shop");
    // Two places never have one name.
    let long = |end: &str| format!("/{}{end}", "x".repeat(80));
    for (one, other) in [("/a/b", "/a-b"), ("/a b", "/a-b"), (&long("1"), &long("2"))] {
        let (one, other) = (volume_name("db", one), volume_name("db", other));
        assert!(one != other && one.len() <= 64 && other.len() <= 64, "{one} {other}");
    }
    assert_eq!(volume_name("db", "/a-b"), "db-a-b-590bb8f6");
}

#[test]
fn what_is_there_is_found_what_is_missing_is_made_or_refused_and_nothing_is_mounted_twice() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("file"), "").unwrap();
    nix::unistd::mkfifo(path("fifo").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let facts = facts(&[], &["virtiofs"]);
    let settle = |values: &[String], mounts: &[String]| {
        let options = Mounts {
            volume: values.iter().map(|text| volume(text).unwrap()).collect(),
            mount: mounts.iter().map(|text| mount(text).unwrap()).collect(),
            ..Mounts::default()
        };
        let mut overrides = Overrides::default();
        overrides.surroundings.tmpfs.insert("/tmpfs/".into(), String::new());
        options.settle(&machine(None, "x", &facts), &mut overrides).map(|wanted| (wanted, overrides))
    };
    let values = [format!("{}:/new", path("new/er")), format!("{}:/one:ro", path("file")), "/own".to_owned()];
    let (wanted, overrides) = settle(&values, &["type=tmpfs,dst=/mem".into()]).unwrap();
    assert!(home.path().join("new/er").is_dir());
    let mounts: Vec<&Mount> = wanted.iter().map(|one| &one.mount).collect();
    assert_eq!(mounts, overrides.mounts.iter().collect::<Vec<_>>());
    let shown = |mount: &Mount| (mount.name.clone(), mount.by, mount.at.clone(), mount.file.is_some(), mount.read_only);
    assert_eq!(shown(mounts[0]), ("bootdisk-0".into(), By::Share, "/new".into(), false, false));
    assert_eq!(shown(mounts[1]), ("bootdisk-1".into(), By::Share, "/one".into(), true, true));
    assert_eq!(shown(mounts[2]), ("bootdisk-2".into(), By::Disk, "/own".into(), false, false));
    assert!(overrides.surroundings.tmpfs.contains_key("/mem"));
    for (values, mounts, said) in [
        (vec![], vec![format!("type=bind,src={},dst=/a", path("missing"))], "bind source path does not exist: "),
        (vec![format!("{}:/a", path("fifo"))], vec![], "neither a folder nor a file"),
        (vec!["/a".into(), "data:/a/".into()], vec![], "duplicate mount point: /a"),
        (vec!["/tmpfs".into()], vec![], "duplicate mount point: /tmpfs"),
        (vec!["data:/a".into(), "data:/b:ro".into()], vec![], "volume is mounted at two places of one machine: data"),
        ((0..21).map(|number| format!("/{number}")).collect(), vec![], "a machine can have 20 folders and volumes"),
    ] {
        let error = settle(&values, &mounts).unwrap_err();
        assert!(error.to_string().starts_with(said), "{error}");
        assert!(crate::cli::report::sentence(&error).contains('('), "a hint: {error}");
    }
}

#[test]
fn a_kernel_without_virtiofs_gets_copies() {
    let home = tempfile::tempdir().unwrap();
    for (drivers, by) in [(&["virtiofs"][..], By::Share), (&[], By::Disk)] {
        let value = volume(&format!("{}:/a", home.path().display())).unwrap();
        let options = Mounts { volume: vec![value], ..Mounts::default() };
        let wanted = options.settle(&machine(None, "x", &facts(&[], drivers)), &mut Overrides::default()).unwrap();
        assert_eq!(wanted[0].mount.by, by, "{drivers:?}");
    }
    assert_eq!(place("/a/./b"), Ok("/a/b".into()));
}
