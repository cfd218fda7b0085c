// Growth makes maps, writes where they are to the file named by its first argument, prints READY and
// calls waiting, where a debugger may ask when each grows next. Then it inserts new keys into each, one
// by one, and writes to the same name with ".after" what grew, and after how many.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"unsafe"
)

// listed is what is said of a map before waiting.
type listed struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Note    string `json:"note"`
	Growing bool   `json:"growing"` // a classic map that evacuates
}

// grown is what is said of it after.
type grown struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Inserts int    `json:"inserts"` // new keys that fitted before the one that made it grow
	Kind    string `json:"kind"`
}

type specimen struct {
	header unsafe.Pointer
	typ    reflect.Type
	note   string
	insert func()
}

var specimens []specimen

// waited makes waiting something the compiler cannot drop.
var waited int

// waiting is where debuggers break: the list is written.
//
//go:noinline
func waiting() { waited++ }

// fill makes a map of count keys, of which only the last kept remain.
func fill[K comparable, V any](note string, hint, count, kept int, key func(int) K) {
	var m map[K]V
	if hint < 0 {
		m = map[K]V{}
	} else {
		m = make(map[K]V, hint)
	}
	next := 0
	insert := func() {
		var v V
		m[key(next)] = v
		next++
	}
	for next < count {
		insert()
	}
	for i := 0; i < count-kept; i++ {
		delete(m, key(i))
	}
	add(fmt.Sprintf("%s: hint %d, %d keys, %d kept", note, hint, count, kept), m, insert)
}

func add[K comparable, V any](note string, m map[K]V, insert func()) {
	v := reflect.ValueOf(m)
	specimens = append(specimens, specimen{v.UnsafePointer(), v.Type(), note, insert})
}

// churn fills a map and empties it again until it is crowded; so many keys more are inserted then.
func churn(size, more int) {
	m := map[uint32]uint32{}
	header := reflect.ValueOf(m).UnsafePointer()
	first, next := uint32(0), uint32(0)
	insert := func() { m[next] = next; next++ }
	for round := 0; round < 500; round++ {
		for len(m) < size {
			insert()
			if len(m) > size/2 && crowded(header, 3) && round > 2 {
				break
			}
		}
		if round > 2 && crowded(header, 3) {
			break
		}
		// Not by range: that loop is compiled to a clear, which frees overflow buckets.
		for ; first < next; first++ {
			delete(m, first)
		}
	}
	for i := 0; i < more; i++ {
		insert()
	}
	add(fmt.Sprintf("churned: %d, %d more", size, more), m, insert)
}

// most is how many entries some small size of map holds.
func most() int {
	m := map[uint32]uint32{}
	header := reflect.ValueOf(m).UnsafePointer()
	for next := uint32(0); ; next++ {
		before := look(header)
		m[next] = next
		if look(header) != before && next > 150 {
			return int(next)
		}
	}
}

// replace keeps a map that is all but full at its size and replaces its keys until that brings a
// classic map to so many overflow buckets before a growth that keeps the size, or, with -1, begins it;
// and some more times.
func replace(free, before, more int) {
	size := most() - free
	m := make(map[uint32]uint32, size)
	header := reflect.ValueOf(m).UnsafePointer()
	next := uint32(0)
	insert := func() { m[next] = next; next++ }
	for len(m) < size {
		insert()
	}
	for growing(header) {
		m[0] = 0
	}
	for i := 0; i < rounds && !growing(header) && (before < 0 || !crowded(header, before)); i++ {
		delete(m, next-uint32(size))
		insert()
	}
	for i := 0; i < more; i++ {
		delete(m, next-uint32(size))
		insert()
	}
	add(fmt.Sprintf("replaced: %d free, %d before, %d more", free, before, more), m, insert)
}

func main() {
	number := func(i int) int { return i }
	text := func(i int) string { return "key-" + strconv.Itoa(i) }
	sizes := []int{0, 1, 4, 7, 8, 9, 15, 100, 447, 448, 449, 895, 896, 897, 1000, 6400, 20000, 120000}
	for _, full := range []int{13, 24, 26, 48, 52, 384, 416, 6144, 6656} {
		sizes = append(sizes, full-1, full, full+1, full+5)
	}
	for _, n := range sizes {
		fill[int, int]("ints", -1, n, n, number)
	}
	for _, n := range []int{3, 8, 9, 60, 500, 3000} {
		fill[string, string]("strings", -1, n, n, text)
		fill[int, struct{}]("set", -1, n, n, number)
		fill[int, [200]byte]("indirect", -1, n, n, number)
	}
	for _, hint := range []int{5, 8, 9, 14, 100, 897, 1000, 1800, 5000} {
		fill[int, *int]("hinted", hint, hint/2, hint/2, number)
		fill[int, *int]("hinted, unused", hint, 0, 0, number)
	}
	for _, n := range []int{7, 12, 100, 800, 5000} {
		fill[int, int]("deleted", -1, n, n/10, number)
		fill[string, int]("emptied", -1, n, 0, text)
	}
	for _, more := range []int{0, 1, 2, 4, 8, 30, 100} {
		churn(400, more)
		churn(3000, more)
	}

	for _, free := range []int{1, 3, 12} {
		for _, more := range []int{0, 4, 9} {
			replace(free, -1, more)
		}
		for before := 0; before < 4; before++ {
			replace(free, before, 0)
		}
	}

	name := os.Args[1]
	var rows []any
	for _, s := range specimens {
		rows = append(rows, listed{address(s), s.typ.String(), s.note, growing(s.header)})
	}
	write(name, rows)
	fmt.Println("READY")
	waiting()
	rows = nil
	for _, s := range specimens {
		first := look(s.header)
		inserts := 0
		for s.insert(); look(s.header) == first; s.insert() {
			inserts++
		}
		rows = append(rows, grown{address(s), s.typ.String(), inserts, kind(first, look(s.header))})
	}
	write(name+".after", rows)
}

func address(s specimen) string { return fmt.Sprintf("%#x", uintptr(s.header)) }

// write puts rows into a file, one line of JSON each.
func write(name string, rows []any) {
	file, err := os.Create(name)
	if err == nil {
		encoder := json.NewEncoder(file)
		for _, row := range rows {
			if err == nil {
				err = encoder.Encode(row)
			}
		}
	}
	if err != nil || file.Close() != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}
