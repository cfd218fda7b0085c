module changes

go 1.21
