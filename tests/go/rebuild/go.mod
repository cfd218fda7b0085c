module rebuild

go 1.21
