// bigheap fills a heap with maps and with all else that a large program has, for measurements.
//
//	bigheap MAPS BYTES [wait|crash]
//
// It makes MAPS maps of 0 to 200 entries, a twentieth of them garbage, and structures around them
// until BYTES of the heap are live, prints "READY MAPS BYTES" and calls main.stop. Then "wait"
// sleeps forever, "crash" kills the process by SIGABRT, and by default it ends with 0. The same
// arguments make the same heap, but for addresses.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// User is what most of the maps lead to.
type User struct {
	ID    uint64
	Name  string
	Tags  map[string]string
	Next  *User
	Score [4]float64
}

// Session is held by value, and through interfaces.
type Session struct {
	Owner   *User
	Values  map[string]any
	Started time.Time
	Token   []byte
}

// Node is one of a tree, of 560 bytes: objects this large carry their type.
type Node struct {
	Left, Right *Node
	Key         string
	Payload     [48]uint64
	Users       [16]*User
	Seen        map[uint64]struct{}
}

// Tenant has the maps of all types.
type Tenant struct {
	Users    map[uint64]*User
	Names    map[string]int
	Sessions map[string]Session
	Counts   map[int32]int64
	Nested   map[string]map[string]int
	Flags    map[string]bool
	Lists    map[int][]string
	Any      any
	Tree     *Node
	Recent   []*User
	Chain    *User
	Buffer   []byte
}

// What a debugger sees.
var (
	Tenants  []*Tenant
	ByName   = map[string]*Tenant{}
	Index    = map[uint64]map[uint64]*User{}
	Registry sync.Map
)

var random = uint64(88172645463325252)

// next is xorshift64.
func next() uint64 {
	random ^= random << 13
	random ^= random >> 7
	random ^= random << 17
	return random
}

