module bigheap

go 1.21
