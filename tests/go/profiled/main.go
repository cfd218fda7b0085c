// Profiled allocates maps and other things at known places, waits, spins, and writes all profiles
// of itself to the folder DIR: NAME.pb.gz, and NAME.txt with debug=1. What the runtime's own
// records say of each stack, frame by frame, is written to DIR/truth.json.
//
//	profiled -dir DIR [-rate N] [-series N] [-wait | -serve]
//
// -rate is MemProfileRate (1: every allocation; 0: the usual). -series writes N more heap profiles,
// heap-1.pb.gz and so on, while a map grows and another is made anew again and again. Then it prints
// READY and ends; with -wait it sleeps forever, with -serve (if built with -tags serve) it prints
// the address of its /debug/pprof/, too.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

func init() {
	// Before anything of ours is allocated; flags are parsed too late.
	for i, arg := range os.Args {
		if arg == "-rate" && i+1 < len(os.Args) {
			if rate, err := strconv.Atoi(os.Args[i+1]); err == nil && rate > 0 {
				runtime.MemProfileRate = rate
			}
		}
	}
}

type point struct{ x, y int64 }

type wide [200]byte

// What is to stay in use.
var (
	grown    map[int64]int64
	hinted   map[string]int
	literal  map[string]bool
	small    []map[int]int
	words    map[string]point
	indirect map[string]wide
	reflects reflect.Value
	generics map[string]int
	inlined  map[int32]int32
	slices   [][]byte
	mixed    map[string]int
	pieces   [][]byte
	names    []string
	boxes    map[any]int
	ring     = make([]map[int64]int64, 4)
	sink     any
)

//go:noinline
func doGrow(n int) {
	m := map[int64]int64{}
	for i := 0; i < n; i++ {
		m[int64(i)] = int64(i)
	}
	grown = m
}

//go:noinline
func doHint(keys []string) {
	m := make(map[string]int, len(keys))
	for i, key := range keys {
		m[key] = i
	}
	hinted = m
}

//go:noinline
func doLiteral() {
	literal = map[string]bool{
		"a": true, "b": true, "c": true, "d": true, "e": true, "f": true, "g": true, "h": true,
		"i": true, "j": true, "k": true, "l": true, "m": true, "n": true, "o": true, "p": true,
		"q": true, "r": true, "s": true, "t": true, "u": true, "v": true, "w": true, "x": true,
		"y": true, "z": true, "aa": true, "ab": true, "ac": true, "ad": true, "ae": true,
	}
}

//go:noinline
func doSmall(n int) {
	small = make([]map[int]int, n)
	for i := range small {
		small[i] = make(map[int]int)
		small[i][i] = i
	}
}

//go:noinline
func doStructs(keys []string) {
	m := make(map[string]point)
	for i, key := range keys {
		m[key] = point{int64(i), 1}
	}
	words = m
}

//go:noinline
func doIndirect(keys []string) {
	m := make(map[string]wide)
	for _, key := range keys {
		m[key] = wide{1}
	}
	indirect = m
}

//go:noinline
func doReflect(n int) {
	m := reflect.MakeMap(reflect.TypeOf(map[int]int32(nil)))
	for i := 0; i < n; i++ {
		m.SetMapIndex(reflect.ValueOf(i), reflect.ValueOf(int32(i)))
	}
	reflects = m
}

//go:noinline
func fill[K comparable, V any](m map[K]V, keys []K, value V) {
	for _, key := range keys {
		m[key] = value
	}
}

//go:noinline
func doGeneric(keys []string) {
	m := make(map[string]int)
	fill(m, keys, 1)
	generics = m
}

// put is inlined.
func put(m map[int32]int32, at int32) { m[at] = at }

//go:noinline
func doInlined(n int) {
	m := make(map[int32]int32)
	for i := 0; i < n; i++ {
		put(m, int32(i))
	}
	inlined = m
}

//go:noinline
func doSlices(n int) {
	for i := 0; i < n; i++ {
		slices = append(slices, make([]byte, 3000))
	}
}

// doMixed allocates a key, an entry, bytes and room for a slice on one line.
//
//go:noinline
func doMixed(n int) {
	mixed = make(map[string]int)
	for i := 0; i < n; i++ {
		mixed["k"+strconv.Itoa(i+1000)], pieces = i, append(pieces, make([]byte, 100))
	}
}

//go:noinline
func doBoxes(n int) {
	m := make(map[any]int)
	for i := 0; i < n; i++ {
		m[i+1000] = i
	}
	boxes = m
}

// doChurn makes maps that nobody keeps.
//
//go:noinline
func doChurn(n int) {
	for i := 0; i < n; i++ {
		m := make(map[int64]int64, 500)
		m[int64(i)] = 1
		ring[i%len(ring)] = m
	}
}

// doDelete takes away and puts again, so that a map makes room without growing.
//
//go:noinline
func doDelete(m map[int64]int64, n int) {
	for i := 0; i < n; i++ {
		delete(m, int64(i))
		m[int64(i+1_000_000)] = 1
	}
}

//go:noinline
func spinMaps(until time.Time) int {
	total := 0
	for time.Now().Before(until) {
		m := map[int64]int64{}
		for i := int64(0); i < 20_000; i++ {
			m[i] = i
		}
		for i := int64(0); i < 20_000; i++ {
			total += int(m[i])
		}
		for key := range m {
			total += int(key)
		}
		for i := int64(0); i < 20_000; i++ {
			delete(m, i)
		}
	}
	return total
}

//go:noinline
func spinSums(until time.Time) uint64 {
	total := uint64(1)
	for time.Now().Before(until) {
		for i := uint64(0); i < 100_000; i++ {
			total = total*6364136223846793005 + i
		}
	}
	return total
}