// size is a number of entries: small ones are the most common.
func size(most int) int {
	limit := 8
	switch next() % 16 {
	case 0, 1, 2:
		limit = 200
	case 3, 4, 5, 6:
		limit = 40
	case 7:
		limit = 1
	}
	return int(next() % uint64(min(limit, most)+1))
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

// maker makes maps and counts them.
type maker struct {
	left int
	most int
}

func (m *maker) one() int {
	m.left--
	return size(m.most)
}

func (m *maker) user() *User {
	user := &User{ID: next(), Name: "user-" + strconv.FormatUint(next()%1e6, 10)}
	if m.left > 0 && next()%4 == 0 {
		user.Tags = map[string]string{}
		for i := m.one() % 9; i > 0; i-- {
			user.Tags["tag"+strconv.Itoa(i)] = user.Name
		}
	}
	return user
}

func (m *maker) tree(depth int) *Node {
	if depth == 0 {
		return nil
	}
	node := &Node{Key: strconv.FormatUint(next(), 36), Left: m.tree(depth - 1), Right: m.tree(depth - 1)}
	if m.left > 0 && depth%2 == 0 {
		node.Seen = map[uint64]struct{}{}
		for i := m.one(); i > 0; i-- {
			node.Seen[next()] = struct{}{}
		}
	}
	for i := range node.Users {
		if i%3 == 0 {
			node.Users[i] = m.user()
		}
	}
	return node
}

func (m *maker) tenant() *Tenant {
	tenant := &Tenant{
		Users:    map[uint64]*User{},
		Names:    make(map[string]int, size(m.most)),
		Sessions: map[string]Session{},
		Counts:   map[int32]int64{},
		Nested:   map[string]map[string]int{},
		Flags:    map[string]bool{},
		Lists:    map[int][]string{},
	}
	for i := m.one(); i > 0; i-- {
		user := m.user()
		tenant.Users[user.ID] = user
		tenant.Recent = append(tenant.Recent, user)
		user.Next, tenant.Chain = tenant.Chain, user
	}
	for i := m.one(); i > 0; i-- {
		tenant.Names[strconv.FormatUint(next(), 10)] = i
	}
	for i := m.one() / 4; i > 0; i-- {
		values := map[string]any{"count": i, "name": strconv.Itoa(i), "self": tenant}
		m.left--
		tenant.Sessions[strconv.Itoa(i)] = Session{Owner: tenant.Chain, Values: values}
	}
	for i := m.one(); i > 0; i-- {
		tenant.Counts[int32(next())] = int64(i)
	}
	for i := m.one() / 8; i > 0 && m.left > 0; i-- {
		inner := map[string]int{}
		for j := m.one() % 12; j > 0; j-- {
			inner["field"+strconv.Itoa(j)] = j
		}
		tenant.Nested["shard"+strconv.Itoa(i)] = inner
	}
	for i := m.one(); i > 0; i-- {
		tenant.Flags["flag"+strconv.Itoa(i)] = i%2 == 0
		if i%3 == 0 {
			delete(tenant.Flags, "flag"+strconv.Itoa(i))
		}
	}
	for i := m.one() / 2; i > 0; i-- {
		tenant.Lists[i] = []string{tenant.name(), "fixed"}
	}
	switch next() % 3 {
	case 0:
		tenant.Any = map[[2]uint64]string{{next(), next()}: "pair"}
		m.left--
	case 1:
		tenant.Any = tenant.Recent
	}
	return tenant
}

func (tenant *Tenant) name() string {
	return "tenant-" + strconv.FormatUint(next(), 16)
}

// live is what a collection leaves.
func live() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func fill(maps int, bytes uint64) {
	// What a map may take, on average, of a half of the heap.
	m := &maker{left: maps, most: min(200, int(bytes/2/uint64(maps+1)/24))}
	for m.left > 0 {
		tenant := m.tenant()
		// One in 20 is left to the collector, which does not run any more at the end.
		if len(Tenants)%20 != 19 {
			ByName[tenant.name()] = tenant
		}
		if next()%16 == 0 {
			tenant.Tree = m.tree(5)
		}
		Tenants = append(Tenants, tenant)
		users := map[uint64]*User{}
		m.left--
		for id, user := range tenant.Users {
			if len(users) < 4 {
				users[id] = user
			}
		}
		Index[next()] = users
		if next()%64 == 0 {
			Registry.Store(tenant.name(), &Session{Owner: tenant.Chain})
		}
	}
	m.left = 0
	at := 0
	buffers := uint64(0)
	for held := live(); held < bytes; held = live() {
		for added := uint64(0); added < (bytes-held)*9/10+1<<16; {
			tenant := Tenants[at%len(Tenants)]
			at++
			switch at % 4 {
			case 0:
				// Buffers have no pointers.
				if buffers > bytes/4 || tenant.Buffer != nil {
					continue
				}
				tenant.Buffer = make([]byte, next()%16384)
				added += uint64(len(tenant.Buffer))
				buffers += uint64(len(tenant.Buffer))
			case 1:
				for i := 0; i < 16; i++ {
					user := m.user()
					user.Next, tenant.Chain = tenant.Chain, user
					tenant.Recent = append(tenant.Recent, user)
					added += 120
				}
			case 2:
				tenant.Recent = append(make([]*User, 0, 128+len(tenant.Recent)), tenant.Recent...)
				added += 1024
			case 3:
				if tenant.Tree == nil || next()%8 == 0 {
					root := &Node{Key: tenant.name(), Left: tenant.Tree, Right: m.tree(3)}
					tenant.Tree = root
					added += 8 * 1000
				}
			}
		}
	}
	// Garbage: what is cleared here stays where it is.
	debug.SetGCPercent(-1)
	for i := 19; i < len(Tenants); i += 20 {
		Tenants[i] = nil
	}
}

// park holds maps in a frame and in a closure.
func park(number int, ready *sync.WaitGroup) {
	local := map[int]string{number: strconv.Itoa(number)}
	queue := make(chan map[string]int, 4)
	queue <- map[string]int{"queued": number}
	forever := make(chan func())
	go func() {
		ready.Done()
		<-forever
		local[0] = ""
	}()
	<-forever
	runtime.KeepAlive(local)
	runtime.KeepAlive(queue)
}

//go:noinline
func stop(maps int) {
	runtime.KeepAlive(maps)
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: bigheap MAPS BYTES [wait|crash]")
		os.Exit(2)
	}
	maps, err := strconv.Atoi(os.Args[1])
	bytes, second := strconv.ParseUint(os.Args[2], 10, 48)
	if err != nil || second != nil || maps < 1 {
		fmt.Fprintln(os.Stderr, "bigheap: two numbers are wanted")
		os.Exit(2)
	}
	// Little but what is live.
	debug.SetGCPercent(10)
	fill(maps, bytes)
	var ready sync.WaitGroup
	ready.Add(100)
	for i := 0; i < 100; i++ {
		go park(i, &ready)
	}
	ready.Wait()
	fmt.Println("READY", maps, bytes)
	stop(maps)
	if len(os.Args) > 3 {
		if os.Args[3] == "crash" {
			syscall.Kill(os.Getpid(), syscall.SIGABRT)
		}
		// Not blocked for good: a program of which nothing can go on ends by itself.
		for {
			time.Sleep(time.Hour)
		}
	}
}
