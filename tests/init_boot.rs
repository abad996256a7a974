//! PID 1 from the kernel's first instruction to power-off, in QEMU.

#[path = "support/guest.rs"]
mod guest;
#[path = "support/tools.rs"]
mod tools;

use bootdisk::guest::channel::*;
use guest::*;

#[test]
fn a_command_runs_and_its_status_arrives() {
    let disk = Userland::busybox().disk();
    let script = "echo out; echo err >&2; id; cat /proc/1/comm; hostname; mount; ls -l /dev; env; exit 7";
    let session = Boot::new(spec(&["/bin/sh", "-c", script]), &disk).run();
    println!("{}", session.describe());
    assert_eq!(session.outcome(), Outcome::Exited(7));
    assert_eq!(session.text(stderr_of(0)), "err\n");
    assert!(session.stdout().starts_with("out\n"));
}
