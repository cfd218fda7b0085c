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
const EVEN: u64 = 0x00ff_00ff_00ff_00ff;

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

/// Units whose state words are looked at together: no more than a lane of 8 bits can count.
const BLOCK: usize = 128;

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
            // Pairs of lanes into four sums of 16 bits, and those into the highest.
            let pairs = (lanes & EVEN) + (lanes >> 8 & EVEN);
            pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48
        };
        self.live += sum(self.live_lanes);
        self.tombstones += sum(self.tombstone_lanes);
        self.units += u64::from(self.pending);
        self.live_lanes = 0;
        self.tombstone_lanes = 0;
        self.pending = 0;
    }

    /// Adds groups of `size` bytes that begin with their control word, least significant
    /// byte first, until one has a corrupt byte; returns how many it added.
    pub(super) fn ctrls(&mut self, bytes: &[u8], size: usize) -> usize {
        let mut words = [0; BLOCK];
        let mut added = 0;
        for block in bytes.chunks(size.saturating_mul(BLOCK)) {
            for (word, group) in words.iter_mut().zip(block.chunks_exact(size)) {
                *word = first_word(group);
            }
            let words = words.get(..block.len() / size).unwrap_or_default();
            let sound = self.words(words, ctrl_parts);
            added += sound;
            if sound < words.len() {
                break;
            }
        }
        added
    }

    /// Adds buckets of `size` bytes until one has an evacuated slot; returns how many it
    /// added. `linked` gets the position of each whose word at `link` is not 0, and the
    /// word as it lies in memory.
    pub(super) fn tophashes(
        &mut self,
        bytes: &[u8],
        size: usize,
        link: usize,
        mut linked: impl FnMut(usize, [u8; 8]),
    ) -> usize {
        let mut words = [0; BLOCK];
        let mut links = [(0, [0; 8]); BLOCK];
        let mut added = 0;
        for block in bytes.chunks(size.saturating_mul(BLOCK)) {
            // Whether a bucket has a link is as good as chance, and a branch on that would
            // often be foreseen wrongly: each is noted, and stays noted if it has one.
            let mut count = 0;
            let buckets = block.chunks_exact(size).enumerate();
            for (word, (at, bucket)) in words.iter_mut().zip(buckets) {
                *word = first_word(bucket);
                let next = bucket
                    .get(link..)
                    .and_then(<[u8]>::first_chunk::<8>)
                    .map_or([0; 8], |next| *next);
                links[count % BLOCK] = (at, next);
                count += usize::from(next != [0; 8]);
            }
            let words = words.get(..block.len() / size).unwrap_or_default();
            let sound = self.words(words, tophash_parts);
            for (at, next) in links.iter().take(count) {
                if *at < sound {
                    linked(added + at, *next);
                }
            }
            added += sound;
            if sound < words.len() {
                break;
            }
        }
        added
    }

    /// Adds the state words of at most [`BLOCK`] units until `parts` finds one wrong;
    /// returns how many it added.
    #[inline(always)]
    fn words(&mut self, words: &[u64], parts: impl Fn(u64) -> Parts + Copy) -> usize {
        self.settle();
        let (mut live_lanes, mut tombstone_lanes, mut any) = (0, 0, 0);
        let (mut empty, mut full) = (0, 0);
        // Nothing here depends on what the words are: the compiler takes several at a time.
        for word in words {
            let Parts {
                live,
                tombstone,
                wrong,
            } = parts(*word);
            live_lanes += live >> 7;
            tombstone_lanes += tombstone >> 7;
            any |= wrong;
            empty += u64::from(live == 0);
            full += u64::from(live == HIGH);
        }
        if any != 0 {
            // Rare: those in front of the first that is wrong, one by one.
            let sound = words.iter().map(|word| parts(*word));
            let mut added = 0;
            for found in sound.take_while(|found| found.wrong == 0) {
                self.add(found.live, found.tombstone);
                added += 1;
            }
            return added;
        }
        self.live_lanes = live_lanes;
        self.tombstone_lanes = tombstone_lanes;
        self.pending = words.len() as u8;
        self.units_empty += empty;
        self.units_full += full;
        self.settle();
        words.len()
    }

    /// Adds a group by its control word; `false`, and nothing added, if any byte
    /// is corrupt.
    #[cfg(test)]
    pub(super) fn ctrl(&mut self, ctrl: u64) -> bool {
        let found = ctrl_parts(ctrl).sound();
        if let Some((live, deleted)) = found {
            self.add(live, deleted);
        }
        found.is_some()
    }

    /// Whether [`Tally::tophash`] adds a bucket of these states.
    #[inline]
    pub(super) fn sound(tophash: u64) -> bool {
        tophash_parts(tophash).wrong == 0
    }

    /// Adds a bucket by its tophash array; `false`, and nothing added, if any slot
    /// is evacuated.
    #[inline]
    pub(super) fn tophash(&mut self, tophash: u64) -> bool {
        let found = tophash_parts(tophash).sound();
        if let Some((live, tombstone)) = found {
            self.add(live, tombstone);
        }
        found.is_some()
    }
}

