//! Functions by name and by address, from the tables that stay in every Go binary
//! (runtime/symtab.go: `findfunc`, `funcname`; the format is that of go1.18 and
//! later).

use once_cell::unsync::OnceCell;

use super::moduledata::Module;
use crate::memory::{Abi, Memory, READ_MAX, ReadError, Span};

/// Functions of one program. cmd/go has 25,000.
const FUNCTIONS_MAX: u64 = 1 << 23;
/// Bytes of all their names.
const NAMES_MAX: u64 = 1 << 29;
/// `_func` records, with what follows each.
const RECORDS_MAX: u64 = 1 << 31;

/// One function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// `runtime.mallocinit`, `main.(*T).Method`.
    pub name: String,
    /// Its first instruction, in the process.
    pub entry: u64,
    /// The end of its code, padding included.
    pub end: u64,
}

/// The functions of a module. What is read of the process is kept.
#[derive(Debug)]
pub struct FunctionTable {
    abi: Abi,
    module: Module,
    tables: OnceCell<Option<Tables>>,
}

#[derive(Debug)]
struct Tables {
    /// Entry (from the start of the text), name (from the start of the names).
    functions: Vec<(u32, u32)>,
    /// One past the last function, from the start of the text.
    end: u32,
    names: Vec<u8>,
}

impl FunctionTable {
    /// The functions of `module`; nothing is read yet.
    #[must_use]
    pub fn new(abi: Abi, module: Module) -> Self {
        Self {
            abi,
            module,
            tables: OnceCell::new(),
        }
    }

    fn tables(&self, memory: &dyn Memory) -> Option<&Tables> {
        self.tables.get_or_init(|| self.load(memory).ok()).as_ref()
    }

    fn load(&self, memory: &dyn Memory) -> Result<Tables, ReadError> {
        let index = self.module.function_index;
        let fault = ReadError::fault(index.start, 8);
        let count = (index.len / 8).min(FUNCTIONS_MAX);
        let pairs = read_all(memory, index.start, count * 8, FUNCTIONS_MAX * 8)?;
        let mut places: Vec<(u32, u32)> = pairs
            .chunks_exact(8)
            .map(|pair| {
                let half = |at| self.abi.uint_at(pair, at, 4).unwrap_or(0) as u32;
                (half(0), half(4))
            })
            .collect();
        let (end, _) = places.pop().ok_or(fault)?;
        let names = self.module.function_names;
        let names = read_all(memory, names.start, names.len, NAMES_MAX)?;
        // Records stand in the order of the index, 50 bytes and more apart: read
        // through, not one by one.
        let records = self.module.functions;
        let limit = records.len.min(RECORDS_MAX);
        let mut functions = Vec::with_capacity(places.len());
        let mut window = Span { start: 0, len: 0 };
        let mut bytes = Vec::new();
        for (entry, at) in places {
            let at = u64::from(at);
            if at.saturating_add(8) > limit {
                continue;
            }
            if at < window.start || at + 8 > window.end() {
                let len = (limit - at).min(READ_MAX as u64);
                bytes.resize(len as usize, 0);
                memory.read(records.start.wrapping_add(at), &mut bytes)?;
                window = Span { start: at, len };
            }
            let inside = (at - window.start) as usize;
            // _func: entryOff uint32, nameOff int32.
            if let Some(name) = self.abi.uint_at(&bytes, inside + 4, 4) {
                functions.push((entry, name as u32));
            }
        }
        functions.sort_unstable();
        Ok(Tables {
            functions,
            end,
            names,
        })
    }

    /// How many functions there are; 0 if the tables are unreadable.
    #[must_use]
    pub fn len(&self, memory: &dyn Memory) -> usize {
        self.tables(memory).map_or(0, |t| t.functions.len())
    }

    /// The function whose code holds `address`.
    #[must_use]
    pub fn function_at(&self, memory: &dyn Memory, address: u64) -> Option<Function> {
        let tables = self.tables(memory)?;
        let offset = u32::try_from(address.checked_sub(self.module.text.start)?).ok()?;
        let after = tables
            .functions
            .partition_point(|(entry, _)| *entry <= offset);
        self.function(tables, after.checked_sub(1)?)
            .filter(|function| address < function.end)
    }

    /// The function named `name`.
    #[must_use]
    pub fn function_named(&self, memory: &dyn Memory, name: &str) -> Option<Function> {
        let tables = self.tables(memory)?;
        let index = tables
            .functions
            .iter()
            .position(|(_, at)| tables.name_is(*at, name))?;
        self.function(tables, index)
    }

    /// All functions, by address.
    pub fn functions<'a>(
        &'a self,
        memory: &dyn Memory,
    ) -> impl Iterator<Item = Function> + use<'a> {
        let tables = self.tables(memory);
        (0..tables.map_or(0, |t| t.functions.len()))
            .filter_map(move |index| self.function(tables?, index))
    }

    fn function(&self, tables: &Tables, index: usize) -> Option<Function> {
        let (entry, name) = *tables.functions.get(index)?;
        let next = tables
            .functions
            .get(index + 1)
            .map_or(tables.end, |(entry, _)| *entry);
        let text = self.module.text.start;
        Some(Function {
            name: String::from_utf8_lossy(tables.name(name)?).into_owned(),
            entry: text.wrapping_add(u64::from(entry)),
            end: text.wrapping_add(u64::from(next)),
        })
    }
}

impl Tables {
    fn name(&self, at: u32) -> Option<&[u8]> {
        let rest = self.names.get(at as usize..)?;
        rest.split(|byte| *byte == 0).next()
    }

    fn name_is(&self, at: u32, name: &str) -> bool {
        let found = self
            .names
            .get(at as usize..)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()));
        matches!(found, Some([0, ..]))
    }
}

/// Reads a range in parts; refuses more than `max` bytes.
fn read_all(memory: &dyn Memory, address: u64, len: u64, max: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    if len > max {
        return Err(ReadError::fault(address, 0));
    }
    while (bytes.len() as u64) < len {
        let held = bytes.len();
        let take = (len - held as u64).min(READ_MAX as u64) as usize;
        bytes.resize(held + take, 0);
        let part = bytes.get_mut(held..).unwrap_or_default();
        memory.read(address.wrapping_add(held as u64), part)?;
    }
    Ok(bytes)
}
