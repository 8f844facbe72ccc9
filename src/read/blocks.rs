//! Packets out of pcapng and classic pcap files, one at a time, from anything
//! that can be read: a file, a pipe, standard input.
//!
//! pcap-file takes the blocks apart; the framing is checked here first, so
//! that a length in the file never decides how much memory is taken.

use std::borrow::Cow;
use std::io::Read;
use std::time::Duration;

use pcap_file::pcap::PcapParser;
use pcap_file::pcap::PcapTsResolution;
use pcap_file::pcapng::blocks::block_common::{
    Block, ENHANCED_PACKET_BLOCK, RawBlock, SECTION_HEADER_BLOCK,
};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::{PcapNgParseError, PcapNgParser};

use super::error::ReadError;
use crate::event::Timestamp;

/// The longest block or packet that is believed, in bytes.
const MAX_BLOCK: usize = 16 << 20;
/// Bytes asked for at once.
const READ: usize = 64 << 10;

/// A captured packet.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    pub(super) time: Timestamp,
    /// LINKTYPE_ number.
    pub(super) link: u32,
    pub(super) data: Cow<'a, [u8]>,
    /// Length on the wire; at least that of `data`.
    pub(super) original: usize,
    pub(super) comments: Vec<Cow<'a, str>>,
    /// epb_flags: 1 inbound, 2 outbound, 0 unknown.
    pub(super) direction: u32,
}

/// How the packets ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After a whole block.
    Whole,
    /// Within one, as in the file of a killed run.
    Truncated,
}

/// Counts of what was passed over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skipped {
    /// Packet blocks that could not be understood.
    pub(super) malformed: u64,
}

/// The input, as far as it has been read.
struct Input<R> {
    inner: R,
    buffer: Vec<u8>,
    /// Start of what is not consumed.
    start: usize,
    /// Bytes consumed since the beginning of the file.
    offset: u64,
}

