package main

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"net/textproto"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"text/template"
	"unsafe"
)

func populateSync() {
	for i := 0; i < 40; i++ {
		mapChannel <- note("buffered channel", mk[map[string]int16](size(i)))
		s := newShelf(i)
		note("channel of structs", s.Books)
		note("channel of structs", s.seen)
		structChannel <- s
	}
	for i := 0; i < 10; i++ {
		ptrChannel <- &Counter{note("channel of pointers", mk[map[string]int64](size(i)))}
	}
	for i := 0; i < 24; i++ {
		syncMap.Store("m"+strconv.Itoa(i), noteAny("sync.Map value", assorted(i+3)))
		syncMap.Store(i, &Counter{note("sync.Map value", mk[map[string]int64](size(i)))})
		m := note("sync.Map key", mk[map[int]string](size(i)))
		syncMap.Store(&m, i)
		syncMap.Load(i)
	}
	for i := range atomicValues {
		atomicValues[i].Store(noteAny("atomic.Value", assorted(2*i)))
	}
	for i := range atomicPointers {
		m := note("atomic.Pointer", mk[map[string]float32](size(i)))
		atomicPointers[i].Store(&m)
		s := newShelf(i)
		note("atomic.Pointer", s.Books)
		note("atomic.Pointer", s.seen)
		atomicShelves[i].Store(&s)
	}
	for i := 0; i < 24; i++ {
		ctx = context.WithValue(ctx, contextKey(strconv.Itoa(i)), noteAny("context.WithValue", assorted(i+1)))
	}
}

// fillPool fills the pool after the last collection, which would empty it.
func fillPool() {
	for i := 0; i < 20; i++ {
		m := note("sync.Pool", mk[map[string][]byte](size(i)))
		if i%2 == 0 {
			syncPool.Put(&m)
		} else {
			syncPool.Put(&Counter{note("sync.Pool", mk[map[string]int64](size(i)))})
			roots = append(roots, m)
		}
	}
}

func newCache[K comparable, V any](i int) *Cache[K, V] {
	c := &Cache[K, V]{items: mk[map[K]V](size(i))}
	c.stats.hits = mk[map[K]int](size(i + 1))
	return c
}

// genericLocal makes maps of types that only its instances know.
func genericLocal[K comparable, V any](i int) any {
	type pair struct{ a, b V }
	m := note("generic function", mk[map[K]pair](size(i)))
	p := note("generic function", mk[Pairs[K, []V]](size(i+1)))
	return func() int { return len(m) + len(p) }
}

func populateTypes() {
	cacheIDs.items = mk[map[int]string](64)
	cacheIDs.stats.hits = mk[map[int]int](10)
	record("generic type", "main.cacheIDs", &cacheIDs)
	cacheUsers.items = mk[map[string]*User](24)
	cacheUsers.stats.hits = mk[map[string]int](3)
	record("generic type", "main.cacheUsers", &cacheUsers)
	for i := 0; i < 20; i++ {
		caches = append(caches, newCache[Point, []byte](i))
	}
	record("generic type", "main.caches", &caches)
	for i := 0; i < 4; i++ {
		generics = append(generics, genericLocal[string, int](i), genericLocal[uint32, *User](i), genericLocal[Point, string](i))
	}

	for i := 0; i < 24; i++ {
		namedSets = append(namedSets, mk[Set](size(i)))
		unnamedSets = append(unnamedSets, mk[map[string]struct{}](size(i)))
		namedScores = append(namedScores, mk[Scores](size(i+1)))
		unnamedScores = append(unnamedScores, mk[map[string]int](size(i+1)))
	}
	record("named map type", "main.namedSets", &namedSets)
	record("named map type", "main.namedScores", &namedScores)
	record("unnamed twin of a named map type", "main.unnamedSets", &unnamedSets)
	record("unnamed twin of a named map type", "main.unnamedScores", &unnamedScores)

	for i := 0; i < 24; i++ {
		var elem, key reflect.Type = reflect.TypeOf(""), reflect.ArrayOf(17+i, reflect.TypeOf(byte(0)))
		switch i % 3 {
		case 1:
			key, elem = reflect.TypeOf(0), reflect.ArrayOf(19+i, reflect.TypeOf(0))
		case 2:
			key, elem = reflect.TypeOf(Point{}), reflect.PointerTo(reflect.ArrayOf(5+i, reflect.TypeOf("")))
		}
		m := reflect.MakeMap(reflect.MapOf(key, elem))
		fill(m, size(i))
		reflected = append(reflected, m.Interface())
	}
	record("reflect.MapOf", "main.reflected", &reflected)

	for i := 0; i < 6; i++ {
		alike = append(alike, &struct{ M map[string]int }{mk[map[string]int](size(i))})
		alike = append(alike, &struct{ M map[string]uint }{mk[map[string]uint](size(i))})
		alike = append(alike, &struct{ M map[string]float64 }{mk[map[string]float64](size(i))})
		alike = append(alike, &struct{ M map[string]uintptr }{mk[map[string]uintptr](size(i))})
		alike = append(alike, &struct{ M map[uint64]int64 }{mk[map[uint64]int64](size(i))})
		alike = append(alike, &struct{ M map[int64]float64 }{mk[map[int64]float64](size(i))})
	}
	record("layouts alike", "main.alike", &alike)

	largeKeys = mk[map[Big200]int](30)
	largeElems = mk[map[int]Wide](80)
	largeBoth = mk[map[Wide]Big200](12)
	record("keys or elems above 128 bytes", "main.largeKeys", &largeKeys)
	record("keys or elems above 128 bytes", "main.largeElems", &largeElems)
	record("keys or elems above 128 bytes", "main.largeBoth", &largeBoth)
	for i := 0; i < 8; i++ {
		large = append(large, mk[map[Big200]int](size(i)), mk[map[int]Wide](size(i)), mk[map[Wide]Big200](size(i)), mk[map[string][16]uint64](size(i)))
	}
	record("keys or elems above 128 bytes", "main.large", &large)
}

