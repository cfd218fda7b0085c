module recorder

go 1.21
