//go:build go1.26 || (go1.24 && goexperiment.swissmap)

package main

import "unsafe"

// header mirrors the first fields of internal/runtime/maps.Map.
type header struct {
	used   uint64
	seed   uintptr
	dirPtr unsafe.Pointer
	dirLen int
}

// table mirrors internal/runtime/maps.table.
type table struct {
	used, capacity, growthLeft uint16
	localDepth                 uint8
	index                      int
	groups                     unsafe.Pointer
	lengthMask                 uint64
}

type groups struct {
	table, block address
	slots        int
}

type state struct {
	storage address // the group or the directory
	dirLen  int
	tables  []groups
}

func look(p unsafe.Pointer) state {
	m := (*header)(p)
	s := state{storage: address(uintptr(m.dirPtr)), dirLen: m.dirLen}
	var before *table
	for i := 0; i < m.dirLen; i++ {
		t := *(**table)(unsafe.Add(m.dirPtr, 8*i))
		if t != before {
			s.tables = append(s.tables, groups{address(uintptr(unsafe.Pointer(t))), address(uintptr(t.groups)), int(t.capacity)})
		}
		before = t
	}
	return s
}

func created(s state) (found []change) {
	if s.dirLen == 0 {
		if s.storage != 0 {
			found = append(found, change{Op: "create", Block: s.storage, Capacity: 8})
		}
		return found
	}
	found = append(found, change{Op: "directory", Block: s.storage})
	for i, t := range s.tables {
		op := "create"
		if i > 0 {
			op = "grow" // the same map's next table
		}
		found = append(found, change{Op: op, Block: t.block, Capacity: t.slots}, change{Op: "table", Block: t.table, Capacity: t.slots})
	}
	return found
}

func missing(from, in []groups) (found []groups) {
	for _, t := range from {
		known := false
		for _, other := range in {
			known = known || other == t
		}
		if !known {
			found = append(found, t)
		}
	}
	return found
}

func changes(before, now state) (found []change) {
	if before.storage == now.storage && len(before.tables) == len(now.tables) {
		same := true
		for i := range now.tables {
			same = same && now.tables[i] == before.tables[i]
		}
		if same {
			return nil
		}
	}
	if now.dirLen == 0 {
		return []change{{Op: "grow", Block: now.storage, Capacity: 8}}
	}
	old := missing(before.tables, now.tables)
	if before.dirLen == 0 && before.storage != 0 {
		old = []groups{{0, before.storage, 8}}
	}
	if now.storage != before.storage {
		c := change{Op: "directory", Block: now.storage}
		if before.dirLen != 0 {
			c.OldBlock = before.storage
		}
		found = append(found, c)
	}
	op := "grow"
	if len(now.tables) > len(before.tables) && before.dirLen != 0 {
		op = "split"
	}
	if len(old) != 1 {
		panic("an insert replaced more than one table")
	}
	for _, t := range missing(now.tables, before.tables) {
		found = append(found,
			change{Op: "table", Block: t.table, Capacity: t.slots},
			change{Op: op, Block: t.block, Capacity: t.slots, OldBlock: old[0].block, OldCapacity: old[0].slots})
	}
	return append(found, change{Op: "release", OldBlock: old[0].block, OldCapacity: old[0].slots})
}

// blocks are the group, or the directory, its tables and their groups.
func blocks(p unsafe.Pointer) (found []address) {
	s := look(p)
	if s.storage != 0 {
		found = append(found, s.storage)
	}
	for _, t := range s.tables {
		found = append(found, t.table, t.block)
	}
	return found
}
