//! Where the hooks stand in the runtime's sources, for Go 1.21 to 1.27.

use super::source::{Edit, Patch};

const fn after(head: &'static str, statement: &'static str, code: &'static str) -> Patch {
    Patch {
        head,
        statement,
        edit: Edit::After(code),
        count: 1,
    }
}

const fn before(head: &'static str, statement: &'static str, code: &'static str) -> Patch {
    Patch {
        head,
        statement,
        edit: Edit::Before(code),
        count: 1,
    }
}

const fn require(head: &'static str, statement: &'static str) -> Patch {
    Patch {
        head,
        statement,
        edit: Edit::Require,
        count: 1,
    }
}

const FIRST: &str = "h.buckets = newobject(t.Bucket)";
const FIRST_HOOK: &str = "gomapscopeCreate(t, h, @OP_GROW@)";

/// `runtime/map.go`, or `map_noswiss.go` in Go 1.24 and 1.25.
pub(super) const CLASSIC: &[Patch] = &[
    require("type hmap struct {", "count…"),
    require("type hmap struct {", "B…"),
    require("type hmap struct {", "noverflow uint16"),
    require("type hmap struct {", "buckets…"),
    require("type hmap struct {", "oldbuckets unsafe.Pointer"),
    after(
        "func makemap(",
        "h.buckets, nextOverflow = makeBucketArray(t, h.B, nil)",
        "gomapscopeCreate(t, h, @OP_CREATE@)",
    ),
    after("func mapassign(", FIRST, FIRST_HOOK),
    after(
        "func (h *hmap) newoverflow(",
        "ovf = h.extra.nextOverflow",
        "gomapscopeOverflow(t, h, ovf, @OP_SPARE@)",
    ),
    after(
        "func (h *hmap) newoverflow(",
        "ovf = (*bmap)(newobject(t.Bucket))",
        "gomapscopeOverflow(t, h, ovf, @OP_OVERFLOW@)",
    ),
    after(
        "func hashGrow(",
        "newbuckets, nextOverflow := makeBucketArray(t, h.B+bigger, nil)",
        "gomapscopeGrow(t, h, newbuckets, bigger)",
    ),
    before(
        "func advanceEvacuationMark(",
        "h.oldbuckets = nil",
        "gomapscopeOld(t, h, @OP_EVACUATED@)",
    ),
    before(
        "func mapclear(",
        "h.flags &^= sameSizeGrow",
        "gomapscopeClear(t, h)",
    ),
    Patch {
        head: "func mapclone2(",
        statement: "dst.buckets = newobject(t.Bucket)",
        edit: Edit::After("gomapscopeCreate(t, dst, @OP_CREATE@)"),
        count: 2,
    },
    before(
        "func mapclone(",
        "e.data = unsafe.Pointer(mapclone2(…",
        "gomapscopeSource := e.data",
    ),
    before(
        "func mapclone(",
        "return m",
        "gomapscopeCloned(unsafe.Pointer(e._type), e.data, gomapscopeSource)",
    ),
];

/// The variants of `mapassign` make a first bucket of their own.
pub(super) const CLASSIC_FAST: &[(&str, &[Patch])] = &[
    (
        "map_fast32",
        &[
            after("func mapassign_fast32(", FIRST, FIRST_HOOK),
            after("func mapassign_fast32ptr(", FIRST, FIRST_HOOK),
        ],
    ),
    (
        "map_fast64",
        &[
            after("func mapassign_fast64(", FIRST, FIRST_HOOK),
            after("func mapassign_fast64ptr(", FIRST, FIRST_HOOK),
        ],
    ),
    (
        "map_faststr",
        &[after("func mapassign_faststr(", FIRST, FIRST_HOOK)],
    ),
];

/// `internal/runtime/maps/map.go`.
pub(super) const SWISS_MAP: &[Patch] = &[
    require("type Map struct {", "used uint64"),
    require("type Map struct {", "dirPtr unsafe.Pointer"),
    require("type Map struct {", "dirLen int"),
    after(
        "func NewMap(",
        "directory := make([]*table, dirSize)",
        "gomapscopeDirectory(mt, m, unsafe.Pointer(&directory[0]), len(directory), nil, 0)",
    ),
    after(
        "func NewMap(",
        "directory[i] = newTable(mt, …",
        "gomapscopeCreate(mt, m, directory[i], len(directory))",
    ),
    after(
        "func (m *Map) growToSmall(",
        "m.dirPtr = grp.data",
        "gomapscopeSmall(typ, m, m.dirPtr, @OP_GROW@)",
    ),
    after(
        "func (m *Map) growToTable(",
        "directory[0] = tab",
        "gomapscopeToTable(typ, m, tab, unsafe.Pointer(&directory[0]))",
    ),
    before(
        "func (m *Map) Clear(",
        "if m.dirLen == 0 {",
        "gomapscopeClear(typ, m)",
    ),
];

