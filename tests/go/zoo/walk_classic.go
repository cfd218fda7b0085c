//go:build !go1.24 || (!go1.26 && !goexperiment.swissmap)

package main

import (
	"reflect"
	"unsafe"
)

const family = "classic"

// mapExtra mirrors runtime.mapextra.
type mapExtra struct {
	overflow, oldoverflow *[]unsafe.Pointer
	nextOverflow          unsafe.Pointer
}

// mapType mirrors the classic abi.MapType.
type mapType struct {
	abiType
	Key, Elem, Bucket *abiType
	Hasher            func(unsafe.Pointer, uintptr) uintptr
	KeySize, ElemSize uint8
	BucketSize        uint16
	Flags             uint32
}

const (
	flagIndirectKey  = 1
	flagIndirectElem = 2

	flagSameSizeGrow = 8

	topEmptyRest  = 0
	topEmptyOne   = 1
	topEvacuatedX = 2
	topMinimum    = 5
)

func classicType(t reflect.Type) *mapType {
	return (*mapType)(descriptor(t))
}

// bucket is one bmap in memory.
type bucket struct {
	p unsafe.Pointer
	t *mapType
}

func (b bucket) top(i int) uint8 { return *(*uint8)(unsafe.Add(b.p, i)) }

func (b bucket) overflow() bucket {
	return bucket{*(*unsafe.Pointer)(unsafe.Add(b.p, int(b.t.BucketSize)-wordSize)), b.t}
}

// evacuated looks at the first slot only, as the runtime does.
func (b bucket) evacuated() bool {
	return b.top(0) >= topEvacuatedX && b.top(0) < topMinimum
}

func (b bucket) slot(i int) slot {
	key := unsafe.Add(b.p, 8+i*int(b.t.KeySize))
	elem := unsafe.Add(b.p, 8+8*int(b.t.KeySize)+i*int(b.t.ElemSize))
	if b.t.Flags&flagIndirectKey != 0 {
		key = *(*unsafe.Pointer)(key)
	}
	if b.t.Flags&flagIndirectElem != 0 {
		elem = *(*unsafe.Pointer)(elem)
	}
	return slot{key, elem}
}

func (h *hmap) main(t *mapType, i int) bucket {
	return bucket{unsafe.Add(h.buckets, i*int(t.BucketSize)), t}
}

func (h *hmap) old(t *mapType, i int) bucket {
	return bucket{unsafe.Add(h.oldbuckets, i*int(t.BucketSize)), t}
}

// oldCount is the number of main buckets in the old array.
func (h *hmap) oldCount() int {
	switch {
	case h.oldbuckets == nil:
		return 0
	case h.flags&flagSameSizeGrow != 0:
		return 1 << h.B
	}
	return 1 << (h.B - 1)
}

// allocated is the number of buckets the runtime got for an array of 2^B, preallocated overflow
// buckets included. It asks append for the size class, as makeBucketArray asks roundupsize.
func (h *hmap) allocated(t *mapType) int {
	n := 1 << h.B
	if h.B < 4 {
		return n
	}
	n += n >> 4
	size := n * int(t.BucketSize)
	if t.Bucket.PtrBytes == 0 {
		size = cap(append([]byte(nil), make([]byte, size)...))
	} else {
		size = wordSize * cap(append([]*byte(nil), make([]*byte, size/wordSize)...))
	}
	return size / int(t.BucketSize)
}

