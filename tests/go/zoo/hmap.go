//go:build !go1.24

package main

import "unsafe"

// hmap mirrors runtime.hmap up to Go 1.23.
type hmap struct {
	count               int
	flags, B            uint8
	noverflow           uint16
	hash0               uint32
	buckets, oldbuckets unsafe.Pointer
	nevacuate           uintptr
	extra               *mapExtra
}
