//! Which streams have ended: a window of bits behind the newest.

/// Identifiers of a parity in the window.
const WINDOW: u32 = 16_384;

/// Bits in a word.
const BITS: u32 = u64::BITS;

/// Streams that have ended, so that what comes late for them does not look
/// like a new one. Those far behind the newest are forgotten: a stream may
/// have lasted since then.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Of even and of odd identifiers.
    windows: [Window; 2],
}

/// Of one parity; counted in halves of identifiers.
#[derive(Debug, Default)]
struct Window {
    newest: u32,
    /// The bit of a number is at its rest by [`WINDOW`]. Empty before the
    /// first, 2 KiB then.
    bits: Vec<u64>,
}

impl Ended {
    /// A stream has ended.
    pub(super) fn insert(&mut self, id: u32) {
        self.windows[(id & 1) as usize].insert(id >> 1);
    }

    /// Whether it is known to have.
    pub(super) fn contains(&self, id: u32) -> bool {
        self.windows[(id & 1) as usize].contains(id >> 1)
    }
}

impl Window {
    const fn place(number: u32) -> (usize, u64) {
        let rest = number % WINDOW;
        ((rest / BITS) as usize, 1 << (rest % BITS))
    }

    fn insert(&mut self, number: u32) {
        if self.bits.is_empty() {
            self.bits = vec![0; (WINDOW / BITS) as usize];
            self.newest = number;
        }
        if number.saturating_add(WINDOW) <= self.newest {
            return;
        }
        // What the window moves over was that of older ones.
        let new = number.saturating_sub(self.newest);
        if new >= WINDOW {
            self.bits.fill(0);
        } else {
            for number in self.newest..self.newest + new {
                let (word, bit) = Self::place(number + 1);
                if let Some(word) = self.bits.get_mut(word) {
                    *word &= !bit;
                }
            }
        }
        self.newest += new;
        let (word, bit) = Self::place(number);
        if let Some(word) = self.bits.get_mut(word) {
            *word |= bit;
        }
    }

    fn contains(&self, number: u32) -> bool {
        let (word, bit) = Self::place(number);
        let inside = number <= self.newest && number.saturating_add(WINDOW) > self.newest;
        inside && self.bits.get(word).is_some_and(|word| word & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ended_are_known_until_they_are_far_behind() {
        let mut ended = Ended::default();
        assert!(!ended.contains(0) && !ended.contains(1));
        for id in [5, 1, 4, 9] {
            ended.insert(id);
        }
        let known: Vec<_> = (0..20).filter(|id| ended.contains(*id)).collect();
        assert_eq!(known, [1, 4, 5, 9]);
        ended.insert(2 * WINDOW + 1);
        assert!(!ended.contains(1), "the window has moved over it");
        assert!(ended.contains(5) && ended.contains(4));
        assert!(!ended.contains(2 * WINDOW + 3));
        ended.insert(1);
        assert!(!ended.contains(1), "too old");
        ended.insert(u32::MAX >> 1);
        assert!(!ended.contains(5) && !ended.contains(2 * WINDOW + 1));
        assert!(ended.contains(u32::MAX >> 1));
    }

    #[test]
    fn each_of_many_is_known() {
        let mut ended = Ended::default();
        for id in (1..60_000).step_by(6) {
            ended.insert(id);
        }
        for id in 60_000 - 2 * WINDOW..60_000 {
            assert_eq!(ended.contains(id), id % 6 == 1, "{id}");
        }
    }
}
