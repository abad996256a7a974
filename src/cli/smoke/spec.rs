//! `smoke.toml`: images and disks with what is expected of them.
//!
//! ```toml
//! [defaults]                      # optional; anything of a test but its name and what is tested
//! timeout = "90s"
//!
//! [[test]]
//! name = "web"                    # the file's name without its extension when absent
//! image = "nginx.oci"             # or disk = "nginx.img"; relative to this file
//! http = "/"                      # one value, or a list
//! http-status = ["404:/missing"]
//! matrix = ["firmware=bios,uefi", "bus=virtio,nvme"]
//! command = ["nginx", "-g", "daemon off;"]
//! ```
//!
//! A test of several machines has a `[[test.machine]]` for each, see `machines`.
//!
//! Keys are those of the command line, see `keys`. An unknown key is an error: a misspelt expectation would hold
//! for ever. Names differ, as reports and logs are found by them.

use super::error::{LONGEST, MOST, SpecError};
use super::keys::{Definition, Given, Keys};
use super::machines::{self, Level, Named, SpecAfter};
use super::names::name_of;
use crate::escape::{escape, printable};
use crate::smoke::Place;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Longest name of a test, in characters.
const LONGEST_NAME: usize = 200;
/// A test of the file, with the defaults and the command line's options.
#[derive(Debug)]
pub struct SpecTest {
    /// What it is called.
    pub name: String,
    /// The image or disk it is of.
    pub target: OsString,
    /// Everything else.
    pub settings: super::settings::Settings,
    /// Where the file has it; nothing for the one of a command line.
    pub place: Option<Place>,
    /// Its machines, where it has several: the target is empty then.
    pub machines: Vec<SpecMachine>,
}

/// A machine among others of a test.
#[derive(Debug)]
pub struct SpecMachine {
    /// The machine as a test of its own, under its own name.
    pub test: SpecTest,
    /// What it waits for.
    pub after: Vec<SpecAfter>,
    /// It reaches what this host reaches.
    pub outside: bool,
}

/// What is wrong, and in which line; 0 is no line of the file.
type Wrong = (usize, String);

/// Reads a spec file; `more` is said of all its tests.
///
/// # Errors
/// See [`SpecError`].
pub fn read(path: &Path, more: &[Given]) -> Result<Vec<SpecTest>, SpecError> {
    let shown = || crate::escape::path(path);
    let cannot = |source| SpecError::Read { path: shown(), source };
    let file = crate::once::open(path, "the tests").map_err(cannot)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(file, LONGEST + 1), &mut text).map_err(cannot)?;
    if text.len() as u64 > LONGEST {
        return Err(SpecError::Long(shown()));
    }
    parse(&text, path, more)
}

fn parse(text: &str, path: &Path, more: &[Given]) -> Result<Vec<SpecTest>, SpecError> {
    let shown = crate::escape::path(path);
    let wrong = |(line, message): Wrong| {
        let place = if line == 0 { "somewhere".into() } else { format!("line {line}") };
        SpecError::Wrong { path: shown.clone(), place, message }
    };
    let file = File { text, path, dir: path.parent().unwrap_or(Path::new("")), definition: Definition::new() };
    let (defaults, tests) = file.sections().map_err(wrong)?;
    if !(1..=MOST).contains(&tests.len()) {
        return Err(SpecError::Count { path: shown.clone(), count: tests.len() });
    }
    let tests = tests.iter().map(|section| Ok((section.line, file.either(section, &defaults, more)?)));
    let tests = tests.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    apart(&tests).map_err(wrong)?;
    Ok(tests.into_iter().map(|(_, test)| test).collect())
}

struct File<'a> {
    text: &'a str,
    path: &'a Path,
    dir: &'a Path,
    definition: Definition,
}

/// A test, or a machine of one, as it is written.
struct Section {
    line: usize,
    given: Vec<Given>,
    /// Of a test that says so.
    machines: Option<Vec<Section>>,
}

/// The defaults and the tests.
type Sections = (Vec<Given>, Vec<Section>);

