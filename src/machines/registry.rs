//! All machines of this user: registering one, listing and finding them, and cleaning away what a killed `run` left.

use super::directory::directory;
use super::entry::Entry;
use super::error::{MachineError, io};
use super::record::{self, End, Record};
use super::{log, name};
use crate::file_lock::Locked;
use crate::own_folder::{make_private, within};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Exit status of a machine whose bootdisk was killed: 128 and SIGKILL's number, as a shell would have it.
const KILLED: u8 = 137;
/// How many machines that have ended are remembered.
pub const KEPT: usize = 8;

/// All machines of this user.
pub struct Registry {
    dir: PathBuf,
}

/// A machine of this program, from its registration until this is dropped: then its folder goes.
pub struct Registered {
    record: Record,
    dir: PathBuf,
    registry: PathBuf,
    remove: bool,
    _lock: Locked,
}

/// Seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

impl Registry {
    /// This user's, in [`directory`].
    ///
    /// # Errors
    /// When there is no directory that can be used.
    pub fn of_user() -> Result<Registry, MachineError> {
        Registry::open(&directory()?)
    }

    /// The one in `dir`.
    ///
    /// # Errors
    /// When nothing can be made there.
    pub fn open(dir: &Path) -> Result<Registry, MachineError> {
        make_private(&within(dir, "machines")?)?;
        Ok(Registry { dir: dir.to_owned() })
    }

    fn machines(&self) -> PathBuf {
        self.dir.join("machines")
    }

    /// While this lives nobody else registers a machine or cleans one away.
    fn locked(&self) -> Result<Locked, MachineError> {
        let path = self.dir.join("machines.lock");
        let file = open_lock(&path).map_err(io(&path))?;
        Locked::wait(file).map_err(io(&path))
    }

    /// Whether a machine may be given this name now.
    ///
    /// # Errors
    /// When it is no name, or a machine that runs has it.
    pub fn check_free(&self, wanted: &str) -> Result<(), MachineError> {
        name::check(wanted)?;
        match Entry::is_live(&self.machines().join(wanted)) {
            true => Err(MachineError::InUse(wanted.to_owned())),
            false => Ok(()),
        }
    }

    /// Registers a machine under its record's name, or under one that is made when that is empty. Returns the socket its
    /// clients connect to, too.
    ///
    /// # Errors
    /// As [`check_free`](Self::check_free), and when the file system refuses.
    pub fn register(&self, mut record: Record) -> Result<(Registered, UnixListener), MachineError> {
        let machines = self.machines();
        let registry = self.locked()?;
        clean(&machines);
        if record.name.is_empty() {
            record.name = name::make(|name| machines.join(name).exists());
        }
        self.check_free(&record.name)?;
        let dir = machines.join(&record.name);
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(io(&dir))?;
        }
        make_private(&dir)?;
        // Waits at most for somebody who looks whether it is free.
        let lock = open_lock(&dir.join("lock")).map_err(io(&dir))?;
        let lock = Locked::wait(lock).map_err(io(&dir))?;
        // From here on the folder goes with this value.
        let registered = Registered { record, dir, registry: self.dir.clone(), remove: true, _lock: lock };
        let made = record::write(&registered.dir, "machine.json", &registered.record)
            .and_then(|()| bind(&registered.dir).map_err(io(&registered.dir)));
        // Before that value is dropped, which takes this lock itself: it would wait for itself, and all others for it.
        drop(registry);
        Ok((registered, made?))
    }

    /// Every machine there is, the oldest first, those that have ended too. What killed ones left is cleaned away.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, MachineError> {
        let _lock = self.locked()?;
        clean(&self.machines());
        let mut entries = entries(&self.machines());
        entries.sort_by(|a, b| (a.record.started, &a.record.name).cmp(&(b.record.started, &b.record.name)));
        Ok(entries)
    }

    /// The machine of this name, or the only one.
    ///
    /// # Errors
    /// When there is none of this name, it has ended, or no name was given and there is not exactly one.
    pub fn find_running(&self, wanted: Option<&str>) -> Result<Entry, MachineError> {
        let list = self.list()?;
        match wanted {
            Some(wanted) => match list.into_iter().find(|entry| entry.record.name == wanted) {
                Some(entry) if entry.live => Ok(entry),
                Some(_) => Err(MachineError::Ended(wanted.to_owned())),
                None => Err(unknown(wanted)),
            },
            None => only(list.into_iter().filter(|entry| entry.live).collect()),
        }
    }

    /// The detached machine of this name, running or not; or the only one that runs, or else the only one there is.
    ///
    /// # Errors
    /// When there is none, or it is not detached, or no name was given and several could be meant.
    pub fn find_detached(&self, wanted: Option<&str>) -> Result<Entry, MachineError> {
        let mut list = self.list()?;
        let Some(wanted) = wanted else {
            list.retain(|entry| entry.record.detached);
            if list.iter().any(|entry| entry.live) {
                list.retain(|entry| entry.live);
            }
            return only(list);
        };
        match list.into_iter().find(|entry| entry.record.name == wanted) {
            Some(entry) if entry.record.detached => Ok(entry),
            Some(_) => Err(MachineError::NotDetached(wanted.to_owned())),
            None => Err(unknown(wanted)),
        }
    }
}

