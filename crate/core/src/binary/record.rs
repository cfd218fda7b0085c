//! Structs of Go's runtime, for binaries without debug information: their declarations
//! as they stand in the sources, and the offsets that follow from them by
//! Go's rules. `tests/test_assumptions.py` finds each declaration in the sources
//! of every release it is said to hold for.

use std::collections::HashMap;

use super::{Die, DieOffset, Dwarf};
use crate::memory::Abi;

/// A struct's declaration up to the last field that is used, comments left out.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// `moduledata`
    pub name: &'static str,
    /// Minor version of the first release it holds for.
    pub since: u16,
    /// And of the last.
    pub until: u16,
    /// The file below GOROOT/src.
    pub files: &'static [&'static str],
    /// Its text.
    pub text: &'static str,
}

const SYMTAB: &[&str] = &["runtime/symtab.go"];
const MHEAP: &[&str] = &["runtime/mheap.go"];
const RUNTIME2: &[&str] = &["runtime/runtime2.go"];

/// Of go1.21 and go1.22.
pub(crate) const MODULEDATA_21: Declared = Declared {
    name: "moduledata",
    since: 21,
    until: 22,
    files: SYMTAB,
    text: "type moduledata struct { sys.NotInHeap pcHeader *pcHeader funcnametab []byte cutab \
           []uint32 filetab []byte pctab []byte pclntable []byte ftab []functab findfunctab \
           uintptr minpc, maxpc uintptr text, etext uintptr noptrdata, enoptrdata uintptr data, \
           edata uintptr bss, ebss uintptr noptrbss, enoptrbss uintptr covctrs, ecovctrs uintptr \
           end, gcdata, gcbss uintptr types, etypes uintptr rodata uintptr gofunc uintptr \
           textsectmap []textsect typelinks []int32 itablinks []*itab ptab []ptabEntry pluginpath \
           string pkghashes []modulehash inittasks []*initTask modulename string modulehashes \
           []modulehash hasmain uint8 gcdatamask, gcbssmask bitvector typemap \
           map[typeOff]*_type bad bool next *moduledata }",
};

/// Of go1.23 to go1.25.
pub(crate) const MODULEDATA_23: Declared = Declared {
    name: "moduledata",
    since: 23,
    until: 25,
    files: SYMTAB,
    text: "type moduledata struct { sys.NotInHeap pcHeader *pcHeader funcnametab []byte cutab \
           []uint32 filetab []byte pctab []byte pclntable []byte ftab []functab findfunctab \
           uintptr minpc, maxpc uintptr text, etext uintptr noptrdata, enoptrdata uintptr data, \
           edata uintptr bss, ebss uintptr noptrbss, enoptrbss uintptr covctrs, ecovctrs uintptr \
           end, gcdata, gcbss uintptr types, etypes uintptr rodata uintptr gofunc uintptr \
           textsectmap []textsect typelinks []int32 itablinks []*itab ptab []ptabEntry pluginpath \
           string pkghashes []modulehash inittasks []*initTask modulename string modulehashes \
           []modulehash hasmain uint8 bad bool gcdatamask, gcbssmask bitvector typemap \
           map[typeOff]*_type next *moduledata }",
};

/// Of go1.26.
pub(crate) const MODULEDATA_26: Declared = Declared {
    name: "moduledata",
    since: 26,
    until: 26,
    files: SYMTAB,
    text: "type moduledata struct { sys.NotInHeap pcHeader *pcHeader funcnametab []byte cutab \
           []uint32 filetab []byte pctab []byte pclntable []byte ftab []functab findfunctab \
           uintptr minpc, maxpc uintptr text, etext uintptr noptrdata, enoptrdata uintptr data, \
           edata uintptr bss, ebss uintptr noptrbss, enoptrbss uintptr covctrs, ecovctrs uintptr \
           end, gcdata, gcbss uintptr types, etypes uintptr rodata uintptr gofunc uintptr \
           epclntab uintptr textsectmap []textsect typelinks []int32 itablinks []*itab ptab \
           []ptabEntry pluginpath string pkghashes []modulehash inittasks []*initTask modulename \
           string modulehashes []modulehash hasmain uint8 bad bool gcdatamask, gcbssmask \
           bitvector typemap map[typeOff]*_type next *moduledata }",
};

