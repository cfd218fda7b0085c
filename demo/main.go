// A session server after a busy morning: its maps have grown, most of their entries are gone,
// and none of the memory has come back.
package main

import (
	"fmt"
	"os"
	"os/signal"
)

// Session is what the server keeps for one user.
type Session struct {
	ID    uint64
	User  string
	Seen  int64
	Token [16]byte
}

// Server holds the state that the handlers share.
type Server struct {
	sessions map[string]*Session // grown to 200,000, then purged to 1,200
	labels   map[string]string   // a cache, filled and cleared
	byID     map[uint64]*Session // rebuilt after the purge: healthy
}

var srv = &Server{
	sessions: map[string]*Session{},
	labels:   map[string]string{},
}

func (s *Server) login(count int) {
	for i := 0; i < count; i++ {
		user := fmt.Sprintf("user-%06d", i)
		s.sessions[user] = &Session{ID: uint64(i), User: user, Seen: int64(i % 3600)}
	}
}

// purge drops idle sessions one by one, as a janitor does.
func (s *Server) purge(keep int) {
	for user, session := range s.sessions {
		if session.ID >= uint64(keep) {
			delete(s.sessions, user)
		}
	}
}

func (s *Server) label(count int) {
	for i := 0; i < count; i++ {
		s.labels[fmt.Sprintf("path=/v1/items/%d", i)] = "200"
	}
	clear(s.labels)
}

func (s *Server) index() {
	s.byID = make(map[uint64]*Session, len(s.sessions))
	for _, session := range s.sessions {
		s.byID[session.ID] = session
	}
}

// waiting is where a server spends its day, and where the debugger looks in.
//
//go:noinline
func waiting(s *Server, quit <-chan os.Signal) {
	<-quit
	fmt.Println(len(s.sessions), "sessions at the end")
}

func main() {
	srv.login(200_000)
	srv.purge(1_200)
	srv.label(50_000)
	srv.index()
	fmt.Println("sessiond: serving", len(srv.sessions), "sessions")
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, os.Interrupt)
	waiting(srv, quit)
}
