// Aligned writes an execution trace, a CPU profile and heap profiles of itself to the folder DIR, and
// when it did what, by CLOCK_MONOTONIC, to DIR/truth.json. Then it calls waiting and ends.
//
//	aligned DIR
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"time"
	"unsafe"
)

// span is something that happened between two readings of the clock.
type span struct {
	Before int64  `json:"before"`
	After  int64  `json:"after"`
	Text   string `json:"text,omitempty"`
	Map    string `json:"map,omitempty"`
}

type facts struct {
	Logs  []span `json:"logs"`
	GC    []span `json:"gc"`
	Start span   `json:"cpu_start"`
	Stop  span   `json:"cpu_stop"`
	Kept  string `json:"kept"`
	Len   int    `json:"len"`
}

// monotonic is CLOCK_MONOTONIC, as runtime.nanotime reads it.
//
//go:linkname monotonic runtime.nanotime
func monotonic() int64

var (
	kept  map[int]int
	small []map[string]int
	truth facts
)

func address(m map[int]int) string { return fmt.Sprintf("%p", *(*unsafe.Pointer)(unsafe.Pointer(&m))) }

func timed(text string, f func()) span {
	before := monotonic()
	f()
	return span{Before: before, After: monotonic(), Text: text}
}

func log(n int) {
	text := fmt.Sprintf("round %d map=%s", n, address(kept))
	s := timed(text, func() { trace.Log(context.Background(), "map-lifecycle", text) })
	s.Map = address(kept)
	truth.Logs = append(truth.Logs, s)
}

//go:noinline
func fill(round int) {
	for i := 0; i < 700; i++ {
		kept[round*700+i] = i
	}
	for i := 0; i < 20; i++ {
		m := map[string]int{}
		for j := 0; j <= i; j++ {
			m[fmt.Sprint(j)] = j
		}
		small = append(small, m)
	}
}

func work() {
	kept = map[int]int{}
	for round := 0; round < 9; round++ {
		region := trace.StartRegion(context.Background(), "fill")
		fill(round)
		region.End()
		log(round)
		// At uneven distances, by which collections can be told apart.
		wait := time.Duration(7+round*round*3) * time.Millisecond
		for began := time.Now(); time.Since(began) < wait; {
		}
		truth.GC = append(truth.GC, timed("", runtime.GC))
	}
}

//go:noinline
func waiting() {}

func create(name string) *os.File {
	file, err := os.Create(filepath.Join(os.Args[1], name))
	if err != nil {
		panic(err)
	}
	return file
}

func main() {
	traced, profiled := create("trace"), create("cpu.pb.gz")
	buffered := bufio.NewWriter(traced)
	truth.Start = timed("", func() {
		if err := pprof.StartCPUProfile(profiled); err != nil {
			panic(err)
		}
	})
	if err := trace.Start(buffered); err != nil {
		panic(err)
	}
	work()
	trace.Stop()
	truth.Stop = timed("", pprof.StopCPUProfile)
	buffered.Flush()
	traced.Close()
	profiled.Close()
	for name, debug := range map[string]int{"heap.txt": 1, "heap.pb.gz": 0} {
		file := create(name)
		if err := pprof.Lookup("heap").WriteTo(file, debug); err != nil {
			panic(err)
		}
		file.Close()
	}
	truth.Kept, truth.Len = address(kept), len(kept)
	file := create("truth.json")
	if err := json.NewEncoder(file).Encode(truth); err != nil {
		panic(err)
	}
	file.Close()
	waiting()
	fmt.Println(len(small), kept[5])
}
