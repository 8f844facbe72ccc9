//! Writing to an output so that its failure leaves something useful: a write
//! happens whole or, in a regular file, not at all; the first failure is
//! reported, and what follows is dropped so that the other outputs can still
//! be finished. A document that has an ending has it after each write.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::rc::Rc;

use rustix::fs::{OFlags, fcntl_getfl, ftruncate};

use super::say::bytes;
use crate::output::file::FileId;
use crate::output::har::Ending;

/// What became of an output. Shared with its [`Writer`], which the sinks own.
#[derive(Clone, Debug)]
pub(super) struct Account(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    name: String,
    /// Bytes of whole writes.
    written: u64,
    regular: bool,
    failure: Option<(ErrorKind, String)>,
}

impl Account {
    /// What to say if writing failed otherwise than by a closed pipe: why,
    /// and what is in the file.
    pub(super) fn failure(&self) -> Option<String> {
        let state = self.0.borrow();
        let (kind, text) = state
            .failure
            .as_ref()
            .filter(|(kind, _)| *kind != ErrorKind::BrokenPipe)?;
        let why = match kind {
            ErrorKind::StorageFull => "no space is left on the device",
            ErrorKind::QuotaExceeded => "the disk quota is used up",
            ErrorKind::FileTooLarge => "the file may not grow further",
            _ => text,
        };
        let name = &state.name;
        let rest = match (state.regular, state.written) {
            (false, _) => String::new(),
            (true, 0) => "; nothing is in it".to_owned(),
            (true, written) => format!(
                "; it holds {}, all that came before, and can be read",
                bytes(written)
            ),
        };
        Some(format!("cannot write {name}: {why}{rest}"))
    }
}

/// Writes to one output.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    account: Account,
    /// Where in a regular file the next write goes.
    position: Option<u64>,
    /// Bytes of an ending that stand there until then.
    ending: u64,
}

impl Writer {
    /// A writer to `file`, called `name` in messages.
    pub(super) fn new(mut file: File, name: String) -> Self {
        // What is opened for appending (`>> file`) is written at its end,
        // wherever one seeks, and what was in it before is somebody's.
        let appends = fcntl_getfl(&file).is_ok_and(|flags| flags.contains(OFlags::APPEND));
        let position = FileId::of_regular(&file)
            .filter(|_| !appends)
            .and_then(|_| file.stream_position().ok());
        let state = State {
            name,
            written: 0,
            regular: position.is_some(),
            failure: None,
        };
        Self {
            file,
            account: Account(Rc::new(RefCell::new(state))),
            position,
            ending: 0,
        }
    }

    /// What becomes of it.
    pub(super) fn account(&self) -> Account {
        self.account.clone()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.account.0.borrow().failure.is_some() {
            return Ok(bytes.len());
        }
        let mut state = self.account.0.borrow_mut();
        if let Err(error) = self.file.write_all(bytes) {
            state.failure = Some((error.kind(), error.to_string()));
            // Half a packet at the end would make the file look broken.
            if let Some(position) = self.position {
                let _best_effort = ftruncate(&self.file, position)
                    .map_err(io::Error::from)
                    .and_then(|()| self.file.seek(SeekFrom::Start(position)));
            }
            return Err(error);
        }
        let length = bytes.len() as u64;
        state.written += length;
        self.position = self.position.map(|p| p + length);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ending for Writer {
    fn write_with_ending(&mut self, bytes: &[u8], ending: usize) -> io::Result<bool> {
        let (body, closing) = bytes.split_at(bytes.len().saturating_sub(ending));
        let Some(position) = self.position else {
            return self.write_all(body).map(|()| false);
        };
        let mut state = self.account.0.borrow_mut();
        if state.failure.is_some() {
            return Ok(true);
        }
        let mut file = &self.file;
        let mut seek = |to: u64| file.seek(SeekFrom::Start(to)).map(|_| ());
        // One call, so that a run that is killed leaves it done or not.
        if let Err(error) = seek(position).and_then(|()| (&self.file).write_all(bytes)) {
            state.failure = Some((error.kind(), error.to_string()));
            // The ending fits where it was. What was written behind it goes
            // afterwards, so that no other file can take the room.
            let end = position + self.ending;
            let closing = if self.ending > 0 { closing } else { b"" };
            let _best_effort = seek(position)
                .and_then(|()| (&self.file).write_all(closing))
                .and_then(|()| Ok(ftruncate(&self.file, end)?))
                .and_then(|()| seek(end));
            return Err(error);
        }
        let ending = closing.len() as u64;
        state.written += (bytes.len() as u64).saturating_sub(self.ending);
        self.position = Some(position + body.len() as u64);
        self.ending = ending;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_the_rest_is_dropped_and_the_failure_told() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut writer = Writer::new(full, "x".to_owned());
        let account = writer.account();
        assert_eq!(account.failure(), None);
        assert_eq!(
            writer.write(b"a").unwrap_err().kind(),
            ErrorKind::StorageFull
        );
        assert_eq!(writer.write(b"b").unwrap(), 1);
        let text = account.failure().unwrap();
        assert_eq!(text, "cannot write x: no space is left on the device");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let mut writer = Writer::new(file, "x".to_owned());
        assert_eq!(
            writer.write(b"a").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        assert_eq!(writer.account().failure(), None);
    }
}
