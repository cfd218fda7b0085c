//go:build go1.24 && !go1.26 && !goexperiment.swissmap

package main

import "unsafe"

// hmap mirrors runtime.hmap of Go 1.24 and 1.25 with GOEXPERIMENT=noswissmap.
type hmap struct {
	count               int
	flags, B            uint8
	noverflow           uint16
	hash0               uint32
	buckets, oldbuckets unsafe.Pointer
	nevacuate           uintptr
	clearSeq            uint64
	extra               *mapExtra
}
