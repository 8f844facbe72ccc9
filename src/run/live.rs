//! A live run: from the kernel's first record to the last line.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;
use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior};

use super::descriptors::{self, Former};
use super::outputs::Opened;
use super::say::{number, say};
use super::signals::{INTERRUPTED, Stops};
use super::silence::{Facts, Silence};
use super::unread::UnreadPrograms;
use super::writer::Account;
use super::{config, end, permission, warn_of_secrets};
use crate::caller::Caller;
use crate::capture::{self, Backend, Capture, Item, Settings};
use crate::cli::BackendName;
use crate::command::{Running, exit_code};
use crate::engine::Engine;
use crate::filter::Filter;
use crate::options::{CommandLine, Failure, Live, Options};
use crate::output::file::{clear_ready, write_ready};

/// The longest wait for records: the engine wants to be told the time every
/// 100 ms.
const WAIT: Duration = Duration::from_millis(50);
/// Under a flood of records the loop looks up this often.
const TURN: Duration = Duration::from_millis(80);
/// Records between two looks at the clock.
const BATCH: u32 = 256;
/// How long the reading of what is in the buffer at the end may take.
const DRAIN: Duration = Duration::from_secs(10);
/// When it is known whether a watched process only has children.
const HINT_AFTER: Duration = Duration::from_secs(1);

/// Why the loop ended.
enum End {
    /// A signal, `--count`, `--duration` or a closed pipe.
    Wanted,
    /// A second signal: COMMAND is not waited for.
    Impatient,
    /// All watched processes have ended.
    Targets,
    /// COMMAND has.
    Command(ExitStatus),
    /// An output failed; its account says how.
    Output(io::Error),
    /// The kernel side failed.
    Capture(anyhow::Error),
}

/// Captures until something ends it; gives the exit status.
pub(super) fn run(options: &Options, live: &Live) -> Result<u8, Failure> {
    // Captured secrets are in memory: no core dump, no reading by others.
    let _best_effort = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let settings = settings(options, live);
    if live.check {
        let text = capture::check(&settings).map_err(|e| failed(&e))?;
        return print(&text);
    }
    permission::check()?;
    let caller = Caller::of_sudo();
    if let Some(path) = &live.ready_file {
        clear_ready(path, caller.as_ref()).map_err(Failure::failed)?;
    }
    // A FIFO waits for its reader here, and Ctrl-C still ends it.
    let opened = Opened::open(options, None, caller.as_ref())?;
    warn_of_secrets(options);
    let stops = Stops::watch()
        .map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
    let descriptors = descriptors::raise();
    let mut capture = Capture::start(&settings).map_err(|e| failed(&e))?;
    let begun = opened.begin(caller.as_ref())?;
    for notice in capture.take_notices() {
        say(&notice);
    }
    if let Some(path) = &live.ready_file {
        announce(path, caller)?;
    }
    let command = match &live.command {
        Some(command) => Some(start_command(command, &mut capture, &descriptors)?),
        None => None,
    };
    let mut run = Run {
        engine: Engine::new(config(options), begun.sinks),
        filter: options.filter.clone(),
        command,
        accounts: begun.accounts,
        closed: begun.closed,
        stops,
        started: Instant::now(),
        duration: live.duration,
        named: !live.pids.is_empty() || live.command.is_some(),
        processes: FxHashSet::default(),
        unread: UnreadPrograms::default(),
        hinted: false,
    };
    let (reason, status) = run.capture(capture);
    let command = run.command_status(&reason);
    // A failure of httpsniff's own is not hidden behind COMMAND's success.
    Ok(if status == 0 {
        command.unwrap_or(0)
    } else {
        status
    })
}

fn failed(error: &anyhow::Error) -> Failure {
    Failure::failed(format!("{error:#}"))
}

fn settings(options: &Options, live: &Live) -> Settings {
    Settings {
        backend: match live.backend {
            BackendName::Auto => Backend::Auto,
            BackendName::Kprobe => Backend::Kprobe,
            BackendName::Socket => Backend::Socket,
        },
        no_tcp: live.no_tcp,
        no_tls: live.no_tls,
        tls_flows: options.tls_flows,
        no_uretprobes: live.no_uretprobes,
        libraries: live.libraries.clone(),
        pids: live.pids.clone(),
        follow: live.follow,
        uids: live.uids.clone(),
        containers: live.containers.as_deref().cloned(),
        redact: options.redact.clone(),
        ring_bytes: live.ring_bytes,
        prepare: live.command.as_ref().map(|c| c.path.clone()),
    }
}

