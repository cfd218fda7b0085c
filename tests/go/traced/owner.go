package main

import (
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"sync"
	"unsafe"
)

// random is a generator that needs a word of state (SplitMix64).
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

func (r *random) below(n int) int { return int(r.next() % uint64(n)) }

// mix spreads a word.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// object is a map and what is known of it. With -shared, all goroutines write to it.
type object[K comparable, V any] struct {
	mu    sync.Mutex
	m     map[K]V
	watch watch
	about about
	sum   uint64

	recording bool
}

// about is what the facts say of a map.
type about struct {
	ID        int    `json:"id"`
	Goroutine int    `json:"goroutine"` // -1: shared
	Kind      string `json:"kind"`
	Type      string `json:"type"`
	Header    addr   `json:"header"`
	Hint      int    `json:"hint"`
	Start     shape  `json:"start"`
	End       shape  `json:"end"`
	Len       int    `json:"len"`
	Assigns   int    `json:"assigns"`
	Deletes   int    `json:"deletes"`
	Clears    int    `json:"clears"`
	Growths   int    `json:"growths"`
	Checksum  addr   `json:"checksum"`
}

// item is a key that is in the map: its number, and its share of the checksum.
type item struct {
	number uint32
	sum    uint64
}

// owner is how one goroutine uses one map.
type owner[K comparable, V any] struct {
	*object[K, V]
	kind  *kind[K, V]
	g     *goroutine
	first uint32 // number of the first key
	next  uint32
	live  []item

	random           random
	inserts, deletes int // still to do
	rest             int // inserts that are left for the end
	goal, repeats    int
	draining         bool
	clearing         bool // instead of deleting key by key
	shared           bool
}

// kind is how keys and elems are made of numbers, and back.
type kind[K comparable, V any] struct {
	name    string
	key     func(uint32) K
	elem    func(uint64) V
	hashKey func(K) uint64
	hash    func(V) uint64
}

// never is the number, within a goroutine, from which on keys are never inserted.
const never = 1 << 23

// goals are sizes that all but fill 1, 4, 8, 16 or more buckets, so that chains get long.
var goals = []int{5, 23, 23, 46, 46, 92, 350, 1500}

// step does one operation.
func (o *owner[K, V]) step() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.inserts > o.rest && o.deletes > 0 {
		o.churn()
	} else if o.random.below(o.inserts+o.deletes) < o.inserts {
		o.insert()
	} else {
		o.remove()
	}
}

// churn fills the map to the goal, empties it, and so on.
func (o *owner[K, V]) churn() {
	if !o.draining {
		o.insert()
		if len(o.live) >= o.goal {
			o.draining = true
			if o.clearing && o.repeats%3 == 0 {
				o.clear()
			}
		}
	} else if len(o.live) > 0 {
		o.remove()
	}
	if o.draining && len(o.live) == 0 {
		o.draining = false
		if o.repeats--; o.repeats <= 0 {
			o.goal = goals[o.random.below(len(goals))]
			o.repeats = 2 + 3000/(o.goal+25)
			o.clearing = !o.shared && o.random.below(4) == 0
		}
	}
}

// insert adds a key, or now and then assigns to one that is there.
func (o *owner[K, V]) insert() {
	o.inserts--
	seed := o.random.next()
	if len(o.live) > 0 && seed%16 == 0 {
		i := o.random.below(len(o.live))
		o.write(&o.live[i], seed)
		return
	}
	o.live = append(o.live, item{number: o.first + o.next})
	o.next++
	o.write(&o.live[len(o.live)-1], seed)
}

// write assigns, and looks for growth at once: both on one line, so that the callers seen from here are
// those of the growth.
func (o *owner[K, V]) write(i *item, seed uint64) {
	key, elem := o.kind.key(i.number), o.kind.elem(seed)
	o.about.Assigns++
	o.sum -= i.sum
	i.sum = o.share(key, elem)
	o.sum += i.sum
	if assign(o.m, key, elem); o.recording {
		o.watch.look(o.found)
	}
}

// assign is the caller of runtime.mapassign and its variants.
//
//go:noinline
func assign[K comparable, V any](m map[K]V, key K, elem V) { m[key] = elem }

