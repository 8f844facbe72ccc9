use proptest::prelude::*;

use super::*;

/// What came out: bytes, holes as `None`, and whether it ended.
#[derive(Default, Debug, PartialEq, Eq)]
struct Got {
    bytes: Vec<Option<u8>>,
    ended: bool,
}

struct Feed {
    stream: Stream,
    got: Got,
    base: u64,
}

impl Feed {
    fn new(base: u64) -> Self {
        let mut feed = Self {
            stream: Stream::default(),
            got: Got::default(),
            base,
        };
        // Fixes the base.
        feed.stream.next = Some(base);
        feed
    }

    fn run<F>(&mut self, act: F)
    where
        F: FnOnce(&mut Stream, &mut dyn FnMut(Item<'_>) -> io::Result<()>) -> io::Result<()>,
    {
        let (got, base) = (&mut self.got, self.base);
        act(&mut self.stream, &mut |item| {
            assert!(!got.ended, "nothing comes after the end");
            assert_eq!(item.offset.wrapping_sub(base), got.bytes.len() as u64);
            match item.piece {
                Piece::Bytes(bytes) => got.bytes.extend(bytes.iter().map(|b| Some(*b))),
                Piece::Gap { length, .. } => got.bytes.extend((0..length).map(|_| None)),
                Piece::End => got.ended = true,
            }
            Ok(())
        })
        .unwrap();
    }

    fn push(&mut self, at: u64, bytes: &[u8], missing: u64, now: u64) {
        let data = Data {
            direction: crate::event::Direction::Send,
            offset: self.base.wrapping_add(at),
            bytes,
            missing,
            reason: MissingReason::RingFull,
        };
        let now = Timestamp(now);
        self.run(|s, out| s.push(&data, &Origin::nobody(now), now, u64::MAX, &mut |i| out(i)));
    }

    fn end(&mut self, at: Option<u64>) {
        let at = at.map(|at| self.base.wrapping_add(at));
        let now = Timestamp(0);
        self.run(|s, out| s.end(at, &Origin::nobody(now), now, &mut |i| out(i)));
    }

    fn expire(&mut self, since: u64) {
        self.run(|s, out| s.expire(Timestamp(since), MissingReason::NotSeen, &mut |i| out(i)));
    }

    fn give_up(&mut self) {
        self.run(|s, out| s.give_up(MissingReason::NotSeen, &mut |i| out(i)));
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 256) as u8).collect()
}

#[test]
fn a_piece_that_comes_early_waits_for_the_one_before() {
    let mut feed = Feed::new(5);
    feed.push(2, b"cd", 0, 0);
    assert!(feed.got.bytes.is_empty() && feed.stream.is_waiting());
    feed.push(0, b"ab", 0, 0);
    assert_eq!(feed.got.bytes, b"abcd".map(Some));
    assert!(!feed.stream.is_waiting());
    assert_eq!(feed.stream.cost(), 0);
}

#[test]
fn a_hole_becomes_a_gap_when_it_was_waited_for_long_enough() {
    let mut feed = Feed::new(0);
    feed.push(0, b"a", 0, 0);
    feed.push(2, b"c", 0, 100);
    feed.push(4, b"e", 0, 200);
    feed.expire(99);
    assert_eq!(feed.got.bytes.len(), 1);
    feed.expire(100);
    assert_eq!(feed.got.bytes, [Some(b'a'), None, Some(b'c')]);
    feed.expire(200);
    assert_eq!(feed.got.bytes.len(), 5);
}

#[test]
fn a_loss_that_is_known_is_not_waited_for() {
    let mut feed = Feed::new(0);
    feed.push(0, b"a", 2, 0);
    feed.push(3, b"d", 0, 0);
    assert_eq!(feed.got.bytes, [Some(b'a'), None, None, Some(b'd')]);
}

#[test]
fn an_end_waits_for_the_bytes_before_it() {
    let mut feed = Feed::new(u64::MAX);
    feed.push(0, b"a", 0, 0);
    feed.end(Some(3));
    assert!(!feed.got.ended);
    feed.push(1, b"bc", 0, 0);
    assert!(feed.got.ended);

    let mut feed = Feed::new(0);
    feed.push(0, b"a", 0, 0);
    feed.end(Some(3));
    feed.expire(0);
    assert_eq!(feed.got.bytes.len(), 3);
    assert!(feed.got.ended);
}

#[test]
fn what_is_held_is_bounded_and_only_the_hole_is_lost() {
    let mut feed = Feed::new(0);
    for i in 0..100_000u64 {
        feed.push(1 + i, &[1], 0, 0);
        assert!(feed.stream.cost() <= HELD_LIMIT);
    }
    feed.give_up();
    assert_eq!(feed.got.bytes.len(), 100_001);
    assert_eq!(feed.got.bytes.iter().filter(|b| b.is_none()).count(), 1);
}

#[test]
fn offsets_far_away_do_no_harm() {
    for at in [u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 40] {
        let mut stream = Stream::default();
        let now = Timestamp(0);
        let mut total = 0u64;
        for offset in [0, at, 5] {
            let data = Data {
                direction: crate::event::Direction::Send,
                offset,
                bytes: b"x",
                missing: u64::MAX,
                reason: MissingReason::RingFull,
            };
            stream
                .push(&data, &Origin::nobody(now), now, u64::MAX, &mut |item| {
                    if let Piece::Gap { length, .. } = item.piece {
                        total = total.saturating_add(length);
                    }
                    Ok(())
                })
                .unwrap();
        }
        assert!(total > 0);
    }
}

proptest! {
    /// Pieces in any order, overlapping and repeated, with the end anywhere,
    /// give the stream back.
    #[test]
    fn any_order_gives_the_stream(
        len in 1usize..400,
        cuts in prop::collection::vec((0usize..400, 1usize..60), 0..60),
        order in prop::collection::vec(any::<prop::sample::Index>(), 100),
        base in prop_oneof![Just(0), any::<u64>(), (u64::MAX - 300)..=u64::MAX],
        end_at in any::<prop::sample::Index>(),
    ) {
        let whole = content(len);
        let mut pieces: Vec<(usize, usize)> = cuts
            .into_iter()
            .map(|(at, n)| (at % len, n))
            .map(|(at, n)| (at, (at + n).min(len)))
            .collect();
        // Whatever else there is, everything is there once.
        pieces.extend((0..len).step_by(17).map(|at| (at, (at + 17).min(len))));
        for (i, index) in order.iter().enumerate() {
            let a = i % pieces.len();
            let b = index.index(pieces.len());
            pieces.swap(a, b);
        }
        let mut feed = Feed::new(base);
        let end_at = end_at.index(pieces.len());
        for (i, (from, to)) in pieces.into_iter().enumerate() {
            if i == end_at {
                feed.end(Some(len as u64));
            }
            feed.push(from as u64, &whole[from..to], 0, 0);
        }
        prop_assert!(feed.got.ended);
        prop_assert_eq!(feed.got.bytes, whole.into_iter().map(Some).collect::<Vec<_>>());
        prop_assert_eq!(feed.stream.cost(), 0);
    }

    /// With losses, what comes out is each byte in its place or a hole.
    #[test]
    fn losses_leave_holes_of_their_length(
        len in 1usize..300,
        pieces in prop::collection::vec((0usize..300, 1usize..40, 0u64..4), 1..40),
        base in any::<u64>(),
    ) {
        let whole = content(len);
        let mut feed = Feed::new(base);
        let mut covered = vec![false; len];
        let mut far = 0;
        for (at, n, missing) in pieces {
            let from = at % len;
            let to = (from + n).min(len);
            let missing = missing.min((len - to) as u64);
            covered[from..to].fill(true);
            far = far.max(to + missing as usize);
            feed.push(from as u64, &whole[from..to], missing, 0);
        }
        feed.give_up();
        prop_assert_eq!(feed.got.bytes.len(), far);
        for (i, got) in feed.got.bytes.iter().enumerate() {
            // A hole: held as missing before its bytes came, or never there.
            if let Some(byte) = got {
                prop_assert_eq!(*byte, whole[i]);
            }
            if got.is_some() {
                prop_assert!(covered[i]);
            }
        }
    }
}