/// Of go1.27.
pub(crate) const MODULEDATA_27: Declared = Declared {
    name: "moduledata",
    since: 27,
    until: 27,
    files: SYMTAB,
    text: "type moduledata struct { sys.NotInHeap pcHeader *pcHeader funcnametab []byte cutab \
           []uint32 filetab []byte pctab []byte pclntable []byte ftab []functab findfunctab \
           uintptr minpc, maxpc uintptr text, etext uintptr noptrdata, enoptrdata uintptr data, \
           edata uintptr bss, ebss uintptr noptrbss, enoptrbss uintptr covctrs, ecovctrs uintptr \
           end, gcdata, gcbss uintptr types, typedesclen, etypes uintptr itaboffset, itabsize \
           uintptr rodata uintptr gofunc uintptr epclntab uintptr textsectmap []textsect ptab \
           []ptabEntry pluginpath string pkghashes []modulehash inittasks []*initTask modulename \
           string modulehashes []modulehash hasmain uint8 bad bool gcdatamask, gcbssmask \
           bitvector typemap map[*_type]*_type next *moduledata }",
};

/// Of go1.21.
pub(crate) const MSPAN_21: Declared = Declared {
    name: "mspan",
    since: 21,
    until: 21,
    files: MHEAP,
    text: "type mspan struct { _ sys.NotInHeap next *mspan prev *mspan list *mSpanList startAddr \
           uintptr npages uintptr manualFreeList gclinkptr freeindex uintptr nelems uintptr \
           allocCache uint64 allocBits *gcBits gcmarkBits *gcBits pinnerBits *gcBits sweepgen \
           uint32 divMul uint32 allocCount uint16 spanclass spanClass state mSpanStateBox \
           needzero uint8 isUserArenaChunk bool allocCountBeforeCache uint16 elemsize uintptr \
           limit uintptr speciallock mutex specials *special",
};

/// Of go1.22 to go1.24.
pub(crate) const MSPAN_22: Declared = Declared {
    name: "mspan",
    since: 22,
    until: 24,
    files: MHEAP,
    text: "type mspan struct { _ sys.NotInHeap next *mspan prev *mspan list *mSpanList startAddr \
           uintptr npages uintptr manualFreeList gclinkptr freeindex uint16 nelems uint16 \
           freeIndexForScan uint16 allocCache uint64 allocBits *gcBits gcmarkBits *gcBits \
           pinnerBits *gcBits sweepgen uint32 divMul uint32 allocCount uint16 spanclass spanClass \
           state mSpanStateBox needzero uint8 isUserArenaChunk bool allocCountBeforeCache uint16 \
           elemsize uintptr limit uintptr speciallock mutex specials *special userArenaChunkFree \
           addrRange largeType *_type",
};

/// Of go1.25.
pub(crate) const MSPAN_25: Declared = Declared {
    name: "mspan",
    since: 25,
    until: 25,
    files: MHEAP,
    text: "type mspan struct { _ sys.NotInHeap next *mspan prev *mspan list *mSpanList startAddr \
           uintptr npages uintptr manualFreeList gclinkptr freeindex uint16 nelems uint16 \
           freeIndexForScan uint16 scanIdx uint16 allocCache uint64 allocBits *gcBits gcmarkBits \
           *gcBits pinnerBits *gcBits sweepgen uint32 divMul uint32 allocCount uint16 spanclass \
           spanClass state mSpanStateBox needzero uint8 isUserArenaChunk bool \
           allocCountBeforeCache uint16 elemsize uintptr limit uintptr speciallock mutex specials \
           *special userArenaChunkFree addrRange largeType *_type",
};

/// Of go1.26 and go1.27: as in go1.22.
pub(crate) const MSPAN_26: Declared = Declared {
    since: 26,
    until: 27,
    ..MSPAN_22
};

/// Of go1.21.
pub(crate) const MHEAP_21: Declared = Declared {
    name: "mheap",
    since: 21,
    until: 21,
    files: MHEAP,
    text: "type mheap struct { _ sys.NotInHeap lock mutex pages pageAlloc sweepgen uint32 \
           allspans []*mspan pagesInUse atomic.Uintptr pagesSwept atomic.Uint64 pagesSweptBasis \
           atomic.Uint64 sweepHeapLiveBasis uint64 sweepPagesPerByte float64 reclaimIndex \
           atomic.Uint64 reclaimCredit atomic.Uintptr arenas \
           [1 << arenaL1Bits]*[1 << arenaL2Bits]*heapArena",
};

