//! Scenarios of process 1 itself: one workload, a paragraph of its script a scenario.

use super::scenario::Row;
use super::scenario::row;

/// A paragraph: what it is about, what the shell does, what is seen.
pub struct Paragraph {
    pub name: &'static str,
    script: &'static str,
    pub says: &'static str,
}

const fn say(name: &'static str, script: &'static str, says: &'static str) -> Paragraph {
    Paragraph { name, script, says }
}

/// What process 1 sees and does, in this order.
pub const PARAGRAPHS: [Paragraph; 16] = [
    say("it is process 1, and nobody's child", "echo $$ $PPID", "1 0\n"),
    say("its session and its group are its own", "cut -d' ' -f1,4-8 /proc/1/stat", "1 0 1 1 0 -1\n"),
    say("its command", "tr '\\0' ' ' < /proc/1/cmdline | head -n 1 | cut -c1-11", "/bin/sh -c \n"),
    say("its name", "cat /proc/1/comm", "sh\n"),
    say("its folder, made behind a link", "pwd -P; stat -c '%a %u:%g' .", "/real/made/here\n755 0:0\n"),
    say("the folders on the way", "stat -c '%a %u:%g' ..", "755 0:0\n"),
    say("its user", "id -u; id -g", "33\n44\n"),
    say("it cannot write to its folder", "touch x 2>/dev/null; echo $?", "1\n"),
    say(
        "it survives signals it does not catch",
        "kill -TERM $$; kill -HUP $$; kill -KILL $$; kill -SEGV $$; echo on",
        "on\n",
    ),
    say("its children die of them", "sleep 100 & kill $!; wait $!; echo $?", "143\n"),
    say(
        "an orphan comes to it",
        "p=$(sh -c 'sleep 100 > /dev/null & echo $!'); cut -d' ' -f4 /proc/$p/stat; kill -9 $p",
        "1\n",
    ),
    say("it catches what it wants", "trap 'echo caught' USR1; kill -USR1 $$; trap - USR1", "caught\n"),
    say("its processes and no others", "ls -d /proc/[0-9]* | wc -l | awk '{print ($1 < 8)}'", "1\n"),
    say("its number in every namespace it sees", "grep NSpid /proc/1/status", "NSpid:\t1\n"),
    say("three hundred orphans", "/probe orphans 300", "orphans 0\n"),
    say("zombies are its own to collect", "ps -o stat | grep -c Z | awk '{print ($1 <= 300)}'", "1\n"),
];

/// The workload. Its last act ends process 1 by a signal the kernel forces on it.
pub fn workload() -> Row {
    let script: Vec<String> =
        PARAGRAPHS.iter().map(|part| format!("echo \"== {}\"\n{}", part.name, part.script)).collect();
    let script = format!("{}\nsleep 1000 &\nexec /probe abort", script.join("\n"));
    row("process 1").sh(&script).user("www:extra").dir("/link/made/here").ends(128 + 11)
}

/// What each paragraph said.
pub fn paragraphs(output: &str) -> Vec<(String, String)> {
    let parts = output.split("== ").skip(1).filter_map(|part| part.split_once('\n'));
    parts.map(|(name, said)| (name.to_owned(), said.to_owned())).collect()
}
