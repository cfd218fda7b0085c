//go:build go1.26 || (go1.24 && goexperiment.swissmap)

package main

import (
	"reflect"
	"unsafe"
)

const family = "swiss"

// mapHeader mirrors internal/runtime/maps.Map.
type mapHeader struct {
	used        uint64
	seed        uintptr
	dirPtr      unsafe.Pointer
	dirLen      int
	globalDepth uint8
	globalShift uint8
	writing     uint8
	_           bool // tombstonePossible since Go 1.25
	clearSeq    uint64
}

// table mirrors internal/runtime/maps.table.
type table struct {
	used, capacity, growthLeft uint16
	localDepth                 uint8
	index                      int
	groups                     unsafe.Pointer
	lengthMask                 uint64
}

const (
	ctrlEmpty   = 0x80
	ctrlDeleted = 0xFE
)

func (m *mapHeader) entry(i int) *table {
	return *(**table)(unsafe.Add(m.dirPtr, i*wordSize))
}

// tables returns the distinct tables: one that is not as deep as the directory has several entries.
func (m *mapHeader) tables() []*table {
	var ts []*table
	for i := 0; i < m.dirLen; {
		t := m.entry(i)
		n := 1 << (m.globalDepth - t.localDepth)
		for j := i; j < i+n; j++ {
			if m.entry(j) != t || t.index != i {
				fail("directory entry %d is not the table of index %d", j, t.index)
			}
		}
		ts = append(ts, t)
		i += n
	}
	return ts
}

func (s *shape) group(mt *mapType, g unsafe.Pointer) (slots []slot) {
	// The runtime numbers the bytes of the word from the least significant, on every machine.
	word := *(*uint64)(g)
	for i := 0; i < 8; i++ {
		switch ctrl := uint8(word >> (8 * i)); {
		case ctrl == ctrlEmpty:
			s.Empty++
		case ctrl == ctrlDeleted:
			s.Tombstones++
		case ctrl < ctrlEmpty:
			key := unsafe.Add(g, mt.keyOffset(i))
			elem := unsafe.Add(g, mt.elemOffset(i))
			if s.IndirectKey {
				key = *(*unsafe.Pointer)(key)
			}
			if s.IndirectElem {
				elem = *(*unsafe.Pointer)(elem)
			}
			slots = append(slots, slot{key, elem})
		default:
			fail("control byte %#x", ctrl)
		}
	}
	s.bucket(len(slots))
	s.Main++
	return slots
}

// walk reads the map whose header is at p: what it is made of, and its live slots.
func walk(t reflect.Type, p unsafe.Pointer) (shape, []slot) {
	mt := (*mapType)(descriptor(t))
	w := &swissShape{}
	s := shape{
		Family:       family,
		SlotSize:     mt.slotSize(),
		BucketSize:   int(mt.GroupSize),
		IndirectKey:  mt.Flags&4 != 0,
		IndirectElem: mt.Flags&8 != 0,
		swissShape:   w,
	}
	if p == nil {
		return s, nil
	}
	m := (*mapHeader)(p)
	w.DirLen, w.GlobalDepth = m.dirLen, int(m.globalDepth)
	var slots []slot
	switch {
	case m.dirPtr == nil:
	case m.dirLen == 0:
		w.Small = true
		s.Capacity = 8
		slots = s.group(mt, m.dirPtr)
	default:
		for _, tab := range m.tables() {
			before, dead := len(slots), s.Tombstones
			for i := 0; i <= int(tab.lengthMask); i++ {
				slots = append(slots, s.group(mt, unsafe.Add(tab.groups, i*int(mt.GroupSize)))...)
			}
			limit := int(tab.capacity) * 7 / 8
			if tab.capacity <= 8 {
				limit = int(tab.capacity) - 1
			}
			dead = s.Tombstones - dead
			if len(slots)-before != int(tab.used) || dead != limit-int(tab.used)-int(tab.growthLeft) {
				fail("%v: table %d contradicts its groups", t, tab.index)
			}
			w.Tables++
			w.GrowthLeft += int(tab.growthLeft)
			w.Aliased += 1<<(m.globalDepth-tab.localDepth) - 1
			s.Capacity += int(tab.capacity)
		}
	}
	s.Live = len(slots)
	if s.Live != int(m.used) {
		fail("%v: %d live slots, used %d", t, s.Live, m.used)
	}
	if s.Live+s.Empty+s.Tombstones != s.Capacity {
		fail("%v: slots do not add up to capacity %d", t, s.Capacity)
	}
	return s, slots
}

// growing has nothing to tell: a Swiss table grows in one go.
func growing(reflect.Type, unsafe.Pointer) (sameSize bool, evacuated, old int) {
	return false, 0, 0
}

// hashOf returns the hash the map gives to a key.
func hashOf(t reflect.Type, p, key unsafe.Pointer) uintptr {
	return (*mapType)(descriptor(t)).Hasher(key, (*mapHeader)(p).seed)
}

// home returns the group of a one-table map the runtime looks into first for the key.
func home(t reflect.Type, p, key unsafe.Pointer) int {
	return int(hashOf(t, p, key) >> 7 & uintptr((*mapHeader)(p).entry(0).lengthMask))
}

// uneven tells whether a map of three tables or more has one with several directory entries.
func uneven(p unsafe.Pointer) bool {
	m := (*mapHeader)(p)
	n := len(m.tables())
	return n >= 3 && n < m.dirLen
}

// scarred tells whether the map has a tombstone.
func scarred(t reflect.Type, p unsafe.Pointer) bool {
	s, _ := walk(t, p)
	return s.Tombstones > 0
}
