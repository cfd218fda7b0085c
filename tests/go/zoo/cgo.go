//go:build cgo && zoocgo

package main

// static int one(void) { return 1; }
import "C"

// With -tags zoocgo the program is linked by the C linker and holds C's debug information, too.
func init() {
	if C.one() != 1 {
		panic("cgo")
	}
}
