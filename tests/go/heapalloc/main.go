// Heapalloc makes maps one by one, measures by how much each lets the heap grow, writes that to the
// file named by its first argument, prints READY and calls waiting, where a debugger looks whether
// it counts the same bytes.
//
// The second argument says what follows: "wait" sleeps forever, "crash" kills the
// process by SIGABRT, and by default it ends.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// fact is a line of the truth.
type fact struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Len     int    `json:"len"`
	Delta   int64  `json:"heap_alloc_delta"`
	Note    string `json:"note"`
}

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
	fmt.Fprintf(os.Stderr, "heapalloc: "+format+"\n", args...)
	os.Exit(3)
}

// What is measured is kept here. An interface takes a map without allocating.
var kept [64]any

var before, after runtime.MemStats

// grown tells by how much the heap grows while make puts something into kept[i]. What make leaves
// as garbage, such as the arrays a map has outgrown, is collected first.
//
//go:noinline
func grown(i int, make func() any) int64 {
	kept[i] = nil
	collect()
	runtime.ReadMemStats(&before)
	kept[i] = make()
	collect()
	runtime.ReadMemStats(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// collect leaves nothing to sweep and no pool to empty.
func collect() {
	runtime.GC()
	runtime.GC()
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: heapalloc TRUTH [wait|crash]")
		os.Exit(2)
	}
	mode := ""
	if len(os.Args) > 2 {
		mode = os.Args[2]
	}
	debug.SetGCPercent(-1)
	// The runtime allocates when it starts a thread, so it shall not need any.
	runtime.GOMAXPROCS(1)
	// The scavenger adds a timer when it likes; there shall be room in the list of timers.
	for i := 0; i < 5; i++ {
		time.AfterFunc(1000*time.Hour, func() {})
	}
	prepare()
	facts := make([]fact, len(rows))
	for i := range kept {
		grown(i, func() any { return nil })
	}
	for i, row := range rows {
		// The first time, the runtime may allocate what it keeps.
		grown(i, row.make)
		if i == 0 {
			calibrate(i)
		}
		delta := grown(i, row.make)
		facts[i].Note, facts[i].Delta = row.note, delta
		if noise := grown(len(kept)-1, func() any { return nil }); noise != 0 {
			fail("%s: the heap grew by %d bytes more", row.note, noise)
		}
	}
	for i := range facts {
		v := reflect.ValueOf(kept[i])
		facts[i].Address = "0x" + strconv.FormatUint(uint64(v.Pointer()), 16)
		facts[i].Type = v.Type().String()
		facts[i].Len = v.Len()
	}
	write(os.Args[1], facts)
	fmt.Println("READY")
	waiting(mode)
	runtime.KeepAlive(&kept)
}

// calibrate checks the measurement with objects of known size.
func calibrate(i int) {
	// The slice itself is in an object of 24 bytes, or of 12 of 16.
	const slice = (unsafe.Sizeof([]byte{}) + 7) &^ 7
	for size, class := range map[int]int64{48: 48, 1000: 1024, 100_000: 106_496} {
		if found := grown(i, func() any { return make([]byte, size) }); found != class+int64(slice) {
			fail("%d bytes measured as %d", size, found)
		}
	}
	kept[i] = nil
}

func write(name string, facts []fact) {
	file, err := os.Create(name)
	if err != nil {
		fail("%v", err)
	}
	enc := json.NewEncoder(file)
	for _, f := range facts {
		if err := enc.Encode(f); err != nil {
			fail("%v", err)
		}
	}
	if err := file.Close(); err != nil {
		fail("%v", err)
	}
}
