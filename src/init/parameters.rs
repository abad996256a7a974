//! Kernel parameters that were asked for: sysctl(8)'s, by way of /proc/sys.

use super::failure::Failure;
use std::fs;
use std::path::PathBuf;

/// Sets them, before the workload starts.
///
/// # Errors
/// The first that the kernel has not, or does not take.
pub fn set<'a>(wanted: impl Iterator<Item = (&'a String, &'a String)>) -> Result<(), Failure> {
    for (name, value) in wanted {
        fs::write(place(name), value).map_err(|error| {
            let shown = crate::escape::escape(format!("{name}={value}").as_bytes());
            Failure::machine(format!("cannot set the kernel parameter {shown}: {error}"))
        })?;
    }
    Ok(())
}

/// With slashes a name is a path; with dots alone each is a slash. An interface's dot needs the first form.
fn place(name: &str) -> PathBuf {
    let path = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    PathBuf::from("/proc/sys").join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_in_either_form() {
        for (name, path) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.1/forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
            ("kernel/msgmax", "/proc/sys/kernel/msgmax"),
        ] {
            assert_eq!(place(name), PathBuf::from(path), "{name}");
        }
    }
}
