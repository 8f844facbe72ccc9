//! The chunked transfer coding (RFC 9112 7.1), undone piece by piece.

use super::Malformed;

/// Longest chunk size line with its extensions, in bytes.
const LINE_LIMIT: u32 = 16 << 10;

/// Longest trailer section, in bytes.
pub const TRAILER_LIMIT: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a size.
    Size,
    /// After them: white space, then an extension or the line's end.
    Extension,
    /// A CR was there, the LF must follow.
    SizeLf,
    /// In the data of a chunk.
    Data,
    /// After it: CR LF or LF.
    DataCr,
    DataLf,
    /// In the trailer section: at the start of a line, or not.
    LineStart,
    LineStartCr,
    Line,
    Done,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes of framing.
    Framing(usize),
    /// So many bytes of the body.
    Data(usize),
    /// So many bytes of the trailer section.
    Trailer(usize),
    /// So many bytes of the trailer section, and the message has ended.
    End(usize),
}

/// Where in a chunked body the stream is.
#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
    size: u64,
    digits: u32,
    line: u32,
}

impl Default for Chunked {
    fn default() -> Self {
        Self {
            state: State::Size,
            size: 0,
            digits: 0,
            line: 0,
        }
    }
}

impl Chunked {
    /// Bytes of the present chunk's data that are still to come; `None`
    /// outside a chunk's data.
    #[must_use]
    pub fn in_data(&self) -> Option<u64> {
        (self.state == State::Data).then_some(self.size)
    }

    /// Passes over `n` bytes of the present chunk's data, at most
    /// [`Self::in_data`], that are not there.
    pub fn skip(&mut self, n: u64) {
        self.size = self.size.saturating_sub(n);
        if self.size == 0 && self.state == State::Data {
            self.state = State::DataCr;
        }
    }

    /// What the first bytes of `input` (not empty) are. Not to be called
    /// after [`Step::End`].
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Malformed> {
        if self.state == State::Data {
            let n = self.size.min(input.len() as u64);
            self.skip(n);
            return Ok(Step::Data(n as usize));
        }
        if matches!(
            self.state,
            State::LineStart | State::LineStartCr | State::Line | State::Done
        ) {
            return Ok(self.trailer(input));
        }
        for (i, b) in input.iter().enumerate() {
            self.framing(*b)?;
            if matches!(self.state, State::Data | State::LineStart) {
                return Ok(Step::Framing(i + 1));
            }
        }
        Ok(Step::Framing(input.len()))
    }

    fn framing(&mut self, b: u8) -> Result<(), Malformed> {
        match (self.state, b) {
            (State::Size, b) if b.is_ascii_hexdigit() => {
                let digit = char::from(b).to_digit(16).ok_or(Malformed)?;
                self.size = self
                    .size
                    .checked_mul(16)
                    .and_then(|s| s.checked_add(u64::from(digit)))
                    .ok_or(Malformed)?;
                self.digits += 1;
                self.count_line()
            }
            // A size of no digits is an error, not 0.
            (State::Size, _) if self.digits == 0 => Err(Malformed),
            (State::Size | State::Extension, b'\n') | (State::SizeLf, b'\n') => {
                self.state = if self.size == 0 {
                    State::LineStart
                } else {
                    State::Data
                };
                Ok(())
            }
            (State::Size | State::Extension, b'\r') => {
                self.state = State::SizeLf;
                Ok(())
            }
            (State::Size, b';' | b' ' | b'\t') => {
                self.state = State::Extension;
                self.count_line()
            }
            (State::Extension, _) => self.count_line(),
            (State::DataCr, b'\r') => {
                self.state = State::DataLf;
                Ok(())
            }
            (State::DataCr | State::DataLf, b'\n') => {
                *self = Self::default();
                Ok(())
            }
            _ => Err(Malformed),
        }
    }

    fn count_line(&mut self) -> Result<(), Malformed> {
        self.line += 1;
        if self.line > LINE_LIMIT {
            return Err(Malformed);
        }
        Ok(())
    }

    fn trailer(&mut self, input: &[u8]) -> Step {
        for (i, b) in input.iter().enumerate() {
            self.state = match (self.state, b) {
                (State::LineStart | State::LineStartCr, b'\n') => {
                    self.state = State::Done;
                    return Step::End(i + 1);
                }
                (State::LineStart, b'\r') => State::LineStartCr,
                (_, b'\n') => State::LineStart,
                _ => State::Line,
            };
        }
        Step::Trailer(input.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Body, trailer section, and how much of the input the message took.
    fn decode(input: &[u8], pieces: usize) -> Result<(Vec<u8>, Vec<u8>, usize), Malformed> {
        let mut chunked = Chunked::default();
        let (mut body, mut trailer, mut at) = (Vec::new(), Vec::new(), 0);
        while at < input.len() {
            let end = input.len().min(at + pieces);
            match chunked.step(&input[at..end])? {
                Step::Framing(n) => at += n,
                Step::Data(n) => {
                    body.extend_from_slice(&input[at..at + n]);
                    at += n;
                }
                Step::Trailer(n) => {
                    trailer.extend_from_slice(&input[at..at + n]);
                    at += n;
                }
                Step::End(n) => {
                    trailer.extend_from_slice(&input[at..at + n]);
                    return Ok((body, trailer, at + n));
                }
            }
        }
        Ok((body, trailer, usize::MAX))
    }

    #[test]
    fn every_piece_size_gives_the_same() {
        let cases: [(&[u8], &[u8], &[u8]); 5] = [
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b"\r\n"),
            (b"5;a=b;c=\"d\"\r\nhello\r\n00\r\n\r\n", b"hello", b"\r\n"),
            (b"5 \nhello\n1\n!\n0\nA: b\n\n", b"hello!", b"A: b\n\n"),
            (b"0\r\nX: 1\r\nY: 2\r\n\r\n", b"", b"X: 1\r\nY: 2\r\n\r\n"),
            (b"000000000000000000001\r\nx\r\n0\r\n\r\n", b"x", b"\r\n"),
        ];
        for (input, body, trailer) in cases {
            for pieces in 1..=input.len() {
                let got = decode(input, pieces);
                assert_eq!(got, Ok((body.to_vec(), trailer.to_vec(), input.len())));
            }
        }
    }

    #[test]
    fn bad_sizes_are_errors() {
        for input in [
            &b"\r\nx"[..],
            b"g\r\n",
            b"-1\r\n",
            b"0x5\r\n",
            b"+5\r\n",
            b"10000000000000000\r\n",
            b"5\rhello",
            b"5\r\nhelloX",
            b";x\r\n",
            b" 5\r\n",
        ] {
            assert_eq!(decode(input, input.len()), Err(Malformed), "{input:?}");
            assert_eq!(decode(input, 1), Err(Malformed), "{input:?}");
        }
    }

    #[test]
    fn a_hole_in_a_chunk_is_passed_over() {
        let mut chunked = Chunked::default();
        assert_eq!(chunked.step(b"5\r\nhe"), Ok(Step::Framing(3)));
        assert_eq!(chunked.in_data(), Some(5));
        chunked.skip(5);
        assert_eq!(chunked.step(b"\r\n0\r\n\r\n"), Ok(Step::Framing(5)));
        assert_eq!(chunked.step(b"\r\n"), Ok(Step::End(2)));
    }
}