/// Of go1.22 to go1.27.
pub(crate) const MHEAP_22: Declared = Declared {
    name: "mheap",
    since: 22,
    until: 27,
    files: MHEAP,
    text: "type mheap struct { _ sys.NotInHeap lock mutex pages pageAlloc sweepgen uint32 \
           allspans []*mspan pagesInUse atomic.Uintptr pagesSwept atomic.Uint64 pagesSweptBasis \
           atomic.Uint64 sweepHeapLiveBasis uint64 sweepPagesPerByte float64 reclaimIndex \
           atomic.Uint64 reclaimCredit atomic.Uintptr _ cpu.CacheLinePad arenas \
           [1 << arenaL1Bits]*[1 << arenaL2Bits]*heapArena",
};

/// Of go1.21: the bitmaps come first.
pub(crate) const HEAP_ARENA_21: Declared = Declared {
    name: "heapArena",
    since: 21,
    until: 21,
    files: MHEAP,
    text: "type heapArena struct { _ sys.NotInHeap bitmap [heapArenaBitmapWords]uintptr \
           noMorePtrs [heapArenaBitmapWords / 8]uint8 spans [pagesPerArena]*mspan",
};

/// Of go1.22.
pub(crate) const HEAP_ARENA_22: Declared = Declared {
    name: "heapArena",
    since: 22,
    until: 22,
    files: MHEAP,
    text: "type heapArena struct { _ sys.NotInHeap heapArenaPtrScalar spans [pagesPerArena]*mspan",
};

/// Of go1.23 and go1.24.
pub(crate) const HEAP_ARENA_23: Declared = Declared {
    name: "heapArena",
    since: 23,
    until: 24,
    files: MHEAP,
    text: "type heapArena struct { _ sys.NotInHeap spans [pagesPerArena]*mspan",
};

/// Of go1.25 to go1.27.
pub(crate) const HEAP_ARENA_25: Declared = Declared {
    name: "heapArena",
    since: 25,
    until: 27,
    files: MHEAP,
    text: "type heapArena struct { _ sys.NotInHeap spans [pagesPerArena]*mspan pageInUse \
           [pagesPerArena / 8]uint8 pageMarks [pagesPerArena / 8]uint8 pageSpecials \
           [pagesPerArena / 8]uint8 pageUseSpanInlineMarkBits [pagesPerArena / 8]uint8",
};

/// Of go1.21.
pub(crate) const G_21: Declared = Declared {
    name: "g",
    since: 21,
    until: 21,
    files: RUNTIME2,
    text: "type g struct { stack stack stackguard0 uintptr stackguard1 uintptr _panic \
           *_panic _defer *_defer m *m sched gobuf syscallsp uintptr syscallpc uintptr \
           stktopsp uintptr param unsafe.Pointer atomicstatus atomic.Uint32 stackLock uint32 \
           goid uint64 schedlink guintptr waitsince int64 waitreason waitReason preempt bool \
           preemptStop bool preemptShrink bool asyncSafePoint bool paniconfault bool \
           gcscandone bool throwsplit bool activeStackChans bool parkingOnChan atomic.Bool \
           raceignore int8 tracking bool trackingSeq uint8 trackingStamp int64 runnableTime \
           int64 lockedm muintptr sig uint32 writebuf []byte sigcode0 uintptr sigcode1 \
           uintptr sigpc uintptr parentGoid uint64 gopc uintptr ancestors *[]ancestorInfo \
           startpc uintptr racectx uintptr waiting *sudog cgoCtxt []uintptr labels \
           unsafe.Pointer",
};

/// Of go1.22.
pub(crate) const G_22: Declared = Declared {
    name: "g",
    since: 22,
    until: 22,
    files: RUNTIME2,
    text: "type g struct { stack stack stackguard0 uintptr stackguard1 uintptr _panic \
           *_panic _defer *_defer m *m sched gobuf syscallsp uintptr syscallpc uintptr \
           stktopsp uintptr param unsafe.Pointer atomicstatus atomic.Uint32 stackLock uint32 \
           goid uint64 schedlink guintptr waitsince int64 waitreason waitReason preempt bool \
           preemptStop bool preemptShrink bool asyncSafePoint bool paniconfault bool \
           gcscandone bool throwsplit bool activeStackChans bool parkingOnChan atomic.Bool \
           inMarkAssist bool coroexit bool raceignore int8 nocgocallback bool tracking bool \
           trackingSeq uint8 trackingStamp int64 runnableTime int64 lockedm muintptr sig \
           uint32 writebuf []byte sigcode0 uintptr sigcode1 uintptr sigpc uintptr parentGoid \
           uint64 gopc uintptr ancestors *[]ancestorInfo startpc uintptr racectx uintptr \
           waiting *sudog cgoCtxt []uintptr labels unsafe.Pointer",
};

