//! The line of an exchange:
//!
//! ```text
//! 12:00:00.123  curl[4242]  → GET  https://example.com/x  200       5 B   0.88 ms
//! ```
//!
//! A process in a container is followed by that: `nginx[4242]@web`.
//!
//! Columns are as wide as the widest cell so far, up to a bound, so that a
//! long stream settles after a few lines and never jumps back. On a terminal
//! it is the URL that gives way; what went wrong is always in view.

use std::fmt::Write as _;

use anstyle::Style;

use super::style::{self, styled};
use super::told::Told;
use super::units::{push_duration, push_size};
use crate::container::short;
use crate::event::{ConnectionInfo, Direction, Endpoint};
use crate::exchange::{Exchange, Role, State, Upgrade};
use crate::output::call::Call;
use crate::output::escape;
use crate::process::Process;

/// Columns of `HH:MM:SS.mmm`.
const TIME: usize = 12;
/// Columns of a status, a size (`1.23 KiB`) and a duration (`0.88 ms`).
const STATUS: usize = 3;
const SIZE: usize = 8;
const DURATION: usize = 7;
/// Columns of a container's name or id at most.
const CONTAINER: usize = 16;
/// The narrowest URL worth showing.
const URL_MIN: usize = 12;
/// Where the URL's column stops growing: a little beyond what is common.
const URL_BOUND: usize = 80;
/// A terminal with fewer columns gets fewer facts.
const NARROW: usize = 110;

/// Whether an exchange is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is a request's head, and perhaps a response's.
    Pending,
    /// Request and response are there, and its messages follow.
    Upgraded,
    Ended,
}

/// The widths of the columns, and what is reused from line to line.
pub(super) struct Layout {
    /// Columns of the terminal.
    width: Option<usize>,
    color: bool,
    /// Say in which container a process is.
    containers: bool,
    who: usize,
    peer: usize,
    pub(super) method: usize,
    url: usize,
    /// Columns between columns.
    pub(super) gap: usize,
    /// Columns that are left on the line.
    pub(super) left: usize,
    pub(super) cell: String,
    pub(super) text: String,
    marks: String,
    /// The call of this line has failed.
    failed: bool,
}

impl Layout {
    pub(super) fn new(width: Option<usize>, color: bool, containers: bool) -> Self {
        let narrow = width.is_some_and(|width| width < NARROW);
        Self {
            width,
            color,
            containers,
            who: if narrow { 10 } else { 16 },
            peer: 0,
            method: 4,
            url: if narrow { URL_MIN } else { 40 },
            gap: if narrow { 1 } else { 2 },
            left: usize::MAX,
            cell: String::new(),
            text: String::new(),
            marks: String::new(),
            failed: false,
        }
    }

    /// Begins a line with the time, which `push` appends.
    pub(super) fn time(&mut self, out: &mut String, push: impl FnOnce(&mut String)) {
        self.left = self.width.unwrap_or(usize::MAX);
        self.cell.clear();
        push(&mut self.cell);
        self.put(out, style::FAINT, TIME, Align::Left);
    }

    /// Everything after the time, and the end of the line.
    pub(super) fn rest(
        &mut self,
        out: &mut String,
        exchange: &Exchange,
        progress: Progress,
        told: &Told,
    ) {
        self.who(out, exchange);
        self.method(out, exchange);
        self.marks(exchange, progress, told);
        self.url(out, exchange);
        self.tail(out, exchange, progress);
        // Cells are padded for what may follow; nothing did.
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }

    pub(super) fn narrow(&self) -> bool {
        self.width.is_some_and(|width| width < NARROW)
    }

    /// The container behind the process, unless all are of the same one.
    fn container(&mut self, process: &Process) {
        let Some(id) = &process.container else {
            return;
        };
        if !self.containers || self.narrow() {
            return;
        }
        self.text.clear();
        let name = process.container_name.as_deref();
        escape::push(&mut self.text, name.unwrap_or(short(id)).as_bytes());
        self.cell.push('@');
        escape::push_cut(&mut self.cell, &self.text, CONTAINER);
    }