// erase is the caller of runtime.mapdelete and its variants.
//
//go:noinline
func erase[K comparable, V any](m map[K]V, key K) { delete(m, key) }

// empty is the caller of runtime.mapclear.
//
//go:noinline
func empty[K comparable, V any](m map[K]V) { clear(m) }

// remove deletes some key, or now and then one that was never there.
func (o *owner[K, V]) remove() {
	o.deletes--
	o.about.Deletes++
	if len(o.live) == 0 || o.random.below(64) == 0 {
		erase(o.m, o.kind.key(o.first+never+o.next%never))
	} else {
		i, last := o.random.below(len(o.live)), len(o.live)-1
		o.sum -= o.live[i].sum
		erase(o.m, o.kind.key(o.live[i].number))
		o.live[i] = o.live[last]
		o.live = o.live[:last]
	}
	if o.recording {
		o.watch.look(o.found)
	}
}

func (o *owner[K, V]) clear() {
	o.about.Clears++
	o.live, o.sum = o.live[:0], 0
	empty(o.m)
	if o.recording {
		o.watch.look(o.found)
	}
}

// found notes a growth, with its callers.
func (o *owner[K, V]) found(what string, c change) {
	o.about.Growths++
	f := fact{
		Goroutine: o.g.index, Goid: o.g.goid, Map: o.about.ID, Header: o.about.Header,
		Seq: o.about.Growths, Kind: what, Len: o.watch.count, Assigns: o.about.Assigns,
		Time: monotonic(), change: c,
	}
	f.depth = runtime.Callers(2, f.callers[:])
	o.g.facts = append(o.g.facts, f)
}

// share is what an entry adds to the checksum.
func (o *owner[K, V]) share(key K, elem V) uint64 {
	return mix(o.kind.hashKey(key) + 3*mix(o.kind.hash(elem)))
}

func (o *owner[K, V]) kindName() string { return o.kind.name }

// left is how many operations are to be done.
func (o *owner[K, V]) left() int { return o.inserts + o.deletes }

// finish adds up what the map holds. What it should hold was added up on the way.
func (o *owner[K, V]) finish() about {
	sum, count := uint64(0), 0
	for key, elem := range o.m {
		sum += o.share(key, elem)
		count++
	}
	if count != len(o.m) || sum != o.sum {
		fail(fmt.Sprintf("the map %d holds %d entries of sum %#x, not %#x", o.about.ID, count, sum, o.sum))
	}
	o.about.Len, o.about.Checksum = count, addr(sum)
	if o.recording {
		o.watch.look(func(string, change) { fail("a map grew after the work") })
		o.about.End = o.watch.shape()
	}
	return o.about
}

// fill inserts new keys and does nothing else.
func (o *owner[K, V]) fill(count int) {
	for n := o.first; n < o.first+uint32(count); n++ {
		if assign(o.m, o.kind.key(n), o.kind.elem(uint64(n))); o.recording {
			o.about.Assigns = int(n-o.first) + 1
			o.watch.look(o.found)
		}
	}
}

// filled makes up for what fill left out.
func (o *owner[K, V]) filled(count int) {
	o.about.Assigns = count
	for n := o.first; n < o.first+uint32(count); n++ {
		o.sum += o.share(o.kind.key(n), o.kind.elem(uint64(n)))
	}
}

// lookups returns how to read keys that are there so often, and counts those found.
func (o *owner[K, V]) lookups(inserted, count int) func() int {
	keys := make([]K, 1<<16)
	for i := range keys {
		keys[i] = o.kind.key(o.first + uint32(o.random.below(inserted)))
	}
	return func() int {
		found := 0
		for i := 0; i < count; i++ {
			if _, ok := o.m[keys[i%len(keys)]]; ok {
				found++
			}
		}
		return found
	}
}

// worker is an owner of any type.
type worker interface {
	kindName() string
	step()
	left() int
	fill(count int)
	filled(count int)
	lookups(inserted, count int) func() int
	finish() about
	join(g *goroutine, seed uint64, inserts, deletes int, shared bool) worker
}

