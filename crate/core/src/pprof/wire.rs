//! A protobuf profile. The fields of the whole are gone through one by one, so that counts are
//! held against their caps before anything is kept; each of them prost decodes.

use std::collections::HashMap;
use std::rc::Rc;

use prost::Message;

use super::model::{
    Kind, Label, LabelValue, Line, Location, Mapping, Origin, Placement, Profile, Sample, ValueType,
};
use super::proto;
use super::read::{Fault, kind_of};
use crate::memory::AddressHash;

/// Bytes of one sample, location, function or string.
const PIECE_MAX: usize = 1 << 20;
/// Samples; a heap profile has one for each stack that allocated.
const SAMPLES_MAX: usize = 1 << 21;
/// Places in all stacks.
const PLACES_MAX: usize = 1 << 25;
/// Labels of all samples.
const LABELS_MAX: usize = 1 << 22;
/// Locations, functions, lines and strings, each.
const ENTRIES_MAX: usize = 1 << 22;
/// Mappings.
const MAPPINGS_MAX: usize = 1 << 14;
/// Sample types.
const TYPES_MAX: usize = 64;

/// Through the fields of a message.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What a field holds.
enum Field<'a> {
    Number(u64),
    Piece(&'a [u8]),
    /// Of a width that profiles have no use for.
    Fixed,
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Fault> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.bytes.get(self.at) else {
                return Err(cut(start));
            };
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::new(start, "a number has more than 64 bits"))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        let piece = usize::try_from(len)
            .ok()
            .and_then(|len| self.at.checked_add(len))
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or_else(|| cut(self.at))?;
        self.at += piece.len();
        Ok(piece)
    }

    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Fault> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let start = self.at;
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            2 => {
                let len = self.varint()?;
                Field::Piece(self.take(len)?)
            }
            5 => self.take(4).map(|_| Field::Fixed)?,
            other => {
                return Err(Fault::new(
                    start,
                    format!("it is no protobuf profile (a field of wire type {other})"),
                ));
            }
        };
        Ok(Some((key >> 3, field)))
    }
}

const CUT: &str = "the data ends within a field";

fn cut(at: usize) -> Fault {
    Fault::new(at, CUT)
}

/// The pieces of a profile.
#[derive(Default)]
struct Pieces<'a> {
    types: Vec<proto::ValueType>,
    samples: Vec<proto::Sample>,
    places: usize,
    labels: usize,
    lines: usize,
    mappings: Vec<proto::Mapping>,
    locations: Vec<proto::Location>,
    functions: Vec<proto::Function>,
    strings: Vec<&'a [u8]>,
    time: i64,
    duration: i64,
    period_type: Option<proto::ValueType>,
    period: i64,
}

impl<'a> Pieces<'a> {
    fn add(&mut self, number: u64, field: Field<'a>, at: usize) -> Result<(), Fault> {
        match (number, field) {
            (1, Field::Piece(piece)) => {
                keep(&mut self.types, decode(piece, at)?, TYPES_MAX, "types", at)
            }
            (2, Field::Piece(piece)) => {
                let sample: proto::Sample = decode(piece, at)?;
                self.places += sample.location_id.len() + sample.value.len();
                self.labels += sample.label.len();
                limit(self.places, PLACES_MAX, "places in stacks", at)?;
                limit(self.labels, LABELS_MAX, "labels", at)?;
                keep(&mut self.samples, sample, SAMPLES_MAX, "samples", at)
            }
            (3, Field::Piece(piece)) => keep(
                &mut self.mappings,
                decode(piece, at)?,
                MAPPINGS_MAX,
                "mappings",
                at,
            ),
            (4, Field::Piece(piece)) => {
                let location: proto::Location = decode(piece, at)?;
                self.lines += location.line.len();
                limit(self.lines, ENTRIES_MAX, "lines", at)?;
                keep(&mut self.locations, location, ENTRIES_MAX, "locations", at)
            }
            (5, Field::Piece(piece)) => keep(
                &mut self.functions,
                decode(piece, at)?,
                ENTRIES_MAX,
                "functions",
                at,
            ),
            (6, Field::Piece(piece)) => {
                limit(piece.len(), PIECE_MAX, "bytes in a string", at)?;
                keep(&mut self.strings, piece, ENTRIES_MAX, "strings", at)
            }
            (9, Field::Number(value)) => {
                self.time = value as i64;
                Ok(())
            }
            (10, Field::Number(value)) => {
                self.duration = value as i64;
                Ok(())
            }
            (11, Field::Piece(piece)) => {
                self.period_type = Some(decode(piece, at)?);
                Ok(())
            }
            (12, Field::Number(value)) => {
                self.period = value as i64;
                Ok(())
            }
            (1..=6 | 9..=12, _) => Err(Fault::new(
                at,
                format!("field {number} has the wrong wire type"),
            )),
            // What later versions of the format may add.
            _ => Ok(()),
        }
    }
}

