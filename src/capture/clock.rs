//! Kernel time to wall-clock time.

use crate::event::Timestamp;

/// Records carry `CLOCK_MONOTONIC`, because the kernel's own time of the last
/// segment sent does. Its distance to wall-clock time changes when the clock
/// is set and when the machine sleeps, so it is taken anew now and then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Wall-clock time at monotonic 0.
    offset: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        // Read monotonic on both sides of the wall clock, three times: the
        // narrowest pair is the least disturbed one.
        let offset = (0..3)
            .map(|_| {
                let before = monotonic();
                let wall = realtime();
                let after = monotonic();
                let middle = before + (after - before) / 2;
                (after - before, wall.saturating_sub(middle))
            })
            .min()
            .map_or(0, |(_, offset)| offset);
        Self { offset }
    }

    /// The wall-clock time of a record's time.
    pub(super) const fn wall(self, monotonic_ns: u64) -> Timestamp {
        Timestamp(self.offset.saturating_add(monotonic_ns))
    }

    /// The present.
    pub(super) fn now(self) -> Timestamp {
        self.wall(monotonic())
    }
}

fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanos
}

fn monotonic() -> u64 {
    nanoseconds(rustix::time::clock_gettime(
        rustix::time::ClockId::Monotonic,
    ))
}

fn realtime() -> u64 {
    nanoseconds(rustix::time::clock_gettime(rustix::time::ClockId::Realtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_the_wall_clock() {
        let system = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        let now = u128::from(Clock::new().now().0);
        assert!(now.abs_diff(system) < 1_000_000_000, "{now} vs. {system}");
    }
}
