//! `bootdisk ps`: the machines this user started, as a table of at most 80 columns or as JSON.

use super::exec::connect;
use crate::escape::{self, escape};
use crate::machines::{Entry, Registry};
use crate::session::control::{Checked, Health, State};
use crate::shorten::{fit, fit_end};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk ps
  bootdisk ps -a --json

States: starting (QEMU does not run yet), booting (the workload does not), running, restarting (it has ended and starts
again), stopping; with -a also ended, with the exit status. Machines are listed while their bootdisk run lives; detached
ones are remembered for a while.

HEALTH is what the image's HEALTHCHECK says, or --health-cmd: starting, healthy, unhealthy. --json has the last five
results, too: exit code (-1 for a check that did not end by itself) and the beginning of the output.";

/// A machine that does not answer for so long is only starting.
const HELLO: Duration = Duration::from_secs(1);

/// Arguments of `bootdisk ps`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Show detached machines that have ended, too
    #[arg(long, short)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A line of the table.
struct Row {
    entry: Entry,
    state: &'static str,
    /// Seconds since its start, while it runs.
    up: Option<u64>,
    health: Option<Health>,
    /// How often its workload was started again.
    restarts: u32,
    /// What its health checks came to, the newest last.
    checked: Vec<Checked>,
}

impl Row {
    fn new(entry: Entry, state: &'static str) -> Row {
        Row { entry, state, up: None, health: None, restarts: 0, checked: Vec::new() }
    }
}

