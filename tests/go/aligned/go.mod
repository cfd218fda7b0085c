module aligned

go 1.21
