//! DWARF of a Go executable, indexed by name.
//!
//! Go's linker writes every type of the program as a direct child of one
//! compile unit, and variables and constants as direct children of their
//! package's (cmd/link/internal/ld/dwarf.go); one pass over the units finds
//! them all.

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{AttributeValue, EndianSlice, RunTimeEndian, constants as dw};

use once_cell::unsync::OnceCell;

use super::BinaryError;
use super::variables::Subprograms;

pub(super) type Reader<'a> = EndianSlice<'a, RunTimeEndian>;
pub(super) type Entry<'a> = gimli::DebuggingInformationEntry<Reader<'a>>;

// cmd/internal/dwarf: the attributes Go adds, DW_AT_lo_user (0x2000) + 0x900 on.
const AT_GO_KIND: gimli::DwAt = gimli::DwAt(0x2900);
const AT_GO_KEY: gimli::DwAt = gimli::DwAt(0x2901);
const AT_GO_ELEM: gimli::DwAt = gimli::DwAt(0x2902);
const AT_GO_EMBEDDED_FIELD: gimli::DwAt = gimli::DwAt(0x2903);
const AT_GO_RUNTIME_TYPE: gimli::DwAt = gimli::DwAt(0x2904);
const AT_GO_PACKAGE_NAME: gimli::DwAt = gimli::DwAt(0x2905);

/// Position of a debugging information entry in `.debug_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DieOffset(pub usize);

/// What this crate uses of one debugging information entry.
#[derive(Debug, Clone)]
pub struct Die {
    /// Where it stands.
    pub offset: DieOffset,
    /// Its tag.
    pub tag: gimli::DwTag,
    /// `DW_AT_name`.
    pub name: Option<String>,
    /// `DW_AT_byte_size`.
    pub byte_size: Option<u64>,
    /// `DW_AT_encoding`.
    pub encoding: Option<u64>,
    /// `DW_AT_type`.
    pub type_ref: Option<DieOffset>,
    /// `DW_AT_count`.
    pub count: Option<u64>,
    /// `DW_AT_data_member_location`.
    pub member_offset: Option<u64>,
    /// Go's kind number (internal/abi.Kind), flags removed.
    pub go_kind: Option<u8>,
    /// Key type of a map.
    pub go_key: Option<DieOffset>,
    /// Elem type of a map, slice or channel.
    pub go_elem: Option<DieOffset>,
    /// The runtime's type descriptor, as an offset from `runtime.types`.
    pub go_runtime_type: Option<u64>,
    /// The field is embedded.
    pub embedded: bool,
    /// `DW_OP_addr` of a variable, as linked.
    pub address: Option<u64>,
    /// `DW_AT_const_value`.
    pub const_value: Option<i64>,
    /// The direct children.
    pub children: Vec<Die>,
}

pub(super) struct UnitEntry {
    pub(super) offset: usize,
    pub(super) end: usize,
    pub(super) abbreviations: Arc<gimli::Abbreviations>,
}

/// The debug information of an executable.
pub struct Dwarf {
    sections: gimli::DwarfSections<Vec<u8>>,
    endian: RunTimeEndian,
    pub(super) units: Vec<UnitEntry>,
    types: HashMap<Box<str>, DieOffset>,
    by_runtime_type: HashMap<u64, DieOffset>,
    pub(super) variables: HashMap<Box<str>, DieOffset>,
    constants: HashMap<Box<str>, i64>,
    packages: HashMap<String, String>,
    version: u16,
    producer: Option<String>,
    /// Made when the first is asked for: most commands need no functions.
    pub(super) subprograms: OnceCell<Subprograms>,
}

impl std::fmt::Debug for Dwarf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dwarf")
            .field("version", &self.version)
            .field("units", &self.units.len())
            .field("types", &self.types.len())
            .finish_non_exhaustive()
    }
}

