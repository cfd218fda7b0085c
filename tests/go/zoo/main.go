// Zoo makes maps of every kind and state, writes what they are to the file named by its first
// argument, and calls stop, where a debugger looks whether it sees the same.
//
// The second argument says what follows: "wait" sleeps forever, "crash" panics, and by default all
// maps are checked again and the program ends with "CHECKSUM n".
package main

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"time"
	"unsafe"
)

// stopped makes stop something the compiler cannot drop.
var stopped int

// stop is where debuggers break: the truth is written, and no map changes any more.
//
//go:noinline
func stop() {
	stopped++
}

// keep makes a local variable live, and live in memory, up to the call.
//
//go:noinline
func keep(unsafe.Pointer) {}

// growStack uses depth KiB of stack, so that it need not grow, and move, while less is used.
//
//go:noinline
func growStack(depth int) byte {
	var frame [1 << 10]byte
	frame[depth%len(frame)] = byte(depth)
	if depth > 0 {
		frame[0] += growStack(depth - 1)
	}
	return frame[depth%len(frame)]
}

// settled calls run on a stack that does not move. It has room for what run calls, and the runtime
// does not shrink a stack of which a quarter is in use. To collect garbage first, or to switch the
// collector off, would not do: a shrink may be pending from an earlier collection.
//
//go:noinline
func settled(name, mode string) {
	var room [64 << 10]byte
	keep(unsafe.Pointer(&room))
	growStack(32)
	run(name, mode)
	keep(unsafe.Pointer(&room))
}

// local describes a map that lives in the frame of run; the header is passed without letting the
// compiler know, as the map would escape to the heap otherwise.
func local(expr string, t reflect.Type, header, near unsafe.Pointer, note string) {
	if d := int64(uintptr(header)) - int64(uintptr(near)); d < -1<<13 || d > 1<<13 {
		fail("%s: the map is not on the stack", expr)
	}
	zoo = append(zoo, specimen{expr: expr, frame: "main.run", typ: t, header: header, note: note})
}

//go:noinline
func run(name, mode string) {
	localSmall := map[string]int{}
	localSmall["one"] = 1
	localSmall["two"] = 2
	localSmall["three"] = 3
	localInts := make(map[int32]bool, 4)
	for i := int32(0); i < 8; i++ {
		localInts[i] = i%2 == 0
	}
	localGrown := map[uint64]uint64{}
	for i := uint64(0); i < 100; i++ {
		localGrown[i] = i * i
	}
	localUnused := map[string]*T{}

	var mark byte
	near := noescape(unsafe.Pointer(&mark))
	local("localSmall", reflect.TypeOf(map[string]int(nil)), headerOf(unsafe.Pointer(&localSmall)), near, "header and storage on the stack")
	local("localInts", reflect.TypeOf(map[int32]bool(nil)), headerOf(unsafe.Pointer(&localInts)), near, "header and storage on the stack, full")
	local("localGrown", reflect.TypeOf(map[uint64]uint64(nil)), headerOf(unsafe.Pointer(&localGrown)), near, "header on the stack, storage in the heap")
	local("localUnused", reflect.TypeOf(map[string]*T(nil)), headerOf(unsafe.Pointer(&localUnused)), near, "on the stack, never used")

	for k := range ranged {
		for l := range rangedGrow {
			all := write(name)
			fmt.Println("READY")
			stop()
			switch mode {
			case "wait":
				for {
					time.Sleep(time.Minute)
					keep(unsafe.Pointer(&localSmall))
					keep(unsafe.Pointer(&localInts))
					keep(unsafe.Pointer(&localGrown))
					keep(unsafe.Pointer(&localUnused))
					runtime.KeepAlive(zoo)
				}
			case "crash":
				panic("zoo: crash")
			}
			fmt.Println("CHECKSUM", recheck(all))
			runtime.KeepAlive(l)
			break
		}
		runtime.KeepAlive(k)
		break
	}
	keep(unsafe.Pointer(&localSmall))
	keep(unsafe.Pointer(&localInts))
	keep(unsafe.Pointer(&localGrown))
	keep(unsafe.Pointer(&localUnused))
}

// headerOf returns the map header a map variable points to.
//
//go:nosplit
func headerOf(variable unsafe.Pointer) unsafe.Pointer {
	return *(*unsafe.Pointer)(noescape(variable))
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: zoo TRUTH [wait|crash]")
		os.Exit(2)
	}
	mode := ""
	if len(os.Args) > 2 {
		mode = os.Args[2]
	}
	populate()
	settled(os.Args[1], mode)
}
