//! Blocks of the pcapng format (draft-ietf-opsawg-pcapng), collected so that
//! only whole blocks reach the file.
//!
//! The framing is pcap-file's. The body of a packet block is put together
//! here, because pcap-file's own packet block is serialised twice (once for
//! its length) and wants every option in an allocation.

use std::borrow::Cow;
use std::io::{self, Write};

use pcap_file::pcapng::blocks::block_common::ENHANCED_PACKET_BLOCK;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgWriteError, PcapNgWriter, RawBlock};
use pcap_file::{DataLink, Endianness};

use crate::event::{Direction, Source, Timestamp};

/// Bytes collected before they are handed on without a flush being asked for.
const COLLECT: usize = 256 << 10;

const OPTION_COMMENT: u16 = 1;
const OPTION_FLAGS: u16 = 2;
/// epb_processid_threadid: two 32-bit numbers.
const OPTION_PROCESS: u16 = 8;

/// Everything about a packet but its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta<'a> {
    pub(super) source: Source,
    pub(super) time: Timestamp,
    /// Seen from the process that the packet is shown for.
    pub(super) direction: Direction,
    pub(super) pid: u32,
    pub(super) tid: u32,
    /// Length on the wire, in bytes, when it is more than what is stored.
    pub(super) original: usize,
    pub(super) comments: &'a [Cow<'a, str>],
}

/// Writes a section header, interfaces and packets.
pub(super) struct BlockWriter {
    format: PcapNgWriter<Vec<u8>>,
    out: Box<dyn Write>,
    /// Sources in the order of their interface numbers.
    interfaces: Vec<Source>,
    body: Vec<u8>,
}

impl BlockWriter {
    /// Begins the file; nothing reaches `out` before the first flush.
    pub(super) fn new(out: Box<dyn Write>) -> io::Result<Self> {
        let section = SectionHeaderBlock {
            // The default is big endian, whatever the machine.
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(
                concat!("httpsniff ", env!("CARGO_PKG_VERSION")),
            ))],
            ..SectionHeaderBlock::default()
        };
        let format = PcapNgWriter::with_section_header(Vec::with_capacity(2 * COLLECT), section)
            .map_err(io_error)?;
        let mut writer = Self {
            format,
            out,
            interfaces: Vec::new(),
            body: Vec::new(),
        };
        for source in [Source::Tcp, Source::OpenSsl] {
            writer.interface(source)?;
        }
        Ok(writer)
    }

    /// The number of the interface of `source`, described now if it is new.
    fn interface(&mut self, source: Source) -> io::Result<u32> {
        let known = self.interfaces.iter().position(|s| *s == source);
        let index = match known {
            Some(index) => index,
            None => {
                let mut block = InterfaceDescriptionBlock::new(DataLink::RAW, 0);
                block.options = vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(source.name())),
                    InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
                ];
                self.format.write_pcapng_block(block).map_err(io_error)?;
                self.interfaces.push(source);
                self.interfaces.len() - 1
            }
        };
        Ok(u32::try_from(index).unwrap_or(0))
    }

    /// Writes one packet whose stored bytes `fill` appends to its argument.
    pub(super) fn packet(
        &mut self,
        meta: &Meta<'_>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        let interface = self.interface(meta.source)?;
        let body = &mut self.body;
        body.clear();
        let time = meta.time.0;
        body.extend_from_slice(&interface.to_le_bytes());
        body.extend_from_slice(&low32(time >> 32).to_le_bytes());
        body.extend_from_slice(&low32(time).to_le_bytes());
        body.extend_from_slice(&[0; 8]); // the lengths, known below
        let start = body.len();
        fill(body);
        let captured = body.len() - start;
        let original = meta.original.max(captured);
        for (at, length) in [(12, captured), (16, original)] {
            let length = low32(length as u64).to_le_bytes();
            if let Some(place) = body.get_mut(at..at + 4) {
                place.copy_from_slice(&length);
            }
        }
        pad(body);
        let flags: u32 = match meta.direction {
            Direction::Receive => 1,
            Direction::Send => 2,
        };
        option(body, OPTION_FLAGS, &flags.to_le_bytes());
        if meta.pid != 0 {
            let mut ids = [0; 8];
            ids[..4].copy_from_slice(&meta.pid.to_le_bytes());
            ids[4..].copy_from_slice(&meta.tid.to_le_bytes());
            option(body, OPTION_PROCESS, &ids);
        }
        for comment in meta.comments {
            option(body, OPTION_COMMENT, comment.as_bytes());
        }
        body.extend_from_slice(&[0; 4]); // end of options
        let length = low32(body.len() as u64 + 12);
        let block = RawBlock {
            type_: ENHANCED_PACKET_BLOCK,
            initial_len: length,
            body: Cow::Borrowed(body.as_slice()),
            trailer_len: length,
        };
        self.format.write_raw_block(&block).map_err(io_error)?;
        if self.format.get_ref().len() >= COLLECT {
            self.hand_on()?;
        }
        Ok(())
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let collected = self.format.get_mut();
        if !collected.is_empty() {
            let result = self.out.write_all(collected);
            collected.clear();
            result?;
        }
        Ok(())
    }

    /// Hands everything on, whole blocks.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.hand_on()?;
        self.out.flush()
    }
}

/// Appends an option; one too long for the format is left out.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let Ok(length) = u16::try_from(value.len()) else {
        return;
    };
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(value);
    pad(body);
}

/// Fills up to a multiple of four bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The low 32 bits.
const fn low32(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

fn io_error(error: PcapNgWriteError) -> io::Error {
    match error {
        PcapNgWriteError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}
