//! What counts as an image's own init, for the disk's maker who warns and for PID 1 who hands over.

/// Where distributions keep their init, most specific first.
pub const PLACES: [&str; 6] =
    ["/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/bin/init", "/init"];

/// Whether an image's command is an init itself, which then is the one to hand over to.
pub fn is_init(command: &str) -> bool {
    let name = command.rsplit('/').next();
    matches!(name, Some("init" | "systemd" | "openrc-init" | "runit" | "s6-svscan" | "dinit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inits_are_known_by_name() {
        assert!(PLACES.iter().all(|place| is_init(place)));
        assert!(is_init("systemd") && is_init("/opt/dinit"));
        assert!(!is_init("/hello") && !is_init("/sbin/init/x") && !is_init(""));
    }
}
