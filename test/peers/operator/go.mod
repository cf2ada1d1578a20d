// The kinds of the Prometheus operator, of which only the definitions are read, not the code.
module github.com/hallmark-sh/hallmark/test/peers/operator

go 1.26.6

require github.com/prometheus-operator/prometheus-operator v0.85.0
