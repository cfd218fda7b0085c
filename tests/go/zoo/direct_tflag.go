//go:build go1.26

package main

import "reflect"

// directIface tells whether an interface's data word is the value itself. Since Go 1.26 a type
// flag says so.
func directIface(t reflect.Type) bool {
	return (*abiType)(descriptor(t)).TFlag&0x20 != 0
}