impl Dwarf {
    /// Indexes the Go units of the sections that `load` returns (empty for a
    /// section that is not there).
    ///
    /// # Errors
    /// When the sections contradict each other so early that nothing could be
    /// indexed. A unit that is malformed further in is indexed up to there.
    pub fn load(
        mut load: impl FnMut(&str) -> Vec<u8>,
        big_endian: bool,
    ) -> Result<Self, BinaryError> {
        let wanted = [
            gimli::SectionId::DebugAbbrev,
            gimli::SectionId::DebugInfo,
            gimli::SectionId::DebugStr,
            gimli::SectionId::DebugLineStr,
            gimli::SectionId::DebugStrOffsets,
            gimli::SectionId::DebugAddr,
            gimli::SectionId::DebugLoc,
            gimli::SectionId::DebugLocLists,
            gimli::SectionId::DebugRanges,
            gimli::SectionId::DebugRngLists,
        ];
        let sections = gimli::DwarfSections::load(|id| {
            let data = if wanted.contains(&id) {
                load(id.name())
            } else {
                Vec::new()
            };
            Ok::<_, BinaryError>(data)
        })?;
        let endian = if big_endian {
            RunTimeEndian::Big
        } else {
            RunTimeEndian::Little
        };
        let mut dwarf = Self {
            sections,
            endian,
            units: Vec::new(),
            types: HashMap::new(),
            by_runtime_type: HashMap::new(),
            variables: HashMap::new(),
            constants: HashMap::new(),
            packages: HashMap::new(),
            version: 0,
            producer: None,
            subprograms: OnceCell::new(),
        };
        dwarf.index()?;
        Ok(dwarf)
    }

    /// The version of the Go units: 4 up to Go 1.24, 5 from 1.25.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// `DW_AT_producer` of a Go unit: `Go cmd/compile go1.27.3; …`.
    #[must_use]
    pub fn producer(&self) -> Option<&str> {
        self.producer.as_deref()
    }

    /// Whether there is any Go type.
    #[must_use]
    pub fn has_types(&self) -> bool {
        !self.types.is_empty()
    }

    /// The type named `name`, in DWARF's spelling (full import paths).
    #[must_use]
    pub fn type_named(&self, name: &str) -> Option<DieOffset> {
        self.types.get(name).copied()
    }

    /// All type names.
    pub fn type_names(&self) -> impl Iterator<Item = (&str, DieOffset)> {
        self.types.iter().map(|(name, offset)| (&**name, *offset))
    }

    /// The type whose runtime descriptor lies `offset` bytes behind `runtime.types`.
    #[must_use]
    pub fn type_of_descriptor(&self, offset: u64) -> Option<DieOffset> {
        self.by_runtime_type.get(&offset).copied()
    }

    /// The package-level variable named `name` (`runtime.firstmoduledata`).
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<Die> {
        self.die(*self.variables.get(name)?).ok()
    }

    /// The integer constant named `name` (`runtime.loadFactorNum`).
    #[must_use]
    pub fn constant(&self, name: &str) -> Option<i64> {
        self.constants.get(name).copied()
    }

    /// The name of the package with this import path: `yaml` of
    /// `gopkg.in/yaml.v3`.
    #[must_use]
    pub fn package_name(&self, import_path: &str) -> Option<&str> {
        self.packages.get(import_path).map(String::as_str)
    }

    /// The entry at `offset` with its direct children.
    ///
    /// # Errors
    /// When there is no well-formed entry there.
    pub fn die(&self, offset: DieOffset) -> Result<Die, BinaryError> {
        let index = self.units.partition_point(|unit| unit.end <= offset.0);
        let malformed = || BinaryError::Dwarf(format!("no debug entry at offset {:#x}", offset.0));
        let unit = self
            .units
            .get(index)
            .filter(|u| u.offset <= offset.0)
            .ok_or_else(malformed)?;
        let dwarf = self.borrow();
        let header = dwarf
            .debug_info
            .header_from_offset(gimli::DebugInfoOffset(unit.offset))?;
        let inside = gimli::UnitOffset(offset.0 - unit.offset);
        if inside < header.root_offset() {
            return Err(malformed());
        }
        let mut entries = header.entries_raw(&unit.abbreviations, Some(inside))?;
        let mut entry = Entry::null();
        if !entries.read_entry(&mut entry)? {
            return Err(malformed());
        }
        let mut die = self.decode(&dwarf, &header, &entry);
        if entry.has_children() {
            while !entries.is_empty() && entries.next_depth() > 0 {
                let depth = entries.next_depth();
                if entries.read_entry(&mut entry)? && depth == 1 {
                    die.children.push(self.decode(&dwarf, &header, &entry));
                }
            }
        }
        Ok(die)
    }

