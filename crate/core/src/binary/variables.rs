//! Variables by the debug information: of packages, of the calls at an address, of
//! closures (cmd/internal/dwarf/dwarf.go, PutDefaultFunc and putvar).

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use gimli::{AttributeValue, Operation, constants as dw};

use super::dwarf::{Entry, Reader, UnitEntry, text};
use super::{BinaryError, DieOffset, Dwarf};

/// DW_AT_go_closure_offset of cmd/internal/dwarf, since go1.23.
const AT_GO_CLOSURE_OFFSET: gimli::DwAt = gimli::DwAt(0x2907);

/// Functions that are indexed.
const FUNCTIONS_MAX: usize = 1 << 23;

/// Variables of one function.
const VARIABLES_MAX: usize = 1 << 16;

/// Ranges of code that are looked at for one question.
const RANGES_MAX: u32 = 1 << 20;

/// Operations of one expression, and values on its stack.
const OPERATIONS_MAX: usize = 1024;

/// Entries that lead to another one for what they are.
const ORIGINS_MAX: usize = 8;

/// A package-level variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalVariable<'a> {
    /// `main.cache`, with the package's import path.
    pub name: &'a str,
    /// Where it was linked to.
    pub address: u64,
    /// Its type.
    pub type_ref: DieOffset,
}

/// Where a variable, or a part of one, is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariablePlace {
    /// In memory, so many bytes from the canonical frame address.
    Frame(i64),
    /// In a register, by DWARF's number.
    Register(u16),
    /// In memory, at an address as linked.
    Address(u64),
    /// Nowhere (the part was optimized out), or in a way that Go's compiler does not use.
    Unknown,
}

/// A variable in scope at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name in the source; `~r0` for a result without a name.
    pub name: String,
    /// Its type as the debug information has it: where `escaped` is set, a pointer to
    /// the variable's type.
    pub type_ref: DieOffset,
    /// The variable lives in the heap, and the places hold its address (Go names it
    /// `&name`).
    pub escaped: bool,
    /// It is a parameter or a result, not a local variable.
    pub parameter: bool,
    /// Its parts, from the first byte on, with their bytes; one part of 0 bytes is the
    /// whole. Empty: it has no place at this address.
    pub pieces: Vec<(VariablePlace, u64)>,
}

/// A variable that a closure captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosureVariable {
    /// Bytes from the start of the closure object, the word of the code included.
    pub offset: u64,
    /// Its name in the source.
    pub name: String,
    /// As [`Variable::type_ref`].
    pub type_ref: DieOffset,
    /// It was captured by reference: the closure holds its address.
    pub escaped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Subprogram {
    low: u64,
    high: u64,
    at: DieOffset,
}

/// The functions of the debug information.
#[derive(Debug, Default)]
pub(super) struct Subprograms {
    /// By address, as linked.
    by_address: Vec<Subprogram>,
    /// Methods that are used as values, by the name of the method.
    methods: HashMap<Box<str>, DieOffset>,
}

/// An entry's unit, opened.
struct Open<'a> {
    dwarf: gimli::Dwarf<Reader<'a>>,
    unit: gimli::Unit<Reader<'a>>,
    base: usize,
    /// Ranges that may still be looked at.
    left: Cell<u32>,
}