/// Starts the process that will be COMMAND, watches it, and lets it go.
fn start_command(
    command: &CommandLine,
    capture: &mut Capture,
    descriptors: &Former,
) -> Result<Running, Failure> {
    let cannot = |error: io::Error| Failure::failed(format!("cannot start the command: {error}"));
    let mut running = Running::spawn(&command.words).map_err(cannot)?;
    descriptors.give_to(running.pid());
    capture.watch(running.pid(), true).map_err(|e| failed(&e))?;
    running.go().map_err(cannot)?;
    Ok(running)
}

fn print(text: &str) -> Result<u8, Failure> {
    use io::Write;
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write stdout: {error}")))
        }
        _ => Ok(0),
    }
}

/// Creates the `--ready-file`. A FIFO waits for its reader, but capturing
/// does not: that is left to a thread.
fn announce(path: &Path, caller: Option<Caller>) -> Result<(), Failure> {
    let content = format!("{}\n", std::process::id());
    if !path.exists() {
        return write_ready(path, &content, caller.as_ref()).map_err(Failure::failed);
    }
    let path = path.to_owned();
    thread::spawn(move || {
        if let Err(sentence) = write_ready(&path, &content, caller.as_ref()) {
            say(&sentence);
        }
    });
    Ok(())
}

/// A run that captures.
struct Run {
    engine: Engine,
    filter: Filter,
    command: Option<Running>,
    accounts: Vec<Account>,
    stops: Stops,
    started: Instant,
    duration: Option<Duration>,
    /// Nobody reads an output.
    closed: bool,
    /// Processes were named, or there is a COMMAND.
    named: bool,
    /// Processes that sent or received.
    processes: FxHashSet<u32>,
    /// Programs whose TLS cannot be read.
    unread: UnreadPrograms,
    hinted: bool,
}

impl Run {
    /// Captures to the end and gives out everything; when it returns, the
    /// kernel is as it was before. Exit status of the capturing.
    fn capture(&mut self, mut capture: Capture) -> (End, u8) {
        let reason = self.until_the_end(&mut capture);
        if matches!(reason, End::Wanted | End::Impatient) {
            capture.count_flows();
            // What is in the buffer was captured before the end; nothing is
            // added while it is read.
            capture.detach();
            let until = Instant::now() + DRAIN;
            let _ended_anyway = self.drain(&mut capture, until);
        }
        match &reason {
            End::Targets => say("all watched processes have ended"),
            End::Capture(error) => say(&format!("{error:#}")),
            _ => {}
        }
        let status = end(&mut self.engine, &self.accounts, capture.now());
        tell_losses(&capture);
        match &reason {
            End::Capture(_) => (reason, 1),
            End::Output(error) if error.kind() != io::ErrorKind::BrokenPipe => (reason, 1),
            _ => (reason, status),
        }
    }

    /// Waits for COMMAND if it still runs. Its exit status.
    fn command_status(&mut self, reason: &End) -> Option<u8> {
        match reason {
            End::Command(ended) => Some(exit_code(*ended)),
            End::Impatient => Some(INTERRUPTED),
            _ => self.wait_for_command(),
        }
    }

    /// The loop.
    fn until_the_end(&mut self, capture: &mut Capture) -> End {
        let mut silence = Silence::new(self.started);
        loop {
            if let Err(end) = self.turn(capture, WAIT) {
                return end;
            }
            if let Some(end) = self.ended(capture) {
                return end;
            }
            let now = Instant::now();
            for notice in capture.take_notices() {
                say(&notice);
            }
            self.hint(capture, now);
            if silence.is_due(now, self.engine.stats()) {
                let facts = Facts {
                    stats: self.engine.stats(),
                    processes: self.processes.len() as u64,
                    named: self.named,
                    unread: self.unread.programs(),
                };
                if let Some(line) = silence.line(now, &facts) {
                    say(&line);
                }
            }
        }
    }