impl File<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text[..self.text.floor_char_boundary(at)].matches('\n').count()
    }

    fn sections(&self) -> Result<Sections, Wrong> {
        let document = DeTable::parse(self.text).map_err(|error| {
            let line = error.span().map_or(0, |span| self.line(span.start));
            (line, printable(error.message().lines().next().unwrap_or_default()))
        })?;
        let (mut defaults, mut tests) = (Vec::new(), Vec::new());
        for (key, value) in document.get_ref() {
            let line = self.line(key.span().start);
            match (&**key.get_ref(), value.get_ref()) {
                ("defaults", DeValue::Table(table)) => defaults = self.table(table, Level::Defaults)?,
                ("test", DeValue::Array(list)) => {
                    let one = |one| self.section(one, Level::Test);
                    tests = list.iter().map(one).collect::<Result<_, _>>()?;
                }
                ("defaults", _) => return Err((line, "the defaults are written below [defaults]".into())),
                ("test", _) => return Err((line, NO_TEST.into())),
                (other, _) => {
                    let other = escape(other.as_bytes());
                    return Err((line, format!("unknown key {other}; a file has [defaults] and [[test]]")));
                }
            }
        }
        Ok((defaults, tests))
    }

    fn section(&self, value: &toml::Spanned<DeValue<'_>>, level: Level) -> Result<Section, Wrong> {
        let line = self.line(value.span().start);
        let shape = if level == Level::Machine { NO_MACHINE } else { NO_TEST };
        let DeValue::Table(table) = value.get_ref() else { return Err((line, shape.into())) };
        let several = table.iter().find(|(key, _)| level == Level::Test && &**key.get_ref() == machines::KEY);
        let machines = several.map(|(key, value)| match value.get_ref() {
            DeValue::Array(list) => list.iter().map(|one| self.section(one, Level::Machine)).collect(),
            _ => Err((self.line(key.span().start), NO_MACHINE.into())),
        });
        Ok(Section { line, given: self.table(table, level)?, machines: machines.transpose()? })
    }

    fn table(&self, table: &DeTable<'_>, level: Level) -> Result<Vec<Given>, Wrong> {
        let given = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let line = self.line(key.span().start);
            let key: &toml::de::DeString<'_> = key.get_ref();
            if let Some(refusal) = level.refusal(key) {
                return Err((line, refusal));
            }
            self.definition.given(key, line, value.get_ref(), self.dir).map_err(|message| (line, message))
        };
        let of_machines = |key: &str| level == Level::Test && key == machines::KEY;
        table.iter().filter(|(key, _)| !of_machines(key.get_ref())).map(given).collect()
    }

    fn keys(&self, line: usize, layers: &[&[Given]]) -> Result<Keys, Wrong> {
        self.definition.read(&self.definition.merge(layers)).map_err(|(at, message)| {
            let at = if at == 0 { line } else { at };
            (at, message)
        })
    }

    fn either(&self, section: &Section, defaults: &[Given], more: &[Given]) -> Result<SpecTest, Wrong> {
        let layers: [&[Given]; 3] = [defaults, &section.given, more];
        match &section.machines {
            None => self.test(self.keys(section.line, &layers)?, section.line, &layers),
            Some(machines) => self.several(section.line, &layers, machines),
        }
    }

    /// A test of several machines: what is above them is said of each.
    fn several(&self, line: usize, layers: &[&[Given]; 3], sections: &[Section]) -> Result<SpecTest, Wrong> {
        let [defaults, given, more] = *layers;
        let keys = self.keys(line, layers)?;
        if keys.image.is_some() || keys.disk.is_some() {
            return Err((line, "a test has one of image, disk and [[test.machine]]".into()));
        }
        let Some(name) = keys.name else { return Err((line, "a test of several machines needs a name".into())) };
        if keys.settings.expectations.snapshot.is_some() {
            let message = "snapshot is for a test of one machine; with snapshot = false here the defaults may have it";
            return Err((line_of("snapshot", layers, line), message.into()));
        }
        keys.settings.matrix().map_err(|error| (line, error.to_string()))?;
        let of_each: Vec<Given> = given.iter().filter(|one| one.key() != "name").cloned().collect();
        let mut machines = Vec::new();
        let mut after = Vec::new();
        for section in sections {
            let layers: [&[Given]; 4] = [defaults, &of_each, &section.given, more];
            let mut keys = self.keys(section.line, &layers)?;
            let (waits_for, outside) = (std::mem::take(&mut keys.after), keys.outside);
            let test = self.test(keys, section.line, &layers)?;
            machines::checked(&test.name).map_err(|message| (section.line, message))?;
            let at = section.given.iter().find(|one| one.key() == "after").map_or(section.line, |one| one.line);
            after.push((at, waits_for));
            machines.push(SpecMachine { test, after: Vec::new(), outside });
        }
        let named = sections.iter().zip(&machines).zip(&after).map(|((section, machine), (at, after))| Named {
            line: section.line,
            name: &machine.test.name,
            after: (*at, after),
        });
        let order = machines::order(&named.collect::<Vec<_>>(), line)?;
        machines.iter_mut().zip(order).for_each(|(machine, after)| machine.after = after);
        let name = checked(name).map_err(|message| (line, message))?;
        let place = Some(Place { file: self.path.to_owned(), line });
        Ok(SpecTest { name, target: OsString::new(), settings: keys.settings, place, machines })
    }

    fn test(&self, keys: Keys, line: usize, layers: &[&[Given]]) -> Result<SpecTest, Wrong> {
        if let Some(why) = keys.settings.no_snapshot() {
            return Err((line_of("snapshot", layers, line), why.into()));
        }
        let target: OsString = match (keys.image, keys.disk) {
            (Some(image), None) => image.into(),
            (None, Some(disk)) => disk.into(),
            _ => return Err((line, "a test needs one of image and disk".into())),
        };
        keys.settings.matrix().map_err(|error| (line, error.to_string()))?;
        let name = match keys.name {
            Some(name) => checked(name).map_err(|message| (line, message))?,
            None => name_of(&target),
        };
        let place = Some(Place { file: self.path.to_owned(), line });
        Ok(SpecTest { name, target, settings: keys.settings, place, machines: Vec::new() })
    }
}

