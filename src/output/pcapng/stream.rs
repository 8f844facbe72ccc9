//! Writes one stream: handshake, segments, holes and the end, with the
//! comments that go with each packet.

use std::borrow::Cow;
use std::io;
use std::rc::Rc;

use super::address::Addresses;
use super::block::{BlockWriter, Meta};
use super::conversation::Conversation;
use super::feed::{Body, Piece, starts_message};
use super::packet::{ACK, FIN, MAX_SEGMENT, PSH, RST, SYN, Segment};
use super::remarks::Ports;
use super::said::signed_difference;
use crate::event::{Direction, MissingReason, Timestamp};

/// Holes up to this length are filled with zeros, so that the message still
/// dissects.
const MAX_ZEROS: u64 = 256 << 10;
/// Longer ones up to this are packets of which only the headers are stored;
/// beyond it a new stream begins.
const MAX_HEADERS_ONLY: u64 = 64 << 20;
/// The other end acknowledges after so many bytes.
const ACKNOWLEDGE_EVERY: u64 = 1 << 20;

/// Where packets go.
pub(super) struct Out {
    pub(super) blocks: BlockWriter,
    pub(super) addresses: Addresses,
    /// Tells this run's connection numbers from those of another.
    pub(super) run: u64,
    pub(super) ports: Ports,
}

/// What a packet is about, beside its headers.
#[derive(Clone, Copy, Default)]
pub(super) struct About<'a> {
    pub(super) payload: &'a [u8],
    /// The payload's length where it is not stored.
    pub(super) unstored: usize,
    /// The written view lacks the payload.
    pub(super) gap: Option<MissingReason>,
    /// Nobody has the payload.
    pub(super) fake: bool,
    /// A hole that no packet stands for: the end that sent it, and its length.
    pub(super) skip: Option<(usize, u64)>,
    pub(super) synthetic: bool,
}

impl Conversation {
    /// Writes a piece of the flow of `sender`, seen by `shown`.
    pub(super) fn write(
        &mut self,
        out: &mut Out,
        sender: usize,
        shown: usize,
        piece: &Piece,
    ) -> io::Result<()> {
        if let Some(view) = &mut self.views[shown] {
            view.latest = Rc::clone(&piece.who);
        }
        if self.reset {
            return Ok(());
        }
        if self.flows[sender].ended {
            if matches!(piece.body, Body::End { .. }) {
                return Ok(());
            }
            // More after its end: a stream of its own.
            self.restart(out, shown, piece.time, About::default())?;
        }
        if self.broken
            && let Body::Bytes(bytes) = &piece.body
            && starts_message(bytes)
        {
            // tshark would take it for a part of the message whose middle is
            // not there.
            self.broken = false;
            self.restart(out, shown, piece.time, About::default())?;
        }
        self.handshake(out, shown, piece.time, About::default())?;
        match &piece.body {
            Body::Bytes(bytes) => {
                for payload in bytes.chunks(MAX_SEGMENT) {
                    let about = About {
                        payload,
                        ..About::default()
                    };
                    self.data(out, sender, shown, piece.time, about)?;
                }
                Ok(())
            }
            Body::Gap(length, reason) => {
                self.hole(out, sender, shown, piece.time, *length, *reason)
            }
            Body::Known(length) => {
                let reason = MissingReason::MemoryLimit;
                self.hole(out, sender, shown, piece.time, *length, reason)
            }
            Body::End { synthetic } => self.end(out, sender, shown, piece.time, *synthetic),
            Body::Reset => {
                for flow in [sender, 1 - sender] {
                    // tshark shows a response that ends with the connection
                    // at the FIN only, not at the RST.
                    if !self.flows[flow].ended {
                        self.end(out, flow, shown, piece.time, true)?;
                    }
                }
                self.reset = true;
                self.packet(out, sender, shown, piece.time, RST | ACK, About::default())
            }
        }
    }

