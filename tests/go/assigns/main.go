// Assigns calls the runtime's map functions as it is told and says how often. It prints one line
// with its process id, then reads commands, one per line, and answers each with one line of JSON:
//
//	assign KIND N    8 goroutines, each N assignments to a map of its own
//	delete KIND N    the same with deletions of the keys assigned last
//	clear KIND       each map is cleared
//	sum              the checksum of all maps
//	child KIND N     assign, in a child that runs this program
//
// It ends with its input.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
	"unsafe"
)

const goroutines = 8

// Kinds are named by the runtime function that assigns.
type (
	wide  [3]uint64
	group struct {
		fast32  map[uint32]uint64
		fast64  map[uint64]uint64
		pointer map[*uint64]uint64
		text    map[string]uint64
		generic map[wide]uint64
	}
)

var (
	groups [goroutines]group
	cells  [1 << 16]uint64
	next   uint64
)

// did is what one goroutine did to one map. Sum is the sum of the first 8 bytes of the keys, modulo 2^64.
type did struct {
	Address string `json:"address"`
	Calls   uint64 `json:"calls"`
	Sum     uint64 `json:"sum"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
}

type answer struct {
	Nanoseconds int64  `json:"ns"`
	Maps        []did  `json:"maps,omitempty"`
	Sum         uint64 `json:"sum"`
}

func address[M any](m *M) string {
	return fmt.Sprintf("%#x", *(*uintptr)(unsafe.Pointer(m)))
}

func text(key uint64) string { return string((*[8]byte)(unsafe.Pointer(&key))[:]) }

func pointer(key uint64) *uint64 { return &cells[key%uint64(len(cells))] }

// Each kind has a loop of its own, so that the compiler calls the function for it.

func assign(g *group, kind string, from, n uint64) (d did) {
	value := func(key uint64) uint64 { return key }
	switch kind {
	case "fast32":
		value = func(key uint64) uint64 { return uint64(uint32(key)) }
		d.Address = address(&g.fast32)
		for key := from; key < from+n; key++ {
			g.fast32[uint32(key)] = key
		}
	case "fast64":
		d.Address = address(&g.fast64)
		for key := from; key < from+n; key++ {
			g.fast64[key] = key
		}
	case "fast64ptr":
		value = func(key uint64) uint64 { return uint64(uintptr(unsafe.Pointer(pointer(key)))) }
		d.Address = address(&g.pointer)
		for key := from; key < from+n; key++ {
			g.pointer[pointer(key)] = key
		}
	case "faststr":
		d.Address = address(&g.text)
		for key := from; key < from+n; key++ {
			g.text[text(key)] = key
		}
	case "generic":
		d.Address = address(&g.generic)
		for key := from; key < from+n; key++ {
			g.generic[wide{key, 1, 2}] = key
		}
	default:
		panic(kind)
	}
	return d.of(value, from, n)
}

func remove(g *group, kind string, from, n uint64) (d did) {
	switch kind {
	case "fast32":
		d.Address = address(&g.fast32)
		for key := from; key < from+n; key++ {
			delete(g.fast32, uint32(key))
		}
	case "fast64":
		d.Address = address(&g.fast64)
		for key := from; key < from+n; key++ {
			delete(g.fast64, key)
		}
	case "fast64ptr":
		d.Address = address(&g.pointer)
		for key := from; key < from+n; key++ {
			delete(g.pointer, pointer(key))
		}
	case "faststr":
		d.Address = address(&g.text)
		for key := from; key < from+n; key++ {
			delete(g.text, text(key))
		}
	case "generic":
		d.Address = address(&g.generic)
		for key := from; key < from+n; key++ {
			delete(g.generic, wide{key, 1, 2})
		}
	default:
		panic(kind)
	}
	return d.of(func(key uint64) uint64 { return key }, from, n)
}

func (d did) of(value func(uint64) uint64, from, n uint64) did {
	d.Calls = n
	d.First, d.Last = value(from), value(from+n-1)
	for key := from; key < from+n; key++ {
		d.Sum += value(key)
	}
	return d
}

func empty(g *group, kind string) {
	switch kind {
	case "fast32":
		clear(g.fast32)
	case "fast64":
		clear(g.fast64)
	case "fast64ptr":
		clear(g.pointer)
	case "faststr":
		clear(g.text)
	case "generic":
		clear(g.generic)
	}
}

// sum does not depend on the order of keys, nor on addresses.
func sum() (s uint64) {
	mix := func(kind, elem uint64) {
		elem = (elem ^ kind<<56) * 0x9e3779b97f4a7c15
		s += elem ^ elem>>29
	}
	for i := range groups {
		g := &groups[i]
		for key, elem := range g.fast32 {
			mix(1, elem+uint64(key))
		}
		for key, elem := range g.fast64 {
			mix(2, elem+key)
		}
		for key, elem := range g.pointer {
			if pointer(elem) != key {
				panic("a key is not its elem's")
			}
			mix(3, elem)
		}
		for key, elem := range g.text {
			mix(4, elem+*(*uint64)(unsafe.Pointer(unsafe.StringData(key))))
		}
		for key, elem := range g.generic {
			mix(5, elem+key[0])
		}
	}
	return s
}

//go:noinline
func makeGroup(hint int) group {
	return group{
		make(map[uint32]uint64), make(map[uint64]uint64, hint), make(map[*uint64]uint64),
		make(map[string]uint64), make(map[wide]uint64),
	}
}

func child(kind string, n uint64) []did {
	command := exec.Command(os.Args[0])
	command.Stdin = strings.NewReader(fmt.Sprintln("assign", kind, n))
	output, err := command.Output()
	if err != nil {
		panic(err)
	}
	var result answer
	lines := bytes.Split(output, []byte("\n"))
	if err := json.Unmarshal(lines[1], &result); err != nil {
		panic(err)
	}
	return result.Maps
}

func main() {
	for i := range groups {
		groups[i] = makeGroup(len(os.Args))
	}
	fmt.Printf("{\"pid\": %d}\n", os.Getpid())
	input := bufio.NewScanner(os.Stdin)
	var from [goroutines]uint64
	for input.Scan() {
		var command, kind string
		var n uint64
		fmt.Sscan(input.Text(), &command, &kind, &n)
		var result answer
		dids := make([]did, goroutines)
		var ready, wait sync.WaitGroup
		start := make(chan struct{})
		each := func(do func(i int)) {
			ready.Add(goroutines)
			wait.Add(goroutines)
			for i := 0; i < goroutines; i++ {
				i := i
				go func() {
					ready.Done()
					<-start
					do(i)
					wait.Done()
				}()
			}
			ready.Wait()
		}
		switch command {
		case "assign":
			for i := range from {
				next += n
				from[i] = next
			}
			each(func(i int) { dids[i] = assign(&groups[i], kind, from[i], n) })
			result.Maps = dids
		case "delete":
			each(func(i int) { dids[i] = remove(&groups[i], kind, from[i], n) })
			result.Maps = dids
		case "clear":
			each(func(i int) { empty(&groups[i], kind) })
		case "sum":
			result.Sum = sum()
		case "child":
			result.Maps = child(kind, n)
		}
		began := time.Now()
		close(start)
		wait.Wait()
		result.Nanoseconds = time.Since(began).Nanoseconds()
		line, _ := json.Marshal(result)
		fmt.Println(string(line))
	}
}
