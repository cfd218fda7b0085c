//go:build !go1.24 || (!go1.26 && !goexperiment.swissmap)

package main

import "unsafe"

const family = "classic"

// header mirrors the first fields of runtime.hmap, the same from Go 1.21 to 1.25.
type header struct {
	count               int
	flags, B            uint8
	noverflow           uint16
	hash0               uint32
	buckets, oldbuckets unsafe.Pointer
}

// change is what a growth did to the storage. It begins with an array of 2^old_B buckets, or none, and
// ends with one of 2^new_B; overflow is how many overflow buckets there were at its beginning.
type change struct {
	OldB       uint8  `json:"old_B"`
	NewB       uint8  `json:"new_B"`
	OldBuckets addr   `json:"old_buckets"`
	NewBuckets addr   `json:"new_buckets"`
	Overflow   uint16 `json:"overflow"`
}

// shape is the end of a map, or its beginning.
type shape struct {
	B             uint8 `json:"B"`
	Buckets       addr  `json:"buckets"`
	Overflow      int   `json:"overflow"`       // overflow buckets ever linked
	OverflowExact bool  `json:"overflow_exact"` // the runtime counts them below B = 16 only
}

// watch is what the header of a map said last.
type watch struct {
	header    *header
	buckets   unsafe.Pointer
	b         uint8
	noverflow uint16
	count     int
	overflow  int
	inexact   bool
}

func newWatch(p unsafe.Pointer) watch {
	h := (*header)(p)
	return watch{header: h, buckets: h.buckets, b: h.B}
}

// look calls found for what grew since the last look. The old array cannot be freed before, so a new
// one never has its address.
func (w *watch) look(found func(kind string, c change)) {
	h := w.header
	if h.buckets != w.buckets {
		c := change{w.b, h.B, addr(uintptr(w.buckets)), addr(uintptr(h.buckets)), w.noverflow}
		switch {
		case w.buckets == nil:
			found("allocate", c)
		case h.B > w.b:
			found("double", c)
		default:
			found("same-size", c)
		}
		// A growth starts to count anew.
		w.buckets, w.b, w.noverflow = h.buckets, h.B, 0
	}
	if h.noverflow > w.noverflow {
		w.overflow += int(h.noverflow - w.noverflow)
	}
	w.inexact = w.inexact || h.B >= 16
	w.noverflow, w.count = h.noverflow, h.count
}

func (w *watch) shape() shape {
	return shape{w.b, addr(uintptr(w.buckets)), w.overflow, !w.inexact}
}
