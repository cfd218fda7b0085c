module contended

go 1.21
