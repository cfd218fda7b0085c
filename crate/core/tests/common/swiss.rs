//! Images of `internal/runtime/maps.Map`.

use gomapscope_core::layout::{Field, Header, MapLayout, Source, SwissMap as Fields, Table};
use gomapscope_core::map::{BlockKind, UnitKind};
use gomapscope_core::memory::{Abi, Image};

use super::{
    Built, DIRECTORY, GROUPS, HEADER, TABLES, Truth, Types, Values, Visit, add_marks, allocator,
    block, elem_of, fitted, put, put_field,
};

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ctrl {
    #[default]
    Empty,
    Deleted,
    Live(u64),
}

impl Ctrl {
    fn byte(self) -> u8 {
        match self {
            Self::Empty => 0x80,
            Self::Deleted => 0xfe,
            Self::Live(key) => (key % 128) as u8,
        }
    }

    fn mark(self) -> char {
        match self {
            Self::Empty => 'E',
            Self::Deleted => 'T',
            Self::Live(_) => 'L',
        }
    }
}

/// One table: its depth and its slots, whose number is its capacity.
#[derive(Debug, Clone)]
pub struct TableOf {
    pub local_depth: u8,
    pub slots: Vec<Ctrl>,
}

impl TableOf {
    /// A table of `capacity` slots, the first `live` of them live, keys from
    /// `first` on.
    pub fn new(local_depth: u8, capacity: usize, live: usize, first: u64) -> Self {
        let mut slots = vec![Ctrl::Empty; capacity];
        for (index, slot) in slots.iter_mut().take(live).enumerate() {
            *slot = Ctrl::Live(first + index as u64);
        }
        Self { local_depth, slots }
    }

    /// Deletes the entries of `slots`; their groups are taken as full.
    pub fn delete(mut self, slots: std::ops::Range<usize>) -> Self {
        self.slots[slots].fill(Ctrl::Deleted);
        self
    }
}

/// What a capacity takes before the table grows.
pub fn max_load(capacity: usize) -> usize {
    if capacity <= 8 {
        capacity - 1
    } else {
        capacity * 7 / 8
    }
}

#[derive(Debug, Clone)]
enum Storage {
    None,
    Small([Ctrl; 8]),
    Tables(Vec<TableOf>),
}

/// A Swiss map.
#[derive(Debug, Clone)]
pub struct SwissMap {
    abi: Abi,
    types: Types,
    storage: Storage,
    global_depth: Option<u8>,
    writing: bool,
}

impl SwissMap {
    fn new(abi: Abi, types: Types, storage: Storage) -> Self {
        Self {
            abi,
            types,
            storage,
            global_depth: None,
            writing: false,
        }
    }

    /// A map nothing was ever put into: no group yet.
    pub fn never_used(abi: Abi, types: Types) -> Self {
        Self::new(abi, types, Storage::None)
    }

    /// One group and no directory.
    pub fn small(abi: Abi, types: Types, slots: [Ctrl; 8]) -> Self {
        Self::new(abi, types, Storage::Small(slots))
    }

    /// Tables in directory order. The deepest one gives the global depth.
    pub fn tables(abi: Abi, types: Types, tables: Vec<TableOf>) -> Self {
        Self::new(abi, types, Storage::Tables(tables))
    }

    /// A directory that is deeper than its tables need.
    pub fn global_depth(mut self, depth: u8) -> Self {
        self.global_depth = Some(depth);
        self
    }

    pub fn writing(mut self) -> Self {
        self.writing = true;
        self
    }

    pub fn layout(&self) -> MapLayout {
        let abi = self.abi;
        let types = self.types;
        let word = usize::from(abi.pointer_size);
        let key = Types::slot(abi, types.key);
        let elem = Types::slot(abi, types.elem);
        let align = |size: usize| match size {
            0 => 1,
            1..8 => 1 << size.ilog2(),
            _ => word,
        };
        let (key, elem, unit_size) = if types.split {
            // A zero-size last field is padded, or a pointer to it would point
            // behind the group.
            let pad = if elem == 0 { 8 } else { 0 };
            let elems = 8 + 8 * key;
            (
                types.part(types.key, 8, key),
                types.part(types.elem, elems, elem),
                (elems + 8 * elem + pad).next_multiple_of(word),
            )
        } else {
            let elem_at = key.next_multiple_of(align(elem));
            let pad = usize::from(elem == 0 && key != 0);
            let stride = (elem_at + elem + pad).next_multiple_of(align(elem).max(align(key)));
            let pad = if stride == 0 { 8 } else { 0 };
            (
                types.part(types.key, 8, stride),
                types.part(types.elem, 8 + elem_at, stride),
                (8 + 8 * stride + pad).next_multiple_of(word),
            )
        };
        let fields = if word == 8 {
            Fields::go1_24()
        } else {
            let at = |offset, size| Field { offset, size };
            Fields {
                size: 32,
                used: at(0, 8),
                dir_ptr: at(12, 4),
                dir_len: at(16, 4),
                global_depth: at(20, 1),
                writing: at(22, 1),
                ctrl: at(0, 8),
                max_table_capacity: 1024,
                table: Table {
                    size: 24,
                    used: at(0, 2),
                    capacity: at(2, 2),
                    growth_left: at(4, 2),
                    local_depth: at(6, 1),
                    index: at(8, 4),
                    groups_data: at(12, 4),
                    groups_length_mask: at(16, 8),
                },
            }
        };
        MapLayout {
            abi,
            source: Source::Given,
            unit_size,
            key,
            elem,
            has_pointers: types.pointers || key.indirect || elem.indirect,
            allocator: allocator(abi),
            header: Header::Swiss(fields),
        }
    }