impl<R: Read> Input<R> {
    /// The next `count` bytes, or fewer at the end of the input.
    fn fill(&mut self, count: usize) -> Result<&[u8], ReadError> {
        while self.buffer.len() - self.start < count {
            if self.start > 0 && self.start >= self.buffer.len() / 2 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let filled = self.buffer.len();
            // Never more than what is read at once beyond what is there:
            // memory follows the input, not what the input claims.
            self.buffer.resize(filled + READ, 0);
            let result = loop {
                match self
                    .inner
                    .read(self.buffer.get_mut(filled..).unwrap_or_default())
                {
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            self.buffer
                .truncate(filled + result.as_ref().map_or(0, |n| *n));
            if result? == 0 {
                break;
            }
        }
        let end = self.buffer.len().min(self.start + count);
        Ok(self.buffer.get(self.start..end).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    fn damaged(&self, what: impl Into<String>) -> ReadError {
        ReadError::Damaged {
            offset: self.offset,
            what: what.into(),
        }
    }
}

/// Hands every packet to `handle` until it answers `false`.
pub(super) fn packets(
    input: impl Read,
    skipped: &mut Skipped,
    handle: &mut dyn FnMut(Packet<'_>) -> Result<bool, ReadError>,
) -> Result<End, ReadError> {
    let mut input = Input {
        inner: input,
        buffer: Vec::new(),
        start: 0,
        offset: 0,
    };
    let mut magic = [0; 4];
    let head = input.fill(4)?;
    if head.is_empty() {
        return Err(ReadError::Empty);
    }
    for (to, from) in magic.iter_mut().zip(head) {
        *to = *from;
    }
    match magic {
        [0x0a, 0x0d, 0x0d, 0x0a] => pcapng(input, skipped, handle),
        [0xa1, 0xb2, 0xc3, 0xd4]
        | [0xd4, 0xc3, 0xb2, 0xa1]
        | [0xa1, 0xb2, 0x3c, 0x4d]
        | [0x4d, 0x3c, 0xb2, 0xa1] => pcap(input, skipped, handle),
        [0x1f, 0x8b, ..] => Err(ReadError::NotACapture(
            "it is compressed; use `zcat FILE | httpsniff -r -`",
        )),
        [0x28, 0xb5, 0x2f, 0xfd] => Err(ReadError::NotACapture(
            "it is compressed; use `zstdcat FILE | httpsniff -r -`",
        )),
        [0xa1, 0xb2, 0xcd, 0x34] | [0x34, 0xcd, 0xb2, 0xa1] => Err(ReadError::NotACapture(
            "it is of a modified pcap form; convert it with `editcap IN OUT`",
        )),
        _ => Err(ReadError::NotACapture(
            "it begins like neither; give a file of tcpdump, Wireshark or httpsniff -w",
        )),
    }
}

fn pcapng<R: Read>(
    mut input: Input<R>,
    skipped: &mut Skipped,
    handle: &mut dyn FnMut(Packet<'_>) -> Result<bool, ReadError>,
) -> Result<End, ReadError> {
    let mut parser: Option<PcapNgParser> = None;
    let mut little = true;
    loop {
        let head = input.fill(12)?;
        let Some((kind, length, magic)) = block_head(head) else {
            return Ok(match head.len() {
                0 => End::Whole,
                _ => End::Truncated,
            });
        };
        if kind == SECTION_HEADER_BLOCK.to_le_bytes() {
            little = match magic {
                [0x4d, 0x3c, 0x2b, 0x1a] => true,
                [0x1a, 0x2b, 0x3c, 0x4d] => false,
                _ => return Err(input.damaged("a section without a byte-order magic")),
            };
        }
        let number = |bytes| {
            if little {
                u32::from_le_bytes(bytes)
            } else {
                u32::from_be_bytes(bytes)
            }
        };
        let length = usize::try_from(number(length)).unwrap_or(usize::MAX);
        if !(12..=MAX_BLOCK).contains(&length) || length % 4 != 0 {
            return Err(input.damaged(format!("a block of {length} bytes")));
        }
        let bytes = input.fill(length)?;
        if bytes.len() < length {
            return Ok(End::Truncated);
        }
        let raw = match &mut parser {
            None => PcapNgParser::new(bytes).map(|(_, new)| {
                parser = Some(new);
                None
            }),
            Some(parser) => parser.next_raw_block(bytes).map(|(_, raw)| Some(raw)),
        };
        let raw = match raw {
            Ok(raw) => raw,
            Err(error) => {
                let error = chain(&error);
                return Err(input.damaged(error));
            }
        };
        if let (Some(raw), Some(parser)) = (raw, &parser)
            && !block(raw, parser, skipped, handle)?
        {
            return Ok(End::Whole);
        }
        input.consume(length);
    }
}

/// Type, length and the four bytes after them.
fn block_head(bytes: &[u8]) -> Option<([u8; 4], [u8; 4], [u8; 4])> {
    let (words, _) = bytes.as_chunks::<4>();
    match words {
        [kind, length, magic, ..] => Some((*kind, *length, *magic)),
        _ => None,
    }
}

/// Hands over the packet of a block, if it is one.
fn block(
    raw: RawBlock<'_>,
    parser: &PcapNgParser,
    skipped: &mut Skipped,
    handle: &mut dyn FnMut(Packet<'_>) -> Result<bool, ReadError>,
) -> Result<bool, ReadError> {
    let is_packet = matches!(raw.type_, 2 | 3 | ENHANCED_PACKET_BLOCK);
    if !is_packet {
        return Ok(true);
    }
    let block = match raw.clone().try_into_block(parser.state()) {
        Ok(block) => Some(block),
        // An option that is not understood must not cost the packet.
        Err(_) => without_options(&raw, parser),
    };
    let packet = match block {
        Some(Block::EnhancedPacket(block)) => {
            let mut comments = Vec::new();
            let mut direction = 0;
            for option in block.options {
                match option {
                    EnhancedPacketOption::Flags(flags) => direction = flags & 3,
                    EnhancedPacketOption::Common(CommonOption::Comment(text)) => {
                        comments.push(text);
                    }
                    _ => {}
                }
            }
            Some((
                block.interface_id as usize,
                timestamp(block.timestamp),
                block.data,
                block.original_len,
                comments,
                direction,
            ))
        }
        // A simple packet has no time.
        Some(Block::SimplePacket(block)) => Some((
            0,
            Timestamp::default(),
            block.data,
            block.original_len,
            Vec::new(),
            0,
        )),
        Some(Block::Packet(block)) => {
            let interface = usize::from(block.interface_id);
            Some((
                interface,
                timestamp(block.timestamp),
                block.data,
                block.original_len,
                Vec::new(),
                0,
            ))
        }
        _ => None,
    };
    let interface = packet.as_ref().and_then(|p| parser.interfaces().get(p.0));
    let (Some((_, time, data, original, comments, direction)), Some(interface)) =
        (packet, interface)
    else {
        skipped.malformed += 1;
        return Ok(true);
    };
    let original = usize::try_from(original).unwrap_or(0).max(data.len());
    handle(Packet {
        time,
        link: u32::from(interface.linktype),
        data,
        original,
        comments,
        direction,
    })
}

/// An enhanced packet block again, its options left out.
fn without_options<'a>(raw: &RawBlock<'a>, parser: &PcapNgParser) -> Option<Block<'a>> {
    if raw.type_ != ENHANCED_PACKET_BLOCK {
        return None;
    }
    let (words, _) = raw.body.as_chunks::<4>();
    let captured = *words.get(3)?;
    let captured = if parser.state().endianness().is_little() {
        u32::from_le_bytes(captured)
    } else {
        u32::from_be_bytes(captured)
    };
    let end = usize::try_from(captured)
        .ok()?
        .checked_next_multiple_of(4)?
        .checked_add(20)?;
    let body = match &raw.body {
        Cow::Borrowed(body) => Cow::Borrowed(body.get(..end)?),
        Cow::Owned(body) => Cow::Owned(body.get(..end)?.to_vec()),
    };
    let length = u32::try_from(end + 12).ok()?;
    RawBlock {
        type_: raw.type_,
        initial_len: length,
        body,
        trailer_len: length,
    }
    .try_into_block(parser.state())
    .ok()
}

fn pcap<R: Read>(
    mut input: Input<R>,
    skipped: &mut Skipped,
    handle: &mut dyn FnMut(Packet<'_>) -> Result<bool, ReadError>,
) -> Result<End, ReadError> {
    let head = input.fill(24)?;
    if head.len() < 24 {
        return Ok(End::Truncated);
    }
    let parser = match PcapParser::new(head) {
        Ok((_, parser)) => parser,
        Err(error) => {
            let error = error.to_string();
            return Err(input.damaged(error));
        }
    };
    input.consume(24);
    let header = parser.header();
    // The upper bits tell of a frame check sequence.
    let link = u32::from(header.datalink) & 0xffff;
    loop {
        let head = input.fill(16)?;
        let (words, _) = head.as_chunks::<4>();
        let [_, _, length, _] = words else {
            return Ok(match head.len() {
                0 => End::Whole,
                _ => End::Truncated,
            });
        };
        let length = if header.endianness.is_little() {
            u32::from_le_bytes(*length)
        } else {
            u32::from_be_bytes(*length)
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_BLOCK {
            return Err(input.damaged(format!("a packet of {length} bytes")));
        }
        let total = 16 + length;
        let bytes = input.fill(total)?;
        if bytes.len() < total {
            return Ok(End::Truncated);
        }
        match parser.next_raw_packet(bytes) {
            Ok((_, packet)) => {
                let unit = match header.ts_resolution {
                    PcapTsResolution::MicroSecond => 1000,
                    PcapTsResolution::NanoSecond => 1,
                };
                let time =
                    u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_frac) * unit;
                let original = usize::try_from(packet.orig_len)
                    .unwrap_or(0)
                    .max(packet.data.len());
                let go_on = handle(Packet {
                    time: Timestamp(time),
                    link,
                    data: packet.data,
                    original,
                    comments: Vec::new(),
                    direction: 0,
                })?;
                if !go_on {
                    return Ok(End::Whole);
                }
            }
            Err(_) => skipped.malformed += 1,
        }
        input.consume(total);
    }
}

fn timestamp(time: Duration) -> Timestamp {
    Timestamp(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// An error with its causes, in one line.
fn chain(error: &PcapNgParseError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
