//! How often something is tried, and how long is waited in between.

use super::error::RegistryError;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Pauses between tries: one try more than there are pauses.
const PAUSES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];
/// Longest wait that a registry may ask for.
const LONGEST: u64 = 60;

/// Tries until it succeeds, or fails with what no other try mends.
///
/// # Errors
/// The last one's.
pub fn persistently<T>(mut attempt: impl FnMut() -> Result<T, RegistryError>) -> Result<T, RegistryError> {
    for pause in PAUSES {
        match attempt() {
            Err(error) if error.may_pass() => wait(&error, pause)?,
            result => return result,
        }
    }
    attempt()
}

/// Waits before the next try after the `tries`-th one failed, or passes the error on when it was the last.
pub fn pause(error: RegistryError, tries: usize) -> Result<(), RegistryError> {
    match PAUSES.get(tries) {
        Some(&pause) if error.may_pass() => wait(&error, pause),
        _ => Err(error),
    }
}

fn wait(error: &RegistryError, pause: Duration) -> Result<(), RegistryError> {
    let asked = match error {
        RegistryError::Busy { registry, wait: Some(wait) } if *wait > LONGEST => {
            return Err(RegistryError::Busy { registry: registry.clone(), wait: Some(*wait) });
        }
        RegistryError::Busy { wait, .. } => Duration::from_secs(wait.unwrap_or(0)),
        _ => Duration::ZERO,
    };
    sleep(asked.max(pause));
    Ok(())
}

/// Seconds that a header Retry-After asks for: a number of them, or a date.
pub fn after(header: &str, now: SystemTime) -> Option<u64> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|b| b.is_ascii_digit()) {
        return Some(header.parse().unwrap_or(u64::MAX));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(header).ok()?;
    let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(u64::try_from(date.as_second()).unwrap_or(0).saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_asks_for() {
        let now = UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        for (header, seconds) in [
            ("1", Some(1)),
            (" 7 ", Some(7)),
            ("1000000000", Some(1_000_000_000)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("soon", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(after(header, now), seconds, "{header}");
        }
    }

    #[test]
    fn it_is_tried_a_few_times_and_never_waits_for_days() {
        let busy = |wait| RegistryError::Busy { registry: "x".into(), wait };
        let mut tries = 0;
        let mut count = |error: fn() -> RegistryError| {
            tries = 0;
            _ = persistently::<()>(|| {
                tries += 1;
                Err(error())
            });
            tries
        };
        assert_eq!(count(|| RegistryError::Status { registry: "x".into(), status: 500, said: String::new() }), 4);
        assert_eq!(count(|| RegistryError::Status { registry: "x".into(), status: 404, said: String::new() }), 1);
        assert_eq!(count(|| RegistryError::Busy { registry: "x".into(), wait: Some(1_000_000_000) }), 1);
        assert!(pause(busy(Some(0)), 0).is_ok() && pause(busy(None), 3).is_err());
    }
}