impl<'a> Open<'a> {
    fn new(dwarf: gimli::Dwarf<Reader<'a>>, entry: &UnitEntry) -> Result<Self, BinaryError> {
        let header = dwarf
            .debug_info
            .header_from_offset(gimli::DebugInfoOffset(entry.offset))?;
        let abbreviations = std::sync::Arc::clone(&entry.abbreviations);
        // Not gimli's constructor: that wants the line table, which is large and not used.
        let (encoding, file_type) = (header.encoding(), dwarf.file_type);
        let mut unit = gimli::Unit {
            abbreviations,
            name: None,
            comp_dir: None,
            low_pc: 0,
            str_offsets_base: gimli::DebugStrOffsetsBase::default_for_encoding_and_file(
                encoding, file_type,
            ),
            addr_base: gimli::DebugAddrBase(0),
            loclists_base: gimli::DebugLocListsBase::default_for_encoding_and_file(
                encoding, file_type,
            ),
            rnglists_base: gimli::DebugRngListsBase::default_for_encoding_and_file(
                encoding, file_type,
            ),
            line_program: None,
            dwo_id: None,
            header,
        };
        let mut root = Entry::null();
        unit.entries_raw(None)?.read_entry(&mut root)?;
        for attribute in root.attrs() {
            match attribute.value() {
                AttributeValue::DebugAddrBase(base) => unit.addr_base = base,
                AttributeValue::DebugLocListsBase(base) => unit.loclists_base = base,
                AttributeValue::DebugRngListsBase(base) => unit.rnglists_base = base,
                AttributeValue::DebugStrOffsetsBase(base) => unit.str_offsets_base = base,
                _ => {}
            }
        }
        if let Some(low) = root.attr_value(dw::DW_AT_low_pc)
            && let Some(address) = dwarf.attr_address(&unit, low)?
        {
            unit.low_pc = address;
        }
        Ok(Self {
            dwarf,
            unit,
            base: entry.offset,
            left: Cell::new(RANGES_MAX),
        })
    }

    fn entries(&self, at: DieOffset) -> Result<gimli::EntriesRaw<'_, Reader<'a>>, BinaryError> {
        let malformed = || BinaryError::Dwarf(format!("no debug entry at offset {:#x}", at.0));
        let inside = at.0.checked_sub(self.base).ok_or_else(malformed)?;
        let inside = gimli::UnitOffset(inside);
        if inside < self.unit.header.root_offset() {
            return Err(malformed());
        }
        Ok(self.unit.entries_raw(Some(inside))?)
    }

    fn reference(&self, value: Option<AttributeValue<Reader<'a>>>) -> Option<DieOffset> {
        match value? {
            AttributeValue::UnitRef(offset) => Some(DieOffset(self.base.checked_add(offset.0)?)),
            AttributeValue::DebugInfoRef(offset) => Some(DieOffset(offset.0)),
            _ => None,
        }
    }

    /// First address and one past the last of a function.
    fn bounds(
        &self,
        low: AttributeValue<Reader<'a>>,
        high: AttributeValue<Reader<'a>>,
    ) -> Option<(u64, u64)> {
        let low = self.dwarf.attr_address(&self.unit, low).ok()??;
        let high = match self.dwarf.attr_address(&self.unit, high).ok()? {
            Some(high) => high,
            None => low.checked_add(high.udata_value()?)?,
        };
        (low != 0 && low < high).then_some((low, high))
    }