/// Lists them.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let entries = Registry::of_user()?.list()?;
    let rows =
        entries.into_iter().filter_map(|entry| row(entry, now, args.json)).filter(|row| args.all || row.up.is_some());
    let rows: Vec<Row> = rows.collect();
    let text = if args.json { as_json(&rows)? } else { table(&rows) };
    super::stdio::data(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// `None` for a machine that has gone meanwhile.
fn row(entry: Entry, now: u64, results: bool) -> Option<Row> {
    if !entry.live {
        return Some(Row::new(entry, "ended"));
    }
    let up = Some(now.saturating_sub(entry.record.started));
    match connect(&entry, HELLO) {
        Ok(mut connection) => {
            let (state, &State { health, restarts, .. }) = (connection.state().name(), connection.state());
            let asked = (results && health.is_some()).then(|| connection.health(Some(Instant::now() + HELLO)));
            // One that ends just now has nothing to tell.
            let checked = asked.and_then(Result::ok).unwrap_or_default();
            Some(Row { up, health, restarts, checked, ..Row::new(entry, state) })
        }
        Err(_) if !entry.still_lives() => None,
        Err(_) => Some(Row { up, ..Row::new(entry, "starting") }),
    }
}

fn as_json(rows: &[Row]) -> anyhow::Result<String> {
    let object = |row: &Row| {
        let (record, end) = (&row.entry.record, &row.entry.end);
        json!({
            "name": record.name, "image": record.image, "state": row.state, "pid": row.up.map(|_| record.pid),
            "started": record.started, "up": row.up, "ports": record.ports, "detached": record.detached,
            "exit_status": end.as_ref().map(|end| end.status),
            "reason": end.as_ref().and_then(|end| end.sentence.as_ref()),
            "restarts": row.up.map(|_| row.restarts), "health": row.health.map(Health::name),
            "health_log": row.health.map(|_| row.checked.iter().map(checked).collect::<Vec<_>>()),
        })
    };
    Ok(escape::json(&rows.iter().map(object).collect::<Vec<_>>())?)
}

fn checked(one: &Checked) -> Value {
    json!({"at": one.at, "took": one.took as f64 / 1000.0, "exit_code": one.exit_code, "output": one.output})
}

/// Characters of a line before its ports, and between two columns.
const BEFORE_PORTS: usize = 64;
/// As above.
const GAP: usize = 2;

/// Names are shown whole as long as they are not excessive: they are what one types. A column that says nothing of any
/// machine is not there, and what is there takes its room from the images.
fn table(rows: &[Row]) -> String {
    let health = rows.iter().map(|row| row.health.map_or("", Health::name).to_owned()).collect::<Vec<_>>();
    let restarts = rows.iter().map(|row| if row.restarts == 0 { String::new() } else { row.restarts.to_string() });
    let more = [("HEALTH", health), ("RESTARTS", restarts.collect())];
    let more: Vec<_> = more.iter().filter(|(_, values)| values.iter().any(|value| !value.is_empty())).collect();
    let states: Vec<String> = rows.iter().map(state).collect();
    let state = states.iter().map(String::len).max().unwrap_or(0).max(9);
    let widths: Vec<usize> = more
        .iter()
        .map(|(title, values)| values.iter().map(|value| value.len()).chain([title.len()]).max().unwrap_or(0))
        .collect();
    let left = BEFORE_PORTS - state - 5 - 3 * GAP - widths.iter().map(|width| width + GAP).sum::<usize>();
    let longest = rows.iter().map(|row| row.entry.record.name.len()).max().unwrap_or(0);
    let name = longest.clamp(4, 28.min(left - 8));
    let image = left - name;
    let also = |cells: Vec<&str>| -> String {
        widths.iter().zip(cells).map(|(width, cell)| format!("  {cell:<width$}")).collect()
    };
    let titles = also(more.iter().map(|(title, _)| *title).collect());
    let mut text = format!("{:<name$}  {:<image$}  {:<state$}{:>5}{titles}  PORTS\n", "NAME", "IMAGE", "STATE", "UP");
    for (number, Row { entry, up, .. }) in rows.iter().enumerate() {
        let shown_name = fit(&entry.record.name, name);
        let shown_image = fit_end(&escape(entry.record.image.as_bytes()), image);
        let age = up.map(age).unwrap_or_default();
        // Of one that has ended the reason tells more than the ports that nobody listens on any more.
        let reason = entry.end.as_ref().filter(|_| up.is_none()).and_then(|end| end.sentence.as_deref());
        let last = match reason {
            Some(reason) => fit(&escape(reason.as_bytes()), 48),
            None => fit(&escape(entry.record.ports.join(" ").as_bytes()), 16),
        };
        let cells = also(more.iter().map(|(_, values)| values[number].as_str()).collect());
        let of_state = &states[number];
        let line = format!("{shown_name:<name$}  {shown_image:<image$}  {of_state:<state$}{age:>5}{cells}  {last}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn state(row: &Row) -> String {
    match &row.entry.end {
        Some(end) if row.up.is_none() => format!("ended {}", end.status),
        _ => row.state.to_owned(),
    }
}

/// A time in its largest unit.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::Record;

    #[test]
    fn ages_have_one_unit() {
        for (seconds, text) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d"), (9_000_000, "104d")]
        {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn a_table_is_80_wide_at_most_and_has_the_columns_that_say_something() {
        use Health::{Healthy, Starting, Unhealthy};
        let titles = |text: &str| text.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        for (names, healths, columns) in [
            (&["a", "b"][..], &[None, None][..], "NAME IMAGE STATE UP PORTS"),
            (&["a", "b"], &[None, Some(Healthy)], "NAME IMAGE STATE UP HEALTH PORTS"),
            (&["a", "b"], &[Some(Starting), Some(Unhealthy)], "NAME IMAGE STATE UP HEALTH PORTS"),
            (&["a-name-of-more-than-28-characters"], &[Some(Unhealthy)], "NAME IMAGE STATE UP HEALTH RESTARTS PORTS"),
            (&["r"], &[None], "NAME IMAGE STATE UP RESTARTS PORTS"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let registry = Registry::open(dir.path()).unwrap();
            let record = |name: &&str| Record {
                name: (*name).to_owned(),
                image: "/a/path/that/is/rather/long/image.tar".into(),
                pid: 1,
                started: 1,
                ports: vec!["127.0.0.1:8080:80".into(), "443:443".into()],
                detached: true,
            };
            let _machines: Vec<_> = names.iter().map(|name| registry.register(record(name)).unwrap()).collect();
            let rows = registry.list().unwrap().into_iter().zip(healths);
            let restarts = if columns.contains("RESTARTS") { 99_999_999 } else { 0 };
            let state = if restarts > 0 { "restarting" } else { "running" };
            let rows = rows.map(|(entry, &health)| Row { up: Some(119), health, restarts, ..Row::new(entry, state) });
            let rows: Vec<Row> = rows.collect();
            let text = table(&rows);
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert_eq!((titles(&text).as_str(), text.lines().count()), (columns, names.len() + 1), "{text}");
            for (line, health) in text.lines().skip(1).zip(healths) {
                let shown = line.split_whitespace().nth(4).filter(|_| columns.contains("HEALTH"));
                assert!(health.is_none() || shown == health.map(Health::name), "{text}");
                assert!(line.contains("age.tar ") && line.ends_with(" 127.0.0.1:8080:…"), "{text}");
            }
        }
    }
}
