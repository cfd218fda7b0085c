// Package inner has the name of zoo/inner: the runtime calls both types inner.ID.
package inner

// ID is not zoo/inner.ID.
type ID string
