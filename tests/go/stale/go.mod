module stale

go 1.21
