//! The table of sysvinit and of busybox's init, where the machine's console has nobody to log in to: distributions give
//! it a login on their screens, and one on a serial port is left to whoever installs.
//!
//! ```text
//!  sysvinit   id:runlevels:action:process      busybox   terminal::action:process
//! ```
//!
//! Specification: inittab(5); busybox, init/init.c.

/// Whether its init knows what Ctrl-Alt-Del is for.
pub fn understands_keys(table: &str) -> bool {
    let lines = table.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(':').nth(2)).any(|action| action == "ctrlaltdel")
}

/// The table with a login on `console`; `None` where there is one, or no program for it.
pub fn adapt(table: &str, console: &str, getty: Option<&str>) -> Option<String> {
    let lines = || table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let fields = |line: &str| line.splitn(4, ':').map(str::to_owned).collect::<Vec<_>>();
    let entries: Vec<Vec<String>> = lines().map(fields).filter(|fields| fields.len() == 4).collect();
    let names = |text: &str| text.split([' ', '\t', '/']).any(|word| word == console);
    let has_login = entries.iter().any(|fields| {
        let respawns = matches!(fields[2].as_str(), "respawn" | "askfirst" | "once" | "wait");
        respawns && (names(&fields[3]) || fields[0] == console && fields[1].is_empty())
    });
    let getty = getty.filter(|_| !has_login && !entries.is_empty())?;
    let login = format!("{getty} -L {console} 115200 vt100");
    // Only sysvinit has run levels.
    let line = match entries.iter().any(|fields| fields[2] == "initdefault") {
        true => format!("{}:2345:respawn:{login}", identifier(&entries)),
        false => format!("{console}::respawn:{login}"),
    };
    let end = if table.ends_with('\n') { "" } else { "\n" };
    Some(format!("{table}{end}{line}\n"))
}

/// A name of at most four characters that no entry has.
fn identifier(entries: &[Vec<String>]) -> String {
    let names = std::iter::once("bd".to_owned()).chain((0..100).map(|number| format!("bd{number}")));
    names.into_iter().find(|name| entries.iter().all(|fields| fields[0] != *name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSVINIT: &str = "# comment\nid:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\n\
        1:2345:respawn:/sbin/getty 38400 tty1\n#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n";
    const BUSYBOX: &str = "::sysinit:/sbin/openrc sysinit\ntty1::respawn:/sbin/getty 38400 tty1\n";

    #[test]
    fn a_console_without_a_login_gets_one_in_the_words_of_its_init() {
        let getty = Some("/sbin/getty");
        for (table, added) in [
            (SYSVINIT.to_owned(), Some("bd:2345:respawn:/sbin/getty -L ttyS0 115200 vt100\n")),
            (format!("{SYSVINIT}bd:2:once:/x"), Some("\nbd0:2345:respawn:/sbin/getty -L ttyS0 115200 vt100\n")),
            (BUSYBOX.to_owned(), Some("ttyS0::respawn:/sbin/getty -L ttyS0 115200 vt100\n")),
            // There is one, however it is written.
            (format!("{SYSVINIT}T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n"), None),
            (format!("{SYSVINIT}s:2345:respawn:/sbin/agetty /dev/ttyS0\n"), None),
            (format!("{BUSYBOX}ttyS0::askfirst:/bin/sh\n"), None),
            // Another port's is another's.
            (
                format!("{BUSYBOX}ttyS01::respawn:/sbin/getty ttyS01\n"),
                Some("ttyS0::respawn:/sbin/getty -L ttyS0 115200 vt100\n"),
            ),
            ("# nothing\n".to_owned(), None),
            (String::new(), None),
        ] {
            let adapted = adapt(&table, "ttyS0", getty);
            assert_eq!(adapted, added.map(|added| format!("{table}{added}")), "{table}");
        }
        assert_eq!(adapt(SYSVINIT, "ttyS0", None), None);
    }

    #[test]
    fn whoever_acts_on_ctrl_alt_del_says_so() {
        for (line, understands) in [
            ("ca:12345:ctrlaltdel:/sbin/shutdown -t1 -a -r now", true),
            ("::ctrlaltdel:/sbin/reboot", true),
            ("#ca:12345:ctrlaltdel:/sbin/shutdown", false),
            ("x:2:once:/bin/ctrlaltdel", false),
            ("", false),
        ] {
            assert_eq!(understands_keys(&format!("{SYSVINIT}{line}\n")), understands, "{line}");
        }
    }
}
