//! `internal/runtime/maps.Map`: one group of eight slots, or a directory of tables
//! of groups (internal/runtime/maps/{map,table,group}.go, Go 1.24 and later).

use std::collections::HashMap;

use super::slots::Tally;
use super::{
    Block, BlockKind, Counts, End, Flow, Shape, Slots, SwissFacts, TableFacts, Unit, UnitKind,
    Visitor, Walk,
};
use crate::layout::{MapLayout, SLOTS, SwissMap};
use crate::memory::{
    AddressHash, Memory, READ_MAX, RangeReader, ReadError, Span, nothing_read, read_available,
};

/// A map of more tables than this would have 4 billion slots.
const TABLES_MAX: usize = 1 << 22;

/// Where so many entries on end, by the addresses in them, lead to no table, a directory is none:
/// each of the others would cost a read.
const ASTRAY_MAX: usize = 1 << 14;

/// Directory entries that are read at the most.
const DIRECTORY_MAX: u64 = 1 << 27;

/// Slots a table of `capacity` takes before it grows (maps.resetGrowthLeft).
#[must_use]
pub(crate) fn max_load(capacity: u64) -> u64 {
    if capacity <= SLOTS as u64 {
        capacity.saturating_sub(1)
    } else {
        capacity * 7 / 8
    }
}

pub(super) fn walk(
    memory: &dyn Memory,
    layout: &MapLayout,
    map: SwissMap,
    header: &[u8],
    visitor: &mut dyn Visitor,
    walk: &mut Walk,
) -> Result<(), End> {
    let abi = layout.abi;
    let field = |field: crate::layout::Field| field.of(abi, header).unwrap_or(0);
    walk.len = field(map.used);
    walk.writing = field(map.writing) != 0;
    let dir_ptr = field(map.dir_ptr);
    let dir_len = field(map.dir_len);
    let global_depth = field(map.global_depth);
    let mut walker = Walker {
        memory,
        layout,
        map,
        visitor,
        facts: SwissFacts {
            dir_len,
            global_depth: u8::try_from(global_depth).unwrap_or(u8::MAX),
            tables: Vec::new(),
        },
        index: 0,
        counts: Counts::default(),
        done: 0,
        total: 0,
    };
    let ended = if dir_ptr == 0 {
        if walk.len != 0 || dir_len != 0 {
            walk.defects.push(
                "directory-nil",
                walk.address.wrapping_add(map.dir_ptr.offset as u64),
                "a group or a directory",
                format!("nil in a map of {} entries", walk.len),
                "all groups",
            );
        }
        Ok(())
    } else if dir_len == 0 {
        walker.small(dir_ptr, walk)
    } else {
        walker.tables(dir_ptr, walk)
    };
    walk.counts = walker.counts;
    walk.shape = Shape::Swiss(walker.facts);
    ended
}

struct Walker<'a> {
    memory: &'a dyn Memory,
    layout: &'a MapLayout,
    map: SwissMap,
    visitor: &'a mut dyn Visitor,
    facts: SwissFacts,
    index: u64,
    counts: Counts,
    done: u64,
    total: u64,
}

