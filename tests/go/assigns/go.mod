module assigns

go 1.21
