//go:build go1.26 || (go1.24 && goexperiment.swissmap)

package main

import "unsafe"

const family = "swiss"

// header mirrors the first fields of internal/runtime/maps.Map.
type header struct {
	used        uint64
	seed        uintptr
	dirPtr      unsafe.Pointer
	dirLen      int
	globalDepth uint8
}

// table mirrors internal/runtime/maps.table.
type table struct {
	used, capacity, growthLeft uint16
	localDepth                 uint8
	index                      int
	groups                     unsafe.Pointer
	lengthMask                 uint64
}

// change is what a growth did to the storage: tables (none for a map of one group) and where their
// groups are, before and after; or, for a directory, where it is and how long.
type change struct {
	OldCapacity int    `json:"old_capacity"` // of each old table, in slots
	NewCapacity int    `json:"new_capacity"`
	OldTables   []addr `json:"old_tables"`
	NewTables   []addr `json:"new_tables"`
	OldGroups   []addr `json:"old_groups"`
	NewGroups   []addr `json:"new_groups"`
	OldDir      addr   `json:"old_dir"`
	NewDir      addr   `json:"new_dir"`
	OldDirLen   int    `json:"old_dir_len"`
	NewDirLen   int    `json:"new_dir_len"`
	LocalDepth  uint8  `json:"local_depth"` // of the new tables
}

// shape is the end of a map, or its beginning.
type shape struct {
	Dir      addr `json:"dir"`
	DirLen   int  `json:"dir_len"`
	Tables   int  `json:"tables"`
	Capacity int  `json:"capacity"` // slots of all tables
}

type entry struct {
	table, groups addr
	capacity      int
}

// watch is what the header of a map and its directory said last.
type watch struct {
	header    *header
	dirPtr    unsafe.Pointer
	directory []addr
	entries   []entry // of the directory
	count     int
}

func newWatch(p unsafe.Pointer) watch {
	w := watch{header: (*header)(p)}
	w.dirPtr = w.header.dirPtr
	w.keep(w.read())
	return w
}

// words are the entries of a directory as bytes, so that two of them are compared at once.
func words(first unsafe.Pointer, count int) string { return unsafe.String((*byte)(first), 8*count) }

// same tells whether the directory is as it was. A table is replaced by others while it still exists,
// so no new one ever has its address.
func (w *watch) same() bool {
	m := w.header
	return m.dirPtr == w.dirPtr && m.dirLen == len(w.directory) &&
		(m.dirLen == 0 || words(m.dirPtr, m.dirLen) == words(unsafe.Pointer(&w.directory[0]), m.dirLen))
}

func (w *watch) read() []entry {
	entries := make([]entry, w.header.dirLen)
	for i := range entries {
		t := *(**table)(unsafe.Add(w.header.dirPtr, 8*i))
		entries[i] = entry{addr(uintptr(unsafe.Pointer(t))), addr(uintptr(t.groups)), int(t.capacity)}
	}
	return entries
}

func (w *watch) keep(entries []entry) {
	w.entries, w.directory = entries, make([]addr, len(entries))
	for i, e := range entries {
		w.directory[i] = e.table
	}
}

// look calls found for what grew since the last look.
func (w *watch) look(found func(kind string, c change)) {
	m := w.header
	if w.same() {
		w.count = int(m.used)
		return
	}
	c := change{
		OldDir: addr(uintptr(w.dirPtr)), NewDir: addr(uintptr(m.dirPtr)),
		OldDirLen: len(w.directory), NewDirLen: m.dirLen,
	}
	before, after := w.entries, w.read()
	if m.dirLen == 0 {
		c.NewCapacity, c.NewGroups = 8, []addr{c.NewDir}
		c.OldDir, c.NewDir = 0, 0
		found("allocate", c)
	} else if len(before) == 0 {
		c.OldCapacity, c.OldGroups = 8, []addr{c.OldDir}
		c.OldDir = 0
		c.added(after[0])
		found("to-table", c)
	} else {
		shift := 0
		for len(before)<<shift < len(after) {
			shift++
		}
		for i, e := range after {
			old := before[i>>shift]
			if e.table == old.table {
				continue
			}
			if n := len(c.OldTables); n == 0 || c.OldTables[n-1] != old.table {
				c.OldTables = append(c.OldTables, old.table)
				c.OldGroups = append(c.OldGroups, old.groups)
				c.OldCapacity = old.capacity
			}
			c.added(e)
		}
		kind := "table-double"
		if len(c.NewTables) == 2 {
			kind = "table-split"
		}
		if len(c.OldTables) != 1 || len(c.NewTables) > 2 || shift > 1 {
			fail("a directory changed in a way that is no growth")
		}
		// The directory doubles within the split.
		if shift == 1 {
			found(kind, c)
			found("directory-double", change{
				OldDir: c.OldDir, NewDir: c.NewDir, OldDirLen: c.OldDirLen, NewDirLen: c.NewDirLen,
			})
		} else {
			found(kind, c)
		}
	}
	w.dirPtr, w.count = m.dirPtr, int(m.used)
	w.keep(after)
}

// added notes a table that is new, once.
func (c *change) added(e entry) {
	if n := len(c.NewTables); n != 0 && c.NewTables[n-1] == e.table {
		return
	}
	c.NewTables = append(c.NewTables, e.table)
	c.NewGroups = append(c.NewGroups, e.groups)
	c.NewCapacity = e.capacity
	c.LocalDepth = (*table)(e.pointer()).localDepth
}

// pointer is for a table that is in a directory right now.
func (e *entry) pointer() unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&e.table)) }

func (w *watch) shape() shape {
	s := shape{DirLen: len(w.entries)}
	if s.DirLen == 0 {
		if w.dirPtr != nil {
			s.Capacity = 8
		}
		return s
	}
	s.Dir = addr(uintptr(w.dirPtr))
	for i, e := range w.entries {
		if i == 0 || e.table != w.entries[i-1].table {
			s.Tables++
			s.Capacity += e.capacity
		}
	}
	return s
}
