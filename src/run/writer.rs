//! Writing to an output so that its failure leaves something useful: a write
//! happens whole or, in a regular file, not at all; the first failure is
//! reported, and what follows is dropped so that the other outputs can still
//! be finished.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::rc::Rc;

use rustix::fs::ftruncate;

use super::say::bytes;
use crate::output::file::FileId;

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
}

impl Writer {
    /// A writer to `file`, called `name` in messages.
    pub(super) fn new(mut file: File, name: String) -> Self {
        let position = FileId::of_regular(&file).and_then(|_| file.stream_position().ok());
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
