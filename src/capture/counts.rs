//! What the kernel side counts and what was lost there; and which connections
//! it shall do no more than count.

use libbpf_rs::{MapCore as _, MapFlags, ProgramInput};

use super::Capture;
use super::bpf::types;
use crate::event::{ConnectionKey, Source};

/// Counts of the kernel side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records that found no room in the ring buffer.
    pub records: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Records that user space could not understand.
    pub malformed: u64,
    /// Calls that a probe could not follow to their end.
    pub calls: u64,
    /// Files with a TLS library that there was no room for.
    pub files: u64,
}

impl Capture {
    /// What the kernel side lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        let read = |counter: types::lost_counter| -> u64 {
            self.skel
                .maps
                .lost
                .lookup_percpu(&counter.0.to_ne_bytes(), MapFlags::ANY)
                .ok()
                .flatten()
                .unwrap_or_default()
                .into_iter()
                .filter_map(|value| Some(u64::from_ne_bytes(value.try_into().ok()?)))
                .sum()
        };
        Losses {
            records: read(types::lost_counter::LOST_RECORDS),
            bytes: read(types::lost_counter::LOST_BYTES),
            calls: read(types::lost_counter::LOST_CALLS),
            files: self.left_out,
            malformed: self.shared.borrow().decoder.malformed(),
        }
    }

    /// Has the bytes of the connections that are still open counted; the counts
    /// come with the next [`Self::poll`].
    pub fn count_flows(&self) {
        if !self.settings.tls_flows {
            return;
        }
        for socket in self.skel.maps.flows.keys() {
            // The arguments of a raw tracepoint, of which there is one.
            let mut arguments = [0_u8; 96];
            if let Some(first) = arguments.get_mut(..socket.len()) {
                first.copy_from_slice(&socket);
            }
            let input = ProgramInput {
                context_in: Some(&mut arguments),
                ..ProgramInput::default()
            };
            // Without it the counts of this one are not known.
            let _ = self.skel.progs.flow_count.test_run(input);
        }
    }

    /// These connections' bytes need not be copied any more; they are still
    /// counted.
    pub fn mute(&mut self, keys: &[ConnectionKey]) {
        for key in keys.iter().filter(|key| key.source == Source::Tcp) {
            let mut raw = [0; 16];
            let (object, born) = raw.split_at_mut(8);
            object.copy_from_slice(&key.object.to_ne_bytes());
            born.copy_from_slice(&key.born.to_ne_bytes());
            // Without it they are copied for nothing, no more.
            let _ = self.skel.maps.muted.update(&raw, &[1], MapFlags::ANY);
        }
    }
}
