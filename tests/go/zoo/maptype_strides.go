//go:build go1.27

package main

import "unsafe"

// mapType mirrors abi.MapType of Go 1.27, where GOEXPERIMENT=mapsplitgroup may have moved all
// elems behind all keys.
type mapType struct {
	abiType
	Key, Elem, Group                                             *abiType
	Hasher                                                       func(unsafe.Pointer, uintptr) uintptr
	GroupSize, KeysOff, KeyStride, ElemsOff, ElemStride, ElemOff uintptr
	Flags                                                        uint32
}

// slotSize is one stride where key and elem alternate, else the sum of both.
func (t *mapType) slotSize() int {
	if t.KeyStride == t.ElemStride && t.ElemsOff-t.KeysOff < t.KeyStride {
		return int(t.KeyStride)
	}
	return int(t.KeyStride + t.ElemStride)
}

func (t *mapType) keyOffset(i int) uintptr  { return t.KeysOff + uintptr(i)*t.KeyStride }
func (t *mapType) elemOffset(i int) uintptr { return t.ElemsOff + uintptr(i)*t.ElemStride }
