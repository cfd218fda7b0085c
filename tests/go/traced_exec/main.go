// Traced_exec writes an execution trace of itself to the file named by its first argument, and its own
// record of what it did to the file named by the second: a JSON object for each trace.Log it made and
// for each map, in the order it did so.
//
//	traced_exec TRACE TRUTH [LOGS [MILLISECONDS]]
//
// It keeps on for at least so many milliseconds, so that a trace has more than one generation.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/trace"
	"strconv"
	"sync"
	"time"
	"unsafe"
)

// row is a line of the truth.
type row struct {
	What     string `json:"what"`
	Before   int64  `json:"before"`
	After    int64  `json:"after"`
	Goid     uint64 `json:"goid,omitempty"`
	Category string `json:"category,omitempty"`
	Message  string `json:"message,omitempty"`
	Address  string `json:"address,omitempty"`
	Type     string `json:"type,omitempty"`
	Len      int    `json:"len,omitempty"`
	Bytes    uint64 `json:"bytes,omitempty"`
}

var (
	mu   sync.Mutex
	rows []row
	keep = map[string]map[int64][4]int64{}
	sink []map[string]*[64]byte
)

// goid is the number of the goroutine, as its stack trace says.
func goid() uint64 {
	var buffer [64]byte
	n := runtime.Stack(buffer[:], false)
	var id uint64
	fmt.Sscanf(string(buffer[:n]), "goroutine %d ", &id)
	return id
}

// readied makes ready something the compiler cannot drop.
var readied int

// ready is where debuggers break: the next thing is the trace's begin.
//
//go:noinline
func ready() { readied++ }

// monotonic is CLOCK_MONOTONIC, as runtime.nanotime reads it.
//
//go:linkname monotonic runtime.nanotime
func monotonic() int64

func note(ctx context.Context, id uint64, category, message string) {
	before := monotonic()
	trace.Log(ctx, category, message)
	after := monotonic()
	mu.Lock()
	rows = append(rows, row{What: "log", Before: before, After: after, Goid: id, Category: category, Message: message})
	mu.Unlock()
}

func lifecycle(ctx context.Context, id uint64, what string, m map[int64][4]int64) {
	address := *(*unsafe.Pointer)(unsafe.Pointer(&m))
	note(ctx, id, "map-lifecycle", fmt.Sprintf("%s map=%p len=%d", what, address, len(m)))
}

func worker(number, logs int, group *sync.WaitGroup) {
	defer group.Done()
	id := goid()
	ctx, task := trace.NewTask(context.Background(), "work "+strconv.Itoa(number))
	defer task.End()
	m := map[int64][4]int64{}
	lifecycle(ctx, id, "created", m)
	for i := 0; i < logs; i++ {
		trace.WithRegion(ctx, "insert", func() {
			for j := 0; j < 20; j++ {
				m[int64(i*20+j)] = [4]int64{1}
			}
		})
		switch {
		case i%16 == 0:
			lifecycle(ctx, id, "grown", m)
		case i%16 == 8:
			note(ctx, id, "order", "número "+strconv.Itoa(i)+"\t\"quoted\"")
		}
		if i%8 == 0 {
			short := map[string]*[64]byte{}
			for j := 0; j < 200; j++ {
				short[strconv.Itoa(j)] = new([64]byte)
			}
			mu.Lock()
			sink = append(sink[:len(sink)&7], short)
			mu.Unlock()
			runtime.Gosched()
		}
	}
	mu.Lock()
	keep[strconv.Itoa(number)] = m
	mu.Unlock()
}

func run() error {
	if len(os.Args) < 3 {
		return fmt.Errorf("usage: traced_exec TRACE TRUTH [LOGS [MILLISECONDS]]")
	}
	logs, least := 200, 0
	if len(os.Args) > 3 {
		logs, _ = strconv.Atoi(os.Args[3])
	}
	if len(os.Args) > 4 {
		least, _ = strconv.Atoi(os.Args[4])
	}
	file, err := os.Create(os.Args[1])
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	ready()
	if err := trace.Start(out); err != nil {
		return err
	}
	started := time.Now()
	for round := 0; round == 0 || time.Since(started) < time.Duration(least)*time.Millisecond; round++ {
		var group sync.WaitGroup
		for number := 0; number < 4; number++ {
			group.Add(1)
			go worker(number, logs, &group)
		}
		group.Wait()
		before := monotonic()
		runtime.GC()
		after := monotonic()
		rows = append(rows, row{What: "gc", Before: before, After: after})
		if least > 0 {
			// A generation takes a second: it need not be a busy one.
			time.Sleep(50 * time.Millisecond)
		}
	}
	for name, m := range keep {
		address := *(*unsafe.Pointer)(unsafe.Pointer(&m))
		rows = append(rows, row{What: "map", Address: fmt.Sprintf("%p", address), Type: fmt.Sprintf("%T", m),
			Len: len(m), Message: name})
	}
	trace.Stop()
	if err := out.Flush(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	truth, err := os.Create(os.Args[2])
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(truth)
	for _, r := range rows {
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	return truth.Close()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "traced_exec:", err)
		os.Exit(1)
	}
	// Every gdb (13.1 to 18.1) fails in linux-nat.c if a thread begins while the process exits:
	// "wait returned unexpected status 0x0". Threads begin to run processors; from here on there is
	// one, and no longer any that a new thread was still to take.
	runtime.GOMAXPROCS(1)
}
