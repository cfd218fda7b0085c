module grows

go 1.21
