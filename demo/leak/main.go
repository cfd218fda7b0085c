// A request tracker with a leak: who never answers is never forgotten.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"time"
)

// Request is what the server remembers of a request that it works on.
type Request struct {
	ID   uint64
	Path string
	From time.Time
}

// Server holds the state that the handlers share.
type Server struct {
	pending map[uint64]*Request // begun, not yet answered
	cache   map[string]int      // as large as it should be
	next    uint64
}

var srv = &Server{pending: map[uint64]*Request{}, cache: map[string]int{}}

func (s *Server) begin(path string) uint64 {
	s.next++
	s.pending[s.next] = &Request{ID: s.next, Path: path, From: time.Now()}
	return s.next
}

func (s *Server) finish(id uint64) { delete(s.pending, id) }

func (s *Server) search() {
	id := s.begin("/search")
	s.cache[fmt.Sprintf("term-%d", id%5000)]++
	s.finish(id)
}

// upload forgets to finish when the client goes away, and many do.
func (s *Server) upload(gone bool) {
	id := s.begin("/upload")
	if gone {
		return
	}
	s.finish(id)
}

func main() {
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, os.Interrupt)
	fmt.Println("leakd: serving")
	for n := 0; ; n++ {
		select {
		case <-quit:
			fmt.Println(len(srv.pending), "requests pending at the end")
			return
		default:
		}
		srv.search()
		pprof.Do(context.Background(), pprof.Labels("client", "mobile"), func(context.Context) {
			srv.upload(n%3 == 0)
		})
		if n%20 == 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
}
