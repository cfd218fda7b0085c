module traced_exec

go 1.21
