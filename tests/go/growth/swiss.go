//go:build go1.26 || (go1.24 && goexperiment.swissmap)

package main

import "unsafe"

// header mirrors the first fields of internal/runtime/maps.Map.
type header struct {
	used        uint64
	seed        uintptr
	dirPtr      unsafe.Pointer
	dirLen      int
	globalDepth uint8
}

// table mirrors the first fields of internal/runtime/maps.table.
type table struct {
	used, capacity, growthLeft uint16
	localDepth                 uint8
	index                      int
}

// state is what a growth changes.
type state struct {
	storage       bool
	tables, slots int
	dirLen        int
}

func look(p unsafe.Pointer) state {
	m := (*header)(p)
	s := state{storage: m.dirPtr != nil, dirLen: m.dirLen}
	for i := 0; i < m.dirLen; {
		t := *(**table)(unsafe.Add(m.dirPtr, 8*i))
		s.tables++
		s.slots += int(t.capacity)
		i += 1 << (m.globalDepth - t.localDepth)
	}
	return s
}

// kind names the growth between two states.
func kind(before, after state) string {
	switch {
	case !before.storage:
		return "allocate"
	case before.dirLen == 0:
		return "to-table"
	case after.tables > before.tables:
		return "table-split"
	default:
		return "table-double"
	}
}

// A Swiss map grows in one go, and has no growth that keeps its size.
func growing(unsafe.Pointer) bool { return false }

// crowded is true, so that nobody waits for it.
func crowded(unsafe.Pointer, int) bool { return true }

// rounds is how often replace tries.
const rounds = 2000
