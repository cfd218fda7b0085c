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

// state is what a growth changes.
type state struct {
	buckets unsafe.Pointer
	b       uint8
}

func look(p unsafe.Pointer) state {
	h := (*header)(p)
	return state{h.buckets, h.B}
}

// kind names the growth between two states.
func kind(before, after state) string {
	switch {
	case before.buckets == nil:
		return "allocate"
	case after.b > before.b:
		return "double"
	default:
		return "same-size"
	}
}

// growing tells whether a growth is not finished yet.
func growing(p unsafe.Pointer) bool { return (*header)(p).oldbuckets != nil }

// crowded tells whether so many overflow buckets more, or fewer, bring a growth that keeps the size.
func crowded(p unsafe.Pointer, more int) bool {
	h := (*header)(p)
	return !growing(p) && h.B < 16 && int(h.noverflow)+more >= 1<<h.B
}

// rounds is how often replace tries.
const rounds = 2000000
