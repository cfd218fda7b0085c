package main

import (
	"reflect"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// stackFact is a map on the stack of a goroutine that has come to its last wait.
type stackFact struct {
	place        string
	typ          reflect.Type
	header, near uintptr
	n            int
}

var (
	// started counts goroutines that have made their maps.
	started sync.WaitGroup
	// asked is closed after the last collection, which may move a stack.
	asked = make(chan struct{})
	// told takes what goroutines say of maps on their stacks.
	told = make(chan stackFact, 1000)
	// never is what goroutines wait for.
	never = make(chan struct{})
	// nobody receives from this one.
	nobody  = make(chan struct{})
	lock    sync.Mutex
	onLock  = sync.NewCond(&lock)
	tellers int
)

// blocked waits in one of the ways a goroutine can wait.
//
//go:noinline
func blocked(way int) {
	started.Done()
	switch way {
	case 0:
		<-never
	case 1:
		select {
		case <-never:
		case <-make(chan int):
		}
	case 2:
		lock.Lock()
		onLock.Wait()
	case 3:
		time.Sleep(1000 * time.Hour)
	case 4:
		var ends [2]int
		if err := syscall.Pipe(ends[:]); err != nil {
			fail("%v", err)
		}
		var b [1]byte
		syscall.Read(ends[0], b[:])
	case 5:
		var group sync.WaitGroup
		group.Add(1)
		group.Wait()
	case 6:
		nobody <- struct{}{}
	}
}

var ways = []string{"channel", "select", "sync.Cond", "time.Sleep", "system call", "sync.WaitGroup", "channel send"}

//go:noinline
func localMaps(way, i int) {
	place := "goroutine's variable, waits: " + ways[way]
	a := note(place, mk[map[string]int](size(i)))
	b := note(place, mk[map[uint16]*User](size(i+1)))
	blocked(way)
	keepMap(a)
	keepMap(b)
}

//go:noinline
func parameters(way int, a map[string]uint64, b Index, s Shelf) {
	blocked(way)
	keepMap(a)
	keepMap(b)
	keepMap(s.Books)
	keepMap(s.seen)
}

//go:noinline
func deferred(way, i int) {
	m := note("deferred closure", mk[map[string]Point](size(i)))
	defer func() { keepMap(m) }()
	for k := 0; k < 2; k++ {
		x := note("deferred in a loop", mk[map[Point]int](size(i+k)))
		defer func() { keepMap(x) }()
	}
	blocked(way)
}

//go:noinline
func keepMap[K comparable, V any](m map[K]V) {
	if m == nil {
		waited++
	}
}

// tell reports a map on the caller's stack, which has room enough not to move any more.
func tell(t reflect.Type, header, near uintptr, n int) {
	told <- stackFact{"goroutine's stack", t, header, near, n}
}

//go:noinline
func stackStrings(n int) {
	m := map[string]int{}
	for i := 0; i < n; i++ {
		m[letters[i%26:i%26+1+i/26]] = i
	}
	started.Done()
	<-asked
	growStack(8)
	tell(reflect.TypeOf(map[string]int(nil)), headerOf(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&n)), len(m))
	<-never
	keep(unsafe.Pointer(&m))
}

//go:noinline
func stackInts(n int) {
	m := make(map[int]string, 8)
	for i := 0; i < n; i++ {
		m[i] = "v"
	}
	started.Done()
	<-asked
	growStack(8)
	tell(reflect.TypeOf(map[int]string(nil)), headerOf(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&n)), len(m))
	<-never
	keep(unsafe.Pointer(&m))
}

//go:noinline
func stackSet(n int) {
	m := Set{}
	for i := 0; i < n; i++ {
		m[letters[i%26:i%26+1+i/26]] = struct{}{}
	}
	started.Done()
	<-asked
	growStack(8)
	tell(reflect.TypeOf(Set(nil)), headerOf(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&n)), len(m))
	<-never
	keep(unsafe.Pointer(&m))
}

//go:noinline
func stackPoints(n int) {
	m := map[Point]*User{}
	for i := 0; i < n; i++ {
		m[Point{int32(i), 0}] = nil
	}
	started.Done()
	<-asked
	growStack(8)
	tell(reflect.TypeOf(map[Point]*User(nil)), headerOf(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&n)), len(m))
	<-never
	keep(unsafe.Pointer(&m))
}

//go:noinline
func stackBytes(n int) {
	m := map[uint8]uint8{}
	for i := 0; i < n; i++ {
		m[uint8(i)] = 1
	}
	started.Done()
	<-asked
	growStack(8)
	tell(reflect.TypeOf(map[uint8]uint8(nil)), headerOf(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&n)), len(m))
	<-never
	keep(unsafe.Pointer(&m))
}

const letters = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"

// start runs f, which calls started.Done once, in a goroutine.
func start(f func()) {
	started.Add(1)
	go f()
}

func startGoroutines() {
	for i := 0; i < 21; i++ {
		i, way := i, i%len(ways)
		if ways[way] == "system call" && i > len(ways) {
			// Each takes a thread.
			way = 0
		}
		start(func() { localMaps(way, i) })
		start(func() { deferred(way%2, i) })
		started.Add(1)
		s := newShelf(i)
		go parameters(way%2, note("parameter", mk[map[string]uint64](size(i))), note("parameter", mk[Index](size(i))),
			Shelf{"s", note("parameter", s.Books), note("parameter", s.seen)})
		captured := note("captured by a goroutine", mk[map[float64]string](size(i)))
		start(func() {
			blocked(0)
			keepMap(captured)
		})
	}
	// Of few entries, with storage on the stack, and of many, with storage in the heap.
	for _, n := range []int{0, 1, 5, 8, 9, 40, 60} {
		n := n
		for _, f := range []func(int){stackStrings, stackInts, stackSet, stackPoints, stackBytes} {
			f := f
			tellers++
			start(func() { f(n) })
		}
	}
	started.Wait()
}

// askGoroutines lets the goroutines tell where their maps are.
func askGoroutines() {
	close(asked)
	for i := 0; i < tellers; i++ {
		f := <-told
		onStack(f.place, f.typ, f.header, f.near, f.n)
	}
}