impl Walker<'_> {
    fn small(&mut self, group: u64, walk: &mut Walk) -> Result<(), End> {
        let span = Span {
            start: group,
            len: self.layout.unit_size as u64,
        };
        walk.blocks.push(Block {
            span,
            kind: BlockKind::Groups,
        });
        if self.facts.global_depth != 0 {
            walk.defects.push(
                "global-depth",
                walk.address
                    .wrapping_add(self.map.global_depth.offset as u64),
                "globalDepth 0 in a map without a directory",
                self.facts.global_depth.to_string(),
                "",
            );
        }
        let mut bytes = vec![0; self.layout.unit_size];
        match self.memory.read(group, &mut bytes) {
            Ok(()) => {
                let ended = self.group(group, 0, &bytes, walk);
                if self.counts.tombstones > 0 {
                    // Map.deleteSmall writes empty: there is no probe sequence to keep.
                    walk.defects.push(
                        "small-tombstone",
                        group,
                        "no tombstones in a map of one group",
                        self.counts.tombstones.to_string(),
                        "",
                    );
                }
                ended
            }
            Err(ReadError::Interrupted) => Err(End::Interrupted),
            Err(error @ ReadError::Fault { .. }) => {
                walk.defects.push(
                    "group-unreadable",
                    group,
                    "a readable group",
                    error.to_string(),
                    "all 8 slots",
                );
                Ok(())
            }
        }
    }

    fn tables(&mut self, dir_ptr: u64, walk: &mut Walk) -> Result<(), End> {
        let declared = 1_u64.checked_shl(u32::from(self.facts.global_depth));
        let mut len = self.facts.dir_len;
        if declared != Some(len) {
            walk.defects.push(
                "directory-length",
                walk.address.wrapping_add(self.map.dir_len.offset as u64),
                format!("dirLen = 2^globalDepth = 2^{}", self.facts.global_depth),
                format!("dirLen = {len}"),
                "",
            );
            // One of the two is overwritten; the smaller one is safe to try, and
            // the count in the header tells whether it was right.
            len = len.min(declared.unwrap_or(u64::MAX));
        }
        if len > DIRECTORY_MAX {
            walk.defects.push(
                "absurd-directory",
                walk.address.wrapping_add(self.map.dir_len.offset as u64),
                format!("at most {DIRECTORY_MAX} directory entries"),
                len.to_string(),
                "all tables",
            );
            return Ok(());
        }
        let pointer = u64::from(self.layout.abi.pointer_size);
        let span = Span {
            start: dir_ptr,
            len: len * pointer,
        };
        if dir_ptr.checked_add(span.len).is_none() {
            walk.defects.push(
                "absurd-directory",
                walk.address.wrapping_add(self.map.dir_ptr.offset as u64),
                "a directory inside the address space",
                format!("{len} entries at {dir_ptr:#x}"),
                "all tables",
            );
            return Ok(());
        }
        walk.blocks.push(Block {
            span,
            kind: BlockKind::Directory,
        });
        let entries = self.directory(dir_ptr, len, walk)?;
        let tables = self.table_headers(&entries, walk)?;
        self.total = tables
            .iter()
            .map(|table| table.groups * self.layout.unit_size as u64)
            .sum();
        // Counted in directory order, so that reports name the same table each time.
        self.facts.tables = tables.iter().map(|table| table.facts).collect();
        if self.visitor.ordered() {
            self.groups_in_order(&tables, walk)
        } else {
            self.groups_by_address(tables, walk)
        }
    }

    /// The distinct tables: address, first directory index, length of its run.
    fn directory(
        &mut self,
        dir_ptr: u64,
        len: u64,
        walk: &mut Walk,
    ) -> Result<Vec<(u64, u64, u64)>, End> {
        let abi = self.layout.abi;
        let pointer = usize::from(abi.pointer_size);
        let mut runs: Vec<(u64, u64, u64)> = Vec::new();
        let mut seen: HashMap<u64, u64, AddressHash> = HashMap::default();
        let per_read = (READ_MAX / pointer) as u64;
        let mut buffer = vec![0; per_read.min(len) as usize * pointer];
        let mut first = 0;
        let mut previous = 0;
        while first < len {
            let take = per_read.min(len - first);
            let Some(address) = dir_ptr.checked_add(first * pointer as u64) else {
                break;
            };
            let bytes = buffer
                .get_mut(..take as usize * pointer)
                .unwrap_or_default();
            self.memory.checkpoint(0, 0)?;
            let missing = read_available(self.memory, address, bytes)?;
            for span in &missing {
                walk.defects.push(
                    "directory-unreadable",
                    span.start,
                    "a readable directory",
                    format!("cannot read {} bytes at {:#x}", span.len, span.start),
                    format!("{} directory entries", span.len / pointer as u64),
                );
            }
            // Nothing at all of a large directory: do not ask a thousand times more.
            if nothing_read(&missing, bytes.len() as u64) && len - first > take {
                walk.defects.push(
                    "directory-unreadable",
                    address,
                    "a readable directory",
                    format!("nothing readable from {address:#x} on"),
                    format!("{} directory entries", len - first),
                );
                break;
            }
            for (offset, entry) in bytes.chunks_exact(pointer).enumerate() {
                let index = first + offset as u64;
                let at = address + (offset * pointer) as u64;
                if missing
                    .iter()
                    .any(|span| span.start < at + pointer as u64 && at < span.end())
                {
                    previous = 0;
                    continue;
                }
                let table = abi.uint(entry);
                if table == previous && table != 0 {
                    if let Some(run) = runs.last_mut() {
                        run.2 += 1;
                    }
                    continue;
                }
                previous = table;
                if table == 0 {
                    walk.defects.push(
                        "directory-entry-nil",
                        at,
                        "a table",
                        format!("nil in directory entry {index}"),
                        "its entries",
                    );
                } else if let Some(earlier) = seen.get(&table) {
                    // What follows is no part of the run that was begun last.
                    previous = 0;
                    walk.defects.push(
                        "directory-alias",
                        at,
                        format!("table {table:#x} in one run of entries, from {earlier} on"),
                        format!("again in directory entry {index}"),
                        "counted once",
                    );
                } else if runs.len() >= TABLES_MAX {
                    walk.defects.push(
                        "absurd-directory",
                        at,
                        format!("at most {TABLES_MAX} tables"),
                        "more",
                        "the rest of the directory",
                    );
                    return Ok(runs);
                } else {
                    seen.insert(table, index);
                    runs.push((table, index, 1));
                }
            }
            first += take;
        }
        Ok(runs)
    }

    fn table_headers(
        &mut self,
        runs: &[(u64, u64, u64)],
        walk: &mut Walk,
    ) -> Result<Vec<Groups>, End> {
        let size = self.map.table.size as u64;
        let mut order: Vec<usize> = (0..runs.len()).collect();
        let start = |index: usize| runs.get(index).map_or(0, |run| run.0);
        order.sort_unstable_by_key(|index| start(*index));
        let ranges: Vec<Span> = order
            .iter()
            .map(|index| Span {
                start: start(*index),
                len: size,
            })
            .collect();
        let mut tables: Vec<Option<Groups>> = vec![None; runs.len()];
        let mut count = 0_u32;
        let memory = self.memory;
        let mut reader = RangeReader::default();
        let mut left = ranges.len();
        for (ranges, order) in ranges.chunks(ASTRAY_MAX).zip(order.chunks(ASTRAY_MAX)) {
            let mut found = false;
            reader.read(memory, ranges, &mut |chunk| {
                count += 1;
                if count.is_multiple_of(1024) {
                    memory.checkpoint(0, 0)?;
                }
                let Some(&position) = order.get(chunk.index) else {
                    return Ok(());
                };
                let Some(&run) = runs.get(position) else {
                    return Ok(());
                };
                match chunk.bytes {
                    Some(bytes) => {
                        let table = self.table(run, bytes, walk);
                        found |= table.is_some();
                        if let Some(slot) = tables.get_mut(position) {
                            *slot = table;
                        }
                    }
                    None => walk.defects.push(
                        "table-unreadable",
                        run.0,
                        "a readable table",
                        format!("cannot read {size} bytes at {:#x}", run.0),
                        "its entries",
                    ),
                }
                Ok(())
            })?;
            left -= ranges.len();
            if !found && left > 0 {
                walk.defects.push(
                    "absurd-directory",
                    ranges.last().map_or(0, |last| last.start),
                    "tables",
                    format!("none at {} addresses on end", ranges.len()),
                    format!("{left} tables at higher addresses"),
                );
                break;
            }
        }
        let tables: Vec<Groups> = tables.into_iter().flatten().collect();
        for table in &tables {
            let span = Span {
                start: table.facts.address,
                len: size,
            };
            walk.blocks.push(Block {
                span,
                kind: BlockKind::Table,
            });
            walk.blocks.push(Block {
                span: table.span,
                kind: BlockKind::Groups,
            });
        }
        Ok(tables)
    }

    /// Checks one table's header; `None` when its groups cannot be trusted.
    fn table(&self, run: (u64, u64, u64), bytes: &[u8], walk: &mut Walk) -> Option<Groups> {
        let (address, index, aliases) = run;
        let abi = self.layout.abi;
        let layout = self.map.table;
        let field = |field: crate::layout::Field| field.of(abi, bytes).unwrap_or(0);
        let capacity = field(layout.capacity);
        let mask = field(layout.groups_length_mask);
        let data = field(layout.groups_data);
        let local_depth = field(layout.local_depth);
        let mut wrong = |code, expected: String, found: String, skipped: &str| {
            walk.defects.push(code, address, expected, found, skipped);
        };
        let slots = mask
            .checked_add(1)
            .and_then(|groups| groups.checked_mul(SLOTS as u64));
        if !capacity.is_power_of_two()
            || capacity < SLOTS as u64
            || capacity > self.map.max_table_capacity
            || slots != Some(capacity)
        {
            wrong(
                "table-capacity",
                format!(
                    "a power of two of at most {} slots, 8 times the groups",
                    self.map.max_table_capacity
                ),
                format!("capacity {capacity}, lengthMask {mask:#x}"),
                "the table",
            );
            return None;
        }
        if data == 0 {
            wrong(
                "groups-nil",
                "an array of groups".into(),
                "nil".into(),
                "the table",
            );
            return None;
        }
        let depth = u64::from(self.facts.global_depth);
        let expected_aliases = depth
            .checked_sub(local_depth)
            .and_then(|shift| 1_u64.checked_shl(shift as u32));
        if expected_aliases != Some(aliases) {
            wrong(
                "directory-run",
                format!("2^(globalDepth {depth} - localDepth {local_depth}) directory entries"),
                format!("{aliases}, from {index} on"),
                "",
            );
        }
        let stored_index = field(layout.index);
        if stored_index != index {
            wrong(
                "table-index",
                format!("index {index}, its first directory entry"),
                // An int: -1 marks a table that was replaced.
                format!("index {}", signed(stored_index, layout.index.size)),
                "",
            );
        }
        let groups = capacity / SLOTS as u64;
        let span = Span {
            start: data,
            len: groups * self.layout.unit_size as u64,
        };
        if data.checked_add(span.len).is_none() {
            wrong(
                "absurd-array",
                "groups inside the address space".into(),
                format!("{groups} groups at {data:#x}"),
                "the table",
            );
            return None;
        }
        Some(Groups {
            facts: TableFacts {
                address,
                index,
                used: field(layout.used) as u16,
                capacity: capacity as u16,
                growth_left: field(layout.growth_left) as u16,
                local_depth: local_depth as u8,
                groups,
            },
            groups,
            span,
        })
    }

    fn groups_in_order(&mut self, tables: &[Groups], walk: &mut Walk) -> Result<(), End> {
        let mut buffer = Vec::new();
        for table in tables {
            let len = table.span.len as usize;
            buffer.resize(len.max(buffer.len()), 0);
            let bytes = buffer.get_mut(..len).unwrap_or_default();
            self.memory.checkpoint(self.done, self.total)?;
            let missing = read_available(self.memory, table.span.start, bytes)?;
            self.table_groups(table, bytes, &missing, walk)?;
        }
        Ok(())
    }

    fn groups_by_address(&mut self, mut tables: Vec<Groups>, walk: &mut Walk) -> Result<(), End> {
        tables.sort_unstable_by_key(|table| table.span.start);
        let ranges: Vec<Span> = tables.iter().map(|table| table.span).collect();
        let mut ended = Ok(());
        let memory = self.memory;
        let mut salvage = Vec::new();
        let read = RangeReader::default().read(memory, &ranges, &mut |chunk| {
            let Some(table) = tables.get(chunk.index) else {
                return Ok(());
            };
            let visited = match chunk.bytes {
                Some(bytes) => self.table_groups(table, bytes, &[], walk),
                None => {
                    salvage.resize((table.span.len as usize).max(salvage.len()), 0);
                    let bytes = salvage
                        .get_mut(..table.span.len as usize)
                        .unwrap_or_default();
                    let missing = read_available(memory, table.span.start, bytes)?;
                    self.table_groups(table, bytes, &missing, walk)
                }
            };
            memory.checkpoint(self.done, self.total)?;
            visited.map_err(|end| {
                ended = Err(end);
                ReadError::Interrupted
            })
        });
        ended?;
        read?;
        Ok(())
    }

    /// All groups of one table, and its own cross-checks.
    fn table_groups(
        &mut self,
        table: &Groups,
        bytes: &[u8],
        missing: &[Span],
        walk: &mut Walk,
    ) -> Result<(), End> {
        let unit = self.layout.unit_size;
        for span in missing {
            walk.defects.push(
                "unreadable",
                span.start,
                "readable groups",
                format!("cannot read {} bytes at {:#x}", span.len, span.start),
                format!("groups of table {}", table.facts.index),
            );
        }
        let before = self.counts;
        let ctrl = self.map.ctrl;
        // The control word of every release stands first.
        let fast = self.visitor.counts_only()
            && missing.is_empty()
            && (ctrl.offset, ctrl.size) == (0, 8)
            && !self.layout.abi.big_endian;
        let mut tally = Tally::default();
        let mut position = 0;
        loop {
            if fast {
                let rest = bytes.get(position * unit..).unwrap_or_default();
                position += tally.ctrls(rest, unit);
            }
            // One that is not as usual, or each of them.
            let Some(group) = bytes
                .get(position * unit..)
                .and_then(|rest| rest.get(..unit))
            else {
                break;
            };
            let at = table.span.start + (position * unit) as u64;
            position += 1;
            let end = at + unit as u64;
            if missing
                .iter()
                .any(|span| span.start < end && at < span.end())
            {
                continue;
            }
            self.group(at, table.facts.index, group, walk)?;
        }
        self.counts.add_tally(tally);
        self.done += table.span.len;
        if !missing.is_empty() {
            return Ok(());
        }
        let live = self.counts.live - before.live;
        let tombstones = self.counts.tombstones - before.tombstones;
        let facts = table.facts;
        let racing = if walk.writing {
            " (a write was in progress)"
        } else {
            ""
        };
        if live != u64::from(facts.used) {
            walk.defects.push(
                "table-used",
                facts.address,
                format!("{} entries by the table's header", facts.used),
                format!("{live} live slots{racing}"),
                "",
            );
        }
        let load = u64::from(facts.used) + u64::from(facts.growth_left) + tombstones;
        if load != max_load(u64::from(facts.capacity)) {
            walk.defects.push(
                "table-growth-left",
                facts.address,
                format!(
                    "used + growthLeft + tombstones = {}",
                    max_load(u64::from(facts.capacity))
                ),
                format!(
                    "{} + {} + {tombstones}{racing}",
                    facts.used, facts.growth_left
                ),
                "",
            );
        }
        Ok(())
    }

    fn group(
        &mut self,
        address: u64,
        table: u64,
        bytes: &[u8],
        walk: &mut Walk,
    ) -> Result<(), End> {
        // The control word is a uint64 whose byte i, counted from the least
        // significant, belongs to slot i (group.go), on every byte order.
        let ctrl = self.map.ctrl.of(self.layout.abi, bytes).unwrap_or(0);
        let slots = Slots::from_ctrl(ctrl);
        self.counts.add(slots);
        if slots.corrupt() > 0 {
            walk.defects.push(
                "ctrl",
                address,
                "control bytes of 0x80, 0xfe or below 0x80",
                format!("{ctrl:#018x}"),
                format!("{} slots", slots.corrupt()),
            );
        }
        let index = self.index;
        self.index += 1;
        let unit = Unit {
            index,
            address,
            kind: UnitKind::Group,
            table,
            parent: 0,
            depth: 0,
            slots,
            bytes,
        };
        match self.visitor.unit(&unit) {
            Flow::Continue => Ok(()),
            Flow::Stop => Err(End::Stopped),
        }
    }
}

/// The two's complement number of `size` bytes in `value`.
fn signed(value: u64, size: usize) -> i64 {
    let unused = 64 - 8 * size.clamp(1, 8);
    ((value << unused) as i64) >> unused
}

#[derive(Debug, Clone, Copy)]
struct Groups {
    facts: TableFacts,
    groups: u64,
    span: Span,
}
