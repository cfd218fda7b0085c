package main

import (
	"reflect"
	"unsafe"
)

// abiType mirrors internal/abi.Type, which has been the same since Go 1.19.
type abiType struct {
	Size       uintptr
	PtrBytes   uintptr
	Hash       uint32
	TFlag      uint8
	Align      uint8
	FieldAlign uint8
	Kind       uint8
	Equal      func(unsafe.Pointer, unsafe.Pointer) bool
	GCData     *byte
	Str        int32
	PtrToThis  int32
}

// wordSize is the size of a pointer.
const wordSize = int(unsafe.Sizeof(uintptr(0)))

// words is a two-word interface value as it lies in memory.
type words struct {
	first, data unsafe.Pointer
}

// descriptor returns the runtime's type descriptor behind a reflect.Type.
func descriptor(t reflect.Type) unsafe.Pointer {
	return (*words)(unsafe.Pointer(&t)).data
}

// noescape hides p from escape analysis, so that a map stays on the stack although it is walked.
//
//go:nosplit
func noescape(p unsafe.Pointer) unsafe.Pointer {
	x := uintptr(p)
	return unsafe.Pointer(x ^ 0)
}

// at returns the value of type t stored at p, free of reflect's read-only mark.
func at(t reflect.Type, p unsafe.Pointer) reflect.Value {
	return reflect.NewAt(t, p).Elem()
}