fn unknown(wanted: &str) -> MachineError {
    MachineError::Unknown(crate::escape::escape(wanted.as_bytes()))
}

fn only(mut list: Vec<Entry>) -> Result<Entry, MachineError> {
    match list.len() {
        0 => Err(MachineError::None),
        1 => Ok(list.remove(0)),
        _ => Err(MachineError::Several(list.into_iter().map(|entry| entry.record.name).collect())),
    }
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The socket's name is longer than a socket's address may be wherever the directory is deep, so it is reached through
/// the directory's descriptor.
fn bind(dir: &Path) -> std::io::Result<UnixListener> {
    let dir = File::open(dir)?;
    UnixListener::bind(format!("/proc/self/fd/{}/socket", dir.as_raw_fd()))
}

/// Everything that is a machine's folder.
fn entries(machines: &Path) -> Vec<Entry> {
    let found = fs::read_dir(machines).into_iter().flatten().flatten();
    found.filter_map(|found| Entry::read(&found.path())).collect()
}

/// Removes what killed machines left, and the ended ones beyond those that are kept. The registry is locked.
fn clean(machines: &Path) {
    let mut ended = Vec::new();
    for found in fs::read_dir(machines).into_iter().flatten().flatten() {
        let dir = found.path();
        if Entry::is_live(&dir) {
            continue;
        }
        let entry = Entry::read(&dir);
        let end = entry.as_ref().and_then(|entry| entry.end.clone());
        // A log outlives the one that wrote it, so that the last words of a killed machine can be read.
        let killed = || entry.as_ref().filter(|entry| entry.record.detached).and_then(|_| killed(&dir));
        match end.or_else(killed) {
            Some(end) => ended.push((end.ended, dir)),
            // What cannot be removed now is met again.
            None => _ = fs::remove_dir_all(&dir),
        }
    }
    ended.sort();
    let surplus = ended.len().saturating_sub(KEPT);
    for (_, dir) in ended.drain(..surplus) {
        _ = fs::remove_dir_all(&dir);
    }
}

/// Writes down the end of a detached machine whose bootdisk could not do so itself. `None` when that fails too.
fn killed(dir: &Path) -> Option<End> {
    let ended = log::last_written(dir).unwrap_or_else(now);
    let end = End { status: KILLED, sentence: Some("its bootdisk was killed".to_owned()), ended };
    record::write(dir, "end.json", &end).ok()?;
    _ = fs::remove_file(dir.join("socket"));
    Some(end)
}

impl Registered {
    /// What is written down about it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Begins its log.
    ///
    /// # Errors
    /// When no pipe or file can be made.
    pub fn log(&self) -> std::io::Result<log::Logger> {
        log::Logger::start(&self.dir)
    }

    /// Writes down how it ended, and keeps its folder to be read.
    ///
    /// # Errors
    /// When that cannot be written; the folder goes then.
    pub fn ended(mut self, status: u8, sentence: Option<String>) -> Result<(), MachineError> {
        record::write(&self.dir, "end.json", &End { status, sentence, ended: now() })?;
        _ = fs::remove_file(self.dir.join("socket"));
        self.remove = false;
        Ok(())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.remove {
            let registry = Registry { dir: self.registry.clone() };
            // Without the lock somebody might see half a folder, and clean it away as we do.
            let _lock = registry.locked();
            _ = fs::remove_dir_all(&self.dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> Record {
        let (name, image) = (name.to_owned(), "x.img".to_owned());
        Record { name, image, pid: 1, started: now(), ports: vec!["8080:80".into()], detached: true }
    }

    fn registry() -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(dir.path()).unwrap();
        (dir, registry)
    }

    fn names(registry: &Registry) -> Vec<(String, bool)> {
        registry.list().unwrap().into_iter().map(|entry| (entry.record.name, entry.live)).collect()
    }

    #[test]
    fn a_machine_is_there_while_its_run_is() {
        let (_dir, registry) = registry();
        assert!(matches!(registry.find_running(None), Err(MachineError::None)));
        let (web, _listener) = registry.register(record("web")).unwrap();
        assert_eq!(names(&registry), [("web".to_owned(), true)]);
        assert!(matches!(registry.register(record("web")), Err(MachineError::InUse(_))));
        assert_eq!(registry.find_running(None).unwrap().record, *web.record());
        let (made, _other) = registry.register(record("")).unwrap();
        assert!(name::check(&made.record().name).is_ok());
        assert!(matches!(registry.find_running(None), Err(MachineError::Several(names)) if names.len() == 2));
        assert!(matches!(registry.find_running(Some("wep")), Err(MachineError::Unknown(_))));
        drop(web);
        assert_eq!(registry.find_running(None).unwrap().record.name, made.record().name);
        drop(made);
        assert_eq!(names(&registry), []);
    }

    #[test]
    fn what_a_killed_run_left_goes_with_whoever_meets_it() {
        let (dir, registry) = registry();
        for (name, file) in [("killed", "machine.json"), ("halfmade", "lock"), ("empty", "x")] {
            let place = dir.path().join("machines").join(name);
            fs::create_dir(&place).unwrap();
            fs::write(place.join(file), "{").unwrap();
        }
        assert_eq!(names(&registry), []);
        assert_eq!(fs::read_dir(dir.path().join("machines")).unwrap().count(), 0);
    }

    #[test]
    fn a_detached_machine_whose_bootdisk_was_killed_stays_with_its_log() {
        let (dir, registry) = registry();
        for (name, detached) in [("web", true), ("shell", false)] {
            let place = dir.path().join("machines").join(name);
            fs::create_dir(&place).unwrap();
            record::write(&place, "machine.json", &Record { detached, ..record(name) }).unwrap();
            fs::write(place.join("lock"), "").unwrap();
            fs::write(place.join("log.0"), "last words").unwrap();
        }
        for _ in 0..2 {
            assert_eq!(names(&registry), [("web".to_owned(), false)]);
        }
        let entry = registry.find_detached(Some("web")).unwrap();
        let end = entry.end.clone().unwrap();
        assert_eq!((end.status, end.sentence.as_deref()), (137, Some("its bootdisk was killed")));
        assert_eq!(fs::read_to_string(entry.dir().join("log.0")).unwrap(), "last words");
        assert!(matches!(registry.find_running(Some("web")), Err(MachineError::Ended(_))));
        let (_again, _listener) = registry.register(record("web")).unwrap();
        assert!(registry.find_running(Some("web")).unwrap().live);
    }

    #[test]
    fn those_that_ended_stay_to_be_read_until_there_are_many() {
        let (_dir, registry) = registry();
        for number in 0..KEPT + 3 {
            let (machine, _listener) = registry.register(record(&format!("m{number}"))).unwrap();
            machine.ended(number as u8, None).unwrap();
        }
        let list = registry.list().unwrap();
        assert_eq!(list.len(), KEPT);
        assert!(list.iter().all(|entry| !entry.live && entry.end.is_some()));
        let name = list[0].record.name.clone();
        assert!(matches!(registry.find_running(Some(&name)), Err(MachineError::Ended(_))));
        assert_eq!(registry.find_detached(Some(&name)).unwrap().record.name, name);
        assert!(matches!(registry.find_detached(None), Err(MachineError::Several(_))));
        // The name is free again.
        let (_again, _listener) = registry.register(record(&name)).unwrap();
        assert!(registry.find_running(Some(&name)).unwrap().live);
        assert_eq!(registry.find_detached(None).unwrap().record.name, name);
    }

    #[test]
    fn a_deep_directory_has_a_socket_all_the_same() {
        let (dir, _) = registry();
        let deep = (0..6).fold(dir.path().to_owned(), |dir, _| dir.join("d".repeat(60)));
        fs::create_dir_all(&deep).unwrap();
        let registry = Registry::open(&deep).unwrap();
        let (_machine, listener) = registry.register(record("deep")).unwrap();
        let client = registry.find_running(Some("deep")).unwrap().dial().unwrap();
        listener.accept().unwrap();
        drop(client);
    }
}