    /// Process and arrow; without a process the addresses.
    fn who(&mut self, out: &mut String, exchange: &Exchange) {
        let arrow = match exchange.role {
            Role::Client => "→",
            Role::Server => "←",
        };
        self.whose(out, exchange.process.as_deref(), &exchange.info, arrow);
    }

    /// As [`Self::who`], for whatever else has a line.
    pub(super) fn whose(
        &mut self,
        out: &mut String,
        process: Option<&Process>,
        info: &ConnectionInfo,
        arrow: &str,
    ) {
        let bound = match (process, self.narrow()) {
            (_, true) => 18,
            (Some(_), false) => 24,
            (None, false) => 48,
        };
        self.cell.clear();
        match process {
            Some(process) => {
                self.text.clear();
                escape::push(&mut self.text, &process.comm);
                let mut digits = itoa::Buffer::new();
                let pid = digits.format(process.pid);
                // The name gives way, the number does not.
                let room = bound - pid.len() - 2;
                escape::push_cut(&mut self.cell, &self.text, room);
                self.cell.push('[');
                self.cell.push_str(pid);
                self.cell.push(']');
                self.container(process);
            }
            None => self.endpoint(info.local.as_ref(), bound),
        }
        self.who = self.who.max(escape::width(&self.cell)).min(48);
        self.space(out, self.gap);
        self.put(out, style::WHO, self.who, Align::Left);
        self.space(out, self.gap);
        self.cell.clear();
        self.cell.push_str(arrow);
        self.put(out, style::FAINT, 1, Align::Left);
        self.space(out, 1);
        if process.is_none() && !self.narrow() {
            self.cell.clear();
            self.endpoint(info.peer.as_ref(), bound);
            self.peer = self.peer.max(escape::width(&self.cell));
            self.put(out, style::WHO, self.peer, Align::Left);
            self.space(out, self.gap);
        }
    }

    /// Appends an address to the cell.
    pub(super) fn endpoint(&mut self, endpoint: Option<&Endpoint>, bound: usize) {
        self.text.clear();
        match endpoint {
            // Writing to a string does not fail.
            Some(Endpoint::Tcp(address)) => drop(write!(self.text, "{address}")),
            Some(Endpoint::Unix(path)) => {
                self.text.push_str("unix:");
                escape::push(&mut self.text, path.as_bytes());
            }
            None => self.text.push('?'),
        }
        escape::push_cut(&mut self.cell, &self.text, bound);
    }

    fn method(&mut self, out: &mut String, exchange: &Exchange) {
        self.cell.clear();
        self.text.clear();
        match &exchange.request {
            Some(request) => escape::push(&mut self.text, &request.method),
            None => self.text.push('?'),
        }
        escape::push_cut(&mut self.cell, &self.text, 16);
        self.method = self.method.max(escape::width(&self.cell)).min(7);
        self.put(out, style::STRONG, self.method, Align::Left);
        self.space(out, 1);
    }

    fn url(&mut self, out: &mut String, exchange: &Exchange) {
        self.text.clear();
        let style = match &exchange.request {
            Some(request) => {
                for part in request.url_parts() {
                    escape::push(&mut self.text, part);
                }
                style::PLAIN
            }
            None => {
                self.text.push_str("(request not seen)");
                style::FAINT
            }
        };
        let wanted = escape::width(&self.text);
        // A column for the widest URL so far; marks take from it on their
        // line alone.
        let marks = escape::width(&self.marks);
        let whole = self.gap + STATUS + self.gap + SIZE + self.gap + DURATION;
        let tail = match (&exchange.response, duration(exchange)) {
            (Some(_), Some(_)) => whole,
            (Some(_), None) => whole - self.gap - DURATION,
            (None, _) => self.gap + STATUS,
        };
        let (bound, room) = match self.width {
            Some(_) => (
                self.left.saturating_sub(whole).clamp(URL_MIN, URL_BOUND),
                self.left.saturating_sub(tail + marks).max(URL_MIN),
            ),
            None => (URL_BOUND, usize::MAX),
        };
        self.url = self.url.max(wanted.min(bound)).min(bound);
        let column = self.url.min(room);
        // What is in no column anyway (an URL beyond the bound) may use what
        // the line has.
        let shown = if wanted > column { room } else { column };
        self.cell.clear();
        push_url(&mut self.cell, &self.text, shown);
        self.put(out, style, column, Align::Left);
    }

