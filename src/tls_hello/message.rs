//! The two hellos. What is malformed or cut off ends the reading, and what was
//! read before it stays.

use super::Version;
use super::fields::Fields;

/// Extensions that are read (RFC 6066 3, RFC 7301 3.1, RFC 8446 4.2.1).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// The random of a ServerHello that asks for another ClientHello (RFC 8446
/// 4.1.3): the SHA-256 of "HelloRetryRequest".
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a client offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The versions that it speaks, as it lists them; values that only keep
    /// servers tolerant (GREASE, RFC 8701) are left out. Before TLS 1.3 the
    /// highest one.
    pub versions: Vec<Version>,
    /// The server's name (RFC 6066 3), not necessarily UTF-8. With encrypted
    /// ClientHello that of the public server.
    pub sni: Option<Vec<u8>>,
    /// The protocols that it offers (RFC 7301), in its order.
    pub alpn: Vec<Vec<u8>>,
}

/// What a server has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// The version.
    pub version: Version,
    /// The number of the cipher suite.
    pub cipher: u16,
    /// The protocol. From TLS 1.3 on it is encrypted: `None`.
    pub alpn: Option<Vec<u8>>,
    /// It asks for another ClientHello (HelloRetryRequest); version and cipher
    /// suite will be these.
    pub retry: bool,
}

impl ClientHello {
    /// Reads the message's body. `None` if not even the version is there.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let mut hello = Self {
            versions: vec![Version(fields.u16()?)],
            sni: None,
            alpn: Vec::new(),
        };
        let _end_of_what_is_there = hello.rest(fields);
        Some(hello)
    }

    fn rest(&mut self, mut fields: Fields<'_>) -> Option<()> {
        fields.take(32)?;
        fields.vector8()?;
        fields.vector16()?;
        fields.vector8()?;
        let mut extensions = Fields(fields.vector16_cut()?);
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            let mut data = Fields(extensions.vector16()?);
            match kind {
                SERVER_NAME if self.sni.is_none() => self.sni = server_name(data),
                ALPN if self.alpn.is_empty() => self.alpn = protocols(data),
                SUPPORTED_VERSIONS => {
                    let versions: Vec<_> = data
                        .vector8()
                        .unwrap_or_default()
                        .chunks_exact(2)
                        .filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)))
                        .filter(|number| !is_grease(*number))
                        .map(Version)
                        .collect();
                    if !versions.is_empty() {
                        self.versions = versions;
                    }
                }
                _ => {}
            }
        }
        Some(())
    }
}

impl ServerHello {
    /// Reads the message's body. `None` if the cipher suite is not there.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let version = Version(fields.u16()?);
        let retry = fields.take(32)? == RETRY;
        fields.vector8()?;
        let mut hello = Self {
            version,
            cipher: fields.u16()?,
            alpn: None,
            retry,
        };
        let _end_of_what_is_there = hello.rest(fields);
        Some(hello)
    }

    fn rest(&mut self, mut fields: Fields<'_>) -> Option<()> {
        // The compression method.
        fields.u8()?;
        let mut extensions = Fields(fields.vector16_cut()?);
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            let mut data = Fields(extensions.vector16()?);
            match kind {
                ALPN => self.alpn = protocols(data).into_iter().next(),
                SUPPORTED_VERSIONS => self.version = Version(data.u16()?),
                _ => {}
            }
        }
        Some(())
    }
}

/// The first host name of a list of names (RFC 6066 3).
fn server_name(mut data: Fields<'_>) -> Option<Vec<u8>> {
    let mut names = Fields(data.vector16()?);
    while !names.is_empty() {
        let kind = names.u8()?;
        let name = names.vector16()?;
        if kind == 0 && !name.is_empty() {
            return Some(name.to_vec());
        }
    }
    None
}

/// A list of protocols (RFC 7301 3.1) without GREASE.
fn protocols(mut data: Fields<'_>) -> Vec<Vec<u8>> {
    let mut list = Fields(data.vector16().unwrap_or_default());
    let mut protocols = Vec::new();
    while let Some(name) = list.vector8() {
        let grease = <[u8; 2]>::try_from(name).is_ok_and(|b| is_grease(u16::from_be_bytes(b)));
        if !name.is_empty() && !grease {
            protocols.push(name.to_vec());
        }
    }
    protocols
}

/// 0x0a0a, 0x1a1a … 0xfafa (RFC 8701 2).
const fn is_grease(number: u16) -> bool {
    number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff
}
