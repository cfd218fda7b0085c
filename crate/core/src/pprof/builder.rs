//! Puts a profile of pprof's together: each text, function and place once.

use std::collections::HashMap;

use prost::Message as _;

use super::proto::{Function, Line, Location, Mapping, Profile, ValueType};
use crate::report::sanitize;

/// A profile in the making. Texts pass [`sanitize`]: pprof prints them to terminals.
#[derive(Debug)]
pub(crate) struct Builder {
    /// What is there so far; its texts are added at the end.
    pub(crate) profile: Profile,
    strings: HashMap<String, i64>,
    table: Vec<String>,
    functions: HashMap<(i64, i64), u64>,
    places: HashMap<(u64, i64), u64>,
}

impl Builder {
    /// A profile of a program, whose names of functions it holds itself.
    pub(crate) fn new(program: &str, build_id: &str) -> Self {
        let mut builder = Self {
            profile: Profile::default(),
            strings: HashMap::new(),
            table: Vec::new(),
            functions: HashMap::new(),
            places: HashMap::new(),
        };
        builder.string("");
        let filename = builder.string(program);
        let build_id = builder.string(build_id);
        builder.profile.mapping.push(Mapping {
            id: 1,
            filename,
            build_id,
            // Without it pprof would look for the program.
            has_functions: true,
            ..Mapping::default()
        });
        builder
    }

    /// The position of a text in the table.
    pub(crate) fn string(&mut self, text: &str) -> i64 {
        if let Some(at) = self.strings.get(text) {
            return *at;
        }
        let at = self.table.len() as i64;
        self.table.push(sanitize(text, true).into_owned());
        self.strings.insert(text.to_owned(), at);
        at
    }

    /// The name and unit of a value.
    pub(crate) fn value_type(&mut self, name: &str, unit: &str) -> ValueType {
        ValueType {
            r#type: self.string(name),
            unit: self.string(unit),
        }
    }

    /// The number of a function.
    pub(crate) fn function(&mut self, name: &str, file: &str) -> u64 {
        let key = (self.string(name), self.string(file));
        if let Some(id) = self.functions.get(&key) {
            return *id;
        }
        let id = self.profile.function.len() as u64 + 1;
        self.profile.function.push(Function {
            id,
            name: key.0,
            system_name: key.0,
            filename: key.1,
        });
        self.functions.insert(key, id);
        id
    }

    /// The number of a place without an address: a line of a function.
    pub(crate) fn place(&mut self, name: &str, file: &str, line: i64) -> u64 {
        let function_id = self.function(name, file);
        if let Some(id) = self.places.get(&(function_id, line)) {
            return *id;
        }
        let id = self.profile.location.len() as u64 + 1;
        self.profile.location.push(Location {
            id,
            mapping_id: 1,
            address: 0,
            line: vec![Line { function_id, line }],
        });
        self.places.insert((function_id, line), id);
        id
    }

    /// The bytes of the profile, not compressed.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.profile.string_table = self.table;
        self.profile.encode_to_vec()
    }
}
