//! Where settings are for the workload: files, keys and credentials in memory, mounted in its root.
//!
//! ```text
//!  /settings of the initramfs, a ramfs, which is never swapped
//!    file-N         ─▶ bind mount over PATH in the root, read-only
//!    keys-N         ─▶ behind what the image has in ~/.ssh/authorized_keys, as one file over it
//!    credentials/   ─▶ /run/credentials/@system
//! ```
//!
//! Nothing of them is on the disk but the empty file that is mounted on, where the image has none. Owners are looked up in
//! the image, and so only when the root is entered.

use crate::guest::settings::{Credential, File};
use crate::guest::user::Identity;
use crate::init::accounts;
use crate::init::failure::{Doing, Failure};
use crate::init::folders::{in_root, make_folders};
use crate::init::{log, mounts};
use nix::mount::{MsFlags, mount};
use nix::unistd::{Gid, Uid, chown};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The ramfs in the initramfs.
const FOLDER: &str = "/settings";
/// Where credentials are for the workload, as systemd has them.
pub const CREDENTIALS: &str = "/run/credentials/@system";
/// Most bytes of an image's own authorized_keys.
const MAX_KEYS: u64 = 1 << 20;

/// Keys of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Whose.
    pub user: String,
    /// The lines.
    pub lines: Vec<String>,
    /// Without this user in the image the machine does not start; otherwise it is a warning.
    pub demanded: bool,
}

/// What lies in the ramfs, without the contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Path, mode and owner of each file.
    files: Vec<(String, u32, String)>,
    /// User of each file with keys, and whether they were demanded.
    keys: Vec<(String, bool)>,
    /// Whose the credentials are, where there are some.
    credentials: Option<String>,
}

/// Puts contents into memory. `user` is who the credentials are for.
pub fn place(files: &[File], keys: &[Keys], credentials: &[Credential], user: &str) -> Result<Placed, Failure> {
    let mut placed = Placed::default();
    if files.is_empty() && keys.is_empty() && credentials.is_empty() {
        return Ok(placed);
    }
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder).doing("make a folder for settings")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("ramfs"), folder, Some("ramfs"), flags, Some("mode=0700")).doing("mount a ramfs for settings")?;
    for (number, file) in files.iter().enumerate() {
        write(&folder.join(format!("file-{number}")), &file.content.0, file.mode).doing("keep a file in memory")?;
        placed.files.push((file.path.clone(), file.mode, file.owner.clone()));
    }
    for (number, keys) in keys.iter().enumerate() {
        let text = keys.lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        write(&folder.join(format!("keys-{number}")), text.as_bytes(), 0o600).doing("keep keys in memory")?;
        placed.keys.push((keys.user.clone(), keys.demanded));
    }
    if !credentials.is_empty() {
        let folder = folder.join("credentials");
        fs::DirBuilder::new().mode(0o700).create(&folder).doing("make a folder for credentials")?;
        for one in credentials {
            write(&folder.join(&one.name), &one.content.0, 0o400).doing("keep a credential in memory")?;
        }
        placed.credentials = Some(user.to_owned());
    }
    Ok(placed)
}

/// A file of its own.
fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// The ramfs, opened in the initramfs: once the root has changed it has no name any more.
pub struct Opened<'a>(&'a Placed, Option<fs::File>);

impl Placed {
    /// Opens it, where there is something in it.
    pub fn open(&self) -> Result<Opened<'_>, Failure> {
        let open = |path| OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path);
        let folder = (*self != Placed::default()).then(|| open(FOLDER)).transpose();
        folder.map(|folder| Opened(self, folder)).doing("find the settings again")
    }
}

impl Opened<'_> {
    /// Mounts all of it in the root, which is the caller's by now.
    pub fn mount(&self) -> Result<(), Failure> {
        let Some(folder) = &self.1 else { return Ok(()) };
        let folder = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
        for (number, (at, _, owner)) in self.0.files.iter().enumerate() {
            let place = || -> Result<(), Failure> {
                let identity = accounts::identify(owner)?;
                put(&folder.join(format!("file-{number}")), &in_root(at), &identity).doing("mount it")
            };
            place().map_err(|failure| Failure::machine(format!("cannot provide {at}: {}", failure.reason)))?;
        }
        for (number, (user, demanded)) in self.0.keys.iter().enumerate() {
            let given = give_keys(&folder, number, user);
            let given = given.map_err(|why| Failure::machine(format!("cannot give {user} SSH keys: {}", why.reason)));
            match given {
                Err(failure) if !demanded => log::warning(failure.reason),
                other => other?,
            }
        }
        if let Some(user) = &self.0.credentials {
            give_credentials(&folder.join("credentials"), user).doing("provide credentials")?;
        }
        Ok(())
    }
}

/// A file of the ramfs over one of the root.
fn put(source: &Path, at: &Path, owner: &Identity) -> io::Result<()> {
    own(source, owner)?;
    mounts::make_place(at, false)?;
    bind(source, at)
}

fn own(path: &Path, owner: &Identity) -> io::Result<()> {
    chown(path, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    Ok(())
}

fn bind(source: &Path, at: &Path) -> io::Result<()> {
    mount(Some(source), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>)?;
    Ok(())
}

/// The image's keys of a user and these.
fn give_keys(folder: &Path, number: usize, user: &str) -> Result<(), Failure> {
    let identity = accounts::identify(user)?;
    let home = in_root(&identity.home);
    let ssh = home.join(".ssh");
    let at = ssh.join("authorized_keys");
    let lines = fs::read(folder.join(format!("keys-{number}"))).doing("read them again")?;
    let mut all = image_keys(&at).doing("read the image's")?;
    if all.last().is_some_and(|byte| *byte != b'\n') {
        all.push(b'\n');
    }
    all.extend_from_slice(&lines);
    if !ssh.exists() {
        make_folders(&home).doing("make the home folder")?;
        // sshd asks for folders that nobody else can write to.
        fs::DirBuilder::new().mode(0o700).create(&ssh).doing("make the folder .ssh")?;
        own(&ssh, &identity).doing("give the folder .ssh to its user")?;
    }
    let source = folder.join(format!("authorized-{number}"));
    write(&source, &all, 0o600).doing("write them")?;
    put(&source, &at, &identity).doing("mount them")
}

fn image_keys(at: &Path) -> io::Result<Vec<u8>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(at) {
        Ok(file) if file.metadata()?.is_file() => file,
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_KEYS).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As systemd leaves them: a folder that its owner alone can look into.
fn give_credentials(folder: &Path, user: &str) -> io::Result<()> {
    // Who is nobody in the image is told of when the workload starts.
    let Ok(identity) = accounts::identify(user) else { return Ok(()) };
    for entry in fs::read_dir(folder)? {
        own(&entry?.path(), &identity)?;
    }
    own(folder, &identity)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o500))?;
    let at = Path::new(CREDENTIALS);
    make_folders(at)?;
    mount(Some(folder), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    let flags = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>)?;
    Ok(())
}
