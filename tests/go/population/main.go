// Population makes some thousands of maps in every kind of place that can hold one, writes where
// they are to the file named by its first argument, prints READY and calls waiting, where a
// debugger looks whether it finds them all.
//
// The second argument says what follows: "wait" sleeps forever, "crash" kills the
// process by SIGABRT, and by default all maps are checked again: with GODEBUG=clobberfree=1 in the
// environment, the live ones must survive a collection and the others must not.
package main

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
	"unsafe"
)

// waited makes waiting something the compiler cannot drop.
var waited int

// waiting is where debuggers break: the truth is written, and no map changes any more.
//
//go:noinline
func waiting(mode string) {
	waited++
	switch mode {
	case "wait":
		for {
			time.Sleep(time.Hour)
		}
	case "crash":
		syscall.Kill(os.Getpid(), syscall.SIGABRT)
		select {}
	}
}

// fail ends the program: a truth that may be wrong must not be read by anyone.
func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "population: "+format+"\n", args...)
	os.Exit(3)
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

// settled calls run on a stack that does not move: it has room for what run calls.
//
//go:noinline
func settled(name, mode string) {
	var room [64 << 10]byte
	keep(unsafe.Pointer(&room))
	growStack(64)
	run(name, mode)
	keep(unsafe.Pointer(&room))
}

//go:noinline
func run(name, mode string) {
	small := map[string]int{}
	small["one"] = 1
	grown := map[uint64]uint64{}
	for i := uint64(0); i < 100; i++ {
		grown[i] = i * i
	}
	unused := map[int]string{}

	var mark byte
	near := uintptr(unsafe.Pointer(&mark))
	onStack("main goroutine's stack", reflect.TypeOf(map[string]int(nil)), headerOf(unsafe.Pointer(&small)), near, len(small))
	onStack("main goroutine's stack", reflect.TypeOf(map[uint64]uint64(nil)), headerOf(unsafe.Pointer(&grown)), near, len(grown))
	onStack("main goroutine's stack", reflect.TypeOf(map[int]string(nil)), headerOf(unsafe.Pointer(&unused)), near, len(unused))

	write(name)
	if uintptr(unsafe.Pointer(&mark)) != near {
		fail("the stack of main moved")
	}
	fmt.Println("READY")
	waiting(mode)
	if mode == "" {
		recheck()
	}

	keep(unsafe.Pointer(&small))
	keep(unsafe.Pointer(&grown))
	keep(unsafe.Pointer(&unused))
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: population TRUTH [wait|crash]")
		os.Exit(2)
	}
	mode := ""
	if len(os.Args) > 2 {
		mode = os.Args[2]
	}
	// Only the collections asked for below: what is garbage later shall stay where it is.
	debug.SetGCPercent(-1)
	populate()
	startGoroutines()
	runtime.GC()
	runtime.GC()
	fillPool()
	makeGarbage()
	askGoroutines()
	settled(os.Args[1], mode)
	runtime.KeepAlive(roots)
}