// join lets a goroutine use the map, alone or with others, each with keys of its own.
func (o *owner[K, V]) join(g *goroutine, seed uint64, inserts, deletes int, shared bool) worker {
	if !shared {
		o.about.Goroutine = g.index
	}
	return &owner[K, V]{
		object: o.object, kind: o.kind, g: g, first: uint32(g.index) << 24, random: random(seed),
		inserts: inserts, deletes: deletes, rest: inserts / 2, shared: shared,
	}
}

func newOwner[K comparable, V any](k *kind[K, V], id, hint int, recording bool) worker {
	object := &object[K, V]{recording: recording}
	if hint == 0 {
		object.m = make(map[K]V)
	} else {
		object.m = make(map[K]V, hint)
	}
	v := reflect.ValueOf(object.m)
	object.watch = newWatch(v.UnsafePointer())
	object.about = about{
		ID: id, Goroutine: -1, Kind: k.name, Type: v.Type().String(),
		Header: addr(uintptr(v.UnsafePointer())), Hint: hint, Start: object.watch.shape(),
	}
	return &owner[K, V]{object: object, kind: k}
}

type point struct {
	x, y int32
	name string
}

type leaf struct {
	number uint32
	value  uint64
}

func text(n uint64) string {
	var room [40]byte
	return string(strconv.AppendUint(append(room[:0], "key-"...), n, 10))
}

func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// makers make a map of each kind.
var makers = map[string]func(id, hint int, recording bool) worker{}

// names are the kinds in the order of their maps.
var names = []string{"int64", "int32", "string", "wide", "struct", "pointer", "set"}

func add[K comparable, V any](make func() *kind[K, V]) {
	name := make().name
	makers[name] = func(id, hint int, recording bool) worker { return newOwner(make(), id, hint, recording) }
}

func word(n uint64) uint64     { return n }
func number(n uint32) int64    { return int64(n) * 7 }
func hash64(n int64) uint64    { return uint64(n) }
func first(b [200]byte) uint64 { return *(*uint64)(unsafe.Pointer(&b[0])) }

func init() {
	add(func() *kind[int64, uint64] { return &kind[int64, uint64]{"int64", number, word, hash64, word} })
	add(func() *kind[int32, uint32] {
		return &kind[int32, uint32]{
			"int32",
			func(n uint32) int32 { return int32(n) },
			func(n uint64) uint32 { return uint32(n) },
			func(n int32) uint64 { return uint64(n) },
			func(n uint32) uint64 { return uint64(n) },
		}
	})
	add(func() *kind[string, string] {
		return &kind[string, string]{
			"string", func(n uint32) string { return text(uint64(n)) }, text, hashText, hashText,
		}
	})
	add(func() *kind[string, [200]byte] {
		return &kind[string, [200]byte]{
			"wide",
			func(n uint32) string { return text(uint64(n)) },
			func(n uint64) (b [200]byte) { *(*uint64)(unsafe.Pointer(&b[0])) = n; return b },
			hashText, first,
		}
	})
	add(func() *kind[point, *leaf] {
		return &kind[point, *leaf]{
			"struct",
			func(n uint32) point { return point{int32(n), -int32(n), text(uint64(n % 1000))} },
			func(n uint64) *leaf { return &leaf{value: n} },
			func(p point) uint64 { return uint64(p.x) + uint64(p.y)<<32 + hashText(p.name) },
			func(l *leaf) uint64 { return l.value },
		}
	})
	add(func() *kind[*leaf, int] {
		// A pointer is found again by its number: the goroutine's, and its keys one after another.
		var leaves [256][]*leaf
		return &kind[*leaf, int]{
			"pointer",
			func(n uint32) *leaf {
				list, at := &leaves[n>>24], int(n&0xffffff)
				if at >= never {
					return &leaf{number: n}
				}
				for at >= len(*list) {
					*list = append(*list, &leaf{number: n&^0xffffff + uint32(len(*list))})
				}
				return (*list)[at]
			},
			func(n uint64) int { return int(n) },
			func(l *leaf) uint64 { return uint64(l.number) },
			func(n int) uint64 { return uint64(n) },
		}
	})
	add(func() *kind[int64, struct{}] {
		return &kind[int64, struct{}]{
			"set", number, func(uint64) struct{} { return struct{}{} }, hash64,
			func(struct{}) uint64 { return 1 },
		}
	})
}
