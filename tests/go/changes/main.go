// Changes has maps that become something else between its calls of first, second and third, where
// a debugger may stop.
//
// Before each call it writes a line for every variable that is a map: name, address of the
// header and len.  Nothing changes between the second and the third call.  With a second argument
// crash1 or crash2 it ends by a panic after the first or the second call.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"unsafe"
)

// Holder is what a map is found by that no variable holds.
type Holder struct {
	Inner map[uint16]string
}

var (
	grown   = map[string]int64{}
	filled  = make(map[int32]int32, 1000)
	emptied = map[int64]int64{}
	rebuilt = map[uint32]uint64{}
	moved   = map[int16]int16{}
	dropped = map[string]string{}
	fresh   map[uint64]uint64
	steady  = map[string]bool{}
	holder  = &Holder{Inner: map[uint16]string{}}
	calls   int
	output  *os.File
)

// first, second and third are where debuggers break: a breakpoint that is hit again would have to
// be stepped over.
//
//go:noinline
func first() {
	calls = 1
}

//go:noinline
func second() {
	calls = 2
}

//go:noinline
func third() {
	calls = 3
}

func crash() {
	if len(os.Args) > 2 && os.Args[2] == fmt.Sprintf("crash%d", calls) {
		panic("as asked")
	}
}

func row(name string, header unsafe.Pointer, entries int) {
	line, err := json.Marshal(map[string]any{
		"stop":    calls + 1,
		"name":    name,
		"address": fmt.Sprintf("%#x", uintptr(*(*unsafe.Pointer)(header))),
		"len":     entries,
	})
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(output, string(line))
}

func tell() {
	row("main.grown", unsafe.Pointer(&grown), len(grown))
	row("main.filled", unsafe.Pointer(&filled), len(filled))
	row("main.emptied", unsafe.Pointer(&emptied), len(emptied))
	row("main.rebuilt", unsafe.Pointer(&rebuilt), len(rebuilt))
	row("main.moved", unsafe.Pointer(&moved), len(moved))
	row("main.dropped", unsafe.Pointer(&dropped), len(dropped))
	row("main.fresh", unsafe.Pointer(&fresh), len(fresh))
	row("main.steady", unsafe.Pointer(&steady), len(steady))
	row("main.holder.Inner", unsafe.Pointer(&holder.Inner), len(holder.Inner))
}

func fill() {
	for i := 0; i < 100; i++ {
		grown[fmt.Sprint(i)] = int64(i)
		steady[fmt.Sprint(i)] = true
		dropped[fmt.Sprint(i)] = "x"
	}
	for i := int64(0); i < 10000; i++ {
		emptied[i] = i
		rebuilt[uint32(i)] = uint64(i)
		holder.Inner[uint16(i)] = "x"
	}
	for i := int16(0); i < 5; i++ {
		moved[i] = i
		filled[int32(i)] = 1
	}
}

func change() {
	for i := 0; i < 50000; i++ {
		grown[fmt.Sprint(i)] = int64(i)
	}
	for i := int32(5); i < 105; i++ {
		filled[i] = 1
	}
	// New headers are allocated while the old ones are in use: no address comes again.
	smaller, again := map[uint32]uint64{}, map[int16]int16{}
	inner := map[uint16]string{}
	fresh = map[uint64]uint64{}
	for i := int64(0); i < 10000; i++ {
		if i >= 10 {
			delete(emptied, i)
			delete(rebuilt, uint32(i))
			delete(holder.Inner, uint16(i))
		}
		if i < 1000 {
			fresh[uint64(i)] = 1
		}
	}
	for key, value := range rebuilt {
		smaller[key] = value
	}
	for key, value := range moved {
		again[key] = value
	}
	for key, value := range holder.Inner {
		inner[key] = value
	}
	rebuilt, moved, holder.Inner, dropped = smaller, again, inner, nil
	runtime.GC()
	runtime.GC()
}

func main() {
	var err error
	if output, err = os.Create(os.Args[1]); err != nil {
		panic(err)
	}
	fill()
	tell()
	first()
	crash()
	change()
	tell()
	second()
	crash()
	tell()
	third()
	if len(grown) != 50000 || len(emptied) != 10 || len(rebuilt) != 10 || len(moved) != 5 ||
		len(filled) != 105 || dropped != nil || len(fresh) != 1000 || len(steady) != 100 ||
		len(holder.Inner) != 10 {
		os.Exit(3)
	}
	fmt.Println("DONE")
}
