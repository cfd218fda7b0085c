module sessiond

go 1.21