/// `Map.Clone`, since Go 1.25.
pub(super) const SWISS_CLONE: &[Patch] = &[
    before("func (m *Map) Clone(", "m = m2", "gomapscopeSource := m"),
    after(
        "func (m *Map) Clone(",
        "newGroup := groupReference{data: newGroups(typ, 1).data}",
        "gomapscopeSmall(typ, m, newGroup.data, @OP_CREATE@)",
    ),
    after(
        "func (m *Map) Clone(",
        "newDir := make([]*table, m.dirLen)",
        "gomapscopeDirectory(typ, m, unsafe.Pointer(&newDir[0]), m.dirLen, nil, 0)",
    ),
    after(
        "func (m *Map) Clone(",
        "newDir[i] = t.clone(typ)",
        "gomapscopeCreate(typ, m, newDir[i], m.dirLen)",
    ),
    before(
        "func (m *Map) Clone(",
        "return m",
        "gomapscopeCloned(typ, m, gomapscopeSource)",
    ),
];

/// The head of [`SWISS_CLONE`].
pub(super) const CLONE_HEAD: &str = "func (m *Map) Clone(";

/// `runtime/map_swiss.go` of Go 1.24: `maps.Clone` inserts entry by entry.
pub(super) const SWISS_CLONE2: &[Patch] = &[
    before(
        "func mapclone(",
        "e.data = unsafe.Pointer(mapclone2(…",
        "gomapscopeSource := e.data",
    ),
    before(
        "func mapclone(",
        "return m",
        "gomapscopeCloned(unsafe.Pointer(e._type), e.data, gomapscopeSource)",
    ),
];

/// `internal/runtime/maps/table.go`.
pub(super) const SWISS_TABLE: &[Patch] = &[
    require("type table struct {", "capacity uint16"),
    require("type table struct {", "groups groupsReference"),
    after(
        "func (t *table) grow(",
        "newTable := newTable(typ, …",
        "gomapscopeGrow(typ, m, newTable, t, @OP_GROW@)",
    ),
    after(
        "func (t *table) grow(",
        "t.index = -1",
        "gomapscopeReleased(typ, m, t)",
    ),
    after(
        "func (t *table) split(",
        "left := newTable(typ, …",
        "gomapscopeGrow(typ, m, left, t, @OP_SPLIT@)",
    ),
    after(
        "func (t *table) split(",
        "right := newTable(typ, …",
        "gomapscopeGrow(typ, m, right, t, @OP_SPLIT@)",
    ),
    before(
        "func (t *table) split(",
        "m.installTableSplit(t, left, right)",
        "gomapscopeDir, gomapscopeLen := m.dirPtr, m.dirLen",
    ),
    after(
        "func (t *table) split(",
        "t.index = -1",
        "gomapscopeReleased(typ, m, t); if m.dirPtr != gomapscopeDir { \
         gomapscopeDirectory(typ, m, m.dirPtr, m.dirLen, gomapscopeDir, gomapscopeLen) }",
    ),
];

/// `internal/runtime/maps/group.go`: what sizes are computed from.
pub(super) const SWISS_GROUP: &[Patch] = &[
    require("type groupsReference struct {", "data unsafe.Pointer"),
    require("type groupsReference struct {", "lengthMask uint64"),
    require(
        "func newGroups(",
        "data:       newarray(typ.Group, int(length)),",
    ),
];

/// `runtime/runtime2.go`: what the recorder reads of the goroutine and its thread.
pub(super) const RUNTIME2: &[Patch] = &[
    require("type g struct {", "goid         uint64"),
    require("type m struct {", "procid…"),
    require("type m struct {", "curg…"),
];

/// `runtime/mheap.go`, for `-track-free`.
pub(super) const MHEAP: &[Patch] = &[
    require("func addspecial(", "span := spanOfHeap(uintptr(p))"),
    before(
        "func freeSpecial(",
        "switch s.kind {",
        "if s.kind == gomapscopeKind { gomapscopeFreed(s); return }",
    ),
];