    pub(super) fn borrow(&self) -> gimli::Dwarf<Reader<'_>> {
        self.sections
            .borrow(|section| EndianSlice::new(section, self.endian))
    }

    fn index(&mut self) -> Result<(), BinaryError> {
        let sections = std::mem::take(&mut self.sections);
        let dwarf = sections.borrow(|section| EndianSlice::new(section, self.endian));
        let mut units = dwarf.debug_info.units();
        let mut abbreviations_seen: HashMap<usize, Arc<gimli::Abbreviations>> = HashMap::new();
        let mut first_error = None;
        loop {
            let header = match units.next() {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(error) => {
                    first_error = Some(error);
                    break;
                }
            };
            let Some(offset) = header.debug_info_offset() else {
                continue;
            };
            let abbreviations = match abbreviations_seen.get(&header.debug_abbrev_offset().0) {
                Some(known) => Arc::clone(known),
                None => match header.abbreviations(&dwarf.debug_abbrev) {
                    Ok(parsed) => {
                        let parsed = Arc::new(parsed);
                        abbreviations_seen
                            .insert(header.debug_abbrev_offset().0, Arc::clone(&parsed));
                        parsed
                    }
                    Err(error) => {
                        first_error = first_error.or(Some(error));
                        continue;
                    }
                },
            };
            self.units.push(UnitEntry {
                offset: offset.0,
                end: offset.0 + header.length_including_self(),
                abbreviations: Arc::clone(&abbreviations),
            });
            if let Err(error) = self.index_unit(&dwarf, &header, offset.0, &abbreviations) {
                first_error = first_error.or(Some(error));
            }
        }
        drop(dwarf);
        self.sections = sections;
        match first_error {
            Some(error) if self.types.is_empty() => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn index_unit<'a>(
        &mut self,
        dwarf: &gimli::Dwarf<Reader<'a>>,
        header: &gimli::UnitHeader<Reader<'a>>,
        offset: usize,
        abbreviations: &gimli::Abbreviations,
    ) -> Result<(), gimli::Error> {
        let mut entries = header.entries_raw(abbreviations, None)?;
        let mut entry = Entry::null();
        if !entries.read_entry(&mut entry)? {
            return Ok(());
        }
        let language = entry
            .attr_value(dw::DW_AT_language)
            .and_then(|value| match value {
                AttributeValue::Language(language) => Some(language),
                _ => None,
            });
        // cgo's C units have types of their own, under names of their own.
        if language != Some(dw::DW_LANG_Go) {
            return Ok(());
        }
        if self.producer.is_none() {
            self.version = header.version();
            self.producer = text(dwarf, entry.attr_value(dw::DW_AT_producer));
        }
        if let (Some(path), Some(package)) = (
            text(dwarf, entry.attr_value(dw::DW_AT_name)),
            text(dwarf, entry.attr_value(AT_GO_PACKAGE_NAME)),
        ) {
            self.packages.insert(path, package);
        }
        while !entries.is_empty() && entries.next_depth() > 0 {
            let depth = entries.next_depth();
            let at = DieOffset(offset + entries.next_offset().0);
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            if depth != 1 || !is_indexed(abbreviation.tag()) {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            let tag = abbreviation.tag();
            let mut name = None;
            let mut runtime_type = None;
            let mut constant = None;
            for spec in abbreviation.attributes() {
                let attribute = entries.read_attribute(*spec)?;
                match attribute.name() {
                    dw::DW_AT_name => name = string(dwarf, attribute.value()),
                    AT_GO_RUNTIME_TYPE => runtime_type = number(attribute.value()),
                    dw::DW_AT_const_value => constant = attribute.sdata_value(),
                    _ => {}
                }
            }
            let Some(name) = name.and_then(|name| std::str::from_utf8(name.slice()).ok()) else {
                continue;
            };
            match tag {
                dw::DW_TAG_variable => {
                    self.variables.entry(name.into()).or_insert(at);
                }
                dw::DW_TAG_constant => {
                    if let Some(value) = constant {
                        self.constants.entry(name.into()).or_insert(value);
                    }
                }
                _ => {
                    // A named struct stands twice, as structure and as typedef:
                    // the typedef is the Go type.
                    if tag == dw::DW_TAG_typedef {
                        self.types.insert(name.into(), at);
                    } else {
                        self.types.entry(name.into()).or_insert(at);
                    }
                    if let Some(offset) = runtime_type.filter(|offset| *offset != 0) {
                        self.by_runtime_type.entry(offset).or_insert(at);
                    }
                }
            }
        }
        Ok(())
    }

    fn decode<'a>(
        &self,
        dwarf: &gimli::Dwarf<Reader<'a>>,
        header: &gimli::UnitHeader<Reader<'a>>,
        entry: &Entry<'a>,
    ) -> Die {
        let unit_offset = header.debug_info_offset().map_or(0, |offset| offset.0);
        let reference = |name| match entry.attr_value(name)? {
            AttributeValue::UnitRef(offset) => Some(DieOffset(unit_offset + offset.0)),
            AttributeValue::DebugInfoRef(offset) => Some(DieOffset(offset.0)),
            _ => None,
        };
        let value = |name| entry.attr_value(name).and_then(number);
        Die {
            offset: DieOffset(unit_offset + entry.offset().0),
            tag: entry.tag(),
            name: text(dwarf, entry.attr_value(dw::DW_AT_name)),
            byte_size: value(dw::DW_AT_byte_size),
            encoding: match entry.attr_value(dw::DW_AT_encoding) {
                Some(AttributeValue::Encoding(encoding)) => Some(u64::from(encoding.0)),
                _ => None,
            },
            type_ref: reference(dw::DW_AT_type),
            count: value(dw::DW_AT_count),
            member_offset: value(dw::DW_AT_data_member_location),
            // The low 5 bits are the kind; older linkers left flags above them.
            go_kind: value(AT_GO_KIND).map(|kind| (kind & 0x1f) as u8),
            go_key: reference(AT_GO_KEY),
            go_elem: reference(AT_GO_ELEM),
            go_runtime_type: value(AT_GO_RUNTIME_TYPE).filter(|offset| *offset != 0),
            embedded: entry.has_attr(AT_GO_EMBEDDED_FIELD)
                && !matches!(
                    entry.attr_value(AT_GO_EMBEDDED_FIELD),
                    Some(AttributeValue::Flag(false))
                ),
            address: variable_address(dwarf, header, entry),
            const_value: entry
                .attr(dw::DW_AT_const_value)
                .and_then(gimli::Attribute::sdata_value),
            children: Vec::new(),
        }
    }
}

