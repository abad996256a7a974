//! `[[test.machine]]`: the machines of one test, their names, and which waits for which.
//!
//! ```toml
//! [[test]]
//! name = "shop"                   # and keys that are said of each of its machines
//!
//! [[test.machine]]
//! name = "db"
//! image = "postgres.oci"
//!
//! [[test.machine]]
//! name = "app"
//! image = "app.oci"
//! after = "db"                    # or "db:pg_isready -q": a command that must succeed there
//! http = "/"
//! ```

use crate::smoke::expect::Exec;
use crate::switch;
use std::str::FromStr;

/// The key of a test whose tables are its machines.
pub const KEY: &str = "machine";
/// What a test has and the defaults have not.
const OF_A_TEST: [&str; 4] = ["name", "image", "disk", KEY];
/// What a machine among others has, and a test has not.
const OF_A_MACHINE: [&str; 2] = ["after", "outside"];
/// What a test of one machine has.
const OF_ONE: &str = "snapshot";
/// What is said of all machines of a test together.
const OF_ALL: [&str; 3] = ["matrix", "timeout", "retries"];
/// Longest name, in bytes: of a host's (RFC 1123, 2.1).
const LONGEST: usize = 63;

/// Where keys stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Below `[defaults]`.
    Defaults,
    /// Below `[[test]]`.
    Test,
    /// Below `[[test.machine]]`.
    Machine,
}

impl Level {
    /// Why a key does not belong there.
    pub fn refusal(self, key: &str) -> Option<String> {
        match self {
            Level::Defaults if OF_A_TEST.contains(&key) => Some(format!("{key} is a test's own and no default")),
            Level::Defaults | Level::Test if OF_A_MACHINE.contains(&key) => {
                Some(format!("{key} is a machine's own, it is written below [[test.machine]]"))
            }
            Level::Machine if key == OF_ONE => Some(format!("{key} is for a test of one machine")),
            Level::Machine if OF_ALL.contains(&key) => {
                Some(format!("{key} is said of all machines of a test, it is written below [[test]]"))
            }
            _ => None,
        }
    }
}

/// What a machine waits for, as it is written: `NAME` or `NAME:CMD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AfterText {
    machine: String,
    command: Option<Exec>,
}

impl FromStr for AfterText {
    type Err = String;

    fn from_str(text: &str) -> Result<AfterText, String> {
        let (machine, command) = match text.split_once(':') {
            Some((machine, command)) => (machine, Some(Exec::parse(command).map_err(|error| error.to_string())?)),
            None => (text, None),
        };
        Ok(AfterText { machine: checked(machine)?, command })
    }
}

/// What a machine waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecAfter {
    /// The number of another machine.
    pub machine: usize,
    /// The command that must succeed there, instead of its health, its end or its start.
    pub command: Option<Exec>,
}

/// A name that a machine can have on a network.
///
/// # Errors
/// Why it cannot.
pub fn checked(name: &str) -> Result<String, String> {
    let shown = || crate::escape::escape(name.as_bytes());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let starts = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    match starts && name.len() <= LONGEST && name.bytes().all(plain) {
        true if name.eq_ignore_ascii_case("localhost") => Err("every machine is localhost to itself".into()),
        true => Ok(name.to_owned()),
        false => Err(format!(
            "a machine's name has letters, digits, - and _, begins with a letter or digit and is at most {LONGEST} long: {}",
            shown()
        )),
    }
}

/// One machine of a test, as far as names are concerned.
pub struct Named<'a> {
    /// Its line in the file.
    pub line: usize,
    /// Its name.
    pub name: &'a str,
    /// What it waits for, with that line.
    pub after: (usize, &'a [AfterText]),
}