    /// Writes SYN, SYN-ACK and ACK unless they are written.
    fn handshake(
        &mut self,
        out: &mut Out,
        shown: usize,
        time: u64,
        about: About<'_>,
    ) -> io::Result<()> {
        if self.open {
            return Ok(());
        }
        self.open = true;
        for (end, flow) in self.flows.iter_mut().enumerate() {
            flow.sequence = out.addresses.initial_sequence(end);
            flow.unacknowledged = 0;
            flow.ended = false;
        }
        let ports = self.pair.ends.map(|end| end.port());
        if self.http2 {
            out.ports.note_http2(ports);
        } else if self.websocket {
            out.ports.note_websocket(ports);
        } else {
            out.ports.note(ports);
        }
        self.packet(out, 0, shown, time, SYN, about)?;
        self.flows[0].sequence = self.flows[0].sequence.wrapping_add(1);
        self.packet(out, 1, shown, time, SYN | ACK, About::default())?;
        self.flows[1].sequence = self.flows[1].sequence.wrapping_add(1);
        self.packet(out, 0, shown, time, ACK, About::default())
    }

    /// Ends the present stream and begins another for the same connection.
    fn restart(
        &mut self,
        out: &mut Out,
        shown: usize,
        time: u64,
        about: About<'_>,
    ) -> io::Result<()> {
        for flow in 0..2 {
            if self.open && !self.flows[flow].ended {
                self.end(out, flow, shown, time, true)?;
            }
        }
        let Some(view) = &self.views[shown] else {
            return Ok(());
        };
        let (local, peer) = (view.info.local.as_ref(), view.info.peer.as_ref());
        let ends = if shown == 0 {
            [local, peer]
        } else {
            [peer, local]
        };
        let is_tls = view.info.key.source.is_tls();
        self.pair = out.addresses.choose(ends, is_tls && !self.http2);
        for view in self.views.iter_mut().flatten() {
            view.announced = false;
        }
        self.open = false;
        self.handshake(out, shown, time, about)
    }

    fn data(
        &mut self,
        out: &mut Out,
        sender: usize,
        shown: usize,
        time: u64,
        about: About<'_>,
    ) -> io::Result<()> {
        let length = about.payload.len().max(about.unstored);
        self.flows[sender].written += length as u64;
        self.packet(out, sender, shown, time, PSH | ACK, about)?;
        let flow = &mut self.flows[sender];
        flow.sequence = flow
            .sequence
            .wrapping_add(u32::try_from(length).unwrap_or(u32::MAX));
        flow.unacknowledged += length as u64;
        if flow.unacknowledged >= ACKNOWLEDGE_EVERY {
            self.packet(out, 1 - sender, shown, time, ACK, About::default())?;
        }
        Ok(())
    }

    /// Writes a hole of the view `shown`, with the other view's bytes where
    /// that has them.
    fn hole(
        &mut self,
        out: &mut Out,
        sender: usize,
        shown: usize,
        time: u64,
        length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        let mut rest = length;
        // What the other view has in its place may be another stream's frames.
        while rest > 0 && !self.anew {
            let flow = &self.flows[sender];
            let Some(bytes) = flow.feeds[1 - shown].bytes_at(flow.written) else {
                break;
            };
            let room = usize::try_from(rest).unwrap_or(usize::MAX).min(MAX_SEGMENT);
            let payload = bytes.get(..room).unwrap_or(bytes).to_vec();
            if payload.is_empty() {
                break;
            }
            rest -= payload.len() as u64;
            let about = About {
                payload: &payload,
                gap: Some(reason),
                ..About::default()
            };
            self.data(out, sender, shown, time, about)?;
        }
        if rest > MAX_HEADERS_ONLY {
            self.flows[sender].written += rest;
            self.broken = true;
            let about = About {
                gap: Some(reason),
                fake: true,
                skip: Some((sender, rest)),
                ..About::default()
            };
            return self.restart(out, shown, time, about);
        }
        let zeros = [0; MAX_SEGMENT];
        let stored = rest <= MAX_ZEROS;
        while rest > 0 {
            let part = usize::try_from(rest).unwrap_or(usize::MAX).min(MAX_SEGMENT);
            let about = About {
                payload: if stored { &zeros[..part] } else { &[] },
                unstored: part,
                gap: Some(reason),
                fake: true,
                ..About::default()
            };
            self.data(out, sender, shown, time, about)?;
            rest -= part as u64;
        }
        Ok(())
    }

