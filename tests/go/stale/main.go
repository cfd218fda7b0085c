// Stale leaves variables behind that are not used any more, lets the collector take the maps they
// led to, and puts maps of other types into the same memory. Other maps wait with their owners for
// a finalizer, and nothing but the runtime's own list leads to them. What it knows of these it writes to
// the file named by its first argument, one JSON object a line; then it is as population/: it
// prints READY, calls waiting, and with "crash" kills itself.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"syscall"
	"unsafe"
)

// hidden keeps maps alive in a way that tells no type.
var hidden []unsafe.Pointer

type fact struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Len     int    `json:"len"`
	Place   string `json:"place"`
	State   string `json:"state"`
	OnStack bool   `json:"on_stack"`
}

var facts []fact

// growStack uses the stack, so that nothing of guard is left on it.
//
//go:noinline
func growStack(depth int) byte {
	var frame [1 << 10]byte
	frame[depth] = byte(depth)
	if depth > 0 {
		frame[0] += growStack(depth - 1)
	}
	return frame[depth]
}

//go:noinline
func use(m map[string]int) int {
	m["a"]++
	return len(m)
}

//go:noinline
func header(m map[string]uint) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&m))
}

//go:noinline
func make200() []map[string]int {
	all := make([]map[string]int, 200)
	for i := range all {
		all[i] = map[string]int{}
		use(all[i])
	}
	return all
}

// reuse fills the memory of the maps that are gone.
//
//go:noinline
func reuse() {
	runtime.GC()
	runtime.GC()
	for i := 0; i < 4000; i++ {
		m := map[string]uint{"b": uint(i)}
		hidden = append(hidden, header(m))
		facts = append(facts, fact{fmt.Sprintf("%#x", header(m)), reflect.TypeOf(m).String(), 1,
			"reused memory", "live", false})
	}
}

// stack has variables that nothing uses any more when it calls waiting.
//
//go:noinline
func stack(mode string, depth int) int {
	first := map[string]int{}
	n := use(first)
	all := make200()
	second, third := all[3], all[7]
	n += use(second) + use(third) + use(first)
	if depth > 0 {
		return n + stack(mode, depth-1)
	}
	all = nil
	reuse()
	write()
	fmt.Println("READY")
	waiting(mode)
	return n + len(all)
}

type guarded struct{ m map[int]int64 }

var (
	started = make(chan bool)
	blocked = make(chan bool)
)

//go:noinline
func guard(n int) {
	for i := 0; i < n; i++ {
		g := &guarded{map[int]int64{i: 1}}
		facts = append(facts, fact{fmt.Sprintf("%#x", *(*unsafe.Pointer)(unsafe.Pointer(&g.m))),
			"map[int]int64", 1, "waits for its finalizer", "live", false})
		runtime.SetFinalizer(g, func(g *guarded) {
			if started != nil {
				started <- true
			}
			<-blocked
			g.m[0]++
		})
	}
}

func write() {
	out, err := os.Create(os.Args[1])
	if err != nil {
		panic(err)
	}
	encoder := json.NewEncoder(out)
	for _, line := range facts {
		if err := encoder.Encode(line); err != nil {
			panic(err)
		}
	}
	out.Close()
}

//go:noinline
func waiting(mode string) {
	if mode == "crash" {
		syscall.Kill(os.Getpid(), syscall.SIGABRT)
		for {
			runtime.Gosched()
		}
	}
}

func main() {
	guard(50)
	growStack(40)
	runtime.GC()
	runtime.GC()
	// The first finalizer runs, and blocks: the others wait.
	<-started
	mode := ""
	if len(os.Args) > 2 {
		mode = os.Args[2]
	}
	n := stack(mode, 12)
	runtime.KeepAlive(hidden)
	fmt.Println(n)
}
