//! What the runtime's functions mean for maps, by their names in Go 1.21 to 1.27.

use serde::Serialize;

/// What was done to a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Storage grew or was made anew: `hashGrow`, `growWork`, `evacuate`, `(*table).rehash`,
    /// `grow`, `split` and what they call.
    Growth,
    /// `makemap` and the like.
    Make,
    /// `mapassign`.
    Assign,
    /// `mapaccess`.
    Access,
    /// `mapdelete`.
    Delete,
    /// `mapiterinit`, `mapiternext` and what they became.
    Iterate,
    /// `mapclear`.
    Clear,
    /// `mapclone`.
    Clone,
    /// A function of maps that belongs to none of these.
    Other,
}

impl Operation {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Growth => "growth",
            Self::Make => "make",
            Self::Assign => "assign",
            Self::Access => "access",
            Self::Delete => "delete",
            Self::Iterate => "iterate",
            Self::Clear => "clear",
            Self::Clone => "clone",
            Self::Other => "other",
        }
    }
}

/// Whether runtime/pprof takes a function for the runtime's own (protomem.go; up to go1.23
/// there was nothing of maps outside `runtime`).
#[must_use]
pub fn is_runtime(function: &str) -> bool {
    function.starts_with("runtime.") || function.starts_with("internal/runtime/")
}

/// Whether a function may stand between the leaf of a stack and the runtime's function that was
/// called: the runtime's own, or one that it calls for a key (cmd/compile/internal/reflectdata,
/// `type:.hash.T` and `type:.eq.T`, with two dots up to go1.19; assembly without a package in
/// runtime/asm_amd64.s and internal/bytealg).
#[must_use]
pub fn serves_runtime(function: &str) -> bool {
    is_runtime(function)
        || ["type:.hash.", "type:.eq.", "type..hash.", "type..eq."]
            .iter()
            .any(|of_keys| function.starts_with(of_keys))
        || ["runtime/internal/", "internal/abi.", "internal/bytealg."]
            .iter()
            .any(|package| function.starts_with(package))
        || matches!(function, "aeshashbody" | "memeqbody")
}

/// Whether a function only hands out memory, for whoever called it.
#[must_use]
pub fn is_allocator(function: &str) -> bool {
    if let Some(name) = function.strip_prefix("internal/runtime/maps.") {
        return matches!(name, "newarray" | "newobject");
    }
    let Some(name) = function.strip_prefix("runtime.") else {
        return false;
    };
    name.starts_with("mallocgc")
        || matches!(
            name,
            "newarray" | "newobject" | "makeslice" | "makeslice64" | "growslice"
        )
}

/// What a function of the runtime does to maps; `None` if it is no function of maps.
#[must_use]
pub fn operation(function: &str) -> Option<Operation> {
    use Operation as O;
    if let Some(name) = function.strip_prefix("internal/runtime/maps.") {
        let name = name.strip_prefix("runtime_").unwrap_or(name);
        if let Some(known) = entry(name) {
            return Some(known);
        }
        let method = name.rsplit(").").next().unwrap_or(name);
        return Some(match method {
            "growToSmall" | "growToTable" | "grow" | "split" | "rehash" | "installTableSplit"
            | "replaceTable" | "uncheckedPutSlot" | "newTable" | "reset" | "newGroups"
            | "putSlotSmallFast" | "grow16" => O::Growth,
            "NewMap" | "NewEmptyMap" | "newarray" | "newobject" => O::Make,
            "Clear" | "clearSmall" => O::Clear,
            "Delete" | "deleteSmall" => O::Delete,
            "PutSlot"
            | "putSlotSmall"
            | "putSlotSmallFast32"
            | "putSlotSmallFast64"
            | "putSlotSmallFastPtr"
            | "putSlotSmallFastStr" => O::Assign,
            "Get"
            | "get"
            | "getWithKey"
            | "getWithKeySmall"
            | "getWithoutKey"
            | "getWithoutKeySmallFastStr" => O::Access,
            "Clone" | "clone" | "cloneGroup" => O::Clone,
            _ if name.starts_with("(*Iter)") => O::Iterate,
            _ => O::Other,
        });
    }
    let name = function.strip_prefix("runtime.")?;
    if let Some(known) = entry(name) {
        return Some(known);
    }
    match name {
        "makeBucketArray"
        | "hashGrow"
        | "growWork"
        | "growWork_fast32"
        | "growWork_fast64"
        | "growWork_faststr"
        | "evacuate"
        | "evacuate_fast32"
        | "evacuate_fast64"
        | "evacuate_faststr"
        | "advanceEvacuationMark"
        | "bucketEvacuated"
        | "(*hmap).newoverflow"
        | "(*hmap).createOverflow"
        | "(*hmap).incrnoverflow"
        | "overLoadFactor"
        | "tooManyOverflowBuckets" => Some(O::Growth),
        "moveToBmap" => Some(O::Clone),
        _ if name.starts_with("(*hmap).") || name.starts_with("(*bmap).") => Some(O::Other),
        _ => None,
    }
}

