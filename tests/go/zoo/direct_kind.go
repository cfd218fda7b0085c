//go:build !go1.26

package main

import "reflect"

// directIface tells whether an interface's data word is the value itself. Before Go 1.26 a bit of
// the kind says so.
func directIface(t reflect.Type) bool {
	return (*abiType)(descriptor(t)).Kind&0x20 != 0
}
