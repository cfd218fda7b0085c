// Frames parks goroutines in functions of every kind, and writes down what they are: one JSON
// object per line in the file named by its argument.  Then it panics; run it with
// GOTRACEBACK=crash for a core.
//
//   - stack: a goroutine and its calls above stop, as runtime.CallersFrames names them
//   - value: the first word of a variable of a goroutine, in the function named
//   - alloc: an object, and the calls that led to it
//   - finalized: an object with a finalizer, or with none, and its function
//   - closure: a function value by its code, and the first words of what it captured
//   - method: the code of a method value
//   - global: a package-level variable
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// All allocations are in the profile.
func init() { runtime.MemProfileRate = 1 }

type frame struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
}

type record struct {
	Kind     string            `json:"kind"`
	ID       int               `json:"id,omitempty"`
	Address  string            `json:"address,omitempty"`
	Function string            `json:"function,omitempty"`
	Name     string            `json:"name,omitempty"`
	Value    string            `json:"value,omitempty"`
	Frames   []frame           `json:"frames,omitempty"`
	Captured map[string]string `json:"captured,omitempty"`
}

var (
	lock   sync.Mutex
	output *json.Encoder
	parked sync.WaitGroup
	never  = make(chan int)
	kept   []any
	// Global is a package-level variable.
	Global = map[string]int{"one": 1}
)

func write(r record) {
	lock.Lock()
	defer lock.Unlock()
	if err := output.Encode(r); err != nil {
		panic(err)
	}
}

func hex(value uintptr) string { return "0x" + strconv.FormatUint(uint64(value), 16) }

func id() int {
	var text [64]byte
	fields := strings.Fields(string(text[:runtime.Stack(text[:], false)]))
	number, err := strconv.Atoi(fields[1])
	if err != nil {
		panic(err)
	}
	return number
}

func named(pcs []uintptr) []frame {
	frames := runtime.CallersFrames(pcs)
	var all []frame
	for {
		f, more := frames.Next()
		all = append(all, frame{f.Function, f.File, f.Line})
		if !more {
			return all
		}
	}
}

// stop parks the goroutine that calls it.
//
//go:noinline
func stop() {
	pcs := make([]uintptr, 512)
	pcs = pcs[:runtime.Callers(2, pcs)]
	write(record{Kind: "stack", ID: id(), Frames: named(pcs)})
	parked.Done()
	<-never
}

//go:noinline
func word(m map[string]int) uintptr { return *(*uintptr)(unsafe.Pointer(&m)) }

func value(function, name string, value uintptr) {
	write(record{Kind: "value", ID: id(), Function: function, Name: name, Value: hex(value)})
}

// inlined is inlined into its caller, as is the one it calls.
func inlined(depth int, passed map[string]int) int {
	first := depth + 0x1000
	again := inlinedToo(first)
	return again + first + len(passed)
}

func inlinedToo(depth int) int {
	second := depth * 2
	stop()
	return second
}

//go:noinline
func inlining(depth int, outer map[string]int) int {
	value("main.inlining", "passed", word(outer))
	return inlined(depth, outer) + depth
}

//go:noinline
func recursive(depth int) int {
	if depth == 0 {
		stop()
		return 0
	}
	var pad [40]int
	pad[depth%len(pad)] = depth
	return recursive(depth-1) + pad[depth/2%len(pad)]
}

type holder[T any] struct{ held T }

//go:noinline
func (h *holder[T]) method(with T) T {
	stop()
	h.held = with
	return h.held
}

type counter struct{ number int }

func (c *counter) count() int { return c.number }

// locals has variables of several kinds that are in use behind the call of stop.
//
//go:noinline
func locals(number int, text string, given map[string]int) int {
	// On the stack, which moves.
	local := map[string]int{"number": number, "again": len(given)}
	for i := 0; i < 20; i++ {
		local[strconv.Itoa(i)] = i
	}
	escaping := map[string]int{"escaping": number}
	add := func(key string) { escaping = map[string]int{key: escaping["escaping"]} }
	kept = append(kept, add)
	value("main.locals", "number", uintptr(number))
	value("main.locals", "given", word(given))
	value("main.locals", "escaping", word(escaping))
	value("main.locals", "text", uintptr(unsafe.Pointer(unsafe.StringData(text))))
	// A block of its own.
	if number > 0 {
		inner := map[string]int{"inner": number}
		value("main.locals", "inner", word(inner))
		stop()
		inner["behind"] = len(local)
		kept = append(kept, inner)
	}
	add("behind")
	return len(local) + len(given) + number + strings.Count(text, "t")
}

//go:noinline
func faulting(at *int) (result int) {
	defer func() {
		recover()
		stop()
		result++
	}()
	return *at
}

//go:noinline
func allocate(size int) []byte {
	pcs := make([]uintptr, 64)
	object, n := make([]byte, size), runtime.Callers(1, pcs)
	write(record{
		Kind:    "alloc",
		Address: hex(uintptr(unsafe.Pointer(&object[0]))),
		Frames:  named(pcs[:n]),
	})
	return object
}

func allocateInlined(size int) []byte {
	return allocate(size)
}

type finalized struct {
	next *finalized
	data [56]byte
}

//go:noinline
func finalizers() {
	for i := 0; i < 4; i++ {
		object := &finalized{next: &finalized{}}
		text := "no"
		function := func(*finalized) { fmt.Println(object, text) }
		if i%2 == 0 {
			text = "yes"
			runtime.SetFinalizer(object, function)
		}
		write(record{
			Kind: "finalized", Address: hex(uintptr(unsafe.Pointer(object))), Value: text,
			Captured: map[string]string{"function": hex(*(*uintptr)(unsafe.Pointer(&function)))},
		})
		kept = append(kept, object)
	}
}

//go:noinline
func closures(number int, given map[string]int) {
	changed := map[string]int{"changed": number}
	function := func() int {
		changed = map[string]int{}
		return len(given) + number
	}
	write(record{
		Kind:    "closure",
		Address: hex(**(**uintptr)(unsafe.Pointer(&function))),
		Value:   hex(*(*uintptr)(unsafe.Pointer(&function))),
		Captured: map[string]string{
			"changed": hex(word(changed)), "given": hex(word(given)), "number": hex(uintptr(number)),
		},
	})
	kept = append(kept, function)
	method := (&counter{number}).count
	write(record{Kind: "method", Address: hex(**(**uintptr)(unsafe.Pointer(&method)))})
	kept = append(kept, method)
}

func main() {
	file, err := os.Create(os.Args[1])
	if err != nil {
		panic(err)
	}
	output = json.NewEncoder(file)
	given := map[string]int{"given": 1}
	parked.Add(7)
	go func() { inlining(3, given) }()
	go func() { recursive(50) }()
	go func() { (&holder[string]{}).method("with") }()
	go func() { (&holder[[2]int]{}).method([2]int{1, 2}) }()
	go func() { locals(0x12345, "text", given) }()
	go func() { faulting(nil) }()
	go func() {
		defer func() { inlining(4, given) }()
	}()
	parked.Wait()
	for size := 16; size <= 1<<20; size *= 4 {
		kept = append(kept, allocate(size), allocateInlined(size+100))
	}
	finalizers()
	closures(0x777, given)
	Global["two"] = 2
	write(record{Kind: "global", Name: "main.Global", Value: hex(word(Global))})
	if err := file.Close(); err != nil {
		panic(err)
	}
	panic("a core, please")
}