fn is_indexed(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_typedef
            | dw::DW_TAG_structure_type
            | dw::DW_TAG_base_type
            | dw::DW_TAG_pointer_type
            | dw::DW_TAG_array_type
            | dw::DW_TAG_subroutine_type
            | dw::DW_TAG_unspecified_type
            | dw::DW_TAG_variable
            | dw::DW_TAG_constant
    )
}

pub(super) fn string<'a>(
    dwarf: &gimli::Dwarf<Reader<'a>>,
    value: AttributeValue<Reader<'a>>,
) -> Option<Reader<'a>> {
    match value {
        AttributeValue::String(string) => Some(string),
        AttributeValue::DebugStrRef(offset) => dwarf.debug_str.get_str(offset).ok(),
        AttributeValue::DebugLineStrRef(offset) => dwarf.debug_line_str.get_str(offset).ok(),
        _ => None,
    }
}

pub(super) fn text<'a>(
    dwarf: &gimli::Dwarf<Reader<'a>>,
    value: Option<AttributeValue<Reader<'a>>>,
) -> Option<String> {
    Some(String::from_utf8_lossy(string(dwarf, value?)?.slice()).into_owned())
}

/// An unsigned number, whatever form it is written in. Go writes
/// `DW_AT_go_runtime_type` in an address form that holds an offset.
pub(super) fn number(value: AttributeValue<Reader<'_>>) -> Option<u64> {
    match value {
        AttributeValue::Addr(address) => Some(address),
        AttributeValue::SecOffset(offset) => Some(offset as u64),
        AttributeValue::Sdata(value) => u64::try_from(value).ok(),
        other => other.udata_value(),
    }
}

/// The link-time address of a package-level variable.
fn variable_address<'a>(
    dwarf: &gimli::Dwarf<Reader<'a>>,
    header: &gimli::UnitHeader<Reader<'a>>,
    entry: &Entry<'a>,
) -> Option<u64> {
    if entry.tag() != dw::DW_TAG_variable {
        return None;
    }
    let AttributeValue::Exprloc(expression) = entry.attr_value(dw::DW_AT_location)? else {
        return None;
    };
    match expression.operations(header.encoding()).next().ok()?? {
        gimli::Operation::Address { address } => Some(address),
        gimli::Operation::AddressIndex { index } => {
            let unit = dwarf.unit(*header).ok()?;
            dwarf.address(&unit, index).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_not_an_error() {
        let dwarf = Dwarf::load(|_| Vec::new(), false).unwrap();
        assert!(!dwarf.has_types());
        assert!(dwarf.die(DieOffset(0)).is_err());
    }

    #[test]
    fn garbage_is_an_error_and_no_panic() {
        for seed in 0..64_u8 {
            let section = |_: &str| (0..512_u32).map(|i| (i as u8).wrapping_mul(seed)).collect();
            if let Ok(dwarf) = Dwarf::load(section, seed % 2 == 0) {
                let _ = dwarf.globals();
                for offset in 0..600 {
                    let _ = dwarf.die(DieOffset(offset));
                    let _ = dwarf.variables_at(offset as u64);
                    let _ = dwarf.variables_in_call(offset as u64);
                    let _ = dwarf.closure_variables(offset as u64);
                }
            }
        }
    }
}
