// Profiles makes allocations, waits and goroutines of known kinds, writes what the runtime's own
// profiles say of them to files in the directory named by its argument, and panics; run it with
// GOTRACEBACK=crash for a core. The rate of the heap profile is GODEBUG's memprofilerate.
//
//	truth.json      the records of MemProfile, BlockProfile, MutexProfile and GoroutineProfile
//	heap.pb.gz      what runtime/pprof writes of the heap
//	block.txt       and of waits, as text
//	goroutine.txt   and of goroutines, with labels
//	stacks.txt      runtime.Stack
//
// A second argument "silent" asks the runtime for nothing: what is known then is what the program
// did. With "ticks" a goroutine waits for another, the program prints how many nanoseconds that was
// at least and at most, and panics; with "stand" it stands in stand instead.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

const silentObjects = 777

type record struct {
	Stack  []uint64 `json:"stack"`
	Values []int64  `json:"values"`
}

type truth struct {
	Heap       []record `json:"heap"`
	Block      []record `json:"block"`
	Mutex      []record `json:"mutex"`
	Goroutines [][]uint64
	Rate       int
}

type large [200]byte

var (
	classic = map[int]int{}
	texts   = map[string]large{}
	pool    [][]byte
	lock    sync.Mutex
	rw      sync.RWMutex
	never   = make(chan int)
	parked  sync.WaitGroup
	sink    any
)

//go:noinline
func fill(n int) {
	for i := 0; i < n; i++ {
		classic[i] = i
	}
}

//go:noinline
func fillTexts(n int) {
	for i := 0; i < n; i++ {
		texts["key "+strconv.Itoa(i)] = large{}
	}
}

//go:noinline
func known() {
	for i := 0; i < silentObjects; i++ {
		pool = append(pool, make([]byte, 3072))
	}
}

//go:noinline
func drop() {
	for i := range pool {
		if i%3 == 0 {
			pool[i] = nil
		}
	}
}

// Both are inlined into who calls them.
func locked(f func()) {
	lock.Lock()
	f()
	lock.Unlock()
}

func nested(f func()) { locked(f) }

//go:noinline
func contend() {
	var done sync.WaitGroup
	for i := 0; i < 4; i++ {
		done.Add(1)
		go func() {
			defer done.Done()
			for n := 0; n < 5; n++ {
				nested(func() { time.Sleep(200 * time.Microsecond) })
			}
		}()
	}
	done.Wait()
}

//go:noinline
func channels() {
	c := make(chan int)
	go func() {
		for i := 0; i < 3; i++ {
			time.Sleep(time.Millisecond)
			c <- i
		}
		close(c)
	}()
	for range c {
		runtime.Gosched()
	}
}

type shape interface{ area(n int) int }

type square struct{ c chan int }

//go:noinline
func (s square) area(n int) int {
	parked.Done()
	return <-s.c + n
}

//go:noinline
func deep(n int) int {
	if n == 0 {
		parked.Done()
		return <-never
	}
	return deep(n-1) + n
}

func park() {
	labels := pprof.Labels("map", "sessions", "tenant", "ä \"x\"")
	parked.Add(6)
	for i := 0; i < 2; i++ {
		go pprof.Do(context.Background(), labels, func(context.Context) { deep(3) })
	}
	// By way of a wrapper that the compiler makes.
	go func() {
		var s shape = &square{never}
		sink = s.area(1)
	}()
	go func() {
		parked.Done()
		lock.Lock()
	}()
	go func() {
		parked.Done()
		select {}
	}()
	go func() {
		parked.Done()
		rw.Lock()
	}()
	parked.Wait()
	for waiting() < 6 {
		time.Sleep(time.Millisecond)
	}
}