    fn tail(&mut self, out: &mut String, exchange: &Exchange, progress: Progress) {
        self.space(out, self.gap);
        self.cell.clear();
        let Some(response) = &exchange.response else {
            let pending = progress == Progress::Pending;
            self.cell.push(if pending { '…' } else { '-' });
            self.put(out, style::FAINT, STATUS, Align::Left);
            return self.put_marks(out, exchange, progress);
        };
        let mut digits = itoa::Buffer::new();
        self.cell.push_str(match response.status {
            // Not known (HTTP/2 joined late).
            0 => "???",
            status => digits.format(status),
        });
        let style = match self.failed {
            true => style::WARN,
            false => style::of_status(response.status),
        };
        self.put(out, style, STATUS, Align::Left);
        self.space(out, self.gap);
        self.cell.clear();
        // As on the wire: how much that is decoded is known only where somebody
        // wants the bodies, and the same line should say the same.
        push_size(&mut self.cell, response.body.encoded_size);
        self.put(out, style::PLAIN, SIZE, Align::Right);
        if let Some(nanos) = duration(exchange) {
            self.space(out, self.gap);
            self.cell.clear();
            push_duration(&mut self.cell, nanos);
            self.put(out, style::FAINT, DURATION, Align::Right);
        }
        self.put_marks(out, exchange, progress);
    }

    /// Collects what is not as it should be, or not as usual.
    fn marks(&mut self, exchange: &Exchange, progress: Progress, told: &Told) {
        let narrow = self.narrow();
        let marks = &mut self.marks;
        marks.clear();
        self.failed = false;
        if progress == Progress::Pending {
            // Without a response the dots are in place of the status.
            let dots = if exchange.response.is_some() {
                "… "
            } else {
                ""
            };
            let _ = write!(marks, "  {dots}#{}", id(exchange));
            return;
        }
        if progress == Progress::Upgraded {
            let upgrade = exchange.upgraded_to.map_or("messages", Upgrade::name);
            let _ = write!(marks, "  {upgrade} #{}", id(exchange));
            return;
        }
        if told.numbered && exchange.messages.is_none() {
            let _ = write!(marks, "  #{}", id(exchange));
        }
        if let Some(call) = Call::of(exchange) {
            self.failed = call.has_failed();
            push_call(marks, &call, narrow);
        }
        if told.events > 0 {
            let _ = write!(marks, "  {} events", told.events);
            if told.passed > 0 {
                let _ = write!(marks, ", {} not shown", told.passed);
            }
        }
        if exchange.response.is_none() && exchange.messages.is_none() {
            marks.push_str("  no response");
            if let Some(interim) = exchange.interim.last()
                && !narrow
            {
                let _ = write!(marks, " after {}", interim.status);
            }
        }
        match exchange.state {
            State::Complete => {}
            state => {
                marks.push_str("  ");
                marks.push_str(state.name());
            }
        }
        if exchange.lost_bytes > 0 {
            marks.push_str("  lost ");
            push_size(marks, exchange.lost_bytes);
        }
        if let Some(upgrade) = exchange.upgraded_to {
            marks.push_str("  ");
            marks.push_str(upgrade.name());
            if exchange.messages.is_some() {
                let _ = write!(marks, " #{} ended", id(exchange));
            }
            if narrow {
                return;
            }
            for (sign, direction) in [(" ↑ ", Direction::Send), (" ↓ ", Direction::Receive)] {
                let at = direction.index();
                marks.push_str(sign);
                if let Some(count) = exchange.messages.and_then(|m| m.get(at).copied()) {
                    let _ = write!(marks, "{count} in ");
                }
                let bytes = exchange.tunnel_bytes.get(at);
                push_size(marks, bytes.copied().unwrap_or_default());
            }
        }
    }

