// Package inner gives the zoo types and a variable outside package main.
package inner

// ID is a key type whose runtime name is shorter than its import path.
type ID int32

// Item is what Registry points to.
type Item struct {
	Name  string
	Price float64
}

// Registry is a map held by a package that is not main.
var Registry = map[ID]*Item{1: {"one", 1.25}, -2: {"minus two", 0}}
