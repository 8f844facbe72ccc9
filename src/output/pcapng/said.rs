//! What is said of a packet in notes: the facts of a connection and of a
//! process where they are new, and when the other end had the bytes.

use std::rc::Rc;

use serde_json::Value;

use super::comment::Who;
use super::conversation::{Conversation, View};
use super::feed::{Body, Feed};
use super::note::{MAX_ENTRIES, Note};
use super::packet::FIN;
use super::stream::About;
use crate::event::Endpoint;

impl Conversation {
    /// Says what is new of the view that is written.
    #[expect(clippy::too_many_arguments, reason = "one packet's circumstances")]
    pub(super) fn tell(
        &mut self,
        run: u64,
        from: usize,
        shown: usize,
        stamp: u64,
        delta: Option<i64>,
        about: About<'_>,
        notes: &mut Vec<String>,
    ) {
        let Some(view) = &self.views[shown] else {
            return;
        };
        let latest = Rc::clone(&view.latest);
        self.catch_up(run, from, shown, stamp, notes);
        let made_up = self.pair.made_up;
        let Some(view) = &mut self.views[shown] else {
            return;
        };
        view.latest = Rc::clone(&latest);
        let mut note = Note::new(from == shown);
        let empty = note.length();
        announce(&mut note, view, run, from, made_up);
        change_who(&mut note, view, &latest);
        if let Some(delta) = delta
            && delta != 0
        {
            note.signed("time", delta);
        }
        if let Some(reason) = about.gap {
            note.string("gap", reason.name());
            if about.fake {
                note.flag("fake");
            }
        }
        if let Some((sender, length)) = about.skip {
            let name = if sender == from {
                "skip_src"
            } else {
                "skip_dst"
            };
            note.number(name, length);
        }
        if about.synthetic {
            note.string("fin", "synthetic");
        }
        if note.length() > empty {
            notes.push(note.finish());
        }
    }

    /// Says what is new of the view at the other end, this packet included.
    #[expect(clippy::too_many_arguments, reason = "one packet's circumstances")]
    pub(super) fn follow(
        &mut self,
        run: u64,
        from: usize,
        end: usize,
        stamp: u64,
        flags: u8,
        about: About<'_>,
        notes: &mut Vec<String>,
    ) {
        if self.views[end].is_none() {
            return;
        }
        self.catch_up(run, from, end, stamp, notes);
        if flags & FIN == 0 || about.synthetic {
            return;
        }
        // The end that it saw, if it did.
        let feed = &mut self.flows[from].feeds[end];
        let at = feed
            .queue
            .iter()
            .position(|p| matches!(p.body, Body::End { .. }));
        let Some(piece) = at.and_then(|at| feed.queue.remove(at)) else {
            return;
        };
        let Some(view) = &mut self.views[end] else {
            return;
        };
        if matches!(piece.body, Body::End { synthetic: false }) && view.announced {
            view.latest = Rc::clone(&piece.who);
            let mut note = Note::new(from == end);
            change_who(&mut note, view, &piece.who);
            note.signed("eof", signed_difference(stamp, piece.time));
            notes.push(note.finish());
        }
    }

    /// Says when the view of `end` had bytes that are written from the other
    /// view, as far as they are written.
    fn catch_up(&mut self, run: u64, from: usize, end: usize, stamp: u64, notes: &mut Vec<String>) {
        let made_up = self.pair.made_up;
        let Some(view) = &mut self.views[end] else {
            return;
        };
        for (sender, flow) in self.flows.iter_mut().enumerate() {
            if flow.writer != Some(1 - end) {
                continue;
            }
            let (first, written) = (flow.first, flow.written);
            let Feed { queue, synced, .. } = &mut flow.feeds[end];
            let name = if sender == end { "sent" } else { "got" };
            let mut list: Vec<Value> = Vec::new();
            let mut note: Option<Note> = None;
            while let Some(piece) = queue.front_mut() {
                let length = piece.body.length();
                if length == 0 || piece.position >= written {
                    break;
                }
                if piece.end() <= first {
                    // From before the written view began.
                    queue.pop_front();
                    continue;
                }
                if piece.position < first {
                    piece.cut(first - piece.position);
                    continue;
                }
                if note.is_none()
                    || !Rc::ptr_eq(&piece.who, &view.latest)
                    || list.len() >= MAX_ENTRIES
                {
                    if let Some(mut full) = note.take() {
                        full.list(name, &list);
                        list.clear();
                        notes.push(full.finish());
                    }
                    let mut next = Note::new(from == end);
                    announce(&mut next, view, run, from, made_up);
                    view.latest = Rc::clone(&piece.who);
                    change_who(&mut next, view, &piece.who);
                    if !*synced {
                        *synced = true;
                        next.number("from", written - piece.position);
                    }
                    note = Some(next);
                }
                let part = length.min(written - piece.position);
                let delta = signed_difference(stamp, piece.time);
                let mut entry = vec![Value::from(part), Value::from(delta)];
                if let Body::Gap(_, reason) = piece.body {
                    entry.push(Value::from(reason.name()));
                }
                list.push(Value::from(entry));
                if part < length {
                    piece.cut(part);
                    break;
                }
                queue.pop_front();
            }
            if let Some(mut full) = note {
                full.list(name, &list);
                notes.push(full.finish());
            }
        }
    }

    /// What the made-up addresses stand for, for people.
    pub(super) fn stands_for(&self, view: &View, shown: usize) -> Option<String> {
        let real = if shown == 0 {
            [&view.info.local, &view.info.peer]
        } else {
            [&view.info.peer, &view.info.local]
        };
        let mut text = String::new();
        for (end, real) in real.into_iter().enumerate() {
            if self.pair.made_up[end] {
                if !text.is_empty() {
                    text.push_str("; ");
                }
                let name = real.as_ref().map_or_else(
                    || "an unknown address".to_owned(),
                    |e: &Endpoint| e.to_string(),
                );
                text.push_str(&format!("{} stands for {name}", self.pair.ends[end]));
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Adds the facts of a view that is not in the file yet.
fn announce(note: &mut Note, view: &mut View, run: u64, from: usize, made_up: [bool; 2]) {
    if view.announced {
        return;
    }
    view.announced = true;
    view.told = None;
    note.connection(view.connection, run, &view.info);
    let list: Vec<Value> = [(from, "src"), (1 - from, "dst")]
        .into_iter()
        .filter(|(end, _)| made_up[*end])
        .map(|(_, name)| Value::from(name))
        .collect();
    if !list.is_empty() {
        note.list("made_up", &list);
    }
}

/// Adds who it is when it is another than before.
fn change_who(note: &mut Note, view: &mut View, who: &Rc<Who>) {
    if let Some(told) = &view.told
        && (Rc::ptr_eq(told, who) || **told == **who)
    {
        return;
    }
    let told = view.told.as_ref();
    if told.is_none_or(|told| told.tid != who.tid) {
        note.number("tid", u64::from(who.tid));
    }
    if told.is_none_or(|told| told.thread != who.thread) {
        note.bytes("thread", &who.thread);
    }
    if told.is_none_or(|told| !told.is_of(who)) {
        note.process(&who.texts.note);
    }
    view.told = Some(Rc::clone(who));
}

/// Nanoseconds from `from` to `to`.
pub(super) fn signed_difference(from: u64, to: u64) -> i64 {
    i64::try_from(i128::from(to) - i128::from(from)).unwrap_or(0)
}
