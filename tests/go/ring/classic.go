//go:build !go1.24 || (!go1.26 && !goexperiment.swissmap)

package main

import "unsafe"

// header mirrors the first fields of runtime.hmap, the same from Go 1.21 to 1.25.
type header struct {
	count               int
	flags, B            uint8
	noverflow           uint16
	hash0               uint32
	buckets, oldbuckets unsafe.Pointer
}

type state struct {
	buckets, old address
	b            uint8
}

func look(p unsafe.Pointer) state {
	h := (*header)(p)
	return state{address(uintptr(h.buckets)), address(uintptr(h.oldbuckets)), h.B}
}

func created(s state) []change {
	if s.buckets == 0 {
		return nil
	}
	return []change{{Op: "create", Block: s.buckets, Capacity: 8 << s.b}}
}

func changes(before, now state) (found []change) {
	evacuated := func(old address, slots int) {
		found = append(found, change{Op: "evacuated", OldBlock: old, OldCapacity: slots})
	}
	// How many slots an old array has follows from the growth that made it old.
	if before.old != 0 && (now.old != before.old) {
		evacuated(before.old, 0)
	}
	if now.buckets == before.buckets {
		return found
	}
	c := change{Op: "grow", Block: now.buckets, Capacity: 8 << now.b}
	if before.buckets != 0 {
		c.OldBlock, c.OldCapacity = before.buckets, 8<<before.b
		if now.b == before.b {
			c.Op = "grow-same-size"
		}
	}
	found = append(found, c)
	if before.buckets != 0 && now.old == 0 {
		evacuated(before.buckets, 0)
	}
	return found
}

// mapType mirrors what leads to the bucket's size in abi.MapType.
type mapType struct {
	_      [48]byte
	_      [2]unsafe.Pointer
	bucket *struct{ size uintptr }
}

// blocks are the arrays and all buckets on chains.
func blocks(p unsafe.Pointer) (found []address) {
	h := (*header)(p)
	size := bucketSize(p)
	chains := func(array unsafe.Pointer, count int) {
		found = append(found, address(uintptr(array)))
		for i := 0; i < count; i++ {
			bucket := unsafe.Add(array, uintptr(i)*size)
			for {
				bucket = *(*unsafe.Pointer)(unsafe.Add(bucket, size-8))
				if bucket == nil {
					break
				}
				found = append(found, address(uintptr(bucket)))
			}
		}
	}
	if h.buckets != nil {
		chains(h.buckets, 1<<h.B)
	}
	return found
}

// bucketSize is told by the type of the map that has this header.
func bucketSize(p unsafe.Pointer) uintptr {
	lock.Lock()
	defer lock.Unlock()
	for _, w := range all {
		if w.header == p {
			typ := (*[2]unsafe.Pointer)(unsafe.Pointer(&w.keep))[0]
			return (*mapType)(typ).bucket.size
		}
	}
	panic("no such map")
}
