//! The eight slot states of one bucket or group.

/// The state of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// Holds an entry.
    Live,
    /// Never used since the last growth or clear.
    Empty,
    /// Deleted.
    Tombstone,
    /// Its entry has moved to the new array.
    Evacuated,
    /// A state byte the runtime never writes there.
    Corrupt,
}

impl SlotState {
    /// The mark in `go-map-buckets -json`.
    #[must_use]
    pub fn mark(self) -> char {
        match self {
            Self::Live => 'L',
            Self::Empty => 'E',
            Self::Tombstone => 'T',
            Self::Evacuated => 'V',
            Self::Corrupt => '?',
        }
    }
}

/// Eight slot states, one bit a slot and state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slots {
    live: u8,
    tombstone: u8,
    evacuated: u8,
    corrupt: u8,
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// One bit per byte of `high`, whose bytes are 0x80 or 0; bit 0 for byte 0.
fn gather(high: u64) -> u8 {
    // Each flag bit lands in the top byte, at its own position; no two meet.
    ((high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// 0x80 in every byte of `word` that is zero.
fn zeros(word: u64) -> u64 {
    // Exact for every byte: no carry crosses a byte.
    !(((word & !HIGH).wrapping_add(!HIGH)) | word) & HIGH
}

/// 0x80 in every byte of `tophash` that is 5 or above.
#[inline]
fn live_tophashes(tophash: u64) -> u64 {
    // With its high bit set no byte borrows from the next.
    ((tophash | HIGH).wrapping_sub(5 * LOW) | tophash) & HIGH
}

/// Adds up slot states of many buckets, a byte lane per slot: without a
/// population count per bucket, which the baseline amd64 lacks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    live_lanes: u64,
    tombstone_lanes: u64,
    pending: u8,
    pub live: u64,
    pub tombstones: u64,
    pub units: u64,
    pub units_empty: u64,
    pub units_full: u64,
}

impl Tally {
    #[inline]
    fn add(&mut self, live: u64, tombstone: u64) {
        self.live_lanes += live >> 7;
        self.tombstone_lanes += tombstone >> 7;
        self.pending += 1;
        self.units_empty += u64::from(live == 0);
        self.units_full += u64::from(live == HIGH);
        if self.pending == u8::MAX {
            self.settle();
        }
    }

    /// Moves the lanes into the totals.
    pub(super) fn settle(&mut self) {
        let sum = |lanes: u64| {
            lanes
                .to_le_bytes()
                .iter()
                .map(|lane| u64::from(*lane))
                .sum::<u64>()
        };
        self.live += sum(self.live_lanes);
        self.tombstones += sum(self.tombstone_lanes);
        self.units += u64::from(self.pending);
        self.live_lanes = 0;
        self.tombstone_lanes = 0;
        self.pending = 0;
    }

    /// Adds a group by its control word; `false`, and nothing added, if any byte
    /// is corrupt.
    #[inline]
    pub(super) fn ctrl(&mut self, ctrl: u64) -> bool {
        let high = ctrl & HIGH;
        let deleted = zeros(ctrl ^ (0xfe * LOW));
        let sound = high == deleted | zeros(ctrl ^ HIGH);
        if sound {
            self.add(high ^ HIGH, deleted);
        }
        sound
    }

    /// Adds a bucket by its tophash array; `false`, and nothing added, if any slot
    /// is evacuated.
    #[inline]
    pub(super) fn tophash(&mut self, tophash: u64) -> bool {
        let live = live_tophashes(tophash);
        // Below 2: the low seven bits do not carry into the high one, which is clear.
        let empty = !(((tophash & !HIGH) + 0x7e * LOW) | tophash) & HIGH;
        let sound = live | empty == HIGH;
        if sound {
            self.add(live, empty & (tophash << 7));
        }
        sound
    }
}

impl Slots {
    /// From the control word of a Swiss group, byte 0 first: 0x80 empty, 0xFE
    /// deleted, below 0x80 full (internal/runtime/maps/group.go).
    #[must_use]
    pub fn from_ctrl(ctrl: u64) -> Self {
        let high = ctrl & HIGH;
        let deleted = zeros(ctrl ^ (0xfe * LOW));
        let empty = zeros(ctrl ^ HIGH);
        Self {
            live: gather(!high & HIGH),
            tombstone: gather(deleted),
            evacuated: 0,
            corrupt: gather(high & !deleted & !empty),
        }
    }

    /// From the tophash array of a classic bucket, slot 0 in the lowest byte: 0
    /// emptyRest, 1 emptyOne, 2 to 4 evacuated, 5 and above live (runtime/map.go).
    #[must_use]
    pub fn from_tophash(tophash: u64) -> Self {
        let live = live_tophashes(tophash);
        let empty_one = zeros(tophash ^ LOW);
        let moved = HIGH & !live & !empty_one & !zeros(tophash);
        if tophash & 0xff >= 2 && tophash & 0xff <= 4 {
            // The runtime tells an evacuated bucket by its first slot and has
            // then written an evacuated state into each.
            return Self {
                live: 0,
                tombstone: 0,
                evacuated: gather(moved),
                corrupt: gather(HIGH & !moved),
            };
        }
        Self {
            live: gather(live),
            tombstone: gather(empty_one),
            evacuated: 0,
            corrupt: gather(moved),
        }
    }

    /// Live slots.
    #[must_use]
    pub fn live(self) -> u32 {
        self.live.count_ones()
    }

    /// Deleted slots.
    #[must_use]
    pub fn tombstones(self) -> u32 {
        self.tombstone.count_ones()
    }

    /// Slots in no valid state.
    #[must_use]
    pub fn corrupt(self) -> u32 {
        self.corrupt.count_ones()
    }

    /// Never used slots.
    #[must_use]
    pub fn empty(self) -> u32 {
        8 - (self.live | self.tombstone | self.evacuated | self.corrupt).count_ones()
    }

    /// The bucket's entries have moved to the new array.
    #[must_use]
    pub fn is_evacuated(self) -> bool {
        self.evacuated & 1 != 0
    }

    /// Bit i: slot i is live.
    #[must_use]
    pub fn live_mask(self) -> u8 {
        self.live
    }

    /// The state of slot `index` (0 to 7).
    #[must_use]
    pub fn state(self, index: usize) -> SlotState {
        let bit = 1_u8.checked_shl(index as u32).unwrap_or(0);
        if self.live & bit != 0 {
            SlotState::Live
        } else if self.tombstone & bit != 0 {
            SlotState::Tombstone
        } else if self.evacuated & bit != 0 {
            SlotState::Evacuated
        } else if self.corrupt & bit != 0 {
            SlotState::Corrupt
        } else {
            SlotState::Empty
        }
    }

    /// The eight marks.
    #[must_use]
    pub fn marks(self) -> String {
        (0..8).map(|index| self.state(index).mark()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow_ctrl(byte: u8) -> SlotState {
        match byte {
            0x80 => SlotState::Empty,
            0xfe => SlotState::Tombstone,
            0..=0x7f => SlotState::Live,
            _ => SlotState::Corrupt,
        }
    }

    fn slow_tophash(byte: u8, evacuated: bool) -> SlotState {
        match (byte, evacuated) {
            (2..=4, true) => SlotState::Evacuated,
            (_, true) | (2..=4, false) => SlotState::Corrupt,
            (0, false) => SlotState::Empty,
            (1, false) => SlotState::Tombstone,
            _ => SlotState::Live,
        }
    }

    fn word() -> impl Strategy<Value = [u8; 8]> {
        prop_oneof![
            any::<[u8; 8]>(),
            prop::array::uniform8(prop::sample::select(vec![
                0_u8, 1, 2, 3, 4, 5, 6, 0x7f, 0x80, 0x81, 0xfd, 0xfe, 0xff
            ])),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn ctrl_words_decode_as_byte_by_byte(bytes in word()) {
            let slots = Slots::from_ctrl(u64::from_le_bytes(bytes));
            for (index, byte) in bytes.iter().enumerate() {
                prop_assert_eq!(slots.state(index), slow_ctrl(*byte));
            }
            prop_assert_eq!(
                slots.live() + slots.empty() + slots.tombstones() + slots.corrupt(), 8
            );
        }

        #[test]
        fn tophashes_decode_as_byte_by_byte(bytes in word()) {
            let slots = Slots::from_tophash(u64::from_le_bytes(bytes));
            let evacuated = (2..=4).contains(&bytes[0]);
            for (index, byte) in bytes.iter().enumerate() {
                prop_assert_eq!(slots.state(index), slow_tophash(*byte, evacuated));
            }
            prop_assert_eq!(slots.is_evacuated(), evacuated);
        }
    }

    proptest! {
        #[test]
        fn a_tally_counts_what_the_slots_say(words in prop::collection::vec(word(), 0..700)) {
            let mut tally = Tally::default();
            let (mut live, mut tombstones, mut units, mut empty, mut full) = (0, 0, 0, 0, 0);
            for bytes in words {
                let word = u64::from_le_bytes(bytes);
                for (slots, added) in [
                    (Slots::from_ctrl(word), tally.ctrl(word)),
                    (Slots::from_tophash(word), tally.tophash(word)),
                ] {
                    prop_assert_eq!(added, slots.corrupt() == 0 && !slots.is_evacuated());
                    if added {
                        live += u64::from(slots.live());
                        tombstones += u64::from(slots.tombstones());
                        units += 1;
                        empty += u64::from(slots.live() == 0);
                        full += u64::from(slots.live() == 8);
                    }
                }
            }
            tally.settle();
            prop_assert_eq!(
                (tally.live, tally.tombstones, tally.units, tally.units_empty, tally.units_full),
                (live, tombstones, units, empty, full)
            );
        }
    }

    #[test]
    fn every_byte_value_decodes() {
        for byte in 0..=255_u8 {
            let word = u64::from_le_bytes([0x80, byte, 0x80, 0x80, 0x80, 0x80, 0x80, byte]);
            assert_eq!(Slots::from_ctrl(word).state(1), slow_ctrl(byte));
            assert_eq!(Slots::from_ctrl(word).state(7), slow_ctrl(byte));
            let word = u64::from_le_bytes([9, byte, 0, 0, 0, 0, 0, byte]);
            assert_eq!(
                Slots::from_tophash(word).state(1),
                slow_tophash(byte, false)
            );
        }
    }
}