    /// Hands what the kernel has to the engine, for one turn at most, and
    /// tells it the time. Gives the number of records.
    fn turn(&mut self, capture: &mut Capture, wait: Duration) -> Result<u32, End> {
        let (engine, processes, stops) = (&mut self.engine, &mut self.processes, &self.stops);
        let begun = Instant::now();
        let before = stops.count();
        let (mut records, mut last, mut failure) = (0_u32, 0, None);
        let result = capture.poll(wait, &mut |item| {
            records = records.wrapping_add(1);
            let outcome = match item {
                Item::Event(event) => {
                    if let Some(process) = event.process
                        && process.pid != last
                    {
                        last = process.pid;
                        processes.insert(last);
                    }
                    engine.event(&event)
                }
                Item::ProcessEnded { pid, time } => engine.process_ended(pid, time),
            };
            if let Err(error) = outcome {
                failure = Some(error);
                return false;
            }
            if engine.is_done() {
                return false;
            }
            // A flood of records would keep this call for ever.
            records % BATCH != 0 || begun.elapsed() < TURN && stops.count() == before
        });
        if let Some(error) = failure {
            return Err(End::Output(error));
        }
        result.map_err(End::Capture)?;
        for found in capture.take_unread() {
            if let Some(process) = &found.process
                && self.filter.wants_process(process)
                && let Some(line) = self.unread.line(process, &found.unread)
            {
                say(&line);
            }
            engine.explain(found.pid, found.unread);
        }
        engine.tick(capture.now()).map_err(End::Output)?;
        let muted = engine.take_muted();
        if !muted.is_empty() {
            capture.mute(&muted);
        }
        Ok(records)
    }

    /// Turns until nothing comes any more, or `until`.
    fn drain(&mut self, capture: &mut Capture, until: Instant) -> Result<(), End> {
        let stops = self.stops.count();
        while self.turn(capture, Duration::from_millis(10))? > 0 && !self.engine.is_done() {
            if Instant::now() >= until || self.stops.count() > stops {
                say("the end of what was captured has not been read: this machine is too slow");
                break;
            }
        }
        Ok(())
    }

    /// Whether something has ended the run.
    fn ended(&mut self, capture: &mut Capture) -> Option<End> {
        if self.closed
            || self.engine.is_done()
            || self.duration.is_some_and(|d| self.started.elapsed() >= d)
        {
            return Some(End::Wanted);
        }
        let Some(command) = &mut self.command else {
            if self.stops.count() > 0 {
                return Some(End::Wanted);
            }
            if !capture.targets_ended() {
                return None;
            }
            let until = Instant::now() + DRAIN;
            return Some(self.drain(capture, until).err().unwrap_or(End::Targets));
        };
        pass_on(&self.stops, command);
        if let Ok(Some(status)) = command.try_wait() {
            let until = Instant::now() + DRAIN;
            return Some(match self.drain(capture, until) {
                Ok(()) => End::Command(status),
                Err(end) => end,
            });
        }
        (self.stops.count() > 1).then_some(End::Impatient)
    }

    /// Masters of servers have children and no sockets of their own.
    fn hint(&mut self, capture: &Capture, now: Instant) {
        if self.hinted || !self.named || now.duration_since(self.started) < HINT_AFTER {
            return;
        }
        self.hinted = true;
        for (pid, name) in capture.childbearing_targets() {
            say(&format!(
                "{name}[{pid}] has children and no connection of its own: add --follow to watch them too"
            ));
        }
    }

    /// Waits for COMMAND after capturing has ended. Its exit status.
    fn wait_for_command(&mut self) -> Option<u8> {
        let command = self.command.as_mut()?;
        let mut told = false;
        loop {
            match command.try_wait() {
                Ok(Some(status)) => return Some(exit_code(status)),
                Ok(None) => {}
                Err(_) => return Some(1),
            }
            if !told {
                told = true;
                say(&format!(
                    "capturing has ended; waiting for the command (pid {})",
                    command.pid()
                ));
            }
            pass_on(&self.stops, command);
            if self.stops.count() > 1 {
                return Some(INTERRUPTED);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Ctrl-C reaches COMMAND by itself, it is in the same process group; what
/// was sent to httpsniff alone is passed on.
fn pass_on(stops: &Stops, command: &Running) {
    if stops.take_terms() > 0 {
        command.signal(Signal::TERM);
    }
    if stops.take_hangups() > 0 {
        command.signal(Signal::HUP);
    }
}

/// What the kernel side lost beside bytes.
fn tell_losses(capture: &Capture) {
    let losses = capture.losses();
    if losses.malformed > 0 {
        say(&format!(
            "{} of the kernel side could not be understood",
            number(losses.malformed, "record")
        ));
    }
    if losses.calls > 0 {
        say(&format!(
            "{} could not be followed to the end",
            number(losses.calls, "call")
        ));
    }
    if losses.files > 0 {
        say(&format!(
            "{} with a TLS library were not attached to: there were too many",
            number(losses.files, "file")
        ));
    }
}
