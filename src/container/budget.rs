//! How much time may go into reading what engines note about containers: a
//! machine that starts a thousand of them a second must not keep httpsniff
//! from reading records.

use std::time::{Duration, Instant};

/// One part in so many of the time.
const SHARE: u32 = 10;
/// What may be spent at once after a rest.
const MOST: Duration = Duration::from_millis(500);

/// Time that may be spent. It comes back with time.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    left: Duration,
    /// Spent before there was time for it.
    debt: Duration,
    at: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            left: MOST,
            debt: Duration::ZERO,
            at: None,
        }
    }
}

impl Budget {
    /// Whether something may be done at `now`.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let before = self.at.replace(now).unwrap_or(now);
        let earned = now.saturating_duration_since(before) / SHARE;
        let paid = earned.min(self.debt);
        self.debt -= paid;
        self.left = (self.left + (earned - paid)).min(MOST);
        self.debt.is_zero() && !self.left.is_zero()
    }

    /// Something took so long.
    pub(super) fn spend(&mut self, time: Duration) {
        self.debt += time.saturating_sub(self.left);
        self.left = self.left.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_time_and_no_more() {
        let mut budget = Budget::default();
        let start = Instant::now();
        let (mut now, mut spent) = (start, Duration::ZERO);
        let one = Duration::from_millis(30);
        for _ in 0..10_000 {
            if budget.allows(now) {
                budget.spend(one);
                spent += one;
                now += one;
            } else {
                now += Duration::from_millis(1);
            }
        }
        let most = MOST + now.duration_since(start) / SHARE + one;
        assert!(spent <= most, "{spent:?} of {most:?}");
        assert!(spent + 2 * one >= most, "{spent:?} of {most:?}");
    }

    #[test]
    fn a_rest_is_not_saved_up() {
        let mut budget = Budget::default();
        let start = Instant::now();
        assert!(budget.allows(start));
        let later = start + Duration::from_secs(3600);
        assert!(budget.allows(later));
        budget.spend(MOST);
        assert!(!budget.allows(later));
    }
}