const NO_TEST: &str = "each test is written below [[test]]";
const NO_MACHINE: &str = "each machine of a test is written below [[test.machine]]";

/// The line of the key that counts, or that of the test where the command line has it.
fn line_of(key: &str, layers: &[&[Given]], test: usize) -> usize {
    let given = layers.iter().flat_map(|layer| layer.iter()).rfind(|one| one.key() == key);
    given.map(|one| one.line).filter(|&line| line > 0).unwrap_or(test)
}

/// A name that every report can show.
fn checked(name: String) -> Result<String, String> {
    let length = name.chars().count();
    if !(1..=LONGEST_NAME).contains(&length) {
        return Err(format!("a test's name has {length} characters, from 1 to {LONGEST_NAME} are shown"));
    }
    let shown = escape(name.as_bytes());
    if shown.replace("\\\\", "\\") != name {
        return Err(format!("a test's name has a character that cannot be shown: {shown}"));
    }
    Ok(name)
}

/// Refuses two tests of one name.
fn apart(tests: &[(usize, SpecTest)]) -> Result<(), Wrong> {
    let mut lines = BTreeMap::new();
    for (line, test) in tests {
        if let Some(before) = lines.insert(&test.name, line) {
            let name = escape(test.name.as_bytes());
            return Err((
                *line,
                format!("a test of this name is in line {before}, give one of them another `name`: {name}"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::settings::SnapshotAt;
    use super::*;
    use crate::smoke::Axis;

    fn file(text: &str) -> Result<Vec<SpecTest>, String> {
        parse(text, Path::new("f"), &[]).map_err(|error| error.to_string())
    }

    fn shown(test: &SpecTest) -> Vec<String> {
        test.settings.expectations.all().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_as_the_documentation_has_it() {
        let text = "[defaults]\ntimeout = \"90s\"\n\n[[test]]\nname = \"web\"\nimage = \"nginx.oci\"\n\
            http = \"/\"\nhttp-status = [\"404:/missing\"]\nmatrix = [\"firmware=bios,uefi\"]\n\n\
            [[test]]\ndisk = \"x.img\"\nexit-code = 7\ncommand = [\"sh\", \"-c\", \"exit 7\"]\n";
        let tests = file(text).unwrap();
        assert_eq!(tests[0].settings.expectations.timeout.as_secs(), 90);
        assert_eq!(shown(&tests[0]), ["http /", "http-status 404:/missing"]);
        assert_eq!(tests[0].settings.matrix().unwrap().values(Axis::Firmware), ["bios", "uefi"]);
        assert_eq!((&*tests[1].name, shown(&tests[1])), ("x", vec!["exit-code 7".into()]));
        assert_eq!(tests[1].settings.process.command, ["sh", "-c", "exit 7"]);
    }

    #[test]
    fn every_key_is_a_default_and_a_test_adds_to_it_or_replaces_it() {
        let text = "[defaults]\nhttp = '/'\nexec = ['true']\ntcp = 80\nhealthy = true\nexit-code = 1\nenv = ['A=1']\n\
            user = 'web'\nmatrix = 'bus=nvme'\ncommand = ['x', '-y']\nwait-online = true\nmemory = '2g'\nbus = 'scsi'\n\
            cmdline = '-x'\nread-only = true\nstop-timeout = 3\n[[test]]\nname='a'\nimage='i'\n[[test]]\nname='b'\n\
            image='i'\nhttp = ['/b']\nhealthy = false\nexit-code = 2\nenv = 'B=2'\nuser = 'root'\nmatrix = 'nic=e1000'\n\
            command = \"z 'two words'\"\nwait-online = 5\n";
        let tests = file(text).unwrap();
        let [a, b] = &tests[..] else { panic!("{tests:?}") };
        assert_eq!(shown(a), ["tcp 80", "http /", "exec true", "healthy", "exit-code 1"]);
        assert_eq!(shown(b), ["tcp 80", "http /", "http /b", "exec true", "exit-code 2"]);
        let process = |test: &SpecTest| test.settings.process.clone();
        assert_eq!((process(a).env, process(b).env), (vec!["A=1".into()], vec!["A=1".into(), "B=2".to_owned()]));
        assert_eq!(
            (process(a).command, process(b).command),
            (vec!["x".into(), "-y".to_owned()], vec!["z".into(), "two words".to_owned()])
        );
        assert_eq!((process(a).wait_online, process(b).wait_online), (Some(30), Some(5)));
        assert_eq!((process(a).user, process(b).user), (Some("web".into()), Some("root".into())));
        assert_eq!(
            (&a.settings.machine.matrix, &b.settings.machine.matrix),
            (&vec!["bus=nvme".into()], &vec!["nic=e1000".to_owned()])
        );
        assert_eq!((b.settings.machine.memory, &*b.settings.disk.cmdline), (2048, "-x"));
        assert!(process(b).read_only && process(b).stop_timeout == Some(3));
    }

    /// `env = ["NAME"]` is `--env NAME`.
    #[test]
    fn a_variable_without_a_value_has_the_one_it_has_here() {
        let tests = file("[[test]]\nimage='i'\nenv = ['PATH', 'NOT_SET_ANYWHERE_42']\n").unwrap();
        let env = tests[0].settings.process.overrides().unwrap().env;
        assert_eq!(env, [format!("PATH={}", std::env::var("PATH").unwrap()), "NOT_SET_ANYWHERE_42".into()]);
    }

    #[test]
    fn the_command_line_is_said_of_every_test_and_goes_first() {
        let line = [
            "test",
            "--timeout",
            "7s",
            "--http",
            "/line",
            "--matrix=bus=nvme",
            "--matrix=nic=none",
            "--healthy",
            "--",
            crate::cli::words::LEFT_OUT,
            "x",
            "-y",
        ];
        let command = <super::super::Args as clap::Args>::augment_args(clap::Command::new("test"));
        let more = Definition::new().of_command_line(&command.get_matches_from(line));
        let text = "[[test]]\nimage='i'\ntimeout='9s'\nboot-timeout='5s'\nhttp='/'\nmatrix='bus=ide'\ncommand='z'\n";
        let tests = parse(text, Path::new("f"), &more).unwrap();
        let settings = &tests[0].settings;
        assert_eq!(shown(&tests[0]), ["http /", "http /line", "healthy"]);
        assert_eq!((settings.expectations.timeout.as_secs(), settings.expectations.boot_timeout.as_secs()), (7, 5));
        assert_eq!(settings.machine.matrix, ["bus=nvme", "nic=none"]);
        assert_eq!(settings.process.command, ["x", "-y"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let test = |keys: &str| format!("[[test]]\nimage = 'i'\n{keys}\n");
        for (text, message) in [
            (String::new(), "f has 0 tests, from 1 to 1000 are run"),
            ("[[test]]\nname = 'a'\n".into(), "f, line 1: a test needs one of image and disk"),
            ("[[test]]\nimage = 'a'\ndisk = 'b'\n".into(), "f, line 1: a test needs one of image and disk"),
            ("[[test]\n".into(), "f, line 1: "),
            ("test = 1\n".into(), "f, line 1: each test is written below [[test]]"),
            ("[tests]\n".into(), "f, line 1: unknown key tests; a file has [defaults] and [[test]]"),
            ("[defaults]\nimage = 'x'\n".into(), "f, line 2: image is a test's own and no default"),
            (
                "[defaults]\ntimeout = 'x'\n[[test]]\nimage = 'i'\n".into(),
                "f, line 2: invalid value 'x' for '--timeout <TIME>': not a time",
            ),
            (test("expct = ['x']"), "f, line 3: unknown key expct; a similar one is expect"),
            (test("time-out = '1s'"), "f, line 3: unknown key time-out; a similar one is timeout"),
            (test("json = true"), "f, line 3: unknown key json"),
            (test("qemu = '/bin/sh'"), "f, line 3: unknown key qemu"),
            (test("\"\\u001b[1m\" = 1"), "f, line 3: unknown key \\x1b[1m"),
            (test("timeout = ['1s', '2s']"), "f, line 3: timeout takes one value"),
            (test("timeout = true"), "f, line 3: timeout needs a value"),
            (test("healthy = 'yes'"), "f, line 3: healthy is true or false"),
            (test("http = { path = '/' }"), "f, line 3: http is neither"),
            (test("tcp = [80, 0]"), "f, line 3: invalid value '0' for '--tcp <PORT>'"),
            (test("cpus = 300"), "f, line 3: invalid value '300' for '--cpus <N>'"),
            (test("bus = 'isa'"), "f, line 3: invalid value 'isa' for '--bus <BUS>' [possible values: virtio"),
            (
                test("http = '/missing=404'"),
                "f, line 3: invalid value '/missing=404' for '--http <[:PORT]/PATH>': a status goes before",
            ),
            (test("modules = 'x'"), "f, line 3: the following required arguments were not provided: --kernel"),
            (test("command = \"'open\""), "f, line 3: command has an open quote"),
            (test("matrix = 'bus=isa'"), "f, line 1: unknown bus in the matrix"),
            (test("snapshot = true\nvolume = '/x'"), "f, line 3: snapshot: folders of this host and volumes do not"),
            (test("snapshot = 'true x'\nmount = 'type=bind,src=/,dst=/x'"), "f, line 3: snapshot: folders"),
            (test("volumes = 'keep'\nsnapshot = true"), "f, line 4: snapshot: folders"),
            (test("snapshot = \"'open\""), "f, line 3: invalid value ''open' for '--snapshot[=<CMD>]'"),
            (test("snapshot = ''"), "f, line 3: "),
            (
                "[defaults]\nsnapshot = true\n[[test]]\nimage = 'i'\nvolume = '/x'\n".into(),
                "f, line 2: snapshot: folders",
            ),
            (
                "[[test]]\nname = 'n'\nsnapshot = true\n[[test.machine]]\nimage = 'i'\n".into(),
                "f, line 3: snapshot is for a test of one machine",
            ),
            (
                "[[test]]\nname = 'n'\n[[test.machine]]\nimage = 'i'\nsnapshot = true\n".into(),
                "f, line 5: snapshot is for a test of one machine",
            ),
            (test("name = ''"), "f, line 1: a test's name has 0 characters"),
            (test(&format!("name = '{}'", "x".repeat(70_000))), "f, line 1: a test's name has 70000 characters"),
            (test("name = \"a\\nb\""), "f, line 1: a test's name has a character that cannot be shown: a\\nb"),
        ] {
            let error = file(&text).unwrap_err();
            assert!(error.starts_with(message), "{message} but {error}");
        }
    }

    #[test]
    fn a_snapshot_is_taken_when_it_is_ready_or_when_a_command_says_so() {
        let text = "[defaults]\nsnapshot = true\n[[test]]\nname = 'a'\nimage = 'i'\n[[test]]\nname = 'b'\nimage = 'i'\n\
            snapshot = \"sh -c 'a b'\"\nmount = 'type=tmpfs,dst=/x'\n[[test]]\nname = 'c'\nimage = 'i'\nsnapshot = false\n\
            [[test]]\nname = 'd'\nsnapshot = false\n[[test.machine]]\nname = 'e'\nimage = 'i'\n";
        let tests = file(text).unwrap();
        let shown = |test: &SpecTest| match &test.settings.expectations.snapshot {
            Some(SnapshotAt::Ready) => "ready".to_owned(),
            Some(SnapshotAt::Succeeds(exec)) => exec.command.join("|"),
            None => "boots".into(),
        };
        assert_eq!(tests.iter().map(shown).collect::<Vec<_>>(), ["ready", "sh|-c|a b", "boots", "boots"]);
    }

    const SHOP: &str = "[defaults]\nmemory = '256m'\n[[test]]\nname = 'shop'\nreject = 'PANIC'\ntimeout = '90s'\n\
        matrix = 'bus=virtio,nvme'\n[[test.machine]]\nname = 'db'\nimage = 'db.tar'\nenv = 'A=1'\n\
        [[test.machine]]\nimage = 'app.tar'\nmemory = '512m'\nafter = ['db', 'db:pg_isready -q']\nhttp = '/'\n\
        outside = true\n[[test]]\nimage = 'other.tar'\n";

    #[test]
    fn a_test_of_several_machines_says_once_what_is_said_of_all() {
        let tests = file(SHOP).unwrap();
        let [shop, other] = &tests[..] else { panic!("{tests:?}") };
        assert!(other.machines.is_empty() && other.name == "other");
        let [db, app] = &shop.machines[..] else { panic!("{shop:?}") };
        assert_eq!((&*shop.name, shop.settings.expectations.timeout.as_secs()), ("shop", 90));
        assert_eq!(shop.settings.matrix().unwrap().combinations().len(), 2);
        assert_eq!((&*db.test.name, &*app.test.name), ("db", "app"));
        assert_eq!((db.test.target.to_str(), app.test.target.to_str()), (Some("db.tar"), Some("app.tar")));
        let memory = |machine: &SpecMachine| machine.test.settings.machine.memory;
        assert_eq!((memory(db), memory(app)), (256, 512));
        assert_eq!(
            (shown(&db.test), shown(&app.test)),
            (vec!["reject \"PANIC\"".into()], vec!["reject \"PANIC\"".into(), "http /".to_owned()])
        );
        assert_eq!((db.outside, app.outside, db.after.len()), (false, true, 0));
        let after: Vec<_> = app.after.iter().map(|after| (after.machine, after.command.is_some())).collect();
        assert_eq!(after, [(0, false), (0, true)]);
    }

    #[test]
    fn the_example_of_several_machines_is_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/two-machines.toml");
        let test = super::read(&path, &[]).unwrap().remove(0);
        assert_eq!(test.machines.iter().map(|machine| &*machine.test.name).collect::<Vec<_>>(), ["db", "app"]);
    }

    #[test]
    fn what_is_wrong_with_machines_is_said_with_its_line() {
        let test = |above: &str, machine: &str| {
            format!("[[test]]\nname = 't'\n{above}\n[[test.machine]]\nimage = 'a'\n{machine}\n")
        };
        for (text, message) in [
            (test("image = 'x'", ""), "f, line 1: a test has one of image, disk and [[test.machine]]"),
            (test("after = 'a'", ""), "f, line 3: after is a machine's own, it is written below [[test.machine]]"),
            (
                test("", "timeout = '1s'"),
                "f, line 6: timeout is said of all machines of a test, it is written below [[test]]",
            ),
            (test("", "matrix = 'bus=nvme'"), "f, line 6: matrix is said of all machines of a test"),
            (test("", "machine = 1"), "f, line 6: unknown key machine"),
            (test("", "after = 'b'"), "f, line 6: no machine of this test is called b; there are a"),
            (test("", "after = 'a'"), "f, line 6: a waits for itself"),
            (
                test("", "after = 'a b'"),
                "f, line 6: invalid value 'a b' for '--after <NAME[:CMD]>': a machine's name has letters",
            ),
            (test("", "name = 'a.b'"), "f, line 4: a machine's name has letters"),
            (test("", "disk = 'b'"), "f, line 4: a test needs one of image and disk"),
            (test("", "[[test.machine]]\nimage = 'A'"), "f, line 6: a machine of this name is in line 4: A"),
            ("[[test]]\n[[test.machine]]\nimage = 'a'\n".into(), "f, line 1: a test of several machines needs a name"),
            ("[[test]]\nname = 't'\nmachine = []\n".into(), "f, line 1: a test has from 1 to 16 machines, and not 0"),
            (
                "[[test]]\nname = 't'\nmachine = 'a'\n".into(),
                "f, line 3: each machine of a test is written below [[test.machine]]",
            ),
            (
                "[[test]]\nname = 't'\nmachine = ['a']\n".into(),
                "f, line 3: each machine of a test is written below [[test.machine]]",
            ),
            ("[defaults]\noutside = true\n".into(), "f, line 2: outside is a machine's own"),
            ("[defaults]\nmachine = []\n".into(), "f, line 2: machine is a test's own and no default"),
        ] {
            let error = file(&text).unwrap_err();
            assert!(error.starts_with(message), "{message} but {error}");
        }
    }

    #[test]
    fn two_tests_of_one_name_are_refused_with_both_places() {
        for text in [
            "[[test]]\nname = 'a'\nimage = 'x'\n[[test]]\nname = 'a'\nimage = 'y'\n",
            "[[test]]\nimage = 'a.tar'\n\n[[test]]\nimage = 'b/a.tar'\n",
            "[[test]]\nname = 'a'\nimage = 'x'\n[[test]]\ndisk = 'a.img'\n",
        ] {
            let error = file(text).unwrap_err();
            assert!(
                error.contains("is in line 1,") && error.starts_with("f, line 4: ") && error.ends_with(": a"),
                "{error}"
            );
        }
        assert!(file("[[test]]\nname = 'a/b'\nimage = 'x'\n[[test]]\nname = 'a-b'\nimage = 'x'\n").is_ok());
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("k.deb"), "").unwrap();
        let read = |text: &str| {
            let path = dir.path().join("smoke.toml");
            std::fs::write(&path, text).unwrap();
            super::read(&path, &[]).unwrap().remove(0)
        };
        let at = |name: &str| dir.path().join(name).display().to_string();
        for (image, expected) in [
            ("a.tar", at("a.tar")),
            ("oci:a.oci:tag", format!("oci:{}", at("a.oci:tag"))),
            ("/b/a.tar", "/b/a.tar".into()),
            ("-", "-".into()),
            ("docker://a", "docker://a".into()),
        ] {
            assert_eq!(read(&format!("[[test]]\nimage = '{image}'\n")).target, OsString::from(expected), "{image}");
        }
        let text = "[[test]]\ndisk = 'd.img'\nkernel = 'k.deb'\nenv-file = 'e'\nmatrix = 'kernel=k.deb,6.1,x/y'\n";
        let test = read(text);
        assert_eq!(test.target, OsString::from(at("d.img")));
        assert_eq!(test.settings.disk.kernel, Some(at("k.deb").into()));
        assert_eq!(test.settings.process.env_file, [dir.path().join("e")]);
        assert_eq!(test.settings.machine.matrix, [format!("kernel={},6.1,{}", at("k.deb"), at("x/y"))]);
        let text = "[[test]]\nimage = 'i'\ncopy-in = ['a:/b:600', '/a:/b']\nssh-key = ['k', 'u:k']\npassword = 'u:h'\n";
        let added = read(text).settings.disk.added;
        let sources: Vec<_> = added.copy_in.iter().map(|copy| copy.source.clone()).collect();
        assert_eq!(sources, [dir.path().join("a"), "/a".into()]);
        let keys: Vec<_> = added.ssh_key.iter().map(|key| (key.user.as_str(), key.file.clone())).collect();
        assert_eq!(keys, [("root", dir.path().join("k")), ("u", dir.path().join("k"))]);
        assert_eq!(added.password[0].file, Some(dir.path().join("h")));
        for (kernel, expected) in [
            ("6.1.0", "6.1.0".into()),
            ("docker://a/k:1", "docker://a/k:1".into()),
            ("oci:k.oci:tag", format!("oci:{}", at("k.oci:tag"))),
        ] {
            let text = format!("[[test]]\nimage = 'i'\nkernel = '{kernel}'\n");
            assert_eq!(read(&text).settings.disk.kernel, Some(expected.clone().into()), "{kernel}");
            let text = format!("[[test]]\nimage = 'i'\nmatrix = 'kernel={kernel},k.deb'\n");
            assert_eq!(read(&text).settings.machine.matrix, [format!("kernel={expected},{}", at("k.deb"))]);
        }
    }

    /// `docs/smoke.toml.schema.json`, for editors. `BOOTDISK_BLESS=1` writes it anew.
    #[test]
    fn the_schema_of_the_file_has_every_key() {
        let schema = super::super::schema::render(&Definition::new());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/smoke.toml.schema.json");
        if std::env::var_os("BOOTDISK_BLESS").is_some() {
            std::fs::write(&path, &schema).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap() == schema, "BOOTDISK_BLESS=1 writes {} anew", path.display());
    }
}