    fn put_marks(&mut self, out: &mut String, exchange: &Exchange, progress: Progress) {
        let style = match exchange.state {
            _ if progress == Progress::Upgraded || progress == Progress::Pending => style::FAINT,
            State::Reset | State::Closed => style::BAD,
            _ if exchange.lost_bytes > 0 => style::BAD,
            State::Open => style::WARN,
            State::Complete if exchange.response.is_none() && exchange.messages.is_none() => {
                style::BAD
            }
            State::Complete if self.failed => style::WARN,
            State::Complete => style::FAINT,
        };
        std::mem::swap(&mut self.cell, &mut self.marks);
        let width = escape::width(&self.cell);
        self.put(out, style, width, Align::Left);
    }

    pub(super) fn space(&mut self, out: &mut String, columns: usize) {
        let columns = columns.min(self.left);
        pad(out, columns);
        self.left -= columns;
    }

    /// Appends the cell, padded to `width`, as far as the line goes.
    pub(super) fn put(&mut self, out: &mut String, style: Style, width: usize, align: Align) {
        let needed = escape::width(&self.cell);
        let padding = width.saturating_sub(needed);
        if align == Align::Right {
            self.space(out, padding);
        }
        let left = self.left;
        let mut used = 0;
        if !self.cell.is_empty() && left > 0 {
            styled(out, style, self.color, |out| {
                used = escape::push_cut(out, &self.cell, left);
            });
        }
        self.left -= used;
        if align == Align::Left {
            self.space(out, padding);
        }
    }
}

/// Appends how a gRPC call went, and its messages.
fn push_call(out: &mut String, call: &Call<'_>, narrow: bool) {
    if narrow && let Some(name) = call.status_name() {
        out.push_str("  ");
        out.push_str(name);
        return;
    }
    out.push_str("  gRPC");
    match (call.status_name(), call.status) {
        (Some(name), _) => drop(write!(out, " {name}")),
        (None, Some(status)) => drop(write!(out, " status {status}")),
        (None, None) => {}
    }
    if narrow {
        return;
    }
    for (sign, direction) in [("↑", Direction::Send), ("↓", Direction::Receive)] {
        if let Some(messages) = call.messages(direction) {
            let _ = write!(out, " {sign} {}", messages.count);
        }
    }
}

/// JSON `id`.
fn id(exchange: &Exchange) -> String {
    format!("{}.{}", exchange.connection, exchange.ordinal)
}

/// First byte of the request to last byte of the response, in nanoseconds.
fn duration(exchange: &Exchange) -> Option<u64> {
    let times = &exchange.times;
    Some(times.response_end?.nanos_since(times.request_start?))
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

fn pad(out: &mut String, columns: usize) {
    out.extend(std::iter::repeat_n(' ', columns));
}

/// Appends a URL in at most `columns`: the end of the query goes first, then
/// the middle, because the last part of a path says most.
fn push_url(out: &mut String, url: &str, columns: usize) {
    let path = url.find('?').map_or(url, |at| url.get(..at).unwrap_or(url));
    if escape::width(url) <= columns || escape::width(path) < columns || columns < URL_MIN {
        escape::push_cut(out, url, columns);
        return;
    }
    let (end, used) = escape::suffix(path, columns * 2 / 5);
    let (start, _) = escape::prefix(path, columns - 1 - used);
    out.push_str(start);
    out.push('…');
    out.push_str(end);
}
