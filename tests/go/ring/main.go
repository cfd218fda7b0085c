// Ring makes maps and notes by its own means when their storage changes. It writes that to the file named by its first
// argument, prints CHECKSUM (the same in every build) and calls waiting; then "crash" panics, and by default it ends with 0.
// With RING_TRACE it writes an execution trace to the file of that name, from before the first map to after the last.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"runtime"
	"runtime/trace"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// change is one change of a map's storage, as an insert left it.
type change struct {
	Op          string  `json:"op"`
	Block       address `json:"block,omitempty"`
	Capacity    int     `json:"capacity,omitempty"`
	OldBlock    address `json:"old_block,omitempty"`
	OldCapacity int     `json:"old_capacity,omitempty"`
}

type address uintptr

func (a address) MarshalText() ([]byte, error) { return []byte(fmt.Sprintf("%#x", uintptr(a))), nil }

// listed is what is said of one map.
type listed struct {
	Note    string    `json:"note"`
	Address address   `json:"address"`
	Type    string    `json:"type"`
	Goid    int       `json:"goid"`
	Len     int       `json:"len"`
	Changes []change  `json:"changes"` // all of its life
	Blocks  []address `json:"blocks"`  // its storage at the end
	Source  address   `json:"source,omitempty"`
	Cleared []int     `json:"cleared,omitempty"` // len before each clear
	Dropped bool      `json:"dropped,omitempty"` // the collector has freed its blocks
}

type watched struct {
	listed
	header unsafe.Pointer
	state  state
	keep   any
}

var (
	lock sync.Mutex
	all  []*watched
)

func goid() int {
	var buffer [64]byte
	words := strings.Fields(string(buffer[:runtime.Stack(buffer[:], false)]))
	id, _ := strconv.Atoi(words[1])
	return id
}

// watch begins to note what happens to m, which was just made.
func watch[K comparable, V any](note string, m map[K]V) *watched {
	v := reflect.ValueOf(m)
	w := &watched{header: v.UnsafePointer(), keep: m}
	w.listed = listed{Note: note, Address: address(uintptr(w.header)), Type: v.Type().String(), Goid: goid()}
	w.state = look(w.header)
	w.Changes = created(w.state)
	lock.Lock()
	defer lock.Unlock()
	all = append(all, w)
	return w
}

// look notes what an insert changed.
func (w *watched) look() {
	now := look(w.header)
	w.Changes = append(w.Changes, changes(w.state, now)...)
	w.state = now
}

func (w *watched) end(n int) {
	w.Len = n
	w.Blocks = blocks(w.header)
}

// fill inserts count keys.
func fill[K comparable, V any](note string, hint, count int, key func(int) K, value V) (map[K]V, *watched) {
	var m map[K]V
	if hint < 0 {
		m = map[K]V{}
	} else {
		m = make(map[K]V, hint)
	}
	w := watch(fmt.Sprintf("%s, hint %d, %d keys", note, hint, count), m)
	for i := 0; i < count; i++ {
		m[key(i)] = value
		w.look()
	}
	w.end(len(m))
	return m, w
}

func sum[K comparable, V any](m map[K]V) int { return len(m) }

func number(i int) int         { return i * 7 }
func text(i int) string        { return "k" + strconv.Itoa(i) }
func wide(i int) (k [200]byte) { copy(k[:], text(i)); return }
func pair(i int) (p [2]*int) {
	p[0] = &numbers[i%len(numbers)]
	p[1] = &numbers[i/len(numbers)]
	return
}
func half(i int) uint32          { return uint32(i) }
func floating(i int) (f float64) { return float64(i) / 3 }

var numbers [64]int

// fillAll makes maps of many kinds; what it returns depends on nothing but the keys.
func fillAll() int {
	total := 0
	for _, hint := range []int{-1, 0, 8, 9, 100, 3000} {
		m, _ := fill("ints", hint, 6000, number, 1)
		for _, v := range m {
			total += v
		}
	}
	a, _ := fill("strings", -1, 3000, text, []byte(nil))
	b, _ := fill("set", -1, 5000, half, struct{}{})
	c, _ := fill("wide keys", -1, 300, wide, [2]int{})
	d, _ := fill("wide elems", -1, 300, number, [200]byte{})
	e, _ := fill("pointers", 20, 2000, pair, "x")
	f, _ := fill("floats", -1, 1, floating, true)
	return total + sum(a) + sum(b) + sum(c) + sum(d) + sum(e) + sum(f)
}

// churn deletes as much as it inserts: a classic map grows to its own size then.
func churn() int {
	m := map[int]int{}
	w := watch("churned", m)
	for i := 0; i < 40000; i++ {
		m[i] = i
		w.look()
		delete(m, i-300)
		w.look()
	}
	w.end(len(m))
	return len(m)
}

func clearing() int {
	m, w := fill("cleared", -1, 500, number, 2)
	for round := 0; round < 3; round++ {
		w.Cleared = append(w.Cleared, len(m))
		clear(m)
		w.look()
		for i := 0; i < 100; i++ {
			m[i*round] = i
			w.look()
		}
	}
	w.end(len(m))
	return len(m)
}

func cloning() int {
	total := 0
	for _, count := range []int{1, 8, 9, 500, 9000} {
		m, source := fill("cloned", -1, count, number, 3)
		clone := maps.Clone(m)
		w := watch(fmt.Sprintf("clone of %d", count), clone)
		w.Changes = nil
		w.Source = source.Address
		w.end(len(clone))
		for k, v := range clone {
			total += k * v
		}
	}
	return total
}

// drop makes maps that nobody holds and lets the collector have them.
func drop() {
	var dropped []*watched
	for i := 0; i < 8; i++ {
		_, w := fill("dropped", -1, 60*i, number, 5)
		dropped = append(dropped, w)
	}
	for _, w := range dropped {
		w.keep, w.header = nil, nil
		w.Dropped = true
	}
	for i := 0; i < 3; i++ {
		runtime.GC()
	}
}

type (
	first int
	last  int
)

// marked has maps in the ring and in the trace before and after all others.
func marked[K comparable](key K) {
	m := map[K]int{}
	w := watch("mark", m)
	m[key] = 1
	w.look()
	w.end(1)
}

// waited makes waiting something the compiler cannot drop.
var waited int

// waiting is where debuggers break: the list is written.
//
//go:noinline
func waiting() { waited++ }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	if name := os.Getenv("RING_TRACE"); name != "" {
		file, err := os.Create(name)
		must(err)
		must(trace.Start(file))
	}
	marked(first(1))
	total := fillAll() + churn() + clearing() + cloning()
	var group sync.WaitGroup
	for i := 0; i < 4; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			fill("goroutine", -1, 4000, number, uint8(1))
		}()
	}
	group.Wait()
	drop()
	marked(last(1))
	if os.Getenv("RING_TRACE") != "" {
		trace.Stop()
	}
	file, err := os.Create(os.Args[1])
	must(err)
	encoder := json.NewEncoder(file)
	for _, w := range all {
		must(encoder.Encode(w.listed))
	}
	must(file.Close())
	fmt.Println("CHECKSUM", total)
	waiting()
	if len(os.Args) > 2 && os.Args[2] == "crash" {
		panic("as asked")
	}
	runtime.KeepAlive(all)
}