    /// Many variables may share one long list.
    fn spend(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    fn in_range(&self, entry: &Entry<'a>, pc: u64) -> bool {
        let Ok(mut ranges) = self.dwarf.die_ranges(&self.unit, entry) else {
            return false;
        };
        while self.spend() {
            match ranges.next() {
                Ok(Some(range)) if range.begin <= pc && pc < range.end => return true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
        false
    }

    /// The parts of the location of an entry at `pc`; none if it has none there.
    fn pieces(&self, entry: &Entry<'a>, pc: u64) -> Vec<(VariablePlace, u64)> {
        let Some(value) = entry.attr_value(dw::DW_AT_location) else {
            return Vec::new();
        };
        if let AttributeValue::Exprloc(expression) = value {
            return self.evaluate(expression);
        }
        let Ok(Some(mut list)) = self.dwarf.attr_locations(&self.unit, value) else {
            return Vec::new();
        };
        while self.spend() {
            match list.next() {
                Ok(Some(found)) if found.range.begin <= pc && pc < found.range.end => {
                    return self.evaluate(found.data);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        Vec::new()
    }

    fn evaluate(&self, expression: gimli::Expression<Reader<'a>>) -> Vec<(VariablePlace, u64)> {
        let mut pieces = Vec::new();
        let mut stack: Vec<Operand> = Vec::new();
        let mut operations = expression.operations(self.unit.encoding());
        for _ in 0..OPERATIONS_MAX {
            let operation = match operations.next() {
                Ok(Some(operation)) => operation,
                Ok(None) => break,
                Err(_) => {
                    stack = vec![Operand::Place(VariablePlace::Unknown)];
                    break;
                }
            };
            let place = |place| Operand::Place(place);
            let operand = match operation {
                Operation::CallFrameCFA => place(VariablePlace::Frame(0)),
                Operation::FrameOffset { offset } => place(VariablePlace::Frame(offset)),
                Operation::SignedConstant { value } => Operand::Number(value),
                Operation::UnsignedConstant { value } => Operand::Number(value as i64),
                Operation::Register { register } => place(VariablePlace::Register(register.0)),
                Operation::Address { address } => place(VariablePlace::Address(address)),
                Operation::AddressIndex { index } => self
                    .dwarf
                    .address(&self.unit, index)
                    .map_or(place(VariablePlace::Unknown), |address| {
                        place(VariablePlace::Address(address))
                    }),
                Operation::Plus => {
                    let (second, first) = (stack.pop(), stack.pop());
                    Operand::sum(first, second)
                }
                Operation::PlusConstant { value } => {
                    let first = stack.pop();
                    Operand::sum(first, Some(Operand::Number(value as i64)))
                }
                Operation::Piece { size_in_bits, .. } => {
                    let size = size_in_bits / 8;
                    pieces.push((Operand::place(stack.pop()), size));
                    stack.clear();
                    continue;
                }
                Operation::Nop => continue,
                _ => place(VariablePlace::Unknown),
            };
            stack.push(operand);
        }
        if pieces.is_empty() && !stack.is_empty() {
            pieces.push((Operand::place(stack.pop()), 0));
        }
        pieces
    }
}

/// A value on the stack of an expression.
#[derive(Debug, Clone, Copy)]
enum Operand {
    Number(i64),
    Place(VariablePlace),
}

impl Operand {
    fn sum(first: Option<Self>, second: Option<Self>) -> Self {
        use VariablePlace::{Address, Frame, Unknown};
        let sum = match (first, second) {
            (Some(Self::Number(a)), Some(Self::Number(b))) => {
                return Self::Number(a.wrapping_add(b));
            }
            (Some(Self::Place(place)), Some(Self::Number(number)))
            | (Some(Self::Number(number)), Some(Self::Place(place))) => match place {
                Frame(offset) => Frame(offset.wrapping_add(number)),
                Address(address) => Address(address.wrapping_add_signed(number)),
                _ => Unknown,
            },
            _ => Unknown,
        };
        Self::Place(sum)
    }

    fn place(top: Option<Self>) -> VariablePlace {
        match top {
            Some(Self::Place(place)) => place,
            _ => VariablePlace::Unknown,
        }
    }
}

fn in_memory(place: VariablePlace) -> bool {
    matches!(place, VariablePlace::Frame(_) | VariablePlace::Address(_))
}

/// The parts that are in memory during a call: where they are in the call, else where they will
/// be behind it. None if that is true of no part.
fn kept_in_memory(
    mut during: Vec<(VariablePlace, u64)>,
    behind: impl Fn() -> Vec<(VariablePlace, u64)>,
) -> Vec<(VariablePlace, u64)> {
    if during.is_empty() || !during.iter().all(|(place, _)| in_memory(*place)) {
        let behind = behind();
        let sizes = |pieces: &[(VariablePlace, u64)]| -> Vec<u64> {
            pieces.iter().map(|(_, size)| *size).collect()
        };
        if sizes(&during) == sizes(&behind) {
            for ((place, _), (other, _)) in during.iter_mut().zip(&behind) {
                if !in_memory(*place) {
                    *place = *other;
                }
            }
        } else if behind.iter().any(|(place, _)| in_memory(*place)) {
            during = behind;
        }
    }
    for (place, _) in &mut during {
        if !in_memory(*place) {
            *place = VariablePlace::Unknown;
        }
    }
    during.retain({
        let any = during.iter().any(|(place, _)| in_memory(*place));
        move |_| any
    });
    during
}

/// `&name`: a variable that moved to the heap.
fn plain_name(name: String) -> (String, bool) {
    match name.strip_prefix('&') {
        Some(plain) => (plain.to_owned(), true),
        None => (name, false),
    }
}

impl Dwarf {
    fn open_unit(&self, at: DieOffset) -> Result<Open<'_>, BinaryError> {
        let index = self.units.partition_point(|unit| unit.end <= at.0);
        let unit = self.units.get(index).filter(|unit| unit.offset <= at.0);
        let malformed = || BinaryError::Dwarf(format!("no debug entry at offset {:#x}", at.0));
        Open::new(self.borrow(), unit.ok_or_else(malformed)?)
    }

    /// All package-level variables with an address and a type, by their place in the debug
    /// information.
    pub fn globals(&self) -> Vec<GlobalVariable<'_>> {
        let mut offsets: Vec<(DieOffset, &str)> = self
            .variables
            .iter()
            .map(|(name, at)| (*at, &**name))
            .collect();
        offsets.sort_unstable();
        let mut globals = Vec::new();
        let mut open: Option<Open<'_>> = None;
        let mut until = 0;
        for (at, name) in offsets {
            if open.is_none() || at.0 >= until {
                let index = self.units.partition_point(|unit| unit.end <= at.0);
                let Some(unit) = self.units.get(index) else {
                    continue;
                };
                until = unit.end;
                open = Open::new(self.borrow(), unit).ok();
            }
            let found = open.as_ref().and_then(|open| {
                let mut entry = Entry::null();
                let read = open.entries(at).ok()?.read_entry(&mut entry);
                if !read.ok()? {
                    return None;
                }
                let type_ref = open.reference(entry.attr_value(dw::DW_AT_type))?;
                let AttributeValue::Exprloc(_) = entry.attr_value(dw::DW_AT_location)? else {
                    return None;
                };
                match open.pieces(&entry, 0).as_slice() {
                    [(VariablePlace::Address(address), _)] if *address != 0 => {
                        Some(GlobalVariable {
                            name,
                            address: *address,
                            type_ref,
                        })
                    }
                    _ => None,
                }
            });
            globals.extend(found);
        }
        globals
    }

    fn subprograms(&self) -> &Subprograms {
        self.subprograms.get_or_init(|| self.index_subprograms())
    }

    /// One pass over the units; what is malformed is indexed up to there.
    fn index_subprograms(&self) -> Subprograms {
        let mut index = Subprograms::default();
        let mut names: HashMap<&[u8], DieOffset> = HashMap::new();
        let mut values: HashSet<&[u8]> = HashSet::new();
        for unit in &self.units {
            let Ok(open) = Open::new(self.borrow(), unit) else {
                continue;
            };
            let _ = index_unit(&open, &mut index, &mut names, &mut values);
        }
        index.by_address.sort_unstable();
        index.methods = values
            .into_iter()
            .filter_map(|name| {
                let at = names.get(name)?;
                Some((std::str::from_utf8(name).ok()?.into(), *at))
            })
            .collect();
        index
    }

    fn subprogram_at(&self, pc: u64) -> Option<Subprogram> {
        let all = &self.subprograms().by_address;
        let after = all.partition_point(|function| function.low <= pc);
        all.get(after.checked_sub(1)?)
            .copied()
            .filter(|function| pc < function.high)
    }

    /// The variables in scope at `pc`, an address as linked, where the innermost frame of a
    /// stack stands: those of the function and its blocks, then, block by block, those of the calls
    /// inlined there. Empty where there is no debug information.
    #[must_use]
    pub fn variables_at(&self, pc: u64) -> Vec<Variable> {
        self.variables(pc, None)
    }

    /// The same in a frame that stands in a call that will return to `return_address`, as linked.
    /// No register holds any of them: Go's functions may overwrite all (cmd/compile/abi-internal.md).
    /// What was in one up to the call, and is needed behind it, was stored before it.
    #[must_use]
    pub fn variables_in_call(&self, return_address: u64) -> Vec<Variable> {
        match return_address.checked_sub(1) {
            Some(pc) => self.variables(pc, Some(return_address)),
            None => Vec::new(),
        }
    }

    fn variables(&self, pc: u64, behind: Option<u64>) -> Vec<Variable> {
        let mut variables = Vec::new();
        if let Some(function) = self.subprogram_at(pc) {
            // What came before something malformed stays.
            let _ = self.walk_variables(function.at, pc, behind, &mut variables);
        }
        variables
    }

    fn walk_variables(
        &self,
        at: DieOffset,
        pc: u64,
        behind: Option<u64>,
        variables: &mut Vec<Variable>,
    ) -> Result<(), BinaryError> {
        let open = self.open_unit(at)?;
        let mut entries = open.entries(at)?;
        let mut entry = Entry::null();
        if !entries.read_entry(&mut entry)? || !entry.has_children() {
            return Ok(());
        }
        // Entries deeper than this belong to something else.
        let mut deepest = isize::MAX;
        while !entries.is_empty() && entries.next_depth() > 0 && variables.len() < VARIABLES_MAX {
            let depth = entries.next_depth();
            if depth > deepest {
                if let Some(abbreviation) = entries.read_abbreviation()? {
                    entries.skip_attributes(abbreviation.attributes())?;
                }
                continue;
            }
            deepest = isize::MAX;
            if !entries.read_entry(&mut entry)? {
                continue;
            }
            match entry.tag() {
                dw::DW_TAG_variable | dw::DW_TAG_formal_parameter => {
                    let Some((name, type_ref)) = self.name_and_type(&open, &entry) else {
                        continue;
                    };
                    let (name, escaped) = plain_name(name);
                    let mut pieces = open.pieces(&entry, pc);
                    if let Some(behind) = behind {
                        pieces = kept_in_memory(pieces, || open.pieces(&entry, behind));
                    }
                    variables.push(Variable {
                        name,
                        type_ref,
                        escaped,
                        parameter: entry.tag() == dw::DW_TAG_formal_parameter,
                        pieces,
                    });
                }
                dw::DW_TAG_lexical_block | dw::DW_TAG_inlined_subroutine
                    if open.in_range(&entry, pc) => {}
                _ => deepest = depth,
            }
        }
        Ok(())
    }

    /// Name and type of an entry, or of what it is an instance of.
    fn name_and_type<'a>(
        &'a self,
        open: &Open<'a>,
        entry: &Entry<'a>,
    ) -> Option<(String, DieOffset)> {
        let mut name = text(&open.dwarf, entry.attr_value(dw::DW_AT_name));
        let mut type_ref = open.reference(entry.attr_value(dw::DW_AT_type));
        let mut origin = open.reference(entry.attr_value(dw::DW_AT_abstract_origin));
        for _ in 0..ORIGINS_MAX {
            let Some(at) = origin.filter(|_| name.is_none() || type_ref.is_none()) else {
                break;
            };
            let open = self.open_unit(at).ok()?;
            let mut entry = Entry::null();
            let read = open.entries(at).ok()?.read_entry(&mut entry);
            if !read.ok()? {
                return None;
            }
            name = name.or_else(|| text(&open.dwarf, entry.attr_value(dw::DW_AT_name)));
            type_ref = type_ref.or_else(|| open.reference(entry.attr_value(dw::DW_AT_type)));
            origin = open.reference(entry.attr_value(dw::DW_AT_abstract_origin));
        }
        Some((name?, type_ref?))
    }

    /// What the closures whose code begins at `entry`, an address as linked, captured,
    /// by offset. Empty before go1.23, and for functions that are no closures.
    #[must_use]
    pub fn closure_variables(&self, entry: u64) -> Vec<ClosureVariable> {
        let mut variables = Vec::new();
        if let Some(function) = self.subprogram_at(entry).filter(|f| f.low == entry) {
            let _ = self.walk_closure(function.at, &mut variables);
        }
        variables.sort_unstable_by_key(|variable| variable.offset);
        variables
    }

    fn walk_closure(
        &self,
        at: DieOffset,
        variables: &mut Vec<ClosureVariable>,
    ) -> Result<(), BinaryError> {
        let open = self.open_unit(at)?;
        let mut entries = open.entries(at)?;
        let mut entry = Entry::null();
        if !entries.read_entry(&mut entry)? || !entry.has_children() {
            return Ok(());
        }
        while !entries.is_empty() && entries.next_depth() > 0 && variables.len() < VARIABLES_MAX {
            let depth = entries.next_depth();
            if !entries.read_entry(&mut entry)? || depth != 1 {
                continue;
            }
            let offset = entry
                .attr_value(AT_GO_CLOSURE_OFFSET)
                .and_then(super::dwarf::number);
            if let Some(offset) = offset
                && let Some((name, type_ref)) = self.name_and_type(&open, &entry)
            {
                let (name, escaped) = plain_name(name);
                variables.push(ClosureVariable {
                    offset,
                    name,
                    type_ref,
                    escaped,
                });
            }
        }
        Ok(())
    }

    /// The type of what a method value holds: `function` is the name of its code, that of the
    /// method and `-fm`. The closure holds the receiver behind the word of the code.
    #[must_use]
    pub fn method_receiver(&self, function: &str) -> Option<DieOffset> {
        let method = function.strip_suffix("-fm")?;
        let at = *self.subprograms().methods.get(method)?;
        let open = self.open_unit(at).ok()?;
        let mut entries = open.entries(at).ok()?;
        let mut entry = Entry::null();
        if !entries.read_entry(&mut entry).ok()? || !entry.has_children() {
            return None;
        }
        while !entries.is_empty() && entries.next_depth() > 0 {
            let depth = entries.next_depth();
            let read = entries.read_entry(&mut entry).ok()?;
            if read && depth == 1 && entry.tag() == dw::DW_TAG_formal_parameter {
                return Some(self.name_and_type(&open, &entry)?.1);
            }
        }
        None
    }
}

fn index_unit<'a>(
    open: &Open<'a>,
    index: &mut Subprograms,
    names: &mut HashMap<&'a [u8], DieOffset>,
    values: &mut HashSet<&'a [u8]>,
) -> Result<(), gimli::Error> {
    let mut entries = open.unit.entries_raw(None)?;
    let mut root = Entry::null();
    if !entries.read_entry(&mut root)? {
        return Ok(());
    }
    let language = root.attr_value(dw::DW_AT_language);
    if !matches!(language, Some(AttributeValue::Language(dw::DW_LANG_Go))) {
        return Ok(());
    }
    while !entries.is_empty() && entries.next_depth() > 0 {
        let depth = entries.next_depth();
        let at = DieOffset(open.base + entries.next_offset().0);
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        if depth != 1 || abbreviation.tag() != dw::DW_TAG_subprogram {
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let (mut low, mut high) = (None, None);
        for spec in abbreviation.attributes() {
            let attribute = entries.read_attribute(*spec)?;
            match attribute.name() {
                dw::DW_AT_low_pc => low = Some(attribute.value()),
                dw::DW_AT_high_pc => high = Some(attribute.value()),
                dw::DW_AT_name => {
                    if let Some(name) = super::dwarf::string(&open.dwarf, attribute.value()) {
                        let name = name.slice();
                        if let Some(method) = name.strip_suffix(b"-fm") {
                            values.insert(method);
                        } else {
                            names.entry(name).or_insert(at);
                        }
                    }
                }
                _ => {}
            }
        }
        if let (Some(low), Some(high)) = (low, high)
            && let Some((low, high)) = open.bounds(low, high)
            && index.by_address.len() < FUNCTIONS_MAX
        {
            index.by_address.push(Subprogram { low, high, at });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use VariablePlace::{Frame, Register, Unknown};

    #[test]
    fn calls_keep_variables_in_memory_only() {
        let kept = |during: &[(VariablePlace, u64)], behind: &[(VariablePlace, u64)]| {
            kept_in_memory(during.to_vec(), || behind.to_vec())
        };
        assert_eq!(kept(&[(Register(3), 0)], &[(Frame(8), 0)]), [(Frame(8), 0)]);
        assert_eq!(kept(&[(Frame(-8), 0)], &[]), [(Frame(-8), 0)]);
        assert_eq!(kept(&[(Register(3), 0)], &[(Register(0), 0)]), []);
        assert_eq!(kept(&[], &[(Frame(8), 0)]), [(Frame(8), 0)]);
        assert_eq!(
            kept(
                &[(Frame(8), 8), (Register(1), 8), (Register(2), 8)],
                &[(Register(0), 8), (Frame(16), 8), (Register(2), 8)]
            ),
            [(Frame(8), 8), (Frame(16), 8), (Unknown, 8)]
        );
    }

    #[test]
    fn sums_of_places() {
        let sum = |a, b| Operand::place(Some(Operand::sum(Some(a), Some(b))));
        let frame = Operand::Place(Frame(8));
        assert_eq!(sum(frame, Operand::Number(-24)), Frame(-16));
        assert_eq!(sum(frame, Operand::Number(i64::MAX)), Frame(i64::MIN + 7));
        assert_eq!(sum(frame, frame), Unknown);
        assert_eq!(Operand::place(None), Unknown);
    }
}
