//! The outputs of a run: opened before anything is captured, begun once it
//! is, so that a run that cannot capture leaves an older file as it was.

use std::fs::File;

use super::writer::{Account, Writer};
use crate::caller::Caller;
use crate::cli::Form;
use crate::options::{Failure, Options, Shown};
use crate::output::Sink;
use crate::output::file::{FileId, Output, Place};
use crate::output::json::{self, Json};
use crate::output::text::{self, Text};

/// What the engine takes.
pub(super) type Sinks = Vec<Box<dyn Sink>>;

/// Outputs that are open, their files not yet touched.
#[derive(Debug)]
pub(super) struct Opened {
    shown: Option<(Shown, Output)>,
    pcapng: Option<Output>,
}

impl Opened {
    /// Opens what `options` ask for. `input` is the capture that is read.
    pub(super) fn open(
        options: &Options,
        input: Option<&File>,
        caller: Option<&Caller>,
    ) -> Result<Self, Failure> {
        let open = |place: &Place| Output::open(place, caller).map_err(Failure::failed);
        let pcapng = options.pcapng.as_ref().map(open).transpose()?;
        let shown = match &options.shown {
            Some(shown) => Some((shown.clone(), open(&shown.place)?)),
            None => None,
        };
        let opened = Self { shown, pcapng };
        opened.check(input)?;
        Ok(opened)
    }

    /// One file in two roles, by whatever names.
    fn check(&self, input: Option<&File>) -> Result<(), Failure> {
        let pcapng = self.pcapng.as_ref().and_then(Output::id);
        let shown = self.shown.as_ref().and_then(|(_, output)| output.id());
        if let Some(read) = input.and_then(FileId::of_regular)
            && (pcapng == Some(read) || shown == Some(read))
        {
            return Err(Failure::usage(
                "the same file would be read and written: name another file to write",
            ));
        }
        if pcapng.is_some() && pcapng == shown {
            return Err(Failure::usage(
                "-w and the other output are the same file: send one elsewhere with -O FILE",
            ));
        }
        if self.pcapng.as_ref().is_some_and(Output::is_terminal) {
            return Err(Failure::usage(
                "a pcapng is not for a terminal: name a file, or pipe it: -w - | wireshark -k -i -",
            ));
        }
        Ok(())
    }

    /// Empties the files, makes them private and writes from now on. Gives
    /// the sinks for the engine and an account of each output.
    pub(super) fn begin(self, caller: Option<&Caller>) -> Result<(Sinks, Vec<Account>), Failure> {
        let mut accounts = Vec::new();
        let mut writer = |output: Output| -> Result<Writer, Failure> {
            let name = output.name();
            let file = output.begin(caller).map_err(Failure::failed)?;
            let writer = Writer::new(file, name);
            accounts.push(writer.account());
            Ok(writer)
        };
        let mut sinks = Sinks::new();
        if let Some(output) = self.pcapng {
            let _writer = writer(output)?;
        }
        if let Some((shown, output)) = self.shown {
            let (terminal, width) = (output.is_terminal(), output.width());
            let writer = Box::new(writer(output)?);
            sinks.push(match shown.form {
                Form::Json => Box::new(Json::new(
                    writer,
                    json::Options {
                        partial: shown.partial,
                        line_buffered: terminal,
                    },
                )),
                Form::Text => Box::new(Text::new(
                    writer,
                    text::Options {
                        verbosity: shown.detail,
                        color: shown.color,
                        utc: shown.utc,
                        width,
                        partial: shown.partial,
                        line_buffered: terminal,
                    },
                )),
            });
        }
        Ok((sinks, accounts))
    }
}
