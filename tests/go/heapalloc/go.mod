module heapalloc

go 1.21