/// Of go1.23.
pub(crate) const G_23: Declared = Declared {
    name: "g",
    since: 23,
    until: 23,
    files: RUNTIME2,
    text: "type g struct { stack stack stackguard0 uintptr stackguard1 uintptr _panic \
           *_panic _defer *_defer m *m sched gobuf syscallsp uintptr syscallpc uintptr \
           syscallbp uintptr stktopsp uintptr param unsafe.Pointer atomicstatus \
           atomic.Uint32 stackLock uint32 goid uint64 schedlink guintptr waitsince int64 \
           waitreason waitReason preempt bool preemptStop bool preemptShrink bool \
           asyncSafePoint bool paniconfault bool gcscandone bool throwsplit bool \
           activeStackChans bool parkingOnChan atomic.Bool inMarkAssist bool coroexit bool \
           raceignore int8 nocgocallback bool tracking bool trackingSeq uint8 trackingStamp \
           int64 runnableTime int64 lockedm muintptr sig uint32 writebuf []byte sigcode0 \
           uintptr sigcode1 uintptr sigpc uintptr parentGoid uint64 gopc uintptr ancestors \
           *[]ancestorInfo startpc uintptr racectx uintptr waiting *sudog cgoCtxt []uintptr \
           labels unsafe.Pointer",
};

/// Of go1.24.
pub(crate) const G_24: Declared = Declared {
    name: "g",
    since: 24,
    until: 24,
    files: RUNTIME2,
    text: "type g struct { stack stack stackguard0 uintptr stackguard1 uintptr _panic \
           *_panic _defer *_defer m *m sched gobuf syscallsp uintptr syscallpc uintptr \
           syscallbp uintptr stktopsp uintptr param unsafe.Pointer atomicstatus \
           atomic.Uint32 stackLock uint32 goid uint64 schedlink guintptr waitsince int64 \
           waitreason waitReason preempt bool preemptStop bool preemptShrink bool \
           asyncSafePoint bool paniconfault bool gcscandone bool throwsplit bool \
           activeStackChans bool parkingOnChan atomic.Bool inMarkAssist bool coroexit bool \
           raceignore int8 nocgocallback bool tracking bool trackingSeq uint8 trackingStamp \
           int64 runnableTime int64 lockedm muintptr fipsIndicator uint8 sig uint32 writebuf \
           []byte sigcode0 uintptr sigcode1 uintptr sigpc uintptr parentGoid uint64 gopc \
           uintptr ancestors *[]ancestorInfo startpc uintptr racectx uintptr waiting *sudog \
           cgoCtxt []uintptr labels unsafe.Pointer",
};

/// Of go1.25.
pub(crate) const G_25: Declared = Declared {
    name: "g",
    since: 25,
    until: 25,
    files: RUNTIME2,
    text: "type g struct { stack stack stackguard0 uintptr stackguard1 uintptr _panic \
           *_panic _defer *_defer m *m sched gobuf syscallsp uintptr syscallpc uintptr \
           syscallbp uintptr stktopsp uintptr param unsafe.Pointer atomicstatus \
           atomic.Uint32 stackLock uint32 goid uint64 schedlink guintptr waitsince int64 \
           waitreason waitReason preempt bool preemptStop bool preemptShrink bool \
           asyncSafePoint bool paniconfault bool gcscandone bool throwsplit bool \
           activeStackChans bool parkingOnChan atomic.Bool inMarkAssist bool coroexit bool \
           raceignore int8 nocgocallback bool tracking bool trackingSeq uint8 trackingStamp \
           int64 runnableTime int64 lockedm muintptr fipsIndicator uint8 syncSafePoint bool \
           runningCleanups atomic.Bool sig uint32 writebuf []byte sigcode0 uintptr sigcode1 \
           uintptr sigpc uintptr parentGoid uint64 gopc uintptr ancestors *[]ancestorInfo \
           startpc uintptr racectx uintptr waiting *sudog cgoCtxt []uintptr labels \
           unsafe.Pointer",
};

