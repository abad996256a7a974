//! Files worth a look, without a verdict: what runs with more rights than its caller, what everybody may change, what
//! is a secret by its name.

use super::shown;
use crate::contents::body::Body;
use crate::contents::paths::file_name;
use crate::inspect::model::Attention;
use crate::rootfs::Kind;
use crate::rootfs::tree::Inode;

/// Most items of a kind that are listed.
const LISTED: usize = 50;

/// File names that hold secrets, whole.
const SECRET_NAMES: [&[u8]; 18] = [
    b"id_rsa",
    b"id_dsa",
    b"id_ecdsa",
    b"id_ed25519",
    b".netrc",
    b"_netrc",
    b".pgpass",
    b".my.cnf",
    b".npmrc",
    b".pypirc",
    b".env",
    b".htpasswd",
    b".git-credentials",
    b".dockercfg",
    b"credentials.json",
    b"kubeconfig",
    b"secrets.yml",
    b"secrets.yaml",
];
/// Ends of paths that hold secrets.
const SECRET_PATHS: [&[u8]; 5] = [
    b"/.aws/credentials",
    b"/.docker/config.json",
    b"/.kube/config",
    b"/.config/gcloud/credentials.db",
    b"/.vault-token",
];
/// Ends of file names that hold secrets.
const SECRET_ENDS: [&[u8]; 6] = [b".key", b".p12", b".pfx", b".jks", b".kdbx", b".keytab"];
/// Names of SSH host keys.
const HOST_KEY: (&[u8], &[u8]) = (b"ssh_host_", b"_key");

/// Capabilities by number (linux/capability.h).
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Kinds in the order of the report: for programs, for people.
const KINDS: [(&str, &str); 6] = [
    ("setuid", "run as their owner (setuid)"),
    ("setgid", "run as their group (setgid)"),
    ("capability", "run with capabilities"),
    ("device", "device nodes"),
    ("world-writable", "everybody may change them"),
    ("secret-by-name", "secrets, by their names"),
];

/// What was seen on the walk.
#[derive(Default)]
pub struct Walked {
    found: [(u64, Vec<String>); KINDS.len()],
    /// The name that is looked at is not the first of its file.
    again: bool,
}

impl Walked {
    /// The next name; `again` says that it is another name of a file that had its turn, which is listed and not counted.
    pub fn visit(&mut self, path: &[u8], inode: &Inode<Body>, again: bool) {
        self.again = again;
        let attrs = &inode.attrs;
        let owned = || format!("{:04o} {}:{}  {}", attrs.mode, attrs.uid, attrs.gid, shown(path));
        match &inode.kind {
            Kind::File { .. } => {
                if attrs.mode & 0o4000 != 0 {
                    self.add(0, owned);
                }
                // Without group execution the bit once meant mandatory locking, and means nothing now.
                if attrs.mode & 0o2010 == 0o2010 {
                    self.add(1, owned);
                }
                let capability = attrs.xattrs.iter().flatten().find(|(name, _)| &**name == b"security.capability");
                if let Some((_, value)) = capability {
                    self.add(2, || format!("{}  {}", capabilities(value), shown(path)));
                }
                if is_secret(path) {
                    self.add(5, || shown(path));
                }
            }
            Kind::CharDevice { major, minor } => self.add(3, || format!("char {major}:{minor}  {}", shown(path))),
            Kind::BlockDevice { major, minor } => self.add(3, || format!("block {major}:{minor}  {}", shown(path))),
            _ => {}
        }
        let open = match inode.kind {
            Kind::Symlink(_) | Kind::CharDevice { .. } => false,
            Kind::Directory(_) => attrs.mode & 0o1002 == 0o0002,
            _ => attrs.mode & 0o002 != 0,
        };
        if open {
            self.add(4, owned);
        }
    }

    fn add(&mut self, kind: usize, item: impl FnOnce() -> String) {
        let (count, items) = &mut self.found[kind];
        *count += u64::from(!self.again);
        if items.len() < LISTED {
            items.push(item());
        }
    }

    /// What there is of each kind.
    pub fn finish(self) -> Vec<Attention> {
        let kinds = KINDS.into_iter().zip(self.found).filter(|(_, (count, _))| *count > 0);
        kinds
            .map(|((kind, title), (count, items))| Attention { kind: kind.into(), title: title.into(), count, items })
            .collect()
    }
}

