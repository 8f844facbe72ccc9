//! The line of a message of an exchange that lasts, and with `-vv` the message
//! itself:
//!
//! ```text
//! 12:00:00.123  python3[4242]  ↑ text  #7.1       5 B  Hello
//! ```
//!
//! `↑` was sent by the process, `↓` was received; `#7.1` is the exchange, whose
//! own line says so too.

use std::fmt::Write as _;

use super::body;
use super::line::{Align, Layout};
use super::style;
use super::units::push_size;
use crate::content::grpc;
use crate::event::Direction;
use crate::exchange::{BodyState, Exchange};
use crate::message::{Message, MessageKind};
use crate::output::escape;

/// Bytes of a message that a line may show where it is not cut to a width.
const SHOWN: usize = 4 << 10;

/// Bytes that it shows of what is no text.
const DUMP: usize = 32;

/// Columns of a type at most, of the common ones, and of a size.
const KIND: usize = 7;
const COMMON: usize = 6;
const SIZE: usize = 8;

impl Layout {
    /// Everything after the time, and the end of the line.
    pub(super) fn message(
        &mut self,
        out: &mut String,
        exchange: &Exchange,
        message: &Message<'_>,
        verbosity: u8,
    ) {
        let arrow = match message.direction {
            Direction::Send => "↑",
            Direction::Receive => "↓",
        };
        self.whose(out, exchange.process.as_deref(), &exchange.info, arrow);
        self.cell.clear();
        escape::push_cut(&mut self.cell, message.kind.name(), KIND);
        let column = self.method.max(COMMON);
        self.put(out, style::STRONG, column, Align::Left);
        self.space(out, 1);
        self.cell.clear();
        let _ = write!(self.cell, "#{}.{}", exchange.connection, exchange.ordinal);
        let id = escape::width(&self.cell);
        self.put(out, style::FAINT, id, Align::Left);
        self.space(out, self.gap);
        self.cell.clear();
        push_size(&mut self.cell, message.size.unwrap_or(message.wire_size));
        self.put(out, style::PLAIN, SIZE, Align::Right);
        self.oddities(out, message, verbosity);
        match message.kind {
            MessageKind::Close => self.content(out, message),
            MessageKind::Grpc => self.called(out, exchange),
            MessageKind::Event if verbosity >= 2 => self.named(out, message),
            _ if verbosity < 2 => self.content(out, message),
            _ => {}
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }

    /// What is not as usual.
    fn oddities(&mut self, out: &mut String, message: &Message<'_>, verbosity: u8) {
        let state = match message.state {
            BodyState::Complete | BodyState::Cut => "",
            BodyState::Lost => "incomplete",
            BodyState::Undecodable => "could not be decompressed",
        };
        if !state.is_empty() {
            self.word(out, style::BAD, state);
        }
        if verbosity == 0 {
            return;
        }
        let mut text = String::new();
        if message.compressed && message.kind == MessageKind::Grpc {
            // It is shown as it is, its size too.
            text.push_str("compressed");
        } else if message.compressed {
            text.push_str("compressed to ");
            push_size(&mut text, message.wire_size);
        }
        if message.fragments > 1 {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{} frames", message.fragments);
        }
        if !text.is_empty() {
            self.word(out, style::FAINT, &format!("[{text}]"));
        }
    }

    /// The method that was called.
    fn called(&mut self, out: &mut String, exchange: &Exchange) {
        let target = exchange.request.as_ref().map(|request| &request.target);
        if let Some((service, method)) = target.and_then(|target| grpc::method(target)) {
            let mut text = String::new();
            escape::push(&mut text, service);
            text.push('/');
            escape::push(&mut text, method);
            self.word(out, style::PLAIN, &text);
        }
    }

    /// Type and id of an event, where it says so.
    fn named(&mut self, out: &mut String, message: &Message<'_>) {
        for (label, value) in [("", message.event), ("id ", message.event_id)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let mut text = label.to_owned();
                escape::push(&mut text, value);
                self.word(out, style::PLAIN, &text);
            }
        }
    }

    fn content(&mut self, out: &mut String, message: &Message<'_>) {
        self.text.clear();
        if let Some((code, reason)) = message.close {
            let _ = write!(self.text, "{code} ");
            escape::push(&mut self.text, reason);
        } else {
            if let Some(event) = message.event {
                escape::push(&mut self.text, event);
                self.text.push_str(": ");
            }
            let shown = message.data.get(..SHOWN).unwrap_or(message.data);
            let whole = match message.text() {
                Some(text) if body::is_readable(message.kind, text) => {
                    let end = text.floor_char_boundary(SHOWN);
                    escape::push(&mut self.text, text.get(..end).unwrap_or(text).as_bytes());
                    end == text.len()
                }
                _ => {
                    for byte in shown.iter().take(DUMP) {
                        let _ = write!(self.text, "{byte:02x} ");
                    }
                    message.data.len() <= DUMP
                }
            };
            if !whole || message.state == BodyState::Cut {
                self.text.push('…');
            }
        }
        if !self.text.is_empty() {
            self.space(out, self.gap);
            std::mem::swap(&mut self.cell, &mut self.text);
            let width = escape::width(&self.cell);
            self.put(out, style::PLAIN, width, Align::Left);
        }
    }
}

/// Appends the message itself, indented; nothing if it is empty or its line
/// says it all.
pub(super) fn push(out: &mut String, message: &Message<'_>, look: body::Look) {
    if message.kind == MessageKind::Close || message.data.is_empty() {
        return;
    }
    body::push_message(out, message, look);
}
