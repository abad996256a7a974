//! Memory and time that run out, as `bootdisk run` tells it.

use super::busybox;
use crate::e2e::{Bench, Kernel};

#[test]
fn a_workload_that_eats_the_memory_is_killed_and_that_is_said() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let options = ["-m", "192m", "--net", "none"];
    let ran = bench.run_other(&image, &options, &["tail", "/dev/zero"]).expect(137, "");
    assert!(ran.stderr.contains("ran out of memory and the kernel killed the workload"), "{}", ran.stderr);
}

#[test]
fn a_machine_whose_time_is_over_before_it_came_up_says_so() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let ran = bench.run_other(&image, &["--timeout", "0.3"], &["sleep", "1000"]).expect(124, "");
    assert!(ran.stderr.contains("did not end in time: PID 1 never came up"), "{}", ran.stderr);
}
