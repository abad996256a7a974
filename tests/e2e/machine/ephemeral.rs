//! `--ephemeral`: what is written is there until the machine ends, and the disk never hears of it.

use super::{are_equal, busybox_disk, copy, set_size};
use crate::e2e::{Bench, Kernel};

/// Changes of every kind, each with what a disk would show.
const CHANGES: &str = "
    grep ' / ' /proc/mounts | cut -d' ' -f1,3
    stat -c '%a %u %g' /
    ls /data /volume
    echo more >> /twice/a; cat /twice/b
    mv /data /moved; ls /moved
    rm /etc/group; ls /etc/group 2>/dev/null || echo gone
    echo written > /volume/file; cat /volume/file
    ping -c 1 -w 5 127.0.0.1 >/dev/null && echo lo is up
    ls /sys/class/net
    [ $(stat -f -c %c /) -gt 400000 ] && echo room for files
";

#[test]
fn every_boot_is_the_first_and_the_disk_stays_as_it_is() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = busybox_disk(&bench, &["--ephemeral"]);
    // Room that would be grown into.
    set_size(&disk, 1 << 30);
    let before = copy(&disk, "before.img");
    let said = "overlay overlay\n755 0 0\n/data:\nnumbers\n\n/volume:\none file\nmore\nnumbers\ngone\nwritten\nlo is up\nlo\nroom for files\n";
    bench.run_other(&disk, &["--write", "--nic", "none"], &["sh", "-c", CHANGES]).expect(0, said);
    assert!(are_equal(&disk, &before), "an ephemeral root was written to the disk");

    // Again, and the workload may not even write to memory: but to what is always memory, and to volumes.
    let script = "
        cat /twice/a; ls /data /etc/group
        touch /x 2>/dev/null || echo refused
        echo > /tmp/x; echo > /run/x; echo y > /volume/x; cat /volume/x
        echo page > /library/page; wc -c < /library/book
        cat /sys/class/net/eth0/operstate
        for at in /tmp /run /volume /library; do [ $(stat -f -c %c $at) -gt 400000 ] || echo few files in $at; done
    ";
    let said = "one file\n/etc/group\n\n/data:\nnumbers\nrefused\ny\n9437184\ndown\n";
    let options = ["--write", "--read-only", "--net", "none"];
    bench.run_other(&disk, &options, &["sh", "-c", script]).expect(0, said);
    assert!(are_equal(&disk, &before), "an ephemeral and read-only root was written to the disk");

    // The same workload on the same userland, for good: what is compared does change.
    let lasting = busybox_disk(&bench, &[]);
    let before = copy(&lasting, "before.img");
    bench.run_other(&lasting, &["--write", "--nic", "none"], &["sh", "-c", "echo more >> /twice/a"]).expect(0, "");
    assert!(!are_equal(&lasting, &before), "--write wrote nothing");
    // And an option of `run` makes it forget.
    let after = copy(&lasting, "before.img");
    let script = "cat /twice/b; echo again >> /twice/b; rm -r /data";
    bench.run_other(&lasting, &["--write", "--ephemeral"], &["sh", "-c", script]).expect(0, "one file\nmore\n");
    assert!(are_equal(&lasting, &after), "run --ephemeral wrote to the disk");
}