// Waiting counts the goroutines of park that have come to rest.
func waiting() int {
	text := make([]byte, 1<<16)
	text = text[:runtime.Stack(text, true)]
	count := 0
	for _, reason := range []string{"[chan receive", "[select (no cases)", "[sync.Mutex.Lock", "[sync.RWMutex.Lock", "[semacquire"} {
		for i := 0; i+len(reason) <= len(text); i++ {
			if string(text[i:i+len(reason)]) == reason {
				count++
			}
		}
	}
	return count
}

// Wait is held up by a sleep of another goroutine.
//
//go:noinline
func wait(c chan int) int { return <-c }

func ticks() {
	runtime.SetBlockProfileRate(1)
	c := make(chan int)
	go func() {
		// Until the other one waits.
		for stack := make([]byte, 1<<16); !bytes.Contains(stack[:runtime.Stack(stack, true)], []byte("[chan receive")); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		c <- 1
	}()
	begin := time.Now()
	wait(c)
	fmt.Printf("WAITED %d %d\n", 100*time.Millisecond, time.Since(begin))
}

//go:noinline
func stand() { select {} }

func words(stack []uintptr) []uint64 {
	result := make([]uint64, len(stack))
	for i, pc := range stack {
		result[i] = uint64(pc)
	}
	return result
}

func create(dir, name string) *os.File {
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		panic(err)
	}
	return file
}

func waits(profile func([]runtime.BlockProfileRecord) (int, bool)) []record {
	records := make([]runtime.BlockProfileRecord, 10000)
	n, ok := profile(records)
	if !ok {
		panic("too many records")
	}
	var result []record
	for _, r := range records[:n] {
		result = append(result, record{words(r.Stack()), []int64{r.Count, r.Cycles}})
	}
	return result
}

func main() {
	debug.SetGCPercent(-1)
	dir := os.Args[1]
	mode := ""
	if len(os.Args) > 2 {
		mode = os.Args[2]
	}
	if mode == "ticks" || mode == "stand" {
		ticks()
		if mode == "stand" {
			stand()
		}
		panic("stop")
	}
	fill(5000)
	fillTexts(300)
	known()
	if mode == "silent" {
		known()
		panic("stop")
	}
	runtime.SetBlockProfileRate(1)
	runtime.SetMutexProfileFraction(1)
	contend()
	channels()
	runtime.GC()
	drop()
	fill(9000)
	runtime.GC()
	// Counted, but not shown yet.
	known()
	lock.Lock()
	rw.RLock()
	park()

	var t truth
	t.Rate = runtime.MemProfileRate
	text := make([]byte, 1<<20)
	text = text[:runtime.Stack(text, true)]
	goroutines := make([]runtime.StackRecord, 1000)
	n, ok := runtime.GoroutineProfile(goroutines)
	if !ok {
		panic("too many goroutines")
	}
	for _, r := range goroutines[:n] {
		t.Goroutines = append(t.Goroutines, words(r.Stack()))
	}
	t.Block = waits(runtime.BlockProfile)
	t.Mutex = waits(runtime.MutexProfile)
	records := make([]runtime.MemProfileRecord, 100000)
	n, ok = runtime.MemProfile(records, true)
	if !ok {
		panic("too many records")
	}
	for _, r := range records[:n] {
		values := []int64{r.AllocObjects, r.AllocBytes, r.InUseObjects(), r.InUseBytes()}
		t.Heap = append(t.Heap, record{words(r.Stack()), values})
	}
	for name, kind := range map[string]string{"heap.pb.gz": "heap", "block.txt": "block", "mutex.txt": "mutex", "goroutine.txt": "goroutine"} {
		file := create(dir, name)
		level := 1
		if kind == "heap" {
			level = 0
		}
		if err := pprof.Lookup(kind).WriteTo(file, level); err != nil {
			panic(err)
		}
		file.Close()
	}
	stacks := create(dir, "stacks.txt")
	fmt.Fprintf(stacks, "%s", text)
	stacks.Close()
	file := create(dir, "truth.json")
	if err := json.NewEncoder(file).Encode(t); err != nil {
		panic(err)
	}
	file.Close()
	panic("stop")
}
