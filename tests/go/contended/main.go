// Contended has workers around a map that a lock guards, and two decoys: a lock without a map,
// that is waited for less, and a map without a lock, that is written more. It writes the
// profiles of the runtime to the directory named by its argument, and what it measured itself:
//
//	cpu.pb.gz heap.pb.gz block.pb.gz mutex.pb.gz goroutine.pb.gz heap.txt
//	truth.json   waits by function, see Waited
//
// Then it stands with two workers waiting for the guarded map, and ends: by a panic (run it with
// GOTRACEBACK=crash for a core), or, with a second argument, never: it stands in stand.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	workers = 4
	rounds  = 100000
)

// Waited is what the program measures itself of one function's Lock: how many had to wait, or
// spin, and how long until they ran again; and how long they waited at least.
type Waited struct {
	Locks int64 `json:"locks"`
	Ns    int64 `json:"ns"`
	Sure  int64 `json:"sure"`
}

func (w *Waited) add(since time.Time) {
	atomic.AddInt64(&w.Locks, 1)
	atomic.AddInt64(&w.Ns, int64(time.Since(since)))
}

var putWaited, getWaited, addWaited, helperWaited Waited

// Cache is a map and its lock.
type Cache struct {
	mu      sync.Mutex
	entries map[string]int
}

// Put assigns while it holds the lock.
//
//go:noinline
func (c *Cache) Put(key string, value int) {
	if !c.mu.TryLock() {
		since := time.Now()
		c.mu.Lock()
		putWaited.add(since)
	}
	c.entries[key] = value
	if len(c.entries) > 200000 {
		c.evict()
	}
	c.mu.Unlock()
}

//go:noinline
func (c *Cache) evict() {
	for key := range c.entries {
		delete(c.entries, key)
	}
}

// Get looks up, and unlocks when it returns.
//
//go:noinline
func (c *Cache) Get(key string) int {
	if !c.mu.TryLock() {
		since := time.Now()
		c.mu.Lock()
		getWaited.add(since)
	}
	defer c.mu.Unlock()
	return c.entries[key]
}

// Counter is a lock without a map.
type Counter struct {
	mu sync.Mutex
	n  int
}

// Add is held for a while, so that it is waited for.
//
//go:noinline
func (c *Counter) Add(n int) {
	if !c.mu.TryLock() {
		since := time.Now()
		c.mu.Lock()
		addWaited.add(since)
	}
	for i := 0; i < n; i++ {
		c.n += i
	}
	c.mu.Unlock()
}

// Table is a map whose lock is taken by a function of its own.
type Table struct {
	mu   sync.RWMutex
	rows map[int]int
}

//go:noinline
func (t *Table) lock() {
	if !t.mu.TryLock() {
		since := time.Now()
		t.mu.Lock()
		helperWaited.add(since)
	}
}

//go:noinline
func (t *Table) unlock() { t.mu.Unlock() }

// Set locks by way of others.
//
//go:noinline
func (t *Table) Set(key, value int) {
	t.lock()
	t.rows[key] = value
	t.unlock()
}

var private [workers]map[int]int

// Scribble is a map without a lock.
//
//go:noinline
func scribble(worker, n int) {
	own := private[worker]
	for i := 0; i < n; i++ {
		own[n*31+i] = i
	}
	if len(own) > 1<<16 {
		private[worker] = map[int]int{}
	}
}

var (
	cache   = &Cache{entries: map[string]int{}}
	counter = &Counter{}
	table   = &Table{rows: map[int]int{}}
)

func work(worker int) {
	for i := 0; i < rounds; i++ {
		key := "user-" + strconv.Itoa(worker*rounds+i)
		cache.Put(key, i)
		cache.Get(key)
		if i%4 == 0 {
			counter.Add(200)
			table.Set(i, worker)
		}
		scribble(worker, 20)
	}
}

func create(name string) *os.File {
	file, err := os.Create(filepath.Join(os.Args[1], name))
	if err != nil {
		panic(err)
	}
	return file
}

func write(kind, name string, level int) {
	file := create(name)
	defer file.Close()
	if err := pprof.Lookup(kind).WriteTo(file, level); err != nil {
		panic(err)
	}
}

// Queue lets n goroutines wait for a lock, and holds it for a while when they all do.
func (w *Waited) queue(lock sync.Locker, n int, hold time.Duration, call func()) {
	lock.Lock()
	var done sync.WaitGroup
	for i := 0; i < n; i++ {
		done.Add(1)
		go func() {
			defer done.Done()
			call()
		}()
	}
	for waiting() < n {
		time.Sleep(time.Millisecond)
	}
	since := time.Now()
	time.Sleep(hold)
	w.Sure += int64(n) * int64(time.Since(since))
	lock.Unlock()
	done.Wait()
}

// Late waits for the cache until the program ends.
func late(started *sync.WaitGroup) {
	started.Done()
	cache.Put("late", 1)
}

// Waiting counts the goroutines that wait for a lock.
func waiting() int {
	text := make([]byte, 1<<16)
	return bytes.Count(text[:runtime.Stack(text, true)], []byte("[sync.Mutex.Lock"))
}

func main() {
	runtime.SetBlockProfileRate(1)
	runtime.SetMutexProfileFraction(1)
	for i := range private {
		private[i] = map[int]int{}
	}
	cpu := create("cpu.pb.gz")
	if err := pprof.StartCPUProfile(cpu); err != nil {
		panic(err)
	}
	putWaited.queue(&cache.mu, 3, 100*time.Millisecond, func() { cache.Put("queue", 1) })
	getWaited.queue(&cache.mu, 2, 50*time.Millisecond, func() { cache.Get("queue") })
	addWaited.queue(&counter.mu, 1, 20*time.Millisecond, func() { counter.Add(1) })
	helperWaited.queue(&table.mu, 1, 20*time.Millisecond, func() { table.Set(1, 1) })
	var done sync.WaitGroup
	for worker := 0; worker < workers; worker++ {
		done.Add(1)
		go func(worker int) {
			defer done.Done()
			work(worker)
		}(worker)
	}
	done.Wait()
	pprof.StopCPUProfile()
	cpu.Close()

	truth := create("truth.json")
	err := json.NewEncoder(truth).Encode(map[string]*Waited{
		"main.(*Cache).Put": &putWaited, "main.(*Cache).Get": &getWaited,
		"main.(*Counter).Add": &addWaited, "main.(*Table).lock": &helperWaited,
	})
	if err != nil {
		panic(err)
	}
	truth.Close()

	cache.mu.Lock()
	var started sync.WaitGroup
	started.Add(2)
	go late(&started)
	go late(&started)
	started.Wait()
	for waiting() < 2 {
		time.Sleep(time.Millisecond)
	}
	runtime.GC()
	write("heap", "heap.pb.gz", 0)
	write("heap", "heap.txt", 1)
	write("block", "block.pb.gz", 0)
	write("mutex", "mutex.pb.gz", 0)
	write("goroutine", "goroutine.pb.gz", 0)
	if len(os.Args) > 2 {
		stand()
	}
	panic("stop")
}

//go:noinline
func stand() { select {} }
