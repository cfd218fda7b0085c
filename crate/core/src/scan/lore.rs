//! What is known of the program besides its types: the names of its functions, its named
//! structs, and what its code says.

use std::collections::HashMap;

use super::code::{Fact, Facts, facts};
use crate::binary::{Functions, Module};
use crate::gotype::Types;
use crate::memory::{AddressHash, Memory, ReadError};

/// What closures of one function hold: offset, whether it is a pointer to the variable,
/// and what it is.
type Captured = Vec<(u64, bool, Fact)>;

/// Everything that is told by names and code.
pub(super) struct Lore {
    /// Names of the functions that closures may be of, by entry.
    method_values: HashMap<u64, (u64, bool), AddressHash>,
    captured: HashMap<u64, Captured, AddressHash>,
    /// Words of packages' variables.
    pub variables: Vec<(u64, Fact)>,
    /// Variables that are values of a struct type.
    pub values: Vec<(u64, Fact)>,
    /// Arrays of such values, or of maps.
    pub arrays: Vec<(u64, Fact)>,
    /// Words behind variables that are pointers: variable, offset.
    pub behind: Vec<(u64, u64, Fact)>,
    /// Stack slots by function.
    pub slots: HashMap<u64, Vec<(i64, Fact)>, AddressHash>,
    /// The struct types of the program.
    pub structs: Vec<(u64, String)>,
    functions: Functions,
    /// The map types that code names, by function.
    mentions: HashMap<u64, Vec<u64>, AddressHash>,
}

impl Lore {
    /// Reads names and code of all modules.
    ///
    /// # Errors
    /// When the user asked to stop.
    pub(super) fn read(
        types: &Types,
        memory: &dyn Memory,
        modules: &[Module],
    ) -> Result<Self, ReadError> {
        let binary = types.binary();
        let mut lore = Self {
            functions: Functions::new(binary.abi(), binary.arch(), modules),
            mentions: HashMap::default(),
            method_values: HashMap::default(),
            captured: HashMap::default(),
            variables: Vec::new(),
            values: Vec::new(),
            arrays: Vec::new(),
            behind: Vec::new(),
            slots: HashMap::default(),
            structs: types.structs(),
        };
        let mut named: HashMap<String, u64> = HashMap::new();
        let mut twice = Vec::new();
        let maps = types
            .map_descriptors()
            .filter(|(_, name)| !name.starts_with("map["))
            .map(|(address, name)| (address, name.to_string()));
        for (address, name) in lore.structs.iter().chain(&maps.collect::<Vec<_>>()) {
            if named.insert(name.clone(), *address).is_some() {
                twice.push(name.clone());
            }
        }
        for name in twice {
            named.remove(&name);
        }
        for module in modules {
            let Some(table) = lore.functions.table_of(module.text.start) else {
                continue;
            };
            for function in table.functions(memory) {
                let Some(method) = function.name.strip_suffix("-fm") else {
                    continue;
                };
                let found = match super::code::receiver(method) {
                    Some(name) => named.get(&name).map(|at| (*at, true)),
                    None => method.rsplit_once('.').and_then(|(receiver, _)| {
                        let name = receiver.rsplit('/').next()?;
                        named.get(name).map(|at| (*at, false))
                    }),
                };
                if let Some(found) = found {
                    lore.method_values.insert(function.entry, found);
                }
            }
        }
        for module in modules {
            lore.take(facts(types, memory, module, &named)?);
        }
        Ok(lore)
    }

    fn take(&mut self, facts: Facts) {
        let known = |fact: &Fact| *fact != Fact::Ambiguous;
        self.variables
            .extend(facts.variables.into_iter().filter(|(_, fact)| known(fact)));
        self.variables.sort_unstable_by_key(|(address, _)| *address);
        for (list, told) in [
            (&mut self.values, facts.values),
            (&mut self.arrays, facts.arrays),
        ] {
            list.extend(told.into_iter().filter(|(_, fact)| known(fact)));
            list.sort_unstable_by_key(|(address, _)| *address);
        }
        for ((variable, offset), fact) in facts.behind {
            if known(&fact) {
                self.behind.push((variable, offset, fact));
            }
        }
        self.behind
            .sort_unstable_by_key(|(variable, offset, _)| (*variable, *offset));
        for ((entry, offset, by_reference), fact) in facts.captured {
            if known(&fact) {
                let held = self.captured.entry(entry).or_default();
                held.push((offset, by_reference, fact));
            }
        }
        self.mentions.extend(facts.mentions);
        for (entry, given) in facts.given {
            self.mentions.entry(entry).or_default().extend(given);
        }
        for ((entry, offset), fact) in facts.slots {
            if known(&fact) {
                self.slots.entry(entry).or_default().push((offset, fact));
            }
        }
    }

    /// The name of the function whose code holds `pc`.
    pub(super) fn function_name(&self, memory: &dyn Memory, pc: u64) -> Option<String> {
        Some(self.functions.function_at(memory, pc)?.name)
    }

    /// Whether a function begins at this address.
    pub(super) fn is_entry(&self, memory: &dyn Memory, address: u64) -> bool {
        self.functions
            .function_at(memory, address)
            .is_some_and(|function| function.entry == address)
    }

    /// The map types that the code of the function at `entry` names.
    pub(super) fn mentioned(&self, entry: u64) -> &[u64] {
        self.mentions.get(&entry).map_or(&[], Vec::as_slice)
    }

    /// The function in which the closure's function at `entry` stands: `main.f` for
    /// `main.f.func1`.
    pub(super) fn around(&self, memory: &dyn Memory, entry: u64) -> Option<u64> {
        let name = self.function_name(memory, entry)?;
        let mut outer = name.as_str();
        while let Some((head, tail)) = outer.rsplit_once('.') {
            let tail = tail.split('-').next().unwrap_or(tail);
            let made = tail
                .strip_prefix("func")
                .or_else(|| tail.strip_prefix("gowrap"));
            let digits = made.unwrap_or(tail).trim_start_matches("deferwrap");
            if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
                break;
            }
            outer = head;
        }
        if outer == name {
            return None;
        }
        Some(self.functions.function_named(memory, outer)?.entry)
    }

    /// What code says that closures of a function hold.
    pub(super) fn captured(&self, entry: u64) -> &[(u64, bool, Fact)] {
        self.captured.get(&entry).map_or(&[], Vec::as_slice)
    }

    /// The struct that a method value's closure holds at 8, or a pointer to it.
    pub(super) fn method_value(&self, entry: u64) -> Option<(u64, bool)> {
        self.method_values.get(&entry).copied()
    }
}
