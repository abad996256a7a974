//! The conversation with PID 1 over the host channel.

use super::Session;
use crate::escape::{escape, printable};
use crate::guest::booted::SERIAL;
use crate::guest::channel::{Level, Outcome as Workload, VERSION, Welcome};
use crate::session::channel::{Incoming, Output, WORKLOAD};
use crate::session::event::{Outcome, What, Why};
use crate::session::terminal::Raw;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// From the loss of our reader to that of our patience, see [`Session::output_closed`].
const READERLESS: Duration = Duration::from_secs(2);

impl Session<'_> {
    /// Reads the host channel; whether there was anything.
    pub(super) fn read_port(&mut self) -> bool {
        if self.is_deaf() {
            return false;
        }
        let n = self.port.read(&mut self.buffer);
        if n == 0 {
            return false;
        }
        self.heard = Instant::now();
        if self.boot.deaf {
            return true;
        }
        self.channel.feed(&self.buffer[..n]);
        loop {
            match self.channel.next_incoming() {
                Ok(Some(incoming)) => self.incoming(incoming),
                Ok(None) => return true,
                Err(_) if self.boot.handed_over => {
                    self.boot.deaf = true;
                    self.caretaker_gone();
                    return true;
                }
                Err(error) => {
                    self.port.open = false;
                    self.conclude(Outcome::Protocol { message: printable(&error.to_string()) });
                    return true;
                }
            }
        }
    }

    fn incoming(&mut self, incoming: Incoming) {
        let Some(incoming) = self.take_checks(incoming) else { return };
        match incoming {
            Incoming::Hello(hello) => {
                self.boot.hello = true;
                self.boot.panic_at = None;
                self.boot.resumes = hello.resumes;
                let too_old = self.options.overrides.restart.is_some_and(|policy| !policy.is_no()) && !hello.restarts;
                self.tell(What::Hello(hello));
                match too_old {
                    true => self.conclude(Outcome::Older { option: "--restart" }),
                    false => self.welcome(),
                }
            }
            Incoming::Started(WORKLOAD) => {
                self.boot.started = true;
                self.take_terminal();
                self.begin_checks();
                self.tell(What::WorkloadStarted);
            }
            Incoming::Data { process: WORKLOAD, output, bytes } => {
                if self.reader_gone[output as usize].is_some_and(|since| since.elapsed() > READERLESS) {
                    self.stop_for_want_of_a_reader();
                }
                self.pass_on(output, bytes);
            }
            Incoming::Result { process: WORKLOAD, outcome, oom } => {
                if self.boot.result.is_none() {
                    self.boot.result = Some((outcome.clone(), oom));
                    self.boot.result_at = Some(Instant::now());
                    self.channel.close_stdin(WORKLOAD);
                    self.tell(What::Result { outcome, oom });
                }
            }
            Incoming::Restarting { outcome, count, pause } => self.restarting(outcome, count, pause),
            Incoming::HandedOver { init, no_button, caretaker } => self.handed_over(&init, no_button, caretaker),
            Incoming::Done => {
                self.boot.clean_at.get_or_insert_with(Instant::now);
                self.tell(What::FileSystemsClean);
            }
            Incoming::Log(log) => {
                if log.level == Level::Error {
                    self.boot.complaint = Some(escape(log.text.as_bytes()));
                }
                self.tell(What::Log(log));
            }
            Incoming::Eof { process: WORKLOAD, .. } | Incoming::Credit { process: WORKLOAD, .. } => {}
            Incoming::Started(process) => self.client_started(process),
            Incoming::Data { process, output, bytes } => self.client_data(process, output, bytes),
            Incoming::Eof { process, output } => self.client_eof(process, output),
            Incoming::Credit { process, bytes } => self.client_credit(process, bytes),
            Incoming::Result { process, outcome, .. } => self.client_ended(process, outcome),
        }
    }

    /// The workload has ended, and what is said to it now nobody hears: input through a pipe was this life's.
    fn restarting(&mut self, outcome: Workload, count: u32, pause: Duration) {
        (self.boot.started, self.boot.restarts) = (false, count);
        if self.terminal.is_none() {
            self.channel.close_stdin(WORKLOAD);
        }
        self.tell(What::Restarting { outcome, count, pause });
    }

    /// Raw mode, and only now: until here, Ctrl-C is for us.
    pub(super) fn take_terminal(&mut self) {
        if self.options.stdin && self.terminal.is_some() && self.raw.is_none() {
            self.raw = Raw::enter(self.stdin.as_fd()).ok();
        }
    }

    fn welcome(&mut self) {
        let welcome = Welcome {
            version: VERSION,
            nonce: String::new(),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            disk_serial: Some(SERIAL.to_owned()),
            overrides: self.options.overrides.clone(),
            terminal: self.terminal.clone(),
            stdin: self.options.stdin,
            // At once: a panic is then a reset, and a reset without a result is a panic.
            panic: Some(-1),
            restarts: true,
        };
        let sent = match self.channel.welcome(welcome) {
            Ok(Ok(())) => return,
            Ok(Err(too_long)) => too_long.to_string(),
            Err(error) => error.to_string(),
        };
        self.conclude(Outcome::Protocol { message: sent });
    }

    /// Output of the workload.
    pub(super) fn pass_on(&mut self, output: Output, bytes: Vec<u8>) {
        if let Some(save) = &mut self.save {
            save.wrote(output as usize, &bytes);
        }
        self.writers[output as usize].write(bytes);
    }

    /// What the writers have written, the guest may write again; one that is being saved when it goes on.
    pub(super) fn pass_credit(&mut self) {
        if self.is_saving() {
            return;
        }
        for output in [Output::Stdout, Output::Stderr] {
            let n = self.writers[output as usize].passed_on();
            if n > 0 {
                self.channel.passed_on(WORKLOAD, output, n as u32);
            }
            if self.writers[output as usize].broken() && self.reader_gone[output as usize].is_none() {
                self.output_closed(output);
            }
        }
    }

    /// Our reader has gone. The guest is told, closes its pipe, and the workload decides what EPIPE means to it. What
    /// it still sends is thrown away; data long after that come from a PID 1 that does not know this, and the machine
    /// is stopped.
    fn output_closed(&mut self, output: Output) {
        self.reader_gone[output as usize] = Some(Instant::now());
        self.channel.reader_gone(WORKLOAD, output);
        if self.boot.handed_over {
            self.stop_for_want_of_a_reader();
        }
    }

    /// Once: what is still on its way when the guest is asked to stop is no second request, which would hurry it.
    fn stop_for_want_of_a_reader(&mut self) {
        if self.stopping.is_none() {
            self.stop(Why::OutputClosed);
        }
    }
}