/// What the eight states of a unit are: 0x80 in the byte of each live and of each deleted
/// slot, and anything but 0 where some state is wrong.
#[derive(Clone, Copy)]
struct Parts {
    live: u64,
    tombstone: u64,
    wrong: u64,
}

impl Parts {
    /// Live and deleted slots; `None` if any is wrong.
    #[inline]
    fn sound(self) -> Option<(u64, u64)> {
        (self.wrong == 0).then_some((self.live, self.tombstone))
    }
}

/// The first eight bytes of a unit, that of slot 0 the lowest.
#[inline]
fn first_word(unit: &[u8]) -> u64 {
    unit.first_chunk::<8>()
        .map_or(0, |word| u64::from_le_bytes(*word))
}

/// The states of a control word; a corrupt one is wrong.
#[inline]
fn ctrl_parts(ctrl: u64) -> Parts {
    let high = ctrl & HIGH;
    // Of the bytes with a high bit 0xfe has the second lowest bit set, 0x80 has not.
    let deleted = high & (ctrl << 6);
    // 0x7f under each high bit, and what then stands there in a deleted slot: 0x7e.
    let low = ctrl & (high - (high >> 7));
    Parts {
        live: high ^ HIGH,
        tombstone: deleted,
        wrong: low ^ (deleted - (deleted >> 6)),
    }
}

/// The states of a tophash array; an evacuated one is wrong.
#[inline]
fn tophash_parts(tophash: u64) -> Parts {
    let live = live_tophashes(tophash);
    // Below 2: the low seven bits do not carry into the high one, which is clear.
    let empty = !(((tophash & !HIGH) + 0x7e * LOW) | tophash) & HIGH;
    Parts {
        live,
        tombstone: empty & (tophash << 7),
        wrong: (live | empty) ^ HIGH,
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

    fn totals(mut tally: Tally) -> [u64; 5] {
        tally.settle();
        let Tally {
            live,
            tombstones,
            units,
            units_empty,
            units_full,
            ..
        } = tally;
        [live, tombstones, units, units_empty, units_full]
    }

    proptest! {
        #[test]
        fn a_run_adds_what_its_words_do(
            words in prop::collection::vec(
                prop_oneof![
                    60 => prop::array::uniform8(prop::sample::select(vec![0_u8, 1, 5, 0x7f])),
                    60 => prop::array::uniform8(prop::sample::select(vec![0_u8, 0x80, 0xfe])),
                    1 => word(),
                ],
                0..900,
            ),
            more in 8_usize..20,
            start in any::<bool>(),
        ) {
            let (size, link) = (8 + more, more);
            let mut bytes = Vec::new();
            for (index, word) in words.iter().enumerate() {
                bytes.extend(word);
                bytes.resize(index * size + link, 0x55);
                bytes.extend((index as u64 % 3).to_le_bytes());
                bytes.resize((index + 1) * size, 0x55);
            }
            for classic in [false, true] {
                let (mut expected, mut tally) = (Tally::default(), Tally::default());
                if start {
                    expected.tophash(5);
                    tally.tophash(5);
                }
                let add = |word: &&[u8; 8]| match (classic, u64::from_le_bytes(**word)) {
                    (true, states) => expected.tophash(states),
                    (false, states) => expected.ctrl(states),
                };
                let added = words.iter().take_while(add).count();
                let mut links = Vec::new();
                let run = match classic {
                    true => tally.tophashes(&bytes, size, link, |at, word| links.push((at, word))),
                    false => tally.ctrls(&bytes, size),
                };
                prop_assert_eq!(run, added);
                prop_assert_eq!(totals(tally), totals(expected));
                if classic {
                    let linked: Vec<_> = (0..added)
                        .filter(|at| at % 3 != 0)
                        .map(|at| (at, (at as u64 % 3).to_le_bytes()))
                        .collect();
                    prop_assert_eq!(links, linked);
                }
            }
        }

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
