//! Bytes after an upgrade or CONNECT, which are somebody else's, or messages
//! of a WebSocket.

use std::io;

use super::conversation::{Conversation, Cursor};
use super::core::Core;
use super::side::{State, Tunnel};
use super::websocket::Input;
use crate::event::{Direction, Timestamp};
use crate::flow::{Item, Piece};
use crate::http::start::{self, Start};
use crate::output::Content as WireContent;

impl Conversation {
    /// Bytes after an upgrade: counted, and handed over unless they are TLS.
    pub(super) fn tunnel_bytes(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
    ) -> io::Result<()> {
        let outward = self.outward(direction).index();
        let ordinal = self.tunnel;
        let rest = cur.rest();
        let side = self.side(direction);
        let mut first = Vec::new();
        if matches!(side.state, State::Tunnel(Tunnel::New)) {
            let mut head = side.store.bytes.clone();
            head.extend_from_slice(rest.get(..5.min(rest.len())).unwrap_or_default());
            let found = match start::tls_record(&head) {
                Start::Maybe => {
                    let item = cur.item(usize::MAX);
                    side.store.push(&item);
                    cur.pass(rest.len());
                    return Ok(());
                }
                Start::Tls => Tunnel::Tls,
                _ => Tunnel::Other,
            };
            side.state = State::Tunnel(found);
            let store = std::mem::take(&mut side.store);
            self.count_tunnel(core, outward, store.bytes.len() as u64);
            if found == Tunnel::Other {
                first.push(store);
            }
            self.mute_tunnel(core);
        }
        self.count_tunnel(core, outward, rest.len() as u64);
        cur.pos += rest.len();
        if matches!(self.side(direction).state, State::Tunnel(Tunnel::Tls)) {
            cur.given = cur.pos;
            return Ok(());
        }
        let Some(ordinal) = ordinal else {
            return Ok(());
        };
        for store in first {
            store.replay(|item| {
                self.wire_item(core, direction, ordinal, &item)?;
                self.websocket_item(core, direction, &item)
            })?;
        }
        self.websocket(core, direction, cur.origin.time, Input::Bytes(rest))?;
        let item = Item {
            offset: cur.offset.wrapping_add(cur.given as u64),
            origin: cur.origin,
            piece: Piece::Bytes(cur.bytes.get(cur.given..cur.pos).unwrap_or_default()),
        };
        cur.given = cur.pos;
        self.wire_item(core, direction, ordinal, &item)
    }

    pub(super) fn wire_item(
        &mut self,
        core: &mut Core,
        direction: Direction,
        ordinal: u64,
        item: &Item<'_>,
    ) -> io::Result<()> {
        let content = match item.piece {
            Piece::Bytes(bytes) => WireContent::Bytes(bytes),
            Piece::Gap { length, reason } => WireContent::Gap { length, reason },
            Piece::End => return Ok(()),
        };
        self.wire(core, direction, ordinal, item.offset, &item.origin, content)
    }

    /// A piece of a WebSocket, if the tunnel is one.
    pub(super) fn websocket_item(
        &mut self,
        core: &mut Core,
        direction: Direction,
        item: &Item<'_>,
    ) -> io::Result<()> {
        let input = match item.piece {
            Piece::Bytes(bytes) => Input::Bytes(bytes),
            Piece::Gap { length, reason } => Input::Gap(length, reason),
            Piece::End => Input::End,
        };
        self.websocket(core, direction, item.origin.time, input)
    }

    pub(super) fn websocket(
        &mut self,
        core: &mut Core,
        direction: Direction,
        time: Timestamp,
        input: Input<'_>,
    ) -> io::Result<()> {
        let outward = self.outward(direction);
        match self.tunnel.and_then(|ordinal| self.open(ordinal)) {
            Some(open) => open.websocket_input(core, outward, time, input),
            None => Ok(()),
        }
    }

    pub(super) fn count_tunnel(&mut self, core: &mut Core, outward: usize, bytes: u64) {
        let open = self.tunnel.and_then(|ordinal| self.open(ordinal));
        if open.as_ref().is_none_or(|open| open.websocket.is_none()) {
            core.stats.tunnel_bytes = core.stats.tunnel_bytes.saturating_add(bytes);
        }
        if let Some(open) = open
            && let Some(count) = open.exchange.tunnel_bytes.get_mut(outward)
        {
            *count = count.saturating_add(bytes);
        }
    }

    /// A tunnel whose bytes nobody wants need not be copied any more.
    pub(super) fn mute_tunnel(&mut self, core: &mut Core) {
        let tls = [Direction::Send, Direction::Receive]
            .into_iter()
            .all(|d| matches!(self.side(d).state, State::Tunnel(Tunnel::Tls)));
        if tls {
            self.mute_capture(core);
        }
    }
}
