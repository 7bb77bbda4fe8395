module fourtuple/benchmarks

go 1.19
