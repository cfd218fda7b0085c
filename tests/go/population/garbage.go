package main

// Cycle is garbage that refers to itself.
type Cycle struct {
	m    map[string]*Cycle
	self *Cycle
}

// makeGarbage makes maps that nothing refers to, in a goroutine that ends: its stack is none.
func makeGarbage() {
	done := make(chan struct{})
	go func() {
		// The stack grows before there are pointers on it, and keeps none: the next
		// goroutine to get it would not clear it.
		wipe()
		garbage()
		wipe()
		close(done)
	}()
	<-done
}

//go:noinline
func wipe() byte {
	var room [24 << 10]byte
	return first(&room)
}

//go:noinline
func first(room *[24 << 10]byte) byte {
	return room[0]
}

//go:noinline
func garbage() {
	var list *Node
	for i := 0; i < 100; i++ {
		// Short lists: one stale word must not keep them all.
		if i%4 == 0 {
			list = nil
		}
		noteGarbage("garbage", mk[map[string]int](size(i)))
		noteGarbage("garbage", mk[map[int]*User](size(i)))
		noteGarbage("garbage, pointer-free", mk[map[uint32]uint32](size(i)))
		list = &Node{list, noteGarbage("garbage in a list", mk[map[int]uint8](size(i)))}
	}
	for i := 0; i < 20; i++ {
		c := &Cycle{}
		c.self = c
		c.m = noteGarbage("garbage in a cycle", map[string]*Cycle{"self": c})
		inner := noteGarbage("garbage in garbage", mk[map[int]string](size(i)))
		noteGarbage("garbage in garbage", map[string]map[int]string{"inner": inner})
	}
}
