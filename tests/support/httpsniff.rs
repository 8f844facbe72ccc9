//! Runs the httpsniff that was built with these tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify;
use rustix::process::{PidfdFlags, Signal, pidfd_open};
use tempfile::TempDir;

use super::exchange::Exchange;
use super::process::{collect, pid_of, poll_for, signal, wait};
use super::{files, limit};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_httpsniff");

/// A run of httpsniff that is being put together. It writes into a folder of
/// its own.
pub(crate) struct Httpsniff {
    command: Command,
    folder: TempDir,
}

impl Httpsniff {
    /// One with the backend that `HTTPSNIFF_TEST_BACKEND` names.
    pub(crate) fn new() -> Self {
        let mut run = Self::reader();
        if let Some(backend) = std::env::var_os("HTTPSNIFF_TEST_BACKEND") {
            run.command.arg("--backend").arg(backend);
        }
        run
    }

    /// One that reads a file (`-r`) and so has no backend.
    pub(crate) fn reader() -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .env_remove("SUDO_UID")
            .env_remove("SUDO_GID")
            .env_remove("SUDO_USER")
            .env("TZ", "UTC")
            .env("COLUMNS", "400");
        Self {
            command,
            folder: files::folder(),
        }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<T: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// JSON into the folder; [`Outcome::exchanges`] has it.
    pub(crate) fn json(self) -> Self {
        let file = self.folder.path().join("out.json");
        self.args(["-o", "json", "-O"]).arg(file)
    }

    /// Text into the folder; [`Outcome::text`] has it.
    pub(crate) fn text(self) -> Self {
        let file = self.folder.path().join("out.txt");
        self.args(["-o", "text", "-O"]).arg(file)
    }

    /// pcapng into the folder; [`Outcome::pcapng`] has its path.
    pub(crate) fn pcapng(self) -> Self {
        let file = self.folder.path().join("out.pcapng");
        self.arg("-w").arg(file)
    }

    /// Starts it and waits until it captures.
    pub(crate) fn start(self) -> Running {
        self.start_with(Stdio::piped())
    }

    /// As [`start`](Self::start), with its stdout going elsewhere.
    pub(crate) fn start_with(mut self, stdout: Stdio) -> Running {
        let ready = self.folder.path().join("ready");
        std::fs::create_dir(&ready).unwrap();
        let file = ready.join("file");
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        let events = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, &ready, events).unwrap();

        self.command.arg("--ready-file").arg(&file);
        let mut running = self.spawn(stdout);
        let pidfd = pidfd_open(pid_of(&running.child), PidfdFlags::empty()).unwrap();
        let mut fds = [
            PollFd::new(&watch, PollFlags::IN),
            PollFd::new(&pidfd, PollFlags::IN),
        ];
        let in_time = poll_for(&mut fds, limit());
        if !in_time || !file.exists() {
            drop(running.child.kill());
            let outcome = running.collect(Instant::now());
            let why = if in_time {
                "ended early"
            } else {
                "was not ready in time"
            };
            panic!("httpsniff {why}: {}: {}", outcome.status, outcome.stderr);
        }
        running
    }

    /// Runs it with a command to its end.
    pub(crate) fn run(mut self, command: &Command) -> Outcome {
        self.command.arg("--").arg(command.get_program());
        self.command.args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                self.command.env(name, value);
            }
        }
        if let Some(folder) = command.get_current_dir() {
            self.command.current_dir(folder);
        }
        self.finish()
    }

    /// Runs it to its end.
    pub(crate) fn finish(self) -> Outcome {
        self.spawn(Stdio::piped()).join()
    }

    fn spawn(mut self, stdout: Stdio) -> Running {
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().map(collect);
        let stderr = collect(child.stderr.take().unwrap());
        Running {
            child,
            stdout,
            stderr: Some(stderr),
            folder: Some(self.folder),
        }
    }
}

/// httpsniff at work. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    folder: Option<TempDir>,
}

impl Running {
    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as Ctrl-C does, and waits.
    pub(crate) fn stop(self) -> Outcome {
        signal(&self.child, Signal::INT);
        self.join()
    }

    /// Kills it without a chance to clean up.
    pub(crate) fn kill(mut self) -> Outcome {
        let started = Instant::now();
        self.child.kill().unwrap();
        self.collect(started)
    }

    /// Waits until it ends by itself.
    pub(crate) fn join(mut self) -> Outcome {
        let started = Instant::now();
        if wait(&mut self.child, limit() * 3).is_none() {
            let outcome = self.collect(started);
            panic!("httpsniff did not end in time: {}", outcome.stderr);
        }
        self.collect(started)
    }

    fn collect(&mut self, started: Instant) -> Outcome {
        let status = self.child.wait().unwrap();
        let took = started.elapsed();
        let bytes = |handle: Option<JoinHandle<Vec<u8>>>| {
            handle.map_or_else(Vec::new, |handle| handle.join().unwrap())
        };
        Outcome {
            status,
            took,
            stdout: bytes(self.stdout.take()),
            stderr: String::from_utf8_lossy(&bytes(self.stderr.take())).into_owned(),
            folder: self.folder.take().unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a run left behind.
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// From the signal (or the start of waiting) to the end.
    pub(crate) took: Duration,
    /// What it wrote to stdout.
    pub(crate) stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
    folder: TempDir,
}

impl Outcome {
    /// Panics unless it ended with 0.
    pub(crate) fn success(self) -> Self {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
        self
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The JSON lines it wrote.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        Exchange::parse(&std::fs::read(self.folder.path().join("out.json")).unwrap())
    }

    /// The JSON lines of one role.
    pub(crate) fn of_role(&self, role: &str) -> Vec<Exchange> {
        let mut exchanges = self.exchanges();
        exchanges.retain(|exchange| exchange.role() == role);
        exchanges
    }

    /// The text it wrote.
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out.txt")).unwrap()
    }

    /// The capture file it wrote.
    pub(crate) fn pcapng(&self) -> PathBuf {
        self.folder.path().join("out.pcapng")
    }
}
