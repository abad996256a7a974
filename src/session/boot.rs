//! What is known of the guest since the last reset.

use super::firmware::HandOver;
use super::last_words::LastWords;
use crate::guest::channel::Outcome as Workload;
use crate::session::control::NoEntry;
use std::time::Instant;

/// What is known of the guest since the last reset.
#[derive(Clone)]
pub(super) struct Boot {
    pub(super) since: Instant,
    /// Looks for the firmware's last words.
    pub(super) hand_over: HandOver,
    /// Looks for the words of a boot that has failed, until the hello.
    pub(super) last_words: LastWords,
    pub(super) hello: bool,
    /// Its PID 1 knows that a machine may be saved and go on.
    pub(super) resumes: bool,
    /// The workload runs, or has run.
    pub(super) started: bool,
    /// How often it was started again.
    pub(super) restarts: u32,
    pub(super) result: Option<(Workload, bool)>,
    pub(super) result_at: Option<Instant>,
    pub(super) clean_at: Option<Instant>,
    pub(super) complaint: Option<String>,
    pub(super) panic_at: Option<Instant>,
    /// All that is known of the panic is a reset, which may be another's doing.
    pub(super) panic_is_a_guess: bool,
    pub(super) off_at: Option<Instant>,
    /// PID 1 has given its place to the image's own init.
    pub(super) handed_over: bool,
    /// Why nothing can be started beside that init; `None` while the caretaker is there.
    pub(super) no_entry: Option<NoEntry>,
    /// That init hears no power button, and understands Ctrl-Alt-Del.
    pub(super) no_button: bool,
    /// The console of that init has told of a panic, which only a reset makes believable.
    pub(super) panic_told: bool,
    /// What follows on the host channel is not PID 1's.
    pub(super) deaf: bool,
}

impl Boot {
    /// Nothing, from now on.
    pub(super) fn new() -> Boot {
        Boot {
            since: Instant::now(),
            hand_over: HandOver::default(),
            last_words: LastWords::default(),
            hello: false,
            resumes: false,
            started: false,
            restarts: 0,
            result: None,
            result_at: None,
            clean_at: None,
            complaint: None,
            panic_at: None,
            panic_is_a_guess: false,
            off_at: None,
            handed_over: false,
            no_entry: None,
            no_button: false,
            panic_told: false,
            deaf: false,
        }
    }
}
