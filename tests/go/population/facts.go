package main

import (
	"bufio"
	"encoding/json"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// fact is a line of the truth. The address is a number, which keeps no map alive.
type fact struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Len     int    `json:"len"`
	Place   string `json:"place"`
	Holder  string `json:"holder,omitempty"`
	State   string `json:"state"`
	OnStack bool   `json:"on_stack"`

	header uintptr
	typ    reflect.Type
}

var (
	facts []fact
	// known finds a fact by the address of the header.
	known = map[uintptr]int{}
	// noting guards both.
	noting sync.Mutex
	// escape is given every map for a moment, so that the compiler puts it into the heap.
	escape any
)

// headerOf returns the map header that a map variable points to.
//
//go:nosplit
func headerOf(variable unsafe.Pointer) uintptr {
	return *(*uintptr)(variable)
}

func add(f fact) {
	noting.Lock()
	defer noting.Unlock()
	if i, ok := known[f.header]; ok {
		if facts[i].typ != f.typ || facts[i].State != f.State {
			fail("%s and %s: two maps at %#x", facts[i].Place, f.Place, f.header)
		}
		// Two ways lead to it: no single one is right.
		if facts[i].Holder != f.Holder {
			facts[i].Holder = ""
		}
		return
	}
	known[f.header] = len(facts)
	f.Address = "0x" + strconv.FormatUint(uint64(f.header), 16)
	f.Type = f.typ.String()
	facts = append(facts, f)
}

// note writes down a live map on the heap and returns it.
//
//go:noinline
func note[M ~map[K]V, K comparable, V any](place string, m M) M {
	noting.Lock()
	escape = m
	escape = nil
	noting.Unlock()
	add(fact{Place: place, State: "live", header: headerOf(unsafe.Pointer(&m)), typ: reflect.TypeOf(m)})
	return m
}

// noteAny is note for a map in an interface.
func noteAny(place string, m any) any {
	v := reflect.ValueOf(m)
	add(fact{Place: place, State: "live", header: v.Pointer(), typ: v.Type()})
	return m
}

// noteGarbage writes down a map that will be garbage soon.
//
//go:noinline
func noteGarbage[M ~map[K]V, K comparable, V any](place string, m M) M {
	noting.Lock()
	escape = m
	escape = nil
	noting.Unlock()
	add(fact{Place: place, State: "garbage", header: headerOf(unsafe.Pointer(&m)), typ: reflect.TypeOf(m), Len: len(m)})
	return m
}

// onStack writes down a map whose header is near an address on the stack.
func onStack(place string, t reflect.Type, header, near uintptr, n int) {
	if d := int64(header - near); d < -1<<13 || d > 1<<13 {
		fail("%s: %v is not on the stack", place, t)
	}
	add(fact{Place: place, State: "live", OnStack: true, header: header, typ: t, Len: n})
}

// record writes down every map that is reached from a package variable, with its path.
func record(place, path string, variable any) {
	w := walker{place: place, seen: map[unsafe.Pointer]bool{}}
	w.walk(path, reflect.ValueOf(variable).Elem())
}

// recordUnnamed does so for a variable from which no path leads that a person would write.
func recordUnnamed(place string, variable any) {
	record(place, "", variable)
}

type walker struct {
	place string
	seen  map[unsafe.Pointer]bool
}

// longest is how many steps a path may have before nobody would write it down.
const longest = 6

// step appends to a path, unless there is none.
func step(path, more string) string {
	if path == "" || more == "" || strings.Count(path, ".")+strings.Count(path, "[") > longest {
		return ""
	}
	return path + more
}

func (w *walker) walk(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Map:
		if v.IsNil() {
			return
		}
		add(fact{Place: w.place, Holder: path, State: "live", header: v.Pointer(), typ: v.Type()})
		for it := v.MapRange(); it.Next(); {
			w.walk("", it.Key())
			w.walk(step(path, subscript(it.Key())), it.Value())
		}
	case reflect.Pointer:
		if v.IsNil() || w.seen[v.UnsafePointer()] {
			return
		}
		w.seen[v.UnsafePointer()] = true
		if path != "" && v.Elem().Kind() == reflect.Map {
			path = "*" + path
		}
		w.walk(path, v.Elem())
	case reflect.Interface:
		if !v.IsNil() {
			w.walk("", v.Elem())
		}
	case reflect.Struct:
		for i := 0; i < v.NumField(); i++ {
			w.walk(step(path, "."+v.Type().Field(i).Name), v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		switch v.Type().Elem().Kind() {
		case reflect.Map, reflect.Pointer, reflect.Interface, reflect.Struct, reflect.Slice, reflect.Array:
			for i := 0; i < v.Len(); i++ {
				w.walk(step(path, "["+strconv.Itoa(i)+"]"), v.Index(i))
			}
		}
	}
}

// subscript is a key as a person would write it, or nothing for keys nobody would write.
func subscript(key reflect.Value) string {
	switch key.Kind() {
	case reflect.String:
		return "[" + strconv.Quote(key.String()) + "]"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "[" + strconv.FormatInt(key.Int(), 10) + "]"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "[" + strconv.FormatUint(key.Uint(), 10) + "]"
	}
	return ""
}

// most is how many entries a map has at most.
const most = 5000

// recheck collects garbage and holds what is left against the truth. One collection leaves the pool
// alone. With GODEBUG=clobberfree=1 the runtime overwrites what it frees.
func recheck() {
	// Before the collection: what allocates after it may get freed memory.
	clobbers := strings.Contains(os.Getenv("GODEBUG"), "clobberfree=1")
	runtime.GC()
	for _, f := range facts {
		switch {
		case f.OnStack:
			// The collection may have moved the stack.
		case f.State == "live":
			if n := reflect.NewAt(f.typ, unsafe.Pointer(&f.header)).Elem().Len(); n != f.Len {
				fail("%s: %v had %d entries and has %d", f.Place, f.typ, f.Len, n)
			}
		case clobbers && f.Len > 0:
			if n := reflect.NewAt(f.typ, unsafe.Pointer(&f.header)).Elem().Len(); n == f.Len {
				fail("%s: %v is alive", f.Place, f.typ)
			}
		}
	}
}

// write puts all facts into a file. A map may have changed since it was noted.
func write(name string) {
	file, err := os.Create(name)
	if err != nil {
		fail("%v", err)
	}
	out := bufio.NewWriter(file)
	enc := json.NewEncoder(out)
	for i := range facts {
		f := &facts[i]
		if f.State == "live" {
			f.Len = reflect.NewAt(f.typ, unsafe.Pointer(&f.header)).Elem().Len()
			if f.Len < 0 || f.Len > most {
				fail("%s: %d entries in %v", f.Place, f.Len, f.typ)
			}
		}
		if err := enc.Encode(f); err != nil {
			fail("%v", err)
		}
	}
	if err := out.Flush(); err != nil {
		fail("%v", err)
	}
	if err := file.Close(); err != nil {
		fail("%v", err)
	}
}