/// Of go1.26 and go1.27.
pub(crate) const G_26: Declared = Declared {
    name: "g",
    since: 26,
    until: 27,
    files: RUNTIME2,
    text: "type g struct { stack stack stackguard0 uintptr stackguard1 uintptr _panic \
           *_panic _defer *_defer m *m sched gobuf syscallsp uintptr syscallpc uintptr \
           syscallbp uintptr stktopsp uintptr param unsafe.Pointer atomicstatus \
           atomic.Uint32 stackLock uint32 goid uint64 schedlink guintptr waitsince int64 \
           waitreason waitReason preempt bool preemptStop bool preemptShrink bool \
           asyncSafePoint bool paniconfault bool gcscandone bool throwsplit bool \
           activeStackChans bool parkingOnChan atomic.Bool inMarkAssist bool coroexit bool \
           raceignore int8 nocgocallback bool tracking bool trackingSeq uint8 trackingStamp \
           int64 runnableTime int64 lockedm muintptr fipsIndicator uint8 fipsOnlyBypass bool \
           ditWanted bool syncSafePoint bool runningCleanups atomic.Bool sig uint32 secret \
           int32 writebuf []byte sigcode0 uintptr sigcode1 uintptr sigpc uintptr parentGoid \
           uint64 gopc uintptr ancestors *[]ancestorInfo startpc uintptr racectx uintptr \
           waiting *sudog cgoCtxt []uintptr labels unsafe.Pointer",
};

/// Of go1.21 to go1.24.
pub(crate) const M_21: Declared = Declared {
    name: "m",
    since: 21,
    until: 24,
    files: RUNTIME2,
    text: "type m struct { g0 *g morebuf gobuf divmod uint32 _ uint32 procid uint64",
};

/// Of go1.25 to go1.27.
pub(crate) const M_25: Declared = Declared {
    name: "m",
    since: 25,
    until: 27,
    files: RUNTIME2,
    text: "type m struct { g0 *g morebuf gobuf divmod uint32 procid uint64",
};

/// Of go1.21 to go1.24.
pub(crate) const GOBUF_21: Declared = Declared {
    name: "gobuf",
    since: 21,
    until: 24,
    files: RUNTIME2,
    text: "type gobuf struct { sp uintptr pc uintptr g guintptr ctxt unsafe.Pointer ret uintptr lr \
           uintptr bp uintptr }",
};

/// Of go1.25 to go1.27.
pub(crate) const GOBUF_25: Declared = Declared {
    name: "gobuf",
    since: 25,
    until: 27,
    files: RUNTIME2,
    text: "type gobuf struct { sp uintptr pc uintptr g guintptr ctxt unsafe.Pointer lr uintptr bp \
           uintptr }",
};

/// Of go1.21 to go1.27.
pub(crate) const STACK_21: Declared = Declared {
    name: "stack",
    since: 21,
    until: 27,
    files: RUNTIME2,
    text: "type stack struct { lo uintptr hi uintptr }",
};

/// Of go1.21 to go1.23.
pub(crate) const SPECIAL_21: Declared = Declared {
    name: "special",
    since: 21,
    until: 23,
    files: MHEAP,
    text: "type special struct { _ sys.NotInHeap next *special offset uint16 kind byte }",
};

/// Of go1.24 to go1.27.
pub(crate) const SPECIAL_24: Declared = Declared {
    name: "special",
    since: 24,
    until: 27,
    files: MHEAP,
    text: "type special struct { _ sys.NotInHeap next *special offset uintptr kind byte }",
};

/// Of go1.24 and go1.25.
pub(crate) const CLEANUP_24: Declared = Declared {
    name: "specialCleanup",
    since: 24,
    until: 25,
    files: MHEAP,
    text: "type specialCleanup struct { _ sys.NotInHeap special special fn *funcval id uint64 }",
};

/// Of go1.26 and go1.27.
pub(crate) const CLEANUP_26: Declared = Declared {
    name: "specialCleanup",
    since: 26,
    until: 27,
    files: MHEAP,
    text: "type specialCleanup struct { _ sys.NotInHeap special special cleanup cleanupFn id \
           uint64 }",
};

/// Of go1.21 to go1.24: a block of finalizers that wait.
pub(crate) const FINBLOCK_21: Declared = Declared {
    name: "finblock",
    since: 21,
    until: 24,
    files: &["runtime/mfinal.go"],
    text: "type finblock struct { _ sys.NotInHeap alllink *finblock next *finblock cnt uint32 _ \
           int32",
};

/// Of go1.25 to go1.27.
pub(crate) const FINBLOCK_25: Declared = Declared {
    name: "finBlock",
    since: 25,
    until: 27,
    files: &["runtime/mfinal.go"],
    text: "type finBlock struct { _ sys.NotInHeap alllink *finBlock next *finBlock cnt uint32 _ \
           int32",
};

