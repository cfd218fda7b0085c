module population

go 1.21
