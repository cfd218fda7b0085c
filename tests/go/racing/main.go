// Racing lets goroutines use one map without a lock until the runtime ends the process, while
// others write maps of their own as one should.
//
//	racing KIND MODE TRUTH
//
// KIND is the map's type, MODE what the others do while one writes; "certain": one only says in the
// map's header that it writes, which others cannot miss; "guard": there are no such, and the
// process goes on until it is killed. TRUTH is a file of JSON lines:
// the address of each map, and the number and the function of each goroutine. It is complete before
// the first racer begins.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"
)

type pair struct {
	a, b int32
	name string
}

// kind is a map type, as the racers use it.
type kind[K comparable] struct {
	key func(int) K
}

// shop holds the map that is raced for, as programs do.
type shop[K comparable] struct {
	name string
	byID map[K]int
}

type row struct {
	Kind     string `json:"kind"`
	Name     string `json:"name,omitempty"`
	Address  uint64 `json:"address,omitempty"`
	Type     string `json:"type,omitempty"`
	ID       uint64 `json:"id,omitempty"`
	Function string `json:"function,omitempty"`
	Does     string `json:"does,omitempty"`
}

var (
	truth   *os.File
	mutex   sync.Mutex
	started sync.WaitGroup
	begin   = make(chan struct{})
	decoys  sync.Map
)

func note(r row) {
	mutex.Lock()
	defer mutex.Unlock()
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	if _, err := truth.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

func header(m any) uint64 {
	return uint64(uintptr(pointer(m)))
}

func pointer(m any) unsafe.Pointer {
	return (*[2]unsafe.Pointer)(unsafe.Pointer(&m))[1]
}

// goid is the number in "goroutine 7 [running]:".
func goid() uint64 {
	var buffer [64]byte
	fields := bytes.Fields(buffer[:runtime.Stack(buffer[:], false)])
	id, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		panic(err)
	}
	return id
}

// ready notes who runs, and waits until all do.
func ready(kind, does string) {
	pcs := make([]uintptr, 1)
	runtime.Callers(2, pcs)
	frame, _ := runtime.CallersFrames(pcs).Next()
	note(row{Kind: kind, ID: goid(), Function: frame.Function, Does: does})
	started.Done()
	<-begin
}

//go:noinline
func write[K comparable](s *shop[K], k kind[K]) {
	ready("racer", "write")
	for i := 0; ; i++ {
		s.byID[k.key(i&0xffff)] = i
	}
}

//go:noinline
func read[K comparable](s *shop[K], k kind[K]) {
	ready("racer", "read")
	sum := 0
	for i := 0; ; i++ {
		sum += s.byID[k.key(i&0xffff)]
		sink = sum
	}
}

// claim says that it writes, and does not.
//
//go:noinline
func claim[K comparable](s *shop[K]) {
	ready("racer", "write")
	// internal/runtime/maps, Map.writing; before go1.24 hashWriting of hmap.flags.
	offset, bit := uintptr(34), byte(1)
	if minor := strings.Split(runtime.Version(), ".")[1]; minor < "24" {
		offset, bit = 8, 4
	}
	*(*byte)(unsafe.Add(pointer(s.byID), offset)) |= bit
	select {}
}

//go:noinline
func remove[K comparable](s *shop[K], k kind[K]) {
	ready("racer", "delete")
	for i := 0; ; i++ {
		delete(s.byID, k.key(i&0xffff))
	}
}

//go:noinline
func iterate[K comparable](s *shop[K]) {
	ready("racer", "iterate")
	for {
		sum := 0
		for _, value := range s.byID {
			sum += value
		}
		sink = sum
	}
}

//go:noinline
func empty[K comparable](s *shop[K]) {
	ready("racer", "clear")
	for {
		clear(s.byID)
	}
}

//go:noinline
func clone[K comparable](s *shop[K]) {
	ready("racer", "clone")
	for {
		sink = len(maps.Clone(s.byID))
	}
}

//go:noinline
func reflected[K comparable](s *shop[K], k kind[K]) {
	ready("racer", "write")
	value := reflect.ValueOf(s.byID)
	for i := 0; ; i++ {
		value.SetMapIndex(reflect.ValueOf(k.key(i&0xffff)), reflect.ValueOf(i))
	}
}

var sink int

// guarded writes a map of its own under a lock, as one should.
//
//go:noinline
func guarded[K comparable](k kind[K], number int) {
	var lock sync.Mutex
	// Two in turn: what is left of one call on the stack is not what the next one works on.
	own, other := map[K]int{}, map[K]int{}
	for _, m := range []map[K]int{own, other} {
		note(row{Kind: "decoy", Name: fmt.Sprint(number), ID: goid(), Address: header(m)})
		// On the heap: what is on a stack moves with it.
		decoys.Store(header(m), m)
	}
	ready("guard", "write")
	for i := 0; ; i++ {
		lock.Lock()
		own[k.key(i&0xffff)] = i
		if i&7 == 7 {
			delete(other, k.key((i-7)&0xffff))
		}
		other[k.key(i&0xfff)] = own[k.key(i&0xff)]
		lock.Unlock()
		if i&0xfff == 0 {
			time.Sleep(time.Microsecond)
		}
	}
}

func race[K comparable](mode string, k kind[K]) {
	s := &shop[K]{name: "shop", byID: map[K]int{}}
	kept = s
	for i := 0; i < 100; i++ {
		s.byID[k.key(i)] = i
	}
	note(row{Kind: "target", Address: header(s.byID), Type: fmt.Sprintf("%T", s.byID)})
	racers := []func(){func() { write(s, k) }, func() { write(s, k) }}
	switch mode {
	case "write":
	case "certain":
		racers = []func(){func() { claim(s) }, func() { read(s, k) }}
	case "guard":
		racers = nil
	case "read":
		racers[1] = func() { read(s, k) }
		racers = append(racers, racers[1])
	case "delete":
		racers[1] = func() { remove(s, k) }
	case "iterate":
		racers[1] = func() { iterate(s) }
	case "clear":
		racers[1] = func() { empty(s) }
	case "clone":
		racers[1] = func() { clone(s) }
	case "reflect":
		racers[0] = func() { reflected(s, k) }
		racers[1] = racers[0]
	default:
		panic("unknown mode " + mode)
	}
	const guards = 2
	started.Add(len(racers) + guards)
	for i := 0; i < guards; i++ {
		go guarded(k, i)
	}
	for _, racer := range racers {
		go racer()
	}
	started.Wait()
	close(begin)
	select {}
}

// kept keeps what is raced for reachable from a variable.
var kept any

var pointers [1 << 16]int

func main() {
	var err error
	if truth, err = os.Create(os.Args[3]); err != nil {
		panic(err)
	}
	switch os.Args[1] {
	case "int":
		race(os.Args[2], kind[int]{func(i int) int { return i }})
	case "int32":
		race(os.Args[2], kind[int32]{func(i int) int32 { return int32(i) }})
	case "string":
		race(os.Args[2], kind[string]{strconv.Itoa})
	case "pointer":
		race(os.Args[2], kind[*int]{func(i int) *int { return &pointers[i] }})
	case "struct":
		race(os.Args[2], kind[pair]{func(i int) pair { return pair{int32(i), 1, "x"} }})
	default:
		panic("unknown kind " + os.Args[1])
	}
}
