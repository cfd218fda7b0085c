//! What a trace tells that concerns maps and memory.

use crate::events::Frame;

/// A lane of things that last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The collector's concurrent mark phase.
    Gc,
    /// All goroutines stopped.
    StopTheWorld,
}

/// Something a trace tells. Times are nanoseconds on the trace's own clock, which is
/// `CLOCK_MONOTONIC` since Go 1.22 on Linux; `stack` is to be asked of the reader by number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fact<'a> {
    /// Clocks read at once (Go 1.25 and later, each generation).
    Clock {
        /// The trace's clock.
        t_ns: u64,
        /// `CLOCK_MONOTONIC`.
        mono_ns: u64,
        /// Nanoseconds since 1970.
        wall_ns: u64,
    },
    /// A collection's mark phase, or a stop of the world, began.
    Begin {
        /// When.
        t_ns: u64,
        /// What.
        lane: Lane,
        /// Why ("GC sweep termination"); of a collection empty, or [`super::BEFORE`].
        reason: &'a str,
        /// Of `StopTheWorld`: who.
        goid: u64,
    },
    /// The last one of its lane ended.
    End {
        /// When.
        t_ns: u64,
        /// What.
        lane: Lane,
    },
    /// Bytes of live and unswept heap objects.
    HeapAlloc {
        /// When.
        t_ns: u64,
        /// Bytes.
        bytes: u64,
    },
    /// The next collection is to begin before the heap is this large.
    HeapGoal {
        /// When.
        t_ns: u64,
        /// Bytes.
        bytes: u64,
    },
    /// `trace.Log`.
    Log {
        /// When.
        t_ns: u64,
        /// Who; 0 for none.
        goid: u64,
        /// The task; 0 for none.
        task: u64,
        /// Its category.
        category: &'a str,
        /// Its text.
        message: &'a str,
        /// Where: a stack's number in the reader; 0 for none.
        stack: u32,
    },
    /// `trace.NewTask`.
    TaskBegin {
        /// When.
        t_ns: u64,
        /// Who.
        goid: u64,
        /// Its number.
        task: u64,
        /// The task it is part of.
        parent: u64,
        /// Its type.
        name: &'a str,
    },
    /// `Task.End`.
    TaskEnd {
        /// When.
        t_ns: u64,
        /// Who.
        goid: u64,
        /// Its number.
        task: u64,
    },
    /// `trace.StartRegion`.
    RegionBegin {
        /// When.
        t_ns: u64,
        /// Who.
        goid: u64,
        /// The task; 0 for none.
        task: u64,
        /// Its type.
        name: &'a str,
    },
    /// `Region.End`.
    RegionEnd {
        /// When.
        t_ns: u64,
        /// Who.
        goid: u64,
        /// The task.
        task: u64,
        /// Its type.
        name: &'a str,
    },
    /// A heap object was allocated, or was there when the trace began
    /// (`GODEBUG=traceallocfree=1`, Go 1.23 and later).
    Alloc {
        /// When.
        t_ns: u64,
        /// The goroutine that allocated; 0 where nobody can tell.
        goid: u64,
        /// The slot's address: the object's, less a malloc header. Tiny objects without
        /// pointers share slots of 16 bytes: each of them is told under the slot's address.
        address: u64,
        /// Bytes of the slot, where its span is known.
        slot: Option<u64>,
        /// The type's name as the runtime has it; empty for none.
        type_name: &'a str,
        /// The type's size.
        type_size: u64,
        /// It was there before.
        existed: bool,
    },
    /// The sweeper freed a heap object.
    Free {
        /// When.
        t_ns: u64,
        /// The slot's address.
        address: u64,
    },
}

impl Fact<'_> {
    /// When.
    #[must_use]
    pub fn t_ns(&self) -> u64 {
        match *self {
            Self::Clock { t_ns, .. }
            | Self::Begin { t_ns, .. }
            | Self::End { t_ns, .. }
            | Self::HeapAlloc { t_ns, .. }
            | Self::HeapGoal { t_ns, .. }
            | Self::Log { t_ns, .. }
            | Self::TaskBegin { t_ns, .. }
            | Self::TaskEnd { t_ns, .. }
            | Self::RegionBegin { t_ns, .. }
            | Self::RegionEnd { t_ns, .. }
            | Self::Alloc { t_ns, .. }
            | Self::Free { t_ns, .. } => t_ns,
        }
    }
}

/// Takes the facts of a trace in the order of time.
pub trait Sink {
    /// A fact; `stack` tells the frames of a stack's number, leaf first, while the call lasts.
    /// Returns whether to go on.
    fn fact(&mut self, fact: &Fact<'_>, stack: &dyn Fn(u32) -> Vec<Frame>) -> bool;
}
