//! DATA frames (RFC 9113 6.1): a body's bytes go through, padding does not.

use std::io;

use super::reader::{Reader, State};
use super::streams::Streams;
use super::turn::Turn;
use crate::event::MissingReason;
use crate::http::h2::{FrameHeader, flag};

/// How far a DATA frame was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataFrame {
    header: FrameHeader,
    /// The length of the padding is still to come.
    padded: bool,
    /// Bytes of body to come.
    body: u32,
    /// Bytes of padding to come.
    padding: u32,
}

impl DataFrame {
    pub(super) const fn new(header: FrameHeader) -> Self {
        Self {
            header,
            padded: header.has(flag::PADDED),
            body: header.length,
            padding: 0,
        }
    }

    const fn is_done(&self) -> bool {
        self.body == 0 && self.padding == 0
    }
}

impl Reader {
    /// Bytes of a DATA frame.
    pub(super) fn data_bytes<'b>(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        mut frame: DataFrame,
        mut bytes: &'b [u8],
    ) -> io::Result<&'b [u8]> {
        if frame.padded {
            let Some((padding, rest)) = bytes.split_first() else {
                return Ok(bytes);
            };
            bytes = rest;
            frame.padded = false;
            frame.padding = u32::from(*padding).min(frame.body.saturating_sub(1));
            frame.body = frame.body.saturating_sub(1 + frame.padding);
        }
        let n = (frame.body as usize).min(bytes.len());
        let (body, rest) = bytes.split_at(n);
        frame.body -= n as u32;
        let pad = (frame.padding as usize).min(if frame.body == 0 { rest.len() } else { 0 });
        frame.padding -= pad as u32;
        let rest = rest.get(pad..).unwrap_or_default();
        self.state = State::Data(frame);
        if !body.is_empty() {
            streams.body(turn, frame.header.stream, body, frame.body > 0)?;
        }
        if frame.is_done() {
            self.data_done(streams, turn, &frame.header)?;
        }
        Ok(rest)
    }

    /// Bytes of a DATA frame that are not there. Gives how many of `length`
    /// are of the frame.
    pub(super) fn data_gap(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        mut frame: DataFrame,
        length: u64,
        reason: MissingReason,
    ) -> io::Result<u64> {
        // Of padding whose length is not there nothing is known.
        frame.padded = false;
        let body = u64::from(frame.body).min(length);
        frame.body -= body as u32;
        let padding = u64::from(frame.padding).min(length - body);
        frame.padding -= padding as u32;
        self.state = State::Data(frame);
        if body > 0 {
            streams.body_gap(turn, frame.header.stream, body, reason)?;
        }
        if frame.is_done() {
            self.data_done(streams, turn, &frame.header)?;
        }
        Ok(body + padding)
    }

    /// A DATA frame has ended.
    pub(super) fn data_done(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        header: &FrameHeader,
    ) -> io::Result<()> {
        self.state = State::Frame;
        self.first = None;
        if header.has(flag::END_STREAM) {
            streams.end_of_message(turn, header.stream, true)?;
        }
        Ok(())
    }
}