    /// Writes the FIN of a flow.
    pub(super) fn end(
        &mut self,
        out: &mut Out,
        sender: usize,
        shown: usize,
        time: u64,
        synthetic: bool,
    ) -> io::Result<()> {
        let about = About {
            synthetic,
            ..About::default()
        };
        self.packet(out, sender, shown, time, FIN | ACK, about)?;
        let flow = &mut self.flows[sender];
        flow.sequence = flow.sequence.wrapping_add(1);
        flow.ended = true;
        Ok(())
    }

    /// Writes one packet from the end `from`, as the view `shown` has it.
    fn packet(
        &mut self,
        out: &mut Out,
        from: usize,
        shown: usize,
        time: u64,
        flags: u8,
        about: About<'_>,
    ) -> io::Result<()> {
        let stamp = self.stamp(from, shown, time, about);
        let mut notes: Vec<String> = Vec::new();
        let delta = signed_difference(stamp, time);
        let is_data = about.payload.len().max(about.unstored) > 0 || flags & (FIN | RST) != 0;
        self.tell(
            out.run,
            from,
            shown,
            stamp,
            is_data.then_some(delta),
            about,
            &mut notes,
        );
        self.follow(out.run, from, 1 - shown, stamp, flags, about, &mut notes);
        let Some(view) = &self.views[shown] else {
            return Ok(());
        };
        let mut comments: Vec<Cow<'_, str>> = Vec::with_capacity(8);
        let who = Rc::clone(&view.latest);
        let other = self.views[1 - shown]
            .as_ref()
            .filter(|other| other.announced)
            .map(|other| Rc::clone(&other.latest));
        comments.push(Cow::Borrowed(&who.texts.own));
        if let Some(other) = &other
            && !other.texts.other.is_empty()
        {
            comments.push(Cow::Borrowed(&other.texts.other));
        }
        if flags & (SYN | ACK) == SYN
            && let Some(text) = self.stands_for(view, shown)
        {
            comments.push(Cow::Owned(text));
        }
        if let Some(reason) = about.gap {
            let length = about
                .skip
                .map_or(about.payload.len().max(about.unstored) as u64, |s| s.1);
            let text = if about.fake {
                format!("{length} bytes are not there: {}", reason.name())
            } else {
                format!(
                    "{length} bytes as the other end had them: {}",
                    reason.name()
                )
            };
            comments.push(Cow::Owned(text));
        }
        if about.synthetic {
            comments.push(Cow::Borrowed(
                "This FIN is synthetic: the capture ended here, not the connection",
            ));
        }
        comments.extend(notes.into_iter().map(Cow::Owned));
        let flow = &mut self.flows[1 - from];
        flow.unacknowledged = 0;
        let acknowledge = if flags & ACK == 0 { 0 } else { flow.sequence };
        let segment = Segment {
            source: self.pair.ends[from],
            destination: self.pair.ends[1 - from],
            sequence: self.flows[from].sequence,
            acknowledge,
            flags,
        };
        let length = about.payload.len().max(about.unstored);
        let headers = if segment.source.is_ipv4() { 40 } else { 60 };
        let meta = Meta {
            source: view.info.key.source,
            time: Timestamp(stamp),
            direction: if from == shown {
                Direction::Send
            } else {
                Direction::Receive
            },
            pid: view.latest.pid(),
            tid: view.latest.tid,
            original: if length > 0 { headers + length } else { 0 },
            comments: &comments,
        };
        out.blocks.packet(&meta, |body| {
            segment.append_headers(body, about.payload, length);
            body.extend_from_slice(about.payload);
        })?;
        self.last = stamp;
        Ok(())
    }

    /// The time of a packet: never before the packet before it, never after
    /// the other end had the bytes.
    fn stamp(&self, from: usize, shown: usize, time: u64, about: About<'_>) -> u64 {
        let mut stamp = time;
        let length = about.payload.len().max(about.unstored) as u64;
        if length > 0 && from == shown {
            let flow = &self.flows[from];
            let start = flow.written - length;
            if let Some(piece) = flow.feeds[1 - shown].at(start) {
                stamp = stamp.min(piece.time);
            }
        }
        stamp.max(self.last)
    }
}