    /// Lays it out.
    pub fn build(&self) -> Built {
        let abi = self.abi;
        let layout = self.layout();
        let Header::Swiss(fields) = layout.header else {
            panic!("a Swiss map");
        };
        let mut image = Image::new();
        let mut values = Values::default();
        let mut truth = Truth::default();
        let mut header = vec![0; fields.size];
        let mut addresses = Vec::new();
        put_field(abi, &mut header, fields.writing, u64::from(self.writing));
        match &self.storage {
            Storage::None => {}
            Storage::Small(slots) => {
                let bytes = groups(&layout, slots, &mut values);
                expect(&mut truth, &layout, slots, GROUPS, 0);
                truth
                    .blocks
                    .push(block(BlockKind::Groups, GROUPS, bytes.len()));
                image.map(GROUPS, bytes);
                put_field(abi, &mut header, fields.dir_ptr, GROUPS);
            }
            Storage::Tables(tables) => {
                let deepest = tables.iter().map(|table| table.local_depth).max();
                let depth = self.global_depth.or(deepest).expect("a table");
                let word = usize::from(abi.pointer_size);
                let mut directory: Vec<u8> = Vec::new();
                // Allocated in another order than the directory has, as after splits:
                // address order and directory order must not be taken for one.
                let mut at = GROUPS;
                let mut groups_at = vec![0; tables.len()];
                for (index, table) in tables.iter().enumerate().rev() {
                    groups_at[index] = at;
                    at += (table.slots.len() / 8 * layout.unit_size) as u64 + 64;
                }
                // One segment each: what lies between two allocations is readable.
                let (mut heads, mut arrays) = (Vec::new(), Vec::new());
                for (number, table) in tables.iter().enumerate() {
                    let index = (directory.len() / word) as u64;
                    let address = TABLES + ((number * 7 + 3) % 64 + number / 64 * 64) as u64 * 32;
                    let data = groups_at[number];
                    let mut entry = vec![0; word];
                    put(abi, &mut entry, address);
                    directory.extend(entry.repeat(1 << (depth - table.local_depth)));
                    let bytes = groups(&layout, &table.slots, &mut values);
                    expect(&mut truth, &layout, &table.slots, data, index);
                    let of = |mark| table.slots.iter().filter(|s| s.mark() == mark).count();
                    let mut head = vec![0; fields.table.size];
                    let mut set = |field, value: usize| {
                        put_field(abi, &mut head, field, value as u64);
                    };
                    let capacity = table.slots.len();
                    set(fields.table.used, of('L'));
                    set(fields.table.capacity, capacity);
                    set(
                        fields.table.growth_left,
                        max_load(capacity) - of('L') - of('T'),
                    );
                    set(fields.table.local_depth, table.local_depth.into());
                    set(fields.table.index, index as usize);
                    set(fields.table.groups_data, data as usize);
                    set(fields.table.groups_length_mask, capacity / 8 - 1);
                    truth
                        .blocks
                        .push(block(BlockKind::Table, address, head.len()));
                    truth
                        .blocks
                        .push(block(BlockKind::Groups, data, bytes.len()));
                    let at = (address - TABLES) as usize;
                    heads.resize(heads.len().max(at + head.len()), 0);
                    heads[at..at + head.len()].copy_from_slice(&head);
                    let at = (data - GROUPS) as usize;
                    arrays.resize(arrays.len().max(at + bytes.len()), 0);
                    arrays[at..at + bytes.len()].copy_from_slice(&bytes);
                    addresses.push((address, data));
                }
                image.map(TABLES, heads);
                image.map(GROUPS, arrays);
                let entries = directory.len() / word;
                assert_eq!(entries, 1 << depth, "depths that fill the directory");
                put_field(abi, &mut header, fields.dir_ptr, DIRECTORY);
                put_field(abi, &mut header, fields.dir_len, entries as u64);
                put_field(abi, &mut header, fields.global_depth, depth.into());
                truth
                    .blocks
                    .push(block(BlockKind::Directory, DIRECTORY, directory.len()));
                image.map(DIRECTORY, directory);
            }
        }
        truth.len = truth.counts.live;
        truth.keys.sort_unstable();
        put_field(abi, &mut header, fields.used, truth.len);
        image.map(HEADER, header);
        values.map(&mut image);
        truth
            .blocks
            .push(block(BlockKind::Header, HEADER, fields.size));
        truth.blocks.sort_unstable_by_key(|block| block.span);
        Built {
            image,
            address: HEADER,
            layout,
            truth,
            chains: Vec::new(),
            old_chains: Vec::new(),
            tables: addresses,
        }
    }
}

