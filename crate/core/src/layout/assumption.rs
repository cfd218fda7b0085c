//! What is taken for granted of Go's runtime because debug information does not
//! tell it: one row each, with the releases it holds for and its source.
//!
//! `tests/test_assumptions.py` holds each row against the sources of every toolchain, so
//! that a release that breaks one is found before a user finds it.

use serde::Serialize;

use crate::binary::record::{self, Declared};

/// The oldest and the newest release looked at: go1.21 and go1.27.
const FIRST: u16 = 21;
const LAST: u16 = 27;
/// The last release that can be built with classic maps (`noswissmap`).
const CLASSIC_LAST: u16 = 25;
/// The first with Swiss maps.
const SWISS_FIRST: u16 = 24;

/// How the sources show that a row holds.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// This text, white space aside.
    Text(&'static str),
    /// A struct of this name with exactly these fields, in this order.
    Fields(&'static str, &'static [&'static str]),
}

/// One row.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Assumption {
    /// What is assumed.
    pub statement: &'static str,
    /// Minor version of the first release it holds for.
    pub since: u16,
    /// And of the last.
    pub until: u16,
    /// Files below GOROOT/src; the first that a release has is meant.
    pub files: &'static [&'static str],
    /// What stands there.
    pub proof: Proof,
}

const CLASSIC: &[&str] = &["runtime/map_noswiss.go", "runtime/map.go"];
const CLASSIC_ABI: &[&str] = &["internal/abi/map_noswiss.go", "internal/abi/map.go"];
const SWISS_ABI: &[&str] = &["internal/abi/map_swiss.go", "internal/abi/map.go"];
const GROUP: &[&str] = &["internal/runtime/maps/group.go"];
const TABLE: &[&str] = &["internal/runtime/maps/table.go"];
const MAP: &[&str] = &["internal/runtime/maps/map.go"];
const TYPE: &[&str] = &["internal/abi/type.go"];
const MPROF: &[&str] = &["runtime/mprof.go"];
const SIZES: &[&str] = &[
    "internal/runtime/gc/sizeclasses.go",
    "runtime/sizeclasses.go",
];

const fn classic(statement: &'static str, text: &'static str) -> Assumption {
    Assumption {
        statement,
        since: FIRST,
        until: CLASSIC_LAST,
        files: CLASSIC,
        proof: Proof::Text(text),
    }
}

const fn swiss(
    statement: &'static str,
    files: &'static [&'static str],
    text: &'static str,
) -> Assumption {
    Assumption {
        statement,
        since: SWISS_FIRST,
        until: LAST,
        files,
        proof: Proof::Text(text),
    }
}

/// A struct that is read by its declaration where there is no debug information.
const fn declared(statement: &'static str, row: Declared) -> Assumption {
    Assumption {
        statement,
        since: row.since,
        until: row.until,
        files: row.files,
        proof: Proof::Text(row.text),
    }
}

const fn kinds(since: u16, until: u16, text: &'static str) -> Assumption {
    Assumption {
        statement: "without debug information: the numbers of an object's records",
        since,
        until,
        files: &["runtime/mheap.go"],
        proof: Proof::Text(text),
    }
}

const fn labels(statement: &'static str, since: u16, until: u16, text: &'static str) -> Assumption {
    Assumption {
        statement,
        since,
        until,
        files: &["runtime/pprof/label.go"],
        proof: Proof::Text(text),
    }
}

const fn everywhere(
    statement: &'static str,
    files: &'static [&'static str],
    text: &'static str,
) -> Assumption {
    Assumption {
        statement,
        since: FIRST,
        until: LAST,
        files,
        proof: Proof::Text(text),
    }
}

const MODULEDATA: &str = "without debug information: moduledata's fields up to next";
const MSPAN: &str = "without debug information: mspan's fields up to largeType";
const MHEAP: &str = "without debug information: mheap's fields up to arenas";
const GOROUTINE: &str = "without debug information: g's fields up to labels";
const THREAD: &str = "without debug information: m's fields up to procid";
const GOBUF: &str = "without debug information: where a goroutine stopped";
const STACK: &str = "without debug information: a goroutine's stack";
const SPECIAL: &str = "without debug information: what records of an object begin with";
const CLEANUP: &str = "without debug information: an object's cleanup";
const FINBLOCK: &str = "without debug information: finalizers that wait";
const LABEL_LIST: &str = "a set of labels is a slice of pairs of strings";
const LABEL_SET: &str = "that slice is all there is in a set of labels";
const HEAP_ARENA: &str = "without debug information: heapArena's first fields";

