// Traced writes to many maps from many goroutines and knows of every growth: a tracer that stops it
// must find the same ones and leave the result as it was.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// succeeded is the exit status of a run without fault, so that it is told from all others.
const succeeded = 7

// addr is an address, or another word written in hexadecimal.
type addr uint64

func (a addr) MarshalJSON() ([]byte, error) { return []byte(fmt.Sprintf(`"%#x"`, uint64(a))), nil }

// fact is one growth.
type fact struct {
	Goroutine int    `json:"goroutine"`
	Goid      int    `json:"goid"`
	Map       int    `json:"map"`
	Header    addr   `json:"header"`
	Seq       int    `json:"seq"` // counts from 1 in each map
	Kind      string `json:"kind"`
	Len       int    `json:"len"`       // entries before the assignment that brought it
	Assigns   int    `json:"assigns"`   // to this map, with that one
	Time      int64  `json:"t_mono_ns"` // CLOCK_MONOTONIC, behind the growth
	Stack     int    `json:"stack"`     // index of the callers, from write on
	change
	callers [24]uintptr
	depth   int
}

// goroutine is one that writes to maps. Its labels are worker, which is its index, and map, which is
// the kind of the map it writes to.
type goroutine struct {
	index, goid int
	facts       []fact
	workers     []worker
	middle      func() // called once, after half of the work
	sink        []byte
}

// frame is a function and the line within it.
type frame struct {
	Function string `json:"function"`
	Line     int    `json:"line"`
}

// told is the file of facts.
type told struct {
	Schema     string         `json:"schema"`
	Go         string         `json:"go_version"`
	Family     string         `json:"family"`
	Pid        int            `json:"pid"`
	Seed       uint64         `json:"seed"`
	Goroutines []who          `json:"goroutines"`
	Maps       []about        `json:"maps"`
	Calls      map[string]int `json:"calls"` // by function of the runtime
	Growths    []fact         `json:"growths"`
	Stacks     [][]frame      `json:"stacks"`
	Checksum   addr           `json:"checksum"`
}

type who struct {
	Index int `json:"index"`
	Goid  int `json:"goid"`
}

// variants are the functions of the runtime that a kind of map calls.
var variants = map[string][2]string{
	"int64":   {"runtime.mapassign_fast64", "runtime.mapdelete_fast64"},
	"int32":   {"runtime.mapassign_fast32", "runtime.mapdelete_fast32"},
	"string":  {"runtime.mapassign_faststr", "runtime.mapdelete_faststr"},
	"wide":    {"runtime.mapassign", "runtime.mapdelete"},
	"struct":  {"runtime.mapassign", "runtime.mapdelete"},
	"pointer": {"runtime.mapassign_fast64ptr", "runtime.mapdelete_fast64"},
	"set":     {"runtime.mapassign_fast64", "runtime.mapdelete_fast64"},
}

// groups are what -kind means.
var groups = map[string][]string{
	"all": names, "int": {"int64", "int32"}, "string": {"string", "wide"}, "struct": {"struct"},
	"pointer": {"pointer"}, "set": {"set"},
}

func fail(what string) {
	fmt.Fprintln(os.Stderr, "traced:", what)
	os.Exit(3)
}

