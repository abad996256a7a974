//! `bootdisk ps`: the machines this user started, as a table of at most 80 columns or as JSON.

use super::exec::connect;
use crate::escape::{self, escape};
use crate::machines::{Entry, Registry};
use crate::shorten::{fit, fit_end};
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk ps
  bootdisk ps -a --json

States: starting (QEMU does not run yet), booting (the workload does not), running, stopping; with -a also ended,
with the exit status. Machines are listed while their bootdisk run lives; detached ones are remembered for a while.";

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
}

/// Lists them.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let entries = Registry::of_user()?.list()?;
    let rows = entries.into_iter().filter_map(|entry| row(entry, now)).filter(|row| args.all || row.up.is_some());
    let rows: Vec<Row> = rows.collect();
    let text = if args.json { as_json(&rows)? } else { table(&rows) };
    super::stdio::data(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// `None` for a machine that has gone meanwhile.
fn row(entry: Entry, now: u64) -> Option<Row> {
    if !entry.live {
        return Some(Row { state: "ended", up: None, entry });
    }
    let state = match connect(&entry, HELLO) {
        Ok(connection) => connection.state().phase.name(),
        Err(_) if !entry.still_lives() => return None,
        Err(_) => "starting",
    };
    Some(Row { state, up: Some(now.saturating_sub(entry.record.started)), entry })
}

fn as_json(rows: &[Row]) -> anyhow::Result<String> {
    let object = |row: &Row| {
        let (record, end) = (&row.entry.record, &row.entry.end);
        json!({
            "name": record.name, "image": record.image, "state": row.state, "pid": row.up.map(|_| record.pid),
            "started": record.started, "up": row.up, "ports": record.ports, "detached": record.detached,
            "exit_status": end.as_ref().map(|end| end.status),
            "reason": end.as_ref().and_then(|end| end.sentence.as_ref()),
        })
    };
    Ok(escape::json(&rows.iter().map(object).collect::<Vec<_>>())?)
}

/// Names are shown whole as long as they are not excessive: they are what one types.
fn table(rows: &[Row]) -> String {
    let longest = rows.iter().map(|row| row.entry.record.name.len()).max().unwrap_or(0);
    let name = longest.clamp(4, 28);
    let image = 44 - name;
    let mut text = format!("{:<name$}  {:<image$}  {:<9}{:>5}  PORTS\n", "NAME", "IMAGE", "STATE", "UP");
    for Row { entry, state, up } in rows {
        let shown_name = fit(&entry.record.name, name);
        let shown_image = fit_end(&escape(entry.record.image.as_bytes()), image);
        let state = match &entry.end {
            Some(end) if up.is_none() => format!("ended {}", end.status),
            _ => (*state).to_owned(),
        };
        let age = up.map(age).unwrap_or_default();
        // Of one that has ended the reason tells more than the ports that nobody listens on any more.
        let reason = entry.end.as_ref().filter(|_| up.is_none()).and_then(|end| end.sentence.as_deref());
        let last = match reason {
            Some(reason) => fit(&escape(reason.as_bytes()), 48),
            None => fit(&escape(entry.record.ports.join(" ").as_bytes()), 16),
        };
        let line = format!("{shown_name:<name$}  {shown_image:<image$}  {state:<9}{age:>5}  {last}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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

    #[test]
    fn ages_have_one_unit() {
        for (seconds, text) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d"), (9_000_000, "104d")]
        {
            assert_eq!(age(seconds), text);
        }
    }
}