fn decode<M: Message + Default>(piece: &[u8], at: usize) -> Result<M, Fault> {
    limit(piece.len(), PIECE_MAX, "bytes in a message", at)?;
    M::decode(piece).map_err(|error| Fault::new(at, error.to_string()))
}

fn keep<T>(to: &mut Vec<T>, value: T, most: usize, what: &str, at: usize) -> Result<(), Fault> {
    limit(to.len() + 1, most, what, at)?;
    to.push(value);
    Ok(())
}

fn limit(count: usize, most: usize, what: &str, at: usize) -> Result<(), Fault> {
    if count > most {
        let reason = format!("more than {most} {what}, which no Go program has");
        return Err(Fault::new(at, reason));
    }
    Ok(())
}

/// Strings by their number; each is made once.
struct Strings<'a> {
    bytes: Vec<&'a [u8]>,
    made: Vec<Option<Rc<str>>>,
    unknown: Rc<str>,
    missing: u64,
}

impl Strings<'_> {
    fn get(&mut self, index: i64) -> Rc<str> {
        let place = usize::try_from(index).ok();
        let found = place.and_then(|at| Some((self.bytes.get(at)?, self.made.get_mut(at)?)));
        match found {
            Some((bytes, made)) => made
                .get_or_insert_with(|| Rc::from(String::from_utf8_lossy(bytes)))
                .clone(),
            // Number 0 is the empty string, whether it is there or not.
            None if index == 0 => Rc::from(""),
            None => {
                self.missing += 1;
                self.unknown.clone()
            }
        }
    }

    fn has(&self, index: i64) -> bool {
        usize::try_from(index).is_ok_and(|index| index < self.bytes.len())
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Profile, Fault> {
    let mut pieces = Pieces::default();
    let mut notes = Vec::new();
    let mut fields = Fields { bytes, at: 0 };
    loop {
        let at = fields.at;
        match fields.next() {
            Ok(None) => break,
            Ok(Some((number, field))) => pieces.add(number, field, at)?,
            Err(fault) if fault.reason == CUT && !pieces.types.is_empty() => {
                notes.push(format!(
                    "It ends at byte {} within a field: it was cut, and figures are too low.",
                    bytes.len()
                ));
                break;
            }
            Err(fault) if fault.reason == CUT => {
                return Err(Fault::new(
                    fault.offset,
                    "it is no profile, or only the begin of one",
                ));
            }
            Err(fault) => return Err(fault),
        }
    }
    if pieces.types.is_empty() {
        return Err(Fault::new(0, "it is no profile: it has no sample types"));
    }
    let mut strings = Strings {
        made: vec![None; pieces.strings.len()],
        bytes: std::mem::take(&mut pieces.strings),
        unknown: Rc::from("?"),
        missing: 0,
    };
    if pieces.types.iter().any(|kind| !strings.has(kind.r#type)) {
        return Err(Fault::new(
            bytes.len(),
            "the names at the end of it are missing",
        ));
    }
    let value_type = |strings: &mut Strings<'_>, kind: &proto::ValueType| ValueType {
        name: strings.get(kind.r#type),
        unit: strings.get(kind.unit),
    };
    let sample_types: Vec<ValueType> = pieces
        .types
        .iter()
        .map(|kind| value_type(&mut strings, kind))
        .collect();
    let period_type = pieces
        .period_type
        .map(|kind| value_type(&mut strings, &kind));
    let mappings: Vec<Mapping> = pieces
        .mappings
        .iter()
        .map(|mapping| Mapping {
            start: mapping.memory_start,
            limit: mapping.memory_limit,
            offset: mapping.file_offset,
            file: strings.get(mapping.filename),
            build_id: Some(strings.get(mapping.build_id)).filter(|id| !id.is_empty()),
        })
        .collect();
    let mut lost = Lost::default();
    let (locations, numbers) = locations(&pieces, &mut strings, &mut lost);
    let samples = samples(
        std::mem::take(&mut pieces.samples),
        (sample_types.len(), &numbers),
        &mut strings,
        &mut lost,
    );
    lost.missing_strings = strings.missing;
    lost.tell(&mut notes);
    let mut profile = Profile {
        kind: kind_of(sample_types.iter().map(|kind| &*kind.name)),
        origin: Origin::Proto,
        sample_types,
        period: pieces.period,
        period_type,
        time_ns: Some(pieces.time).filter(|time| *time != 0),
        duration_ns: pieces.duration,
        last_gc_ns: None,
        samples,
        locations,
        program: mappings
            .first()
            .map(|mapping| mapping.file.clone())
            .filter(|file| !file.is_empty()),
        build_id: mappings.first().and_then(|first| first.build_id.clone()),
        placement: Placement {
            mappings,
            anchors: Vec::new(),
        },
        notes,
    };
    tell_block_from_mutex(&mut profile);
    Ok(profile)
}

/// What contradicted itself.
#[derive(Default)]
struct Lost {
    values: u64,
    places: u64,
    functions: u64,
    missing_strings: u64,
}

impl Lost {
    fn tell(&self, notes: &mut Vec<String>) {
        let mut tell = |count: u64, what: &str| {
            if count > 0 {
                notes.push(format!("{count} {what}"));
            }
        };
        tell(
            self.values,
            "samples have another number of values than there are types, and are left out.",
        );
        tell(
            self.places,
            "samples name places that the profile does not have, and are left out.",
        );
        tell(
            self.functions,
            "lines name functions that the profile does not have.",
        );
        tell(
            self.missing_strings,
            "names are not in the profile, and shown as ?.",
        );
    }
}

type Numbers = HashMap<u64, u32, AddressHash>;

/// The locations, and where each number is.
fn locations(
    pieces: &Pieces<'_>,
    strings: &mut Strings<'_>,
    lost: &mut Lost,
) -> (Vec<Location>, Numbers) {
    let functions: HashMap<u64, &proto::Function> = pieces
        .functions
        .iter()
        .rev()
        .map(|function| (function.id, function))
        .collect();
    let mut numbers = Numbers::default();
    let mut locations = Vec::with_capacity(pieces.locations.len());
    for location in &pieces.locations {
        numbers.entry(location.id).or_insert(locations.len() as u32);
        let lines = location
            .line
            .iter()
            .map(|line| {
                let function = functions.get(&line.function_id);
                if function.is_none() {
                    lost.functions += 1;
                }
                let (name, file) = match function {
                    Some(function) => (strings.get(function.name), strings.get(function.filename)),
                    None => (strings.unknown.clone(), strings.unknown.clone()),
                };
                Line {
                    function: name,
                    file,
                    line: line.line,
                }
            })
            .collect();
        locations.push(Location {
            address: location.address,
            lines,
        });
    }
    (locations, numbers)
}

fn samples(
    pieces: Vec<proto::Sample>,
    (types, numbers): (usize, &Numbers),
    strings: &mut Strings<'_>,
    lost: &mut Lost,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    for piece in pieces {
        if piece.value.len() != types {
            lost.values += 1;
            continue;
        }
        let stack: Option<Rc<[u32]>> = piece
            .location_id
            .iter()
            .map(|id| numbers.get(id).copied())
            .collect();
        let Some(stack) = stack else {
            lost.places += 1;
            continue;
        };
        let labels = piece
            .label
            .iter()
            .map(|label| Label {
                key: strings.get(label.key),
                value: match label.str {
                    0 => LabelValue::Number(label.num, strings.get(label.num_unit)),
                    text => LabelValue::Text(strings.get(text)),
                },
            })
            .collect();
        samples.push(Sample {
            stack,
            values: piece.value,
            raw: None,
            labels,
        });
    }
    samples
}

/// Both count contentions and delay. A mutex is profiled when it is released
/// (runtime/sema.go, `mutexevent` in `semrelease1`; runtime/lock_spinbit.go), waiting for
/// anything else when it ends.
fn tell_block_from_mutex(profile: &mut Profile) {
    let named = |name: &str| profile.sample_types.iter().any(|kind| &*kind.name == name);
    if profile.kind != Kind::Other || !named("contentions") || !named("delay") {
        return;
    }
    let mut leaves = profile.samples.iter().filter_map(|sample| {
        let leaf = profile.locations.get(*sample.stack.first()? as usize)?;
        Some(&*leaf.lines.first()?.function)
    });
    let releases = |function: &str| {
        function.ends_with(".Unlock")
            || function.ends_with(".RUnlock")
            || function.starts_with("runtime.unlock")
            || function == "runtime._LostContendedRuntimeLock"
    };
    match leaves.next() {
        None => profile
            .notes
            .push("Nothing in it tells whether it is of blocking or of mutexes.".to_owned()),
        Some(first) if releases(first) || leaves.any(releases) => profile.kind = Kind::Mutex,
        Some(_) => profile.kind = Kind::Block,
    }
}
