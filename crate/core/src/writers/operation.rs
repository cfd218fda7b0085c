//! Which functions of the runtime work on a map, and which of their arguments it is.

use serde::Serialize;

/// What is done with a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// `m[k]`, `v, ok := m[k]`.
    Read,
    /// `m[k] = v`.
    Write,
    /// `delete(m, k)`.
    Delete,
    /// `clear(m)`.
    Clear,
    /// `range m`.
    Iterate,
    /// `maps.Clone(m)`.
    Clone,
}

impl Operation {
    /// As JSON names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Clear => "clear",
            Self::Iterate => "iterate",
            Self::Clone => "clone",
        }
    }

    /// Whether it sets the header's "a write is in progress".
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Delete | Self::Clear)
    }
}

/// Where a function has its map, or that map's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The argument of this number.
    Argument(usize),
    /// The iterator that the argument of this number points to holds it.
    Iterator(usize),
    /// Nowhere.
    None,
}

/// What is known of a function of the runtime that works on a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    pub operation: Operation,
    pub map: Source,
    pub map_type: Source,
    /// It makes room.
    pub grows: bool,
}

/// What the function named `name` does with a map (runtime/map*.go;
/// internal/runtime/maps/map.go, table.go, runtime*.go; go1.21 to go1.27). `swiss`: which
/// family the program has.
pub(super) fn role(name: &str, swiss: bool) -> Option<Role> {
    use Operation::{Clear, Clone, Delete, Iterate, Read, Write};
    use Source::{Argument, Iterator};
    let of = |operation, map, map_type, grows| {
        Some(Role {
            operation,
            map,
            map_type,
            grows,
        })
    };
    let first = |operation, grows| of(operation, Argument(1), Argument(0), grows);
    let method = |operation, grows| of(operation, Argument(0), Argument(1), grows);
    let table = |operation, grows| of(operation, Argument(2), Argument(1), grows);
    if let Some(rest) = name.strip_prefix("internal/runtime/maps.") {
        if let Some(method_name) = rest.strip_prefix("(*Map).") {
            return match method_name {
                "growToSmall" | "growToTable" => method(Write, true),
                "replaceTable" | "installTableSplit" => of(Write, Argument(0), Source::None, true),
                "Delete" | "deleteSmall" => method(Delete, false),
                "Clear" | "clearSmall" => method(Clear, false),
                "Clone" => method(Clone, false),
                _ if method_name.starts_with("Put") || method_name.starts_with("putSlot") => {
                    method(Write, false)
                }
                _ if method_name.starts_with("Get") || method_name.starts_with("getWith") => {
                    method(Read, false)
                }
                _ => None,
            };
        }
        if let Some(method_name) = rest.strip_prefix("(*table).") {
            return match method_name {
                "PutSlot" => table(Write, false),
                "Delete" => table(Delete, false),
                "rehash" | "split" | "grow" | "pruneTombstones" => table(Write, true),
                "Clear" => of(Clear, Source::None, Argument(1), false),
                _ if method_name.starts_with("uncheckedPutSlot") => {
                    of(Write, Source::None, Argument(1), false)
                }
                _ if method_name.starts_with("getWith") => {
                    of(Read, Source::None, Argument(1), false)
                }
                _ => None,
            };
        }
        return match rest {
            "(*Iter).Init" => of(Iterate, Argument(2), Argument(1), false),
            "(*Iter).Next" | "(*Iter).nextDirIdx" | "(*Iter).grownKeyElem" => {
                of(Iterate, Iterator(0), Iterator(0), false)
            }
            _ => None,
        };
    }
    if name == "maps.clone" {
        return of(Clone, Source::None, Source::None, false);
    }
    let rest = name
        .strip_prefix("runtime.")
        .or_else(|| name.strip_prefix("reflect."))
        .or_else(|| name.strip_prefix("internal/reflectlite."))?;
    match rest {
        "mapclear" => first(Clear, false),
        "mapiterinit" | "mapIterStart" => first(Iterate, false),
        "mapIterNext" => of(Iterate, Iterator(0), Iterator(0), false),
        // A Swiss map has another iterator behind the one that this function takes.
        "mapiternext" if swiss => of(Iterate, Source::None, Source::None, false),
        "mapiternext" => of(Iterate, Iterator(0), Iterator(0), false),
        "mapclone2" => first(Clone, false),
        "copyKeys" | "copyValues" => first(Read, false),
        "hashGrow" => first(Write, true),
        "advanceEvacuationMark" => of(Write, Argument(0), Argument(1), true),
        "(*hmap).newoverflow" => of(Write, Argument(0), Argument(1), false),
        _ if rest.contains(['.', '(']) => None,
        _ if rest.starts_with("mapassign") => first(Write, false),
        _ if rest.starts_with("mapaccess") => first(Read, false),
        _ if rest.starts_with("mapdelete") => first(Delete, false),
        _ if rest.starts_with("growWork") || rest.starts_with("evacuate") => first(Write, true),
        _ => None,
    }
}

/// Whether the function named `name` ends the process.
pub(super) fn is_fatal(name: &str) -> bool {
    matches!(
        name,
        "runtime.fatal" | "runtime.throw" | "internal/runtime/maps.fatal"
    )
}

/// Whether a function is the runtime's own, or of reflect or maps on the way to it: not what a
/// user calls a caller.
pub(super) fn of_runtime(name: &str) -> bool {
    [
        "runtime.",
        "internal/runtime/",
        "reflect.",
        "internal/reflectlite.",
        "maps.",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_tell_what_they_do() {
        let of = |name| role(name, true).map(|role| (role.operation.word(), role.grows));
        for (name, expected) in [
            ("runtime.mapassign_fast64ptr", ("write", false)),
            ("runtime.mapaccess2_faststr", ("read", false)),
            ("runtime.mapdelete", ("delete", false)),
            ("reflect.mapassign0", ("write", false)),
            ("reflect.mapclear", ("clear", false)),
            ("runtime.growWork_faststr", ("write", true)),
            ("internal/runtime/maps.(*table).split", ("write", true)),
            (
                "internal/runtime/maps.(*Map).putSlotSmallFastStr",
                ("write", false),
            ),
            (
                "internal/runtime/maps.(*Map).getWithoutKey",
                ("read", false),
            ),
            ("internal/runtime/maps.(*Iter).Next", ("iterate", false)),
            ("runtime.mapclone2", ("clone", false)),
        ] {
            assert_eq!(of(name), Some(expected), "{name}");
        }
        for name in [
            "main.mapassign",
            "runtime.makemap",
            "runtime.mapassign_fast64.func1",
            "runtime.(*mcache).refill",
            "internal/runtime/maps.newTable",
            "internal/runtime/maps.(*Iter).Key",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!(role("runtime.mapiternext", true).unwrap().map, Source::None);
        assert_eq!(
            role("runtime.mapiternext", false).unwrap().map,
            Source::Iterator(0)
        );
    }
}
