//go:build serve

package main

import (
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
)

func init() {
	serve = func() error {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println("READY", listener.Addr())
		return http.Serve(listener, nil)
	}
}