func spin() {
	labels := pprof.Labels("work", "maps", "quoted", "a \"b\"\n\x01ü")
	pprof.Do(context.Background(), labels, func(context.Context) {
		sink = spinMaps(time.Now().Add(400 * time.Millisecond))
	})
	pprof.Do(context.Background(), pprof.Labels("work", "sums"), func(context.Context) {
		sink = spinSums(time.Now().Add(200 * time.Millisecond))
	})
}

// wait lets goroutines wait for a mutex and a channel.
func wait() {
	var mutex sync.Mutex
	var group sync.WaitGroup
	table := map[int]int{}
	for i := 0; i < 4; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			for j := 0; j < 20; j++ {
				mutex.Lock()
				table[i] += j
				time.Sleep(200 * time.Microsecond)
				mutex.Unlock()
			}
		}(i)
	}
	group.Wait()
	done := make(chan int)
	go func() {
		time.Sleep(5 * time.Millisecond)
		done <- 1
	}()
	<-done
}

//go:noinline
func parked(ready *sync.WaitGroup) {
	ready.Done()
	select {}
}

// park leaves goroutines behind, some of them labelled.
func park() {
	var ready sync.WaitGroup
	ready.Add(6)
	for i := 0; i < 3; i++ {
		go parked(&ready)
	}
	labels := pprof.Labels("map", "user \"cache\", {x}", "tab", "a\tb\\")
	pprof.Do(context.Background(), labels, func(context.Context) {
		for i := 0; i < 3; i++ {
			go parked(&ready)
		}
	})
	ready.Wait()
}

type frame struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
}

type record struct {
	Frames       []frame `json:"frames"`
	AllocObjects int64   `json:"alloc_objects"`
	AllocBytes   int64   `json:"alloc_bytes"`
	InUseObjects int64   `json:"inuse_objects"`
	InUseBytes   int64   `json:"inuse_bytes"`
}

// truth is what runtime.MemProfile has, before anyone scaled or trimmed it.
func truth() []record {
	n, _ := runtime.MemProfile(nil, true)
	var records []runtime.MemProfileRecord
	for {
		records = make([]runtime.MemProfileRecord, n+100)
		var ok bool
		if n, ok = runtime.MemProfile(records, true); ok {
			break
		}
	}
	var result []record
	for _, r := range records[:n] {
		next := record{
			AllocObjects: r.AllocObjects, AllocBytes: r.AllocBytes,
			InUseObjects: r.InUseObjects(), InUseBytes: r.InUseBytes(),
		}
		frames := runtime.CallersFrames(r.Stack())
		for {
			f, more := frames.Next()
			next.Frames = append(next.Frames, frame{f.Function, f.File, f.Line})
			if !more {
				break
			}
		}
		result = append(result, next)
	}
	return result
}

// serve is replaced where the program is built with -tags serve: net/http takes long to compile.
var serve = func() error { return errors.New("built without -tags serve") }

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
		os.Exit(1)
	}
}

func write(dir, file, name string, debug int) {
	f, err := os.Create(filepath.Join(dir, file))
	check(err)
	check(pprof.Lookup(name).WriteTo(f, debug))
	check(f.Close())
}

func main() {
	dir := flag.String("dir", "", "where the files go")
	_ = flag.Int("rate", 0, "MemProfileRate")
	series := flag.Int("series", 0, "how many heap profiles to write of a map that grows")
	waits := flag.Bool("wait", false, "sleep forever")
	serves := flag.Bool("serve", false, "serve /debug/pprof/")
	flag.Parse()

	runtime.SetBlockProfileRate(1)
	runtime.SetMutexProfileFraction(1)
	file, err := os.Create(filepath.Join(*dir, "cpu.pb.gz"))
	check(err)
	check(pprof.StartCPUProfile(file))

	keys := make([]string, 20_000)
	for i := range keys {
		keys[i] = "key-" + strconv.Itoa(i)
	}
	names = keys
	doGrow(60_000)
	doHint(keys)
	doLiteral()
	doSmall(5_000)
	doStructs(keys)
	doIndirect(keys[:5_000])
	doReflect(5_000)
	doGeneric(keys)
	doInlined(30_000)
	doSlices(500)
	doMixed(20_000)
	doBoxes(5_000)
	doChurn(300)
	doDelete(grown, 30_000)
	wait()
	spin()
	park()
	pprof.StopCPUProfile()
	check(file.Close())

	// Allocations count as freed, and in use, from the second collection on.
	runtime.GC()
	runtime.GC()
	profiles := []string{"heap", "allocs", "goroutine", "block", "mutex", "threadcreate"}
	for _, name := range profiles {
		write(*dir, name+".pb.gz", name, 0)
		write(*dir, name+".txt", name, 1)
	}
	if pprof.Lookup("goroutineleak") != nil {
		write(*dir, "goroutineleak.pb.gz", "goroutineleak", 0)
	}
	text, err := json.Marshal(truth())
	check(err)
	check(os.WriteFile(filepath.Join(*dir, "truth.json"), text, 0o644))

	for i := 1; i <= *series; i++ {
		step := int64(i) << 40
		for j := int64(0); j < 60_000; j++ {
			grown[step+j] = j
		}
		doChurn(300)
		doSmall(5_000 * i)
		runtime.GC()
		runtime.GC()
		write(*dir, "heap-"+strconv.Itoa(i)+".pb.gz", "heap", 0)
		write(*dir, "heap-"+strconv.Itoa(i)+".txt", "heap", 1)
	}
	if *serves {
		check(serve())
	}
	fmt.Println("READY")
	if *waits {
		for {
			time.Sleep(time.Hour)
		}
	}
}