/// Of go1.21 to go1.27: what stands in front of a profile's stack.
pub(crate) const BUCKET_21: Declared = Declared {
    name: "bucket",
    since: 21,
    until: 27,
    files: &["runtime/mprof.go"],
    text: "type bucket struct { _ sys.NotInHeap next *bucket allnext *bucket typ bucketType hash \
           uintptr size uintptr nstk uintptr }",
};

/// Of go1.21 to go1.26: what is counted of the allocations of one stack in one cycle.
pub(crate) const CYCLE_21: Declared = Declared {
    name: "memRecordCycle",
    since: 21,
    until: 26,
    files: &["runtime/mprof.go"],
    text: "type memRecordCycle struct { allocs, frees uintptr alloc_bytes, free_bytes uintptr }",
};

/// Of go1.27: bytes follow from the size.
pub(crate) const CYCLE_27: Declared = Declared {
    name: "memRecordCycle",
    since: 27,
    until: 27,
    files: &["runtime/mprof.go"],
    text: "type memRecordCycle struct { allocs, frees uintptr }",
};

/// Of go1.21 to go1.27: what is counted of the waits of one stack.
pub(crate) const WAITS_21: Declared = Declared {
    name: "blockRecord",
    since: 21,
    until: 27,
    files: &["runtime/mprof.go"],
    text: "type blockRecord struct { count float64 cycles int64 }",
};

/// Of go1.21 to go1.27: what a function's tables begin with. Never in need of debug
/// information, which does not know the tables.
pub(crate) const FUNC_21: Declared = Declared {
    name: "_func",
    since: 21,
    until: 27,
    files: RUNTIME2,
    text: "type _func struct { sys.NotInHeap entryOff uint32 nameOff int32 args int32 deferreturn \
           uint32 pcsp uint32 pcfile uint32 pcln uint32 npcdata uint32 cuOffset uint32 startLine \
           int32 funcID abi.FuncID flag abi.FuncFlag _ [1]byte nfuncdata uint8 }",
};

const ALL: &[Declared] = &[
    MODULEDATA_21,
    MODULEDATA_23,
    MODULEDATA_26,
    MODULEDATA_27,
    MSPAN_21,
    MSPAN_22,
    MSPAN_25,
    MSPAN_26,
    MHEAP_21,
    MHEAP_22,
    HEAP_ARENA_21,
    HEAP_ARENA_22,
    HEAP_ARENA_23,
    HEAP_ARENA_25,
    G_21,
    G_22,
    G_23,
    G_24,
    G_25,
    G_26,
    M_21,
    M_25,
    GOBUF_21,
    GOBUF_25,
    STACK_21,
    SPECIAL_21,
    SPECIAL_24,
    CLEANUP_24,
    CLEANUP_26,
    FINBLOCK_21,
    FINBLOCK_25,
    BUCKET_21,
    CYCLE_21,
    CYCLE_27,
    WAITS_21,
];

/// A field that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the struct.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// The fields of one struct in one executable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    fields: HashMap<String, Place>,
    /// Bytes up to the end of the last field that is known.
    pub size: u64,
}

impl Record {
    /// The struct `runtime.name` from the debug information, else from its
    /// declaration in release `minor`. A release newer than all that were looked at is
    /// taken for the newest.
    #[must_use]
    pub fn find(
        name: &str,
        dwarf: Option<&Dwarf>,
        target: (Abi, Option<&str>),
        minor: Option<u16>,
    ) -> Option<Self> {
        let by_dwarf = dwarf.and_then(|dwarf| Self::of_dwarf(dwarf, target.0, name));
        by_dwarf.or_else(|| Self::of_declaration(name, target, minor?))
    }

    /// The struct as the debug information describes it.
    fn of_dwarf(dwarf: &Dwarf, abi: Abi, name: &str) -> Option<Self> {
        let read = |at: DieOffset| -> Option<Die> {
            let mut die = dwarf.die(at).ok()?;
            for _ in 0..8 {
                if die.tag != gimli::DW_TAG_typedef {
                    break;
                }
                die = dwarf.die(die.type_ref?).ok()?;
            }
            Some(die)
        };
        let outer = read(dwarf.type_named(&format!("runtime.{name}"))?)?;
        let mut record = Self::default();
        for child in &outer.children {
            let (Some(name), Some(offset), Some(at)) =
                (&child.name, child.member_offset, child.type_ref)
            else {
                continue;
            };
            let size = read(at)
                .and_then(|die| die.byte_size)
                .unwrap_or(u64::from(abi.pointer_size));
            record.add(name, Place { offset, size });
        }
        (!record.fields.is_empty()).then_some(record)
    }