func populateObjects() {
	for i := 0; i < 20; i++ {
		m := note("unsafe.Pointer", mk[map[string]int](size(i)))
		if i%2 == 0 {
			hidden = append(hidden, Hidden{0, *(*unsafe.Pointer)(unsafe.Pointer(&m))})
		} else {
			hidden = append(hidden, Hidden{1, unsafe.Pointer(&Counter{note("unsafe.Pointer", mk[map[string]int64](size(i)))})})
			sliceKept := m
			hidden = append(hidden, Hidden{2, unsafe.Pointer(&sliceKept)})
		}
	}
	for i := 0; i < 10; i++ {
		b := &Buffered{bufio.NewReader(strings.NewReader("text")), bufio.NewWriter(&strings.Builder{}), mk[map[int]string](size(i)), mk[map[int64]struct{}](size(i + 1))}
		buffered = append(buffered, b)
	}
	record("beside buffers", "main.buffered", &buffered)
	for i := 0; i < 40; i++ {
		if i%2 == 0 {
			elements.PushBack(assorted(i))
		} else {
			elements.PushFront(newShelf(i))
		}
	}
	for e := elements.Front(); e != nil; e = e.Next() {
		switch v := e.Value.(type) {
		case Shelf:
			note("container/list", v.Books)
			note("container/list", v.seen)
		default:
			noteAny("container/list", v)
		}
	}
}

func populateStates() {
	for i := 0; i < 16; i++ {
		n := size(i+5) * 3
		m := mk[map[int]string](n)
		for k := 0; k < n; k++ {
			if i%2 == 0 || k%7 != 0 {
				delete(m, k)
			}
		}
		emptied = append(emptied, m)
		c := mk[map[string]*User](n)
		clear(c)
		if i%3 == 0 {
			c["again"] = nil
		}
		cleared = append(cleared, c)
	}
	record("entries deleted", "main.emptied", &emptied)
	record("cleared", "main.cleared", &cleared)
	// A classic map doubles at 6.5 entries a bucket, 6 in Go 1.21, and moves two buckets at each
	// insert after that.
	for _, n := range []int{27, 50, 53, 97, 98, 105, 110, 194, 200, 209, 215, 387, 400, 417, 430, 770, 800, 835, 3080, 3100, 3330, 3400} {
		growing = append(growing, mk[map[int]uint64](n))
		growingStr = append(growingStr, mk[map[string]string](n))
	}
	record("after the limit of growth", "main.growing", &growing)
	record("after the limit of growth", "main.growingStr", &growingStr)
}

const document = `{"name": "doc", "list": [{"a": 1, "b": {}}, {"c": [true, null, {"d": "e"}]}], "object": {"x": {"y": {"z": 1.5}}}}`

func populateLibraries() {
	for i := 0; i < 12; i++ {
		var v any
		if err := json.Unmarshal([]byte(document), &v); err != nil {
			fail("%v", err)
		}
		documents = append(documents, v)
	}
	record("json.Unmarshal", "main.documents", &documents)
	for i := 0; i < 16; i++ {
		clones = append(clones, maps.Clone(mk[map[int64]string](size(i)*2)))
	}
	record("maps.Clone", "main.clones", &clones)
	for i := 0; i < 8; i++ {
		h := textproto.MIMEHeader{}
		q := url.Values{}
		for k := 0; k < size(i); k++ {
			h.Add("X-Header-"+strconv.Itoa(k), "v")
			q.Add("q"+strconv.Itoa(k), "v")
		}
		headers = append(headers, h)
		queries = append(queries, q)
		t := template.Must(template.New("t" + strconv.Itoa(i)).Funcs(template.FuncMap{"same": func(s string) string { return s }}).Parse(`{{define "one"}}{{same .}}{{end}}{{template "one" .}}`))
		templates = append(templates, t)
	}
	record("textproto.MIMEHeader", "main.headers", &headers)
	record("url.Values", "main.queries", &queries)
	recordUnnamed("text/template", &templates)
}