/// Environment variables that are secrets by their names; their values are not repeated.
pub fn of_environment(env: &[String]) -> Option<Attention> {
    let is_secret = |name: &str| {
        let name = name.to_ascii_uppercase();
        ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "PRIVATE_KEY", "API_KEY", "ACCESS_KEY"]
            .iter()
            .any(|word| name.contains(word))
    };
    let names = env.iter().filter_map(|entry| entry.split_once('=')).filter(|(_, value)| !value.is_empty());
    let items: Vec<String> =
        names.filter(|(name, _)| is_secret(name)).map(|(name, _)| shown(name.as_bytes())).collect();
    (!items.is_empty()).then(|| Attention {
        kind: "secret-in-env".into(),
        title: "secrets in the environment, by their names".into(),
        count: items.len() as u64,
        items: items.into_iter().take(LISTED).collect(),
    })
}

fn is_secret(path: &[u8]) -> bool {
    let name = file_name(path);
    let private = |name: &[u8]| name.starts_with(HOST_KEY.0) && name.ends_with(HOST_KEY.1);
    SECRET_NAMES.contains(&name)
        || private(name)
        || SECRET_PATHS.iter().any(|end| path.ends_with(end))
        || SECRET_ENDS.iter().any(|end| name.len() > end.len() && name.ends_with(end))
}

/// The value of `security.capability` (linux/capability.h, `vfs_cap_data`) in the words of cap_from_text(3).
fn capabilities(value: &[u8]) -> String {
    let word = |i: usize| value.get(4 * i..4 * i + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let (Some(magic), Some(low)) = (word(0), word(1)) else { return "capabilities not understood".into() };
    // Revision 1 has one pair of words, revisions 2 and 3 have two.
    let (inheritable, high) = (word(2).unwrap_or(0), if magic >> 24 == 1 { 0 } else { word(3).unwrap_or(0) });
    let inheritable = u64::from(inheritable) | u64::from(word(4).filter(|_| magic >> 24 > 1).unwrap_or(0)) << 32;
    let permitted = u64::from(low) | u64::from(high) << 32;
    let bits = if permitted != 0 { permitted } else { inheritable };
    let name = |bit: usize| match CAPABILITIES.get(bit) {
        Some(name) => format!("cap_{name}"),
        None => format!("cap_{bit}"),
    };
    let names: Vec<String> = (0..64).filter(|bit| bits & 1 << bit != 0).map(name).collect();
    let mut flags = String::new();
    flags.push_str(if magic & 1 != 0 { "e" } else { "" });
    flags.push_str(if inheritable != 0 { "i" } else { "" });
    flags.push_str(if permitted != 0 { "p" } else { "" });
    format!("{}={flags}", names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_read_as_getcap_prints_them() {
        // setcap cap_net_raw,cap_chown=ep
        let value = [1, 0, 0, 2, 1, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(capabilities(&value), "cap_chown,cap_net_raw=ep");
        assert_eq!(capabilities(&value[..3]), "capabilities not understood");
        assert_eq!(capabilities(&[0xff; 64]).matches("cap_").count(), 64);
    }

    #[test]
    fn a_file_of_several_names_counts_once_and_all_its_names_are_listed() {
        let mut tree = crate::contents::Root::new(Default::default());
        let root = crate::contents::Root::ROOT;
        let attrs = crate::rootfs::Attrs { mode: 0o4755, ..Default::default() };
        let kind = Kind::File { size: 0, body: Body::default() };
        let file = tree.insert(root, b"su", attrs, kind, 0).unwrap();
        tree.link(root, b"sudo", file, 0).unwrap();
        tree.link(root, b"sug", file, 0).unwrap();
        let (_, found) = crate::inspect::facts::of(&tree);
        let setuid = found.iter().find(|one| one.kind == "setuid").unwrap();
        assert_eq!((setuid.count, setuid.items.len()), (1, 3), "{setuid:?}");
    }

    #[test]
    fn secrets_are_known_by_name() {
        for path in
            ["/root/.ssh/id_rsa", "/etc/ssl/private/x.key", "/etc/ssh/ssh_host_rsa_key", "/home/a/.aws/credentials"]
        {
            assert!(is_secret(path.as_bytes()), "{path}");
        }
        for path in ["/root/.ssh/id_rsa.pub", "/etc/ssh/ssh_host_rsa_key.pub", "/.key", "/usr/share/monkey"] {
            assert!(!is_secret(path.as_bytes()), "{path}");
        }
        let env = ["PATH=/bin".to_owned(), "DB_PASSWORD=x".into(), "TOKEN=".into()];
        assert_eq!(of_environment(&env).unwrap().items, ["DB_PASSWORD"]);
    }
}
