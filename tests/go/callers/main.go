// Callers parks goroutines under pprof labels, deep in calls of many kinds, writes what the runtime and
// runtime/pprof say of them to the file named by its first argument, and assigns to a map, where a
// debugger may stop it. Then it panics, for a core.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// magic is the key that is assigned: it is in a register there.
const magic = 0x1122334455667788

type frame struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
}

type fact struct {
	Kind   string      `json:"kind"`
	ID     int         `json:"id"`
	Labels [][2]string `json:"labels"`
	Frames []frame     `json:"frames"`
}

var (
	mu     sync.Mutex
	facts  []fact
	parked sync.WaitGroup
	never  = make(chan int)
)

func goid() int {
	text := make([]byte, 64)
	text = text[:runtime.Stack(text, false)]
	n, err := strconv.Atoi(string(bytes.Fields(text)[1]))
	if err != nil {
		panic(err)
	}
	return n
}

// note writes down who calls its caller, and the labels of the context.
//
//go:noinline
func note(kind string, c context.Context) {
	pcs := make([]uintptr, 1000)
	pcs = pcs[:runtime.Callers(2, pcs)]
	f := fact{Kind: kind, ID: goid(), Labels: [][2]string{}}
	frames := runtime.CallersFrames(pcs)
	for more := true; more; {
		var one runtime.Frame
		one, more = frames.Next()
		f.Frames = append(f.Frames, frame{one.Function, one.File, one.Line})
	}
	pprof.ForLabels(c, func(key, value string) bool {
		f.Labels = append(f.Labels, [2]string{key, value})
		return true
	})
	sort.Slice(f.Labels, func(i, j int) bool { return f.Labels[i][0] < f.Labels[j][0] })
	mu.Lock()
	facts = append(facts, f)
	mu.Unlock()
}

//go:noinline
func park(kind string, c context.Context) {
	note(kind, c)
	parked.Done()
	<-never
}

func inlined(kind string, c context.Context) { park(kind, c) }

type method struct{ kind string }

func (m *method) call(c context.Context) { inlined(m.kind, c) }

type caller interface{ call(c context.Context) }

//go:noinline
func (m method) wrapped(c context.Context) { park(m.kind, c) }

type wrapper interface{ wrapped(c context.Context) }

//go:noinline
func generic[T any](kind string, c context.Context, _ T) { park(kind, c) }

//go:noinline
func deep(n int, kind string, c context.Context) int {
	var room [40]int
	room[n%40] = n
	if n == 0 {
		park(kind, c)
	} else {
		room[0] = deep(n-1, kind, c)
	}
	return room[n%40]
}

//go:noinline
func large(kind string, c context.Context) byte {
	var room [20000]byte
	park(kind, c)
	return room[len(kind)]
}

func labels(n int, name, value string) pprof.LabelSet {
	var all []string
	for i := 0; i < n; i++ {
		all = append(all, fmt.Sprintf("%s%03d", name, i), fmt.Sprintf("%s%d", value, i))
	}
	return pprof.Labels(all...)
}

func start(f func()) {
	parked.Add(1)
	go f()
}

func under(set pprof.LabelSet, f func(c context.Context)) {
	start(func() { pprof.Do(context.Background(), set, f) })
}

var sink map[int64]int

// recorded returns the key after the truth was written: on one line with the assignment.
//
//go:noinline
func recorded(c context.Context) int64 {
	note("stop", c)
	file, err := os.Create(os.Args[1])
	if err != nil {
		panic(err)
	}
	encoder := json.NewEncoder(file)
	for _, f := range facts {
		if err := encoder.Encode(f); err != nil {
			panic(err)
		}
	}
	if err := file.Close(); err != nil {
		panic(err)
	}
	return magic
}

//go:noinline
func store(c context.Context) {
	sink[recorded(c)] = 1
}

func storeDeep(n int, c context.Context) {
	if n > 0 {
		storeDeep(n-1, c)
	} else {
		store(c)
	}
}

func main() {
	start(func() { park("none", context.Background()) })
	under(labels(1, "worker", "w"), func(c context.Context) { inlined("one", c) })
	under(labels(8, "k", "v"), func(c context.Context) { (&method{"eight"}).call(c) })
	under(labels(9, "k", "v"), func(c context.Context) { caller(&method{"nine"}).call(c) })
	under(labels(100, "k", "v"), func(c context.Context) { wrapper(&method{"hundred"}).wrapped(c) })
	under(labels(300, "k", "v"), func(c context.Context) { generic("many", c, 1) })
	under(labels(2, "k", strings.Repeat("x", 5000)), func(c context.Context) { generic("long", c, "") })
	under(pprof.Labels("", "", "a\x1b[31m\n", "\u00e4\u202e"), func(c context.Context) { deep(5, "hostile", c) })
	under(pprof.Labels("a", "1", "b", "2"), func(c context.Context) {
		pprof.Do(c, pprof.Labels("b", "3", "c", "4"), func(c context.Context) { deep(200, "nested", c) })
	})
	under(labels(3, "i", "v"), func(c context.Context) {
		go func() { large("inherited", c) }()
		<-never
	})
	parked.Wait()
	sink = make(map[int64]int, 100)
	pprof.Do(context.Background(), pprof.Labels("at", "stop"), func(c context.Context) { storeDeep(20, c) })
	panic("for a core")
}