/// All rows.
pub const ASSUMPTIONS: &[Assumption] = &[
    classic(
        "tophash 0: this slot and all behind it are empty",
        "emptyRest = 0 ",
    ),
    classic("tophash 1: deleted", "emptyOne = 1 "),
    classic("tophash 2: evacuated to the first half", "evacuatedX = 2 "),
    classic("tophash 3: evacuated to the second half", "evacuatedY = 3 "),
    classic("tophash 4: evacuated, was empty", "evacuatedEmpty = 4 "),
    classic("tophash 5 and above: live", "minTopHash = 5 "),
    classic(
        "a bucket is evacuated if its first slot is",
        "return h > emptyOne && h < minTopHash",
    ),
    classic("flag 4: a write is in progress", "hashWriting = 4 "),
    classic("flag 8: the growth keeps the size", "sameSizeGrow = 8 "),
    classic(
        "noverflow is exact below B = 16",
        "if h.B < 16 { h.noverflow++ return }",
    ),
    classic(
        "overflow buckets are preallocated from B = 4 on, 1/16 of the main ones",
        "if b >= 4 {",
    ),
    classic(
        "the array takes what its size class leaves",
        "nbuckets += bucketShift(b - 4)",
    ),
    classic(
        "a map doubles above 8 entries and above the load factor",
        "uintptr(count) > loadFactorNum*(bucketShift(B)/loadFactorDen)",
    ),
    classic(
        "same-size growth starts at 2^min(B,15) overflow buckets",
        "return noverflow >= uint16(1)<<(B&15)",
    ),
    Assumption {
        statement: "mapextra holds the two overflow slices and the next spare bucket",
        since: FIRST,
        until: CLASSIC_LAST,
        files: CLASSIC,
        proof: Proof::Fields("mapextra", &["overflow", "oldoverflow", "nextOverflow"]),
    },
    Assumption {
        statement: "a bucket has 8 slots",
        since: FIRST,
        until: CLASSIC_LAST,
        files: CLASSIC_ABI,
        proof: Proof::Text("MapBucketCountBits = 3 "),
    },
    swiss("a group has 8 slots", SWISS_ABI, "MapGroupSlotsBits = 3"),
    swiss(
        "control byte 0x80: empty",
        GROUP,
        "ctrlEmpty ctrl = 0b10000000",
    ),
    swiss(
        "control byte 0xfe: deleted",
        GROUP,
        "ctrlDeleted ctrl = 0b11111110",
    ),
    swiss(
        "control bytes are those of a word of 64 bits, the lowest that of slot 0",
        GROUP,
        "if goarch.BigEndian { return *(*ctrl)(unsafe.Add(unsafe.Pointer(g), 7-i)) }",
    ),
    swiss("tables grow at 7 of 8 slots", GROUP, "maxAvgGroupLoad = 7"),
    swiss(
        "the largest table has 1024 slots",
        TABLE,
        "const maxTableCapacity = 1024",
    ),
    swiss(
        "a table that would exceed it splits",
        TABLE,
        "newCapacity := 2 * t.capacity if newCapacity <= maxTableCapacity {",
    ),
    swiss("a table of 8 slots keeps one free", TABLE, "t.capacity - 1"),
    swiss(
        "tombstones follow from used and growthLeft",
        TABLE,
        "(t.capacity * maxAvgGroupLoad) / abi.",
    ),
    swiss("make sizes tables for 7/8 load", MAP, ") / maxAvgGroupLoad"),
    swiss(
        "make spreads them over a power of two of tables",
        MAP,
        "dirSize := (uint64(targetCapacity) + maxTableCapacity - 1) / maxTableCapacity",
    ),
    swiss("the first table has 16 slots", MAP, "MapGroupSlots, 0, 0)"),
    Assumption {
        statement: "keys above 128 bytes are kept outside the slot",
        since: FIRST,
        until: CLASSIC_LAST,
        files: CLASSIC_ABI,
        proof: Proof::Text("MapMaxKeyBytes = 128"),
    },
    Assumption {
        statement: "the same for elems",
        since: SWISS_FIRST,
        until: LAST,
        files: SWISS_ABI,
        proof: Proof::Text("MapMaxElemBytes = 128"),
    },
    Assumption {
        statement: "type descriptors begin with these fields",
        since: FIRST,
        until: LAST,
        files: TYPE,
        proof: Proof::Fields(
            "Type",
            &[
                "Size_",
                "PtrBytes",
                "Hash",
                "TFlag",
                "Align_",
                "FieldAlign_",
                "Kind_",
                "Equal",
                "GCData",
                "Str",
                "PtrToThis",
            ],
        ),
    },
    Assumption {
        statement: "type flag 2: the name has a star too many",
        since: FIRST,
        until: LAST,
        files: TYPE,
        proof: Proof::Text("TFlagExtraStar TFlag = 1 << 1"),
    },
    Assumption {
        statement: "an interface holds the value itself: bit 5 of Kind",
        since: FIRST,
        until: 25,
        files: TYPE,
        proof: Proof::Text("KindDirectIface "),
    },
    Assumption {
        statement: "an interface holds the value itself: bit 5 of TFlag",
        since: 26,
        until: LAST,
        files: TYPE,
        proof: Proof::Text("TFlagDirectIface TFlag = 1 << 5"),
    },
    Assumption {
        statement: "an itab's second word is the dynamic type",
        since: FIRST,
        until: 22,
        files: &["runtime/runtime2.go"],
        proof: Proof::Fields("itab", &["inter", "_type", "hash", "_", "fun"]),
    },
    Assumption {
        statement: "an itab's second word is the dynamic type",
        since: 23,
        until: LAST,
        files: &["internal/abi/iface.go"],
        proof: Proof::Fields("ITab", &["Inter", "Type", "Hash", "Fun"]),
    },
    Assumption {
        statement: "a channel's buffer: length and pointer behind the count",
        since: FIRST,
        until: LAST,
        files: &["runtime/chan.go"],
        proof: Proof::Text(
            "type hchan struct { qcount uint dataqsiz uint buf unsafe.Pointer elemsize uint16",
        ),
    },
    Assumption {
        statement: "reflect.Value: type, pointer, flags; bit 7: the pointer leads to the value",
        since: FIRST,
        until: LAST,
        files: &["reflect/value.go"],
        proof: Proof::Text("flagIndir flag = 1 << 7"),
    },
    Assumption {
        statement: "atomic.Pointer[T] tells T by a field of no length",
        since: FIRST,
        until: LAST,
        files: &["sync/atomic/type.go"],
        proof: Proof::Text("_ [0]*T _ noCopy v unsafe.Pointer"),
    },
    Assumption {
        statement: "sync.Map: nodes of a trie are told by a byte, or by their size",
        since: SWISS_FIRST,
        until: LAST,
        files: &["internal/sync/hashtriemap.go"],
        proof: Proof::Text("children [nChildren]atomic.Pointer[node[K, V]]"),
    },
    Assumption {
        statement: "a type's pointers are told by a mask, or (bit 6 of Kind) by a program",
        since: FIRST,
        until: 22,
        files: TYPE,
        proof: Proof::Text("KindGCProg = 1 << 6"),
    },
    Assumption {
        statement: "a type's pointers are told by a mask, or (bit 6 of Kind) by a program",
        since: 23,
        until: 23,
        files: TYPE,
        proof: Proof::Text("KindGCProg Kind = 1 << 6"),
    },
    Assumption {
        statement: "a type's pointers are told by a mask, or (bit 4 of TFlag) where it will be",
        since: SWISS_FIRST,
        until: LAST,
        files: TYPE,
        proof: Proof::Text("TFlagGCMaskOnDemand TFlag = 1 << 4"),
    },
    Assumption {
        statement: "the collector follows the second word of an interface alone",
        since: FIRST,
        until: LAST,
        files: &["cmd/compile/internal/typebits/typebits.go"],
        proof: Proof::Text("bv.Set(int32(off/int64(types.PtrSize) + 1))"),
    },
    Assumption {
        statement: "a dictionary: methods, other dictionaries, types, itabs",
        since: FIRST,
        until: LAST,
        files: &["cmd/compile/internal/noder/reader.go"],
        proof: Proof::Text(
            "func (dict *readerDict) rtypesOffset() int { return dict.subdictsOffset() + \
             len(dict.subdicts) }",
        ),
    },
    Assumption {
        statement: "67 size classes",
        since: FIRST,
        until: LAST,
        files: SIZES,
        proof: Proof::Text(
            "{0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, \
             288, 320, 352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, \
             1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, \
             6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, \
             20480, 21760, 24576, 27264, 28672, 32768}",
        ),
    },
    Assumption {
        statement: "objects with pointers above 512 bytes, or 128, carry a header of 8 bytes",
        since: 22,
        until: 24,
        files: &["runtime/mbitmap_allocheaders.go", "runtime/mbitmap.go"],
        proof: Proof::Text("minSizeForMallocHeader = goarch.PtrSize * ptrBits"),
    },
    declared(MODULEDATA, record::MODULEDATA_21),
    declared(MODULEDATA, record::MODULEDATA_23),
    declared(MODULEDATA, record::MODULEDATA_26),
    declared(MODULEDATA, record::MODULEDATA_27),
    declared(MSPAN, record::MSPAN_21),
    declared(MSPAN, record::MSPAN_22),
    declared(MSPAN, record::MSPAN_25),
    declared(MSPAN, record::MSPAN_26),
    declared(MHEAP, record::MHEAP_21),
    declared(MHEAP, record::MHEAP_22),
    declared(HEAP_ARENA, record::HEAP_ARENA_21),
    declared(HEAP_ARENA, record::HEAP_ARENA_22),
    declared(HEAP_ARENA, record::HEAP_ARENA_23),
    declared(HEAP_ARENA, record::HEAP_ARENA_25),
    declared(GOROUTINE, record::G_21),
    declared(GOROUTINE, record::G_22),
    declared(GOROUTINE, record::G_23),
    declared(GOROUTINE, record::G_24),
    declared(GOROUTINE, record::G_25),
    declared(GOROUTINE, record::G_26),
    declared(THREAD, record::M_21),
    declared(THREAD, record::M_25),
    declared(GOBUF, record::GOBUF_21),
    declared(GOBUF, record::GOBUF_25),
    declared(STACK, record::STACK_21),
    declared(SPECIAL, record::SPECIAL_21),
    declared(SPECIAL, record::SPECIAL_24),
    declared(CLEANUP, record::CLEANUP_24),
    declared(CLEANUP, record::CLEANUP_26),
    declared(FINBLOCK, record::FINBLOCK_21),
    declared(FINBLOCK, record::FINBLOCK_25),
    declared(
        "what stands in front of a profile's stack, without debug information",
        record::BUCKET_21,
    ),
    declared(
        "what a profile counts of a stack's allocations, without debug information",
        record::CYCLE_21,
    ),
    declared(
        "what a profile counts of a stack's allocations, without debug information",
        record::CYCLE_27,
    ),
    declared(
        "what a profile counts of a stack's waits, without debug information",
        record::WAITS_21,
    ),
    Assumption {
        statement: "a profile's allocations: those of the last cycle, then of three to come",
        since: FIRST,
        until: LAST,
        files: MPROF,
        proof: Proof::Fields("memRecord", &["active", "future"]),
    },
    everywhere(
        "a profile shows the cycle that ended as of its number, shifted by a bit",
        MPROF,
        "func (c *mProfCycleHolder) read() (cycle uint32) { v := c.value.Load() cycle = v >> 1",
    ),
    everywhere(
        "before the first cycle ended, all that is counted is shown",
        MPROF,
        "mp.active.add(&mp.future[c])",
    ),
    everywhere(
        "a wait whose count rounds to 0 counts as 1",
        MPROF,
        "if r.Count == 0 { r.Count = 1 }",
    ),
    Assumption {
        statement: "the first word of a stack may say that inlined calls are in it",
        since: 23,
        until: 26,
        files: &["runtime/tracestack.go"],
        proof: Proof::Text("logicalStackSentinel = ^uintptr(0)"),
    },
    everywhere(
        "the number of functions that the compiler made follows that of systemstack_switch",
        &["internal/abi/symtab.go"],
        "FuncID_systemstack_switch FuncIDWrapper",
    ),
    everywhere(
        "waits are noted in ticks, which are as many a second as runtime.ticks.val says",
        &["runtime/runtime.go"],
        "val atomic.Int64 }",
    ),
    Assumption {
        statement: "in front of that stand both clocks as the process began",
        since: 22,
        until: LAST,
        files: &["runtime/runtime.go"],
        proof: Proof::Text("startTicks int64 startTime int64 val atomic.Int64 }"),
    },
    everywhere(
        "a goroutine's reason to wait is a place in a table that begins so",
        &["runtime/runtime2.go"],
        r#"var waitReasonStrings = [...]string{ waitReasonZero: "", waitReasonGCAssistMarking: "GC assist marking", waitReasonIOWait: "IO wait","#,
    ),
    everywhere(
        "a goroutine waits since a collection found it waiting",
        &["runtime/mgcmark.go"],
        "gp.waitsince = work.tstart",
    ),
    kinds(21, 22, "_KindSpecialFinalizer = 1 _KindSpecialProfile = 2"),
    kinds(
        23,
        24,
        "_KindSpecialFinalizer = 1 _KindSpecialWeakHandle = 2 _KindSpecialProfile = 3",
    ),
    kinds(24, 24, "_KindSpecialCleanup = 6"),
    kinds(
        25,
        LAST,
        "_KindSpecialFinalizer = 2 _KindSpecialWeakHandle = 3 _KindSpecialProfile = 4",
    ),
    kinds(25, LAST, "_KindSpecialCleanup = 7"),
    everywhere(
        "profile records of allocations are of type 1",
        &["runtime/mprof.go"],
        "memProfile bucketType = 1 + iota",
    ),
    Assumption {
        statement: "goroutines: 2 runs, 3 is in a system call, 0 and 6 have no stack in use",
        since: FIRST,
        until: LAST,
        files: &["runtime/runtime2.go"],
        proof: Proof::Text(
            "_Gidle = iota _Grunnable _Grunning _Gsyscall _Gwaiting _Gmoribund_unused _Gdead ",
        ),
    },
    everywhere(
        "goroutine 1 is the first of allgs, which only grows",
        &["runtime/proc.go"],
        "allgs = append(allgs, gp)",
    ),
    everywhere(
        "g.labels points to the set of labels",
        &["runtime/pprof/runtime.go"],
        "ctxLabels, _ := ctx.Value(labelContextKey{}).(*labelMap) \
         runtime_setProfLabel(unsafe.Pointer(ctxLabels))",
    ),
    labels(
        "a set of labels is a map",
        21,
        23,
        "type labelMap map[string]string",
    ),
    labels(
        LABEL_LIST,
        24,
        25,
        "type label struct { key string value string } type LabelSet struct { list []label }",
    ),
    Assumption {
        statement: LABEL_LIST,
        since: 26,
        until: LAST,
        files: &["internal/runtime/pprof/label/labelset.go"],
        proof: Proof::Text(
            "type Label struct { Key string Value string } type Set struct { List []Label }",
        ),
    },
    labels(LABEL_SET, 24, 25, "type labelMap struct { LabelSet }"),
    labels(LABEL_SET, 26, LAST, "type labelMap struct { label.Set }"),
    Assumption {
        statement: "the return address stands above the frame pointer saved",
        since: FIRST,
        until: LAST,
        files: &["runtime/tracestack.go", "runtime/trace.go"],
        proof: Proof::Text("pcBuf[i] = *(*uintptr)(unsafe.Pointer(uintptr(fp) + goarch.PtrSize))"),
    },
    declared(
        "what stands in front of a function's tables",
        record::FUNC_21,
    ),
    everywhere(
        "a function's offsets of tables follow, of data after those",
        &["runtime/symtab.go"],
        "p := uintptr(unsafe.Pointer(&f.nfuncdata)) + unsafe.Sizeof(f.nfuncdata) + \
         uintptr(f.npcdata)*4 + uintptr(i)*4",
    ),
    everywhere(
        "tables of values by address hold pairs of variable-length differences",
        &["runtime/symtab.go"],
        "*val += int32(-(uvdelta & 1) ^ (uvdelta >> 1))",
    ),
    everywhere(
        "flags 1 and 2 of a function: stacks end there; it writes to SP",
        &["internal/abi/symtab.go"],
        "FuncFlagTopFrame FuncFlag = 1 << iota FuncFlagSPWrite FuncFlagAsm",
    ),
    everywhere(
        "where a traceback finds arguments, and whether their values are there",
        &["internal/abi/symtab.go"],
        "FUNCDATA_ArgInfo = 5 FUNCDATA_ArgLiveInfo = 6",
    ),
    everywhere(
        "the same by address",
        &["internal/abi/symtab.go"],
        "PCDATA_ArgLiveIndex = 3",
    ),
    everywhere(
        "below 1 there, all arguments are in memory",
        &["runtime/traceback.go"],
        "if liveInfo == nil || liveIdx <= 0 { return true",
    ),
    everywhere(
        "a goroutine whose thread left its stack has its stack pointer in sched; 0 else",
        &["runtime/asm_amd64.s"],
        "MOVQ $0, (g_sched+gobuf_sp)(AX)",
    ),
    classic(
        "an iterator holds type and map behind key and elem",
        "t *maptype h *hmap buckets unsafe.Pointer",
    ),
    Assumption {
        statement: "an iterator holds type and map behind key and elem",
        since: SWISS_FIRST,
        until: CLASSIC_LAST,
        files: TABLE,
        proof: Proof::Text("typ *abi.SwissMapType m *Map"),
    },
    Assumption {
        statement: "an iterator holds type and map behind key and elem",
        since: 26,
        until: LAST,
        files: TABLE,
        proof: Proof::Text("typ *abi.MapType m *Map"),
    },
    Assumption {
        statement: "a map's function that finds it written ends the process by fatal",
        since: FIRST,
        until: CLASSIC_LAST,
        files: CLASSIC,
        proof: Proof::Text("fatal(\"concurrent map writes\")"),
    },
    swiss(
        "a map's function that finds it written ends the process by fatal",
        MAP,
        "fatal(\"concurrent map writes\")",
    ),
    everywhere(
        "spans: 0 dead, 1 in use, 2 managed by hand (stacks)",
        &["runtime/mheap.go"],
        "mSpanDead mSpanState = iota mSpanInUse mSpanManual ",
    ),
    everywhere(
        "a span's class is twice its size class, plus 1 without pointers",
        &["runtime/mheap.go"],
        "return spanClass(sizeclass<<1) | spanClass(bool2int(noscan))",
    ),
    everywhere(
        "a function's entry and name are 32-bit offsets",
        &["runtime/runtime2.go"],
        "entryOff uint32 nameOff int32 args int32",
    ),
    everywhere(
        "the function index holds pairs of 32-bit offsets",
        &["runtime/symtab.go"],
        "type functab struct { entryoff uint32 funcoff uint32 }",
    ),
    everywhere(
        "arenas are of 64 MiB, or of 4 on 32-bit machines",
        &["runtime/malloc.go"],
        "logHeapArenaBytes = (6+20)*(_64bit*(1-goos.IsWindows)*(1-goarch.IsWasm)*\
         (1-goos.IsIos*goarch.IsArm64)) + (2+20)*(_64bit*goos.IsWindows) + \
         (2+20)*(1-_64bit)",
    ),
    everywhere(
        "addresses of the heap have 48 bits, or 32",
        &["runtime/malloc.go"],
        "heapAddrBits = (_64bit*(1-goarch.IsWasm)*(1-goos.IsIos*goarch.IsArm64))*48 + \
         (1-_64bit+goarch.IsWasm)*(32-(goarch.IsMips+goarch.IsMipsle))",
    ),
    everywhere(
        "a frame pointer is saved on amd64 and arm64",
        &["runtime/runtime2.go"],
        "const framepointer_enabled = GOARCH == \"amd64\" || GOARCH == \"arm64\"",
    ),
    everywhere(
        "on amd64, arenas count from 2^47 below 0",
        &["runtime/malloc.go"],
        "arenaBaseOffset = 0xffff800000000000*goarch.IsAmd64",
    ),
    Assumption {
        statement: "pointer bitmaps of small objects stand at the end of their span",
        since: 25,
        until: LAST,
        files: &["runtime/mbitmap.go"],
        proof: Proof::Text(
            "size = spanSize / goarch.PtrSize / 8 base = spanBase + spanSize - size if \
             goexperiment.GreenTeaGC && gcUsesSpanInlineMarkBits(elemsize) { base -= \
             unsafe.Sizeof(spanInlineMarkBits{}) }",
        ),
    },
    Assumption {
        statement: "pointer bitmaps of small objects stand at the end of their span",
        since: 22,
        until: 24,
        files: &["runtime/mbitmap_allocheaders.go", "runtime/mbitmap.go"],
        proof: Proof::Text("spanBase + spanSize - bitmapSize"),
    },
    Assumption {
        statement: "map types, without debug information",
        since: FIRST,
        until: 23,
        files: TYPE,
        proof: Proof::Text(
            "Key *Type Elem *Type Bucket *Type Hasher func(unsafe.Pointer, uintptr) uintptr \
             KeySize uint8 ValueSize uint8 BucketSize uint16 Flags uint32 }",
        ),
    },
    Assumption {
        statement: "map types, without debug information",
        since: SWISS_FIRST,
        until: CLASSIC_LAST,
        files: CLASSIC_ABI,
        proof: Proof::Text(
            "Key *Type Elem *Type Bucket *Type Hasher func(unsafe.Pointer, uintptr) uintptr \
             KeySize uint8 ValueSize uint8 BucketSize uint16 Flags uint32 }",
        ),
    },
    Assumption {
        statement: "map types, without debug information",
        since: SWISS_FIRST,
        until: 26,
        files: SWISS_ABI,
        proof: Proof::Text(
            "Key *Type Elem *Type Group *Type Hasher func(unsafe.Pointer, uintptr) uintptr \
             GroupSize uintptr SlotSize uintptr ElemOff uintptr Flags uint32 }",
        ),
    },
    Assumption {
        statement: "map types, without debug information",
        since: 27,
        until: LAST,
        files: SWISS_ABI,
        proof: Proof::Text(
            "Key *Type Elem *Type Group *Type Hasher func(unsafe.Pointer, uintptr) uintptr \
             GroupSize uintptr KeysOff uintptr KeyStride uintptr ElemsOff uintptr ElemStride \
             uintptr ElemOff uintptr Flags uint32 }",
        ),
    },
    Assumption {
        statement: "hmap's fields, without debug information",
        since: FIRST,
        until: 23,
        files: CLASSIC,
        proof: Proof::Fields(
            "hmap",
            &[
                "count",
                "flags",
                "B",
                "noverflow",
                "hash0",
                "buckets",
                "oldbuckets",
                "nevacuate",
                "extra",
            ],
        ),
    },
    Assumption {
        statement: "hmap's fields, without debug information",
        since: SWISS_FIRST,
        until: CLASSIC_LAST,
        files: CLASSIC,
        proof: Proof::Fields(
            "hmap",
            &[
                "count",
                "flags",
                "B",
                "noverflow",
                "hash0",
                "buckets",
                "oldbuckets",
                "nevacuate",
                "clearSeq",
                "extra",
            ],
        ),
    },
    Assumption {
        statement: "a Swiss map's fields, without debug information",
        since: SWISS_FIRST,
        until: SWISS_FIRST,
        files: MAP,
        proof: Proof::Fields(
            "Map",
            &[
                "used",
                "seed",
                "dirPtr",
                "dirLen",
                "globalDepth",
                "globalShift",
                "writing",
                "clearSeq",
            ],
        ),
    },
    Assumption {
        statement: "a Swiss map's fields, without debug information",
        since: 25,
        until: LAST,
        files: MAP,
        proof: Proof::Fields(
            "Map",
            &[
                "used",
                "seed",
                "dirPtr",
                "dirLen",
                "globalDepth",
                "globalShift",
                "writing",
                "tombstonePossible",
                "clearSeq",
            ],
        ),
    },
    swiss(
        "a table's fields, without debug information",
        TABLE,
        "type table struct { used uint16 capacity uint16 growthLeft uint16 localDepth uint8 index \
         int groups groupsReference }",
    ),
    swiss(
        "a table's groups: where, and how many less one",
        GROUP,
        "type groupsReference struct { data unsafe.Pointer lengthMask uint64 }",
    ),
];
