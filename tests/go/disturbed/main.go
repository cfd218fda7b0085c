//go:build linux

// Command disturbed has a map that is another one while a debugger looks at it: other threads
// write to it, a forked child has its own copy, or another program takes the process over.
//
//	disturbed writers            two threads write until the first stop is left
//	disturbed fork               the child empties half of its copy
//	disturbed exec PROGRAM ARGS  becomes PROGRAM
//
// Exit status 3: something is not as it should be.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
)

const keys = 2000

var (
	shared  = make(map[int]int, 2*keys)
	written atomic.Int64
	ending  atomic.Bool
	stopped int
)

// stop is where debuggers stop.
//
//go:noinline
func stop(number int) {
	stopped = number
}

func main() {
	// Whoever is stopped in stop holds no other thread up: no collection begins.
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	for key := 0; key < keys; key++ {
		shared[key] = key
	}
	switch os.Args[1] {
	case "writers":
		writers()
	case "fork":
		fork()
	case "exec":
		stop(1)
		fail(syscall.Exec(os.Args[2], os.Args[2:], os.Environ()))
	}
}

func fail(reason any) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(3)
}

// writers delete and insert: the map's length changes all the time. They never wait for
// anything and need no other thread: a debugger that is busy would hold up one that is born.
func writers() {
	runtime.GOMAXPROCS(3)
	var taken atomic.Bool
	lock := func() {
		for !taken.CompareAndSwap(false, true) {
		}
	}
	unlock := func() { taken.Store(false) }
	var group sync.WaitGroup
	for writer := 0; writer < 2; writer++ {
		group.Add(1)
		go func(first int) {
			defer group.Done()
			for !ending.Load() {
				for key := first; key < keys; key += 2 {
					lock()
					delete(shared, key)
					unlock()
					written.Add(1)
				}
				for key := first; key < keys; key += 2 {
					lock()
					shared[key] = key
					unlock()
					written.Add(1)
				}
			}
		}(writer)
	}
	for written.Load() < 100*keys {
	}
	stop(1)
	ending.Store(true)
	group.Wait()
	if len(shared) != keys {
		fail(len(shared))
	}
	stop(2)
	fmt.Println("written")
}

// fork makes a child of one thread, which never comes back to Go's scheduler.
func fork() {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		fail(errno)
	}
	if pid == 0 {
		for key := 0; key < keys/2; key++ {
			delete(shared, key)
		}
		stop(2)
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
	stop(1)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(int(pid), &status, 0, nil); err != nil || status.ExitStatus() != 0 {
		fail(fmt.Sprint(err, status))
	}
	if len(shared) != keys {
		fail(len(shared))
	}
	fmt.Println("forked")
}