// walk reads the map whose header is at p: what it is made of, and its live slots.
func walk(t reflect.Type, p unsafe.Pointer) (shape, []slot) {
	mt := classicType(t)
	c := &classicShape{ChainLengths: []int{}, Growth: "none"}
	s := shape{
		Family:       family,
		SlotSize:     int(mt.KeySize) + int(mt.ElemSize),
		BucketSize:   int(mt.BucketSize),
		IndirectKey:  mt.Flags&flagIndirectKey != 0,
		IndirectElem: mt.Flags&flagIndirectElem != 0,
		classicShape: c,
	}
	if p == nil {
		return s, nil
	}
	h := (*hmap)(p)
	c.B, c.NOverflow = int(h.B), int(h.noverflow)
	var slots []slot
	if h.buckets != nil {
		s.Main = 1 << h.B
		// No pointers: these may be one past the end of an object, which the collector rejects.
		tail := uintptr(h.buckets) + uintptr(s.Main*s.BucketSize)
		end := uintptr(h.buckets) + uintptr(h.allocated(mt)*s.BucketSize)
		for i := 0; i < s.Main; i++ {
			length := -1
			for b := h.main(mt, i); b.p != nil; b = b.overflow() {
				length++
				if length > 0 && uintptr(b.p) >= tail && uintptr(b.p) < end {
					c.OverflowInTail++
				}
				live := 0
				for j := 0; j < 8; j++ {
					switch top := b.top(j); {
					case top == topEmptyRest:
						s.Empty++
					case top == topEmptyOne:
						s.Tombstones++
					case top >= topMinimum:
						live++
						slots = append(slots, b.slot(j))
					default:
						fail("%v: evacuated slot in the current array", t)
					}
				}
				s.bucket(live)
			}
			for len(c.ChainLengths) <= length {
				c.ChainLengths = append(c.ChainLengths, 0)
			}
			c.ChainLengths[length]++
			s.Overflow += length
		}
		s.Capacity = 8 * s.Buckets
	}
	c.OldBuckets = h.oldCount()
	if c.OldBuckets > 0 {
		c.Growth = "double"
		if h.flags&flagSameSizeGrow != 0 {
			c.Growth = "same-size"
		}
	}
	for i := 0; i < c.OldBuckets; i++ {
		if h.old(mt, i).evacuated() {
			c.Evacuated++
			continue
		}
		for b := h.old(mt, i); b.p != nil; b = b.overflow() {
			c.OldSlots += 8
			for j := 0; j < 8; j++ {
				if b.top(j) >= topMinimum {
					c.OldLive++
					slots = append(slots, b.slot(j))
				}
			}
		}
	}
	s.Live = len(slots)
	if s.Live != h.count {
		fail("%v: %d live slots, count %d", t, s.Live, h.count)
	}
	if s.Live-c.OldLive+s.Empty+s.Tombstones != s.Capacity {
		fail("%v: slots do not add up to capacity %d", t, s.Capacity)
	}
	if h.B < 16 && c.NOverflow != s.Overflow {
		fail("%v: %d overflow buckets, noverflow %d", t, s.Overflow, c.NOverflow)
	}
	return s, slots
}

// growing returns the growth of a map and how many of its old buckets are evacuated.
func growing(t reflect.Type, p unsafe.Pointer) (sameSize bool, evacuated, old int) {
	h, mt := (*hmap)(p), classicType(t)
	old = h.oldCount()
	for i := 0; i < old; i++ {
		if h.old(mt, i).evacuated() {
			evacuated++
		}
	}
	return h.flags&flagSameSizeGrow != 0, evacuated, old
}

// hashOf returns the hash the map gives to a key.
func hashOf(t reflect.Type, p, key unsafe.Pointer) uintptr {
	return classicType(t).Hasher(key, uintptr((*hmap)(p).hash0))
}

// home returns the bucket the runtime looks into first for the key.
func home(t reflect.Type, p, key unsafe.Pointer) int {
	return int(hashOf(t, p, key) & (1<<(*hmap)(p).B - 1))
}

// uneven tells whether some table of a Swiss map fills several directory entries; true here, where
// there are no tables, so that nobody waits for it.
func uneven(unsafe.Pointer) bool { return true }

// scarred tells whether deletions left marks in the map: always, in a classic map.
func scarred(reflect.Type, unsafe.Pointer) bool { return true }
