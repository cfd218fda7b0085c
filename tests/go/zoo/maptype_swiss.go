//go:build (go1.26 && !go1.27) || (go1.24 && !go1.26 && goexperiment.swissmap)

package main

import "unsafe"

// mapType mirrors the Swiss abi.MapType of Go 1.24 to 1.26.
type mapType struct {
	abiType
	Key, Elem, Group             *abiType
	Hasher                       func(unsafe.Pointer, uintptr) uintptr
	GroupSize, SlotSize, ElemOff uintptr
	Flags                        uint32
}

func (t *mapType) slotSize() int           { return int(t.SlotSize) }
func (t *mapType) keyOffset(i int) uintptr { return 8 + uintptr(i)*t.SlotSize }
func (t *mapType) elemOffset(i int) uintptr {
	return t.keyOffset(i) + t.ElemOff
}