/// What each machine waits for, by numbers.
///
/// # Errors
/// What is wrong, and in which line: too many, a name twice, a name that nobody has, machines that wait for each other.
pub fn order(machines: &[Named<'_>], line: usize) -> Result<Vec<Vec<SpecAfter>>, (usize, String)> {
    if !(1..=switch::MOST).contains(&machines.len()) {
        return Err((line, format!("a test has from 1 to {} machines, and not {}", switch::MOST, machines.len())));
    }
    for (number, machine) in machines.iter().enumerate() {
        let same = |other: &&Named<'_>| other.name.eq_ignore_ascii_case(machine.name);
        if let Some(before) = machines[..number].iter().find(same) {
            return Err((machine.line, format!("a machine of this name is in line {}: {}", before.line, machine.name)));
        }
    }
    let names = || machines.iter().map(|machine| machine.name).collect::<Vec<_>>().join(", ");
    let one = |line: usize, after: &AfterText| {
        let found = machines.iter().position(|machine| machine.name == after.machine);
        let unknown = || (line, format!("no machine of this test is called {}; there are {}", after.machine, names()));
        Ok(SpecAfter { machine: found.ok_or_else(unknown)?, command: after.command.clone() })
    };
    let all = |machine: &Named<'_>| machine.after.1.iter().map(|after| one(machine.after.0, after)).collect();
    let all = machines.iter().map(all).collect::<Result<Vec<Vec<_>>, _>>()?;
    match circle(&all) {
        None => Ok(all),
        Some(number) => {
            let machine = &machines[number];
            Err((machine.after.0, format!("{} waits for itself, directly or through others", machine.name)))
        }
    }
}

/// A machine that can never start, because it waits for itself.
fn circle(after: &[Vec<SpecAfter>]) -> Option<usize> {
    let mut started = vec![false; after.len()];
    let can =
        |started: &[bool], number: usize| !started[number] && after[number].iter().all(|after| started[after.machine]);
    while let Some(number) = (0..after.len()).find(|&number| can(&started, number)) {
        started[number] = true;
    }
    // Who is left waits for somebody who is left; going from one to the next comes to a circle.
    let mut number = started.iter().position(|started| !started)?;
    for _ in 0..after.len() {
        number = after[number].iter().map(|after| after.machine).find(|next| !started[*next])?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(machines: &[(&str, &[&str])]) -> Result<Vec<Vec<usize>>, (usize, String)> {
        let after: Vec<Vec<AfterText>> =
            machines.iter().map(|(_, after)| after.iter().map(|text| text.parse().unwrap()).collect()).collect();
        let named: Vec<Named<'_>> = machines
            .iter()
            .zip(&after)
            .enumerate()
            .map(|(number, ((name, _), after))| {
                let line = 10 * (number + 1);
                Named { line, name, after: (line + 1, after) }
            })
            .collect();
        let order = order(&named, 1)?;
        Ok(order.iter().map(|after| after.iter().map(|one| one.machine).collect()).collect())
    }

    #[test]
    fn machines_wait_for_each_other_in_one_direction() {
        for (machines, expected) in [
            (&[("db", &[][..])][..], Ok(vec![vec![]])),
            (
                &[("app", &["db", "cache:redis-cli ping"]), ("db", &[]), ("cache", &["db"])],
                Ok(vec![vec![1, 2], vec![], vec![1]]),
            ),
            (&[], Err((1, "a test has from 1 to 16 machines, and not 0"))),
            (&[("x", &[][..]); 17], Err((1, "a test has from 1 to 16 machines, and not 17"))),
            (&[("db", &[]), ("DB", &[])], Err((20, "a machine of this name is in line 10: DB"))),
            (&[("db", &[]), ("app", &["dbs"])], Err((21, "no machine of this test is called dbs; there are db, app"))),
            (&[("a", &["a"])], Err((11, "a waits for itself, directly or through others"))),
            (
                &[("a", &["b"]), ("b", &["c"]), ("c", &["b"])],
                Err((21, "b waits for itself, directly or through others")),
            ),
            (
                &[("a", &[]), ("b", &["a", "c:true"]), ("c", &["b"])],
                Err((31, "c waits for itself, directly or through others")),
            ),
        ] {
            assert_eq!(ordered(machines), expected.map_err(|(line, text): (usize, &str)| (line, text.to_owned())));
        }
    }

    #[test]
    fn a_name_is_one_that_a_host_can_have() {
        for name in ["db", "a", "9", "web-1", "my_db", "DB", &"x".repeat(63)] {
            assert_eq!(checked(name).as_deref(), Ok(name));
        }
        for name in ["", "-a", "_a", "a.b", "a b", "a:b", "ü", "a\n", "localhost", "LocalHost", &"x".repeat(64)] {
            assert!(checked(name).is_err(), "{name:?}");
        }
        assert!(checked("a\x1b").unwrap_err().ends_with(": a\\x1b"));
    }

    #[test]
    fn what_is_waited_for_is_a_machine_or_a_command_in_it() {
        let after = |machine: &str, command: Option<&str>| AfterText {
            machine: machine.into(),
            command: command.map(|command| Exec::parse(command).unwrap()),
        };
        assert_eq!("db".parse(), Ok(after("db", None)));
        assert_eq!("db:sh -c 'a: b'".parse(), Ok(after("db", Some("sh -c 'a: b'"))));
        for bad in ["", ":x", "db:", "db: ", "db:'open", "d b"] {
            assert!(bad.parse::<AfterText>().is_err(), "{bad}");
        }
    }
}
