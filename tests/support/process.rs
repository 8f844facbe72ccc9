//! Child processes that end with the test.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::limit;

/// A running program. Killed, by its pid, when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Process {
    /// Starts it; its output is read all the time, so that it never blocks.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::spawn_with(command, Stdio::piped())
    }

    /// As [`spawn`](Self::spawn), with its stdin coming from elsewhere.
    pub(crate) fn spawn_with(command: &mut Command, stdin: Stdio) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    // Nobody listens any more; go on reading.
                }
            }
        });
        let stderr = collect(child.stderr.take().unwrap());
        Self {
            name,
            stdin: child.stdin.take(),
            child,
            lines,
            stderr: Some(stderr),
        }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its stdout.
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(limit()) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("{}: no output in time", self.name),
            Err(RecvTimeoutError::Disconnected) => {
                let stderr = self.end();
                panic!("{}: ended early: {stderr}", self.name)
            }
        }
    }

    /// Lines of its stdout until one that `wanted` accepts.
    pub(crate) fn line_with(&mut self, wanted: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(wanted) {
                return line;
            }
        }
    }

    /// Writes a line to its stdin.
    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Asks it to end as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        signal(&self.child, Signal::INT);
    }

    /// Waits for it to end well, and returns the rest of its stdout.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.stdin = None;
        let status = wait(&mut self.child, limit());
        let lines = self.lines.iter().collect();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        match status {
            Some(status) if status.success() => lines,
            Some(status) => panic!("{}: {status}: {stderr}", self.name),
            None => panic!("{}: did not end in time: {stderr}", self.name),
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn end(&mut self) -> String {
        drop(self.child.kill());
        drop(self.child.wait());
        let stderr = self.stderr.take().map(JoinHandle::join);
        String::from_utf8_lossy(&stderr.unwrap().unwrap()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads a pipe to its end in a thread.
pub(crate) fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(pipe.read_to_end(&mut bytes));
        bytes
    })
}

/// Waits until the child ends, at most for `limit`. Kills it then.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let pidfd = pidfd_open(pid_of(child), PidfdFlags::empty()).unwrap();
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    if poll_for(&mut fds, limit) {
        return Some(child.wait().unwrap());
    }
    drop(child.kill());
    drop(child.wait());
    None
}

/// Waits for one of the descriptors; false when the time is up.
pub(crate) fn poll_for(fds: &mut [PollFd<'_>], limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match poll(fds, Some(&Timespec::try_from(left).unwrap())) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(pid_of(child), signal).unwrap();
}

/// The child's id, for rustix.
pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// Tries until it holds; for what gives no event to wait for (a port that
/// accepts, an object that the kernel frees later). Panics when time is up.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + limit();
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
