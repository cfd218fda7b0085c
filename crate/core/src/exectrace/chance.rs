//! Whether events come before collections more often than by chance.

use serde::Serialize;

/// Fewer events or collections say nothing.
const EVENTS_MIN: usize = 20;
const COLLECTIONS_MIN: usize = 5;
/// Shifts, and those where there are very many collections.
const SHIFTS: u32 = 999;
const SHIFTS_FEW: u32 = 199;
const MANY: usize = 8192;
/// The window before a collection is this part of the median time between two.
const PART: u64 = 10;

/// A test by rotation: the events' times are kept as they are to each other and shifted
/// against the collections by a random time, around the ends of the trace. That keeps
/// bursts as bursts; only the relation to collections is lost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Chance {
    /// Events.
    pub events: u64,
    /// Collections whose begin is in the trace.
    pub collections: u64,
    /// How long before a collection begins counts as before it; 0 if nothing was tested.
    pub window_ns: u64,
    /// The part of the trace that lies in such windows.
    pub covered: f64,
    /// The part of the events that does.
    pub observed: f64,
    /// The same on average over all shifts.
    pub expected: f64,
    /// Shifts that were tried.
    pub shifts: u32,
    /// How likely as large a part or a larger one is by chance: `(k + 1) / (shifts + 1)`,
    /// where `k` shifts gave one. Absent where there are too few events or collections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
}

/// Tests `times` (sorted) against `begins` (sorted) within `extent`.
pub(super) fn before(times: &[u64], begins: &[u64], extent: (u64, u64)) -> Chance {
    let mut chance = Chance {
        events: times.len() as u64,
        collections: begins.len() as u64,
        window_ns: 0,
        covered: 0.0,
        observed: 0.0,
        expected: 0.0,
        shifts: 0,
        p: None,
    };
    let whole = extent.1.saturating_sub(extent.0);
    if times.len() < EVENTS_MIN || begins.len() < COLLECTIONS_MIN || whole == 0 {
        return chance;
    }
    let mut gaps: Vec<u64> = begins
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect();
    gaps.sort_unstable();
    let median = gaps.get(gaps.len() / 2).copied().unwrap_or(0);
    chance.window_ns = (median / PART).max(1);
    let windows = windows(begins, chance.window_ns, extent.0);
    let covered: u64 = windows.iter().map(|(from, to)| to - from).sum();
    chance.covered = covered as f64 / whole as f64;
    let times: Vec<u64> = times
        .iter()
        .map(|time| time.saturating_sub(extent.0))
        .collect();
    let observed = inside(&times, &windows, 0, whole);
    chance.shifts = if begins.len() > MANY {
        SHIFTS_FEW
    } else {
        SHIFTS
    };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ whole;
    let (mut sum, mut as_many) = (0_u128, 0_u32);
    for _ in 0..chance.shifts {
        let shift = ((u128::from(next(&mut random)) * u128::from(whole)) >> 64) as u64;
        let count = inside(&times, &windows, shift, whole);
        sum += u128::from(count);
        as_many += u32::from(count >= observed);
    }
    let events = times.len() as f64;
    chance.observed = observed as f64 / events;
    chance.expected = sum as f64 / f64::from(chance.shifts) / events;
    chance.p = Some(f64::from(as_many + 1) / f64::from(chance.shifts + 1));
    chance
}

/// The windows that end at the begins, none in another, from 0 on.
fn windows(begins: &[u64], length: u64, zero: u64) -> Vec<(u64, u64)> {
    let mut windows: Vec<(u64, u64)> = Vec::with_capacity(begins.len());
    for begin in begins {
        let end = begin.saturating_sub(zero);
        let mut from = end.saturating_sub(length);
        if let Some(last) = windows.last() {
            from = from.max(last.1);
        }
        if from < end {
            windows.push((from, end));
        }
    }
    windows
}

/// How many of `times` lie in windows that are shifted by `shift` around `whole`.
fn inside(times: &[u64], windows: &[(u64, u64)], shift: u64, whole: u64) -> u64 {
    let below = |limit: u64| times.partition_point(|time| *time < limit) as u64;
    let between = |from: u64, to: u64| below(to) - below(from);
    windows
        .iter()
        .map(|(from, to)| {
            let length = to - from;
            // Below 2^64: both are at most `whole`, which is half the clock at most.
            let from = ((u128::from(*from) + u128::from(shift)) % u128::from(whole)) as u64;
            match from.checked_add(length) {
                Some(to) if to <= whole => between(from, to),
                _ => {
                    let rest = length - (whole - from);
                    between(from, u64::MAX) + between(0, rest)
                }
            }
        })
        .sum()
}

/// splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins() -> Vec<u64> {
        // Not evenly: a rhythm would find itself again at every shift by one period.
        let mut random = 1;
        let mut time = 1_000;
        (0..50)
            .map(|_| {
                time += 10_000 + next(&mut random) % 10_000;
                time
            })
            .collect()
    }

    #[test]
    fn events_before_collections_are_noticed() {
        let begins = begins();
        let extent = (0, begins[49] + 5_000);
        let times: Vec<u64> = begins
            .iter()
            .flat_map(|begin| [begin - 300, begin - 200])
            .collect();
        let found = before(&times, &begins, extent);
        assert!(found.observed > 0.99, "{found:?}");
        assert!(found.expected < 0.2 && found.expected > 0.03, "{found:?}");
        // Small shifts leave them where they are.
        assert!(found.p.unwrap() < 0.02, "{found:?}");
        // The same again gives the same.
        assert_eq!(before(&times, &begins, extent), found);
    }

    #[test]
    fn events_anywhere_are_not() {
        let begins = begins();
        let extent = (0, begins[49] + 5_000);
        let mut random = 99;
        let mut times: Vec<u64> = (0..2_000).map(|_| next(&mut random) % extent.1).collect();
        times.sort_unstable();
        let found = before(&times, &begins, extent);
        assert!((found.observed - found.covered).abs() < 0.05, "{found:?}");
        assert!((found.expected - found.covered).abs() < 0.02, "{found:?}");
        assert!(found.p.unwrap() > 0.01, "{found:?}");
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(before(&[1; 100], &[5, 6], (0, 10)).p, None);
        assert_eq!(before(&[1; 3], &[5; 10], (0, 10)).p, None);
        assert_eq!(before(&[5; 100], &[5; 10], (5, 5)).p, None);
        // Times that cannot be do no harm.
        let found = before(&[u64::MAX; 30], &[u64::MAX; 10], (0, u64::MAX));
        assert!(found.p.is_some());
        before(&[0; 30], &[u64::MAX; 10], (1, 2));
    }

    #[test]
    fn windows_go_around_the_end() {
        let times = [0, 5, 95, 99];
        assert_eq!(inside(&times, &[(90, 100)], 0, 100), 2);
        assert_eq!(inside(&times, &[(90, 100)], 8, 100), 3);
        assert_eq!(inside(&times, &[(90, 100)], 50, 100), 0);
        assert_eq!(windows(&[10, 12, 30], 5, 0), [(5, 10), (10, 12), (25, 30)]);
    }
}