/// Whether a function that is not named so is the runtime's all the same, and of maps: a package
/// may have functions that the runtime has the code of (`//go:linkname`), such as
/// `reflect.makemap` in runtime/map.go. `None` if it is the package's own.
#[must_use]
pub fn linked_from_runtime(file: &str) -> Option<bool> {
    let (folder, name) = file.rsplit_once('/')?;
    let runtime = folder == "runtime" || folder.ends_with("/src/runtime");
    runtime.then(|| name.starts_with("map"))
}

/// The functions that the compiler and reflect call.
fn entry(name: &str) -> Option<Operation> {
    use Operation as O;
    let starts = |prefix: &str| name.starts_with(prefix);
    if name.contains('.') {
        // A closure, or a method of something else.
        return None;
    }
    if starts("mapassign") {
        Some(O::Assign)
    } else if starts("mapaccess") {
        Some(O::Access)
    } else if starts("mapdelete") {
        Some(O::Delete)
    } else if starts("mapiter") || starts("mapIter") {
        Some(O::Iterate)
    } else if starts("mapclear") {
        Some(O::Clear)
    } else if starts("mapclone") {
        Some(O::Clone)
    } else if starts("makemap") {
        Some(O::Make)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_by_their_names() {
        for (name, expected) in [
            ("runtime.mapassign_fast64ptr", Some(Operation::Assign)),
            (
                "internal/runtime/maps.runtime_mapassign",
                Some(Operation::Assign),
            ),
            ("runtime.makemap_small", Some(Operation::Make)),
            ("runtime.(*hmap).newoverflow", Some(Operation::Growth)),
            ("runtime.evacuate_faststr", Some(Operation::Growth)),
            (
                "internal/runtime/maps.(*table).rehash",
                Some(Operation::Growth),
            ),
            (
                "internal/runtime/maps.(*Iter).Next",
                Some(Operation::Iterate),
            ),
            (
                "internal/runtime/maps.ctrlGroup.matchH2",
                Some(Operation::Other),
            ),
            ("runtime.mallocgc", None),
            ("runtime.mapiternext", Some(Operation::Iterate)),
            ("runtime.acquireSudog", None),
            ("reflect.makemap", None),
            ("main.mapassign", None),
        ] {
            assert_eq!(operation(name), expected, "{name}");
        }
        assert!(is_allocator("runtime.mallocgcSmallScanNoHeaderSC4"));
        assert!(is_allocator("internal/runtime/maps.newarray"));
        assert!(!is_allocator("runtime.mapassign"));
        let linked = [
            ("/usr/lib/go/src/runtime/map_swiss.go", Some(true)),
            ("runtime/slice.go", Some(false)),
            ("/src/runtime/pprof/map.go", None),
            ("/home/me/runtime/map.go", None),
            ("map.go", None),
        ];
        for (file, expected) in linked {
            assert_eq!(linked_from_runtime(file), expected, "{file}");
        }
        assert!(is_runtime("internal/runtime/maps.NewMap"));
        assert!(!is_runtime("runtime/pprof.Do"));
    }
}
