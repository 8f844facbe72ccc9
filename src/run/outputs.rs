//! The outputs of a run: opened before anything is captured, begun once it
//! is, so that a run that cannot capture leaves an older file as it was.

use std::fs::File;
use std::io::ErrorKind;

use super::writer::{Account, Writer};
use crate::caller::Caller;
use crate::cli::Form;
use crate::options::{Failure, Options, Shown};
use crate::output::Sink;
use crate::output::file::{FileId, Output, Place};
use crate::output::har::{self, Har};
use crate::output::json::{self, Json};
use crate::output::pcapng::Pcapng;
use crate::output::text::{self, Text};

/// Outputs that are open, their files not yet touched.
#[derive(Debug)]
pub(super) struct Opened {
    shown: Option<(Shown, Output)>,
    pcapng: Option<Output>,
    har: Option<Output>,
    har_options: har::Options,
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
        let har = options.har.as_ref().map(open).transpose()?;
        let shown = match &options.shown {
            Some(shown) => Some((shown.clone(), open(&shown.place)?)),
            None => None,
        };
        let opened = Self {
            shown,
            pcapng,
            har,
            har_options: har::Options {
                max_messages: options.max_body,
            },
        };
        opened.check(input)?;
        Ok(opened)
    }

    /// One file in two roles, by whatever names.
    fn check(&self, input: Option<&File>) -> Result<(), Failure> {
        let written = self.pcapng.as_ref().or(self.har.as_ref());
        let written = written.and_then(Output::id);
        let shown = self.shown.as_ref().and_then(|(_, output)| output.id());
        if let Some(read) = input.and_then(FileId::of_regular)
            && (written == Some(read) || shown == Some(read))
        {
            return Err(Failure::usage(
                "the same file would be read and written: name another file to write",
            ));
        }
        if written.is_some() && written == shown {
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

    /// Empties the files, makes them private and writes from now on.
    pub(super) fn begin(self, caller: Option<&Caller>) -> Result<Begun, Failure> {
        let mut begun = Begun::default();
        if let Some(output) = self.pcapng {
            let writer = begun.writer(output, caller)?;
            let account = writer.account();
            match Pcapng::new(Box::new(writer)) {
                Ok(sink) => begun.sinks.push(Box::new(sink)),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => begun.closed = true,
                Err(error) => {
                    let sentence = account.failure().unwrap_or_else(|| error.to_string());
                    return Err(Failure::failed(sentence));
                }
            }
        }
        if let Some(output) = self.har {
            let writer = begun.writer(output, caller)?;
            let sink = Har::new(Box::new(writer), self.har_options);
            begun.sinks.push(Box::new(sink));
        }
        if let Some((shown, output)) = self.shown {
            let (terminal, width) = (output.is_terminal(), output.width());
            let writer = Box::new(begun.writer(output, caller)?);
            begun.sinks.push(match shown.form {
                Form::Har => Box::new(Har::new(writer, self.har_options)),
                Form::Json => Box::new(json(&shown, writer, terminal)),
                Form::Text => Box::new(text(&shown, writer, terminal, width)),
            });
        }
        Ok(begun)
    }
}

/// Outputs that are being written.
#[derive(Default)]
pub(super) struct Begun {
    /// For the engine.
    pub(super) sinks: Vec<Box<dyn Sink>>,
    /// What becomes of each.
    pub(super) accounts: Vec<Account>,
    /// Nobody reads one of them, so there is nothing to do.
    pub(super) closed: bool,
}

impl Begun {
    fn writer(&mut self, output: Output, caller: Option<&Caller>) -> Result<Writer, Failure> {
        let name = output.name();
        let file = output.begin(caller).map_err(Failure::failed)?;
        let writer = Writer::new(file, name);
        self.accounts.push(writer.account());
        Ok(writer)
    }
}

fn json(shown: &Shown, out: Box<Writer>, terminal: bool) -> Json {
    let options = json::Options {
        partial: shown.partial,
        line_buffered: terminal,
    };
    Json::new(out, options)
}

fn text(shown: &Shown, out: Box<Writer>, terminal: bool, width: Option<usize>) -> Text {
    let options = text::Options {
        one_container: shown.one_container,
        verbosity: shown.detail,
        color: shown.color,
        utc: shown.utc,
        width,
        partial: shown.partial,
        line_buffered: terminal,
        indent_json: terminal,
    };
    Text::new(out, options)
}
