module profiled

go 1.21