    /// Why a struct is not known where it is not in the debug information.
    pub const UNDECLARED: &str =
        "without debug information, only 64-bit little-endian programs are known";

    /// The struct as release `minor` declares it.
    #[must_use]
    pub fn of_declaration(name: &str, target: (Abi, Option<&str>), minor: u16) -> Option<Self> {
        // Only checked for these; the sizes of some types differ elsewhere.
        if target.0 != Abi::LE64 {
            return None;
        }
        let minor = minor.min(27);
        let declared = ALL
            .iter()
            .find(|row| row.name == name && row.since <= minor && minor <= row.until)?;
        Self::parse(declared.text, target.1, minor)
    }

    fn parse(text: &str, arch: Option<&str>, minor: u16) -> Option<Self> {
        let mut rest = text.split_once('{')?.1.trim();
        let mut record = Self::default();
        let mut end = 0_u64;
        while !rest.is_empty() && rest != "}" {
            let mut names = Vec::new();
            loop {
                let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
                rest = tail;
                match word.strip_suffix(',') {
                    Some(name) => names.push(name),
                    None => {
                        names.push(word);
                        break;
                    }
                }
            }
            // Embedded structs without a size.
            if matches!(names.as_slice(), ["sys.NotInHeap"] | ["heapArenaPtrScalar"]) {
                continue;
            }
            let (kind, tail) = split_type(rest);
            rest = tail;
            let (size, align) = size_of(kind, arch, minor)?;
            for name in names {
                let offset = end.next_multiple_of(align);
                end = offset.checked_add(size)?;
                if name != "_" {
                    record.add(name, Place { offset, size });
                }
            }
        }
        Some(record)
    }

    fn add(&mut self, name: &str, place: Place) {
        self.size = self.size.max(place.offset.saturating_add(place.size));
        self.fields.insert(name.to_owned(), place);
    }

    /// The field named `name`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Place> {
        self.fields.get(name).copied()
    }

    /// Bytes of the struct up to the end of the last of the fields named.
    #[must_use]
    pub fn span_of(&self, names: &[&str]) -> u64 {
        names
            .iter()
            .filter_map(|name| self.field(name))
            .map(|place| place.offset.saturating_add(place.size))
            .max()
            .unwrap_or(0)
    }

    /// The value of the field named `name` in the struct's bytes: of its first word, if
    /// it has several.
    #[must_use]
    pub fn value(&self, abi: Abi, bytes: &[u8], name: &str) -> Option<u64> {
        let place = self.field(name)?;
        let size = place.size.min(u64::from(abi.pointer_size)) as usize;
        abi.uint_at(bytes, usize::try_from(place.offset).ok()?, size)
    }
}

/// A type at the start of `text`, and what follows it. Only brackets hold spaces.
fn split_type(text: &str) -> (&str, &str) {
    let mut depth = 0_u32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 => {
                let (kind, tail) = text.split_at(at);
                return (kind, tail.trim_start());
            }
            _ => {}
        }
    }
    (text, "")
}

