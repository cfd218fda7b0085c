package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"reflect"
	"unsafe"
)

// slot holds the addresses of a live key and elem.
type slot struct {
	key, elem unsafe.Pointer
}

// shape is what a map is made of, found by walking its memory.
type shape struct {
	Family       string `json:"family"`
	Capacity     int    `json:"capacity"`
	Live         int    `json:"live"`
	Empty        int    `json:"empty"`
	Tombstones   int    `json:"tombstones"`
	Buckets      int    `json:"buckets"`
	Main         int    `json:"main"`
	Overflow     int    `json:"overflow"`
	EmptyBuckets int    `json:"empty_buckets"`
	FullBuckets  int    `json:"full_buckets"`
	SlotSize     int    `json:"slot_size"`
	BucketSize   int    `json:"bucket_size"`
	IndirectKey  bool   `json:"indirect_key"`
	IndirectElem bool   `json:"indirect_elem"`
	*classicShape
	*swissShape
}

type classicShape struct {
	ChainLengths   []int  `json:"chain_lengths"`
	B              int    `json:"B"`
	NOverflow      int    `json:"noverflow"`
	OverflowInTail int    `json:"overflow_in_tail"`
	Growth         string `json:"growth"`
	OldBuckets     int    `json:"old_buckets"`
	Evacuated      int    `json:"evacuated"`
	OldLive        int    `json:"old_live"`
	OldSlots       int    `json:"old_slots"`
}

type swissShape struct {
	Tables      int  `json:"tables"`
	DirLen      int  `json:"dir_len"`
	GlobalDepth int  `json:"global_depth"`
	GrowthLeft  int  `json:"growth_left"`
	Small       bool `json:"small"`
	Aliased     int  `json:"aliased"`
}

// bucket counts one bucket or group of the current array.
func (s *shape) bucket(live int) {
	s.Buckets++
	switch live {
	case 0:
		s.EmptyBuckets++
	case 8:
		s.FullBuckets++
	}
}

// truth is one line of the truth file.
type truth struct {
	Expr     string `json:"expr"`
	Frame    string `json:"frame,omitempty"`
	OnStack  bool   `json:"on_stack,omitempty"`
	Address  string `json:"address"`
	Type     string `json:"type"`
	KeyType  string `json:"key_type"`
	ElemType string `json:"elem_type"`
	Len      int    `json:"len"`
	shape
	KeysSum string       `json:"keys_sum"`
	Note    string       `json:"note,omitempty"`
	Entries *[][2]string `json:"entries,omitempty"`

	sum uint64 // of all entries, to see whether the map changed
}

// maxEntries is the length up to which a truth lists the entries.
const maxEntries = 5000

// specimen is a map of the zoo: where a debugger finds it, and where it is.
type specimen struct {
	expr, note string
	frame      string
	random     bool           // the contents depend on hash seeds
	variable   any            // pointer to the variable, followed through pointers and interfaces
	typ        reflect.Type   // of a local map, whose variable must not be mentioned
	header     unsafe.Pointer // of a local map
}

var zoo []specimen

// show adds a package-level variable to the zoo.
func show(expr string, variable any, note string) {
	zoo = append(zoo, specimen{expr: expr, variable: variable, note: note})
}

// showRandom adds a variable whose contents depend on hash seeds.
func showRandom(expr string, variable any, note string) {
	zoo = append(zoo, specimen{expr: expr, variable: variable, note: note, random: true})
}

// repeatable tells whether every run has the same entries: no hash seed chose them, and no address
// is among them.
func (s specimen) repeatable() bool {
	t, _ := s.resolve()
	return !s.random && plain(t.Key()) && plain(t.Elem())
}

// plain tells whether the text of a type's values holds no address.
func plain(t reflect.Type) bool {
	switch k := t.Kind(); k {
	case reflect.Array:
		return plain(t.Elem())
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			if !plain(t.Field(i).Type) {
				return false
			}
		}
		return true
	default:
		return k <= reflect.Complex128 || k == reflect.String
	}
}

func (s specimen) resolve() (reflect.Type, unsafe.Pointer) {
	if s.variable == nil {
		return s.typ, s.header
	}
	v := reflect.ValueOf(s.variable)
	for v.Kind() == reflect.Ptr || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v.Type(), v.UnsafePointer()
}

// describe walks a specimen and holds the walk against len and range.
func (s specimen) describe() truth {
	t, header := s.resolve()
	var slots []slot
	r := truth{
		Expr:     s.expr,
		Frame:    s.frame,
		OnStack:  s.frame != "",
		Address:  hex(uintptr(header)),
		Type:     t.String(),
		KeyType:  t.Key().String(),
		ElemType: t.Elem().String(),
		Note:     s.note,
	}
	r.shape, slots = walk(t, header)

	v := at(t, unsafe.Pointer(&header))
	r.Len = v.Len()
	if r.Live != r.Len {
		fail("%s: %d live slots, len %d", s.expr, r.Live, r.Len)
	}
	var keys uint64
	entries := make([][2]string, 0, len(slots))
	for _, x := range slots {
		k, e := goSyntax(t.Key(), x.key), goSyntax(t.Elem(), x.elem)
		keys += sum(k)
		r.sum += sum(k, e)
		if len(slots) <= maxEntries {
			entries = append(entries, [2]string{k, e})
		}
	}
	r.KeysSum = hex(uintptr(keys))
	if len(slots) <= maxEntries {
		r.Entries = &entries
	}

	var ranged uint64
	key, elem := reflect.New(t.Key()), reflect.New(t.Elem())
	for it := v.MapRange(); it.Next(); {
		key.Elem().SetIterKey(it)
		elem.Elem().SetIterValue(it)
		ranged += sum(goSyntax(t.Key(), key.UnsafePointer()), goSyntax(t.Elem(), elem.UnsafePointer()))
	}
	if ranged != r.sum {
		fail("%s: the walk and range found different entries", s.expr)
	}
	return r
}

// sum hashes strings; the sums of a map's entries are added, as their order means nothing.
func sum(parts ...string) uint64 {
	h := fnv.New64a()
	for i, part := range parts {
		if i > 0 {
			h.Write([]byte{0})
		}
		h.Write([]byte(part))
	}
	return h.Sum64()
}

// fail ends the program: a truth that may be wrong must not be read by anyone.
func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "zoo: "+format+"\n", args...)
	os.Exit(3)
}

// write puts the truth of all specimens into a file and returns it.
func write(name string) []truth {
	file, err := os.Create(name)
	if err != nil {
		fail("%v", err)
	}
	out := bufio.NewWriter(file)
	enc := json.NewEncoder(out)
	var all []truth
	for _, s := range zoo {
		r := s.describe()
		if err := enc.Encode(r); err != nil {
			fail("%s: %v", s.expr, err)
		}
		r.Entries = nil
		all = append(all, r)
	}
	if err := out.Flush(); err != nil {
		fail("%v", err)
	}
	if err := file.Close(); err != nil {
		fail("%v", err)
	}
	return all
}

// recheck describes the zoo again, fails if anything changed, and returns one sum for all maps that
// every run of every build fills alike.
func recheck(before []truth) uint64 {
	var total uint64
	for i, s := range zoo {
		after := s.describe()
		if after.sum != before[i].sum || after.Address != before[i].Address || after.Capacity != before[i].Capacity {
			fail("%s: changed while nobody should have touched it", s.expr)
		}
		if s.repeatable() {
			total += after.sum
		}
	}
	return total
}
