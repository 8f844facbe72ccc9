//! `-- COMMAND`: a process that waits until capturing has begun and then
//! becomes the command.
//!
//! The process is httpsniff's own program under a private name. It waits on a
//! socket that is its standard input; the message that says go carries the
//! real standard input. When httpsniff dies instead, the socket ends, and so
//! does the process: nothing is ever left stopped. Then it takes on the
//! rights of the user who called sudo and executes the command, so that the
//! pid watched all along is the command's.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::caller::Caller;

/// The `argv[0]` by which the program knows that it is the waiting process.
const WAITING: &str = "httpsniff: waiting to start";

/// Exit status of a command that was not found, as in shells.
pub const NOT_FOUND: u8 = 127;
/// Exit status of a command that cannot be executed, as in shells.
pub const NOT_EXECUTABLE: u8 = 126;

/// Why a command cannot be run: a sentence and the exit status that shells
/// use for it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CannotRun {
    /// The sentence.
    pub message: String,
    /// [`NOT_FOUND`] or [`NOT_EXECUTABLE`].
    pub status: u8,
}

/// The file that `program` names: itself if it has a slash, else the first
/// executable of this name in `search` (a PATH).
pub fn resolve(program: &OsStr, search: &OsStr) -> Result<PathBuf, CannotRun> {
    let name = program.display();
    let executable = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let not_executable = |path: &Path| CannotRun {
        message: format!(
            "cannot run {}: it is not an executable file",
            path.display()
        ),
        status: NOT_EXECUTABLE,
    };
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return match path.try_exists() {
            Ok(true) if executable(&path) => Ok(path),
            Ok(true) | Err(_) => Err(not_executable(&path)),
            Ok(false) => Err(CannotRun {
                message: format!("cannot run {name}: there is no such file"),
                status: NOT_FOUND,
            }),
        };
    }
    let mut found = None;
    for folder in std::env::split_paths(search) {
        let path = folder.join(program);
        if executable(&path) {
            return Ok(path);
        }
        if found.is_none() && path.is_file() {
            found = Some(path);
        }
    }
    Err(match found {
        Some(path) => not_executable(&path),
        None => CannotRun {
            message: format!("cannot run {name}: no such command in PATH"),
            status: NOT_FOUND,
        },
    })
}

/// A process that waits to become the command, or the command itself.
#[derive(Debug)]
pub struct Running {
    child: Child,
    start: Option<UnixStream>,
}

impl Running {
    /// Starts the waiting process for `command` (program and arguments).
    pub fn spawn(command: &[OsString]) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg0(WAITING)
            .args(command)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        Ok(Self {
            child,
            start: Some(ours),
        })
    }

    /// Process id: that of the command, before and after it starts.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets the command start, with httpsniff's standard input.
    pub fn go(&mut self) -> io::Result<()> {
        let Some(socket) = self.start.take() else {
            return Ok(());
        };
        let stdin = io::stdin();
        let descriptors = [stdin.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let go = [IoSlice::new(b"g")];
        match sendmsg(&socket, &go, &mut control, SendFlags::NOSIGNAL) {
            // Ctrl-C has ended it already, which its exit status will say.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Passes a signal on. One that has ended is no error.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _gone = kill_process(pid, signal);
        }
    }
}

/// The exit status to end with for a command that ended with `status`: its
/// own, or 128+N for signal N.
#[must_use]
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(1)
}

/// If this process is the waiting one: waits, becomes the command and does
/// not return, or returns the exit status of having failed. `None` in any
/// other process. To be called before anything else, while there is one
/// thread.
#[must_use]
pub fn wait_and_become(arguments: &[OsString]) -> Option<u8> {
    let (name, command) = arguments.split_first()?;
    if name != WAITING {
        return None;
    }
    Some(become_command(command))
}

fn become_command(command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else {
        return NOT_FOUND;
    };
    // httpsniff died, or could not capture: then there is no command to run.
    let Ok(Some(stdin)) = receive_stdin() else {
        return 1;
    };
    let mut exec = Command::new(program);
    exec.args(arguments);
    let ready = rustix::stdio::dup2_stdin(&stdin)
        .map_err(io::Error::from)
        .and_then(|()| Caller::of_sudo().map_or(Ok(()), |caller| take_on(&caller, &mut exec)));
    drop(stdin);
    if let Err(error) = ready {
        return fail(
            program,
            &format!("cannot take on the caller's rights: {error}"),
            1,
        );
    }
    // Executing resets the handlers; Rust's Command also gives back the
    // default SIGPIPE and an empty signal mask.
    let error = exec.exec();
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => fail(
            program,
            "no such file, or its interpreter is missing",
            NOT_FOUND,
        ),
        Some(Errno::ACCESS) => fail(program, "permission denied", NOT_EXECUTABLE),
        _ => fail(program, &error.to_string(), NOT_EXECUTABLE),
    }
}

fn fail(program: &OsStr, why: &str, status: u8) -> u8 {
    let _stderr_gone = writeln!(
        io::stderr(),
        "httpsniff: cannot run {}: {why}",
        program.display()
    );
    status
}

/// Waits for the message that says go; `None` when the other end is gone.
fn receive_stdin() -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    loop {
        let flags = RecvFlags::CMSG_CLOEXEC;
        match recvmsg(
            io::stdin(),
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            flags,
        ) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

/// The rights and the surroundings of the caller, as a login sets them.
fn take_on(caller: &Caller, command: &mut Command) -> io::Result<()> {
    caller.become_in_this_thread()?;
    // root's, as sudo has set them.
    for name in [
        "SUDO_USER",
        "SUDO_UID",
        "SUDO_GID",
        "SUDO_COMMAND",
        "SUDO_HOME",
        "MAIL",
    ] {
        command.env_remove(name);
    }
    match &caller.account {
        Some(account) => {
            command
                .env("HOME", &account.home)
                .env("USER", &account.name)
                .env("LOGNAME", &account.name);
            if !account.shell.is_empty() {
                command.env("SHELL", &account.shell);
            }
        }
        None => {
            command
                .env("HOME", "/")
                .env_remove("USER")
                .env_remove("LOGNAME");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(program: &str) -> Result<PathBuf, u8> {
        let path = OsStr::new("/nowhere:/etc:/usr/bin:/bin");
        resolve(OsStr::new(program), path).map_err(|e| e.status)
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        assert_eq!(resolved("env"), Ok(PathBuf::from("/usr/bin/env")));
        assert_eq!(resolved("/usr/bin/env"), Ok(PathBuf::from("/usr/bin/env")));
        assert_eq!(resolved("no-such-command"), Err(NOT_FOUND));
        assert_eq!(resolved("/no/such/file"), Err(NOT_FOUND));
        assert_eq!(resolved("passwd-").ok(), None);
        assert_eq!(resolved("/etc/passwd"), Err(NOT_EXECUTABLE));
        assert_eq!(resolved("hostname.d/../passwd"), Err(NOT_FOUND));
        assert_eq!(resolved("/etc"), Err(NOT_EXECUTABLE));
    }

    #[test]
    fn a_file_in_path_that_is_not_executable_is_126() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tool"), "").unwrap();
        let error = resolve(OsStr::new("tool"), dir.path().as_os_str()).unwrap_err();
        assert_eq!(error.status, NOT_EXECUTABLE);
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(2)), 130);
    }
}