/// Size and alignment of a type, on 64-bit Linux.
fn size_of(kind: &str, arch: Option<&str>, minor: u16) -> Option<(u64, u64)> {
    if kind.starts_with("[]") {
        return Some((24, 8));
    }
    if kind.starts_with('*') || kind.starts_with("map[") {
        return Some((8, 8));
    }
    Some(match kind {
        "uintptr" | "uint64" | "float64" | "gclinkptr" | "guintptr" | "unsafe.Pointer"
        | "muintptr" | "int64" | "bucketType" | "atomic.Uintptr" | "atomic.Uint64" => (8, 8),
        "int32" | "uint32" | "atomic.Uint32" => (4, 4),
        // Structs of words that are declared here whole.
        "stack" | "gobuf" | "special" => {
            let nested = Record::of_declaration(kind, (Abi::LE64, arch), minor)?;
            (nested.size.next_multiple_of(8), 8)
        }
        // runtime/mcleanup.go: call, fn, arg.
        "cleanupFn" => (24, 8),
        "uint16" => (2, 2),
        "uint8" | "byte" | "bool" | "int8" | "waitReason" | "atomic.Bool" | "spanClass"
        | "mSpanStateBox" => (1, 1),
        "string" => (16, 8),
        "sys.NotInHeap" => (0, 1),
        // runtime/stack.go: n int32, bytedata *uint8.
        "bitvector" => (16, 8),
        // runtime/mranges.go: base, limit.
        "addrRange" => (16, 8),
        // runtime/runtime2.go: key, beside an empty struct.
        "mutex" => (8, 8),
        // runtime/mpagealloc.go, with the five levels of 64-bit systems; the same
        // number in the debug information of every release, amd64 and arm64.
        "pageAlloc" => (65848, 8),
        // internal/cpu/cpu_{x86,arm64}.go.
        "cpu.CacheLinePad" => match arch {
            Some("amd64") => (64, 1),
            Some("arm64") => (128, 1),
            _ => return None,
        },
        // runtime/malloc.go, arenaL1Bits = 0 on 64-bit Linux.
        "[1 << arenaL1Bits]*[1 << arenaL2Bits]*heapArena" => (8, 8),
        // heapArenaBytes of 64 MiB, a bit for each word of it.
        "[heapArenaBitmapWords]uintptr" => (1 << 20, 8),
        "[heapArenaBitmapWords / 8]uint8" => (1 << 14, 1),
        // 8192 pages of 8 KiB.
        "[pagesPerArena]*mspan" => (1 << 16, 8),
        "[pagesPerArena / 8]uint8" => (1 << 10, 1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, minor: u16, field: &str) -> u64 {
        let record = Record::of_declaration(name, (Abi::LE64, Some("amd64")), minor).unwrap();
        record.field(field).unwrap().offset
    }

    // The expected numbers are those of the debug information of go1.21.13 to go1.27.3.
    #[test]
    fn declarations_give_the_offsets_of_the_debug_information() {
        for (minor, expected) in [
            (21, [296, 304, 536, 584]),
            (22, [296, 304, 536, 584]),
            (23, [296, 304, 536, 576]),
            (25, [296, 304, 536, 576]),
            (26, [296, 304, 544, 584]),
            (27, [296, 312, 520, 560]),
        ] {
            let fields = ["types", "etypes", "gcdatamask", "next"];
            assert_eq!(
                fields.map(|field| at("moduledata", minor, field)),
                expected,
                "go1.{minor}"
            );
        }
        let fields = ["freeindex", "nelems", "allocBits", "state", "elemsize"];
        assert_eq!(
            fields.map(|field| at("mspan", 21, field)),
            [48, 56, 72, 107, 112]
        );
        for minor in [22, 25, 27] {
            assert_eq!(
                fields.map(|field| at("mspan", minor, field)),
                [48, 50, 64, 99, 104]
            );
            assert_eq!(at("mspan", minor, "largeType"), 152);
            assert_eq!(at("mheap", minor, "arenas"), 66008);
        }
        assert_eq!(at("mheap", 21, "allspans"), 65864);
        assert_eq!(at("mheap", 21, "arenas"), 65944);
        assert_eq!(at("heapArena", 21, "spans"), 1_064_960);
        assert_eq!(at("heapArena", 22, "spans"), 0);
        assert_eq!(at("heapArena", 27, "pageUseSpanInlineMarkBits"), 68608);
        for (minor, expected, procid) in [
            (21, [112, 144, 152], 72),
            (22, [112, 144, 152], 72),
            (23, [112, 152, 160], 72),
            (24, [112, 152, 160], 72),
            (25, [104, 144, 152], 64),
            (27, [104, 144, 152], 64),
        ] {
            let fields = ["syscallsp", "atomicstatus", "goid"];
            assert_eq!(
                fields.map(|field| at("g", minor, field)),
                expected,
                "go1.{minor}"
            );
            assert_eq!(at("g", minor, "m"), 48);
            assert_eq!(at("m", minor, "procid"), procid);
        }
        let labels = [21, 22, 23, 24, 25, 26, 27].map(|minor| at("g", minor, "labels"));
        assert_eq!(labels, [344, 344, 352, 352, 344, 352, 352]);
        assert_eq!((at("gobuf", 24, "lr"), at("gobuf", 25, "lr")), (40, 32));
        assert_eq!((at("gobuf", 24, "bp"), at("gobuf", 25, "bp")), (48, 40));
    }

    #[test]
    fn every_release_has_every_struct() {
        for minor in 21..=28 {
            for name in [
                "moduledata",
                "mspan",
                "mheap",
                "heapArena",
                "g",
                "m",
                "gobuf",
                "stack",
                "special",
                "bucket",
            ] {
                for arch in ["amd64", "arm64"] {
                    let target = (Abi::LE64, Some(arch));
                    assert!(
                        Record::of_declaration(name, target, minor).is_some(),
                        "{name} {minor}"
                    );
                }
            }
        }
    }
}