// monotonic is the time in nanoseconds on the clock that debuggers read too.
func monotonic() int64 {
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

// goid reads the number of this goroutine off its own stack trace.
func goid() int {
	text := make([]byte, 64)
	text = text[:runtime.Stack(text, false)]
	n, err := strconv.Atoi(string(bytes.Fields(text)[1]))
	if err != nil {
		fail(err.Error())
	}
	return n
}

// run writes to the goroutine's maps, to one for a while, then to another.
func (g *goroutine) run(seed uint64) {
	g.goid = goid()
	order := random(seed)
	left := 0
	for _, w := range g.workers {
		left += w.left()
	}
	half := left / 2
	labels := make([]pprof.LabelSet, len(g.workers))
	for i := range g.workers {
		labels[i] = pprof.Labels("map", g.workers[i].kindName())
	}
	for left > 0 {
		i := order.below(len(g.workers))
		w := g.workers[i]
		count := 1 + order.below(200)
		if count > w.left() {
			count = w.left()
		}
		if count == 0 {
			continue
		}
		pprof.Do(context.Background(), pprof.Labels("worker", strconv.Itoa(g.index)), func(c context.Context) {
			pprof.Do(c, labels[i], func(context.Context) { work(w, count) })
		})
		left -= count
		g.sink = make([]byte, 512+order.below(2048))
		if left <= half && g.middle != nil {
			g.middle()
			g.middle = nil
		}
	}
}

// work does so many operations on one map.
//
//go:noinline
func work(w worker, count int) {
	for ; count > 0; count-- {
		w.step()
	}
}

type options struct {
	goroutines, inserts, deletes, wait int
	seed                               uint64
	kind, facts, mode                  string
	shared                             bool
}

// arguments reads the command line; -wait may be followed by a number, or not.
func arguments() options {
	var o options
	flag.IntVar(&o.goroutines, "goroutines", 8, "goroutines that write, at most 127")
	flag.IntVar(&o.inserts, "inserts", 1000000, "assignments of all goroutines together")
	flag.IntVar(&o.deletes, "deletes", 500000, "deletions of all goroutines together")
	flag.Uint64Var(&o.seed, "seed", 1, "what the work follows from")
	flag.StringVar(&o.kind, "kind", "all", "int, string, struct, pointer, set or all")
	flag.StringVar(&o.facts, "facts", "", "file to write the growths to")
	flag.StringVar(&o.mode, "mode", "work", "work, fork, crash, exec, insert or lookup")
	flag.BoolVar(&o.shared, "shared", false, "all goroutines write to the same maps")
	flag.IntVar(&o.wait, "wait", 0, "1: wait for a line before the work; 2: and after it")
	args := os.Args[1:]
	for i, arg := range args {
		if strings.TrimLeft(arg, "-") == "wait" && (i+1 == len(args) || strings.HasPrefix(args[i+1], "-")) {
			args = append(append(append([]string{}, args[:i]...), "-wait=1"), args[i+1:]...)
			break
		}
	}
	if err := flag.CommandLine.Parse(args); err != nil {
		os.Exit(2)
	}
	switch o.mode {
	case "work", "fork", "crash", "exec", "insert", "lookup":
	default:
		o.goroutines = 0
	}
	if groups[o.kind] == nil || o.goroutines < 1 || o.goroutines > 127 || o.inserts < 1 || o.inserts > never || o.deletes < 0 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	return o
}

// pause tells that the program waits, and waits for a line.
func pause(what string) {
	fmt.Printf("%s pid %d\n", what, os.Getpid())
	if _, err := bufio.NewReaderSize(os.Stdin, 16).ReadString('\n'); err != nil {
		// Nobody is there: go on.
		return
	}
}

// crashed is where a crash is made.
var crashed *point

// middle is what a mode does in the middle of the work.
func middle(mode string) func() {
	switch mode {
	case "fork":
		return func() {
			child := exec.Command(os.Args[0], "-mode", "work", "-goroutines", "2", "-inserts", "20000", "-deletes", "5000")
			child.Stderr = os.Stderr
			output, _ := child.Output()
			if status := child.ProcessState.ExitCode(); status != succeeded {
				fail(fmt.Sprintf("the child ended with %d", status))
			}
			fmt.Printf("child %d: %s", child.Process.Pid, output)
		}
	case "crash":
		return func() { crashed.x = 1 }
	case "exec":
		return func() {
			args := []string{os.Args[0]}
			for i := 1; i < len(os.Args); i++ {
				switch name, _, whole := strings.Cut(strings.TrimLeft(os.Args[i], "-"), "="); name {
				case "mode", "wait":
					if !whole && i+1 < len(os.Args) && !strings.HasPrefix(os.Args[i+1], "-") {
						i++
					}
				default:
					args = append(args, os.Args[i])
				}
			}
			fail(syscall.Exec("/proc/self/exe", args, os.Environ()).Error())
		}
	}
	return nil
}

// share is what one of so many gets of a whole.
func share(whole, index, count int) int {
	n := whole / count
	if index < whole%count {
		n++
	}
	return n
}

// prepare makes goroutines and their maps.
func prepare(o options) (all []*goroutine, maps []worker) {
	kinds := groups[o.kind]
	for i := 0; i < o.goroutines; i++ {
		all = append(all, &goroutine{index: i, facts: make([]fact, 0, 4096)})
	}
	for n, g := range all {
		inserts, deletes := share(o.inserts, n, o.goroutines), share(o.deletes, n, o.goroutines)
		for i, kind := range kinds {
			if !o.shared || n == 0 {
				hint := 0
				if (n+i)%4 == 3 {
					hint = 150
				}
				maps = append(maps, makers[kind](len(maps), hint, o.facts != ""))
			}
			owner := maps[len(maps)-1]
			if o.shared {
				owner = maps[i]
			}
			seed := mix(o.seed + uint64(n)<<32 + uint64(i)<<48)
			w := owner.join(g, seed, share(inserts, i, len(kinds)), share(deletes, i, len(kinds)), o.shared)
			if !o.shared {
				maps[len(maps)-1] = w
			}
			g.workers = append(g.workers, w)
		}
	}
	return all, maps
}

// garbage keeps the collector busy until done is set.
func garbage(done *atomic.Bool) {
	var list [][]byte
	for !done.Load() {
		list = append(list, make([]byte, 2000))
		if len(list) == 500 {
			list = nil
		}
		runtime.Gosched()
	}
}

// workAll lets the goroutines work at the same time.
func workAll(o options, goroutines []*goroutine) {
	var done atomic.Bool
	var workers, others sync.WaitGroup
	others.Add(1)
	go func() { defer others.Done(); garbage(&done) }()
	for i, g := range goroutines {
		if i == 0 {
			g.middle = middle(o.mode)
		}
		workers.Add(1)
		go func(g *goroutine) {
			defer workers.Done()
			g.run(mix(o.seed) + uint64(g.index))
		}(g)
	}
	workers.Wait()
	done.Store(true)
	others.Wait()
}

// measure tells what one operation of one map costs, by one goroutine alone.
func measure(o options) addr {
	kind := groups[o.kind][0]
	g := &goroutine{goid: goid()}
	w := makers[kind](0, 0, o.facts != "").join(g, mix(o.seed), 0, 0, false)
	timed := func(what string, count int, do func()) {
		began := time.Now()
		do()
		spent := time.Since(began).Nanoseconds()
		each := float64(spent) / float64(count)
		fmt.Printf("%s kind %s n %d ns_per_op %.2f total_ns %d\n", what, kind, count, each, spent)
	}
	timed("insert", o.inserts, func() { w.fill(o.inserts) })
	w.filled(o.inserts)
	if o.mode == "lookup" {
		count := 8 * o.inserts
		read := w.lookups(o.inserts, count)
		found := 0
		timed("lookup", count, func() { found = read() })
		if found != count {
			fail("a key was not found")
		}
	}
	return report(o, []*goroutine{g}, []worker{w})
}

// report checks the maps, writes the facts and returns the checksum of all maps.
func report(o options, goroutines []*goroutine, maps []worker) addr {
	facts := told{
		Schema: "traced/1", Go: runtime.Version(), Family: family, Pid: os.Getpid(), Seed: o.seed,
		Calls: map[string]int{"runtime.mapclear": 0}, Growths: []fact{},
	}
	for i, m := range maps {
		a := m.finish()
		facts.Checksum += addr(mix(uint64(a.Checksum) + uint64(i)))
		facts.Calls[variants[a.Kind][0]] += a.Assigns
		facts.Calls[variants[a.Kind][1]] += a.Deletes
		facts.Calls["runtime.mapclear"] += a.Clears
		facts.Maps = append(facts.Maps, a)
	}
	if o.facts == "" {
		return facts.Checksum
	}
	stacks := map[[24]uintptr]int{}
	for _, g := range goroutines {
		facts.Goroutines = append(facts.Goroutines, who{g.index, g.goid})
		for _, f := range g.facts {
			if _, known := stacks[f.callers]; !known {
				stacks[f.callers] = len(facts.Stacks)
				facts.Stacks = append(facts.Stacks, resolve(f.callers[:f.depth]))
			}
			f.Stack = stacks[f.callers]
			facts.Growths = append(facts.Growths, f)
		}
	}
	text, err := json.Marshal(facts)
	if err == nil {
		err = os.WriteFile(o.facts, append(text, '\n'), 0o666)
	}
	if err != nil {
		fail(err.Error())
	}
	return facts.Checksum
}

// resolve names callers, from write on.
func resolve(callers []uintptr) (found []frame) {
	frames := runtime.CallersFrames(callers)
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if found != nil || strings.HasSuffix(f.Function, ").write") {
			found = append(found, frame{f.Function, f.Line})
		}
	}
	return found
}

func main() {
	o := arguments()
	var goroutines []*goroutine
	var maps []worker
	measured := o.mode == "insert" || o.mode == "lookup"
	if !measured {
		goroutines, maps = prepare(o)
	}
	if o.wait > 0 {
		pause("ready")
	}
	var sum addr
	if measured {
		sum = measure(o)
	} else {
		workAll(o, goroutines)
		sum = report(o, goroutines, maps)
	}
	if o.wait > 1 {
		pause("done")
	}
	fmt.Printf("checksum %#x\n", uint64(sum))
	runtime.KeepAlive(maps)
	if !measured {
		settle()
	}
	os.Exit(succeeded)
}

// settle lets the other threads fall asleep. gdb trips over a process that ends while one of its
// threads is told of a signal (gdb's bug 18749).
func settle() {
	debug.SetGCPercent(-1)
	runtime.GC()
	time.Sleep(20 * time.Millisecond)
}
