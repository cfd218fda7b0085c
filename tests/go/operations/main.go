// Operations stands in map operations of which it is known which they are.
//
//	operations handed    maps are handed on behind arguments of all kinds; "current" is the
//	                     address of the map that is looked up
//	operations panicked  an assignment panicked, and a deferred function waits
package main

import (
	"os"
	"runtime"
	"unsafe"
)

type text map[string]int

var (
	first, second  = text{}, text{}
	left, right    uint64
	current        uint64
	sink           int
	shared         = map[any]int{1: 1}
	waiting, never = make(chan int), make(chan int)
)

func header(m text) uint64 {
	return uint64(uintptr(*(*unsafe.Pointer)(unsafe.Pointer(&m))))
}

//go:noinline
func behindString(s string, m, n text) int {
	current = left
	v := m[s]
	current = right
	return v + n[s]
}

//go:noinline
func before(m, n text, s string) int {
	current = left
	v := m[s]
	current = right
	return v + n[s]
}

//go:noinline
func behindFloat(f float64, m, n text, s string) int {
	current = left
	v := m[s]
	current = right
	return v + n[s] + int(f)
}

//go:noinline
func behindInterface(a any, b bool, m, n text) int {
	s, _ := a.(string)
	current = left
	v := m[s]
	if b {
		current = right
		v += n[s]
	}
	return v
}

//go:noinline
func behindArray(s [2]string, m, n text) int {
	current = left
	v := m[s[0]]
	current = right
	return v + n[s[1]]
}

//go:noinline
func bad(m map[any]int, k any) {
	defer func() {
		// The assignment panicked: nothing is being written.
		waiting <- 1
		<-never
		_ = recover()
	}()
	m[k] = 1
}

//go:noinline
func stop() { runtime.Gosched() }

func main() {
	runtime.LockOSThread()
	for i := 0; i < 100; i++ {
		first[string(rune('a'+i))] = i
		second[string(rune('a'+i))] = i
	}
	left, right = header(first), header(second)
	switch os.Args[1] {
	case "panicked":
		go bad(shared, []int{1})
		<-waiting
		stop()
	case "handed":
		s := string(rune('a' + len(os.Args)))
		stop()
		sink += behindString(s, first, second)
		sink += before(first, second, s)
		sink += behindFloat(float64(len(os.Args)), first, second, s)
		sink += behindInterface(s, len(s) > 0, first, second)
		sink += behindArray([2]string{s, s}, first, second)
	}
	println(len(shared), sink)
}