fn groups(layout: &MapLayout, slots: &[Ctrl], values: &mut Values) -> Vec<u8> {
    let abi = layout.abi;
    let mut bytes = Vec::new();
    for group in slots.chunks_exact(8) {
        let mut unit = vec![0; layout.unit_size];
        for (index, slot) in group.iter().enumerate() {
            // ctrlGroup.get: byte i of the word, which is the other end of it
            // in memory on a big-endian machine.
            let at = if abi.big_endian { 7 - index } else { index };
            unit[at] = slot.byte();
            match slot {
                Ctrl::Live(key) => {
                    values.write(abi, &mut unit, layout.key, index, *key);
                    values.write(abi, &mut unit, layout.elem, index, elem_of(*key));
                }
                Ctrl::Deleted => Values::stale(abi, &mut unit, layout.key, index),
                Ctrl::Empty => {}
            }
        }
        bytes.extend(unit);
    }
    bytes
}

fn expect(truth: &mut Truth, layout: &MapLayout, slots: &[Ctrl], start: u64, table: u64) {
    for (number, group) in slots.chunks_exact(8).enumerate() {
        let marks: String = group.iter().map(|slot| slot.mark()).collect();
        add_marks(&mut truth.counts, &marks);
        for slot in group {
            if let Ctrl::Live(key) = slot {
                truth.keys.push(fitted(*key, layout.key.size as usize));
            }
        }
        truth.visits.push(Visit {
            address: start + (number * layout.unit_size) as u64,
            kind: UnitKind::Group,
            table,
            parent: 0,
            depth: 0,
            marks,
        });
    }
}

/// Eight slots, the first `live` of them live.
pub fn small_slots(live: usize) -> [Ctrl; 8] {
    std::array::from_fn(|index| {
        if index < live {
            Ctrl::Live(index as u64)
        } else {
            Ctrl::Empty
        }
    })
}

/// Damage.
impl Built {
    fn swiss(&self) -> Fields {
        match self.layout.header {
            Header::Swiss(fields) => fields,
            Header::Classic(_) => panic!("a Swiss map"),
        }
    }

    pub fn used(self, used: u64) -> Self {
        let field = self.swiss().used;
        self.set_header(field, used)
    }

    pub fn dir_len(self, len: u64) -> Self {
        let field = self.swiss().dir_len;
        self.set_header(field, len)
    }

    pub fn dir_ptr(self, address: u64) -> Self {
        let field = self.swiss().dir_ptr;
        self.set_header(field, address)
    }

    pub fn corrupt_depth(self, depth: u64) -> Self {
        let field = self.swiss().global_depth;
        self.set_header(field, depth)
    }

    /// Overwrites directory entry `index`.
    pub fn entry(self, index: u64, table: u64) -> Self {
        let at = self.entry_address(index);
        self.set_pointer(at, table)
    }

    pub fn nil_entry(self, index: u64) -> Self {
        self.entry(index, 0)
    }

    /// Lets directory entry `index` point to table number `table`.
    pub fn alias(self, index: u64, table: usize) -> Self {
        let address = self.tables[table].0;
        self.entry(index, address)
    }

    pub fn entry_address(&self, index: u64) -> u64 {
        DIRECTORY + index * u64::from(self.layout.abi.pointer_size)
    }

    /// Overwrites a field of table number `table`.
    pub fn table(mut self, table: usize, pick: impl Fn(Table) -> Field, value: u64) -> Self {
        let field = pick(self.swiss().table);
        let address = self.tables[table].0;
        self.set_at(address, field, value);
        self
    }

    /// Overwrites the control word of a group; byte 0 is slot 0.
    pub fn ctrl(mut self, address: u64, bytes: [u8; 8]) -> Self {
        let mut bytes = bytes;
        if self.layout.abi.big_endian {
            bytes.reverse();
        }
        self.poke(address, &bytes);
        self
    }

    pub fn swiss_field_address(&self, pick: impl Fn(Fields) -> Field) -> u64 {
        self.address + pick(self.swiss()).offset as u64
    }
}
