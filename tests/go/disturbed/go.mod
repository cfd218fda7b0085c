module disturbed

go 1.21
